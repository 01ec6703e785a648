"""Pillow adapter: PIL images as frames and back. Pillow is never imported: a caller with an image has loaded it."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np

from vdeblur.adapters.arrays import ArrayAdapter
from vdeblur.errors import UsageError
from vdeblur.frames import Frame, PixelFormat

#: Modes that are restored as they are, and what to do with others.
MODES = ("L", "LA", "RGB", "RGBA", "I;16")
_CONVERT = {"1": "L", "PA": "RGBA"} | dict.fromkeys(("P", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"), "RGB")
_ADAPTER = ArrayAdapter()
_GREY_ALPHA = PixelFormat("ya8", "gray", 8, alpha=True)


def is_image(picture: Any) -> bool:
    """Whether it is a ``PIL.Image.Image``."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(picture, pillow.Image)


def frame_of_image(image: Any, number: int) -> Frame:
    """Convert an image to frame number ``number``. Alpha passes through unchanged.

    Raises:
        UsageError: the mode is not one of MODES; the message says what to convert to.
    """
    if image.mode not in MODES:
        wanted = _CONVERT.get(image.mode)
        remedy = f"convert it with image.convert({wanted!r})" if wanted else f"it must be {', '.join(MODES)}"
        raise UsageError(f"frame {number} is an image of mode {image.mode}; {remedy}")
    samples = np.asarray(image)
    if image.mode == "LA":
        grey = _ADAPTER.frame(samples[..., 0], number)
        return replace(grey, planes=(*grey.planes, samples[..., 1]), format=_GREY_ALPHA)
    return _ADAPTER.frame(samples, number)


def image_of(frame: Frame, like: Any) -> Any:
    """Convert a frame to a new image with the mode, size and info (ICC profile, EXIF, resolution …) of ``like``."""
    samples = np.array(like)
    if like.mode == "LA":
        samples[..., 0] = frame.planes[0]
    else:
        samples = _ADAPTER.picture(frame, like=samples)
    made = sys.modules["PIL.Image"].fromarray(samples)
    made.info = dict(like.info)
    return made
