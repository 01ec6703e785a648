"""Training data: what a step gets depends on its number alone, disguises tell the truth, bad data is named."""

from __future__ import annotations

import itertools
import logging
import sys
from collections import Counter
from contextlib import closing
from dataclasses import replace
from multiprocessing import resource_tracker
from pathlib import Path

import pytest
import torch
from kornia.io import write_image

from support.synthetic import CLEAN, SIZE, smooth, tiles
from vdeblur.errors import UsageError
from vdeblur.model.layers import warp
from vdeblur.training.data.clip_cache import BLOCK_CLIPS, SyntheticData, fixed_clips
from vdeblur.training.data.clip_schedule import ClipSchedule
from vdeblur.training.synthesis.augmentation import Augmentation, augmented, stack
from vdeblur.training.synthesis.blur import Clip, make_levels
from vdeblur.training.synthesis.config import SynthesisConfig
from vdeblur.training.synthesis.rng import Draw
from vdeblur.training.synthesis.stills import Textures, find_stills, load_stills

if sys.platform != "win32":
    # Python's own helper of spawned processes; it lives as long as this one and is no leak.
    resource_tracker.ensure_running()

SMALL = SynthesisConfig(size_px=32, frames=2, h264_share=0.9, hevc_share=0.0, compressed_share=0.3)


