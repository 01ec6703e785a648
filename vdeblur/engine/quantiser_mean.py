"""Running mean of the quantisers within a shot: what a network is told that was trained with constant rate factors.

At a constant rate factor, the quantisers of I, P and B frames differ by up to ten, and a frame is worth what the frames
it refers to are worth. Their mean over some frames is nearly constant.
"""

from __future__ import annotations

from typing import NamedTuple

#: Frames over which the mean forgets.
FRAMES = 16
#: How much higher the mean is than the rate factor, see :attr:`QuantiserMean.rate_factor`.
OFFSET = 3.0


class QuantiserMean(NamedTuple):
    """Mean over the frames of a shot so far: plain for the first :data:`FRAMES`, then forgetting.

    A value to keep beside the state of the shot; a fresh one starts it. It depends on the frames of the shot alone.
    """

    mean: float = 0.0
    count: int = 0

    def after(self, quantiser: float | None) -> QuantiserMean:
        """With one more frame; one whose quantiser is not known changes nothing."""
        if quantiser is None:
            return self
        count = min(self.count + 1, FRAMES)
        return QuantiserMean(self.mean + (quantiser - self.mean) / count, count)

    @property
    def rate_factor(self) -> float | None:
        """The constant rate factor of x264 or x265 that the mean stands for; None where no quantiser was known."""
        return max(0.0, self.mean - OFFSET) if self.count else None
