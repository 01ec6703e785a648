"""Noise configuration: which noise the clips of a guide have, in shares and ranges, checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from vdeblur.errors import UsageError
from vdeblur.training.synthesis.config import Range

#: Kinds of noise beside that of the synthesis, which takes the rest: camera, codec or neither.
KINDS = ("white", "poisson", "correlated", "clean")


@dataclass(frozen=True, kw_only=True)
class NoiseConfig:
    """Noise of a guide's clips; shares are of clips, ranges are log-uniform where nothing else is said.

    The clips of the synthesis keep the camera's noise and its codec; the others begin anew from the truth.

    Raises:
        UsageError: a number is out of its range; the message names it.
    """

    #: Shares of white noise, of shot and read noise, of noise that neighbours share, and of no noise; the rest has
    #: what the synthesis gave it.
    white_share: float = 0.19
    poisson_share: float = 0.06
    correlated_share: float = 0.3
    clean_share: float = 0.09
    #: White noise: standard deviation in R', G' and B', levels of 8 bits.
    white: Range = (2.0, 30.0)
    #: Shot noise, variance per unit of linear light, and read noise, variance, both at full scale 1.
    shot: Range = (1.2e-4, 6.7e-3)
    read: Range = (8.3e-7, 3.4e-4)
    #: Correlated noise, as demosaicking and a camera's denoiser leave it: standard deviation of luma, levels of 8 bits;
    #: that of chroma as a share of it, drawn evenly; grain of luma and blotches of chroma, standard deviations of the
    #: Gaussians that spread them, pixels, drawn evenly.
    correlated: Range = (1.0, 10.0)
    chroma_ratio: Range = (0.15, 0.75)
    grain_px: Range = (0.25, 1.15)
    blotch_px: Range = (0.4, 5.5)
    #: Share of clips with correlated noise that become JPEG, and its quality (1 to 100), drawn evenly.
    jpeg_share: float = 0.65
    jpeg_quality: Range = (50.0, 97.0)
    #: Share of the clips with white noise that are told how strong it is, as a user may.
    told_share: float = 0.3
    #: Share of the coded clips whose quantiser is withheld, and by how much others are wrong: standard deviation.
    withheld_share: float = 0.1
    quantiser_error: float = 1.5
    #: Share of the clips without a codec whose chroma has half of the resolution along both axes; all coded ones do.
    half_chroma_share: float = 0.5

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            parts = value if isinstance(value, tuple) else (value,)
            if not all(math.isfinite(part) and part >= 0 for part in parts):
                raise UsageError(f"noise: {field.name} cannot be {value}; give numbers of 0 or more")
            if field.name.endswith("_share") and value > 1:
                raise UsageError(f"noise: {field.name} cannot be {value}; a share lies between 0 and 1")
            if isinstance(value, tuple) and (value[0] > value[1] or not value[0]):
                raise UsageError(f"noise: {field.name} {list(value)} must have the lowest number first, above 0")
        if sum(self.shares) > 1 + 1e-9:
            names = " + ".join(f"{kind}_share" for kind in KINDS)
            raise UsageError(f"noise: {names} cannot be {sum(self.shares):g}; together they are 1 or less")
        if self.jpeg_quality[0] < 1 or self.jpeg_quality[1] > 100:
            raise UsageError(f"noise: jpeg_quality {list(self.jpeg_quality)} must lie between 1 and 100")

    @property
    def shares(self) -> tuple[float, ...]:
        """In the order of :data:`KINDS`."""
        return tuple(float(getattr(self, f"{kind}_share")) for kind in KINDS)
