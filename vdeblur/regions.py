"""Regions to keep: how people say which parts of a picture are to be left as they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

#: A rectangle: column and row of its top left corner, width, height, in pixels.
Rectangle = tuple[int, int, int, int]
#: "none", or rectangles and paths of mask pictures; text is parsed.
KeepSetting = str | tuple[Rectangle | str, ...]
#: No region.
NONE = "none"
#: Endings of mask pictures.
MASK_ENDINGS = (".png", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".jpg", ".jpeg")
#: How messages end.
BOUNDS = "none, rectangles of whole pixels X,Y,WIDTH,HEIGHT, or a mask picture like mask.png"

_NUMBERS = re.compile(r"\s*(\d{1,7})\s*,\s*(\d{1,7})\s*,\s*(\d{1,7})\s*,\s*(\d{1,7})\s*")


def keep_setting(value: Any) -> KeepSetting:
    """The usual form of a setting: "none", or a tuple of rectangles and paths.

    Args:
        value: "none", "10,20,100,40", "mask.png", a rectangle of four whole numbers, or a sequence of such.

    Raises:
        ValueError: it is none of these.
    """
    if value in (NONE, None, ()):
        return NONE
    if _is_rectangle(value) or isinstance(value, str) or not isinstance(value, Sequence):
        value = (value,)
    return tuple(_region(each) for each in value) or NONE


def _region(value: Any) -> Rectangle | str:
    if isinstance(value, str):
        found = _NUMBERS.fullmatch(value)
        if found is None:
            if value.lower().endswith(MASK_ENDINGS):
                return value
            raise ValueError(f"{value!r} is neither a rectangle nor a picture")
        value = tuple(int(number) for number in found.groups())
    if not _is_rectangle(value):
        raise ValueError(f"{value!r} is no rectangle")
    x, y, width, height = value
    if min(x, y) < 0 or min(width, height) < 1:
        raise ValueError(f"{value!r} is empty, or begins outside of the picture")
    return int(x), int(y), int(width), int(height)


def _is_rectangle(value: Any) -> bool:
    numbers = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 4
    return numbers and all(isinstance(each, int) and not isinstance(each, bool) for each in value)