@pytest.fixture
def stills(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "stills"
    folder.mkdir()
    for seed in range(3):
        write_image(folder / f"{seed}.png", tiles(seed))
    return find_stills([folder])


def data(stills: list[Path], **changes: object) -> SyntheticData:
    settings = {"seed": 1, "batch": 2, "reuse": 3, "workers": 0, "device": "cpu", **changes}
    return SyntheticData(SMALL, stills=stills, **settings)  # type: ignore[arg-type]


def taken(source: SyntheticData, first: int, count: int) -> list[Clip]:
    with closing(source.batches(first)) as batches:  # type: ignore[type-var]
        return list(itertools.islice(batches, count))


def same(one: Clip, other: Clip) -> bool:
    return all(
        (a is None and b is None) or (a is not None and b is not None and torch.equal(a, b))
        for a, b in zip(one, other, strict=True)
    )


def test_batches_have_the_shapes_that_were_agreed(stills: list[Path]) -> None:
    blurry, sharp, velocity, motion, told = taken(data(stills), 0, 1)[0]
    assert told is None
    assert blurry.shape == sharp.shape == (2, 2, 3, 32, 32)
    assert velocity is not None
    assert motion is not None
    assert velocity.shape == motion.shape == (2, 2, 2, 32, 32)
    assert all(part.dtype == torch.float32 and part.is_contiguous() for part in (blurry, sharp, velocity, motion))
    assert 0 <= float(blurry.min()) < float(blurry.max()) <= 1


@pytest.mark.parametrize("first", [1, 7, 30])
def test_a_resumed_stream_goes_on_exactly(stills: list[Path], first: int) -> None:
    whole = taken(data(stills), 0, first + 3)
    for before, after in zip(whole[first:], taken(data(stills), first, 3), strict=True):
        assert same(before, after)


def test_workers_change_nothing_and_end_with_the_stream(stills: list[Path]) -> None:
    here, there = taken(data(stills), 2, 3), taken(data(stills, workers=2), 2, 3)
    assert all(same(one, other) for one, other in zip(here, there, strict=True))


def test_steps_seeds_and_ranks_differ(stills: list[Path]) -> None:
    batches = [
        *taken(data(stills), 0, 2),
        *taken(data(stills, seed=2), 0, 1),
        *(taken(data(stills, rank=rank, world_size=2), 0, 1)[0] for rank in range(2)),
    ]
    for one, other in itertools.combinations(batches, 2):
        assert not torch.equal(one.blurry, other.blurry)


@pytest.mark.parametrize(("batch", "reuse"), [(4, 4), (3, 1), (5, 3)])
def test_every_clip_serves_as_often_as_asked(batch: int, reuse: int) -> None:
    schedule = ClipSchedule(7, batch, reuse, block=8)
    steps = 8 * reuse * 12 // batch
    uses = [use for step in range(steps) for use in schedule.step(step)]
    assert len(set(uses)) == len(uses)
    counts = Counter(use.clip for use in uses)
    inner = [counts[clip] for clip in range(8 * reuse, 8 * 8)]
    assert inner
    assert set(inner) == {reuse}
    where: dict[int, list[int]] = {}
    for place, use in enumerate(uses):
        where.setdefault(use.clip, []).append(place)
    assert all(after - before > reuse for places in where.values() for before, after in itertools.pairwise(places))


def test_clips_meet_others_each_time() -> None:
    schedule = ClipSchedule(7, batch=4, reuse=4, block=16)
    partners: dict[int, list[frozenset[int]]] = {}
    for step in range(300):
        clips = [use.clip for use in schedule.step(step)]
        for clip in clips:
            partners.setdefault(clip, []).append(frozenset(clips) - {clip})
    meetings = [others for clip in range(64, 128) for others in itertools.combinations(partners[clip], 2)]
    assert sum(bool(one & other) for one, other in meetings) < 0.25 * len(meetings)


def test_new_clips_are_needed_evenly_and_few_are_kept() -> None:
    schedule = ClipSchedule(7, batch=4, reuse=4, block=8, averaged_share=0.25)
    new = schedule.new_clips(100)
    have: set[tuple[str, int]] = set()
    needed = []
    for step in range(100, 200):
        uses = schedule.step(step)
        count = 0
        for use in uses:
            while (use.kind, use.clip) not in have:
                have.add(next(new))
                count += 1
        needed.append(count)
        oldest = schedule.oldest(uses[0].kind, uses)
        have = {key for key in have if key[0] != uses[0].kind or key[1] >= oldest}
        assert len(have) <= 2 * 4 * 8 + 8
    assert sum(needed[:40]) <= 40 + 2 * 4 * 8
    assert set(needed[60:]) == {1}


def test_steps_of_averaged_videos_are_spread_evenly() -> None:
    schedule = ClipSchedule(1, batch=2, reuse=2, block=4, averaged_share=0.2)
    kinds = [schedule.step(step)[0].kind for step in range(50)]
    assert kinds.count("averaged") == 10
    assert kinds[4::5] == ["averaged"] * 10


DISGUISES = [
    Augmentation(*flags, order)
    for flags, order in (
        ((True, False, False, False), (0, 1, 2)),
        ((False, True, False, False), (0, 1, 2)),
        ((False, False, True, False), (0, 1, 2)),
        ((False, False, False, True), (0, 1, 2)),
        ((True, True, True, True), (2, 0, 1)),
        ((True, False, True, True), (1, 0, 2)),
    )
]


@pytest.mark.parametrize("augmentation", DISGUISES)
def test_an_augmented_clip_keeps_its_motion_true(augmentation: Augmentation) -> None:
    config = replace(CLEAN, speed_px=(2.0, 2.0))
    textures = Textures([smooth(1), smooth(2)])
    for number in (1, 3, 5):
        made = augmented(make_levels(textures, config, seed=1, numbers=[number])[0], augmentation)
        assert made.velocity is not None
        assert made.motion is not None
        fetched = warp(made.sharp[2:3], made.velocity[1:2])
        astray = warp(made.sharp[2:3], -made.velocity[1:2])
        there, lost = (
            float((picture[0] - made.sharp[1])[..., 12:-12, 12:-12].abs().mean()) for picture in (fetched, astray)
        )
        assert there < 0.6 * lost
        steps = [warp(made.sharp[1:2], made.motion[1:2] * share) for share in torch.linspace(-0.5, 0.5, 9).tolist()]
        rebuilt = torch.stack(steps).mean(0)[0] - made.blurry[1]
        assert rebuilt[..., 12:-12, 12:-12].abs().mean() < (made.sharp[1] - made.blurry[1]).abs().mean()


def test_a_disguise_exchanges_what_it_says() -> None:
    levels = make_levels(Textures([smooth(1)]), CLEAN, seed=1, numbers=[0])[0]
    plain = augmented(levels, Augmentation(False, False, False, False, (0, 1, 2)))
    other = augmented(levels, Augmentation(True, False, False, True, (2, 0, 1)))
    assert torch.equal(other.sharp[0, 0], plain.sharp[2, 2].flip(-1))
    drawn = {Augmentation.drawn(Draw.of(1, number)) for number in range(60)}
    assert len(drawn) > 40


def test_stacked_clips_know_their_motion_only_together() -> None:
    levels = make_levels(Textures([smooth(1)]), CLEAN, seed=1, numbers=[0])[0]
    clip = augmented(levels, DISGUISES[0])
    assert stack([clip, clip]).blurry.shape == (2, 3, 3, SIZE, SIZE)
    assert stack([clip, clip._replace(velocity=None, motion=None)]).motion is None


def test_fixed_clips_are_fixed(stills: list[Path]) -> None:
    first, second = (fixed_clips(stills, SMALL, count=2, seed=0) for _ in range(2))
    assert all(same(one, other) for one, other in zip(first, second, strict=True))
    assert first[0].blurry.shape == (2, 3, 32, 32)
    assert not torch.equal(first[0].sharp, first[1].sharp)


def test_a_still_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"cannot read the photograph .*bad\.png"):
        data([bad])


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no photographs"):
        find_stills([tmp_path])
    with pytest.raises(UsageError, match="no photographs to make clips from"):
        data([])


