"""Known exposure: the exposure fraction of a frame, as the user or its camera says it; NaN = to be read from the blur.

The network multiplies motion per frame interval by the exposure fraction. Its motion is the mean of that from the
previous and that to the next frame, so a time is divided by the mean of the same two intervals: where the frame rate
varies, every frame has its own fraction.

What a camera wrote down can be wrong for the video at hand: slow motion filmed at 120 frames a second and played at 30
has a quarter of the exposure fraction that its times would say. Where the blur clearly says something else for a while,
the blur is believed. What the user says is never questioned.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple, overload

import torch
from torch import Tensor

from vdeblur.adapters.pictures import number_of
from vdeblur.errors import UsageError
from vdeblur.frames import CameraExposure, Frame
from vdeblur.options import OPTIONS
from vdeblur.shutter import Shutter, ShutterSetting, seconds_words

#: Bounds of exposure fractions: with less there is nothing to correct.
LEAST, GREATEST = 0.01, 1.0
#: Timestamps are rounded: a time so much longer than the frame interval is still taken for the interval.
ROUNDING = 1.1
#: The blur contradicts a camera's fraction that lies so far outside of what a reading allows, ...
CONTRADICTION = 0.25
#: ... if the reading is surer than this (high − low), ...
CONFIDENT = 0.3
#: ... and is believed from then on in the shot when it has done so for so many frames in a row.
PATIENCE_FRAMES = 8
#: Source of a fraction that the user said.
GIVEN = "as given"


class Neighbourhood(NamedTuple):
    """A frame with its neighbours of the same shot that its window has, None if missing."""

    previous: Frame | None
    current: Frame
    following: Frame | None


class KnownFraction(NamedTuple):
    """Exposure fraction of a frame as somebody said it.

    ``fraction``: NaN if nobody did; ``source``: GIVEN, what the camera wrote it into, or empty; ``seconds``: the
    exposure time, where that was said.
    """

    fraction: float = math.nan
    source: str = ""
    seconds: float | None = None

    @property
    def from_camera(self) -> bool:
        return not math.isnan(self.fraction) and self.source != GIVEN


@dataclass(frozen=True)
class FrameShutter:
    """Exposure fraction that a frame was restored with, beside what was said and what the blur says of it."""

    #: What it was restored with.
    used: float
    known: KnownFraction
    #: Reading of the blur (:class:`vdeblur.model.exposure.Reading`): the median, and between which two it lies.
    middle: float
    low: float
    high: float
    #: The camera has been contradicted for so long that the blur was believed.
    overruled: bool

    @property
    def source(self) -> str:
        """Whose word it was restored with: GIVEN, what the camera wrote it into, or empty for the blur."""
        return "" if self.overruled else self.known.source


def frame_shutter(numbers: Sequence[float], known: KnownFraction) -> FrameShutter:
    """Shutter of a frame, from the fraction that the network was told (NaN: none) and its reading."""
    told, taken, middle, low, high = numbers
    unknown = math.isnan(told)
    overruled = unknown and not math.isnan(known.fraction)
    return FrameShutter(taken if unknown else told, known, middle, low, high, overruled)


@overload
def contradicts(camera: float, low: float, high: float) -> bool: ...
@overload
def contradicts(camera: float, low: Tensor, high: Tensor) -> Tensor: ...
def contradicts(camera: float, low: Any, high: Any) -> Any:
    """Whether a camera's fraction lies far outside of what the blur allows: [low, high] of a reading."""
    return (camera < low - CONTRADICTION) | (camera > high + CONTRADICTION)


def count_contradictions(camera: float, reading: Tensor, before: Tensor) -> Tensor:
    """For how many frames in a row the blur has contradicted the camera (1,), without asking the device for anything.

    Args:
        camera: the camera's fraction for the frame at hand.
        reading: what the blur says of it (1, 4), packed.
        before: the count up to the frame before (1,). Once it is PATIENCE_FRAMES, it stays so.
    """
    low, high = reading[:, 2], reading[:, 3]
    against = contradicts(camera, low, high) & (high - low < CONFIDENT)
    return torch.where(before >= PATIENCE_FRAMES, before, (before + 1) * against)


