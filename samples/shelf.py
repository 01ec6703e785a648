"""Indoors: shelves of old books with their titles, a clock, jars, a postcard and a plant."""

from __future__ import annotations

import numpy as np
from drawing import Canvas, Colour
from numpy.typing import NDArray
from textures import RGB, Rng, leaves, planks

WIDTH, HEIGHT = 1120, 500
BOARDS = (150, 302, 454)
GOLD, PAPER = (226, 190, 110), (232, 222, 196)
CLOTH: tuple[RGB, ...] = (
    (112, 34, 34), (30, 52, 84), (44, 72, 52), (92, 58, 36), (60, 48, 72), (150, 116, 62), (170, 150, 118),
    (36, 40, 44), (128, 66, 38), (64, 92, 98), (186, 176, 152), (98, 28, 52),
)  # fmt: skip
TITLES = (
    "THE TIDE TABLES", "A History of Rope", "WINTER GARDENS", "Letters from Orkney", "CLOCKWORK", "Salt & Iron",
    "The Glass Harbour", "ATLAS OF WINDS", "Notes on Light", "MOSSES", "Seven Lighthouses", "GRAMMAR OF KNOTS",
    "Rivers of the North", "THE LONG ROAD", "Bread", "PRACTICAL OPTICS", "On Slow Trains", "Collected Poems",
    "DIARY OF A KEEPER", "The Cartographer", "BEES & ORCHARDS", "Under the Pier", "NIGHT FERRY", "Old Maps",
)  # fmt: skip
AUTHORS = ("HALE", "M. Orme", "LINDQVIST", "Ashby", "R. TARN", "Okafor", "VALE", "J. Penn", "MARLOW", "Sorel")


def shelf(seed: int) -> Canvas:
    """A wall of shelves, 1120 × 500 output pixels."""
    rng = np.random.default_rng(seed)
    canvas = Canvas(WIDTH, HEIGHT)
    canvas.surface(0, 0, planks(rng, WIDTH, HEIGHT, (74, 50, 34), 50))
    for base in BOARDS:
        canvas.shadow([(0, base - 138), (WIDTH, base - 138), (WIDTH, base - 96), (0, base - 96)], 14, 0.55)
        _row_of_books(canvas, rng, base)
        canvas.surface(0, base, planks(rng, WIDTH, 14, (156, 108, 66)))
        canvas.rect(0, base, WIDTH, 1.2, (206, 160, 108))
        canvas.shadow([(0, base + 13), (WIDTH, base + 13), (WIDTH, base + 20), (0, base + 20)], 3, 0.6)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    lamp = 1.12 - 0.55 * np.hypot((x - 520) / 800, (y - 190) / 420) ** 2
    canvas.multiply(np.stack([lamp * 1.03, lamp, lamp * 0.93], -1).astype(np.float32))
    return canvas


def _row_of_books(canvas: Canvas, rng: Rng, base: float) -> None:
    things = [_clock, _jar, _postcard, _plant]
    x = rng.uniform(-12, 0)
    while x < WIDTH:
        if rng.random() < 0.1 and 40 < x < WIDTH - 90:
            x += things[int(rng.integers(len(things)))](canvas, rng, x + 4, base) + 8
            continue
        thick, tall = rng.uniform(13, 31), rng.uniform(88, 128)
        if rng.random() < 0.06:
            x += _lying_books(canvas, rng, x + 3, base) + 6
            continue
        lean = rng.uniform(2, 5) if rng.random() < 0.05 else 0.0
        book = _spine(rng, thick, tall)
        canvas.paste(book, x + lean, base - book.height, degrees=-lean)
        x += thick + rng.uniform(0.3, 1.2) + lean * 2


def _spine(rng: Rng, thick: float, tall: float) -> Canvas:
    """One book seen from behind: rounded cloth or leather, bands, title, author."""
    width, height = round(thick), round(tall)
    book = Canvas(width, height, (0, 0, 0, 255))
    cloth = np.array(CLOTH[rng.integers(len(CLOTH))]) * rng.uniform(0.85, 1.25)
    pale = cloth.sum() > 380
    ink = (52, 36, 30) if pale else (GOLD if rng.random() < 0.7 else PAPER)
    weave = rng.normal(0, 5, (height * 2, width * 2)).astype(np.float32).repeat(2, 0).repeat(2, 1)
    across = (np.arange(width * 4) + 0.5) / (width * 4)
    round_light = 0.55 + 0.55 * np.sin(np.pi * across**0.8) ** 0.8
    book.surface(0, 0, ((cloth + weave[..., None]) * round_light[None, :, None]).astype(np.float32))
    book.image.putalpha(255)
    style = rng.integers(4)
    if style in (0, 1):
        for y in (7, 10, tall * 0.24, tall * 0.76, tall - 12, tall - 9):
            book.rect(1, y, thick - 2, 0.9, (*ink, 255))
    if style == 1:
        label = (28, 30, 40, 255) if not pale else (116, 34, 30, 255)
        book.rect(1, tall * 0.27, thick - 2, tall * 0.44, label)
        ink = GOLD
    if style == 2:
        for y in np.linspace(tall * 0.12, tall * 0.88, 6):
            book.rect(0, y, thick, 2.2, _shade(cloth, 1.25))
            book.rect(0, y + 2.2, thick, 1, _shade(cloth, 0.5))
    title = Canvas(round(tall * 0.5), width, (0, 0, 0, 0))
    words = str(rng.choice(TITLES))
    title.text(tall * 0.25, thick / 2 - 0.3, words, min(13.0, thick * 0.62), (*ink, 255), bold=0.1, fit=tall * 0.42)
    title.image = title.image.rotate(-90 if rng.random() < 0.9 else 90, expand=True)
    book.paste(title, 0, tall * 0.24)
    if thick > 17:
        book.text(thick / 2, tall * 0.86, str(rng.choice(AUTHORS)), 6.0, (*ink, 255), fit=thick * 0.84)
        book.disc(thick / 2, tall * 0.15, 2.2, (*ink, 255))
    book.rect(0, 0, thick, 1, _shade(cloth, 0.6))
    return book


