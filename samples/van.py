"""A delivery van with lettering on its side; its wheels are layers of their own, because they turn."""

from __future__ import annotations

import numpy as np
from drawing import Canvas, FloatArray

WIDTH, HEIGHT = 470, 236
WHEEL = 68
#: Middle of each wheel within the van's picture.
AXLES = ((96.0, 198.0), (372.0, 198.0))
RED, CREAM, NAVY = (178, 44, 38, 255), (242, 234, 212, 255), (30, 44, 84, 255)


def body() -> Canvas:
    """The van without its wheels, driving to the right, on a clear ground."""
    canvas = Canvas(WIDTH, HEIGHT, (0, 0, 0, 0))
    canvas.rect(10, 6, 330, 192, RED, 12)
    canvas.polygon([(330, 12), (372, 16), (420, 92), (458, 108), (464, 128), (464, 198), (330, 198)], RED)
    canvas.rect(10, 112, 330, 86, (140, 30, 28, 255))
    canvas.rect(10, 104, 330, 9, CREAM)
    canvas.rect(330, 104, 110, 9, CREAM)
    canvas.rect(14, 8, 322, 3, (226, 120, 108, 255))
    for x in (10, 118, 338):
        canvas.line([(x + 2, 14), (x + 2, 196)], 0.7, (96, 20, 20, 255))
    _cab(canvas)
    _lettering(canvas)
    for ax, ay in AXLES:
        canvas.disc(ax, ay, 40, (22, 20, 22, 255))
    canvas.rect(6, 186, 458, 10, (44, 44, 48, 255), 3)
    canvas.rect(2, 150, 9, 26, (240, 150, 60, 255), 2)
    canvas.rect(452, 134, 13, 20, (250, 246, 226, 255), 3)
    canvas.multiply(_sheen())
    return canvas


def _sheen() -> FloatArray:
    """Light on the bent sheet metal: bright above, a dark waist, the pale road mirrored low down."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    light = 1.1 - 0.0022 * y + 0.1 * np.exp(-(((y - 28) / 12) ** 2)) - 0.12 * np.exp(-(((y - 100) / 22) ** 2))
    light += 0.16 * np.exp(-(((y - 168) / 11) ** 2)) + 0.03 * np.sin(x / 31 + np.sin(x / 17) + y / 60)
    return np.asarray(light * (1 - 0.1 * (x > 340)), np.float32)


def _cab(canvas: Canvas) -> None:
    glass = [(350, 26), (369, 28), (406, 90), (350, 94)]
    canvas.polygon(glass, (36, 46, 56, 255))
    canvas.polygon([(352, 28), (366, 29), (384, 58), (352, 76)], (138, 160, 176, 255))
    canvas.disc(370, 78, 9, (190, 146, 118, 255))
    canvas.rect(362, 86, 20, 8, (60, 70, 96, 255))
    canvas.line([*glass, glass[0]], 2, (24, 24, 26, 255))
    canvas.rect(352, 120, 20, 4, (30, 30, 32, 255), 2)
    canvas.line([(348, 98), (348, 190)], 0.8, (96, 20, 20, 255))
    canvas.rect(404, 74, 8, 18, (28, 28, 30, 255), 2)


def _lettering(canvas: Canvas) -> None:
    canvas.text(230, 44, "OLD MILL BAKERY", 34, (70, 10, 10, 255), bold=0.5, fit=200)
    canvas.text(229, 43, "OLD MILL BAKERY", 34, CREAM, bold=0.5, fit=200)
    canvas.text(229, 72, "bread · rolls · pies, baked every night", 13, CREAM, fit=196)
    canvas.text(229, 90, "Harbour Street 9 · telephone 41 27 60", 10, (250, 214, 130, 255), fit=180)
    canvas.text(229, 134, "FRESH BY SIX", 24, (250, 214, 130, 255), bold=0.3)
    canvas.disc(64, 58, 36, CREAM)
    canvas.ring(64, 58, 33, 1.2, RED)
    for i in range(16):
        angle = i * np.pi / 8
        tip = (64 + 24 * np.cos(angle), 58 + 24 * np.sin(angle))
        canvas.line([(64 + 9 * np.cos(angle), 58 + 9 * np.sin(angle)), tip], 1.6, (190, 140, 60, 255))
    canvas.text(64, 58, "1926", 12, RED, bold=0.3)
    canvas.text(64, 136, "VAN 7", 16, CREAM, bold=0.3)
    for row in range(5):
        canvas.rect(150, 152 + row * 4, 150, 1, (120, 24, 24, 255))


def wheel() -> Canvas:
    """One wheel, 68 px square, on a clear ground."""
    canvas = Canvas(WHEEL, WHEEL, (0, 0, 0, 0))
    middle = WHEEL / 2
    canvas.disc(middle, middle, 32, (28, 28, 30, 255))
    canvas.ring(middle, middle, 29, 0.8, (62, 62, 64, 255))
    canvas.disc(middle, middle, 20, (196, 198, 200, 255))
    canvas.ring(middle, middle, 20, 1.4, (96, 98, 100, 255))
    for i in range(8):
        angle = i * np.pi / 4
        canvas.disc(middle + 13.5 * np.cos(angle), middle + 13.5 * np.sin(angle), 3.2, (40, 40, 42, 255))
    canvas.disc(middle, middle, 6, RED)
    canvas.disc(middle + 6, middle - 2, 1.4, (250, 250, 250, 255))
    return canvas


def shadow() -> Canvas:
    """The van's shadow on the ground."""
    canvas = Canvas(WIDTH + 40, 40, (0, 0, 0, 0))
    for i in range(12):
        canvas.rect(20 + i * 1.5, 4 + i, WIDTH - 3 * i, 30 - 2 * i, (6, 6, 8, 30 + 14 * i), 6)
    return canvas