def frame_interval(frames: Neighbourhood) -> Fraction | None:
    """Mean interval in seconds to the neighbours; of a lone frame its duration; None if unknown."""
    current = frames.current
    if number_of(current) is not None:
        return None
    times = [None if frame is None else frame.pts * frame.time_base for frame in frames]
    steps = [
        later - earlier
        for earlier, later in itertools.pairwise(times)
        if earlier is not None and later is not None and later > earlier
    ]
    if steps:
        return sum(steps, Fraction(0)) / len(steps)
    return current.duration * current.time_base if current.duration > 0 else None


def exposure_fraction(exposure: Shutter | CameraExposure, interval: Fraction | None) -> float:
    """Exposure fraction, LEAST to GREATEST, for a frame interval in seconds; NaN if unknown."""
    if exposure.seconds is not None:
        fraction = math.nan if interval is None else float(exposure.seconds / interval)
    else:
        fraction = math.nan if exposure.fraction is None else exposure.fraction
    # What a camera wrote may be anything.
    return min(max(fraction, LEAST), GREATEST) if fraction > 0 else math.nan


class KnownExposure:
    """Exposure fraction of each frame as far as it is known: the user's shutter, else what its camera wrote down.

    Args:
        setting: the user's shutter; the attribute ``shutter`` may be set between frames.
        usable: whether the network takes a known exposure.

    Raises:
        UsageError: the setting is none, or the network cannot use it.
    """

    def __init__(self, setting: ShutterSetting, *, usable: bool) -> None:
        self.usable = usable
        #: Messages for people.
        self.notes: list[str] = []
        self._overruled: set[str] = set()
        self._too_long = False
        self.shutter = setting

    @property
    def shutter(self) -> ShutterSetting:
        """The user's shutter in its usual form."""
        return self._shutter.setting

    @shutter.setter
    def shutter(self, setting: ShutterSetting) -> None:
        shutter = Shutter.parse(OPTIONS["shutter"].checked(setting))
        if not (shutter.auto or self.usable):
            raise UsageError(
                f"this network does not use the exposure, so shutter cannot be {setting!r}; use shutter auto"
            )
        self._shutter = shutter

    @property
    def given(self) -> bool:
        """Whether the user said the shutter, so that nothing has to be read."""
        return not self._shutter.auto

    def fraction(self, frames: Neighbourhood) -> KnownFraction:
        """Known exposure fraction of the current frame, LEAST to GREATEST; NaN: to be read from the blur.

        Raises:
            UsageError: the shutter is a time, and the pictures have none.
        """
        interval = frame_interval(frames)
        if self._shutter.auto:
            camera = frames.current.exposure
            share = math.nan if camera is None else exposure_fraction(camera, interval)
            if camera is None or math.isnan(share):
                return KnownFraction()
            return KnownFraction(share, camera.source, camera.seconds)
        seconds = self._shutter.seconds
        if seconds is not None:
            self._check(seconds, interval, frames.current)
        share = exposure_fraction(self._shutter, interval)
        return KnownFraction(share, GIVEN, None if seconds is None else float(seconds))

    def note_overruled(self, shutter: FrameShutter) -> None:
        """Tell, once for each camera, that the blur is believed."""
        camera = shutter.known
        if camera.source not in self._overruled:
            self._overruled.add(camera.source)
            self.notes.append(
                f"{camera.source} says {camera.fraction:.2f} of the frame interval, the blur {shutter.middle:.2f} "
                f"({shutter.low:.2f} to {shutter.high:.2f}): the blur is believed; give shutter=… to decide"
            )

    def _check(self, seconds: Fraction, interval: Fraction | None, frame: Frame) -> None:
        if number_of(frame) is not None:
            raise UsageError(
                f"shutter {self._shutter} needs pictures with times, and these have none; "
                "give a share of the frame interval (0.5) or degrees (180)"
            )
        if interval is not None and seconds > interval * Fraction(ROUNDING) and not self._too_long:
            self._too_long = True
            self.notes.append(
                f"shutter {self._shutter} is longer than the frame interval of {seconds_words(float(interval))}: "
                "taken as the whole interval"
            )
