"""Standard synthetic clips, the same everywhere: adapted weights must not fall behind on them, and rehearse on others.

Their pictures are dead leaves: discs of all sizes that cover each other, whose statistics are those of photographs
(Lee, Mumford and Huang 2001). So no folder of photographs is needed.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from vdeblur.model.guide.guide_net import ycc_from_rgb
from vdeblur.model.network import RestorationNetwork
from vdeblur.training.synthesis.augmentation import AS_IT_IS, augmented, stack
from vdeblur.training.synthesis.blur import Clip, make_levels
from vdeblur.training.synthesis.config import SynthesisConfig
from vdeblur.training.synthesis.noise_config import NoiseConfig
from vdeblur.training.synthesis.noise_mixture import mixed, validation_mixture
from vdeblur.training.synthesis.rng import Draw
from vdeblur.training.synthesis.stills import Textures
from vdeblur.training.validation import validate

_PICTURES, _SIDE, _LEAVES = 3, 192, 1000
_RADII = (3.0, 60.0)
_CLIPS, _REHEARSED = 10, 16
_SYNTHESIS = SynthesisConfig(
    size_px=96, frames=5, truth="blurred", speed_px=(0.5, 12.0), read_noise=(0.002, 0.02), shot_noise=(1e-5, 5e-3),
    hevc_share=0.0, h264_crf=(18.0, 32.0), averaged_share=0.0,
)  # fmt: skip


def standard_clips() -> list[Clip]:
    """Raw, coded, white and clean clips (5, 3, 96, 96), made on the CPU."""
    return validation_mixture(_made(range(_CLIPS), first_picture=0), NoiseConfig())


class Rehearsal:
    """Synthetic crops to learn from beside the clip, so that what the guide knew is not forgotten."""

    def __init__(self, seed: int, size_px: int, frames: int) -> None:
        self._seed, self._size_px, self._frames = seed, size_px, frames
        self._clips = _made(range(100, 100 + _REHEARSED), first_picture=_PICTURES)

    def crop(self, number: int) -> tuple[list[Tensor], float]:
        """Y'CbCr frames and their truth (T, 3, size, size), weights of 1 (T, 1, size, size), and the quantiser."""
        draw = Draw.of(self._seed, "rehearsal", number)
        clip = stack([self._clips[draw.integer(len(self._clips))]])
        noisy = mixed(clip, NoiseConfig(told_share=0.0), self._seed, "rehearsal", number)
        side = noisy.blurry.shape[-1]
        top, left = (draw.integer((side - self._size_px) // 8 + 1) * 8 for _ in range(2))
        frames, truth = (
            ycc_from_rgb(part[0, : self._frames, :, top : top + self._size_px, left : left + self._size_px])
            for part in (noisy.blurry, noisy.sharp)
        )
        assert noisy.told is not None
        return [frames, truth, torch.ones_like(truth[:, :1])], float(noisy.told.quantiser)


def _made(numbers: range, *, first_picture: int) -> list[Clip]:
    textures = Textures([dead_leaves(first_picture + number) for number in range(_PICTURES)])
    return [
        augmented(make_levels(textures, _SYNTHESIS, seed=7, numbers=[number], motion=False)[0], AS_IT_IS)
        for number in numbers
    ]


def standard_gain(net: RestorationNetwork, clips: list[Clip]) -> float:
    """Mean gain of a guide on noisy clips, dB of luma."""
    scores = validate(net, clips, batch=5, device=torch.device("cpu"), autocast=nullcontext)
    return scores["gain_db"]


def dead_leaves(number: int) -> Tensor:
    """A picture (3, 192, 192), uint8."""
    draw = Draw.of("dead leaves", number)
    picture = torch.full((3, _SIDE, _SIDE), 0.5)
    across = torch.arange(_SIDE)
    for _ in range(_LEAVES):
        x, y = draw.between(0, _SIDE), draw.between(0, _SIDE)
        low, high = _RADII
        radius = (low**-2 + draw.between(0, 1) * (high**-2 - low**-2)) ** -0.5  # their density falls with the cube
        colour = torch.tensor([draw.between(0.08, 0.92) for _ in range(3)]).lerp(
            torch.tensor(draw.between(0.1, 0.9)), 0.6
        )
        inside = (across - x).square() + (across - y).square()[:, None] < radius**2
        picture[:, inside] = colour[:, None]
    return picture.mul(255).round_().to(torch.uint8)
