"""Noise in files: removed, kept, told in the report and on the command line, over a resumed job and in fields."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.cli_fixtures import Call, call
from support.doubles import Identity
from support.engines import tiny_net
from support.guides import some_guide
from support.interruptions import restore, stopped
from support.media.clips import clip, ffmpeg
from support.media.interlaced import FFV1, FLAGS, interlaced
from support.media.writing import read_all, same_samples
from vdeblur.cli.options import RunOptions
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.guide.stage import FrameNoise
from vdeblur.errors import TargetError, UsageError
from vdeblur.frames import FieldOrder
from vdeblur.model.checkpoint import save_network
from vdeblur.pipeline.deblur_video import NOTHING_TO_REMOVE
from vdeblur.pipeline.interlaced import restorations
from vdeblur.pipeline.noise_tally import NoiseTally
from vdeblur.video.segments import journal

__all__ = ["call"]

FRAMES = 9


@pytest.fixture(scope="module")
def grainy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small pan with noise, lossless."""
    return grainy_video(tmp_path_factory.mktemp("grainy") / "grainy.mkv")


def grainy_video(path: Path) -> Path:
    graph = "mandelbrot=size=96x64:rate=25:start_scale=0.6,format=yuv420p,lutyuv=y=val*0.5+64,noise=c0s=30:c0f=t"
    ffmpeg("-f", "lavfi", "-i", graph, "-frames:v", str(FRAMES), "-c:v", "ffv1", str(path))
    return path


# --- Words ------------------------------------------------------------------------------------------------------------


def words(*noises: FrameNoise | None) -> str:
    tally = NoiseTally()
    for noise in noises:
        tally.add(noise)
    found = tally.result()
    return "" if found is None else found.words


def frame_noise(level: float = 8.13, used: float = 1.0, **more: Any) -> FrameNoise:
    return FrameNoise(**{"level": level, "used": used, "given": False, "removed": 0.0, "quantiser": 27.2, **more})


def test_the_words_of_the_report() -> None:
    assert words(*[frame_noise()] * 3) == "8.1 of 255, compression 27: worked from a cleaner picture; noise kept"
    assert words(frame_noise(quantiser=None, removed=1.0, given=True)) == (
        "8.1 of 255 (as given): worked from a cleaner picture; noise removed"
    )
    assert words(frame_noise(removed=0.5)).endswith("; 50% of the noise removed")
    coded = words(frame_noise(0.3, removed=1.0))
    assert coded == "0.3 of 255, compression 27: worked from a cleaner picture; coding artefacts removed"
    assert words(frame_noise(0.8)).endswith("; noise kept"), "a codec has taken most of it from the reading"
    assert words(frame_noise(2), frame_noise(4), frame_noise(5)).startswith("4.0 of 255")
    half = words(*[frame_noise()] * 2, *[frame_noise(0.4, 0.0, quantiser=None)] * 3, None)
    assert half == "8.1 of 255, compression 27: worked from a cleaner picture for 2 of 5 frames; noise kept"


def test_nothing_is_said_of_clean_frames() -> None:
    assert words() == words(None) == words(frame_noise(0.5, 0.0), frame_noise(1.4, 0.02)) == ""


# --- Files ------------------------------------------------------------------------------------------------------------


def test_the_report_tells_of_noise(grainy: Path, tmp_path: Path) -> None:
    report = restore(grainy, tmp_path / "o.mkv", model=Identity(), guide=some_guide(), remove="noise=0.5")
    assert report.noise is not None
    assert (report.noise.frames, report.noise.frames_total, report.noise.removed) == (FRAMES, FRAMES, 0.5)
    assert 3 < report.noise.level < 30
    assert restore(grainy, tmp_path / "p.mkv", model=Identity()).noise is None, "it has no guide"


def test_it_is_told_that_there_was_no_noise_to_remove(grainy: Path, tmp_path: Path) -> None:
    options = {"model": Identity(), "guide": some_guide()}
    clean = {"told": {"noise": 0, "remove": "noise"}, "unasked": {"noise": 0}, "noisy": {"remove": "noise"}}
    told = {
        name: NOTHING_TO_REMOVE in restore(grainy, tmp_path / f"{name}.mkv", **options, **more).notes
        for name, more in clean.items()
    }
    assert told == {"told": True, "unasked": False, "noisy": False}


@pytest.mark.parametrize("done", [1, 5, 8])
def test_a_stopped_job_goes_on_to_the_same_result(done: int, grainy: Path, tmp_path: Path) -> None:
    options = {"model": tiny_net(), "guide": some_guide(), "remove": "noise", "grain": 4}
    whole, resumed = tmp_path / "whole.mkv", tmp_path / "resumed.mkv"
    restore(grainy, whole, **options, segment_seconds=None)
    stopped(grainy, resumed, done, **options)
    restore(grainy, resumed, resume=True, **options)
    assert same_samples(read_all(resumed), read_all(whole))


