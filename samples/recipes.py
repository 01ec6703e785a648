"""The sample clips as recipes: what stands before the camera, how both move, how the exposure is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import street as street_scene
import van
from camera import Layer, Picture, Pose, Shot, develop, expose, layer, render, shake
from shelf import shelf

SIZE = (360, 640)
HEIGHT, WIDTH = SIZE
MIDDLE = (WIDTH / 2, HEIGHT / 2)


@dataclass(frozen=True)
class Clip:
    """One sample: its shots, frames a second, shutter (part of the frame interval it is open) and x264's CRF."""

    name: str
    shots: Callable[[], tuple[Shot, ...]]
    rate: int
    shutter: float
    frames: int
    crf: float
    seed: int
    sound: bool = False

    def picture(self, index: int, *, sharp: bool = False) -> Picture:
        """Frame ``index`` as 8-bit sRGB (height, width, 3): as filmed, or ``sharp`` at the middle of its exposure."""
        shot, first = self._shot_at(index)
        if sharp:
            return develop(render(shot, (index - first) / self.rate, SIZE), None)
        light = expose(shot, index - first, self.rate, self.shutter, SIZE)
        return develop(light, np.random.default_rng([self.seed, index]))

    def _shot_at(self, index: int) -> tuple[Shot, int]:
        first = 0
        for shot in self.shots():
            if index < first + shot.frames:
                return shot, first
            first += shot.frames
        raise IndexError(f"{self.name} has {self.frames} frames, there is no frame {index}")

    def pictures(self, count: int | None = None) -> Iterator[Picture]:
        """The first ``count`` frames as filmed, or all of them."""
        return (self.picture(index) for index in range(min(count or self.frames, self.frames)))


@cache
def _street_layer() -> Layer:
    return layer(street_scene.street(1), lambda t: Pose(640, 235, *MIDDLE))


@cache
def _handheld() -> tuple[Shot, ...]:
    """A hand-held look at the bookshop, with a lamp post close to the camera."""
    x = shake(11, (18, 9, 3), (2.1, 3.9, 7.0))
    y = shake(12, (10, 6, 2.5), (1.7, 3.4, 6.1))
    turn = shake(13, (0.7, 0.3), (1.3, 3.1))

    def wall(t: float) -> Pose:
        return Pose(440 + x(t), 240 + y(t), *MIDDLE, turn(t), 1.0 + 0.01 * t)

    def post(t: float) -> Pose:
        return Pose(30 + 1.4 * x(t), 238 + 1.4 * y(t), 604, MIDDLE[1], turn(t), 1.12)

    return (Shot((Layer(_street_layer().texture, wall), layer(street_scene.lamp_post(), post)), 52),)


@cache
def _passing() -> tuple[Shot, ...]:
    """A van drives through the picture; the camera stands on a tripod."""
    speed = 16.5 * 24
    bounce = shake(21, (1.2, 0.5), (1.9, 5.3))
    sway = shake(22, (0.25, 0.1), (1.1, 3.7))

    def house(t: float) -> Pose:
        return Pose(958 + sway(t), 266 + sway(t + 9), *MIDDLE)

    def at(t: float) -> float:
        return -440 + speed * t

    def body(t: float) -> Pose:
        return Pose(0, 0, at(t), 130 + bounce(t))

    def wheel(axle: tuple[float, float]) -> Callable[[float], Pose]:
        middle = van.WHEEL / 2
        return lambda t: Pose(middle, middle, at(t) + axle[0], 130 + axle[1], np.degrees(speed * t / 32))

    layers = [
        Layer(_street_layer().texture, house),
        layer(van.shadow(), lambda t: Pose(20, 0, at(t), 336)),
        layer(van.body(), body),
        *(layer(van.wheel(), wheel(axle)) for axle in van.AXLES),
    ]
    return (Shot(tuple(layers), 72),)


@cache
def _cut() -> tuple[Shot, ...]:
    """A pan along the street, cut to a pan along a bookshelf; the camera never rests."""
    x, y = shake(31, (5, 3), (1.7, 4.1)), shake(32, (6, 2.5), (1.5, 3.7))

    def along_street(t: float) -> Pose:
        return Pose(352 + 13 * 30 * t + x(t), 232 + y(t), *MIDDLE, 0.05 * x(t))

    def along_shelf(t: float) -> Pose:
        return Pose(790 - 12.5 * 30 * t + x(t), 252 - 2 * 30 * (t - 0.6) + y(t), *MIDDLE, 0.05 * y(t))

    street_shot = Shot((Layer(_street_layer().texture, along_street),), 36)
    return street_shot, Shot((layer(shelf(4), along_shelf),), 36)


CLIPS = {
    clip.name: clip
    for clip in (
        Clip("handheld", _handheld, rate=25, shutter=0.7, frames=52, crf=24, seed=41, sound=True),
        Clip("passing", _passing, rate=24, shutter=0.65, frames=72, crf=19, seed=42),
        Clip("cut", _cut, rate=30, shutter=0.6, frames=72, crf=20, seed=43),
    )
}