def test_stills_that_teach_nothing_are_left_out_and_named(
    stills: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_image(tmp_path / "flat.png", torch.full((3, 80, 80), 90, dtype=torch.uint8))
    write_image(tmp_path / "tiny.png", tiles(1, 10))
    useless = [tmp_path / "flat.png", tmp_path / "tiny.png"]
    with caplog.at_level(logging.WARNING, logger="vdeblur.training.synthesis.stills"):
        assert len(load_stills([*stills, *useless], SMALL)) == 3
    assert "flat.png (without detail)" in caplog.text
    assert "tiny.png (10×10" in caplog.text
    with pytest.raises(UsageError, match=r"of use: .*flat\.png"):
        load_stills(useless, SMALL)


@pytest.mark.parametrize("changes", [{"batch": 0}, {"reuse": 0}, {"workers": -1}, {"rank": 2, "world_size": 2}])
def test_numbers_out_of_range_are_refused(stills: list[Path], changes: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(changes))):
        data(stills, **changes)


def test_cuts_prefer_detail() -> None:
    textures = Textures([torch.zeros(3, 160, 160, dtype=torch.uint8), tiles(1)])
    draw = Draw.of(1)
    config = SynthesisConfig(least_detail=0.001)
    assert sum(textures.cut(64, 64, config, draw).picture == 1 for _ in range(40)) >= 38


def test_a_cut_beyond_the_picture_is_mirrored() -> None:
    picture = tiles(1, 40)
    textures = Textures([picture])
    cut = textures.cut(100, 60, CLEAN, Draw.of(1))
    pixels = textures.pixels(cut)
    assert pixels.shape == (3, 100, 60)
    top, left = -cut.top, -cut.left
    assert torch.equal(pixels[:, top : top + 40, left : left + 40], picture)
    assert torch.equal(pixels[:, top - 1], pixels[:, top + 1])
    assert torch.equal(pixels[:, :, left + 40], pixels[:, :, left + 38])


def test_a_reduced_cut_shows_more_of_the_picture() -> None:
    textures = Textures([smooth(1, 256)])
    cut = textures.cut(64, 64, replace(CLEAN, reduction=(2.0, 2.0)), Draw.of(1))
    assert (cut.rows, cut.columns) == (128, 128)
    pixels = textures.pixels(cut).float()
    window = textures.pictures[0][:, cut.top : cut.top + 128, cut.left : cut.left + 128].float()
    mean = torch.nn.functional.avg_pool2d(window, 2)
    assert float((pixels - mean).abs().mean()) < 2


@pytest.mark.cuda
def test_a_gpu_makes_its_own_clips_and_resumes(stills: list[Path]) -> None:
    whole = taken(data(stills, device="cuda"), 0, 6)
    assert whole[0].blurry.device.type == "cuda"
    assert same(whole[5], taken(data(stills, device="cuda"), 5, 1)[0])


def test_a_late_start_costs_no_more_than_the_pool(stills: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    source = data(stills, batch=1, reuse=3)
    made = Counter[str]()
    make = type(source.source).make

    def counting(self: object, kind: str, numbers: list[int]) -> object:
        made[kind] += len(numbers)
        return make(source.source, kind, numbers)

    monkeypatch.setattr(type(source.source), "make", counting)
    taken(source, 100_000, 1)
    assert made["synthetic"] == 1
    made.clear()
    taken(source, 100_000, 3 * BLOCK_CLIPS)
    assert made["synthetic"] <= 3 * BLOCK_CLIPS
