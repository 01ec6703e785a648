"""What becomes of the frames' times in containers that have none of their own, only a rate, or that begin at 0."""

from __future__ import annotations

from fractions import Fraction

from vdeblur.video.encode.containers import Container
from vdeblur.video.encode.raw_video import Picture

#: A frame that is shown so little off is where it was.
_TOLERANCE_SECONDS = Fraction(1, 1000)


class Evenness:
    """Watches the times that frames should have, and says how far the container will miss them."""

    def __init__(self, container: Container, picture: Picture) -> None:
        self._container = container
        self._interval = 1 / picture.nominal_rate if container.tick == 0 else None
        #: Frames so far.
        self.count = 0
        self._first = Fraction(0)
        self._missed = Fraction(0)

    def saw(self, seconds: Fraction) -> None:
        """A frame that should be shown at ``seconds``."""
        if not self.count:
            self._first = seconds
        if self._interval is not None:
            # Y4M counts frames; the others skip places of their grid.
            steps = self.count if self._container.only_pictures else round((seconds - self._first) / self._interval)
            self._missed = max(self._missed, abs(self._first + steps * self._interval - seconds))
        self.count += 1

    def begin_note(self) -> str | None:
        """What people should know of the first frame."""
        if not self._container.begins_at_zero or self._first <= _TOLERANCE_SECONDS:
            return None
        name = self._container.name
        return f"{name} begins at 0: the first frame is shown then, and not at {float(self._first):.6g} s"

    def end_note(self) -> str | None:
        """What people should know after the last frame."""
        if self._missed <= _TOLERANCE_SECONDS:
            return None
        milliseconds = float(self._missed * 1000)
        return f"{self._container.name} has one frame rate: frames are shown up to {milliseconds:.0f} ms off"
