"""The report says which shutter a video was restored with, how far it varied, and whose word that was."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest

from support.cli_fixtures import Call, call
from support.doubles import Exposed, Mixing
from support.engines import QUICK, TINY
from support.interruptions import LOSSLESS, after
from support.media.camera_metadata import gpmf, with_track
from support.media.clips import clip
from support.media.interlaced import FFV1, interlaced
from vdeblur.engine.exposure import GIVEN, FrameShutter, KnownFraction
from vdeblur.errors import Interrupted
from vdeblur.model.checkpoint import save_network
from vdeblur.model.deblur_net import DeblurNet
from vdeblur.pipeline import deblur_video as pipeline_module
from vdeblur.pipeline.deblur_video import deblur_video
from vdeblur.pipeline.shutter_tally import ShutterTally, UsedShutter

__all__ = ["call"]

NOTHING = KnownFraction()
CAMERA = KnownFraction(0.15, "GoPro GPMF", 1 / 205)


def frame(
    middle: float, doubt: float = 0.1, known: KnownFraction = NOTHING, *, overruled: bool = False
) -> FrameShutter:
    used = middle - doubt / 4 if math.isnan(known.fraction) or overruled else known.fraction
    return FrameShutter(used, known, middle, middle - doubt / 2, middle + doubt / 2, overruled)


def tallied(*frames: FrameShutter | None, of_fields: bool = False) -> UsedShutter | None:
    tally = ShutterTally(of_fields=of_fields)
    for each in frames:
        tally.add(each)
    return tally.result()


def words(*frames: FrameShutter | None, of_fields: bool = False) -> str:
    found = tallied(*frames, of_fields=of_fields)
    return "" if found is None else found.words


# --- Words ------------------------------------------------------------------------------------------------------------


def test_a_reading_has_its_doubt() -> None:
    assert words(*[frame(0.52, 0.16)] * 9) == "0.52 of the frame interval (0.44 to 0.60), read from the blur"


def test_a_reading_that_varies_has_that_too() -> None:
    found = tallied(*(frame(0.3 + 0.05 * n, 0.1) for n in range(9)))
    assert found is not None
    assert found.fraction == pytest.approx(0.5)
    assert (found.low, found.high) == pytest.approx((0.3, 0.7)), "two frames in three lie there"
    assert found.used == pytest.approx(0.475)


def test_single_frames_that_are_misread_do_not_count() -> None:
    assert words(*[frame(0.5)] * 20, frame(1.0), frame(0.05)) == words(*[frame(0.5)] * 20)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (KnownFraction(0.5, GIVEN), "0.50 of the frame interval, as given"),
        (KnownFraction(0.5, GIVEN, 1 / 60), "1/60 s (0.50 of the frame interval), as given"),
        (CAMERA, "1/205 s (0.15 of the frame interval), GoPro GPMF"),
        (KnownFraction(0.75, "QuickTime tags"), "0.75 of the frame interval, QuickTime tags"),
    ],
)
def test_what_was_said_has_none(known: KnownFraction, expected: str) -> None:
    assert words(*[frame(0.52, 0.2, known)] * 5) == expected


def test_times_that_vary_have_a_range() -> None:
    said = [KnownFraction(0.1 * n, "GoPro GPMF", 0.1 * n / 25) for n in range(1, 10)]
    expected = "1/250 to 1/27.78 s (0.20 to 0.80 of the frame interval), GoPro GPMF"
    assert words(*(frame(0.5, 0.1, known) for known in said)) == expected


def test_the_source_of_most_frames_is_named() -> None:
    some, rest = [frame(0.5, 0.1, CAMERA)] * 3, [frame(0.5, 0.1, CAMERA, overruled=True)] * 7
    assert words(*some, *rest) == "0.50 of the frame interval (0.45 to 0.55), read from the blur for 7 of 10 frames"
    assert words(*some, frame(0.5)) == "1/205 s (0.15 of the frame interval), GoPro GPMF for 3 of 4 frames"


def test_fields_have_their_own_interval() -> None:
    assert words(frame(0.5, 0), of_fields=True) == "0.50 of the field interval, read from the blur"


def test_nothing_is_said_where_nothing_is_used() -> None:
    assert tallied() is tallied(None, None) is None


# --- Reports ----------------------------------------------------------------------------------------------------------


def report(source: Any, target: Path, network: Any = None, **options: Any) -> pipeline_module.Report:
    return deblur_video(source, target, model=network or Exposed(), encode=LOSSLESS, **{**QUICK, **options})


def test_reports_of_what_was_given_and_what_was_read(tmp_path: Path) -> None:
    source = clip("h264", frames=6)
    given = report(source, tmp_path / "1.mkv", shutter="1/50").shutter
    assert given is not None
    assert (given.source, given.frames, given.fraction) == (GIVEN, 6, 0.5)
    assert given.seconds == pytest.approx((0.02, 0.02))
    read = report(source, tmp_path / "2.mkv").shutter
    assert read is not None
    assert read.words == "0.25 of the frame interval (0.20 to 0.30), read from the blur"
    assert report(source, tmp_path / "3.mkv", Mixing()).shutter is None


def test_the_blur_is_believed_where_it_contradicts_the_camera(tmp_path: Path) -> None:
    """The camera says 1/31 s, at 25 frames a second; the blur, a quarter of the interval."""
    packets = [gpmf([1 / 31] * 25, clock_us=second * 1_000_000) for second in range(2)]
    source = with_track(clip("h264"), tmp_path / "GH010001.MP4", packets, kind=b"gpmd")
    found = report(source, tmp_path / "out.mkv")
    assert found.shutter is not None
    assert found.shutter.words.startswith("0.25 of the frame interval (0.20 to 0.30), read from the blur for ")
    (note,) = (one for one in found.notes if "the blur is believed" in one)
    assert note.startswith("GoPro GPMF says 0.81 of the frame interval, the blur 0.25 (0.20 to 0.30): ")
    said = report(source, tmp_path / "said.mkv", shutter=0.9)
    assert said.shutter is not None
    assert said.shutter.words == "0.90 of the frame interval, as given"
    assert not any("believed" in one for one in said.notes)


def test_interlaced_video_has_the_shutter_of_its_fields(tmp_path: Path) -> None:
    source = interlaced("tff", FFV1, ".mkv", frames=4)
    found = report(source, tmp_path / "out.mkv", shutter="1/100").shutter
    assert found is not None
    assert found.words == "1/100 s (0.50 of the field interval), as given"


# --- What is read ahead -----------------------------------------------------------------------------------------------


class Counting(Exposed):
    """Tells the test how often its copy in the engine was asked to match a frame."""

    asked = 0

    def match_motion(self, *window: Any) -> Any:
        Counting.asked += 1
        return super().match_motion(*window)


@pytest.mark.parametrize("kind", ["file", "bytes", "pipe"])
def test_files_are_read_ahead_and_pipes_are_not(kind: str, tmp_path: Path) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    path = clip("ffv1_8", frames=6)
    sources = {"file": path, "bytes": io.BytesIO(path.read_bytes()), "pipe": Pipe(path.read_bytes())}
    Counting.asked = 0
    assert report(sources[kind], tmp_path / "out.mkv", Counting()).frames == 6
    assert Counting.asked == (0 if kind == "pipe" else 6)


@pytest.mark.parametrize(
    ("source", "expected"), [("a.mp4", True), ("-", False), ("rtsp://camera/1", False), ("frame_%05d.png", True)]
)
def test_addresses_may_be_live(source: str, expected: bool) -> None:
    assert pipeline_module._is_file(source) is expected


def test_a_job_that_read_other_frames_ahead_does_not_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = clip("h264", frames=40), tmp_path / "out.mkv"
    with pytest.raises(Interrupted):
        report(source, target, segment_seconds=0.0, stop=after(30))
    with monkeypatch.context() as patch:
        patch.setattr(pipeline_module, "READ_AHEAD", 3)
        with pytest.raises(Exception, match=r"read_ahead was 24 when the job began and is 3 now"):
            report(source, target, segment_seconds=0.0, resume=True)
    found = report(source, target, segment_seconds=0.0, resume=True)
    assert found.shutter is not None
    assert found.shutter.frames_total == found.frames - found.frames_before


# --- The command line -------------------------------------------------------------------------------------------------


def test_the_command_tells_it(call: Call, tmp_path: Path) -> None:
    model = tmp_path / "tiny.safetensors"
    save_network(DeblurNet(TINY), model, {})
    words = [clip("h264", frames=6), "-o", tmp_path / "out.mp4", "-y", "--model", model, "--device", "cpu"]
    assert "vdeblur: shutter: 0.50 of the frame interval, as given\n" in call(*words, "--shutter", "180").err
    assert ", read from the blur\n" in call(*words).err
    done = json.loads(call(*words, "--shutter", "1/50", "--json").out.splitlines()[-2])
    assert done["event"] == "done"
    told = done["shutter"]
    assert (told["source"], told["frames"], told["frames_total"]) == ("as given", 6, 6)
    assert (told["fraction"], told["low"], told["high"], told["used"]) == (0.5, 0.5, 0.5, 0.5)
    assert told["seconds"] == pytest.approx([0.02, 0.02])
