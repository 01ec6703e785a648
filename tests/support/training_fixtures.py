"""What the tests of training share: photographs, pairs, and a run with a network of a few hundred weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from kornia.io import write_image
from torch import Tensor
from torch.nn.functional import interpolate

from vdeblur.config import build
from vdeblur.training.config import TrainConfig

TINY = (
    "{name: tiny, channels: [8, 8, 8], blocks: [1, 1, 1], decoder_blocks: [1, 1], flow_finest: 4, tap_guides: 2,"
    " taps: 5, reach: 1.0, tap_scale: 2, tap_hidden: 8, tap_depth: 1, tap_features: 4}"
)


def texture(seed: int, height: int = 160, width: int = 160) -> Tensor:
    """A smooth random picture (3, height, width), uint8."""
    noise = torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(seed))
    return (interpolate(noise, (height, width), mode="bicubic").clamp(0, 1)[0] * 255).to(torch.uint8)


def write_frames(folder: Path, count: int, *, seed: int = 1, size: tuple[int, int] = (48, 64), darker: int = 1) -> None:
    """Numbered PNG frames of a moving texture, its values divided by ``darker``."""
    folder.mkdir(parents=True)
    whole = texture(seed, size[0], size[1] + 8 * count) // darker
    for index in range(count):
        write_image(folder / f"{index:06d}.png", whole[:, :, 8 * index : 8 * index + size[1]].contiguous())


@pytest.fixture
def stills(tmp_path: Path) -> Path:
    """A folder with two photographs."""
    folder = tmp_path / "stills"
    folder.mkdir()
    for seed in range(2):
        write_image(folder / f"{seed}.png", texture(seed))
    return folder


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A folder with two sequences in GoPro's layout, of 4 and 2 frames; the blurred ones are half as bright."""
    folder = tmp_path / "pairs"
    for name, count, seed in (("one", 4, 11), ("two", 2, 12)):
        write_frames(folder / name / "sharp", count, seed=seed)
        write_frames(folder / name / "blur", count, seed=seed, darker=2)
    return folder


def tiny_data(where: Path, **changes: Any) -> dict[str, Any]:
    """The keys of a run of six steps with the tiny network, whose config is written below ``where``."""
    (where / "tiny.yaml").write_text(TINY)
    return {
        "network": str(where / "tiny.yaml"),
        "synthesis": {"size_px": 32, "frames": 3, "speed_px": [2.0, 6.0], "hevc_share": 0.0},
        "batch": 2, "steps": 6, "workers": 0, "validation_clips": 2, "validate_every": 3, "save_every": 3,
        "log_every": 1, "warmup_steps": 1, **changes,
    }  # fmt: skip


def tiny_run(where: Path, **changes: Any) -> TrainConfig:
    """See :func:`tiny_data`."""
    return build(TrainConfig, tiny_data(where, **changes), where="test")
