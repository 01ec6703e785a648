"""Clip schedule: a stateless mapping from steps to clips, so that training can resume at any step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from vdeblur.training.synthesis.rng import Draw


class ClipUse(NamedTuple):
    """One clip of one step: which kind, its number, and which of its uses this is."""

    kind: str
    clip: int
    turn: int


@dataclass(frozen=True)
class ClipSchedule:
    """Every clip serves ``reuse`` times, at steps that lie apart; each use but the first is drawn from earlier clips.

    Clips are numbered in the order in which they are first needed. They come in blocks of ``block``; use k of a block's
    clips falls k blocks later, each time in another order. One clip is new for every ``reuse`` uses, so the work is
    spread evenly, and a start at a late step needs no more than ``reuse`` blocks.

    Args:
        averaged_share: share of steps, evenly spread, whose clips are averaged from videos.
    """

    seed: int
    batch: int
    reuse: int
    block: int
    averaged_share: float = 0.0

    def step(self, number: int) -> list[ClipUse]:
        """The uses of a step, from 0."""
        before = int(number * self.averaged_share)
        averaged = int((number + 1) * self.averaged_share) > before
        kind, step = ("averaged", before) if averaged else ("synthetic", number - before)
        return [self._use(kind, use) for use in range(step * self.batch, (step + 1) * self.batch)]

    def _use(self, kind: str, use: int) -> ClipUse:
        newest, turn = divmod(use, self.reuse)
        block, place = divmod(newest, self.block)
        if turn:
            place = Draw.of(self.seed, kind, "order", block, turn).order(self.block)[place]
        return ClipUse(kind, (block - turn) * self.block + place, turn)

    def oldest(self, kind: str, uses: list[ClipUse]) -> int:
        """The oldest clip that uses from these on may still need."""
        newest = max(use.clip // self.block + use.turn for use in uses if use.kind == kind)
        return (newest - self.reuse + 1) * self.block

    def new_clips(self, first_step: int) -> Iterator[tuple[str, int]]:
        """(kind, number) of every clip in the order in which steps from ``first_step`` on first need them."""
        known: dict[str, set[int]] = {}
        number = first_step
        while True:
            uses = self.step(number)
            kind = uses[0].kind
            have = known.setdefault(kind, set())
            for use in uses:
                if use.clip not in have:
                    have.add(use.clip)
                    yield kind, use.clip
            oldest = self.oldest(kind, uses)
            have.difference_update([clip for clip in have if clip < oldest])
            number += 1
