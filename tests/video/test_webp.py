"""Animated WebP: every frame as libwebp draws it, whatever its rectangles, alpha and bitstreams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

from support.doubles import Identity
from vdeblur.errors import SourceError, UsageError
from vdeblur.pipeline.deblur_video import deblur_video
from vdeblur.video.source.reader import Reader, probe


def animation(path: Path, *, ramp: bool = True, size: tuple[int, int] = (61, 35), **options: Any) -> Path:
    """Five frames of a disc with soft edges that moves over a still ground; times differ."""
    width, height = size
    rows, columns = np.mgrid[:height, :width]
    frames = []
    for number in range(5):
        ground = np.stack([columns * 4 % 256, rows * 7 % 256, np.full_like(rows, 90), np.full_like(rows, 255)], -1)
        far = np.hypot(columns - 10 - 9 * number, rows - height / 2)
        if ramp:
            ground[..., 3] = np.clip(255 - far * 9, 0, 255)
        ground[far < 6] = (250, 40, 10 * number, 200 if ramp else 255)
        frames.append(Image.fromarray(ground.astype(np.uint8), "RGBA"))
    times = [40, 70, 100, 10, 250]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=times, **options)
    return path


def drawn_by_libwebp(path: Path) -> list[Any]:
    with Image.open(path) as image:
        return [np.array(frame.convert("RGBA")) for frame in ImageSequence.Iterator(image)]


@pytest.mark.parametrize("ramp", [True, False])
@pytest.mark.parametrize("size", [(61, 35), (64, 32)])
def test_lossless_frames_are_those_of_libwebp(ramp: bool, size: tuple[int, int], tmp_path: Path) -> None:
    path = animation(tmp_path / "in.webp", ramp=ramp, size=size, lossless=True, exact=True, minimize_size=True)
    expected = drawn_by_libwebp(path)
    with Reader(path) as reader:
        frames = list(reader)
    assert [(frame.pts, frame.duration) for frame in frames] == [(0, 40), (40, 70), (110, 100), (210, 10), (220, 250)]
    for frame, picture in zip(frames, expected, strict=True):
        made = np.stack([frame.planes[index] for index in (2, 0, 1, 3)], axis=-1)
        assert np.array_equal(made[..., 3], picture[..., 3])
        visible = picture[..., 3] > 0
        assert np.array_equal(made[visible], picture[visible])


@pytest.mark.parametrize("ramp", [True, False])
@pytest.mark.parametrize("options", [{"quality": 90}, {"quality": 90, "allow_mixed": True, "minimize_size": True}])
def test_lossy_frames_are_near_those_of_libwebp(options: dict[str, Any], ramp: bool, tmp_path: Path) -> None:
    path = animation(tmp_path / "in.webp", ramp=ramp, **options)
    video = probe(path).video
    assert video.colour.matrix in ("bt470bg", "gbr")
    with Reader(path) as reader:
        frames = list(reader)
    for frame, picture in zip(frames, drawn_by_libwebp(path), strict=True):
        assert np.array_equal(frame.planes[-1], picture[..., 3])
        if frame.format.family == "yuv" and not ramp:
            luma = 16 + picture[..., :3] @ np.array([65.738, 129.057, 25.064]) / 256
            assert np.abs(frame.planes[0] - luma).mean() < 4


def test_an_animation_comes_back_with_its_times(tmp_path: Path) -> None:
    path = animation(tmp_path / "in.webp", lossless=True)
    deblur_video(path, tmp_path / "out.webp", model=Identity(), strength=0, device="cpu", precision="float32")
    with Reader(tmp_path / "out.webp") as reader:
        frames = list(reader)
    assert [frame.pts for frame in frames] == [0, 40, 110, 210, 220]


def test_a_stretch_of_an_animation(tmp_path: Path) -> None:
    path = animation(tmp_path / "in.webp", lossless=True)
    with Reader(path) as whole, Reader(path, start_seconds=0.11, duration_seconds=0.11) as part:
        expected, frames = list(whole)[2:4], list(part)
    assert [frame.pts for frame in frames] == [110, 210]
    for one, other in zip(frames, expected, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.planes, other.planes, strict=True))


def test_an_animation_that_is_cut_off_says_so(tmp_path: Path) -> None:
    path = animation(tmp_path / "in.webp", lossless=True)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 5])
    with Reader(path) as reader:
        frames = list(reader)
        assert 0 < len(frames) < 5
        assert any("may be cut off" in note for note in reader.notes)


def test_animations_that_cannot_be_read(tmp_path: Path) -> None:
    path = animation(tmp_path / "in.webp", lossless=True)
    with pytest.raises(UsageError, match="timestamps of its own"):
        Reader(path, frame_rate=25)  # type: ignore[arg-type]
    data = path.read_bytes()
    (tmp_path / "empty.webp").write_bytes(data[:44])
    with pytest.raises(SourceError):
        Reader(tmp_path / "empty.webp")
    huge = bytearray(data)
    huge[24:30] = b"\xff" * 6
    (tmp_path / "huge.webp").write_bytes(huge)
    with pytest.raises(SourceError, match="16777216"):
        Reader(tmp_path / "huge.webp")
