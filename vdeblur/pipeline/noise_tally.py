"""Noise tally: how noisy a video was over all its frames, and what was done about it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from vdeblur.engine.guide.stage import FrameNoise
from vdeblur.pipeline.noise_reading import CLEAN_CODED_NOISE, CLEAN_NOISE, LEAST_USED

#: Levels and quantisers are counted in steps of a tenth, so that a long video takes no more memory than a short one.
_STEPS = 10


@dataclass(frozen=True)
class UsedNoise:
    """Noise and compression of a video's frames that were restored by a cleaner picture."""

    #: Median standard deviation of luma, of 255.
    level: float
    #: The user said the level; else it was read from the picture.
    given: bool
    #: Median quantiser of the codec, as H.264 counts; None where it is not known.
    quantiser: float | None
    #: Median share of the noise that was removed.
    removed: float
    #: How many frames that is.
    frames: int
    frames_total: int

    @property
    def words(self) -> str:
        """For people: "8.1 of 255, compression 27: worked from a cleaner picture; noise kept"."""
        said = f"{self.level:.1f} of 255" + (" (as given)" if self.given else "")
        coded = "" if self.quantiser is None else f", compression {self.quantiser:.0f}"
        part = "" if self.frames == self.frames_total else f" for {self.frames} of {self.frames_total} frames"
        share = "" if self.removed in (0, 1) else f"{self.removed:.0%} of the "
        least = CLEAN_NOISE if self.quantiser is None else CLEAN_CODED_NOISE
        what = "noise" if self.level > 255 * least else "coding artefacts"
        kept = f"{share}{what} removed" if self.removed else f"{what} kept"
        return f"{said}{coded}: worked from a cleaner picture{part}; {kept}"


class NoiseTally:
    """Counts the noise of every frame, in constant memory."""

    def __init__(self) -> None:
        self._levels: Counter[float] = Counter()
        self._quantisers: Counter[float] = Counter()
        self._removed: Counter[float] = Counter()
        self._given = self._frames = self._total = 0

    def add(self, noise: FrameNoise | None) -> None:
        """Count a frame; None, without a guide, counts for nothing."""
        if noise is None:
            return
        self._total += 1
        if noise.used < LEAST_USED:
            return
        self._frames += 1
        self._given += noise.given
        self._levels[round(noise.level * _STEPS) / _STEPS] += 1
        self._removed[noise.removed] += 1
        if noise.quantiser is not None:
            self._quantisers[round(noise.quantiser * _STEPS) / _STEPS] += 1

    @property
    def clean(self) -> bool:
        """Frames have been counted, and none was noisy or coarsely coded."""
        return self._total > 0 and not self._frames

    def result(self) -> UsedNoise | None:
        """What was found; None if no frame was noisy or coarsely coded."""
        if not self._frames:
            return None
        return UsedNoise(
            level=_median(self._levels),
            given=2 * self._given > self._frames,
            quantiser=_median(self._quantisers) if self._quantisers else None,
            removed=_median(self._removed),
            frames=self._frames,
            frames_total=self._total,
        )


def _median(counter: Counter[float]) -> float:
    """Value that half of the counted ones do not exceed."""
    left = counter.total() / 2
    for value, count in sorted(counter.items()):
        left -= count
        if left <= 0:
            return value
    raise ValueError("nothing has been counted")
