"""What people type by mistake: one line in the words of the command line, with what was probably meant."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import click
import pytest

from support.cli_fixtures import Call, call, media
from vdeblur.cli.app import COMMANDS, root_command
from vdeblur.cli.guidance.error_words import in_flags, usage_words, with_suggestion
from vdeblur.cli.io_plan import COMMAND_NAMES
from vdeblur.cli.run import run
from vdeblur.errors import TargetError, UsageError
from vdeblur.options import OPTIONS

#: Fixtures.
__all__ = ["call", "media"]

#: A call and what its one line suggests. {m} = the media folder, {t} = an empty one.
MEANT = {
    "{m}/clip.mp4 {t}/out.mp4": "`vdeblur {m}/clip.mp4 -o {t}/out.mp4`",
    "{m}/clip.mp4 {m}/notes.mp4 {t}/out": "`vdeblur {m}/clip.mp4 {m}/notes.mp4 -o {t}/out`",
    "inof {m}/clip.mp4": "`vdeblur info {m}/clip.mp4`",
    "lvie": "`vdeblur live`",
    "bnech": "`vdeblur bench`",
    "help": "`vdeblur --help`",
    "help info": "`vdeblur info --help`",
    "version": "`vdeblur --version`",
    "{m}/clp.mp4 -o {t}/out.mp4": "{m}/clip.mp4?",
    "{m}/clp.mp4": "{m}/clip.mp4?",
    "{m}/clip.mp4 -o {t}/out.mp4 --strenth 1": "--strength?",
    "{m}/clip.mp4 -o {t}/out.mp4 -model swift": "--model?",
    "{m}/clip.mp4 -output {t}/out.mp4": "--output?",
    "{m}/clip.mp4 -o {t}/out.mp4 --model fsat": "'fast'?",
    "{m}/clip.mp4 -o {t}/out.mp4 --compare sid": "'side'?",
    "{m}/clip.mp4 -o {t}/out.mp4 --interlaced feild": "'field'?",
    "{m}/clip.mp4 -o {t}/out.mp4 --size-change stpo": "'stop'?",
    "{m}/clip.mp4 -o {t}/out.mp4 --device cdua": "'cuda'?",
    "{m}/clip.mp4 -o {t}/out.mp4 --precision flaot32": "'float32'?",
    "{m}/clip.mp4 -o {t}/out.mp4 --codec hecv": "'hevc'?",
    "{m}/clip.mp4 -o {t}/out.mp4 --preset slwo": "'slow'?",
    "{m}/clip.mp4 -o {t}/out.mp4 --pix-fmt yuv420": "'yuv420p'?",
    "{m}/clip.mp4 -o {t}/out.mp4 --drop adio": "'audio'?",
    "{m}/clip.mp4 -o {t}/out.mp4 --format mkvv": "'mkv'?",
    "{m}/clip.mp4 -o {t}/out.pm4": ".mp4?",
    "{m}/clip.mp4 -o {t}/out": "{t}/out.mp4?",
    "{m}/1.png {m}/2.png -o {t}/out.mp4": "`vdeblur {m} -o {t}/out.mp4`?",
    "{m}/clip.mp4 -o {t}/out.mp4 --quality": "--model quality?",
    "-version": "--version?",
    "--verison": "--version?",
    "info --hlep": "--help?",
    "live {m}/clp.mp4": "{m}/clip.mp4?",
    "info {m}/clip.mp4 --jsno": "--json?",
    "info -json {m}/clip.mp4": "--json?",
    "live {m}/clip.mp4 -f nutt": "'nut'?",
    "live --compare slipt": "'split'?",
    "bench --size 72p": "'720p'?",
    "train train_fats": "'train_fast'?",
    "export fsat -o {t}/a.onnx": "'fast'?",
}


@pytest.mark.parametrize("words", MEANT)
def test_what_was_meant_is_suggested(
    words: str, call: Call, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    if "1.png" in words:
        media = tmp_path.parent / f"{tmp_path.name}-pictures"
        media.mkdir()
        for number in (1, 2):
            (media / f"{number}.png").touch()
    result = call(*words.format(m=media, t=tmp_path).split())
    assert (result.code, result.out) == (2, ""), result.err
    (line,) = result.err.splitlines()
    assert "did you mean " + MEANT[words].format(m=media, t=tmp_path) in line
    assert list(tmp_path.iterdir()) == []


def test_a_file_may_be_called_like_a_word(call: Call, media: Path, tmp_path: Path) -> None:
    (tmp_path / "help").write_bytes((media / "clip.mp4").read_bytes())
    result = call(tmp_path / "help")
    assert "no output: add -o FILE" in result.err


def test_nothing_is_suggested_where_nothing_is_near(call: Call, media: Path, tmp_path: Path) -> None:
    for words in (["qqqq"], [str(tmp_path / "x.mp4")], [str(media / "clip.mp4"), "-o", "x.mp4", "--zzz"]):
        result = call(*words)
        assert result.code == 2
        assert "did you mean" not in result.err


def test_commands_that_are_suggested_are_all_there_are() -> None:
    assert tuple(COMMANDS) == COMMAND_NAMES


#: A wrong value of every option of a run that has one, and of some that exclude each other.
WRONG = {
    **{f"--{name.replace('_', '-')}": "'" for name in OPTIONS if name != "model"},
    "--compare": "x", "--interlaced": "x", "--size-change": "x", "--start": "x", "--duration": "0",
    "--frame-rate": "x", "--crf": "-1", "--segments": "x", "--plot": "x.doc", "--pix-fmt": "x", "--drop": "x",
}  # fmt: skip


@pytest.mark.parametrize("flag", WRONG)
def test_errors_name_the_flag(flag: str, call: Call, media: Path, tmp_path: Path) -> None:
    """And no argument of Python, on standard error and in JSON."""
    words = (media / "clip.mp4", "-o", tmp_path / "out.mp4", f"{flag}={WRONG[flag]}")
    (line,) = call(*words).err.splitlines()
    assert line.startswith(f"vdeblur: error: {flag} ") or flag == "--pix-fmt", line
    assert not re.search(r"\b[a-z]+_[a-z]+\b|\w+=[\w'(]", line.replace(str(tmp_path), "")), line
    events = [json.loads(text) for text in call(*words, "--json").out.splitlines()]
    # What click refuses comes before anybody knows of JSON.
    told = [event["message"] for event in events if event["event"] == "error"]
    assert told == [line.removeprefix("vdeblur: error: ")] * bool(events)


@pytest.mark.parametrize(
    ("python", "flags"),
    [
        ("a.mp4 exists; pass overwrite=True (-y) to replace it", "a.mp4 exists; give -y to replace it"),
        ("a.mp4 exists; pass overwrite=True to replace it", "a.mp4 exists; give -y to replace it"),
        ("a.png exists; -y (overwrite) replaces it", "a.png exists; -y replaces it"),
        ("on the network; allow that with allow_network=True", "on the network; allow that with --allow-network"),
        ("or pass pixel_format='yuv420p' (--pix-fmt yuv420p)", "or give --pix-fmt yuv420p"),
        ("or pass pixel_format='yuv420p'", "or give --pix-fmt yuv420p"),
        ("make whole frames with interlaced='frame'", "make whole frames with --interlaced frame"),
        ("ffmpeg_args=('-c:a', 'flac') (--ffmpeg-args '-c:a flac') encodes it", "--ffmpeg-args '-c:a flac' encodes it"),
        ("ffmpeg_args=('-c:a', 'flac') encodes it", "--ffmpeg-args '-c:a flac' encodes it"),
        ("drop=('audio',) leaves it out", "--drop audio leaves it out"),
        ("leave some out with drop=(…) (--drop …)", "leave some out with --drop …"),
        ("segment_seconds=None does without them", "--segments off does without them"),
        ("frame rate cannot be 0; it is above 0", "--frame-rate cannot be 0; it is above 0"),
        ("size_change cannot be 'x'", "--size-change cannot be 'x'"),
        ("run.yaml: strength cannot be 9", "run.yaml: strength cannot be 9"),
        ("the network has none, so shutter cannot be '1'", "the network has none, so --shutter cannot be '1'"),
        ("the file a_b=c.mp4 is none", "the file a_b=c.mp4 is none"),
        ('nan or inf; try precision="float32"', "nan or inf; try --precision float32"),
        ('use tile="auto", or a smaller model', "use --tile auto, or a smaller model"),
        ("resume=True goes on with it, overwrite=True begins anew", "--resume goes on with it, -y begins anew"),
        ("give shutter=… to decide", "give --shutter to decide"),
    ],
)  # fmt: skip
def test_python_becomes_flags(python: str, flags: str) -> None:
    assert in_flags(TargetError(python), run) == flags


def test_suggestions_leave_other_messages_alone() -> None:
    for words in (
        "a.mp4 exists; -y replaces it",
        "there is no folder 'x'; create it first",
        "the plot cannot be x.doc: end it in .png or .svg",
        "--remove cannot be 'noise=2'; it is none, noise, or noise with = and a share of it from 0 to 1",
        "--noise cannot be 'off'; it is auto, or the standard deviation of luma from 0 to 60 (of 255)",
    ):
        assert with_suggestion(words) == words
    assert in_flags(UsageError("a\nb"), None) == "a b"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["live", "--port", "70000"], "--port cannot be 70000; it is 0 to 65535"),
        (["live", "--cameras", "0"], "--cameras cannot be 0; it is 1 or more"),
        (["live", "--cameras", "two"], "--cameras cannot be 'two'; it is a whole number"),
        (["run", "--crf", "x"], "--crf cannot be 'x'; it is a number"),
        (["run", "-o"], "-o requires an argument"),
        (["info"], "FILE... is missing: vdeblur info [OPTIONS] FILE..."),
    ],
)
def test_what_click_refuses_is_said_in_our_words(arguments: list[str], words: str) -> None:
    with pytest.raises(click.ClickException) as caught:
        root_command.main(arguments, prog_name="vdeblur", standalone_mode=False)
    assert usage_words(caught.value) == words
