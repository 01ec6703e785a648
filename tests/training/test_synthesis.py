"""The synthesis' promises: the truth is true, the blur has no ghosts, light adds up, and a seed says all."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise
from statistics import median

import numpy as np
import pytest
import torch
from torch import Tensor

from support.paths import ROOT
from support.synthetic import CLEAN, PLAIN, SIZE, decibels, one_clip, smooth, straight_plan, tiles
from vdeblur.config import build, read_yaml
from vdeblur.errors import UsageError
from vdeblur.model.layers import warp
from vdeblur.training.synthesis import blur as blur_module
from vdeblur.training.synthesis.blur import make_levels, synthesise
from vdeblur.training.synthesis.camera import compress, develop, light_of_levels, response
from vdeblur.training.synthesis.clip_plan import MaskShape, draw_plan
from vdeblur.training.synthesis.config import SynthesisConfig
from vdeblur.training.synthesis.layers import expose, layer_batches, soft_mask
from vdeblur.training.synthesis.stills import Textures

#: Everything at once: tremor, planes, layers, a real camera.
RICH = SynthesisConfig(
    size_px=SIZE, frames=3, speed_px=(2.0, 12.0), tremor_share=1.0, parallax_share=0.8, layer_share=0.8
)
CONFIG_FILE = ROOT / "configs" / "synth.yaml"


def inside(picture: Tensor) -> Tensor:
    return picture[..., 12:-12, 12:-12]


def pictures() -> Textures:
    return Textures([smooth(1), tiles(2), smooth(3)])


def test_a_seed_says_all() -> None:
    first, again, other = (synthesise(pictures(), RICH, seed=seed, numbers=[0]) for seed in (1, 1, 2))
    for one, two in zip(first[:4], again[:4], strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(first.blurry, other.blurry)


def test_a_clip_is_the_same_in_any_batch() -> None:
    together = synthesise(pictures(), RICH, seed=1, numbers=[4, 9, 7])
    alone = synthesise(pictures(), RICH, seed=1, numbers=[7])
    for batch, one in zip(together[:4], alone[:4], strict=True):
        assert torch.equal(batch[2], one[0])
    assert together.blurry.shape == (3, 3, 3, SIZE, SIZE)
    assert together.motion is not None
    assert together.motion.shape == (3, 3, 2, SIZE, SIZE)


def test_clips_drawn_in_one_go_are_the_same_up_to_rounding() -> None:
    """As a GPU does it: all frames of unequal clips at once, padded."""
    textures, config = pictures(), replace(RICH, compressed_share=0.0, layers=(1, 2))
    plans = [draw_plan(textures, config, seed=3, number=number) for number in range(6)]
    assert len({len(plan.layers) for plan in plans}) > 1
    assert len({plan.counts for plan in plans}) > 2
    lights = [blur_module._light(plan, textures) for plan in plans]
    whole = expose(plans, layer_batches(plans, lights), range(3), motion=True)
    for index, plan in enumerate(plans):
        alone = layer_batches([plan], [lights[index]])
        for frame in range(3):
            part = expose([plan], alone, range(frame, frame + 1), motion=True)
            for name in ("blurry", "sharp"):
                together, single = getattr(whole, name)[index, frame], getattr(part, name)[0, 0]
                torch.testing.assert_close(together, single, atol=2e-4, rtol=0)
            for name in ("velocity", "motion"):
                together, single = getattr(whole, name)[index, frame], getattr(part, name)[0, 0]
                # At a mask's very edge rounding decides whose motion counts.
                assert float(((together - single).abs() > 1e-3).float().mean()) < 1e-3


def test_a_layer_leaves_no_veil_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clip alone is drawn within boxes around its layers, a group everywhere: beside a layer there is nothing."""
    config = replace(RICH, read_noise=(1e-9, 1e-9), shot_noise=(1e-9, 1e-9), compressed_share=0.0)
    alone = synthesise(pictures(), config, seed=1, numbers=[0, 1, 2])
    monkeypatch.setattr(blur_module, "_is_on_cpu", lambda textures: False)
    together = synthesise(pictures(), config, seed=1, numbers=[0, 1, 2])
    for name in ("blurry", "sharp"):
        assert decibels(getattr(alone, name), getattr(together, name)) > 60


def test_the_groups_of_a_gpu_hold_every_clip_once(monkeypatch: pytest.MonkeyPatch) -> None:
    textures = pictures()
    plans = [draw_plan(textures, RICH, seed=3, number=number) for number in range(12)]
    monkeypatch.setattr(blur_module, "_is_on_cpu", lambda textures: False)
    groups = list(blur_module._groups(plans, textures))
    assert sorted(index for group in groups for index in group) == list(range(12))
    assert len(groups) < 12
    for group in groups:
        counts = [max(plans[index].counts) for index in group]
        assert max(counts) <= 2 * min(counts)


