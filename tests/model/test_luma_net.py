"""LumaNet: the network's promises in luma alone; block samples equal samples of each pixel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from support.doubles import assert_all_learn
from support.networks.deblur_nets import clip, drifting
from support.networks.luma_nets import step_by_step, tiny
from vdeblur.config import find_config
from vdeblur.errors import NetworkError, UsageError
from vdeblur.model.block_sampling import (
    block_grid,
    blocks_inside,
    normalize_block_displacement,
    sample_blocks,
    shifted_views,
    shuffle_blocks,
    unshuffle_blocks,
)
from vdeblur.model.block_taps import SharedTaps
from vdeblur.model.checkpoint import load_network, save_network
from vdeblur.model.luma_net import LumaConfig, LumaNet
from vdeblur.model.motion_taps import DIFFERENCE_GAIN, MotionTaps, Neighbour
from vdeblur.model.regions import full_region
from vdeblur.model.registry import read_config

# --- Block sampling ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", [1, 2, 4])
def test_shuffle_inverts_unshuffle(cell: int) -> None:
    picture = torch.rand(2, 1, 16, 24)
    assert torch.equal(shuffle_blocks(unshuffle_blocks(picture, cell), cell), picture)


@pytest.mark.parametrize("cell", [1, 2, 4])
@pytest.mark.parametrize("far", [0.7, 30.0])
@pytest.mark.parametrize("batch", [1, 3])
def test_block_samples_equal_pixel_samples(cell: int, far: float, batch: int) -> None:
    """Also far outside of the image, where the border is replicated."""
    picture = torch.rand(batch, 1, 16, 24)
    displacement = far * torch.randn(batch, 2, 16 // cell, 24 // cell)
    grid = block_grid(16 // cell, 24 // cell, cell, picture.device) + normalize_block_displacement(displacement, cell)
    seen = shuffle_blocks(sample_blocks(shifted_views(picture, cell), grid, cell), cell)
    each = displacement.repeat_interleave(cell, 2).repeat_interleave(cell, 3)
    alone = block_grid(16, 24, 1, picture.device) + normalize_block_displacement(each, 1)
    expected = F.grid_sample(picture, alone, "bilinear", "border", align_corners=False)
    torch.testing.assert_close(seen, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("cell", [1, 2, 4])
def test_blocks_are_inside_while_their_centre_is(cell: int) -> None:
    """Moved to the left by a pixel more or less than half of the first block."""
    for short in (-0.1, 0.1):
        displacement = torch.zeros(1, 2, 8, 8)
        displacement[:, 0] = short - cell / 2
        grid = block_grid(8, 8, cell, displacement.device) + normalize_block_displacement(displacement, cell)
        known = blocks_inside(grid, cell)
        assert bool(known[..., 0].all()) == (short > 0)
        assert known[..., 1:].all()


# --- Taps -------------------------------------------------------------------------------------------------------------


def test_shared_taps_equal_motion_taps_under_uniform_motion() -> None:
    """With the same filters: the same correction, up to the rounding of positions."""
    torch.manual_seed(6)
    shape = {"taps": 7, "reach": 1.5, "hidden": 8, "depth": 2}
    steered = MotionTaps(scale=1, features=2, guides=1, neighbours=2, neighbour_points=3, **shape)  # type: ignore[arg-type]
    torch.nn.init.normal_(steered.correction.weight)
    torch.nn.init.zeros_(steered.correction.bias)  # type: ignore[arg-type]
    cells = SharedTaps(neighbour_points=3, **shape)  # type: ignore[arg-type]
    weights = {name: value for name, value in steered.state_dict().items() if "texture" not in name}
    weights["filters.weight"] = weights["filters.weight"][:, :-1]  # that of the guide, which is zero here
    cells.load_state_dict(weights)
    frame, motion = torch.rand(1, 1, 48, 64), torch.tensor([3.0, -1.5]).view(1, 2, 1, 1).expand(1, 2, 6, 8)
    before = Neighbour(torch.rand(1, 1, 48, 64), motion * 1.3, torch.full((1, 1, 6, 8), 0.05))
    neighbours = (before, Neighbour(None, torch.zeros(1, 2, 6, 8), torch.ones(1, 1, 6, 8)))
    with torch.inference_mode():
        one = steered(frame, motion, torch.zeros(1, 1, 6, 8), neighbours)[0]
        other = cells(frame, motion, neighbours)
    assert one.std() > 0.01
    torch.testing.assert_close(other, one, atol=1e-4, rtol=1e-3)


def test_no_motion_no_correction() -> None:
    net = tiny()
    frame, still = torch.rand(1, 1, 32, 32), torch.zeros(1, 2, 4, 4)
    neighbours = (Neighbour(torch.rand(1, 1, 32, 32), still, still[:, :1]),) * 2
    assert not net.taps(frame, still, neighbours).any()


def test_features_are_in_order() -> None:
    """On a ramp: the differences along the motion, its length, the pixel's own luma; a missing neighbour is zeros."""
    taps = SharedTaps(taps=3, reach=1.0, hidden=8, depth=1, neighbour_points=1)
    ramp = torch.arange(64.0).view(1, 1, 1, 64).expand(1, 1, 64, 64) / 64
    motion, back = torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8)
    motion[:, 0], back[:, 0] = 4.0, -3.0
    trusted = Neighbour(ramp + 5 / 64, back, torch.full((1, 1, 8, 8), 0.1))
    sight = taps.prepare(ramp, motion, (trusted, Neighbour(None, back, torch.ones(1, 1, 8, 8))))
    seen = taps.feature_image(sight)[0, :, 20, 21]
    unit = DIFFERENCE_GAIN / 64
    expected = torch.tensor([-4 * unit, 4 * unit, 5.0, 21 / 64 - 0.5, 2 * unit / 2, 0.5, 0, 0])
    expected[2] = torch.tensor(5.0).log() / 4
    torch.testing.assert_close(seen, expected, atol=1e-4, rtol=0)


