"""Training's promises: the losses measure what they say, and a network learns."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import avg_pool2d

from support.synthetic import CLEAN, tiles
from vdeblur.metrics import psnr
from vdeblur.model.deblur_net import DeblurNet, NetworkConfig
from vdeblur.model.network import Estimate
from vdeblur.training.losses import decibels, losses, signless_error
from vdeblur.training.synthesis.blur import Clip, synthesise
from vdeblur.training.synthesis.stills import Textures


def test_motion_error_ignores_the_sign() -> None:
    truth = torch.ones(1, 2, 16, 16)
    assert float(signless_error(-torch.ones(1, 2, 2, 2), truth)) == 0.0
    assert float(signless_error(torch.zeros(1, 2, 2, 2), truth)) == 2.0


def test_decibels_are_psnr_but_for_a_factor() -> None:
    """Of frames alone, then their mean: a frame twice as far away costs 6 dB, near or far."""
    truth = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) / 2
    for sizes in ((0.1, 0.1), (0.2, 0.1), (0.2, 0.4)):
        blurry = truth + torch.tensor(sizes).view(2, 1, 1, 1)
        expected = sum(psnr(*frames) for frames in zip(blurry, truth, strict=True)) / 2
        assert float(decibels(blurry - truth)) * -10 / math.log(10) == pytest.approx(expected, abs=0.05)
    assert float(decibels(torch.zeros(2, 3, 16, 16))) * -10 / math.log(10) == pytest.approx(40), "enough is enough"


def test_the_measure_is_the_one_that_was_asked_for() -> None:
    frames = torch.zeros(1, 2, 3, 16, 16)
    none = torch.zeros(2, 2, 2, 2)
    estimate = Estimate(torch.full((2, 3, 16, 16), 0.1), none, none, none[:, :1])
    clip = Clip(frames, frames, None, None)
    assert float(losses(estimate, clip).pixels) == pytest.approx(0.1, abs=1e-4)
    assert float(losses(estimate, clip, "charbonnier").pixels) == pytest.approx(0.1, abs=1e-4)
    assert float(losses(estimate, clip, "decibels").pixels) == pytest.approx(math.log(0.01 + 1e-4))


def test_a_tiny_network_learns_one_clip() -> None:
    """The loss on a single clip falls by a fifth, and its motion is found, within a hundred steps."""
    torch.manual_seed(1)
    config = NetworkConfig(
        name="tiny", channels=(16, 16, 16), blocks=(1, 1, 1), decoder_blocks=(1, 1),
        flow_finest=4, tap_guides=2, taps=13, reach=1.5, tap_scale=1, tap_hidden=16, tap_depth=1, tap_features=4,
    )  # fmt: skip
    net = DeblurNet(config)
    batch = synthesise(Textures([tiles(1), tiles(2)]), CLEAN, seed=1, numbers=[0])
    blurry, sharp, _, truth = (part[0] for part in batch if part is not None)
    steer = avg_pool2d(truth, 8)
    optimiser = torch.optim.AdamW(net.parameters(), lr=4e-3)
    pixels, motions = [], []
    for _ in range(100):
        estimate = net.restore_clip(blurry[None], lookahead=1, sampling_motion=steer)
        loss = (blurry + estimate.residual - sharp).abs().mean()
        motion = signless_error(estimate.motion, truth)
        optimiser.zero_grad()
        (loss + 0.01 * motion).backward()
        optimiser.step()
        pixels.append(loss.item())
        motions.append(motion.item())
    assert pixels[-1] < 0.8 * pixels[0]
    assert motions[-1] < 0.6 * motions[0]
