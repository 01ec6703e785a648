"""Shots made by code for measuring the detection of cuts: scenes with natural statistics, moved, lit and joined.

A scene is a picture of dead leaves (shapes of all sizes that cover one another, as things in the world do) larger than
the frame; a camera wanders over it. Lengths in pixels are those of a 1280×720 picture; frames are a quarter of that.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from vdeblur.frames import Colour, Frame, PixelFormat, dtype_for

Picture = NDArray[np.float32]
GREY = PixelFormat("gray", "gray", 8)

HEIGHT, WIDTH, SCALE = 180, 320, 4
#: WebpCanvas around the frame for the camera to wander over, on each side.
MARGIN = 120
#: Frames of each shot.
LENGTH = 5


@dataclass(frozen=True)
class Strip:
    """Frames of one example, the indexes at which new shots start, and those where it may be said or not."""

    pictures: list[Picture]
    cuts: frozenset[int] = frozenset()
    either: frozenset[int] = field(default=frozenset())


class Scene:
    """A canvas, and the pictures a camera takes of it. Brightness and contrast are those of the whole canvas."""

    def __init__(self, seed: int, *, mean: float = 0.45, spread: float = 0.2, shapes: int = 400) -> None:
        self.random = random = np.random.default_rng(seed)
        height, width = HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN
        slope_y, slope_x = random.normal(size=2) * 0.5
        canvas = slope_y * np.linspace(-1, 1, height)[:, None] + slope_x * np.linspace(-1, 1, width)[None]
        sizes = np.minimum(5 * random.random(shapes) ** -0.9, 110)
        for size in np.sort(sizes)[::-1]:
            _cover(canvas, random, float(size))
        canvas += random.normal(size=canvas.shape) * 0.05
        canvas = (canvas - canvas.mean()) / canvas.std()
        self.canvas: Picture = np.clip(mean + spread * canvas, 0, 1).astype(np.float32)

    def look(self, y: float = 0, x: float = 0, *, zoom: float = 1) -> Picture:
        """The picture with its centre (y, x) px from the canvas's, at a zoom of about 0.7 and more."""
        rows = _places(HEIGHT, self.canvas.shape[0], y / SCALE, zoom)
        columns = _places(WIDTH, self.canvas.shape[1], x / SCALE, zoom)
        return _between(_between(self.canvas, rows).T, columns).T

    def blurred(self, y: float, x: float, dy: float, dx: float, *, steps: int = 9) -> Picture:
        """The picture of a shutter that is open while the camera moves by (dy, dx) px."""
        path = np.linspace(-0.5, 0.5, steps)
        return np.mean([self.look(y + t * dy, x + t * dx) for t in path], axis=0, dtype=np.float32)

    def handheld(self, count: int, *, speed: float = 6) -> Iterator[Picture]:
        """Pictures of an unquiet hand, ``speed`` px a frame."""
        place, pace = self.random.uniform(-60, 60, 2), self.random.normal(size=2) * speed
        for _ in range(count):
            yield self.look(*place)
            pace = 0.8 * pace + self.random.normal(size=2) * speed * 0.5
            place = np.clip(place + pace, -MARGIN * SCALE * 0.9, MARGIN * SCALE * 0.9)


def _cover(canvas: NDArray[np.float64], random: np.random.Generator, size: float) -> None:
    """Lay one rectangle or ellipse over what is there, with a tone and a shade of its own."""
    height, width = canvas.shape
    y, x = random.uniform(0, height), random.uniform(0, width)
    half_y, half_x = size * random.uniform(0.4, 1), size * random.uniform(0.4, 1)
    top, bottom = max(0, int(y - half_y)), min(height, int(y + half_y) + 1)
    left, right = max(0, int(x - half_x)), min(width, int(x + half_x) + 1)
    part = canvas[top:bottom, left:right]
    tone = random.normal() + 0.3 * random.normal() * np.linspace(-1, 1, part.shape[1])
    if random.random() < 0.5:
        part[...] = tone
        return
    rows, columns = np.arange(top, bottom)[:, None], np.arange(left, right)[None]
    inside = ((rows - y) / half_y) ** 2 + ((columns - x) / half_x) ** 2 < 1
    part[inside] = np.broadcast_to(tone, part.shape)[inside]


