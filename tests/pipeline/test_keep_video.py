"""Regions to keep in files: as players show them, through fields and comparison, and over a resumed job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support.burnt_in import HEIGHT, WIDTH, letters, pan, stamped
from support.doubles import Constant
from support.engines import QUICK
from support.media.clips import clip, ffmpeg
from support.media.writing import read_all, same_samples
from vdeblur import EncodeOptions, deblur_video
from vdeblur.errors import Interrupted, UsageError

LOSSLESS = EncodeOptions(codec="ffv1")


def shown(path: Path, width: int, height: int) -> Any:
    """Luma (T, H, W) as FFmpeg's program shows it, which turns pictures as players do."""
    raw = ffmpeg("-i", str(path), "-vf", "extractplanes=y", "-f", "rawvideo", "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width)


def restore(source: Path, target: Path, **options: Any) -> None:
    deblur_video(source, target, **{"model": Constant(0.25), "encode": LOSSLESS, **QUICK, **options})


@pytest.mark.parametrize("turn", ["-display_rotation 90", "-display_rotation 180", "-display_rotation 270",
                                  "-display_hflip", "-display_rotation 90 -display_hflip"])  # fmt: skip
def test_coordinates_are_those_of_the_picture_as_it_is_shown(turn: str, tmp_path: Path) -> None:
    source, target = tmp_path / "phone.mp4", tmp_path / "out.mkv"
    ffmpeg(*turn.split(), "-i", str(clip("h264")), "-c", "copy", "-frames:v", "3", str(source))
    width, height = (160, 96) if "90" not in turn and "270" not in turn else (96, 160)
    restore(source, target, keep="10,20,30,12")
    kept = shown(source, width, height) == shown(target, width, height)
    expected = np.zeros((height, width), bool)
    expected[20:32, 10:40] = True
    assert np.array_equal(kept.all(0), expected)


def test_a_mask_has_the_size_of_the_picture_as_it_is_shown(tmp_path: Path) -> None:
    mask = np.zeros((160, 96), np.uint8)
    mask[100:130, 5:25] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    target = tmp_path / "out.mkv"
    restore(clip("rotated"), target, keep=str(tmp_path / "mask.png"))
    assert np.array_equal((shown(clip("rotated"), 96, 160) == shown(target, 96, 160)).all(0), mask > 0)
    with pytest.raises(UsageError, match=r"mask\.png, of 96×160 pixels; the picture has 160×96"):
        restore(clip("h264"), tmp_path / "other.mkv", keep=str(tmp_path / "mask.png"))
    assert not (tmp_path / "other.mkv").exists()


def test_fields_keep_their_rows(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=50", "-vf", "tinterlace=interleave_top,setfield=tff",
           "-frames:v", "4", "-c:v", "ffv1", "-pix_fmt", "yuv420p", "-flags", "+ildct+ilme", str(source))  # fmt: skip
    restore(source, target, keep="10,11,30,21", interlaced="keep")
    for before, after in zip(read_all(source), read_all(target), strict=True):
        same = before.planes[0] == after.planes[0]
        assert same[11:32, 10:40].all()
        assert not same[40:].any()


def test_a_resumed_job_keeps_and_finds_the_same(tmp_path: Path) -> None:
    """Letters are known from before the stop; another mask under the same name begins no other job by mistake."""
    source, whole, target, mask = (tmp_path / name for name in ("in.mkv", "whole.mkv", "out.mkv", "mask.png"))
    pictures = [stamped(each, letters()) for each in pan(30, 5.0)]
    ffmpeg("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", "25", "-i", "-", "-c:v", "ffv1",
           "-pix_fmt", "gbrp", str(source), data=b"".join(each.tobytes() for each in pictures))  # fmt: skip
    Image.fromarray(np.eye(HEIGHT, WIDTH, dtype=np.uint8) * 255).save(mask)
    terms: dict[str, Any] = {"model": "swift", "keep": ["0,0,8,8", str(mask)]}
    restore(source, whole, **terms)
    asked = iter(range(100))
    with pytest.raises(Interrupted):
        restore(source, target, **terms, segment_seconds=0, stop=lambda: next(asked) == 26)
    Image.fromarray(np.eye(HEIGHT, WIDTH, 3, dtype=np.uint8) * 255).save(mask)
    with pytest.raises(UsageError, match="keep"):
        restore(source, target, **terms, segment_seconds=0, resume=True)
    Image.fromarray(np.eye(HEIGHT, WIDTH, dtype=np.uint8) * 255).save(mask)
    restore(source, target, **terms, segment_seconds=0, resume=True)
    assert same_samples(read_all(target), read_all(whole))


def test_a_rectangle_out_of_the_picture_is_refused_before_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="keep cannot be 150,0,20,10; the picture has 160×96 pixels"):
        restore(clip("h264"), tmp_path / "out.mkv", keep="150,0,20,10")
    assert list(tmp_path.iterdir()) == []