def _shade(cloth: NDArray[np.float64], gain: float) -> Colour:
    red, green, blue = (int(min(255, value * gain)) for value in cloth)
    return red, green, blue, 255


def _lying_books(canvas: Canvas, rng: Rng, x: float, base: float) -> float:
    """A pile of books lying flat; returns the width it takes."""
    width, y = rng.uniform(70, 92), base
    for _ in range(int(rng.integers(3, 6))):
        book = _spine(rng, rng.uniform(13, 22), width - rng.uniform(0, 12))
        book.image = book.image.rotate(90, expand=True)
        y -= book.image.height / 4
        canvas.paste(book, x + rng.uniform(0, 6), y)
    return width + 6


def _clock(canvas: Canvas, rng: Rng, x: float, base: float) -> float:
    cx, cy = x + 38, base - 44
    canvas.shadow([(x + 8, base - 84), (x + 86, base - 80), (x + 86, base), (x + 8, base)], 5, 0.5)
    canvas.rect(cx - 24, base - 8, 48, 8, (92, 58, 30), 2)
    canvas.disc(cx, cy, 38, (146, 108, 52))
    canvas.disc(cx, cy, 34, (240, 234, 216))
    for hour in range(1, 13):
        angle = hour * np.pi / 6
        at = (cx + 26.5 * np.sin(angle), cy - 26.5 * np.cos(angle))
        canvas.text(*at, str(hour), 8.2, (30, 28, 30), bold=0.1)
    for minute in range(60):
        sin, cos = np.sin(minute * np.pi / 30), np.cos(minute * np.pi / 30)
        canvas.line([(cx + 31.5 * sin, cy - 31.5 * cos), (cx + 33.5 * sin, cy - 33.5 * cos)], 0.4, (40, 40, 40))
    for angle, reach, thick in ((5.25, 14, 1.8), (1.05, 21, 1.2)):
        canvas.line([(cx, cy), (cx + reach * np.sin(angle), cy - reach * np.cos(angle))], thick, (24, 24, 28))
    canvas.text(cx, cy + 10, "Tarn & Son", 4.6, (70, 60, 50))
    canvas.disc(cx, cy, 1.8, (150, 40, 36))
    return 78


def _jar(canvas: Canvas, rng: Rng, x: float, base: float) -> float:
    canvas.shadow([(x + 8, base - 60), (x + 56, base - 60), (x + 58, base), (x + 8, base)], 5, 0.5)
    canvas.rect(x, base - 66, 46, 66, (196, 200, 190), 5)
    for stripe, tone in ((0, 150), (6, 214), (14, 232), (34, 176), (41, 140)):
        canvas.rect(x + stripe, base - 62, 5, 60, (tone, tone + 2, tone - 6))
    canvas.rect(x - 2, base - 74, 50, 10, (120, 76, 42), 2)
    canvas.rect(x + 5, base - 48, 36, 26, PAPER)
    canvas.text(x + 23, base - 40, "BUTTONS", 8, (40, 36, 40), bold=0.1, fit=32)
    canvas.text(x + 23, base - 30, "No. 4 · 1931", 5.4, (80, 60, 50))
    return 48


def _postcard(canvas: Canvas, rng: Rng, x: float, base: float) -> float:
    card = Canvas(78, 54, (244, 240, 228, 255))
    card.rect(3, 3, 72, 48, (150, 190, 214, 255))
    for i in range(4):
        ridge = [(3 + 8 * j, 20 + 7 * i + rng.uniform(-4, 4)) for j in range(10)]
        tone = (96 - 16 * i, 128 - 12 * i, 104 - 18 * i, 255)
        card.polygon([*ridge, (75, 51), (3, 51)], tone)
    card.text(39, 43, "Greetings from Mill Bay", 6.4, (250, 250, 244, 255), bold=0.1)
    canvas.shadow([(x + 5, base - 54), (x + 86, base - 54), (x + 86, base), (x + 5, base)], 4, 0.5)
    canvas.paste(card, x, base - 56, degrees=3)
    return 82


def _plant(canvas: Canvas, rng: Rng, x: float, base: float) -> float:
    canvas.shadow([(x + 6, base - 100), (x + 74, base - 100), (x + 60, base), (x + 6, base)], 7, 0.5)
    canvas.polygon([(x + 12, base - 36), (x + 54, base - 36), (x + 48, base), (x + 18, base)], (168, 88, 56))
    canvas.polygon([(x + 40, base - 36), (x + 54, base - 36), (x + 48, base), (x + 38, base)], (120, 58, 38))
    canvas.rect(x + 9, base - 42, 48, 8, (184, 100, 66), 1)
    leaves(canvas, rng, (x + 33, base - 66), (33, 32), 320, 9)
    return 68