def _places(count: int, size: int, offset: float, zoom: float) -> NDArray[np.float64]:
    return np.clip(size / 2 + offset + (np.arange(count) - count / 2) / zoom, 0, size - 1.001)


def _between(canvas: Picture, places: NDArray[np.float64]) -> Picture:
    """Rows at fractional places."""
    whole = places.astype(int)
    part = (places - whole).astype(np.float32)[:, None]
    result: Picture = canvas[whole] * (1 - part) + canvas[whole + 1] * part
    return result


# --- Cuts -------------------------------------------------------------------------------------------------------------


def joined(*shots: list[Picture]) -> Strip:
    lengths = list(itertools.accumulate(map(len, shots)))
    return Strip([picture for shot in shots for picture in shot], frozenset(lengths[:-1]))


def different(seed: int) -> Strip:
    """Scenes with palettes of their own."""
    random = np.random.default_rng(seed)
    return joined(*(_shot(3 * seed + n, random.uniform(0.25, 0.65), random.uniform(0.1, 0.25)) for n in range(3)))


def similar(seed: int) -> Strip:
    """The same palette, brightness and contrast; other things in other places."""
    return joined(*(_shot(1000 + 3 * seed + n, 0.45, 0.18) for n in range(3)))


def dark(seed: int) -> Strip:
    """Night: a mean of 8 to 20 of 255."""
    random = np.random.default_rng(seed)
    return joined(*(_shot(2000 + 3 * seed + n, random.uniform(0.03, 0.08), 0.025) for n in range(3)))


def pale(seed: int) -> Strip:
    """Fog: a spread of 5 to 9 of 255 around one grey."""
    random = np.random.default_rng(seed)
    return joined(*(_shot(3000 + 3 * seed + n, 0.6, random.uniform(0.02, 0.035)) for n in range(3)))


def to_black(seed: int) -> Strip:
    shot, black = _shot(4000 + seed, 0.4, 0.18), [np.zeros((HEIGHT, WIDTH), np.float32)] * 3
    return joined(shot, black)


def from_black(seed: int) -> Strip:
    shot, black = _shot(4000 + seed, 0.4, 0.18), [np.zeros((HEIGHT, WIDTH), np.float32)] * 3
    return joined(black, shot)


def insert(seed: int) -> Strip:
    """One frame of something else: two cuts."""
    shot = _shot(5000 + 2 * seed, 0.45, 0.18, count=2 * LENGTH)
    other = Scene(5001 + 2 * seed, mean=0.5).look()
    return joined(shot[:LENGTH], [other], shot[LENGTH:])


def fast(seed: int) -> Strip:
    """From one quick pan into another."""
    shots = []
    for n in range(2):
        scene = Scene(6000 + 2 * seed + n)
        speed = scene.random.uniform(30, 80) * scene.random.choice([-1, 1])
        shots.append([scene.blurred(0, speed * t, 0, speed / 2) for t in range(-2, LENGTH - 2)])
    return joined(*shots)


def grainy(seed: int) -> Strip:
    strip = similar(500 + seed)
    return Strip(_with_grain(strip.pictures, 0.08, seed), strip.cuts)


def same_place(seed: int) -> Strip:
    """The same scene from another side: the camera jumps by two thirds of the picture."""
    scene = Scene(7000 + seed)
    return joined(
        [scene.look(y, -430 + x) for y, x in _hand(scene, LENGTH)],
        [scene.look(y, 430 + x) for y, x in _hand(scene, LENGTH)],
    )


# --- No cuts ----------------------------------------------------------------------------------------------------------


