"""Pace of a pre-training stage: its limit by the clock, Ctrl-C, progress in words, and what an interrupted one left."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

logger = logging.getLogger(__name__)

#: Share of a stage's time after which no more samples are drawn.
DRAWING_SHARE = 0.6
#: Seconds between two lines of progress.
LINE_SECONDS = 10.0


class Paused(Exception):
    """A stage was asked to stop; ``kept`` is what it goes on from."""

    def __init__(self, kept: dict[str, Any]) -> None:
        super().__init__("stopped")
        self.kept = kept


class Pace:
    """Limits, stops and reports one stage.

    Args:
        what: the stage, as the lines call it.
        seconds: limit; None = as long as its clips and steps take.
        stopped: whether the stage should stop and keep its state.
        kept: state that an interrupted stage left: of the drawing ("drawing"), or of the fit ("fit").
    """

    def __init__(
        self,
        what: str,
        *,
        seconds: float | None = None,
        stopped: Callable[[], bool] = lambda: False,
        kept: Mapping[str, Any] | None = None,
    ) -> None:
        self.what, self._seconds, self._stopped = what, seconds, stopped
        self.kept: Mapping[str, Any] = kept or {}
        #: Share of the fit's schedule done by earlier calls.
        self._done_before = float(self.kept["fit"]["share"]) if "fit" in self.kept else 0.0
        self._began = self._told = time.monotonic()
        self._fit_began: float | None = None
        #: Batches taken from the stream, and clips of these that were used, in batches.
        self.batches, self.clips = 0, 0
        if "drawing" in self.kept:
            self.batches, self.clips = self.kept["drawing"]["taken"]

    @property
    def drawing_is_over(self) -> bool:
        """Whether the time for drawing is over."""
        return self._seconds is not None and time.monotonic() - self._began >= DRAWING_SHARE * self._seconds

    def share(self, by_steps: float) -> float:
        """Share of the fit's schedule that is done, by steps or by the clock, whichever is farther."""
        if self._seconds is None:
            return by_steps
        now = time.monotonic()
        if self._fit_began is None:
            self._fit_began = now
        left = self._began + self._seconds - self._fit_began
        if left <= 0:
            return 1.0
        return max(by_steps, self._done_before + (1 - self._done_before) * (now - self._fit_began) / left)

    def pause_if_asked(self, state: Callable[[], dict[str, Any]]) -> None:
        """Raise Paused with the state if the stage should stop."""
        if self._stopped():
            raise Paused(state())

    def tell(self, words: Callable[[], str]) -> None:
        """Say how far the stage is, every ten seconds."""
        now = time.monotonic()
        if now - self._told >= LINE_SECONDS:
            self._told = now
            logger.info("%s: %s", self.what, words())
