"""The network's promises: identity at the start, state in and out, clip = frame by frame, every parameter learns."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from support.doubles import assert_all_learn
from support.networks.deblur_nets import clip, drifting, step_by_step, tiny
from vdeblur.config import find_config, load_config
from vdeblur.errors import NetworkError, UsageError
from vdeblur.model import motion_taps
from vdeblur.model.checkpoint import available_models, load_network, read_provenance, save_network
from vdeblur.model.deblur_net import DeblurNet, NetworkConfig
from vdeblur.model.exposure import CLASS_SIZE, CLASSES, LAGS, POINTS, PROFILE_SIZE, REACH, SPEEDS_PX, motion_profile
from vdeblur.model.layers import warp
from vdeblur.model.motion_taps import DIFFERENCE_GAIN, MotionTaps, Neighbour, luma
from vdeblur.model.registry import read_config

SIZES = ("steered", "balanced", "quality")


def config(name: str) -> NetworkConfig:
    return load_config(NetworkConfig, find_config(name))


@pytest.mark.parametrize("name", SIZES)
def test_starts_as_identity(name: str) -> None:
    net = DeblurNet(config(name))
    frame = clip(1)[:, 0]
    with torch.inference_mode():
        sharp, state = net((None, frame, None))
        again, _ = net((frame, frame, frame), state)
    assert torch.equal(sharp, frame)
    assert torch.equal(again, frame)


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("frames", [1, 2, 3, 5])
@pytest.mark.parametrize("tap_neighbours", [0, 1, 3])
def test_clip_at_once_equals_frame_by_frame(frames: int, lookahead: int, tap_neighbours: int) -> None:
    net, pictures = tiny(tap_neighbours), drifting(frames)
    with torch.inference_mode():
        at_once = net.restore_clip(pictures, lookahead=lookahead).residual
        one_by_one = step_by_step(net, pictures, lookahead).flatten(0, 1)
    assert at_once.std() > 1e-3
    torch.testing.assert_close(at_once, one_by_one, atol=1e-5, rtol=1e-4)


def test_the_state_matters_and_none_starts_it() -> None:
    net, pictures = tiny(), clip(3)
    with torch.inference_mode():
        previous, current, following = (net.encode(pictures[:, t]) for t in range(3))
        fresh, state = net.residual(previous, current, following, None)
        repeated, _ = net.residual(previous, current, following, None)
        later, _ = net.residual(previous, current, following, state)
    assert torch.equal(fresh, repeated)
    assert not torch.equal(fresh, later)


def test_every_parameter_gets_a_finite_gradient() -> None:
    net, pictures = tiny(tap_neighbours=1), clip(3, batch=2)
    estimate = net.restore_clip(pictures, lookahead=1)
    assert_all_learn(net, estimate)


def test_runs_in_bfloat16_with_a_float32_residual() -> None:
    net, pictures = tiny(), clip(2)
    with torch.inference_mode():
        exact = step_by_step(net, pictures, 0)
        rounded = step_by_step(net.to(torch.bfloat16), pictures, 0)
    assert rounded.dtype == torch.float32
    assert (rounded - exact).abs().mean() < 0.05 * exact.abs().mean() + 1e-3


def test_costs_grow_with_the_size_of_the_network() -> None:
    counts = [sum(parameter.numel() for parameter in DeblurNet(config(name)).parameters()) for name in SIZES]
    assert counts == sorted(counts)
    assert counts[0] < 1_500_000


def test_warp_fetches_from_the_displacement() -> None:
    picture = torch.rand(1, 2, 12, 16)
    moved = warp(picture, torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 12, 16))
    torch.testing.assert_close(moved[:, :, 2:, :13], picture[:, :, :10, 3:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_strips_change_nothing(scale: int, monkeypatch: pytest.MonkeyPatch) -> None:
    taps = MotionTaps(taps=5, reach=1.5, scale=scale, hidden=8, features=4, guides=2, neighbours=2, neighbour_points=3)
    torch.nn.init.normal_(taps.correction.weight)
    frame, motion, guide = torch.rand(1, 3, 80, 48), 6 * torch.randn(1, 2, 10, 6), torch.randn(1, 2, 10, 6)
    before = Neighbour(torch.rand(1, 3, 80, 48), 6 * torch.randn(1, 2, 10, 6), 0.1 * torch.rand(1, 1, 10, 6))
    neighbours = (before, Neighbour(None, torch.zeros(1, 2, 10, 6), torch.ones(1, 1, 10, 6)))
    monkeypatch.setattr(motion_taps, "STRIP_PIXELS", 1 << 30)
    whole = taps(frame, motion, guide, neighbours)
    monkeypatch.setattr(motion_taps, "STRIP_PIXELS", 1)
    for one, other in zip(whole, taps(frame, motion, guide, neighbours), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_no_motion_no_correction_along_it() -> None:
    taps = MotionTaps(taps=7, reach=1.5, scale=1, hidden=8, features=4, guides=2)
    for parameter in taps.parameters():
        torch.nn.init.normal_(parameter)
    torch.nn.init.zeros_(taps.correction.bias)  # type: ignore[arg-type]
    correction = taps(torch.rand(1, 3, 32, 32), torch.zeros(1, 2, 4, 4), torch.randn(1, 2, 4, 4)).correction
    assert torch.equal(correction, torch.zeros_like(correction))


def test_taps_sample_along_the_motion() -> None:
    taps = MotionTaps(taps=3, reach=1.0, scale=1, hidden=8, features=4, guides=2)
    ramp = torch.arange(64.0).view(1, 1, 1, 64).expand(1, 3, 64, 64) / 64
    motion = torch.zeros(1, 2, 8, 8)
    motion[:, 0] = 4.0
    sight = taps.prepare(ramp, motion, [])
    path = taps.sampling_path(sight)
    seen = taps.gather_features(sight, path)[0, :, 20, 20]
    torch.testing.assert_close(seen[:2], torch.tensor([-4 / 64, 4 / 64]) * DIFFERENCE_GAIN, atol=1e-4, rtol=0)
    torch.testing.assert_close(seen[2:], torch.tensor([math.log(5) / 4, 20 / 64 - 0.5]), atol=1e-4, rtol=0)
    assert float(path.length[0, 0, 20, 20]) == pytest.approx(4.0)


def test_taps_sample_lateral_lines() -> None:
    """On a ramp across the motion, one line is darker by one pixel's slope, and the other one brighter."""
    taps = MotionTaps(taps=3, reach=1.0, scale=1, hidden=8, features=4, guides=2, lateral_points=2)
    ramp = torch.arange(64.0).view(1, 1, 64, 1).expand(1, 3, 64, 64) / 64
    motion = torch.zeros(1, 2, 8, 8)
    motion[:, 0] = 4.0
    sight = taps.prepare(ramp, motion, [])
    seen = taps.gather_features(sight, taps.sampling_path(sight))[0, -4:, 20, 20]
    torch.testing.assert_close(seen, torch.tensor([-1, -1, 1, 1]) / 64 * DIFFERENCE_GAIN, atol=1e-3, rtol=0)


