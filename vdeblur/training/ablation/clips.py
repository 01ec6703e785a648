"""Clips of an ablation: synthesised once and cached, so that every variant sees the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.atomic_files import replaced_file
from vdeblur.training.ablation.settings import AblationConfig, digest
from vdeblur.training.data.clip_cache import fixed_clips
from vdeblur.training.synthesis.blur import Clip
from vdeblur.training.synthesis.stills import find_stills


class ByteClips(NamedTuple):
    """Clips in little memory: ``blurry``, ``sharp`` (N, T, 3, H, W) uint8; the rest (N, T, 2, H/8, W/8) pixels."""

    blurry: Tensor
    sharp: Tensor
    velocity: Tensor
    motion: Tensor

    def chosen(self, index: Sequence[int]) -> Clip:
        """A batch of clips with pictures in [0, 1] and vectors at 1/8."""
        rows = torch.tensor(index)
        return Clip(self.blurry[rows] / 255, self.sharp[rows] / 255, self.velocity[rows], self.motion[rows])


def made_clips(config: AblationConfig, folder: Path, *, test: bool) -> ByteClips:
    """Clips to learn from or to score on: made once, then read from the folder."""
    synthesis = config.synthesis
    if test:
        synthesis = replace(synthesis, size_px=config.test_size_px, frames=config.test_frames)
    names, count = (config.test_stills, config.test_clips) if test else (config.stills, config.clips)
    path = folder / f"clips-{digest([names, count, asdict(synthesis)])}.pt"
    if not path.is_file():
        clips = fixed_clips(find_stills([Path(name) for name in names]), synthesis, count=count, seed=int(test))
        blurry, sharp = (
            torch.stack([((clip.blurry, clip.sharp)[side].clamp(0, 1) * 255).round().to(torch.uint8) for clip in clips])
            for side in (0, 1)
        )
        velocity, motion = (
            torch.stack([F.avg_pool2d(known((clip.velocity, clip.motion)[side]), 8) for clip in clips])
            for side in (0, 1)
        )
        with replaced_file(path) as part, part.open("wb") as file:
            torch.save([blurry, sharp, velocity, motion], file)
    return ByteClips(*torch.load(path, weights_only=True))


def known(vectors: Tensor | None) -> Tensor:
    """Vectors of a synthetic clip."""
    assert vectors is not None, "synthetic clips tell their motion"
    return vectors
