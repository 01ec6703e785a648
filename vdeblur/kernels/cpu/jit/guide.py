"""Inputs of the guide's convolutions: the picture at half the resolution, and the state warped along the flow.

The twins of the functions of :mod:`vdeblur.model.guide.inputs`. ``short``: that image is of bfloat16 numbers.
"""

from __future__ import annotations

import numpy as np

from vdeblur.kernels.cpu.jit.vectors import (
    broadcast4,
    load4,
    load_scalar,
    load_short,
    store,
    store_scalar,
    store_short,
    subroutine,
)  # fmt: skip
from vdeblur.kernels.inputs import GUIDE_CHANNELS, GUIDE_CHROMA_GAIN

ZERO, HALF = np.float32(0), np.float32(0.5)
#: A pixel of the half resolution in blocks of the flow.
PER_BLOCK = np.float32(0.25)
#: Factor on chroma.
CHROMA_GAIN = np.float32(GUIDE_CHROMA_GAIN)


@subroutine
def clipped(value, most):  # type: ignore[no-untyped-def]
    """A position within 0 … ``most``; anything that is no number becomes 0."""
    return min(max(value, ZERO), most) if value > ZERO else ZERO


@subroutine
def put(image, index, value, short):  # type: ignore[no-untyped-def]
    """Store a number."""
    if short:
        store_short(image, index, value)
    else:
        store_scalar(image, index, value)


@subroutine
def taken(image, index, short):  # type: ignore[no-untyped-def]
    """Load a number."""
    return load_short(image, index) if short else load_scalar(image, index)


@subroutine
def between(image, at, below, right, across, down):  # type: ignore[no-untyped-def]
    """Bilinear mean of four samples: at an index, so far to the right, and so far below."""
    upper, lower = load_scalar(image, at), load_scalar(image, at + below)
    upper += (load_scalar(image, at + right) - upper) * across
    lower += (load_scalar(image, at + below + right) - lower) * across
    return upper + (lower - upper) * down


@subroutine
def sample(image, height, width, x, y):  # type: ignore[no-untyped-def]
    """Bilinear sample of an image, its border replicated."""
    x, y = clipped(x, np.float32(width - 1)), clipped(y, np.float32(height - 1))
    left, top = int(x), int(y)
    right, below = min(1, width - 1 - left), min(1, height - 1 - top)
    return between(image, top * width + left, below * width, right, x - np.float32(left), y - np.float32(top))