def test_taps_find_the_pixel_in_a_neighbour() -> None:
    """A picture moved by 3 pixels and brought back differs by nothing, and by the slope one exposure length away."""
    taps = MotionTaps(taps=3, reach=1.0, scale=1, hidden=8, features=4, guides=2, neighbours=1, neighbour_points=3)
    ramp = torch.arange(64.0).view(1, 1, 1, 64).expand(1, 3, 64, 64) / 64
    motion, back = torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8)
    motion[:, 0], back[:, 0] = 4.0, -3.0
    trusted, wrong, missing = (torch.full((1, 1, 8, 8), value) for value in (0.0, 0.1, 1.0))
    path = taps.sampling_path(taps.prepare(ramp, motion, []))
    seen = []
    for frame, mismatch in ((ramp + 3 / 64, trusted), (ramp + 3 / 64, wrong), (ramp, missing), (None, missing)):
        view = taps._prepare_neighbour(Neighbour(frame, back, mismatch))
        seen.append(taps._sample_neighbour(view, luma(ramp), path)[0, :, 20, 20])
    difference = 4 / 64 * DIFFERENCE_GAIN
    torch.testing.assert_close(seen[0], torch.tensor([-difference, 0, difference, 1]), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen[1], seen[0] / 2)
    assert not seen[2].any()
    assert not seen[3].any()


