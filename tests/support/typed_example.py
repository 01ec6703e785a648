"""What a type checker must know of the library; test_typing.py has mypy read it, strictly. It is never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from fractions import Fraction
from typing import Any, assert_type

import av
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

import vdeblur
from vdeblur import Deblurrer, Frame, FrameOptions, adeblur_frames, deblur_frames, deblur_streams

Array = npt.NDArray[np.uint8]
TICK = Fraction(1)


def same_type_out(arrays: list[Array], images: Iterator[Image.Image], frames: Iterator[av.VideoFrame]) -> None:
    for picture in deblur_frames(arrays, lookahead=0, channels="bgr"):
        assert_type(picture, Array)
    for image in deblur_frames(images):
        assert_type(image, Image.Image)
    for frame in deblur_frames(frames, progress=lambda now: print(now.frames), stop=lambda: False):
        assert_type(frame, av.VideoFrame)
    for tensor in deblur_frames(torch.zeros(4, 3, 8, 8)):
        assert_type(tensor, torch.Tensor)
    for each in deblur_frames(np.zeros((4, 8, 8, 3), np.uint8)):
        assert_type(each, np.ndarray[Any, np.dtype[Any]])


def options_passed_on(pictures: list[torch.Tensor], options: FrameOptions) -> list[torch.Tensor]:
    return list(deblur_frames(pictures, **options))


def several(left: list[Array], right: list[Array]) -> None:
    for pair in deblur_streams([left, right]):
        assert_type(pair, tuple[Array | None, ...])


def step_by_step(deblurrer: Deblurrer, picture: Array, frame: Frame) -> None:
    assert_type(deblurrer.step(picture), Array | None)
    assert_type(deblurrer.step(frame), Frame | None)
    assert_type(deblurrer.step_many([picture, None]), list[Array | None])


def without_delay(picture: Array, image: Image.Image) -> None:
    deblurrer = Deblurrer("swift", lookahead=0, strength=0.5)
    assert_type(deblurrer.step(picture), Array)
    assert_type(deblurrer.step(image), Image.Image)
    assert_type(Deblurrer(lookahead=1).step(picture), Array | None)
    assert_type(Deblurrer().step(picture), Array | None)
    step_by_step(deblurrer, picture, Frame((), vdeblur.PixelFormat("gray", "gray", 8), vdeblur.Colour(), 0, TICK, 1))


async def in_a_loop(camera: AsyncIterator[Array]) -> None:
    async for picture in adeblur_frames(camera):
        assert_type(picture, Array)


def mistakes() -> None:
    deblur_frames(["clip.mp4"])  # type: ignore[type-var]
    deblur_frames([np.zeros(3)], strenght=1)  # type: ignore[call-overload]
    deblur_frames([np.zeros(3)], channels="yuv")  # type: ignore[call-overload]
    vdeblur.deblur_video("a.mp4", "b.mp4", compare="top")  # type: ignore[arg-type]
