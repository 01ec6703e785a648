"""Any name a file system takes works on both ends, from the library and on the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.cli_fixtures import COMMAND, Call, call, media, tiny_model
from support.media.clips import clip, copy_of, ffmpeg
from support.media.writing import copy, leftovers, read_all
from support.wall_clock import patience
from vdeblur.errors import UsageError
from vdeblur.video.source.reader import Reader

__all__ = ["call", "media", "tiny_model"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows forbids most of these names")

NAMES = [
    "a b", " lead", "trail ", "it's \"quoted\"", "two\nlines", "\ttab",
    "-", "--", "-i", "--help", "-y", "%d", "%05d", "%%d",
    "100%", "%s%n", "a:b", "C:", "a|b", "a\\b", "\\", "*", "?", "[a-z]", "{a,b}", "~", "~root",
    "$HOME", "$(id)", "`id`",
    ";ls", "&", ">x", "#", "!", "🎞️ 映画", "e\u0301", "\u202e", "concat:a|b", "file:x", "data:,", "=", "@list", ",", "'",
    "n" * 251, "é" * 125,
]  # fmt: skip
#: Bytes that are no text: only Linux has such names.
RAW = [b"\xff\xfe", b"a\x80b", b"\xed\xa0\x80"]
NAMES += [os.fsdecode(name) for name in RAW] if sys.platform == "linux" else []
PICTURE_NAMES = ["a b", "two\nlines", "-i", "%d", "%05d", "%%d", "100%", "a:b", "a\\b", "*", "[a-z]", "~", "映画", "'"]


@pytest.fixture(scope="module")
def short() -> Path:
    return clip("h264_audio", frames=3)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_video_of_any_name(name: str, short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative name, read and written; the sound is copied, so FFmpeg opens both ends too."""
    monkeypatch.chdir(tmp_path)
    source = copy_of(short, tmp_path, f"{name}.mp4")
    (tmp_path / "out").mkdir()
    target = Path("out") / f"{name}.mp4"
    if source.stem in ("%d", "%05d"):
        copy_of(short, tmp_path, "1.mp4")
    copy(f"{name}.mp4", target)
    with Reader(target, threads=1) as reader:
        assert len(list(reader)) == 3
        assert [stream.kind for stream in reader.info.streams] == ["video", "audio"]
    assert os.listdir("out") == [f"{name}.mp4"]


@pytest.mark.parametrize("name", PICTURE_NAMES, ids=ascii)
def test_pictures_of_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One picture; and numbered pictures in a folder of that name."""
    monkeypatch.chdir(tmp_path)
    source = copy_of(clip("photo_png"), tmp_path, f"{name}.png")
    (tmp_path / "out").mkdir()
    if "%d" in name or "%05d" in name:
        with pytest.raises(UsageError, match=r"exists|source itself|numbers"):
            copy(source.name, source)  # a pattern here: never a silent overwrite
    else:
        copy(source.name, Path("out") / source.name)
        assert len(read_all(Path("out") / source.name)) == 1
    folder = tmp_path / f"{name} folder"
    folder.mkdir()
    ffmpeg("-i", str(clip("h264", frames=3)), str(tmp_path / "p%d.png"))
    for number in (1, 2, 3):
        (tmp_path / f"p{number}.png").rename(folder / f"p{number}.png")
    copy(f"{folder.name}/p%d.png", f"{folder.name}/out%02d.png")
    assert sorted(path.name for path in folder.glob("out*")) == ["out01.png", "out02.png", "out03.png"]
    assert leftovers(folder) == []


def test_dashes_on_the_command_line(
    call: Call, media: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    copy_of(media / "clip.mp4", tmp_path, "-x.mp4")
    options = ("--model", tiny_model, "--strength", 0, "--device", "cpu", "-q")
    assert call(*options, "-o", "-y.mp4", "--", "-x.mp4").code == 0
    assert call("./-x.mp4", "-o", "./-z.mp4", *options).code == 0
    assert call("--", "-x.mp4", "-o", "w.mp4").code == 2
    assert call("info", "--", "-x.mp4").code == 0
    assert sorted(os.listdir()) == ["-x.mp4", "-y.mp4", "-z.mp4"]
    assert len(read_all("-y.mp4")) == len(read_all("./-z.mp4")) == len(read_all("-x.mp4")) == 10
    wrong = call("-x.mp4", "-o", "out.mp4")
    assert wrong.code == 2
    assert wrong.errors == wrong.err.splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text")
def test_bytes_on_the_command_line(media: Path, tiny_model: Path, tmp_path: Path) -> None:
    source = os.fsencode(tmp_path) + b"/-\xff\n%d '$(touch made)'.mp4"
    Path(os.fsdecode(source)).write_bytes((media / "clip.mp4").read_bytes())
    target = os.fsencode(tmp_path) + b"/out \xfe\n;*.mp4"
    done = subprocess.run(
        [*COMMAND, source, b"-o", target, b"--model", os.fsencode(tiny_model), b"--strength",
         b"0", b"--device", b"cpu"], capture_output=True, timeout=patience(120),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(read_all(os.fsdecode(target))) == 10
    assert len(os.listdir(tmp_path)) == 2
