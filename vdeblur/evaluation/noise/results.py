"""Results of a noise evaluation: scores, their means, and JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from vdeblur.evaluation.noise.scores import (
    PROTOCOL,
    NoiseMean,
    NoiseScore,
    PhotoMean,
    PhotoScore,
    noise_means,
    photo_means,
    with_best_settings,
)
from vdeblur.evaluation.noise.steadiness import Steadiness


@dataclass(frozen=True)
class NoiseEvaluation:
    """All that was found."""

    #: Device, lookahead, frames of a clip at most; versions.
    conditions: dict[str, Any]
    clips: tuple[NoiseScore, ...]
    photos: tuple[PhotoScore, ...]
    scenes: tuple[Steadiness, ...]

    def means(self) -> list[NoiseMean]:
        """Means over the clips of each data set, for each kind of noise and method."""
        return noise_means(self.clips)

    def photo_means(self) -> list[PhotoMean]:
        """Means over the pairs of real noise, of denoisers at their best settings."""
        return with_best_settings(photo_means(self.photos))

    def as_dict(self) -> dict[str, Any]:
        """Everything as what JSON has words for."""
        return {
            "protocol": PROTOCOL,
            "conditions": self.conditions,
            "means": [asdict(each) for each in self.means()],
            "photo_means": [asdict(each) for each in photo_means(self.photos)],
            "best_photo_means": [asdict(each) for each in self.photo_means()],
            "scenes": [{**asdict(each), "fall_db": each.fall_db} for each in self.scenes],
            "clips": [asdict(each) for each in self.clips],
            "photos": [{**asdict(each), "gain_db": each.gain_db} for each in self.photos],
        }