@pytest.mark.parametrize("done", [8, 20])
def test_a_job_on_a_coded_source_goes_on_with_its_quantisers(done: int, tmp_path: Path) -> None:
    source, guide = clip("h264_audio"), some_guide()
    options = {"model": Identity(), "guide": guide, "remove": "noise"}
    whole, resumed = tmp_path / "whole.mkv", tmp_path / "resumed.mkv"
    report = restore(source, whole, **options, segment_seconds=None)
    assert report.noise is not None
    assert report.noise.quantiser is not None
    stopped(source, resumed, done, **options)
    restore(source, resumed, resume=True, **options)
    assert same_samples(read_all(resumed), read_all(whole))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"remove": "none"}, "remove was noise when the job began and is none now; give remove='noise' again"),
        ({"noise": 5}, "noise was auto when the job began and is 5.0 now; give noise='auto' again"),
        ({"grain": 0}, "grain was 4.0 when the job began and is 0.0 now; give grain=4.0 again"),
        ({"guide": "auto"}, "guide was CountingGuide when the job began and is auto now"),
    ],
)
def test_a_job_goes_on_in_its_own_terms_only(change: Any, words: str, grainy: Path, tmp_path: Path) -> None:
    options = {"model": Identity(), "guide": some_guide(), "remove": "noise", "grain": 4}
    stopped(grainy, tmp_path / "o.mkv", 3, **options)
    with pytest.raises(UsageError) as caught:
        restore(grainy, tmp_path / "o.mkv", resume=True, **{**options, **change})
    assert words in str(caught.value)


def test_a_journal_without_a_guides_memory_is_refused(
    grainy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(journal, "VERSION", 2)
        stopped(grainy, tmp_path / "o.mkv", 3)
    with pytest.raises(TargetError, match="written by another version of vdeblur"):
        restore(grainy, tmp_path / "o.mkv", resume=True)


def test_fields_have_guides_of_their_own(tmp_path: Path) -> None:
    source, guide = interlaced(encode=f"{FFV1} {FLAGS}", suffix=".mkv", frames=4), some_guide()
    report = restore(source, tmp_path / "o.mkv", model=Identity(), guide=guide, noise=10, remove="noise")
    assert len(guide.asked) == 2 * report.frames
    assert report.noise is not None
    assert report.noise.frames == report.frames
    assert not same_samples(read_all(tmp_path / "o.mkv"), read_all(source))


# --- The command line -------------------------------------------------------------------------------------------------


def test_the_command_line_removes_noise_and_says_so(grainy: Path, call: Call, tmp_path: Path) -> None:
    model, guide = tmp_path / "tiny.safetensors", tmp_path / "guide.safetensors"
    save_network(tiny_net(), model, {})
    save_network(some_guide(), guide, {})
    networks = ["--model", model, "--guide", guide, "--device", "cpu", "--codec", "ffv1"]
    for name, options in (("kept", []), ("half", ["--remove", "noise=0.5"]), ("off", ["--remove", "none"])):
        result = call(grainy, "-o", tmp_path / f"{name}.mkv", *networks, *options)
        assert result.code == 0, result.err
        (line,) = [one for one in result.err.splitlines() if one.startswith("vdeblur: noise: ")]
        assert line.endswith("50% of the noise removed" if name == "half" else "noise kept")
    kept, half, off = (read_all(tmp_path / f"{name}.mkv") for name in ("kept", "half", "off"))
    assert same_samples(kept, off)
    assert not same_samples(kept, half)
    result = call(grainy, "-o", tmp_path / "json.mkv", *networks, "--json")
    done = next(event for event in map(json.loads, result.out.splitlines()) if event["event"] == "done")
    assert done["noise"]["frames"] == FRAMES


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--guide", "gone.safetensors"], "--guide cannot be 'gone.safetensors': there is no such file"),
        (["--guide", "off", "--remove", "noise"], "--remove cannot be 'noise' without a guide; leave out --guide off"),
        (["--guide", "{fast}"], "--guide cannot be '{fast}': that is a network that takes blur away (tiny); "
         "use --model {fast} for it, and leave guide out"),
        (["--model", "{guide}"], "--model cannot be '{guide}': that is a guide, which takes noise away and leaves "
         "the blur; use --guide {guide}, and a model such as fast"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_one_line(
    options: list[str], message: str, grainy: Path, call: Call, tmp_path: Path
) -> None:
    paths = {"fast": tmp_path / "tiny.safetensors", "guide": tmp_path / "guide.safetensors"}
    save_network(tiny_net(), paths["fast"], {})
    save_network(some_guide(), paths["guide"], {})
    result = call(grainy, "-o", tmp_path / "o.mkv", "--device", "cpu", *(each.format(**paths) for each in options))
    assert (result.code, result.err) == (2, f"vdeblur: error: {message.format(**paths)}\n")
    assert not (tmp_path / "o.mkv").exists()


def test_a_config_has_them(tmp_path: Path) -> None:
    assert RunOptions(remove=["noise=0.25"]).remove == "noise=0.25"
    assert RunOptions(remove="noise=1.0", noise="7", guide=False) == RunOptions(remove="noise", noise=7.0, guide="off")
    assert RunOptions(remove="noise=0").remove == "none"
    assert np.isclose(float(RunOptions(noise="7.5").noise), 7.5)


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_the_noise_of_fields_is_read_from_their_own_rows(order: FieldOrder, grainy: Path) -> None:
    """Not from those between, which are averages."""
    frames, engine = read_all(grainy), Deblurrer(Identity(), device="cpu", guide=some_guide())
    whole, fields = (
        [each.noise.level for each in restorations(engine, iter(frames), fields) if each.noise is not None]
        for fields in (None, order)
    )
    assert len(whole) == len(fields) == FRAMES
    assert fields[-1] == pytest.approx(whole[-1], rel=0.15)
