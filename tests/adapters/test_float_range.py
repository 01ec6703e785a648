"""Float pictures: every one is checked, and the message says what is wrong with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from support.doubles import Constant, clip
from support.drifting_pictures import QUICK, pictures
from support.engines import on_cpu
from vdeblur import Deblurrer, SourceError, UsageError, deblur_frames, deblur_streams
from vdeblur.frames import PixelFormat

SHAPE = (12, 16, 3)


def wrong(change: Any) -> list[np.ndarray]:
    """Five pictures, of which the fourth is changed."""
    frames = pictures(5, SHAPE, np.float32)
    frames[3] = change(frames[3].copy())
    return frames


def with_one(value: float) -> Any:
    def change(picture: np.ndarray) -> np.ndarray:
        picture[5, 5, 1] = value
        return picture

    return change


CASES = {
    "nan": (with_one(float("nan")), "frame 3 has nan among its samples; float frames are finite, in [0, 1]"),
    "inf": (with_one(float("inf")), "frame 3 has inf among its samples; float frames are finite, in [0, 1]"),
    "-inf": (with_one(-float("inf")), "frame 3 has inf among"),
    "255": (lambda p: p * 255, "in [0, 1], but frame 3 reaches 191."),
    "1023": (lambda p: p * 1023, "; divide it by 1023"),
    "65535": (lambda p: p * 65535, "divide it by 65535"),
    "1e6": (lambda p: p * 1e6, "; scale it"),
    "-1 to 1": (lambda p: p * 2 - 1 - p[0, 0], "but frame 3 goes down to -1"),
    "-128 to 127": (lambda p: p * 255 - 128, "scale it"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["float32", "float16", "float64", "torch.float32", "torch.bfloat16"])
def test_each_is_named_with_its_number_and_what_is_wrong(case: str, kind: str) -> None:
    change, words = CASES[case]
    if "16" in kind and case in ("65535", "1e6", "255", "1023"):
        pytest.skip("beyond what it holds, or rounded")
    frames: list[Any] = wrong(change)
    if kind.startswith("torch"):
        frames = [torch.from_numpy(p).permute(2, 0, 1).to(getattr(torch, kind.removeprefix("torch."))) for p in frames]
    else:
        frames = [p.astype(kind) for p in frames]
    with pytest.raises(UsageError) as caught:
        list(deblur_frames(iter(frames), model=Constant(0.1), **QUICK))
    assert words in str(caught.value)
    assert case != "255" or str(caught.value).endswith("; divide it by 255")


def test_black_ones_before_do_not_hide_it() -> None:
    frames = [np.zeros(SHAPE, np.float32), *(p * 255 for p in pictures(3, SHAPE, np.float32))]
    with pytest.raises(UsageError, match="frame 1 reaches"):
        list(deblur_frames(frames, model=Constant(0.1), **QUICK))
    deblurrer = Deblurrer(Constant(0.1), lookahead=0, **QUICK)
    deblurrer.step(frames[0])
    with pytest.raises(UsageError, match="frame 1 reaches"):
        deblurrer.step(frames[1])
    with pytest.raises(UsageError, match=r"stream 1: .*frame 1 reaches"):
        list(deblur_streams([pictures(2, SHAPE, np.float32), frames], model=Constant(0.1), **QUICK))


def test_a_little_beyond_is_taken() -> None:
    frames = [p * 1.6 - 0.5 for p in pictures(3, SHAPE, np.float32)]
    assert min(p.min() for p in frames) < 0
    assert len(list(deblur_frames(frames, model=Constant(0.1), **QUICK))) == 3


def test_nan_in_a_file_is_not_the_networks_fault() -> None:
    frames = list(clip(4, pixel_format=PixelFormat("gbrpf32le", "rgb", 32)))
    frames[2].planes[1][3, 3] = np.nan
    with pytest.raises(SourceError, match=r"network at 0\.080 s: the picture has nan or inf among its samples"):
        list(on_cpu(Constant(0.1)).run(frames))
