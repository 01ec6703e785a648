"""Combing detection: from pictures alone, whether frames hold two instants, and which field is the earlier one.

Where something moves, the rows of two fields fit each other the better the nearer their instants are. So the even rows
of a frame are compared with its own odd rows and with those of the frame before, and the odd rows likewise. In whole
frames the own rows fit best; in interlaced ones the later field's own rows fit no better than those of the field
before it. FFmpeg's ``idet`` asks the same with other numbers; it takes the hard edges of a test picture that moves up
or down for fields, and of a hand-held clip made into fields it gives a sixth of the frames the wrong order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vdeblur.frames import FieldOrder

#: Change of a sample in two frames, as a share of the peak, from which it counts as moved.
MOVED = 0.05
#: Moved samples that a pair of frames must have to be judged.
LEAST_MOVED = 50
#: Own rows of whole frames differ by at most this share of what strange rows differ by.
WHOLE = 0.75
#: Rows three fields apart differ by at least this times what neighbours differ by.
FAR = 1.1
#: A field is a repeated one if it changes by less than this share of what the other field changes by.
REPEATED = 0.25
#: About so many columns are looked at.
COLUMNS = 320

Shown = FieldOrder | Literal["progressive", "telecine"]
Luma = NDArray[np.int32]


@dataclass(frozen=True)
class Pair:
    """Two neighbouring frames: what the second shows, and whether one of its fields repeats that of the first."""

    shown: FieldOrder | Literal["progressive"] | None
    repeated: Literal["top", "bottom"] | None


class Combing:
    """Looks at frames that follow one another; :meth:`verdict` sums up. A new stretch begins with :meth:`restart`."""

    def __init__(self) -> None:
        self._stretches: list[list[Pair]] = []
        self._last: Luma | None = None

    def restart(self) -> None:
        self._last = None

    def add(self, luma: NDArray[Any], peak: float) -> None:
        """The next frame's luma (rows, columns); of another size, it begins a new stretch."""
        now = luma[:, :: max(1, luma.shape[1] // COLUMNS)].astype(np.int32)
        if self._last is None or self._last.shape != now.shape:
            self._stretches.append([])
        elif min(now.shape) >= 4:
            self._stretches[-1].append(judge(self._last, now, peak * MOVED))
        self._last = now

    @property
    def votes(self) -> Counter[str]:
        """How many pairs show what."""
        return Counter(pair.shown for stretch in self._stretches for pair in stretch if pair.shown is not None)

    def verdict(self, *, share: float = 0.6, least: int = 6) -> Shown | None:
        """What at least ``share`` of the pairs that tell, and at least ``least`` of them, show; ``None`` = unclear."""
        if any(_is_pulldown(stretch) for stretch in self._stretches):
            return "telecine"
        votes = self.votes
        names: tuple[Shown, ...] = ("tff", "bff", "progressive")
        shown = max(names, key=lambda name: votes[name])
        opposite = {"tff": "bff", "bff": "tff"}.get(shown)
        if votes[shown] < max(least, share * votes.total()):
            return None
        return None if opposite is not None and votes[opposite] > 0.1 * votes.total() else shown


def judge(before: Luma, now: Luma, moved: float) -> Pair:
    """What two neighbouring frames show; ``moved`` in sample values."""
    top, bottom, old_top, old_bottom = now[0::2], now[1::2], before[0::2], before[1::2]
    rows = min(len(top) - 1, len(bottom))
    top_change, bottom_change = np.abs(top - old_top)[:rows], np.abs(bottom - old_bottom)[:rows]
    where = np.maximum(top_change, bottom_change) > moved
    if np.count_nonzero(where) < LEAST_MOVED:
        return Pair(None, None)
    own, top_strange, bottom_strange = (
        float(_misfit(even, odd, rows)[where].mean())
        for even, odd in ((top, bottom), (top, old_bottom), (old_top, bottom))
    )
    shown: FieldOrder | Literal["progressive"] | None = None
    if own < WHOLE * min(top_strange, bottom_strange):
        shown = "progressive"
    elif bottom_strange > FAR * max(own, top_strange):
        shown = "tff"
    elif top_strange > FAR * max(own, bottom_strange):
        shown = "bff"
    changes = float(top_change.mean()), float(bottom_change.mean())
    repeated: Literal["top", "bottom"] | None = None
    if min(changes) < REPEATED * max(changes):
        repeated = "top" if changes[0] < changes[1] else "bottom"
    return Pair(shown, repeated)


def _misfit(even: Luma, odd: Luma, rows: int) -> Luma:
    """How far odd rows lie from between the even rows around them."""
    misfit: Luma = np.abs(even[:rows] + even[1 : rows + 1] - 2 * odd[:rows])
    return misfit


def _is_pulldown(stretch: Sequence[Pair]) -> bool:
    """Whether a field is repeated in a rhythm of five frames, each field once: film in 3:2 pulldown."""
    places = {
        field: [place for place, pair in enumerate(stretch) if pair.repeated == field] for field in ("top", "bottom")
    }
    return all(
        len(found) >= 2 and all((later - earlier) % 5 == 0 for earlier, later in pairwise(found))
        for found in places.values()
    )
