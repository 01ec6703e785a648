"""The library: a few names, quick to import, and pictures of any kind in, the same kind out."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import DTypeLike

import vdeblur
from support.doubles import Constant, Failing, Identity, Mixing, clip
from support.drifting_pictures import QUICK, pictures, restore, tensors
from vdeblur import Interrupted, NetworkError, Progress, UsageError, deblur_frames

PUBLIC = {
    "Colour", "Deblurrer", "DeviceError", "EncodeOptions", "Frame", "FrameOptions", "Interrupted", "NetworkError",
    "PixelFormat", "Progress", "Reader", "Report", "SourceError", "SourceInfo", "TargetError", "UsageError",
    "VdeblurError", "Writer", "adeblur_frames", "deblur_frames", "deblur_streams", "deblur_video", "probe",
}  # fmt: skip


# --- Names ------------------------------------------------------------------------------------------------------------


def test_the_public_names() -> None:
    assert set(vdeblur.__all__) == PUBLIC
    assert set(dir(vdeblur)) >= PUBLIC
    for name in PUBLIC:
        value = getattr(vdeblur, name)
        assert value.__name__ == name
        assert value.__doc__
    with pytest.raises(AttributeError, match="no attribute 'deblur'"):
        vdeblur.deblur  # noqa: B018


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'av', 'numpy', 'kornia', 'click', 'rich'}"
    code = f"import sys, vdeblur; vdeblur.UsageError; loaded = {heavy} & set(sys.modules); sys.exit(str(loaded or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path.home(), check=False)
    assert done.stderr.strip() == ""


# --- The same kind comes out ------------------------------------------------------------------------------------------

ARRAYS = [
    ((20, 28, 3), np.uint8),
    ((20, 28, 3), np.uint16),
    ((20, 28, 3), np.float32),
    ((20, 28, 3), np.float16),
    ((20, 28, 4), np.float64),
    ((1, 20, 28, 3), np.uint8),
    ((20, 28, 4), np.uint8),
    ((20, 28, 1), np.uint8),
    ((20, 28), np.uint16),
    ((1, 1, 3), np.uint8),
    ((17, 5), np.float32),
]
TENSORS = [
    ((3, 20, 28), torch.uint8),
    ((1, 3, 20, 28), torch.uint8),
    ((3, 20, 28), torch.float32),
    ((1, 3, 20, 28), torch.float16),
    ((3, 20, 28), torch.bfloat16),
    ((3, 20, 28), torch.float64),
    ((4, 20, 28), torch.uint16),
    ((1, 20, 28), torch.uint8),
    ((20, 28), torch.float32),
]


@pytest.mark.parametrize(("shape", "dtype"), ARRAYS)
@pytest.mark.parametrize("lookahead", [0, 1])
def test_arrays_come_back_as_they_were(shape: tuple[int, ...], dtype: DTypeLike, lookahead: int) -> None:
    frames = pictures(4, shape, dtype)
    kept = [frame.copy() for frame in frames]
    for model, changes in ((Identity(), False), (Constant(0.1), True)):
        restored = restore(frames, model, lookahead=lookahead)
        assert [(type(r), r.dtype, r.shape) for r in restored] == [(np.ndarray, np.dtype(dtype), shape)] * 4
        assert all(np.array_equal(r, f) != changes for r, f in zip(restored, frames, strict=True))
        if len(shape) == 3 and shape[2] == 4:
            assert all(np.array_equal(r[..., 3], f[..., 3]) for r, f in zip(restored, frames, strict=True)), "alpha"
    assert all(np.array_equal(f, k) for f, k in zip(frames, kept, strict=True)), "the caller's arrays are only read"


@pytest.mark.parametrize(("shape", "dtype"), TENSORS)
def test_tensors_come_back_as_they_were(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    frames = tensors(4, shape, dtype)
    for model, changes in ((Identity(), False), (Constant(0.1), True)):
        restored = restore(frames, model)
        assert [(r.dtype, tuple(r.shape), r.device.type) for r in restored] == [(dtype, shape, "cpu")] * 4
        assert all(torch.equal(r.float(), f.float()) != changes for r, f in zip(restored, frames, strict=True))
        restored[0].zero_()  # it is the caller's


@pytest.mark.cuda
def test_cuda_tensors_come_back_to_cuda() -> None:
    frames = [frame.cuda() for frame in tensors(6, (3, 20, 28), torch.uint8)]
    for device in ("cuda", "cpu"):
        restored = restore(frames, device=device)
        assert all(r.is_cuda for r in restored)
        for a, b in zip(restored, restore([frame.cpu() for frame in frames]), strict=True):
            assert (a.cpu().int() - b.int()).abs().max() <= 1


def test_colours_stay_in_their_channels() -> None:
    """Red alone is changed, in every layout."""

    class Redder(Identity):
        def correction(self, previous: Any, current: Any, following: Any, state: Any) -> Any:
            residual = torch.zeros_like(current[0])
            residual[:, 0] = 26 / 255
            return residual, ()

    (array,) = pictures(1)
    (rgb,) = restore([array], Redder())
    (bgr,) = restore([array[..., ::-1]], Redder(), channels="bgr")
    (tensor,) = restore([torch.from_numpy(array).permute(2, 0, 1)], Redder())
    assert np.array_equal(rgb[..., 1:], array[..., 1:])
    assert np.all(rgb[..., 0].astype(int) - array[..., 0] == 26)
    assert np.array_equal(bgr[..., ::-1], rgb)
    assert np.array_equal(tensor.permute(1, 2, 0).numpy(), rgb)


def test_one_array_of_many_pictures() -> None:
    frames = pictures(5)
    expected = restore(frames)
    stacked = restore(np.stack(frames))
    tensor = restore(torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2))
    for one, two, three in zip(expected, stacked, tensor, strict=True):
        assert np.array_equal(one, two)
        assert np.array_equal(one, three.permute(1, 2, 0).numpy())


def test_an_item_of_several_pictures_comes_back_as_one() -> None:
    frames = pictures(7)
    expected = restore(frames)
    pieces = [np.stack(frames[:3]), frames[3], np.stack(frames[4:])]
    for found in (restore(pieces), [r.permute(0, 2, 3, 1).numpy() for r in restore(_as_batches(pieces))]):
        assert [r.reshape(-1, 20, 28, 3).shape[0] for r in found] == [3, 1, 3]
        assert np.array_equal(np.concatenate([r.reshape(-1, 20, 28, 3) for r in found]), np.stack(expected))


def _as_batches(pieces: list[np.ndarray]) -> list[torch.Tensor]:
    return [torch.from_numpy(piece.reshape(-1, 20, 28, 3)).permute(0, 3, 1, 2) for piece in pieces]


def test_what_is_finer_than_float32_stays() -> None:
    frames = [picture + 1e-12 for picture in pictures(3, (20, 28, 3), np.float64)]
    assert all(np.array_equal(a, b) for a, b in zip(restore(frames, Identity()), frames, strict=True))


def test_pictures_may_change_their_size_and_dtype() -> None:
    mixed = [*pictures(2), *pictures(2, (9, 7)), *pictures(2, (8, 8, 3), np.float32)]
    restored = restore(mixed)
    assert [(type(r), r.dtype, r.shape) for r in restored] == [(type(m), m.dtype, m.shape) for m in mixed]


def test_pictures_of_one_stream_are_of_one_kind() -> None:
    with pytest.raises(UsageError, match="of one kind; these began as NumPy arrays, now there are torch tensors"):
        restore([*pictures(2), *tensors(1, (3, 20, 28), torch.uint8)])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 60])
def test_as_many_come_out(count: int) -> None:
    assert len(restore(pictures(count, (6, 8, 3)))) == count


# --- Lazy, and closed -------------------------------------------------------------------------------------------------


def test_it_is_lazy_and_closing_it_closes_the_source() -> None:
    log: list[str] = []

    def source() -> Iterator[np.ndarray]:
        try:
            for picture in pictures(9):
                log.append("taken")
                yield picture
        finally:
            log.append("closed")

    restored = deblur_frames(source(), model=Mixing(), lookahead=1, **QUICK)
    assert log == []
    next(restored)
    assert log == ["taken", "taken"]
    restored.close()
    assert log == ["taken", "taken", "closed"]


def test_abandoned_in_the_middle_it_closes_the_source() -> None:
    """By break, by an exception, or forgotten: the source is closed and no thread is left (see conftest)."""
    closed = []

    def source() -> Iterator[np.ndarray]:
        try:
            yield from pictures(9)
        finally:
            closed.append(True)

    restored = deblur_frames(source(), model=Mixing(), **QUICK)
    for _ in restored:
        break
    del restored, _
    gc.collect()
    assert len(closed) == 1

    def shown(picture: np.ndarray) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(map(shown, deblur_frames(source(), model=Mixing(), **QUICK)))
    gc.collect()
    assert len(closed) == 2
    failing = deblur_frames(source(), model=Failing(1, RuntimeError("bad")), **QUICK)
    with pytest.raises(NetworkError):
        list(failing)
    assert len(closed) == 3


# --- Progress and stop ------------------------------------------------------------------------------------------------


def test_progress_is_told_and_stop_ends_it() -> None:
    told: list[Progress] = []
    frames = pictures(5)
    assert len(restore(frames, progress=told.append)) == 5
    assert [(p.frames, p.frames_total, p.media_seconds) for p in told] == [(n, 5, 0.0) for n in range(1, 6)]
    assert [p.elapsed_seconds for p in told] == sorted(p.elapsed_seconds for p in told)
    taken = deblur_frames(iter(frames), model=Mixing(), stop=lambda: len(told) == 8, progress=told.append, **QUICK)
    with pytest.raises(Interrupted, match="stopped after 3 frames"):
        list(taken)
    assert told[-1].frames_total is None


def test_progress_knows_the_time_of_frames_that_have_one() -> None:
    told: list[Progress] = []
    restore(list(clip(5, 8, 8)), progress=told.append)
    assert [p.media_seconds for p in told] == pytest.approx([0.04, 0.08, 0.12, 0.16, 0.2])


# --- Wrong calls ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "options", "words"),
    [
        ("clip.mp4", {}, "frames cannot be 'clip.mp4'; give an iterable of pictures, or use deblur_video"),
        (7, {}, "frames cannot be 7"),
        (np.zeros((8, 8, 3), np.uint8), {}, r"one array of shape (8, 8, 3) is no sequence"),
        (torch.zeros(3, 8, 8), {}, r"one array of shape (3, 8, 8) is no sequence"),
        ([], {"channels": "yuv"}, "channels cannot be 'yuv'; it is rgb or bgr"),
        ([], {"strength": -1}, "strength cannot be -1"),
    ],
)
def test_wrong_calls_fail_at_once(frames: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        deblur_frames(frames, **{"model": Identity(), **QUICK, **options})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        ([[1, 2], [3, 4]], "frame 0 is a list; give NumPy arrays, torch tensors, PIL images, av.VideoFrames or"),
        (None, "frame 0 is a NoneType"),
        (np.zeros((8, 8, 3), bool), "frame 0 has dtype bool; it must be uint8, uint16 or floating"),
        (np.zeros((8, 8, 3), np.int32), "frame 0 has dtype int32"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "frame 0 has dtype torch.int64"),
        (np.zeros((3, 8, 8), np.uint8), "frame 0 has shape (3, 8, 8); it must be (H, W) or (H, W, 3)"),
        (np.zeros((8, 8, 2), np.uint8), "frame 0 has shape (8, 8, 2)"),
        (np.zeros((0, 8, 3), np.uint8), "frame 0 has shape (0, 8, 3)"),
        (torch.zeros(8, 8, 3), "frame 0 has shape (8, 8, 3); it must be (3, H, W) or (1, 3, H, W)"),
        (torch.zeros(0, 3, 8, 8), "frame 0 has shape (0, 3, 8, 8)"),
        (torch.zeros(2, 3, 3, 8, 8), "frame 0 has shape (2, 3, 3, 8, 8)"),
        (np.full((8, 8, 3), 255, np.float32), "float frames are in [0, 1], but frame 0 reaches 255"),
        (torch.full((3, 8, 8), float("nan")), "frame 0 has nan among its samples; float frames are finite, in [0, 1]"),
    ],
)
def test_wrong_pictures_are_named(picture: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        next(deblur_frames([picture], model=Identity(), **QUICK))
    assert words in str(caught.value)


def test_failures_name_the_picture() -> None:
    with pytest.raises(NetworkError) as caught:
        restore(pictures(6), Failing(4, RuntimeError("bad")))
    assert str(caught.value).startswith("network: frame 4: ")
