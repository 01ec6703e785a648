"""Colour changes in mid-stream: ranges and matrices are converted to the first, other light stops, the rest is said."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from vdeblur.errors import SourceError
from vdeblur.frames import Frame
from vdeblur.video.changes.colour_conversion import can_convert, converted, matrix_of, range_of, same_matrix
from vdeblur.video.info import VideoInfo
from vdeblur.video.interlace.handling import ShownFrame

#: Transfer functions that are no ordinary gamma; a picture of one looks wrong as a picture of another.
_LIGHT = {
    "smpte2084": "PQ", "arib-std-b67": "HLG", "linear": "linear light", "log100": "a logarithm",
    "log316": "a logarithm", "smpte428": "digital cinema",
}  # fmt: skip
#: Primaries far from those of television.
_WIDE = {"bt2020": "BT.2020", "smpte431": "P3", "smpte432": "P3", "smpte428": "XYZ"}
_RANGES = {"tv": "limited", "pc": "full"}


@dataclass
class _Change:
    """One property that changes: when first, and how many frames are converted because of it."""

    words: str
    count: int = 0


class ColourKeeper:
    """Watches the colour of frames against that of the first, and gives them all the first one's.

    Args:
        video: the description, by the first picture.
        start_seconds: where the wanted stretch begins.
        seconds_before: time of a tick since then.
    """

    def __init__(
        self, video: VideoInfo, *, start_seconds: float | None, seconds_before: Callable[[int], float]
    ) -> None:
        self._video = video
        self._start_seconds = start_seconds or 0.0
        self._seconds_before = seconds_before
        self._changes: dict[str, _Change] = {}

    @property
    def notes(self) -> list[str]:
        """What has changed, in plain words."""
        notes = []
        for change in self._changes.values():
            many = "1 frame is" if change.count == 1 else f"{change.count} frames are"
            notes.append(f"{change.words}; {many} converted" if change.count else change.words)
        return notes

    def frame(self, shown: ShownFrame) -> Frame:
        """The frame with its samples in the first one's range and matrix; of another size or format as it is.

        Raises:
            SourceError: its light or its primaries cannot be converted.
        """
        frame, first = shown.frame, self._video.colour
        if frame.colour == first:
            return frame
        self._check_light(shown)
        if (frame.size, frame.format) != ((self._video.height, self._video.width), self._video.format):
            return frame
        needed = self._note_conversions(shown)
        planes = converted(frame.planes, frame.format, frame.colour, first) if needed else frame.planes
        return replace(frame, planes=planes, colour=first)

    def _check_light(self, shown: ShownFrame) -> None:
        """Stop at another kind of light; say where names change that mean nearly the same."""
        now, first = shown.frame.colour, self._video.colour
        for what, old, new, kinds in (
            ("transfer function", first.transfer, now.transfer, _LIGHT),
            ("colour primaries", first.primaries, now.primaries, _WIDE),
        ):
            if new == old:
                continue
            words = f"the {what} change{'s' * (what[-1] != 's')} from {_named(old, kinds)} to {_named(new, kinds)}"
            if kinds.get(old or "") != kinds.get(new or ""):
                raise self._stopped(shown, words)
            if old is not None and new is not None:
                self._changes.setdefault(what, _Change(f"{words} at {shown.frame.time_seconds:.3f} s, and is not kept"))

    def _note_conversions(self, shown: ShownFrame) -> bool:
        """Count what must be converted; whether there is anything."""
        frame, first = shown.frame, self._video.colour
        ranges = [range_of(colour, frame.format) for colour in (first, frame.colour)]
        matrices = [matrix_of(colour, frame.height) for colour in (first, frame.colour)]
        pairs = {"range": [_RANGES.get(name, name) for name in ranges]}
        if frame.format.family == "yuv":
            if not can_convert(*matrices):
                raise self._stopped(shown, f"the colour matrix changes from {matrices[0]} to {matrices[1]}")
            if not same_matrix(*matrices):
                pairs["colour matrix"] = matrices
        needed = False
        for what, (old, new) in pairs.items():
            if old != new:
                words = f"the {what} changes from {old} to {new} at {frame.time_seconds:.3f} s"
                self._changes.setdefault(what, _Change(words)).count += 1
                needed = True
        return needed

    def _stopped(self, shown: ShownFrame, words: str) -> SourceError:
        before = self._seconds_before(shown.source_tick)
        later = f"--start {_rounded_down(self._start_seconds + before)} what follows"
        ways = f"--duration {_rounded_down(before)} restores what is before, {later}"
        return SourceError(f"{words} at {shown.frame.time_seconds:.3f} s, which cannot be converted; {ways}")


def _rounded_down(seconds: float) -> str:
    """Seconds for a command line; they do not reach the next frame."""
    return f"{math.floor(seconds * 1000 + 1e-6) / 1000:.3f}".rstrip("0").rstrip(".")


def _named(name: str | None, kinds: dict[str, str]) -> str:
    if name is None:
        return "unknown"
    return f"{name} ({kinds[name]})" if name in kinds else name
