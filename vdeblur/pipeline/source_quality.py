"""What `vdeblur info` says of noise and compression, from a few frames of a source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from vdeblur.engine.quantiser_mean import rate_factor_of
from vdeblur.frames import Frame
from vdeblur.pipeline.noise_reading import LEAST_USED, NoiseReading, guide_share, read_noise
from vdeblur.video.quantiser.lookup import quantiser_source

#: Frames whose noise is read.
_MOST_READ = 4


@dataclass(frozen=True)
class SourceQuality:
    """Noise and compression of a source, as far as they are known."""

    noise: NoiseReading | None
    quantiser: float | None
    #: What the quantiser was read from, for people.
    quantiser_source: str | None
    #: Share of the guide's change that would be taken.
    used: float

    @property
    def words(self) -> list[tuple[str, str]]:
        """Names and values for people; a value may be empty."""
        coded = ""
        if self.quantiser is not None:
            coded = f"mean quantiser {self.quantiser:.0f} as H.264 counts (0 to 51), by {self.quantiser_source}"
        return [("noise", "" if self.noise is None else self.noise.words), ("compression", coded)]

    @property
    def plan(self) -> str:
        """What becomes of it without options."""
        if self.used < LEAST_USED:
            return "The picture is clean: there is no noise to work around."
        rate_factor = None if self.quantiser is None else rate_factor_of(self.quantiser)
        by_compression = guide_share(None, rate_factor)
        causes = []
        if self.used > by_compression + LEAST_USED or guide_share(self.noise, None) >= LEAST_USED:
            causes.append("noise")
        if by_compression >= LEAST_USED:
            causes.append("compression")
        return f"It works from a cleaner picture ({' and '.join(causes)}); what is written keeps its noise."

    @property
    def plain(self) -> dict[str, Any]:
        """The same for JSON."""
        noise, coded = None, None
        if self.noise is not None:
            by_brightness = zip(self.noise.brightness, self.noise.levels, strict=True)
            noise = {"level": round(self.noise.level, 2), "by_brightness": [[b, round(n, 2)] for b, n in by_brightness]}
        if self.quantiser is not None:
            coded = {"quantiser": round(self.quantiser, 1), "known_by": self.quantiser_source}
        return {"noise": noise, "compression": coded, "guide_share": round(self.used, 2)}


def read_quality(codec: str, frames: Sequence[Frame]) -> SourceQuality:
    """Noise and compression of a source by some of its frames; ``codec`` = FFmpeg's name."""
    noise = read_noise(frames[:: max(1, len(frames) // _MOST_READ)])
    known = [frame.quantiser for frame in frames if frame.quantiser is not None]
    if not known:
        return SourceQuality(noise, None, None, guide_share(noise, None))
    mean = fmean(known)
    return SourceQuality(noise, mean, quantiser_source(codec), guide_share(noise, rate_factor_of(mean)))