def dissolve(seed: int) -> Strip:
    random = np.random.default_rng(seed)
    steps = int(random.choice([4, 6, 8, 12, 25, 50]))
    one, other = (list(Scene(10_000 + 2 * seed + n).handheld(steps + 5)) for n in range(2))
    weights = np.clip((np.arange(steps + 5) - 2) / steps, 0, 1).astype(np.float32)
    return Strip([a * (1 - w) + b * w for a, b, w in zip(one, other, weights, strict=True)])


def _fade(seed: int, towards: float, *, out: bool) -> Strip:
    random = np.random.default_rng(seed)
    steps = int(random.choice([6, 10, 15, 25]))
    weights = np.clip((np.arange(steps + 5) - 2) / steps, 0, 1).astype(np.float32)
    shown = Scene(11_000 + seed).handheld(steps + 5)
    return Strip([a + (towards - a) * w for a, w in zip(shown, weights if out else weights[::-1], strict=True)])


def fade_to_black(seed: int) -> Strip:
    return _fade(seed, 0, out=True)


def fade_from_black(seed: int) -> Strip:
    return _fade(seed, 0, out=False)


def fade_to_white(seed: int) -> Strip:
    return _fade(seed, 1, out=True)


def fade_from_white(seed: int) -> Strip:
    return _fade(seed, 1, out=False)


def flash(seed: int) -> Strip:
    """The light of a camera for one to three frames, up to where most of the picture is white."""
    shot = _shot(12_000 + seed, 0.4, 0.15, count=12)
    random = np.random.default_rng(seed)
    gain, lift = random.uniform(1.2, 2.0), random.uniform(0.15, 0.5)
    for n in range(5, 5 + int(random.integers(1, 4))):
        shot[n] = np.clip(shot[n] * gain + lift, 0, 1)
    return Strip(shot)


def white_flash(seed: int) -> Strip:
    """A flash that leaves nothing but white, for one or two frames."""
    shot = _shot(12_500 + seed, 0.4, 0.15, count=10)
    for n in range(5, 6 + seed % 2):
        shot[n] = np.ones_like(shot[n])
    return Strip(shot)


def local_flash(seed: int) -> Strip:
    """A muzzle flash or a lamp: bright on one side."""
    shot = _shot(13_000 + seed, 0.35, 0.15, count=12)
    random = np.random.default_rng(seed)
    y, x, size = random.uniform(0, HEIGHT), random.uniform(0, WIDTH), random.uniform(30, 110)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    light = 1.5 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * size**2))
    for n in range(5, 5 + int(random.integers(1, 4))):
        shot[n] = np.clip(shot[n] + light, 0, 1).astype(np.float32)
    return Strip(shot)


