"""The guide stage: noisy frames are restored by a cleaner picture, and come out with their noise or without."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.doubles import FORMATS, YUV444, Batching, Constant, Exposed, Identity, Mixing, clip, planes_equal
from support.engines import assert_same, by_steps, on_cpu, tiny_net
from support.guides import coded, noisy, noisy_clip, some_guide
from vdeblur.engine.pixels import picture_from_planes
from vdeblur.errors import UsageError
from vdeblur.frames import Frame, PixelFormat
from vdeblur.model.checkpoint import save_network
from vdeblur.model.guide.guide_net import Told
from vdeblur.pipeline.resume import load_snapshot, save_snapshot

MAY_REMOVE = {"remove": "noise"}


def names(pixel_format: PixelFormat) -> str:
    return pixel_format.name


def of_all(frames: list[Frame], plane: int = 0) -> np.ndarray[Any, Any]:
    return np.stack([np.asarray(frame.planes[plane], np.float64) for frame in frames])


# --- What the network sees --------------------------------------------------------------------------------------------


class Seeing(Identity):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def __deepcopy__(self, _: dict[int, Any]) -> Seeing:
        return self

    def encode(self, frame: torch.Tensor) -> Any:
        self.seen.append(frame)
        return super().encode(frame)


def test_the_network_sees_the_guide_of_each_frame_with_the_state_after_the_one_before() -> None:
    """By hand, also where the first frame is clean and the guide was not asked."""
    frames = noisy_clip(5, pixel_format=YUV444)
    network, guide = Seeing(), some_guide()
    engine = on_cpu(network, guide=guide, noise=0, lookahead=0)
    engine.step(frames[0])
    engine.noise = "auto"
    for frame in frames[1:]:
        engine.step(frame)
    assert [state for _, state in guide.asked] == [False, True, True, True]
    state, unknown = None, torch.full((1,), torch.nan)
    with torch.inference_mode():
        for frame, seen in zip(frames, network.seen, strict=True):
            samples = torch.stack([torch.from_numpy(plane).float() for plane in frame.planes])
            luma, chroma = ((samples[:1] - 16) / 219).clamp(0, 1), ((samples[1:] - 128) / 224).clamp(-0.5, 0.5)
            noise = unknown if state else torch.zeros(1)
            found, other, state = guide.guide_planes(luma[None], chroma[None], Told(unknown, noise), state)
            change = torch.cat(((found[0] - luma) * 219, (other[0] - chroma) * 224))
            planes = list(samples + change)
            shown = picture_from_planes(planes, frame.format, frame.colour, height=48, width=64, channels=3)
            assert (seen[..., :48, :] - shown).abs().max() < 5e-4
    assert state is not None
    assert state.used > 0


def test_the_correction_is_found_in_the_guide_and_added_to_the_source() -> None:
    frames = noisy_clip(4)
    plain = by_steps(on_cpu(Mixing(), guide="off"), frames)
    guided = by_steps(on_cpu(Mixing(), guide=some_guide()), frames)
    assert not any(planes_equal(one, other) for one, other in zip(plain, guided, strict=True))
    constant = by_steps(on_cpu(Constant(0.1), guide=some_guide()), frames)
    assert_same(constant, by_steps(on_cpu(Constant(0.1), guide="off"), frames))


@pytest.mark.parametrize("pixel_format", FORMATS, ids=names)
def test_strength_0_returns_noisy_frames_bit_for_bit(pixel_format: PixelFormat) -> None:
    frames = noisy_clip(3, 37, 51, pixel_format=pixel_format)
    guide = some_guide()
    assert_same(by_steps(on_cpu(Mixing(), guide=guide, strength=0), frames), frames)
    assert len(guide.asked) == 3


def test_clean_frames_are_restored_as_without_a_guide() -> None:
    frames, guide = list(clip(6, 48, 64, cuts=(3,))), some_guide()
    for options in ({}, MAY_REMOVE, {"reduce": 2}):
        chosen = {"reduce": 1, **options}
        whole = by_steps(on_cpu(tiny_net(), guide="off", reduce=chosen["reduce"]), frames)
        assert_same(by_steps(on_cpu(tiny_net(), guide=guide, **chosen), frames), whole)
    assert guide.asked == [], "it costs a reading"


def test_a_coarse_quantiser_asks_for_the_guide_of_clean_frames() -> None:
    frames, guide = list(clip(3, 48, 64)), some_guide()
    for quantiser, asked in ((12.0, 0), (35.0, 3)):
        by_steps(on_cpu(Identity(), guide=guide), coded(frames, quantiser))
        assert len(guide.asked) == asked


def test_what_the_user_says_of_the_noise_overrules_the_reading() -> None:
    clean, grainy, guide = list(clip(2, 48, 64)), noisy_clip(2), some_guide()
    for frames, noise, asked in ((clean, 8.0, 2), (grainy, 0.0, 2), (grainy, "auto", 4)):
        by_steps(on_cpu(Identity(), guide=guide, noise=noise), frames)
        assert len(guide.asked) == asked
    with closing(on_cpu(Identity(), guide=guide, noise=8).restorations(clean)) as restored:
        noises = [each.noise for each in restored]
    assert all(noise is not None and noise.given and noise.level == pytest.approx(8) for noise in noises)


def test_a_reduced_picture_gets_a_guide_of_its_size_unless_noise_is_removed() -> None:
    frames, guide = noisy_clip(2, 96, 128, deviation=16), some_guide()
    by_steps(on_cpu(tiny_net(), guide=guide, reduce=2), frames)
    assert {size for size, _ in guide.asked} == {(48, 64)}
    guide.asked.clear()
    by_steps(on_cpu(tiny_net(), guide=guide, reduce=2, **MAY_REMOVE), frames)
    assert {size for size, _ in guide.asked} == {(96, 128)}


# --- Removal ----------------------------------------------------------------------------------------------------------


def test_noise_is_removed_or_kept(drifting_clip: list[Frame]) -> None:
    """With the guide that ships: removal brings the clean clip nearer, half of it less so, and none keeps the noise."""
    grainy = noisy(drifting_clip)
    errors = {}
    for remove in ("none", "noise=0.5", "noise"):
        restored = list(on_cpu(Identity(), guide="auto", noise=10, remove=remove).run(grainy))
        errors[remove] = np.square(of_all(restored[3:]) - of_all(drifting_clip[3:])).mean()
    assert errors["none"] == pytest.approx(100, rel=0.05)
    assert errors["noise"] < 0.5 * errors["none"], "3 dB"
    assert errors["noise"] < errors["noise=0.5"] < 0.7 * errors["none"]
    kept, clean = (of_all(list(on_cpu("fast").run(frames))) for frames in (grainy, drifting_clip))
    assert (kept - clean).std() == pytest.approx(10, rel=0.1)


@pytest.fixture
def drifting_clip() -> list[Frame]:
    return list(clip(8, 96, 128))


@pytest.mark.parametrize("pixel_format", FORMATS, ids=names)
def test_removal_is_the_guide_in_every_format(pixel_format: PixelFormat) -> None:
    """With a network that corrects nothing, half of the removal lies in the middle; alpha is left alone."""
    frames = noisy_clip(2, 37, 51, pixel_format=pixel_format, deviation=6)
    every, half = (
        by_steps(on_cpu(Identity(), guide=some_guide(), remove=remove), frames) for remove in ("noise", "noise=0.5")
    )
    peak, colours = pixel_format.peak, pixel_format.colour_planes
    for source, whole, part in zip(frames, every, half, strict=True):
        for index in range(colours):
            before, after, middle = (np.asarray(f.planes[index], np.float64) for f in (source, whole, part))
            assert np.abs(after - before).max() > peak / 100
            inside = (after > 0) & (after < peak)
            assert np.abs(middle - (before + after) / 2)[inside].max() <= (1 if peak > 1 else 1e-3)
        for plane in range(colours, pixel_format.plane_count):
            assert np.array_equal(whole.planes[plane], source.planes[plane])


def test_removal_adds_to_the_correction_in_one_sum() -> None:
    frames = noisy_clip(3, pixel_format=YUV444)
    removed = by_steps(on_cpu(Identity(), guide=some_guide(), **MAY_REMOVE), frames)
    both = by_steps(on_cpu(Constant(20 / 219), guide=some_guide(), **MAY_REMOVE), frames)
    inside = of_all(both) < 255
    assert np.abs(of_all(both) - of_all(removed) - 20)[inside & (of_all(removed) > 0)].max() <= 1


def test_what_is_kept_is_kept_from_removal_and_grain_too() -> None:
    frames = noisy_clip(3)
    restored = by_steps(on_cpu(Mixing(), guide=some_guide(), remove="noise", grain=9, keep="8,4,20,16"), frames)
    for source, frame in zip(frames, restored, strict=True):
        for index, part in enumerate((np.s_[4:20, 8:28], np.s_[2:10, 4:14], np.s_[2:10, 4:14])):
            assert np.array_equal(frame.planes[index][part], source.planes[index][part])
            assert not np.array_equal(frame.planes[index], source.planes[index])


def test_grain_is_of_the_frames_time() -> None:
    frames = list(clip(3, 48, 64))
    one, other = (by_steps(on_cpu(Mixing(), strength=0, grain=6), frames) for _ in range(2))
    assert_same(one, other)
    change = of_all(one) - of_all(frames)
    assert change.std() > 2
    assert not np.array_equal(change[0], change[1])


# --- State ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lookahead", [0, 1])
def test_several_streams_equal_each_one_alone(lookahead: int) -> None:
    options = {"lookahead": lookahead, **MAY_REMOVE}
    clips = [noisy_clip(5), list(clip(4, 48, 64)), noisy(clip(6, 48, 64, cuts=(2,)), 20, seed=4), noisy_clip(3, 40, 56)]
    together = list(zip(*on_cpu(Batching(), guide=some_guide(), **options).run_many(clips), strict=True))
    for own, frames in zip(clips, together, strict=True):
        alone = list(on_cpu(Batching(), guide=some_guide(), **options).run(own))
        found = [frame for frame in frames if frame is not None]
        assert len(found) == len(alone)
        assert np.abs(of_all(found) - of_all(alone)).max() <= 1


@pytest.mark.parametrize("read_ahead", [0, 3, 8])
def test_reading_ahead_changes_no_guide(read_ahead: int) -> None:
    frames = noisy_clip(7)
    found = list(on_cpu(Exposed(), guide=some_guide(), shutter=0.5, **MAY_REMOVE).run(frames, read_ahead=read_ahead))
    assert_same(found, by_steps(on_cpu(Exposed(), guide=some_guide(), shutter=0.5, **MAY_REMOVE), frames))


def test_nothing_of_a_shot_reaches_the_next() -> None:
    frames = noisy_clip(6, cuts=(3,))
    engine = on_cpu(Mixing(), guide=some_guide(), **MAY_REMOVE)
    assert_same(by_steps(engine, frames)[3:], by_steps(engine, frames[3:]))
    engine.step(frames[0])
    engine.reset()
    assert_same(by_steps(engine, frames[3:]), by_steps(engine, frames[3:]))


def test_copies_are_not_seen_again_and_get_their_twins_change() -> None:
    frames = noisy_clip(3)
    times = [frame.pts for frame in clip(6)]
    doubled = [
        Frame(each.planes, each.format, each.colour, pts, each.time_base, 512)
        for pts, each in zip(times, [one for one in frames for _ in range(2)], strict=True)
    ]
    guide = some_guide()
    options = {"guide": guide, "remove": "noise", "grain": 5}
    with closing(on_cpu(tiny_net(), **options).restorations(doubled, read_ahead=8)) as restored:
        found = list(restored)
    assert len(guide.asked) == 3
    for first, second in zip(found[::2], found[1::2], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(first.frame.planes, second.frame.planes, strict=True))
        assert first.noise == second.noise


def test_a_suspended_stream_goes_on_with_its_guide() -> None:
    frames = noisy_clip(6)
    engine = on_cpu(Mixing(), guide=some_guide(), lookahead=0, **MAY_REMOVE)
    first = [engine.step(frame) for frame in frames[:3]]
    kept = engine.suspend()
    for _ in range(2):
        engine.resume(kept)
        rest = [engine.step(frame) for frame in frames[3:]]
        assert_same([*first, *rest], by_steps(on_cpu(Mixing(), guide=some_guide(), lookahead=0, **MAY_REMOVE), frames))


# --- Options ----------------------------------------------------------------------------------------------------------


def test_who_gets_a_guide() -> None:
    """Networks of the package by themselves; others where one is named, or noise is said or removed."""
    for network, options, has in (
        ("fast", {}, True), ("fast", {"guide": "off"}, False), (tiny_net(), {}, True), (Identity(), {}, False),
        (Identity(), MAY_REMOVE, True), (Identity(), {"noise": 5}, True), (Identity(), {"guide": some_guide()}, True),
        (Identity(), {"grain": 5}, False),
    ):  # fmt: skip
        assert (on_cpu(network, **options).device_step.guide is not None) == has


def test_it_may_be_set_between_frames() -> None:
    frames, guide = noisy_clip(6), some_guide()
    engine = on_cpu(Identity(), guide=guide, lookahead=0)
    assert (engine.remove, engine.noise, engine.grain) == ("none", "auto", 0)
    assert planes_equal(engine.step(frames[0]), frames[0])
    engine.remove = "noise=0.50"
    assert engine.remove == "noise=0.5"
    assert not planes_equal(engine.step(frames[1]), frames[1])
    engine.noise = 0
    assert planes_equal(engine.step(frames[2]), frames[2])
    engine.noise, engine.remove = "auto", "none"
    assert planes_equal(engine.step(frames[3]), frames[3])
    engine.grain = 4
    assert not planes_equal(engine.step(frames[4]), frames[4])
    for name, value in (
        ("remove", "hum"),
        ("remove", "noise=2"),
        ("remove", {"noise": 0.5}),
        ("noise", -1),
        ("grain", 21),
    ):
        with pytest.raises(UsageError, match=f"^{name} cannot be "):
            setattr(engine, name, value)
    alone = on_cpu(Identity(), lookahead=0)
    alone.remove = "noise"
    assert alone.device_step.guide is not None


def test_no_guide_is_wanted_and_needed_at_once() -> None:
    with pytest.raises(UsageError, match=r"^remove cannot be 'noise' without a guide; leave out guide=\"off\"$"):
        on_cpu(Identity(), guide="off", **MAY_REMOVE)
    engine = on_cpu(Identity(), guide="off")
    with pytest.raises(UsageError, match=r"^noise cannot be 4\.0 without a guide"):
        engine.noise = 4.0


def test_networks_in_each_others_place(tmp_path: Path) -> None:
    guide, network, missing = (str(tmp_path / f"{name}.safetensors") for name in ("guide", "network", "missing"))
    save_network(some_guide(), Path(guide), {})
    save_network(tiny_net(), Path(network), {})
    assert on_cpu(network, guide=guide).device_step.guide is not None
    for options, words in (
        ({"guide": network}, "that is a network that takes blur away (tiny); use model="),
        ({"model": guide}, "that is a guide, which takes noise away and leaves the blur; use guide="),
        ({"guide": missing}, "there is no such file"),
    ):
        with pytest.raises(UsageError) as caught:
            on_cpu(**{"network": options.pop("model", "fast"), **options})
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", ["fast", "", "x.pt", 3, None])
def test_what_is_no_guide_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"^guide cannot be "):
        on_cpu(Identity(), guide=wrong)


def test_the_guide_computes_as_the_precision_says() -> None:
    with_guide = {"guide": some_guide(), "device": "cpu"}
    for precision, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        stage = on_cpu(Identity(), **{**with_guide, "precision": precision}).device_step.guide
        assert stage is not None
        assert next(stage.network.parameters()).dtype == dtype


def test_a_frame_says_what_noise_it_had() -> None:
    first, second = coded(noisy_clip(2, start=4096), 30)
    frames = [*clip(2, 48, 64), replace(first, cut=True), second]
    with closing(on_cpu(Identity(), guide=some_guide(), remove="noise=0.5").restorations(frames)) as restored:
        noises = [each.noise for each in restored]
    for noise, grainy in zip(noises, (False, False, True, True), strict=True):
        assert noise is not None
        assert (noise.used > 0.9) == grainy
        assert (noise.level > 5) == grainy
        assert (noise.quantiser is not None) == grainy
        assert (noise.given, noise.removed) == (False, 0.5)
    with closing(on_cpu(Identity(), guide="off").restorations(frames)) as restored:
        assert {each.noise for each in restored} == {None}


@pytest.mark.parametrize(("lookahead", "read_ahead"), [(0, 0), (1, 0), (1, 8)])
def test_a_snapshot_goes_on_to_the_same_frames(lookahead: int, read_ahead: int, tmp_path: Path) -> None:
    """From every frame, over a cut, a copy and a clean frame, by way of a file."""
    pictures = [*noisy(clip(9, 48, 64, cuts=(3,)), 12), *clip(1, 48, 64)]
    pictures[5] = pictures[4]
    times = [frame.pts for frame in clip(10)]
    frames = coded([replace(picture, pts=pts) for picture, pts in zip(pictures, times, strict=True)], 24)

    def engine() -> Any:
        return on_cpu(tiny_net(), guide=some_guide(), lookahead=lookahead, remove="noise=0.7", grain=3)

    whole = list(engine().restorations(frames, read_ahead=read_ahead))
    for done in range(1, len(frames)):
        kept = tmp_path / f"{done}.safetensors"
        after = load_snapshot(json.loads(json.dumps(save_snapshot(whole[done - 1].snapshot, kept))), kept)
        rest = list(engine().restorations(frames[done - 1 :], after=after, read_ahead=read_ahead))
        assert_same([each.frame for each in rest], [each.frame for each in whole[done:]])
        assert [each.noise for each in rest] == [each.noise for each in whole[done:]]
    lost = replace(whole[6].snapshot, guide=None)
    again = list(engine().restorations(frames[6:], after=lost, read_ahead=read_ahead))
    assert not planes_equal(again[0].frame, whole[7].frame), "the state makes a difference"
