"""Training's promises: the synthetic truth is true, a run resumes, a network learns, bad data is named."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from kornia.io import write_image
from synthetic import CLEAN, smooth, tiles
from torch.nn.functional import avg_pool2d

from vdeblur.config import build
from vdeblur.errors import NetworkError, UsageError
from vdeblur.model.checkpoint import load_network, read_provenance
from vdeblur.model.network import DeblurNet, NetworkConfig
from vdeblur.training.losses import motion_error, signless_error
from vdeblur.training.stills import Textures
from vdeblur.training.synthesis import synthesise
from vdeblur.training.trainer import TrainConfig, learning_rate, train


@pytest.fixture
def stills(tmp_path: Path) -> Path:
    folder = tmp_path / "stills"
    folder.mkdir()
    for seed in range(2):
        write_image(folder / f"{seed}.png", smooth(seed))
    return folder


def test_motion_error_ignores_the_sign() -> None:
    truth = torch.ones(1, 2, 16, 16)
    assert float(signless_error(-torch.ones(1, 2, 2, 2), truth)) == 0.0
    assert float(signless_error(torch.zeros(1, 2, 2, 2), truth)) == 2.0


def tiny_run(stills: Path, **changes: object) -> TrainConfig:
    data = {
        "network": str(stills.parent / "tiny.yaml"),
        "stills": [str(stills)],
        "validation_stills": [str(stills)],
        "synthesis": {"size_px": 32, "frames": 3, "speed_px": [2.0, 6.0]},
        "batch": 2, "steps": 6, "workers": 0, "validation_clips": 2, "validate_every": 3, "save_every": 3,
        "warmup_steps": 1, **changes,
    }  # fmt: skip
    (stills.parent / "tiny.yaml").write_text(
        "{name: tiny, channels: [8, 8, 8], blocks: [1, 1, 1], decoder_blocks: [1, 1], match_channels: [8, 8],"
        " match_hidden: [8, 8], taps: 5, reach: 1.0, tap_scale: 2, tap_hidden: 8, tap_features: 4}"
    )
    return build(TrainConfig, data, where="test")


def test_a_run_writes_weights_log_and_state_and_resumes(stills: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    weights = train(tiny_run(stills), folder)
    assert load_network(weights).config.name == "tiny"
    assert read_provenance(weights)["steps"] == 6
    longer = train(tiny_run(stills, steps=9), folder)
    assert read_provenance(longer)["steps"] == 9
    with (folder / "log.csv").open(encoding="utf-8") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["3", "6", "9"]


def test_a_run_starts_from_what_fits(stills: Path, tmp_path: Path) -> None:
    first = train(tiny_run(stills), tmp_path / "first")
    second = train(tiny_run(stills, start=str(first), steps=1, learning_rate=1e-12), tmp_path / "second")
    for name, value in load_network(first).state_dict().items():
        torch.testing.assert_close(load_network(second).state_dict()[name], value, atol=2e-3, rtol=1e-3)
    with pytest.raises(UsageError, match="no network 'nowhere'"):
        train(tiny_run(stills, start="nowhere"), tmp_path / "third")


def test_a_tiny_network_learns_one_clip() -> None:
    """The loss on a single clip falls by a fifth, and its motion is found, within a hundred steps."""
    torch.manual_seed(1)
    config = NetworkConfig(
        name="tiny", channels=(16, 16, 16), blocks=(1, 1, 1), decoder_blocks=(1, 1), match_channels=(8, 8),
        match_hidden=(8, 8), taps=13, reach=1.5, tap_scale=1, tap_hidden=16, tap_features=4,
    )  # fmt: skip
    net = DeblurNet(config)
    batch = synthesise(Textures([tiles(1), tiles(2)]), CLEAN, seed=1, numbers=[0])
    blurry, sharp, velocity, truth = (part[0] for part in batch if part is not None)
    steer = avg_pool2d(truth, 8)
    optimiser = torch.optim.AdamW(net.parameters(), lr=4e-3)
    pixels, motions = [], []
    for _ in range(100):
        estimate = net.restore_clip(blurry[None], lookahead=1, steer=steer)
        loss = (blurry + estimate.residual - sharp).abs().mean()
        motion = motion_error(estimate.velocities[-1], velocity) + signless_error(estimate.motion, truth)
        optimiser.zero_grad()
        (loss + 0.01 * motion).backward()
        optimiser.step()
        pixels.append(loss.item())
        motions.append(motion.item())
    assert pixels[-1] < 0.8 * pixels[0]
    assert motions[-1] < 0.6 * motions[0]


def test_the_learning_rate_rises_and_falls(stills: Path) -> None:
    config = replace(tiny_run(stills), warmup_steps=10, steps=100)
    rates = [learning_rate(config, step, step / 100) for step in range(101)]
    assert rates[0] < rates[9]
    assert max(rates) <= config.learning_rate
    assert rates[100] == pytest.approx(config.final_learning_rate)


def test_an_infinite_loss_stops_the_run(stills: Path, tmp_path: Path) -> None:
    config = tiny_run(stills, learning_rate=1e30, gradient_clip=1e30, steps=40)
    with pytest.raises(NetworkError, match=r"the loss is .* at step \d+"):
        train(config, tmp_path / "run")