def strobe(seed: int) -> Strip:
    """A club: every other frame or two is lit, the rest is nearly dark and grainy."""
    shot = _shot(14_000 + seed, 0.45, 0.2, count=14)
    lit = 1 + seed % 2
    shown = [picture * (1 if n // lit % 2 == 0 else 0.12) for n, picture in enumerate(shot)]
    return Strip(_with_grain(shown, 0.01, seed))


def lightning(seed: int) -> Strip:
    """Night, and a few frames of daylight with shadows of their own."""
    shot = _shot(15_000 + seed, 0.45, 0.2, count=12)
    shadow = 0.6 + 0.8 * Scene(15_500 + seed, mean=0.5, shapes=12).look()
    shown = [picture * 0.1 for picture in shot]
    for n, strength in ((4, 1.0), (5, 0.4), (7, 0.8)):
        shown[n] = np.clip(shot[n] * shadow * strength, 0, 1)
    return Strip(_with_grain(shown, 0.008, seed))


def pan(seed: int) -> Strip:
    """30 to 100 px a frame, from the first frame on or from a standstill."""
    scene = Scene(16_000 + seed)
    speed = float(scene.random.uniform(30, 100))
    places = np.cumsum([0, 0, *([speed] * 8)]) if seed % 2 else np.arange(10) * speed
    places = places * scene.random.choice([-1, 1])
    return Strip([scene.blurred(0, x - places[-1] / 2, 0, speed / 2) for x in places])


def whip(seed: int) -> Strip:
    """A pan that speeds up to 160 px a frame and is all blur, and stops again."""
    scene = Scene(17_000 + seed)
    speeds = np.array([0, 20, 60, 110, 160, 160, 110, 60, 20, 0]) * float(scene.random.uniform(0.7, 1))
    places = np.cumsum(speeds) - speeds.sum() / 2
    return Strip([scene.blurred(0, x, 0, dx, steps=25) for x, dx in zip(places, speeds, strict=True)])


def zoom(seed: int) -> Strip:
    """4 to 10 % a frame, in or out."""
    scene = Scene(18_000 + seed)
    rate = 1 + scene.random.uniform(0.04, 0.1)
    steps = np.arange(8) if seed % 2 else np.arange(8)[::-1]
    return Strip([scene.look(zoom=0.8 * rate**n) for n in steps])


def shaking(seed: int) -> Strip:
    """An action camera: up to 60 px to and fro each frame."""
    scene = Scene(19_000 + seed)
    places = scene.random.uniform(-30, 30, (10, 2))
    moves = np.diff(places, axis=0, append=places[:1])
    return Strip([scene.blurred(*place, *move / 2) for place, move in zip(places, moves, strict=True)])


def crossing(seed: int) -> Strip:
    """Somebody walks through close to the camera and covers up to 60 % of the picture."""
    shot = _shot(20_000 + seed, 0.5, 0.18, count=14)
    random = np.random.default_rng(seed)
    thing = Scene(20_500 + seed, mean=float(random.uniform(0.15, 0.8)), spread=0.08, shapes=40)
    wide = int(WIDTH * random.uniform(0.3, 0.6))
    speed = float(random.uniform(25, 50))
    for n, picture in enumerate(shot):
        left, picture = int(speed * (n - 1)) - wide, picture.copy()
        start, end = max(0, left), min(WIDTH, left + wide)
        if start < end:
            picture[:, start:end] = thing.look()[:, start - left : end - left]
        shot[n] = picture
    return Strip(shot)


def night(seed: int) -> Strip:
    """Noise of a sensor over next to nothing."""
    return Strip(_with_grain(_shot(20_900 + seed, 0.12, 0.012, count=10), 0.06, seed))


def grain(seed: int) -> Strip:
    """Strong noise over a scene of little contrast."""
    return Strip(_with_grain(_shot(21_000 + seed, 0.3, 0.06 + 0.1 * (seed % 3), count=10), 0.12, seed))


def rain(seed: int) -> Strip:
    """Bright streaks, others in each frame."""
    shot, random = _shot(22_000 + seed, 0.4, 0.15, count=10), np.random.default_rng(seed)
    for n, picture in enumerate(shot):
        picture = picture.copy()
        for _ in range(150):
            y, x, long = random.integers(0, HEIGHT), random.integers(0, WIDTH), random.integers(8, 40)
            picture[y : y + long, x : x + 1] += 0.3
        shot[n] = np.clip(picture, 0, 1)
    return Strip(shot)


def exposure(seed: int) -> Strip:
    """The camera adapts: brightness times 1.25 each frame, or down."""
    shot = _shot(23_000 + seed, 0.5, 0.2, count=10)
    gains = 1.25 ** np.arange(-6, 4)
    return Strip(
        [np.clip(p * g, 0, 1).astype(np.float32) for p, g in zip(shot, gains[:: 1 - 2 * (seed % 2)], strict=True)]
    )


def credits(seed: int) -> Strip:
    """White lines that scroll over black, 8 to 24 px a frame."""
    random = np.random.default_rng(seed)
    page = np.zeros((900, WIDTH), np.float32)
    for row in range(20, 880, int(random.integers(14, 24))):
        half = int(random.integers(20, 120))
        words = random.random(2 * half // 4) < 0.7
        page[row : row + 7, 160 - half : 160 - half + 4 * len(words)] = np.repeat(words, 4) * 0.9
    speed = int(random.integers(2, 7))
    return Strip([page[60 + speed * n : 60 + speed * n + HEIGHT] for n in range(10)])


def subtitle(seed: int) -> Strip:
    """Two lines of text appear and go."""
    shot, random = _shot(24_000 + seed, 0.4, 0.18, count=10), np.random.default_rng(seed)
    words = np.repeat(random.random((2, 50)) < 0.7, 4, axis=1)
    for n in range(4, 8):
        picture = shot[n] = shot[n].copy()
        for line in range(2):
            picture[140 + 16 * line : 150 + 16 * line, 60:260][:, words[line]] = 0.95
    return Strip(shot)


def combed(seed: int) -> Strip:
    """Interlaced: the odd lines are half a frame later, in a pan of 40 px a frame."""
    scene = Scene(25_000 + seed)
    pictures = []
    for n in range(10):
        picture = scene.look(0, 40 * (n - 5))
        picture[1::2] = scene.look(0, 40 * (n - 4.5))[1::2]
        pictures.append(picture)
    return Strip(pictures)


def still(seed: int) -> Strip:
    """Quiet footage."""
    return Strip(_shot(26_000 + seed, 0.45, 0.2, count=12))


def _shot(seed: int, mean: float, spread: float, *, count: int = LENGTH) -> list[Picture]:
    return list(Scene(seed, mean=mean, spread=spread).handheld(count))


def _hand(scene: Scene, count: int) -> NDArray[np.float64]:
    return np.cumsum(scene.random.normal(size=(count, 2)) * 4, axis=0)


def _with_grain(pictures: list[Picture], sigma: float, seed: int) -> list[Picture]:
    random = np.random.default_rng((seed, 1))
    return [np.clip(p + random.normal(0, sigma, p.shape), 0, 1).astype(np.float32) for p in pictures]


CUTS: tuple[Callable[[int], Strip], ...] = (
    different, similar, dark, pale, to_black, from_black, insert, fast, grainy, same_place,
)  # fmt: skip
OTHERS: tuple[Callable[[int], Strip], ...] = (
    dissolve, fade_to_black, fade_from_black, fade_to_white, fade_from_white, flash, white_flash, local_flash, strobe,
    lightning, pan, whip, zoom, shaking, crossing, grain, night, rain, exposure, credits, subtitle, combed, still,
)  # fmt: skip


# --- As frames --------------------------------------------------------------------------------------------------------


def frames(pictures: list[Picture], pixel_format: PixelFormat = GREY, colour: Colour | None = None) -> list[Frame]:
    """Pictures as frames, 25 a second; chroma is neutral, and the range and the transfer are those of ``colour``."""
    colour = colour or Colour()
    made = []
    for n, picture in enumerate(pictures):
        picture = _pq(picture) if colour.transfer == "smpte2084" else picture
        if colour.range == "tv" and pixel_format.family != "rgb":
            picture = (16 + 219 * picture) / 255
        luma = picture * pixel_format.peak
        luma = (luma if pixel_format.is_float else np.round(luma)).astype(dtype_for(pixel_format))
        planes = [luma] * pixel_format.colour_planes
        if pixel_format.family == "yuv":
            shape = pixel_format.plane_shape(1, *luma.shape)
            planes[1:] = [np.full(shape, round(pixel_format.peak / 2), luma.dtype)] * 2
        made.append(Frame(tuple(planes), pixel_format, colour, n, Fraction(1, 25), 1))
    return made


def _pq(picture: Picture) -> Picture:
    """Display light up to 1000 cd/m² as SMPTE ST 2084 encodes it."""
    light = (picture**2.4 * 0.1) ** 0.1593017578125
    coded: Picture = ((0.8359375 + 18.8515625 * light) / (1 + 18.6875 * light)) ** 78.84375
    return coded
