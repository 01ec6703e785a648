"""Exposure as it is written: values of a packet, and what of them can be believed.

The parsers of this folder are our own. ``py-gpmf-parser`` (0.1.1) and ``telemetry-parser`` (0.3.0) gave the same values
for two GoPro files, but both want a path and parse the whole file at once; here packets come from PyAV one by one, and
what is needed of each format is some dozens of lines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from vdeblur.frames import CameraExposure

#: Shorter times are no shutter's; longer ones no video's.
_LEAST_SECONDS, _MOST_SECONDS = 1e-6, 1.0
#: Share of the frame interval that rounding and read-out explain; beyond it the value belongs to something else.
_MOST_FRACTION = 1.5
#: How far the camera's clock may differ from the time line before it is slow motion or time lapse.
_REAL_TIME = (0.9, 1.1)


@dataclass(frozen=True)
class WrittenExposure:
    """One value: exactly one of ``seconds`` and ``fraction``.

    Args:
        source: where it was written, for people.
        seconds: exposure time.
        fraction: shutter angle divided by 360°.
        speed: seconds of capture for one second of playing: 0.25 in slow motion, more than 1 in time lapse.
    """

    source: str
    seconds: float | None = None
    fraction: float | None = None
    speed: float = 1.0


@dataclass(frozen=True)
class PacketExposures:
    """Values of one packet of a metadata track, spread evenly over the time for which it is valid.

    Args:
        seconds: exposure times; ``None`` = nothing is written there.
        fractions: or shutter angles divided by 360°, where there are no times.
        clock_seconds: the camera's own clock at the first value, where it is written.
        capture_rate: frames a second that the sensor took, where it is written.
    """

    seconds: tuple[float, ...] = ()
    fractions: tuple[float, ...] = ()
    clock_seconds: float | None = None
    capture_rate: float | None = None


class PacketReader(Protocol):
    """Reads packets of one metadata track in their order; it may remember what the first one said."""

    #: For people.
    source: str

    def recognises(self, data: bytes) -> bool:
        """Whether a packet that came early in a track is of this format."""

    def read(self, data: bytes) -> PacketExposures:
        """Values of a packet; none where it is damaged."""


def believed(written: WrittenExposure, interval: float | None) -> CameraExposure | None:
    """What can be believed of a value.

    Args:
        interval: seconds from frame to frame as the video is played; ``None`` = unknown.

    Returns:
        Seconds where the video plays as fast as it was taken, else the share of the interval between two captures;
        ``None`` where the value is absurd (not a number, not positive, far longer than a frame).
    """
    if written.fraction is not None:
        return _fraction(written.source, written.fraction)
    seconds = written.seconds
    if seconds is None or not _LEAST_SECONDS <= seconds <= _MOST_SECONDS:  # NaN fails too
        return None
    if not _REAL_TIME[0] <= written.speed <= _REAL_TIME[1]:
        known = interval is not None and 0 < written.speed < math.inf
        return _fraction(written.source, seconds / (interval * written.speed)) if known and interval else None
    if interval is not None and seconds > _MOST_FRACTION * interval:
        return None
    return CameraExposure(written.source, seconds=seconds)


def _fraction(source: str, fraction: float) -> CameraExposure | None:
    return CameraExposure(source, fraction=min(fraction, 1.0)) if 0 < fraction <= _MOST_FRACTION else None