def test_large_frames_are_made_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = synthesise(pictures(), RICH, seed=1, numbers=[3, 4])
    monkeypatch.setattr(blur_module, "_BAND_PIXELS", 20 * SIZE)
    for one, other in zip(whole[:4], synthesise(pictures(), RICH, seed=1, numbers=[3, 4])[:4], strict=True):
        assert float((one - other).abs().max()) < 0.02
        assert float((one != other).float().mean()) < 0.01


def test_a_bright_dot_leaves_a_streak_without_gaps() -> None:
    """A point of 3 × 3 pixels moved by 24 pixels: an even streak of that length that holds all of its light."""
    picture = torch.zeros(3, 33, 65, dtype=torch.uint8)
    picture[:, 15:18, 31:34] = 255
    plan = straight_plan(picture, (24.0, 0.0), count=21)
    light = blur_module._light(plan, Textures([picture]))
    blurry = expose([plan], layer_batches([plan], [light]), range(1), motion=False).blurry[0, 0, 0]
    row = blurry[16]
    assert float(blurry.sum()) == pytest.approx(9.0, rel=0.01)
    assert int((row > 0.02).sum()) == pytest.approx(27, abs=2)
    plateau = row[32 - 9 : 32 + 10]
    assert float(plateau.min()) > 0.8 * float(plateau.max())
    assert float(row @ torch.arange(65.0) / row.sum()) == pytest.approx(32.0, abs=0.05)


