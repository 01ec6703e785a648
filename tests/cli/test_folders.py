"""Folders as inputs of runs and of `vdeblur info`: videos first, folders below on request, and it is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from support.cli_fixtures import Call, call, media, tiny_model
from vdeblur.cli.guidance.folders import look_into
from vdeblur.cli.io_plan import plan_jobs
from vdeblur.errors import UsageError

#: Fixtures.
__all__ = ["call", "media", "tiny_model"]


@pytest.fixture
def clips(media: Path, tmp_path: Path) -> Path:
    """Two videos, two pictures, a text and a hidden file; in folders below two more videos, and pictures alone."""
    folder = tmp_path / "clips"
    for name in ("b.mp4", "A.MP4", "trip/c.mp4", "trip/far/b.mp4"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(media / "clip.mp4", folder / name)
    (folder / "stills").mkdir()
    for name in ("cover.png", "x.JPG", "notes.txt", ".hidden.mp4", "stills/1.png", "stills/2.png"):
        (folder / name).touch()
    return folder


def test_videos_come_first_and_the_rest_is_named(clips: Path) -> None:
    found = look_into(clips)
    assert [path.name for path in found.sources] == ["A.MP4", "b.mp4"]
    assert found.words == (
        f"{clips}: 2 videos taken; passed over: 2 pictures (cover.png, x.JPG), 1 other file (notes.txt), "
        "2 folders (stills, trip): --recursive looks into them"
    )


def test_folders_below_are_taken_on_request(clips: Path) -> None:
    (clips / "trip" / "round").symlink_to(clips)
    found = look_into(clips, recursive=True)
    assert [str(path.relative_to(clips)) for path in found.sources] == [
        "A.MP4",
        "b.mp4",
        "trip/c.mp4",
        "trip/far/b.mp4",
    ]
    assert "4 videos taken; passed over: 4 pictures (cover.png, x.JPG, 1.png, …)" in found.words
    assert found.words.endswith("1 folder (round): --recursive looks into it"), "a link that leads in a circle"


def test_pictures_alone_are_one_video(clips: Path) -> None:
    found = look_into(clips / "stills")
    assert found.sources == (clips / "stills",)
    assert found.words == f"{clips / 'stills'}: 2 pictures taken as one video"


def test_a_folder_without_either_is_refused_with_a_way_out(clips: Path) -> None:
    for path in (clips / "trip").glob("*.mp4"):
        path.unlink()
    with pytest.raises(UsageError, match=r"without videos.*; --recursive looks into 1 folder \(far\)"):
        _ = look_into(clips / "trip").sources


def test_targets_lie_in_folders_like_their_sources(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = plan_jobs([str(clips)], str(out), recursive=True)
    assert [Path(job.target).relative_to(out).as_posix() for job in plan.jobs] == [
        "A.MP4", "b.mp4", "trip/c.mp4", "trip/far/b.mp4"
    ]  # fmt: skip
    assert plan.new_folders == (out, out / "trip", out / "trip" / "far")
    assert plan_jobs([str(clips / "b.mp4")], f"{out}/", recursive=True).new_folders == (out,)


def test_the_results_of_an_earlier_run_are_no_sources(clips: Path) -> None:
    out = clips / "sharp"
    out.mkdir()
    shutil.copy(clips / "b.mp4", out / "b.mp4")
    plan = plan_jobs([str(clips)], str(out), recursive=True)
    assert str(out / "b.mp4") not in [job.source for job in plan.jobs]
    assert len(plan.jobs) == 4


def test_a_run_says_what_it_takes(call: Call, clips: Path, tmp_path: Path, tiny_model: Path) -> None:
    out = tmp_path / "out"
    result = call(clips, "-o", out, "--recursive", "--model", tiny_model, "--json")
    assert result.code == 0
    first, *_, last = (json.loads(line) for line in result.out.splitlines())
    assert (first["event"], "4 videos taken" in first["words"]) == ("note", True)
    assert (last["event"], last["done"]) == ("end", 4)
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.[mM][pP]4")) == [
        "A.MP4", "b.mp4", "trip/c.mp4", "trip/far/b.mp4"
    ]  # fmt: skip
    shown = call(clips, "-o", out, "-n", "--model", tiny_model)
    assert shown.err.splitlines()[0].startswith(f"vdeblur: note: {clips}: 2 videos taken; passed over: 2 pictures")


def test_folders_into_which_nothing_came_are_gone(call: Call, clips: Path, tmp_path: Path, tiny_model: Path) -> None:
    for path in clips.rglob("*.[mM][pP]4"):
        path.write_text("no video\n" * 50)
    result = call(clips, "-o", tmp_path / "out", "--recursive", "--model", tiny_model)
    assert result.code == 3
    assert not (tmp_path / "out").exists()


def test_info_shows_every_video_of_a_folder(call: Call, clips: Path) -> None:
    result = call("info", clips)
    assert result.code == 0
    assert result.err.startswith(f"vdeblur: note: {clips}: 2 videos taken")
    assert result.out.count("To A.sharp.MP4 it writes") == result.out.count("To b.sharp.mp4 it writes") == 1
    (clips / "b.mp4").write_text("no video\n" * 50)
    broken = call("info", clips, "--recursive", "--json")
    assert broken.code == 3
    assert [Path(json.loads(line)["path"]).name for line in broken.out.splitlines()] == ["A.MP4", "c.mp4", "b.mp4"]
    assert broken.errors == broken.err.splitlines()[1:]
    assert f"{clips / 'b.mp4'}" in broken.errors[0]


def test_info_shows_several_files(call: Call, media: Path) -> None:
    result = call("info", media / "clip.mp4", media / "clip.mp4")
    assert result.out.count("libx264") == 2
    assert call("info", media / "clp.mp4").errors == [
        f"vdeblur: error: no such file: {media / 'clp.mp4'}; did you mean {media / 'clip.mp4'}?"
    ]
