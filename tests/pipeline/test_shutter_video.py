"""The shutter of a video: a time follows the frame rate, also where that varies, and belongs to the terms of a job."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from support.doubles import Exposed
from support.engines import QUICK
from support.media.clips import clip, sequence
from support.media.interlaced import FFV1, interlaced
from support.media.writing import read_all
from vdeblur.errors import Interrupted, UsageError
from vdeblur.pipeline.deblur_video import deblur_video
from vdeblur.video.encode.video_plan import EncodeOptions
from vdeblur.video.source.reader import Reader


class Listening(Exposed):
    """Lets the test hear what its copy in the engine is told."""

    heard: list[float]

    def __init__(self) -> None:
        super().__init__()
        Listening.heard = self.told

    def __deepcopy__(self, memo: Any) -> Listening:
        return Listening()


def heard(source: Any, target: Path, **options: Any) -> list[float]:
    deblur_video(source, target, model=Listening(), **{**QUICK, **options})
    return Listening.heard


def test_a_time_follows_a_varying_frame_rate(tmp_path: Path) -> None:
    source = clip("h264_vfr", frames=9)
    with Reader(source) as reader:
        times = [frame.pts * frame.time_base for frame in reader]
    steps = [later - earlier for earlier, later in pairwise(times)]
    assert len(set(steps)) == 2, "the clip's frame rate varies"
    # In the middle the mean of both intervals; at the ends there is one.
    intervals = [(one + other) / 2 for one, other in zip([steps[0], *steps], [*steps, steps[-1]], strict=True)]
    told = heard(source, tmp_path / "out.mkv", shutter="1/100")
    assert told == pytest.approx([float(Fraction(1, 100) / interval) for interval in intervals])
    with Reader(tmp_path / "out.mkv") as reader:
        assert len(list(reader)) == 9


def test_a_varying_frame_rate_comes_out_as_the_shutter_says(tmp_path: Path) -> None:
    """The double adds a tenth of the exposure: frames of short intervals become brighter than those of long ones."""
    source = clip("h264_vfr", frames=9)
    frames: dict[str, list[Any]] = {}
    for shutter in ("1/100", "0.3"):
        target = tmp_path / f"{shutter[0]}.mkv"
        deblur_video(source, target, model=Exposed(), encode=EncodeOptions(codec="ffv1"), shutter=shutter, **QUICK)
        frames[shutter] = read_all(target)
    brighter = [
        float(one.planes[0].mean() - other.planes[0].mean())
        for one, other in zip(frames["1/100"], frames["0.3"], strict=True)
    ]
    told = heard(source, tmp_path / "again.mkv", shutter="1/100")
    for change, exposure in zip(brighter, told, strict=True):
        assert change == pytest.approx(0.1 * 219 * (exposure - 0.3), abs=0.6)
    assert max(brighter) - min(brighter) > 0.5


def test_pictures_have_the_rate_that_they_are_given(tmp_path: Path) -> None:
    pattern = sequence(tmp_path, frames=3)
    for rate, expected in ((None, 0.25), (Fraction(50), 0.5)):
        told = heard(pattern, tmp_path / f"out{rate}.mkv".replace("/", "_"), shutter="1/100", frame_rate=rate)
        assert told == pytest.approx([expected] * 3)


@pytest.mark.parametrize(("mode", "count", "expected"), [("keep", 8, 0.5), ("field", 8, 0.5), ("frame", 4, 0.25)])
def test_interlaced_video_has_the_interval_of_what_is_restored(
    mode: Any, count: int, expected: float, tmp_path: Path
) -> None:
    """Fields, or whole frames, of video of 25 frames a second."""
    source = interlaced("tff", FFV1, ".mkv", frames=4)
    told = heard(source, tmp_path / "out.mkv", shutter="1/100", interlaced=mode)
    assert told == pytest.approx([expected] * count)


def test_a_time_that_is_too_long_is_told(tmp_path: Path) -> None:
    report = deblur_video(clip("h264", frames=3), tmp_path / "o.mp4", model=Exposed(), shutter="1/10", **QUICK)
    assert "shutter 1/10 s is longer than the frame interval of 1/25 s: taken as the whole interval" in report.notes


def test_a_job_goes_on_with_the_same_shutter_only(tmp_path: Path) -> None:
    source, target = clip("h264", frames=40), tmp_path / "out.mkv"
    options: dict[str, Any] = {**QUICK, "segment_seconds": 0.0}
    done = iter(range(100))
    with pytest.raises(Interrupted):
        deblur_video(source, target, model=Exposed(), shutter=180, stop=lambda: next(done) >= 30, **options)
    with pytest.raises(UsageError, match=r"shutter was 0\.5 when the job began"):
        deblur_video(source, target, model=Exposed(), resume=True, **options)
    report = deblur_video(source, target, model=Exposed(), shutter="0.5", resume=True, **options)
    assert report.frames == 40
    assert report.frames_before > 0