def test_training_samples_and_corrects_as_the_network_does() -> None:
    net, frames = tiny(), torch.rand(1, 1, 32, 48)
    motion = torch.tensor([2.0, 3.0]).view(1, 2, 1, 1).expand(1, 2, 4, 6)
    neighbours = (Neighbour(frames.roll(2, 3), motion, motion[:, :1] * 0),) * 2
    with torch.inference_mode():
        sight = net.taps.prepare(frames, motion, neighbours)
        seen = net.taps.feature_image(sight)
        pixels = net.taps.correct_pixels(seen[0].flatten(1).t(), torch.full((32 * 48,), 13.0**0.5))
        whole = net.taps(frames, motion, neighbours)
    torch.testing.assert_close(pixels.view(32, 48), whole[0, 0], atol=1e-6, rtol=1e-4)
    assert net.taps.gather_features(sight, full_region(sight.pixels)).shape == (net.taps.feature_count, 1, 64, 4, 6)


# --- The network ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["swift", "fast"])
def test_starts_as_identity(name: str) -> None:
    config = read_config(find_config(name))
    assert isinstance(config, LumaConfig)
    frame = clip(1)[:, 0]
    with torch.inference_mode():
        sharp, state = LumaNet(config)((None, frame, None))
        again, _ = LumaNet(config)((frame, frame, frame), state)
    assert torch.equal(sharp, frame)
    assert torch.equal(again, frame)


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("frames", [1, 2, 4])
@pytest.mark.parametrize("neighbours", [0, 3])
def test_clip_at_once_equals_frame_by_frame(frames: int, lookahead: int, neighbours: int) -> None:
    net, pictures = tiny(neighbours), drifting(frames)
    with torch.inference_mode():
        at_once = net.restore_clip(pictures, lookahead=lookahead).residual
        one_by_one = step_by_step(net, pictures, lookahead)
    assert at_once.shape == (2 * frames, 1, 48, 64)
    if frames > 1:
        assert at_once.std() > 1e-3
    torch.testing.assert_close(at_once, one_by_one, atol=1e-5, rtol=1e-4)


def test_the_state_matters_and_none_starts_it() -> None:
    noise = torch.rand(1, 1, 48, 96, generator=torch.Generator().manual_seed(2))
    wide = F.avg_pool2d(noise, 9, stride=1, padding=4)
    net, pictures = tiny(), [wide[..., 5 * t : 5 * t + 64] for t in range(3)]  # fast enough to tell the exposure
    with torch.inference_mode():
        previous, current, following = (net.encode(picture) for picture in pictures)
        fresh, state = net.residual(previous, current, following, None)
        repeated, _ = net.residual(previous, current, following, None)
        later, _ = net.residual(previous, current, following, state)
    assert torch.equal(fresh, repeated)
    assert not torch.equal(fresh, later)


def test_every_parameter_gets_a_finite_gradient() -> None:
    net = tiny()
    estimate = net.restore_clip(drifting(3), lookahead=1)
    assert_all_learn(net, estimate)


def test_colours_are_reduced_to_luma() -> None:
    net, pictures = tiny(), drifting(2)
    grey = (pictures * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(2, keepdim=True)
    with torch.inference_mode():
        torch.testing.assert_close(step_by_step(net, pictures, 1), step_by_step(net, grey, 1), atol=1e-4, rtol=1e-3)


def test_bfloat16_is_close_and_its_residual_float32() -> None:
    net, pictures = tiny(), drifting(2)
    with torch.inference_mode():
        exact = step_by_step(net, pictures, 0)
        rounded = step_by_step(net.to(torch.bfloat16), pictures, 0)
    assert rounded.dtype == torch.float32
    assert (rounded - exact).abs().mean() < 0.05 * exact.abs().mean() + 1e-3


def test_a_checkpoint_says_which_kind_it_is(tmp_path: Path) -> None:
    net, path = tiny(), tmp_path / "mine.safetensors"
    save_network(net, path, {"steps": 7})
    loaded = load_network(path)
    assert isinstance(loaded, LumaNet)
    assert loaded.config == net.config


def test_a_network_larger_than_its_file_is_refused(tmp_path: Path) -> None:
    net, path = tiny(), tmp_path / "vast.safetensors"
    net.config = replace(net.config, tap_depth=900, tap_hidden=1000)
    save_network(net, path, {})
    with pytest.raises(NetworkError, match="larger than the file"):
        load_network(path)


@pytest.mark.parametrize("changes", [{"tap_neighbours": 2}, {"taps": 4}, {"flow_finest": 3}])
def test_impossible_sizes_are_named(changes: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(changes))):
        replace(tiny().config, **changes)  # type: ignore[arg-type]
