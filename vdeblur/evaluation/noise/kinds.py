"""Kinds of noise that a clip is given: white, of photons and amplifier, and what a codec leaves of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vdeblur.errors import UsageError
from vdeblur.evaluation.noise.clips import as_8bit_frames
from vdeblur.frames import Frame
from vdeblur.metrics import as_8bit
from vdeblur.video.encode.coded_clip import write_coded_clip
from vdeblur.video.source.reader import Reader
from vdeblur.video.temp_folders import scratch_folder

#: Standard deviations of white noise, levels of 8 bits, and constant rate factors.
SIGMAS, CRFS = (0.5, 100.0), (0.0, 51.0)
#: Poisson-Gauss noise in linear light: variance per unit of light, and standard deviation of the rest. Middle grey gets
#: about 10 levels of it.
SHOT, READ, GAMMA = 0.006, 0.007, 2.2
#: What "all" means.
USUAL = (
    "white5", "white10", "white20", "poisson", "crf18", "crf23", "crf28", "crf32",
    "white8+crf18", "white8+crf23", "white8+crf28", "white8+crf32",
)  # fmt: skip
FORM = (
    f"all, or some of white{SIGMAS[0]:g}…{SIGMAS[1]:g}, poisson and crf{CRFS[0]:g}…{CRFS[1]:g} with commas between, or "
    "two of them together like white8+crf23"
)


@dataclass(frozen=True)
class NoiseKind:
    """Noise on R'G'B' pictures, and what follows it: standard deviation in levels of 8 bits, and x264's rate factor."""

    name: str
    white: float = 0.0
    poisson: bool = False
    crf: float | None = None

    def frames(self, pictures: Sequence[Tensor], *, seed: int = 0) -> list[Frame]:
        """Frames of pictures (3, H, W), R'G'B' in [0, 1], with this noise; coded ones as the reader gives them.

        The same seed gives the same noise.

        Raises:
            UsageError: it is coded, and the sides are odd.
            TargetError: x264 is missing, or there is no room for its file.
        """
        noisy = [self.uncoded(picture, seed + number) for number, picture in enumerate(pictures)]
        if self.crf is None:
            return as_8bit_frames(noisy)
        levels = [as_8bit(picture).to(torch.uint8).permute(1, 2, 0).contiguous().numpy() for picture in noisy]
        with scratch_folder() as folder:
            path = Path(folder) / "coded.mkv"
            write_coded_clip(path, levels, crf=self.crf)
            with Reader(path) as reader:
                return list(reader)

    def uncoded(self, picture: Tensor, seed: int) -> Tensor:
        """A picture (3, H, W), R'G'B' in [0, 1], with the noise that a codec would be given; not clipped."""
        chance = torch.Generator().manual_seed(seed)
        if self.poisson:
            light = picture.clamp(0, 1) ** GAMMA
            shot = torch.poisson(light / SHOT, generator=chance) * SHOT
            read = READ * torch.randn(picture.shape, generator=chance)
            picture = (shot + read).clamp(0, 1) ** (1 / GAMMA)
        if self.white:
            picture = picture + self.white / 255 * torch.randn(picture.shape, generator=chance)
        return picture


CLEAN = NoiseKind("clean")


def noise_kinds(words: str) -> list[NoiseKind]:
    """Kinds of noise in "all" or a list with commas.

    Raises:
        UsageError: one is unknown, out of range, or named twice.
    """
    names = list(USUAL) if words == "all" else [name.strip() for name in words.split(",") if name.strip()]
    if not names:
        raise UsageError(f"--add-noise names nothing; give {FORM}")
    kinds = [_kind(name) for name in names]
    for number, kind in enumerate(kinds):
        if kind in kinds[:number]:
            raise UsageError(f"--add-noise has {kind.name} twice: name each kind once")
    return kinds


def _kind(name: str) -> NoiseKind:
    white, poisson, crf = 0.0, False, None
    for part in name.split("+"):
        if part == "poisson" and not poisson and crf is None:
            poisson = True
        elif part.startswith("white") and not white and crf is None:
            white = _number(part.removeprefix("white"), SIGMAS, name)
        elif part.startswith("crf") and crf is None:
            crf = _number(part.removeprefix("crf"), CRFS, name)
        else:
            raise _unknown(name)
    return NoiseKind(name, white, poisson, crf)


def _number(words: str, bounds: tuple[float, float], name: str) -> float:
    try:
        number = float(words)
    except ValueError:
        raise _unknown(name) from None
    if not bounds[0] <= number <= bounds[1]:
        raise _unknown(name)
    return number


def _unknown(name: str) -> UsageError:
    return UsageError(f"--add-noise cannot be {name!r}; give {FORM}")
