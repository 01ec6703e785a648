"""Samples between the pixels of pictures, the border repeated, at places of their own for each pixel of a vector.

Where motion is smooth, the pixels to the left and right of a register of places lie in a window of two registers, from
which instructions of AVX-512 pick them; elsewhere they are read one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from vdeblur.kernels.cpu.jit.registers import (
    alternate,
    floor,
    from_zero_to,
    least,
    load,
    load_like,
    row,
    store_place,
    whole,
)
from vdeblur.kernels.cpu.jit.vectors import _element, number, part, store
from vdeblur.kernels.cpu.jit.vectors import load as load_wide
from vdeblur.kernels.cpu.simd import LANES, STEP

ONE = np.float32(1)
#: Pixels of a window.
WINDOW = 2 * STEP
#: Whether the processor picks from windows.
_PICKS = STEP == 16


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


def _distances(builder: Any, note: Any, index: Any, first: Any) -> Any:
    """How far behind ``first`` a register of noted corners lies."""
    kind = ir.VectorType(ir.IntType(32), STEP)
    corners = builder.load(builder.bitcast(_element(builder, note, index), kind.as_pointer()), align=4)
    one = builder.insert_element(
        ir.Constant(kind, ir.Undefined), builder.trunc(first, ir.IntType(32)), ir.Constant(ir.IntType(32), 0)
    )
    return builder.sub(corners, builder.shuffle_vector(one, one, ir.Constant(kind, None)))


@intrinsic
def near(typing: Any, note: Any, index: Any, first: Any) -> Any:
    """Whether a register of noted corners, and the pixels to their right, lie in the window from ``first`` on."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if not _PICKS:
            return ir.Constant(ir.IntType(1), 0)
        far = builder.icmp_unsigned(
            ">", _distances(builder, *args), ir.Constant(ir.VectorType(ir.IntType(32), STEP), [WINDOW - 2] * STEP)
        )
        return builder.icmp_unsigned("==", builder.bitcast(far, ir.IntType(STEP)), ir.Constant(ir.IntType(STEP), 0))

    return types.boolean(types.intp, types.intp, types.intp), code


@intrinsic
def picked(typing: Any, picture: Any, at: Any, note: Any, index: Any, first: Any) -> Any:
    """From the window from ``at`` on, the pixels as far behind it as noted corners lie behind ``first``."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if not _PICKS:
            return ir.Constant(row.ir, None)
        picture, at, note, index, first = args
        following = builder.add(at, ir.Constant(at.type, STEP))
        one, other = (
            builder.load(builder.bitcast(_element(builder, picture, each), row.ir.as_pointer()), align=4)
            for each in (at, following)
        )
        places = _distances(builder, note, index, first)
        form = ir.FunctionType(row.ir, [row.ir, places.type, row.ir])
        function = cgutils.get_or_insert_function(builder.module, form, "llvm.x86.avx512.vpermi2var.ps.512")
        return builder.call(function, (one, places, other))

    return row(types.intp, types.intp, types.intp, types.intp, types.intp), code


@part
def fetch(picture, height, width, count, note, to, pairs):  # type: ignore[no-untyped-def]
    """Note the samples of a picture at the noted places, from ``to`` on; what lies from ``pairs`` on is lost."""
    share_y, corner, alone = count * LANES, 2 * count * LANES, 0
    last = (height - 1) * width - WINDOW
    for n in range(0, count * LANES, STEP):
        first = min(whole(note, corner + n), last)
        if near(note, corner + n, first):
            below, part_y = first + width, load(note, share_y + n)
            left = picked(picture, first, note, corner + n, first)
            right = picked(picture, first, note, corner + n, first - 1)
            left = left + (picked(picture, below, note, corner + n, first) - left) * part_y
            right = right + (picked(picture, below, note, corner + n, first - 1) - right) * part_y
            store(note, to + n, left + (right - left) * load(note, n))
        else:
            alone += 1
            for at in range(n, n + STEP):
                place, share = whole(note, corner + at), number(note, share_y + at)
                upper = load_like(picture, place, (0, 0))
                store(note, pairs + 2 * at, upper + (load_like(picture, place + width, (0, 0)) - upper) * share)
    if alone:  # later, when what was written in pairs can be read in registers without waiting for it
        for n in range(0, count * LANES, STEP):
            if not near(note, corner + n, min(whole(note, corner + n), last)):
                one, other = load(note, pairs + 2 * n), load(note, pairs + 2 * n + STEP)
                left = alternate(one, other, 0)
                store(note, to + n, left + (alternate(one, other, 1) - left) * load(note, n))


@part
def sample(note, to, k):  # type: ignore[no-untyped-def]
    """The samples at the offset of number ``k`` of a picture that was fetched."""
    return load_wide(note, to + k * LANES)