def test_taps_sample_both_neighbours() -> None:
    """With neighbour taps a frame that is never matched away still depends on the frame before and the one after."""
    pictures = drifting(3)
    for changed in (0, 2):
        other = pictures.clone()
        other[:, changed] += 0.02 * torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(1))
        effects = []
        for tap_neighbours in (0, 3):
            net = tiny(tap_neighbours)
            for name, parameter in net.named_parameters():
                torch.nn.init.normal_(parameter, std=0.2 if name.startswith("taps.") else 0.0)
            steer = torch.full((6, 2, 6, 8), 3.0)
            with torch.inference_mode():
                residuals = [
                    net.restore_clip(clip, lookahead=1, sampling_motion=steer).residual for clip in (pictures, other)
                ]
            effects.append(float((residuals[0] - residuals[1]).view(2, 3, -1)[:, 1].abs().max()))
        assert effects[0] == 0
        assert effects[1] > 1e-3


@pytest.mark.parametrize("changes", [{"tap_neighbours": 2}, {"tap_neighbours": -1}, {"taps": 4}, {"tap_scale": 3}])
def test_impossible_sizes_are_named(changes: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(changes))):
        replace(config("steered"), **changes)


@pytest.mark.parametrize("fraction", [0.3, 0.6])
def test_the_motion_profile_dips_at_the_exposure_fraction(fraction: float) -> None:
    """White noise blurred over a share of its motion: the lag with the least correlation is that share."""
    velocity_px, width = 20, 512
    noise = torch.rand(1, 1, 64, width + 64, generator=torch.Generator().manual_seed(2))
    length = round(fraction * velocity_px)
    blurred = torch.nn.functional.avg_pool2d(noise, (1, length), stride=1)[..., :width]
    velocity = torch.zeros(1, 2, 8, width // 8)
    velocity[:, 0] = velocity_px
    profile = motion_profile(blurred.expand(1, 3, 64, width), velocity)[0]
    classes = profile[:-1].view(len(SPEEDS_PX), -1, CLASS_SIZE)
    here = classes[SPEEDS_PX.index(13.0), 0]
    assert classes[..., -1].sum() == here[-1], "all blocks are of one class: that speed, along rows"
    step = 2 * REACH / (POINTS - 1)
    dip = (int(here[:LAGS].argmin()) + 1) * step
    assert dip == pytest.approx(fraction, abs=0.06)
    along, across = here[2 * LAGS : 2 * LAGS + 2]
    assert along < 0.6 * across, "blur takes detail along the motion alone"
    assert here[-2] / here[-1] == pytest.approx(math.log(velocity_px), abs=1e-4)


@pytest.mark.parametrize("angle", [0, 45, 90, 135, 180, 225, 270, 315])
def test_classes_of_direction(angle: int) -> None:
    """Opposite directions are one class, and a blur has the same profile in each."""
    radians = math.radians(angle)
    velocity = torch.tensor([math.cos(radians), math.sin(radians)]).view(1, 2, 1, 1).expand(1, 2, 8, 8) * 10.0
    frame = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    classes = motion_profile(frame, velocity)[0, :-1].view(len(SPEEDS_PX), -1, CLASS_SIZE)
    (used,) = classes[..., -1].nonzero().tolist()
    assert used == [SPEEDS_PX.index(8.0), (angle // 45) % 4]


def test_a_still_picture_has_no_motion_profile() -> None:
    profile = motion_profile(torch.rand(2, 3, 32, 32), torch.zeros(2, 2, 4, 4))
    assert PROFILE_SIZE == CLASSES * CLASS_SIZE + 1
    assert torch.equal(profile[:, :-1], torch.zeros(2, PROFILE_SIZE - 1))
    assert (profile[:, -1] > 0).all()


def test_checkpoint_carries_config_and_provenance(tmp_path: Path) -> None:
    net, path = tiny(), tmp_path / "mine.safetensors"
    save_network(net, path, {"steps": 7})
    loaded = load_network(path)
    assert loaded.config == net.config
    assert not loaded.training
    assert read_provenance(path) == {"steps": 7}
    for name, value in net.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, atol=1e-3, rtol=1e-3)


def test_shipped_networks_load_and_say_where_they_come_from() -> None:
    assert "fast" in available_models()
    for name in available_models():
        assert load_network(name).config == read_config(find_config(name))
        provenance = read_provenance(name)
        assert provenance["steps"] > 0
        assert provenance["scores"]


def test_bad_checkpoints_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no network .nowhere.: choose .*fast"):
        load_network("nowhere")
    text = tmp_path / "text.safetensors"
    text.write_text("not weights")
    with pytest.raises(NetworkError, match="no safetensors file"):
        load_network(text)
    path = tmp_path / "cut.safetensors"
    save_network(tiny(), path, {})
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(NetworkError, match="damaged"):
        load_network(path)