@subroutine
def store_warped(  # type: ignore[no-untyped-def]
    luma, chroma, before_luma, before_chroma, result, at, row, column, height, width, x, y, short
):  # fmt: skip
    """Store how the previous guide differs: luma of four pixels, then Cb and Cr, at a displacement (x, y) in pixels."""
    wide, tall = 2 * width, 2 * height
    pixel = 2 * (row * wide + column)
    far_x, far_y = np.float32(2 * column) + x, np.float32(2 * row) + y
    inside = far_x >= ZERO and far_y >= ZERO and far_x < np.float32(wide - 2) and far_y < np.float32(tall - 2)
    if inside:
        left, top = int(far_x), int(far_y)
        across, down = far_x - np.float32(left), far_y - np.float32(top)
        place = top * wide + left
        for part in range(4):
            step = part // 2 * wide + part % 2
            value = between(before_luma, place + step, wide, 1, across, down)
            put(result, at + part, value - load_scalar(luma, pixel + step), short)
    else:
        for part in range(4):
            value = sample(before_luma, tall, wide, far_x + np.float32(part % 2), far_y + np.float32(part // 2))
            put(result, at + part, value - load_scalar(luma, pixel + part // 2 * wide + part % 2), short)
    small, pixel = height * width, row * width + column
    near_x, near_y = np.float32(column) + x * HALF, np.float32(row) + y * HALF
    for plane in range(2):
        value = sample(before_chroma + 4 * plane * small, height, width, near_x, near_y)
        put(result, at + 4 + plane, (value - load_scalar(chroma, plane * small + pixel)) * CHROMA_GAIN, short)


def guide_inputs(  # type: ignore[no-untyped-def]
    luma, chroma, detail, before_luma, before_chroma, flow, certainty, noise, noise_levels, result, first, last, height,
    width, quantiser, short
):  # fmt: skip
    """Rows ``first`` to ``last`` of ``height`` × ``width`` pixels of half the resolution, 16 channels each.

    ``detail``, and what is of the state before, may be 0: there is none. ``noise``: at levels of luma from 0 to 1.
    """
    brightest = np.float32(noise_levels - 1)
    rows, columns = height // 4, width // 4
    blocks = rows * columns
    for row in range(first, last):
        down = clipped((np.float32(row) + HALF) * PER_BLOCK - HALF, np.float32(rows - 1))
        upper = int(down)
        share_down = down - np.float32(upper)
        upper_line = upper * columns
        below = min(upper + 1, rows - 1) * columns - upper_line
        for column in range(width):
            at, pixel = ((row - first) * width + column) * GUIDE_CHANNELS, row * width + column
            total = ZERO
            for part in range(4):
                value = load_scalar(luma, (2 * row + part // 2) * 2 * width + 2 * column + part % 2)
                put(result, at + part, value - HALF, short)
                total += value
            for plane in range(2):
                value = load_scalar(chroma, plane * height * width + pixel)
                put(result, at + 4 + plane, value * CHROMA_GAIN, short)
            put(result, at + 13, load_scalar(detail, pixel) if detail else ZERO, short)
            level = int(clipped(total * PER_BLOCK * brightest + HALF, brightest))
            put(result, at + 14, load_scalar(noise, level), short)
            put(result, at + 15, quantiser, short)
            across = clipped((np.float32(column) + HALF) * PER_BLOCK - HALF, np.float32(columns - 1))
            left = int(across)
            share, right, block = across - np.float32(left), min(1, columns - 1 - left), upper_line + left
            known = between(certainty, block, below, right, share, share_down) if certainty else ZERO
            put(result, at + 12, known, short)
            if known > ZERO:
                x = between(flow, block, below, right, share, share_down)
                y = between(flow + 4 * blocks, block, below, right, share, share_down)
                store_warped(
                    luma, chroma, before_luma, before_chroma, result, at + 6, row, column, height, width, x, y, short
                )  # fmt: skip
            else:
                for part in range(6, 12):
                    put(result, at + part, ZERO, short)


def apply_change(  # type: ignore[no-untyped-def]
    luma, chroma, change, used, new_luma, new_chroma, first, last, start, height, width, chroma_share, short
):  # fmt: skip
    """Rows ``first`` to ``last`` of half the resolution, changed; ``change`` begins at row ``start``, 8 channels."""
    share = load_scalar(used, 0)
    small, count = height * width, (last - first) * width
    for row in range(first, last):
        for column in range(width):
            at, pixel = ((row - start) * width + column) * 8, 2 * (2 * row * width + column)
            new = pixel - 4 * first * width
            for part in range(4):
                step = part // 2 * 2 * width + part % 2
                value = load_scalar(luma, pixel + step) + share * taken(change, at + part, short)
                store_scalar(new_luma, new + step, value)
            place = row * width + column
            for plane in range(2):
                value = taken(change, at + 4 + plane, short) * chroma_share
                value = load_scalar(chroma, plane * small + place) + share * value
                store_scalar(new_chroma, plane * count + place - first * width, value)


def hidden_before(  # type: ignore[no-untyped-def]
    hidden, flow, certainty, result, channels, height, width, rows, columns, short
):  # fmt: skip
    """The hidden state, ``height`` × ``width`` pixels with ``channels`` each, a multiple of 4, as the frame sees it.

    ``flow``, in pixels of the whole picture, and ``certainty`` are half as large.
    """
    blocks = rows * columns
    for row in range(height):
        down = clipped((np.float32(row) + HALF) * HALF - HALF, np.float32(rows - 1))
        upper = int(down)
        share_down = down - np.float32(upper)
        below = min(upper + 1, rows - 1) * columns - upper * columns
        for column in range(width):
            at = (row * width + column) * channels
            across = clipped((np.float32(column) + HALF) * HALF - HALF, np.float32(columns - 1))
            left = int(across)
            share, right, block = across - np.float32(left), min(1, columns - 1 - left), upper * columns + left
            known = between(certainty, block, below, right, share, share_down) > ZERO
            x = between(flow, block, below, right, share, share_down) * PER_BLOCK
            y = between(flow + 4 * blocks, block, below, right, share, share_down) * PER_BLOCK
            x = clipped(np.float32(column) + x, np.float32(width - 1))
            y = clipped(np.float32(row) + y, np.float32(height - 1))
            place = (int(y) * width + int(x)) * channels
            beside = min(1, width - 1 - int(x)) * channels
            under = min(1, height - 1 - int(y)) * width * channels
            to_right, to_below = x - np.float32(int(x)), y - np.float32(int(y))
            for channel in range(0, channels, 4):
                value = broadcast4(ZERO)
                if known:
                    here = place + channel
                    value, low = load4(hidden, here), load4(hidden, here + under)
                    value = value + (load4(hidden, here + beside) - value) * to_right
                    low = low + (load4(hidden, here + under + beside) - low) * to_right
                    value = value + (low - value) * to_below
                if short:
                    store_short(result, at + channel, value)
                else:
                    store(result, at + channel, value)
