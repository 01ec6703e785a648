"""Motion paths: smooth random similarity transforms of a camera or a layer over time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vdeblur.training.synthesis.config import SynthesisConfig
from vdeblur.training.synthesis.rng import Draw

Array = npt.NDArray[np.float64]

#: Slow swaying of a hand-held camera or of an object, cycles a frame interval.
_SWAY_CYCLES = (0.05, 0.35)
_SWAY_TERMS = 3
_TREMOR_TERMS = 2


@dataclass(frozen=True)
class MotionPath:
    """A similarity transform over time: shift, turn and zoom as a straight line plus oscillations.

    ``speed`` (4,) and ``amplitude``, ``frequency``, ``phase`` (terms, 4) are of x and y shift in pixels, angle in
    radians and logarithm of the zoom; times in frame intervals. At time ``middle`` the transform is the identity.
    All float64.
    """

    middle: float
    speed: Array
    amplitude: Array
    frequency: Array
    phase: Array

    def parameters(self, times: Array) -> Array:
        """(x, y, angle, log zoom) at each time: (N, 4)."""
        swing = np.sin(times[:, None, None] * self.frequency + self.phase)
        swing -= np.sin(self.middle * self.frequency + self.phase)
        moved: Array = (times - self.middle)[:, None] * self.speed + (self.amplitude * swing).sum(axis=1)
        return moved

    def matrices(self, times: Array) -> Array:
        """Maps from the content, in pixels from its centre, to the screen, in pixels from its centre: (N, 3, 3)."""
        x, y, angle, zoom = self.parameters(times).T
        cos, sin = np.exp(zoom) * np.cos(angle), np.exp(zoom) * np.sin(angle)
        matrices = np.zeros((len(times), 3, 3))
        matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 0, 2] = cos, -sin, x
        matrices[:, 1, 0], matrices[:, 1, 1], matrices[:, 1, 2] = sin, cos, y
        matrices[:, 2, 2] = 1
        return matrices

    def at_depth(self, factor: float) -> MotionPath:
        """The path on which the same camera moves a plane at another depth: its shifts and zoom, not its turns."""
        scale = np.array([factor, factor, 1.0, factor])
        return replace(self, speed=self.speed * scale, amplitude=self.amplitude * scale)


def still_path(middle: float) -> MotionPath:
    """The path of what does not move."""
    none = np.zeros((1, 4))
    return MotionPath(middle, none[0], none, none, none)


def random_path(config: SynthesisConfig, speed_px: float, size_px: float, middle: float, draw: Draw) -> MotionPath:
    """A path whose typical speed at the edge of a picture of ``size_px`` is ``speed_px`` pixels a frame interval.

    A random part of the motion is steady, the rest sways slowly.
    """
    direction, share = draw.between(0, 2 * math.pi), draw.between(0, 1)
    steady, sway = share * speed_px, (1 - share) * speed_px
    turn = speed_px / size_px * draw.chance(config.turn_share)
    turns = turn * (draw.uniform(2) * 2 - 1) * np.array([1.0, 0.5])
    speed = np.array([math.cos(direction) * steady, math.sin(direction) * steady, *turns])
    low, high = _SWAY_CYCLES
    frequency = (low + (high - low) * draw.uniform(_SWAY_TERMS, 1)) * 2 * math.pi
    shares = draw.uniform(_SWAY_TERMS, 4)
    scale = np.array([sway, sway, turn, turn * 0.5])
    amplitude = shares / shares.sum(axis=0) * scale * (draw.uniform(_SWAY_TERMS, 4) * 2 - 1) * 1.5 / frequency
    return MotionPath(middle, speed, amplitude, frequency.repeat(4, axis=1), draw.uniform(_SWAY_TERMS, 4) * 2 * math.pi)


def with_tremor(path: MotionPath, config: SynthesisConfig, size_px: float, draw: Draw) -> MotionPath:
    """The path with a hand's tremor on top (physiological tremor, 5 to 12 Hz)."""
    low, high = config.tremor_hz
    hertz = low + (high - low) * draw.uniform(_TREMOR_TERMS, 1)
    frequency = hertz / draw.between(*config.frame_rate) * 2 * math.pi
    strength = draw.log_between(*config.tremor_px)
    amplitude = (draw.uniform(_TREMOR_TERMS, 4) * 2 - 1) * np.array([strength, strength, strength / size_px, 0.0])
    return replace(
        path,
        amplitude=np.concatenate((path.amplitude, amplitude)),
        frequency=np.concatenate((path.frequency, frequency.repeat(4, axis=1))),
        phase=np.concatenate((path.phase, draw.uniform(_TREMOR_TERMS, 4) * 2 * math.pi)),
    )