def test_no_two_sub_frames_lie_farther_apart_than_the_step() -> None:
    config = replace(RICH, speed_px=(20.0, 60.0), exposure=(0.5, 1.0), subframes=33)
    corners = np.array([[-32.0, 32, -32, 32], [-32, -32, 32, 32], [1, 1, 1, 1]])
    shortened = 0
    for number in range(20):
        plan = draw_plan(pictures(), config, seed=1, number=number)
        for frame, count in enumerate(plan.counts):
            assert count % 2 == 1
            assert count <= 33
            shortened += plan.exposures[frame] < 0.35
            times = plan.instants(count)[frame]
            for layer in plan.layers:
                maps = layer.matrices(times)
                seen = (maps @ np.linalg.inv(maps[count // 2]) @ corners)[:, :2]
                if count > 1:
                    # The highest speed was measured in eight chords.
                    assert np.linalg.norm(np.diff(seen, axis=0), axis=1).max() < 1.1 * config.step_px
    assert shortened


def test_light_adds_up_before_the_response() -> None:
    """Black and white stripes that move by their width meet at half the light, not at half the level."""
    picture = torch.zeros(3, 32, 64, dtype=torch.uint8)
    picture[:, :, 0::2] = 255
    plan = straight_plan(picture, (2.0, 0.0), count=65)
    plan = replace(plan, electronics=replace(PLAIN, gamma=2.2))
    made = blur_module._make_group([plan], Textures([picture]), False)[0]
    level = made.pictures[0, 0, 0, 8:-8, 8:-8].float().mean()
    assert float(level) / 255 == pytest.approx(0.5 ** (1 / 2.2), abs=0.01)


def test_the_truth_is_the_middle_of_the_exposure() -> None:
    """The truth of an open shutter is what a very fast one sees at the frame's own time."""
    slow = one_clip(CLEAN, 3)
    fast = one_clip(replace(CLEAN, exposure=(1e-6, 1e-6)), 3)
    torch.testing.assert_close(slow.sharp, fast.blurry, atol=1.01 / 255, rtol=0)
    assert decibels(slow.blurry, slow.sharp) < 42


def test_the_velocity_leads_to_the_next_frame() -> None:
    """The next frame fetched along the velocity is this one; a path that bends is followed less exactly."""
    picture = smooth(1)
    plan = straight_plan(picture, (3.0, -2.0), count=3, frames=3)
    layers = layer_batches([plan], [blur_module._light(plan, Textures([picture]))])
    straight = expose([plan], layers, range(3), motion=True)
    assert straight.velocity is not None
    fetched = warp(straight.sharp[0, 2:3], straight.velocity[0, 1:2])
    torch.testing.assert_close(inside(fetched[0]), inside(straight.sharp[0, 1]), atol=0.01, rtol=0)
    shares = []
    for number in range(9):
        made = one_clip(replace(CLEAN, speed_px=(2.0, 2.0)), number)
        assert made.velocity is not None
        fetched = warp(made.sharp[2:3], made.velocity[1:2])
        still = (inside(made.sharp[2]) - inside(made.sharp[1])).abs().mean()
        shares.append(float((inside(fetched[0]) - inside(made.sharp[1])).abs().mean() / still))
    assert median(shares) < 0.3


def test_the_motion_explains_the_blur() -> None:
    """The truth averaged along the true motion is the blurred frame: direction, length and middle are right."""
    shares = []
    for number in range(9):
        made = one_clip(CLEAN, number)
        assert made.motion is not None
        steps = [warp(made.sharp[1:2], made.motion[1:2] * share) for share in torch.linspace(-0.47, 0.47, 15).tolist()]
        rebuilt = torch.stack(steps).mean(0)[0]
        before = (inside(made.sharp[1]) - inside(made.blurry[1])).abs().mean()
        shares.append(float((inside(rebuilt) - inside(made.blurry[1])).abs().mean() / before))
    assert median(shares) < 0.35


def test_a_layer_has_its_own_motion_where_it_hides_the_rest() -> None:
    config = replace(CLEAN, layer_share=1.0, static_share=1.0, layer_size=(0.9, 0.9), layers=(1, 1))
    seen = 0
    for number in range(6):
        made = one_clip(config, number)
        assert made.velocity is not None
        moving = made.velocity[1].norm(dim=0) > 0.5
        seen += int(moving.sum())
        blur = (made.blurry[1] - made.sharp[1]).abs().mean(dim=0)
        if moving.any():
            assert float(blur[moving].mean()) > 3 * float(blur[~moving].mean())
    assert seen > 0.1 * 6 * SIZE * SIZE


def test_a_plane_at_another_depth_moves_at_another_speed() -> None:
    config = replace(CLEAN, parallax_share=1.0, parallax=(2.0, 2.0), turn_share=0.0)
    ratios = []
    for number in range(6):
        made = one_clip(config, number)
        assert made.velocity is not None
        speed = made.velocity[1].norm(dim=0)
        near, far = speed.max(), speed.min()
        if near > far + 0.1:
            ratios.append(float(near / far))
    assert len(ratios) >= 3
    assert ratios == pytest.approx([2.0] * len(ratios), rel=0.01)


def test_layers_lie_anywhere() -> None:
    config = replace(CLEAN, layer_share=1.0, static_share=1.0)
    places = []
    for number in range(8):
        layer = draw_plan(pictures(), config, seed=1, number=number).layers[1]
        seen = layer.matrices(np.array([1.0]))[0, :2, 2]
        assert seen == pytest.approx(layer.offset)
        places.append(layer.offset)
    assert np.std(places, axis=0).min() > 0.1 * SIZE


def test_a_still_camera_makes_no_blur() -> None:
    made = one_clip(replace(CLEAN, static_share=1.0))
    assert torch.equal(made.blurry, made.sharp)
    assert torch.equal(made.sharp[0], made.sharp[2])
    assert made.motion is not None
    assert made.motion.abs().max() < 1e-4


def test_a_fast_shutter_makes_no_blur_however_fast_things_move() -> None:
    made = one_clip(replace(CLEAN, sharp_share=1.0, sharp_exposure=(0.02, 0.02)))
    assert made.velocity is not None
    assert made.motion is not None
    assert made.velocity.norm(dim=1).mean() > 3
    assert made.motion.norm(dim=1).max() < 0.4
    assert (inside(made.blurry) - inside(made.sharp)).abs().mean() < 0.003


def test_tremor_shakes_a_camera_that_hardly_moves() -> None:
    calm = replace(CLEAN, frames=8, speed_px=(0.01, 0.01))
    shaken = replace(calm, tremor_share=1.0, tremor_px=(1.5, 1.5))
    speeds = []
    for config in (calm, shaken):
        plan = draw_plan(pictures(), config, seed=1, number=0)
        where = plan.layers[0].camera.parameters(np.arange(8.0))[:, :2]
        speeds.append(float(np.abs(np.diff(where, axis=0)).max()))
    assert speeds[0] < 0.05
    assert 0.2 < speeds[1] < 6


def test_shares_hold() -> None:
    """Over many plans the drawn shares are the asked ones."""
    config = SynthesisConfig(
        size_px=SIZE, frames=2, sharp_share=0.35, exposure=(0.3, 1.0), static_share=0.2, compressed_share=0.5
    )
    plans = [draw_plan(pictures(), config, seed=1, number=number) for number in range(400)]
    sharp = sum(plan.exposures[0] < 0.12 * 1.15 for plan in plans) / 400
    still = sum(not plan.layers[0].camera.speed.any() for plan in plans) / 400
    coded = sum(plan.electronics.codec is not None for plan in plans) / 400
    assert sharp == pytest.approx(0.35, abs=0.07)
    assert still == pytest.approx(0.2, abs=0.07)
    assert coded == pytest.approx(0.5, abs=0.08)
    kinds = {plan.electronics.codec for plan in plans}
    assert kinds == {None, "h264", "hevc", "jpeg"}


def test_the_exposure_drifts_slowly() -> None:
    config = replace(CLEAN, frames=8, exposure=(0.5, 0.5), exposure_drift=(0.3, 0.3))
    exposures = draw_plan(pictures(), config, seed=1, number=0).exposures
    assert abs(exposures[-1] / exposures[0] - 1) > 0.2
    assert all(abs(after / before - 1) < 0.06 for before, after in pairwise(exposures))


def test_the_whole_screen_is_covered_by_the_picture() -> None:
    """However far the camera goes, what it sees lies inside the cut, so nothing is drawn out at an edge."""
    for number in range(30):
        plan = draw_plan(pictures(), replace(RICH, frames=6), seed=2, number=number)
        layer = plan.layers[0]
        if layer.cut.height >= 4 * SIZE or layer.cut.width >= 4 * SIZE:
            continue
        times = plan.instants(max(plan.counts)).ravel()
        corners = np.array([[-32.0, 32, -32, 32], [-32, -32, 32, 32], [1, 1, 1, 1]])
        seen = np.abs(np.linalg.inv(layer.matrices(times)) @ corners).max(axis=(0, 2))
        assert seen[0] <= layer.cut.width / 2 - 0.5
        assert seen[1] <= layer.cut.height / 2 - 0.5


def test_any_size_not_only_square() -> None:
    made = synthesise(pictures(), RICH, seed=1, numbers=[0], size=(48, 80))
    assert made.blurry.shape == (1, 3, 3, 48, 80)


@pytest.mark.parametrize("blob", [False, True])
def test_a_mask_is_soft_and_ends_before_the_border(blob: bool) -> None:
    heights = np.random.default_rng(1).random((6, 6)) if blob else None
    mask = soft_mask(MaskShape((0.7, 0.5), 3.0, 0.4, 2 / 32, heights), 64, torch.device("cpu"))[0]
    assert mask.max() == 1
    assert torch.stack((mask[0], mask[-1], mask[:, 0], mask[:, -1])).max() < 0.5
    soft = ((mask > 0.02) & (mask < 0.98)).float().mean()
    assert 0.01 < float(soft) < 0.3


@pytest.mark.parametrize("number", range(5))
def test_a_response_and_its_inverse(number: int) -> None:
    """A still picture looks like the photograph it was made of, whatever the camera's curve."""
    electronics = replace(
        draw_plan(pictures(), SynthesisConfig(), seed=1, number=number).electronics, gain=1.0, highlight_gain=1.0
    )
    levels = response(light_of_levels(electronics)[None], [electronics])[0] * 255
    torch.testing.assert_close(levels, torch.arange(256.0), atol=0.3, rtol=0)


def test_highlights_saturate_and_lamps_leave_white_streaks() -> None:
    picture = torch.full((3, 33, 65), 40, dtype=torch.uint8)
    picture[:, 15:18, 31:34] = 255
    levels = {}
    for boost in (1.0, 8.0):
        plan = straight_plan(picture, (12.0, 0.0), count=11)
        plan = replace(plan, electronics=replace(PLAIN, gamma=2.2, highlight_gain=boost))
        levels[boost] = blur_module._make_group([plan], Textures([picture]), False)[0].pictures
    assert int(levels[8.0][0, 0, 0, 16, 32]) == 255
    assert int(levels[1.0][0, 0, 0, 16, 32]) < 200
    assert int(levels[8.0][1].max()) == 255


def test_noise_and_compression_touch_the_blurry_side_only() -> None:
    noisy = one_clip(replace(CLEAN, static_share=1.0, read_noise=(0.02, 0.02)))
    assert (noisy.blurry - noisy.sharp).std() > 0.005
    assert torch.equal(noisy.sharp[0], noisy.sharp[1])
    for kind in ({"h264_share": 1.0, "hevc_share": 0.0}, {"h264_share": 0.0, "hevc_share": 0.0}):
        coded = one_clip(replace(CLEAN, static_share=1.0, compressed_share=1.0, **kind))
        assert torch.equal(coded.sharp[0], coded.sharp[1])
        assert 25 < decibels(coded.blurry, coded.sharp) < 60


def test_the_sensor_s_noise_has_its_strength() -> None:
    """Variance = shot · light + read², in linear light; a mosaic keeps sparse colours' noise and ties neighbours."""
    light = torch.full((3, 4, 3, 64, 64), 0.5)
    camera = replace(PLAIN, read_noise=0.03, shot_noise=0.002)
    cameras = [camera, replace(camera, mosaic=True), replace(camera, denoised=True)]
    generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    plain, mosaic, denoised = develop(light, light, cameras, generators)[0]
    expected = (0.002 * 0.5 + 0.03**2) ** 0.5 * 255
    assert float(plain.float().std()) == pytest.approx(expected, rel=0.05)
    assert abs(_neighbours(plain)) < 0.05
    assert _neighbours(mosaic) > 0.3
    assert float(denoised.float().std()) < 0.6 * expected
    glare = develop(light + 3, light, [camera] * 3, generators)[0]
    assert float((glare < 255).float().mean()) == pytest.approx(0.5, abs=0.1), "noise comes after the sensor is full"
    alone = develop(light[1:2], light[1:2], cameras[1:2], [torch.Generator().manual_seed(1)])[0]
    assert torch.equal(alone[0], mosaic)


def _neighbours(levels: Tensor) -> float:
    """Correlation of red with its right neighbour."""
    red = levels[:, 0].float() - levels[:, 0].float().mean()
    return float((red[..., 1:] * red[..., :-1]).mean() / red.square().mean())


def test_a_sharpening_camera_sharpens_the_truth_as_well() -> None:
    light = (tiles(1).float() / 255).expand(2, 1, -1, -1, -1)
    generators = [torch.Generator().manual_seed(1) for _ in range(2)]
    developed = develop(light, light, [PLAIN, replace(PLAIN, sharpening=0.8)], generators)
    for plain, crisp in developed:
        assert float(crisp.float().std()) > 1.02 * float(plain.float().std())
    assert torch.equal(*developed)


def test_jpeg_keeps_each_clip_s_own_quality() -> None:
    levels = smooth(1, 64)[None]
    fine, coarse = compress([levels] * 2, [replace(PLAIN, codec="jpeg", quality=quality) for quality in (95.0, 55.0)])
    assert fine.shape == levels.shape
    assert decibels(fine / 255, levels / 255) > decibels(coarse / 255, levels / 255) + 2


def test_small_clips_hold_what_big_ones_do() -> None:
    levels = make_levels(pictures(), RICH, seed=1, numbers=[2])[0]
    clip = synthesise(pictures(), RICH, seed=1, numbers=[2])
    assert torch.equal(levels.pictures[0] / 255, clip.blurry[0])
    assert make_levels(pictures(), RICH, seed=1, numbers=[2], motion=False)[0].vectors is None


BAD_KNOBS = {
    "size_px": (100, "multiple of 16"),
    "exposure": ([0.5, 1.5], "1.2 or less"),
    "speed_px": ([0.0, 3.0], "above 0"),
    "gain": ([1.5, 0.5], "lowest number first"),
    "layer_share": (1.2, "between 0 and 1"),
    "h264_crf": ([10.0, 60.0], "51 or less"),
    "frames": (0, "1 or more"),
    "read_noise": ([float("nan"), 1.0], "finite"),
    "hevc_share": (0.9, "1 or less"),
}


@pytest.mark.parametrize("name", BAD_KNOBS)
def test_a_bad_knob_is_named(name: str) -> None:
    value, says = BAD_KNOBS[name]
    with pytest.raises(UsageError, match=rf"{name}.*{says}"):
        build(SynthesisConfig, {name: value}, where="test")


def test_the_shipped_config_shows_every_knob_with_its_default() -> None:
    data = read_yaml(CONFIG_FILE)
    assert list(data) == [field.name for field in fields(SynthesisConfig)]
    assert build(SynthesisConfig, data, where="synth.yaml") == SynthesisConfig()


@pytest.mark.cuda
def test_a_gpu_makes_the_same_clips_up_to_rounding() -> None:
    config = replace(RICH, read_noise=(1e-9, 1e-9), shot_noise=(1e-9, 1e-9), compressed_share=0.0)
    here = synthesise(pictures(), config, seed=1, numbers=[0, 1, 2])
    there = synthesise(pictures().to("cuda"), config, seed=1, numbers=[0, 1, 2]).to("cpu")
    for name in ("blurry", "sharp"):
        assert decibels(getattr(here, name), getattr(there, name)) > 45
    assert here.motion is not None
    assert there.motion is not None
    assert float((here.motion - there.motion).abs().median()) < 0.01
