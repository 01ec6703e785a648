"""Motion refiner and image refiner: zero at the start, right inputs, and the network's promises."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from support.doubles import assert_all_learn
from support.networks.deblur_nets import drifting, step_by_step
from support.synthetic import tiles
from vdeblur.errors import NetworkError, UsageError
from vdeblur.model.checkpoint import load_network, save_network
from vdeblur.model.deblur_net import DeblurNet, NetworkConfig
from vdeblur.model.image_refiner import POINTS, FrameContext, ImageRefiner, _sample_along_motion, _warp_neighbour
from vdeblur.model.layers import sampling_grid
from vdeblur.model.motion_refiner import _warp_difference
from vdeblur.model.motion_taps import Neighbour
from vdeblur.model.regions import full_region
from vdeblur.training.config import TrainConfig
from vdeblur.training.learner import new_network

TINY = NetworkConfig(
    name="tiny", channels=(8, 8, 8), blocks=(1, 1, 1), decoder_blocks=(1, 1), flow_finest=4, tap_guides=2, taps=5,
    reach=1.0, tap_scale=1, tap_hidden=8, tap_depth=1, tap_features=4, tap_neighbours=3, tap_beside=2,
    refine=(8, 8), refine_blocks=1, finish=(8, 8, 8), finish_blocks=(1, 1, 1), finish_details=4,
)  # fmt: skip


def network(**changes: Any) -> DeblurNet:
    """A small network with random weights in both refiners."""
    torch.manual_seed(4)
    net = DeblurNet(replace(TINY, **changes)).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return net


def scene(frame: Tensor, motion: Tensor, neighbours: tuple[Neighbour, ...] = ()) -> FrameContext:
    """A frame that is restored already, with a motion everywhere (2,), in pixels."""
    cells = frame.shape[-2] // 8, frame.shape[-1] // 8
    everywhere = motion.view(1, 2, 1, 1).expand(1, 2, *cells)
    none = torch.zeros(1, 4, *frame.shape[-2:])
    return FrameContext.create(frame, torch.zeros_like(frame), none, neighbours, torch.zeros(1, 8, *cells), everywhere)


def test_quality_starts_as_balanced() -> None:
    start = new_network(TrainConfig(network="quality", start="balanced")).eval()
    with torch.inference_mode():
        expected = step_by_step(load_network("balanced"), drifting(3), 1)
        found = step_by_step(start, drifting(3), 1)
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("scale", [1, 2])
def test_clip_at_once_equals_frame_by_frame(lookahead: int, scale: int) -> None:
    net, pictures = network(tap_scale=scale), drifting(4)
    with torch.inference_mode():
        at_once = net.restore_clip(pictures, lookahead=lookahead).residual
        one_by_one = step_by_step(net, pictures, lookahead).flatten(0, 1)
    assert at_once.std() > 1e-3
    torch.testing.assert_close(at_once, one_by_one, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("given", ["refiner", "finish"])
def test_each_changes_what_it_is_for(given: str) -> None:
    """The motion refiner the motion, and the image refiner the frame."""
    whole, bare = network(), network()
    head = getattr(bare, given).head
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    with torch.inference_mode():
        one, other = (net.restore_clip(drifting(3), lookahead=1) for net in (whole, bare))
    assert torch.equal(one.motion, other.motion) == (given == "finish")
    assert not torch.equal(one.residual, other.residual)


def test_every_parameter_gets_a_finite_gradient() -> None:
    net = network()
    estimate = net.restore_clip(drifting(3), lookahead=1)
    assert_all_learn(net, estimate)


def test_runs_in_bfloat16_with_a_float32_residual() -> None:
    net = network()
    with torch.inference_mode():
        exact = step_by_step(net, drifting(2), 0)
        rounded = step_by_step(net.to(torch.bfloat16), drifting(2), 0)
    assert rounded.dtype == torch.float32
    assert (rounded - exact).abs().mean() < 0.05 * exact.abs().mean() + 1e-3


def tiled_and_whole(net: DeblurNet) -> float:
    """Largest difference between the residuals of two frames in tiles of 64 pixels and whole."""
    generator = torch.Generator().manual_seed(9)
    soft = F.avg_pool2d(torch.rand(1, 3, 192, 272, generator=generator), 5, stride=1)
    frames = torch.stack([soft[..., 2 * t : 2 * t + 176, 3 * t : 3 * t + 256] for t in range(2)], 1)
    residuals = []
    with torch.inference_mode():
        for side in (None, 64):
            previous, current = (net.encode(frames[:, t], side=side) for t in range(2))
            residuals.append(net.residual(previous, current, None, None, side=side)[0])
    return float((residuals[0] - residuals[1]).abs().max() / residuals[0].std())


def test_tiles_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a quarter of the overlap there is one."""
    net = network()
    assert net.finish is not None
    assert net.traits.tiles.overlap == net.finish.reach == 64
    assert net.traits.tiles.smallest > DeblurNet.traits.tiles.smallest
    assert tiled_and_whole(net) < 1e-4
    monkeypatch.setattr(ImageRefiner, "reach", 16)
    assert tiled_and_whole(net) > 1e-3


