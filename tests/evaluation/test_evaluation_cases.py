"""Pairs are found and checked before work; a clip played forth and back repeats exactly."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.pairs import case, frames, moving, write_clip
from vdeblur.errors import SourceError, UsageError
from vdeblur.evaluation.cases import file_cases, find_pairs, in_step, played


def test_two_truths_for_one_clip_are_refused(tmp_path: Path) -> None:
    for name in ("a.blur.mkv", "a.sharp.mkv", "a.sharp.png"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=r"2 sharp partners: keep one of a\.sharp\.mkv, a\.sharp\.png"):
        find_pairs(tmp_path)


def test_pairs_in_folders_below_have_the_folder_in_their_names(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "deep"):
        folder.mkdir(exist_ok=True)
        write_clip(folder / "a.blur.y4m", [0])
        write_clip(folder / "a.sharp.y4m", [0])
    assert [found.name for found in file_cases(tmp_path, dataset="d")] == ["a", "deep/a"]


def test_an_unreadable_file_and_another_size_are_named(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.blur.y4m", [0, 0])
    (tmp_path / "a.sharp.mkv").write_text("no video")
    with pytest.raises(SourceError, match=r"a\.sharp\.mkv"):
        file_cases(tmp_path, dataset="d")
    (tmp_path / "a.sharp.mkv").unlink()
    write_clip(tmp_path / "a.sharp.y4m", [0, 0], width=64)
    with pytest.raises(UsageError, match=r"a\.sharp\.y4m has frames of 64×40, .*a\.blur\.y4m of 48×40"):
        file_cases(tmp_path, dataset="d")


def test_a_clip_is_played_forth_and_back() -> None:
    clip = frames(moving(4, speed=3))
    shown = list(played(clip, 14))
    order = [next(i for i, frame in enumerate(clip) if frame.planes[0] is each.planes[0]) for each in shown]
    assert order == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]
    assert [frame.pts for frame in shown] == list(range(14))
    assert [frame.planes[0] is clip[0].planes[0] for frame in played(clip[:1], 3)] == [True] * 3


def test_every_frame_has_its_truth_or_none_has() -> None:
    three, two = moving(3), moving(2)
    pair = case(three, three)
    assert len(list(in_step(frames(three), frames(three), pair))) == 3
    with pytest.raises(UsageError, match="has fewer frames"):
        list(in_step(frames(three), frames(two), pair))
    with pytest.raises(UsageError, match="has more frames"):
        list(in_step(frames(two), frames(three), pair))
    grows = [*frames(two), *frames(moving(1, size=48))]
    with pytest.raises(UsageError, match="changes its size"):
        list(in_step(grows, grows, pair))
