"""The command line: what it accepts, what it refuses in one line, and that it writes nothing when it refuses."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from support.cli_fixtures import COMMAND, Call, call, media, tiny_model
from support.wall_clock import patience
from vdeblur.cli import error_output
from vdeblur.cli.app import COMMANDS, with_default_command
from vdeblur.cli.help import EXIT_CODES
from vdeblur.cli.io_plan import RunJob, plan_jobs
from vdeblur.cli.options import RunOptions, merge_options, parse_rate, parse_seconds
from vdeblur.errors import UsageError, VdeblurError

#: Fixtures.
__all__ = ["call", "media", "tiny_model"]


#: Call, exit code, and what the line must say. {m} = the media folder, {t} = an empty one.
BAD_CALLS = {
    "no input": ("", 2, "no input"),
    "no output": ("{m}/clip.mp4", 2, "-o clip.sharp.mp4"),
    "no such file": ("{t}/missing.mp4 -o {t}/out.mp4", 2, "no such file"),
    "no such option": ("{m}/clip.mp4 --strenth 1", 2, "--strength"),
    "option without value": ("{m}/clip.mp4 -o", 2, "requires an argument"),
    "folder without videos": ("{m}/texts -o {t}/out", 2, "without videos"),
    "empty folder": ("{m}/empty -o {t}/out", 2, "without videos"),
    "folder into a file": ("{m} -o {t}/out.mp4", 2, "a folder for -o"),
    "several into a file": ("{m}/clip.mp4 {m}/notes.mp4 -o {t}/out.mp4", 2, "2 inputs need a folder"),
    "several into a pipe": ("{m}/clip.mp4 {m}/notes.mp4 -o -", 2, "2 inputs need a folder"),
    "the same name twice": ("{m}/clip.mp4 {m}/clip.mp4 -o {t}/out", 2, "two inputs"),
    "target folder missing": ("{m}/clip.mp4 -o {t}/no/such/out.mp4", 2, "folder"),
    "output is the input": ("{m}/clip.mp4 -o {m}/clip.mp4 -y", 2, "is an input"),
    "output folder is the input's": ("{m}/clip.mp4 -o {m} -y", 2, "is an input"),
    "text file": ("{m}/notes.mp4 -o {t}/out.mp4", 3, "notes.mp4"),
    "empty file": ("{m}/nothing.mp4 -o {t}/out.mp4", 3, "empty"),
    "sound only": ("{m}/sound.m4a -o {t}/out.mp4", 3, "no video"),
    "no frames": ("{m}/headers.y4m -o {t}/out.mp4", 3, "frame"),
    "unknown network": ("{m}/clip.mp4 -o {t}/out.mp4 --model fastt", 2, "no network 'fastt'"),
    "no network file": ("{m}/clip.mp4 -o {t}/out.mp4 --model {m}/notes.mp4", 6, "safetensors"),
    "unknown codec": ("{m}/clip.mp4 -o {t}/out.mp4 --codec h266x", 2, "h266x"),
    "codec and container": ("{m}/clip.mp4 -o {t}/out.webm --codec h264", 2, "WebM"),
    "unknown ending": ("{m}/clip.mp4 -o {t}/out.xyz", 2, "xyz"),
    "unknown preset": ("{m}/clip.mp4 -o {t}/out.mp4 --preset speedy", 2, "speedy"),
    "unknown pixel format": ("{m}/clip.mp4 -o {t}/out.mp4 --pix-fmt yuv42", 2, "yuv42"),
    "unknown stream": ("{m}/clip.mp4 -o {t}/out.mp4 --drop smell", 2, "smell"),
    "crf beyond the codec": ("{m}/clip.mp4 -o {t}/out.mp4 --crf 70", 2, "0 to 51"),
    "crf below 0": ("{m}/clip.mp4 -o {t}/out.mp4 --crf -1", 2, "0 (best) to 51"),
    "strength too large": ("{m}/clip.mp4 -o {t}/out.mp4 --strength 1.6", 2, "0 (nothing) to 1.5"),
    "strength no number": ("{m}/clip.mp4 -o {t}/out.mp4 --strength nan", 2, "0 (nothing) to 1.5"),
    "lookahead 2": ("{m}/clip.mp4 -o {t}/out.mp4 --lookahead 2", 2, "0 (no delay) or 1"),
    "reduce too much": ("{m}/clip.mp4 -o {t}/out.mp4 --reduce 9", 2, "1 (full size) to 8"),
    "tile too small": ("{m}/clip.mp4 -o {t}/out.mp4 --tile 32", 2, "at least 64"),
    "tile no number": ("{m}/clip.mp4 -o {t}/out.mp4 --tile large", 2, "auto, off, or a side in pixels"),
    "device": ("{m}/clip.mp4 -o {t}/out.mp4 --device gpu", 2, "auto, cpu, cuda"),
    "precision": ("{m}/clip.mp4 -o {t}/out.mp4 --precision half", 2, "float16"),
    "compare": ("{m}/clip.mp4 -o {t}/out.mp4 --compare up", 2, "side"),
    "start below 0": ("{m}/clip.mp4 -o {t}/out.mp4 --start=-1", 2, "seconds from 0"),
    "start no time": ("{m}/clip.mp4 -o {t}/out.mp4 --start soon", 2, "1:30"),
    "start behind the end": ("{m}/clip.mp4 -o {t}/out.mp4 --start 60", 2, "60 s"),
    "duration 0": ("{m}/clip.mp4 -o {t}/out.mp4 --duration 0", 2, "above 0"),
    "frame rate 0": ("{m}/clip.mp4 -o {t}/out.mp4 --frame-rate 0", 2, "30000/1001"),
    "frame rate of a video": ("{m}/clip.mp4 -o {t}/out.mp4 --frame-rate 25", 2, "timestamps"),
    "quiet and verbose": ("{m}/clip.mp4 -o {t}/out.mp4 -q -v", 2, "exclude"),
    "config missing": ("{m}/clip.mp4 -o {t}/out.mp4 --config {t}/no.yaml", 2, "no.yaml"),
    "config key": ("{m}/clip.mp4 -o {t}/out.mp4 --config {m}/wrong.yaml", 2, "did you mean 'strength'"),
    "config syntax": ("{m}/clip.mp4 -o {t}/out.mp4 --config {m}/broken.yaml", 2, "YAML"),
    "config type": ("{m}/clip.mp4 -o {t}/out.mp4 --config {m}/loud.yaml", 2, "strength"),
    "info without a file": ("info", 2, "FILE"),
    "info on no file": ("info {t}/missing.mp4", 2, "no such file"),
    "info on text": ("info {m}/notes.mp4", 3, "notes.mp4"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_a_bad_call_is_refused_in_one_line(
    name: str, call: Call, media: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    words, code, says = BAD_CALLS[name]
    arguments = [word.format(m=media, t=tmp_path) for word in words.split()]
    if arguments and arguments[0] not in COMMANDS and "--model" not in arguments:
        arguments += ["--model", str(tiny_model)] if not words.endswith("-o") else []
    before = {path: path.stat().st_mtime_ns for path in sorted(media.rglob("*"))}
    result = call(*arguments)
    assert result.code == code, result.err
    assert result.errors == result.err.splitlines()
    assert len(result.errors) == 1
    assert says in result.errors[0]
    assert result.out == ""
    assert list(tmp_path.iterdir()) == []
    assert {path: path.stat().st_mtime_ns for path in sorted(media.rglob("*"))} == before


#: Names that cannot be looked at: too long, and a link that leads to itself.
UNREACHABLE = {
    "source too long": ("{long} -o {t}/out.mp4", 2, "cannot reach nnn"),
    "source in a circle": ("{t}/circle.mp4 -o {t}/out.mp4", 2, "cannot reach"),
    "source below a circle": ("{t}/circle.mp4/a.mp4 -o {t}/out.mp4", 2, "cannot reach"),
    "pictures below a circle": ("{t}/circle.mp4/a_%03d.png -o {t}/out.mp4", 3, "cannot read"),
    "target too long": ("{m}/clip.mp4 -o {t}/{long}", 4, "too long"),
    "pictures below a file": ("{m}/clip.mp4/a_%03d.png -o {t}/out.mp4", 2, "no file fits"),
    "target below a circle": ("{m}/clip.mp4 -o {t}/circle.mp4/a.mp4", 2, "there is no folder"),
    "folder below a circle": ("{m}/clip.mp4 -o {t}/circle.mp4/a/", 2, "there is no folder"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="makes a link")
@pytest.mark.parametrize("name", UNREACHABLE)
def test_a_place_that_cannot_be_reached(
    name: str, call: Call, media: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    (tmp_path / "circle.mp4").symlink_to(tmp_path / "circle.mp4")
    words, code, says = UNREACHABLE[name]
    arguments = [word.format(m=media, t=tmp_path, long="n" * 300 + ".mp4") for word in words.split()]
    result = call(*arguments, "--model", tiny_model)
    assert result.code == code, result.err
    assert result.errors == result.err.splitlines()
    assert len(result.errors) == 1
    assert says in result.errors[0]
    assert [path.name for path in tmp_path.iterdir()] == ["circle.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("{t}/locked/a.mp4 -o {t}/out.mp4", 2, "cannot reach"),
        ("{t}/locked -o {t}/out.mp4", 2, "cannot read the folder"),
        ("{t}/locked/a_%03d.png -o {t}/out.mp4", 3, "cannot read"),
        ("{m}/clip.mp4 -o {t}/locked/out.mp4", 4, "cannot write"),
        ("{m}/clip.mp4 -o {t}/locked/out_%03d.png", 4, "cannot write"),
        ("{m}/clip.mp4 -o {t}/locked/new/", 4, "cannot create the folder"),
    ],
)
def test_a_folder_that_nobody_may_enter(
    words: str, code: int, says: str, media: Path, tmp_path: Path, tiny_model: Path
) -> None:
    """In a process of its own, which gives up what root may do."""
    locked = tmp_path / "locked"
    locked.mkdir(mode=0)
    command = [*COMMAND, *(word.format(m=media, t=tmp_path) for word in words.split())]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may enter everywhere, and there is no setpriv to give that up")
        powers = "-dac_override,-dac_read_search"
        command = ["setpriv", f"--bounding-set={powers}", f"--inh-caps={powers}", *command]
    done = subprocess.run(
        [*command, "--model", str(tiny_model)],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=patience(60),
    )
    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr
    assert "Permission denied" in done.stderr
    locked.chmod(0o700)
    assert list(locked.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["locked"]


def test_ffmpeg_arguments_that_cannot_be_split(call: Call, media: Path, tmp_path: Path) -> None:
    result = call(media / "clip.mp4", "-o", tmp_path / "out.mp4", "--ffmpeg-args", "-metadata 'title")
    assert result.code == 2
    assert "cannot be split" in result.errors[0]


def test_an_existing_target_is_refused_where_nobody_can_be_asked(
    call: Call, media: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    target = tmp_path / "out.mp4"
    target.write_text("old")
    result = call(media / "clip.mp4", "-o", target, "--model", tiny_model)
    assert result.code == 2
    assert "-y replaces it" in result.errors[0]
    assert target.read_text() == "old"


def test_help_loads_nothing_heavy() -> None:
    """One process for all: help, version and wrong calls must not wait for PyTorch."""
    calls: list[list[str]] = [
        ["--help"],
        ["run", "--help"],
        ["--version"],
        [],
        ["missing.mp4", "-o", "out.mp4"],
        [__file__],
        [__file__, "-o", "out.mp4", "--strength", "9"],
        [__file__, "-o", "out.mp4", "--model", "fastt"],
        ["info", "missing.mp4"],
    ]
    script = (
        "import json, sys\n"
        "from vdeblur.cli.app import run_command_line\n"
        f"codes = [run_command_line(call) for call in {calls!r}]\n"
        "heavy = sorted({'torch', 'kornia', 'rich', 'numpy.random'} & set(sys.modules))\n"
        "print('\\n' + json.dumps([codes, heavy]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=patience(60), check=True
    )
    codes, heavy = json.loads(done.stdout.splitlines()[-1])
    assert codes == [0, 0, 0, 2, 2, 2, 2, 2, 2]
    assert "torch" not in heavy
    assert "kornia" not in heavy


def test_the_help_page_holds_options_commands_examples_and_every_exit_code(call: Call) -> None:
    page = call("--help").out
    for words in (
        "Output:",
        "Restoration:",
        "Encoding:",
        "--strength",
        "Commands:",
        "doctor",
        "Examples:",
        "--version",
    ):
        assert words in page
    for branch in [VdeblurError, *VdeblurError.__subclasses__()]:
        assert f"\n  {branch.exit_code} " in f"\n{EXIT_CODES}"
    assert EXIT_CODES in page
    assert "--strength" in call("run", "--help").out
    assert call("--version").out.startswith("vdeblur 0.")


def test_a_word_that_is_no_command_is_an_input() -> None:
    assert with_default_command(["a.mp4", "-o", "b.mp4"]) == ["run", "a.mp4", "-o", "b.mp4"]
    assert with_default_command(["-o", "b.mp4", "a.mp4"])[0] == "run"
    assert with_default_command(["./info", "-o", "b.mp4"])[0] == "run"
    assert with_default_command(["info", "a.mp4"]) == ["info", "a.mp4"]
    assert with_default_command(["--help"]) == ["--help"]
    assert with_default_command([]) == ["run"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2.5", 2.5), (3, 3.0), ("1:30", 90.0), ("00:01:30.500", 90.5), ("1:00:00", 3600.0)],
)
def test_times(text: Any, seconds: float) -> None:
    assert parse_seconds("start", text) == seconds


@pytest.mark.parametrize(
    ("text", "rate"), [("25", Fraction(25)), (23.976, Fraction(23976, 1000)), ("30000/1001", Fraction(30000, 1001))]
)
def test_rates(text: Any, rate: Fraction) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["0", "-25", "1/0", "fast", "1e9", "nan"])
def test_rates_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="above 0"):
        parse_rate(text)


def test_the_command_line_has_the_last_word(tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(
        "output: sharp.mp4\noverwrite: yes\nstrength: 0.5\nstart: 1:30\nframe_rate: 30000/1001\n"
        "drop: [subtitle]\nffmpeg_args: ['-tune grain']\nquiet: true\ncrf: 20\n"
    )
    base = merge_options(config, {})
    assert (base.output, base.overwrite, base.strength, base.crf) == ("sharp.mp4", True, 0.5, 20.0)
    assert (base.start_seconds, base.rate, base.drop) == (90.0, Fraction(30000, 1001), ("subtitle",))
    assert base.ffmpeg_arguments == ("-tune", "grain")
    given = {
        "strength": 1.0,
        "overwrite": False,
        "drop": (),
        "ffmpeg_args": ("-x 'a b'",),
        "verbose": True,
        "crf": None,
    }
    merged = merge_options(config, given)
    assert (merged.strength, merged.overwrite, merged.drop, merged.crf) == (1.0, False, ("subtitle",), 20.0)
    assert merged.ffmpeg_arguments == ("-x", "a b")
    assert (merged.verbose, merged.quiet) == (True, False)


def test_every_option_of_the_command_line_is_a_key_of_the_config() -> None:
    from vdeblur.cli.run import run

    named = {parameter.name for parameter in run.params} - {"inputs", "config"}
    assert named == set(RunOptions.__dataclass_fields__)


def test_jobs(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.MKV", "c.txt", ".hidden.mp4"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").write_bytes(b"x")
    clips, out, pictures = str(tmp_path), str(tmp_path / "out"), str(tmp_path / "pictures")
    one = str(tmp_path / "b.mp4")

    plan = plan_jobs([clips], out)
    assert [Path(job.source).name for job in plan.jobs] == ["a.MKV", "b.mp4"]
    assert [Path(job.target) for job in plan.jobs] == [Path(out) / "a.MKV", Path(out) / "b.mp4"]
    assert plan.new_folders == (Path(out),)

    assert plan_jobs([one], out + "/").jobs == (RunJob(one, str(Path(out) / "b.mp4")),)
    assert plan_jobs([one], str(tmp_path / "out.mkv")).jobs == (RunJob(one, str(tmp_path / "out.mkv")),)
    assert plan_jobs(["-"], "-").jobs == (RunJob("-", "-"),)
    assert plan_jobs([pictures], str(tmp_path / "p.mp4")).jobs == (RunJob(pictures, str(tmp_path / "p.mp4")),)
    assert plan_jobs([pictures], out).jobs == (RunJob(pictures, out),)
    assert plan_jobs([pictures, one], out).jobs[0] == RunJob(pictures, str(Path(out) / "pictures.mp4"))
    with pytest.raises(UsageError, match="is an input"):
        plan_jobs([pictures], pictures)
    assert plan_jobs(["https://example.org/a/film.mp4?x=1"], out + "/").jobs[0].target == str(Path(out) / "film.mp4")
    with pytest.raises(UsageError, match="no name to keep"):
        plan_jobs(["-"], out + "/")


def test_an_unexpected_failure_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv(error_output.DEBUG_VARIABLE, raising=False)
    try:
        raise ZeroDivisionError("a deep\nfault")
    except ZeroDivisionError as exc:
        error = error_output.to_vdeblur_error(exc)
    assert error.exit_code == 1
    assert "unexpected ZeroDivisionError: a deep" in str(error)
    assert "vdeblur doctor" in str(error)
    (kept,) = tmp_path.iterdir()
    assert str(kept) in str(error)
    assert "test_an_unexpected_failure" in kept.read_text()
