"""Samples between the pixels of pictures, the border repeated, at places of their own for each pixel of a vector."""

from __future__ import annotations

import numpy as np

from vdeblur.native.code.rows import alternate, floor, from_zero_to, least, load_like, store_place, whole
from vdeblur.native.code.vectors import load, number, part, store
from vdeblur.native.processor import LANES

ONE = np.float32(1)


@part
def find(height, width, x, y, step_x, step_y, offsets, count, note):  # type: ignore[no-untyped-def]
    """Note where pixels look: at their place + each offset · step."""
    right, bottom = np.float32(width - 1), np.float32(height - 1)
    share_y, corner = count * LANES, 2 * count * LANES
    for k in range(0, count * LANES, LANES):
        offset = number(offsets, k // LANES)
        at_x, at_y = from_zero_to(step_x * offset + x, right), from_zero_to(step_y * offset + y, bottom)
        whole_x, whole_y = least(floor(at_x), right - ONE), least(floor(at_y), bottom - ONE)
        store(note, k, at_x - whole_x)
        store(note, share_y + k, at_y - whole_y)
        store_place(note, corner + k, whole_x, whole_y, width)


@part
def fetch(picture, width, count, note, joined):  # type: ignore[no-untyped-def]
    """Join what lies above and below of the noted places: two columns of pixels, from ``joined`` on in the note."""
    share_y, corner = count * LANES, 2 * count * LANES
    for n in range(count * LANES):
        at, share = whole(note, corner + n), number(note, share_y + n)
        upper = load_like(picture, at, (0, 0))
        store(note, joined + 2 * n, upper + (load_like(picture, at + width, (0, 0)) - upper) * share)


@part
def sample(note, joined, k):  # type: ignore[no-untyped-def]
    """The samples at the offset of number ``k`` of a picture that was fetched."""
    one, other = load(note, joined + 2 * k * LANES), load(note, joined + (2 * k + 1) * LANES)
    left = alternate(one, other, 0)
    return left + (alternate(one, other, 1) - left) * load(note, k * LANES)