def test_the_restored_frame_is_reblurred_as_the_frame_was() -> None:
    """8 pixels across: the mean from 4 to the left to 4 to the right, the ends half; luma's differences beside it."""
    sharp = tiles(3).float()[None] / 255
    grid = sampling_grid(*sharp.shape[-2:], sharp.device)
    along, again = _sample_along_motion(scene(sharp, torch.tensor([8.0, 0.0])), full_region(sharp), grid)
    box = torch.tensor([0.5, *[1.0] * 7, 0.5]) / 8
    blurred = F.conv2d(sharp.transpose(0, 1), box.view(1, 1, 1, 9), padding=(0, 4)).transpose(0, 1)
    inner = (..., slice(8, -8), slice(16, -16))
    torch.testing.assert_close(again[inner], blurred[inner], atol=2e-4, rtol=0)
    assert (sharp - blurred)[inner].abs().max() > 0.1
    assert along.shape[1] == POINTS - 1


@pytest.mark.parametrize("missing", [False, True])
def test_a_neighbour_is_warped_into_place(missing: bool) -> None:
    """A frame shifted by 3 pixels and warped back differs by nothing; a missing one gives zeros and no confidence."""
    ramp = torch.arange(64.0).view(1, 1, 1, 64).expand(1, 3, 64, 64) / 64
    back = torch.zeros(1, 2, 8, 8)
    back[:, 0] = -3.0
    mismatch = torch.ones(1, 1, 8, 8) if missing else torch.zeros(1, 1, 8, 8)
    moved = Neighbour(None if missing else ramp + 3 / 64, back, mismatch)
    looked = scene(ramp, torch.zeros(2), (moved,))
    seen = _warp_neighbour(looked.neighbours[0], ramp, full_region(ramp), sampling_grid(64, 64, ramp.device))[
        0, :, 20, 20
    ]
    torch.testing.assert_close(seen, torch.tensor([0.0, 0.0, 0.0, 0.0 if missing else 1.0]), atol=1e-4, rtol=0)
    grey = ramp[:, :1]
    assert float(_warp_difference(grey, moved)[0, 0, 20, 20]) == pytest.approx(0, abs=1e-3)
    astray = moved._replace(displacement=torch.zeros_like(back))
    assert float(_warp_difference(grey, astray)[0, 0, 20, 20]) == pytest.approx(0 if missing else 8 * 3 / 64, abs=1e-3)


def test_no_motion_no_correction() -> None:
    finish = network().finish
    assert finish is not None
    frame = torch.rand(1, 3, 64, 64)
    views = tuple(Neighbour(None, torch.zeros(1, 2, 8, 8), torch.ones(1, 1, 8, 8)) for _ in range(2))
    with torch.inference_mode():
        still, moving = (finish(scene(frame, torch.tensor([x, 0.0]), views), full_region(frame)) for x in (0.0, 5.0))
    assert not still.any()
    assert moving.abs().max() > 1e-3


def test_a_checkpoint_carries_them(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_network(network(), path, {})
    assert load_network(path).config == TINY
    large = DeblurNet(replace(TINY, finish=(64, 64, 64)))
    large.finish, large.refiner = None, None
    save_network(large, path, {})
    with pytest.raises(NetworkError, match="a network larger than the file"):
        load_network(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"refine": (8, 0)}, r"refine has channels at each resolution, or 0 at all of them, not \(8, 0\)"),
        ({"finish": (0, 8, 8)}, "finish has channels at each resolution"),
        ({"finish_details": 0}, "finish needs finish_details of at least 1"),
        ({"tap_neighbours": 0}, "and tap_neighbours"),
    ],
)
def test_impossible_sizes_are_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        replace(TINY, **changes)
