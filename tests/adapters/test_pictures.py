"""Pictures of every kind: PIL images, PyAV's frames and our own come back with all that they had."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from support.doubles import Constant, Identity, Mixing, clip, planes_equal
from support.drifting_pictures import restore
from support.engines import QUICK
from support.media import clips
from vdeblur import Deblurrer, Reader, UsageError
from vdeblur.video.formats.packed_formats import packed_layouts
from vdeblur.video.formats.pixel_formats import planes_of

CHANNELS = {"L": 0, "LA": 2, "RGB": 3, "RGBA": 4}


def arrays(count: int, channels: int, dtype: Any = np.uint8) -> list[np.ndarray]:
    shape = (20, 28, channels) if channels else (20, 28)
    peak = np.iinfo(dtype).max
    grid = np.indices(shape).sum(axis=0)
    return [((0.5 + 0.25 * np.sin(grid / 5 + n / 3)) * peak).astype(dtype) for n in range(count)]


# --- PIL --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_images_come_back_as_they_were(mode: str) -> None:
    samples = arrays(3, 0, np.uint16) if mode == "I;16" else arrays(3, CHANNELS[mode])
    images = [Image.fromarray(picture) for picture in samples]
    for image in images:
        image.info = {"icc_profile": b"a profile", "dpi": (300, 300)}
    same, changed = restore(images, Identity()), restore(images, Constant(0.1))
    for before, left, now in zip(images, same, changed, strict=True):
        assert type(now) is Image.Image
        assert (now.mode, now.size, now.info) == (mode, before.size, before.info)
        assert left.tobytes() == before.tobytes()
        assert now.tobytes() != before.tobytes()
        if "A" in mode:
            assert now.getchannel("A").tobytes() == before.getchannel("A").tobytes()
    if mode != "LA":
        assert np.array_equal(np.asarray(changed[1]), restore(samples, Constant(0.1))[1])


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("P", "frame 0 is an image of mode P; convert it with image.convert('RGB')"),
        ("1", "convert it with image.convert('L')"),
        ("CMYK", "convert it with image.convert('RGB')"),
        ("F", "frame 0 is an image of mode F; it must be L, LA, RGB, RGBA, I;16"),
    ],
)
def test_other_modes_are_refused_with_the_way_out(mode: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        restore([Image.new(mode, (20, 20))])
    assert words in str(caught.value)


def test_the_library_works_without_pillow_and_without_loading_pyav() -> None:
    code = (
        "import sys; sys.modules['PIL'] = None\n"
        "from vdeblur.adapters.pictures import frame_of, picture_of\n"
        "import numpy as np\n"
        "picture_of(frame_of(np.zeros((8, 8, 3), np.uint8)))\n"
        "try: frame_of(object())\n"
        "except ValueError: sys.exit('av' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path.home(), check=False).returncode == 0


# --- PyAV -------------------------------------------------------------------------------------------------------------


def decoded(name: str, count: int = 6) -> list[av.VideoFrame]:
    with av.open(str(clips.clip(name))) as container:
        return [frame for _, frame in zip(range(count), container.decode(video=0), strict=False)]


@pytest.mark.parametrize("name", ["h264_vfr_offset", "hevc10_hdr", "ffv1_rgb", "ffv1_alpha", "mjpeg", "ffv1_gray16"])
def test_video_frames_keep_time_colour_and_format(name: str) -> None:
    frames = decoded(name)
    same, changed = restore(frames, Identity()), restore(frames, Constant(0.05))
    for before, left, now in zip(frames, same, changed, strict=True):
        for found in (left, now):
            assert isinstance(found, av.VideoFrame)
            assert found is not before
            for what in ("pts", "time_base", "duration", "width", "height", "colorspace", "color_range",
                         "color_primaries", "color_trc"):  # fmt: skip
                assert getattr(found, what) == getattr(before, what), what
            assert found.format.name == before.format.name
        assert same_samples(left, before)
        assert not same_samples(now, before)


def same_samples(one: av.VideoFrame, other: av.VideoFrame) -> bool:
    (planes, pixel_format), (others, _) = planes_of(one), planes_of(other)
    return all(np.array_equal(a, np.minimum(b, int(pixel_format.peak))) for a, b in zip(planes, others, strict=True))


#: What decoders, cameras and screens hand out; these at least must come back.
USUAL = {"nv12", "nv21", "p010le", "p016le", "rgb24", "bgr24", "bgra", "bgr0", "yuyv422", "uyvy422", "rgb48le"}


@pytest.mark.parametrize("name", sorted(packed_layouts()))
def test_every_format_comes_back_bit_for_bit_or_is_refused(name: str) -> None:
    frame, draw = av.VideoFrame(28, 21, name), np.random.default_rng(0)
    for plane in frame.planes:
        plane.update(draw.bytes(plane.buffer_size))
    try:
        (restored,) = restore([frame], Identity())
    except UsageError as exc:
        words = str(exc)
    else:
        assert restored.format.name == name
        assert same_samples(restored, frame)
        return
    assert f"pixel format {name}, which cannot be given back exactly" in words
    assert name not in USUAL


def test_video_frames_without_a_time_stay_without() -> None:
    frames = [av.VideoFrame.from_ndarray(picture, "bgr24") for picture in arrays(4, 3)]
    restored = restore(frames)
    assert [frame.pts for frame in restored] == [None] * 4
    expected = restore(arrays(4, 3), channels="bgr")
    assert all(np.array_equal(r.to_ndarray(), e) for r, e in zip(restored, expected, strict=True))


def test_they_are_restored_as_a_video_is() -> None:
    """The planes are those that a reader would give, and so is what comes out."""
    with Reader(clips.clip("h264")) as reader:
        ours = [frame for _, frame in zip(range(6), reader, strict=False)]
        expected = list(Deblurrer(Mixing(), **QUICK).run(ours))
    for found, wanted in zip(restore(decoded("h264")), expected, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(planes_of(found)[0], wanted.planes, strict=True))


# --- Our own ----------------------------------------------------------------------------------------------------------


def test_frames_come_back_as_frames() -> None:
    frames = list(clip(5))
    expected = list(Deblurrer(Mixing(), **QUICK).run(frames))
    restored = restore(frames)
    assert [(f.pts, f.time_base, f.origin) for f in restored] == [(f.pts, Fraction(1, 12800), None) for f in frames]
    assert all(planes_equal(a, b) for a, b in zip(restored, expected, strict=True))


# --- Step by step -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("kind", ["arrays", "tensors", "images", "video frames"])
def test_step_takes_what_deblur_frames_takes(kind: str, lookahead: int) -> None:
    samples = arrays(5, 3)
    make = {
        "arrays": lambda picture: picture,
        "tensors": lambda picture: torch.from_numpy(picture).permute(2, 0, 1),
        "images": Image.fromarray,
        "video frames": lambda picture: av.VideoFrame.from_ndarray(picture, "rgb24"),
    }[kind]
    deblurrer = Deblurrer(Mixing(), lookahead=lookahead, **QUICK)
    for _ in range(2):  # after the flush it starts anew
        stepped = [deblurrer.step(make(picture)) for picture in samples]
        if lookahead:
            assert stepped.pop(0) is None
            stepped.append(deblurrer.flush())
        else:
            assert deblurrer.flush() is None
        expected = restore([make(picture) for picture in samples], lookahead=lookahead)
        for found, wanted in zip(stepped, expected, strict=True):
            assert type(found) is type(wanted)
            assert np.array_equal(_samples(found), _samples(wanted))


def _samples(picture: Any) -> np.ndarray:
    return picture.to_ndarray() if isinstance(picture, av.VideoFrame) else np.asarray(picture)


def test_step_takes_opencvs_order_of_colours() -> None:
    picture = arrays(1, 3)[0]
    picture[..., 0] //= 2
    rgb = Deblurrer(Constant(0.1), lookahead=0, **QUICK).step(picture)
    bgr = Deblurrer(Constant(0.1), lookahead=0, channels="bgr", **QUICK).step(picture[..., ::-1])
    assert rgb is not None
    assert bgr is not None
    assert np.array_equal(rgb, bgr[..., ::-1])
    with pytest.raises(UsageError, match="channels cannot be 'gbr'"):
        Deblurrer(Identity(), channels="gbr", **QUICK)  # type: ignore[arg-type]


def test_step_refuses_what_is_no_picture_and_goes_on() -> None:
    first, second, third = arrays(3, 3)
    deblurrer = Deblurrer(Mixing(), lookahead=0, **QUICK)
    deblurrer.step(first)
    for wrong in ("clip.mp4", Image.fromarray(second), np.zeros((2, 20, 28, 3), np.uint8)):
        with pytest.raises(UsageError):
            deblurrer.step(wrong)  # type: ignore[type-var]
    expected = restore([first, second, third], lookahead=0)
    assert np.array_equal(deblurrer.step(second), expected[1])
    assert np.array_equal(deblurrer.step(third), expected[2])
