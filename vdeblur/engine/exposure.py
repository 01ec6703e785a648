"""Known exposure: the exposure fraction of a frame, as the user or its camera says it; NaN = to be read from the blur.

The network multiplies motion per frame interval by the exposure fraction. Its motion is the mean of that from the
previous and that to the next frame, so a time is divided by the mean of the same two intervals: where the frame rate
varies, every frame has its own fraction.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import NamedTuple

from vdeblur.adapters.pictures import number_of
from vdeblur.errors import UsageError
from vdeblur.frames import CameraExposure, Frame
from vdeblur.options import OPTIONS
from vdeblur.shutter import Shutter, ShutterSetting, seconds_words

#: Bounds of exposure fractions: with less there is nothing to correct.
LEAST, GREATEST = 0.01, 1.0
#: Timestamps are rounded: a time so much longer than the frame interval is still taken for the interval.
ROUNDING = 1.1


class Neighbourhood(NamedTuple):
    """A frame with its neighbours of the same shot that its window has, None if missing."""

    previous: Frame | None
    current: Frame
    following: Frame | None


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

    def fraction(self, frames: Neighbourhood) -> float:
        """Known exposure fraction of the current frame, LEAST to GREATEST; NaN: to be read from the blur.

        Raises:
            UsageError: the shutter is a time, and the pictures have none.
        """
        if self._shutter.auto:
            camera = frames.current.exposure
            return math.nan if camera is None else exposure_fraction(camera, frame_interval(frames))
        interval = frame_interval(frames)
        if self._shutter.seconds is not None:
            self._check(self._shutter.seconds, interval, frames.current)
        return exposure_fraction(self._shutter, interval)

    def _check(self, seconds: Fraction, interval: Fraction | None, frame: Frame) -> None:
        if number_of(frame) is not None:
            raise UsageError(
                f"shutter {self._shutter} needs pictures with times, and these have none; "
                "give a share of the frame interval (0.5) or degrees (180)"
            )
        if interval is not None and seconds > interval * Fraction(ROUNDING) and not self.notes:
            self.notes.append(
                f"shutter {self._shutter} is longer than the frame interval of {seconds_words(float(interval))}: "
                "taken as the whole interval"
            )
