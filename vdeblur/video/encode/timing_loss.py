"""Timing loss: how far a constant-rate container, or one that starts at 0, moves frames from their timestamps."""

from __future__ import annotations

from fractions import Fraction

from vdeblur.video.encode.containers import Container
from vdeblur.video.encode.raw_video import RawVideoSpec

#: Errors up to this size are ignored.
_TOLERANCE_SECONDS = Fraction(1, 1000)


class TimingLoss:
    """Accumulates frame timestamps, and reports the largest error that the container causes."""

    def __init__(self, container: Container, spec: RawVideoSpec) -> None:
        self._container = container
        self._interval = 1 / spec.nominal_rate if container.tick == 0 else None
        #: Frames so far.
        self.count = 0
        self._first = Fraction(0)
        self._missed = Fraction(0)

    def add_frame(self, seconds: Fraction) -> None:
        """Count a frame with this presentation time."""
        if not self.count:
            self._first = seconds
        if self._interval is not None:
            # Y4M counts frames; the others skip places of their grid.
            steps = self.count if self._container.only_pictures else round((seconds - self._first) / self._interval)
            self._missed = max(self._missed, abs(self._first + steps * self._interval - seconds))
        self.count += 1

    def start_note(self) -> str | None:
        """Note on a start that the container moves to 0; ``None`` = nothing to say."""
        if not self._container.begins_at_zero or self._first <= _TOLERANCE_SECONDS:
            return None
        name = self._container.name
        return f"{name} begins at 0: the first frame is shown then, and not at {float(self._first):.6g} s"

    def end_note(self) -> str | None:
        """Note on the largest timing error, after the last frame; ``None`` = nothing to say."""
        if self._missed <= _TOLERANCE_SECONDS:
            return None
        milliseconds = float(self._missed * 1000)
        return f"{self._container.name} has one frame rate: frames are shown up to {milliseconds:.0f} ms off"
