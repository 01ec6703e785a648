"""Training's promises: the losses measure what they say, and a network learns."""

from __future__ import annotations

import torch
from synthetic import CLEAN, tiles
from torch.nn.functional import avg_pool2d

from vdeblur.model.network import DeblurNet, NetworkConfig
from vdeblur.training.losses import signless_error
from vdeblur.training.stills import Textures
from vdeblur.training.synthesis import synthesise


def test_motion_error_ignores_the_sign() -> None:
    truth = torch.ones(1, 2, 16, 16)
    assert float(signless_error(-torch.ones(1, 2, 2, 2), truth)) == 0.0
    assert float(signless_error(torch.zeros(1, 2, 2, 2), truth)) == 2.0


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
        estimate = net.restore_clip(blurry[None], lookahead=1, steer=steer)
        loss = (blurry + estimate.residual - sharp).abs().mean()
        motion = signless_error(estimate.motion, truth)
        optimiser.zero_grad()
        (loss + 0.01 * motion).backward()
        optimiser.step()
        pixels.append(loss.item())
        motions.append(motion.item())
    assert pixels[-1] < 0.8 * pixels[0]
    assert motions[-1] < 0.6 * motions[0]
