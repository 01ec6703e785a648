"""A small network with weights that do something, and engines on the CPU."""

from __future__ import annotations

from typing import Any

import torch

from support.doubles import planes_equal
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.frames import Frame
from vdeblur.model.deblur_net import DeblurNet, NetworkConfig

TINY = NetworkConfig(
    name="tiny", channels=(8, 8, 8), blocks=(1, 1, 1), decoder_blocks=(1, 1),
    flow_finest=4, tap_guides=2, taps=3, reach=1.0, tap_scale=2, tap_hidden=4, tap_depth=1, tap_features=2,
)  # fmt: skip

#: Options of a restoration on the processor, exact.
QUICK: dict[str, Any] = {"device": "cpu", "precision": "float32"}


def on_cpu(network: Any, **options: Any) -> Deblurrer:
    return Deblurrer(network, **{**QUICK, **options})


def tiny_net() -> DeblurNet:
    """A real network with random weights, its zero-initialised parts too."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = DeblurNet(TINY)
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return net


def by_steps(deblurrer: Deblurrer, frames: list[Frame]) -> list[Frame]:
    restored = [deblurrer.step(frame) for frame in frames]
    return [frame for frame in [*restored, deblurrer.flush()] if frame is not None]


def assert_same(found: list[Frame], expected: list[Frame]) -> None:
    assert [frame.pts for frame in found] == [frame.pts for frame in expected]
    assert all(planes_equal(a, b) for a, b in zip(found, expected, strict=True))
