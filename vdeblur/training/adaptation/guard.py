"""Drift guard: which weights an adaptation ends with, the adapted ones or those it began with."""

from __future__ import annotations

import copy
import time
from typing import NamedTuple

from vdeblur.model.guide.guide_net import GuideNet
from vdeblur.training.adaptation.footage import ClipWindow
from vdeblur.training.adaptation.neighbours import Targets, disagreement, guides_of
from vdeblur.training.adaptation.synthetic_clips import standard_clips, standard_gain

#: Checks in a row without a better one, after which nothing better is expected.
_PATIENCE = 2
#: What must be won on frames that nothing was learned from, dB; less may be chance.
LEAST_GAIN_DB = 0.05


class Measured(NamedTuple):
    """Disagreement with neighbours on held-out frames, dB (less is better), and gain on synthetic clips, dB."""

    held_db: float
    synthetic_db: float


class DriftGuard:
    """Keeps the best weights by held-out frames of the clip; those that fall behind on synthetic clips do not count.

    Args:
        start: the weights to fall back to.
        held: windows, and what neighbours say of their frames.
        margin_db: how far the gain on synthetic clips may fall.
    """

    def __init__(self, start: GuideNet, held: list[tuple[ClipWindow, Targets]], margin_db: float) -> None:
        self._held, self._clips, self._margin_db = held, standard_clips(), margin_db
        began = time.monotonic()
        self.first = self._measure(start)
        #: How long a check takes.
        self.seconds = time.monotonic() - began
        self.best, self.best_net = self.first, start
        self.best_step = 0
        self._worse = 0
        #: Why it ended early; empty if it did not.
        self.reason = ""

    def check(self, net: GuideNet, step: int) -> Measured:
        """Measure weights, and keep a copy where they are the best so far."""
        now = self._measure(net)
        if now.synthetic_db < self.first.synthetic_db - self._margin_db:
            self.reason = (
                f"at step {step} the gain on synthetic clips fell from {self.first.synthetic_db:+.2f} "
                f"to {now.synthetic_db:+.2f} dB"
            )
        elif now.held_db < self.best.held_db:
            self.best, self.best_step, self._worse = now, step, 0
            self.best_net = copy.deepcopy(net).eval()
        else:
            self._worse += 1
            if self._worse >= _PATIENCE:
                self.reason = f"frames that were held out got no better after step {self.best_step}"
        return now

    @property
    def helped(self) -> bool:
        """Whether the best weights are other ones than the first."""
        return self.first.held_db - self.best.held_db >= LEAST_GAIN_DB

    def _measure(self, net: GuideNet) -> Measured:
        was_training = net.training
        net.eval()
        total = 0.0
        for window, targets in self._held:
            guides, _ = guides_of(net, window.frames, window.quantiser)
            apart = Targets(targets.frames[window.held :], targets.weight[window.held :])
            total += 10 * float(disagreement(guides[window.held :], apart))
        synthetic = standard_gain(net, self._clips)
        net.train(was_training)
        return Measured(total / len(self._held), synthetic)
