"""Bilinear gather: samples of an image at one position per lane, with border replication.

Where motion is smooth, all pixels of a register of positions lie in a window of two registers, from which AVX-512
permutes (``vpermi2ps``) gather them; elsewhere they are loaded one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from vdeblur.kernels.cpu.jit.registers import (
    clamp_from_zero,
    clamp_max,
    deinterleave,
    floor,
    load,
    load_int32,
    load_like,
    register,
    store_pixel_index,
)
from vdeblur.kernels.cpu.jit.vectors import _element, load_scalar, store, subroutine
from vdeblur.kernels.cpu.jit.vectors import load as load_wide
from vdeblur.kernels.cpu.simd import LANES, REGISTER

ONE = np.float32(1)
#: Pixels of a window.
WINDOW = 2 * REGISTER
#: Whether the CPU can permute two registers by index.
_HAS_PERMUTE = REGISTER == 16


@subroutine
def store_positions(height, width, x, y, step_x, step_y, offsets, count, positions):  # type: ignore[no-untyped-def]
    """Store the sampling positions (x, y) + offset · step for each offset: fractions and pixel indices."""
    right, bottom = np.float32(width - 1), np.float32(height - 1)
    fraction_y, index_row = count * LANES, 2 * count * LANES
    for k in range(0, count * LANES, LANES):
        offset = load_scalar(offsets, k // LANES)
        at_x, at_y = clamp_from_zero(step_x * offset + x, right), clamp_from_zero(step_y * offset + y, bottom)
        floor_x, floor_y = clamp_max(floor(at_x), right - ONE), clamp_max(floor(at_y), bottom - ONE)
        store(positions, k, at_x - floor_x)
        store(positions, fraction_y + k, at_y - floor_y)
        store_pixel_index(positions, index_row + k, floor_x, floor_y, width)


def _window_offsets(builder: Any, positions: Any, index: Any, first: Any) -> Any:
    """Pixel indices of a register of positions, relative to pixel ``first``."""
    kind = ir.VectorType(ir.IntType(32), REGISTER)
    indices = builder.load(builder.bitcast(_element(builder, positions, index), kind.as_pointer()), align=4)
    one = builder.insert_element(
        ir.Constant(kind, ir.Undefined), builder.trunc(first, ir.IntType(32)), ir.Constant(ir.IntType(32), 0)
    )
    return builder.sub(indices, builder.shuffle_vector(one, one, ir.Constant(kind, None)))


@intrinsic
def fits_window(typing: Any, positions: Any, index: Any, first: Any) -> Any:
    """Whether a register of positions, and the pixels to their right, lie in the window at pixel ``first``."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if not _HAS_PERMUTE:
            return ir.Constant(ir.IntType(1), 0)
        far = builder.icmp_unsigned(
            ">",
            _window_offsets(builder, *args),
            ir.Constant(ir.VectorType(ir.IntType(32), REGISTER), [WINDOW - 2] * REGISTER),
        )
        mask = ir.IntType(REGISTER)
        return builder.icmp_unsigned("==", builder.bitcast(far, mask), ir.Constant(mask, 0))

    return types.boolean(types.intp, types.intp, types.intp), code


@intrinsic
def permute_window(typing: Any, image: Any, at: Any, positions: Any, index: Any, first: Any) -> Any:
    """Gather from the window at pixel ``at``, at the positions' indices relative to pixel ``first``."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if not _HAS_PERMUTE:
            return ir.Constant(register.ir, None)
        image, at, positions, index, first = args
        following = builder.add(at, ir.Constant(at.type, REGISTER))
        one, other = (
            builder.load(builder.bitcast(_element(builder, image, each), register.ir.as_pointer()), align=4)
            for each in (at, following)
        )
        places = _window_offsets(builder, positions, index, first)
        form = ir.FunctionType(register.ir, [register.ir, places.type, register.ir])
        function = cgutils.get_or_insert_function(builder.module, form, "llvm.x86.avx512.vpermi2var.ps.512")
        return builder.call(function, (one, places, other))

    return register(types.intp, types.intp, types.intp, types.intp, types.intp), code


@subroutine
def sample_bilinear(image, height, width, count, positions, samples, columns):  # type: ignore[no-untyped-def]
    """Gather bilinear samples of an image at stored positions into ``samples``; ``columns`` is scratch memory."""
    fraction_y, index_row, outside = count * LANES, 2 * count * LANES, 0
    last = (height - 1) * width - WINDOW
    for n in range(0, count * LANES, REGISTER):
        first = min(load_int32(positions, index_row + n), last)
        if fits_window(positions, index_row + n, first):
            below, fraction = first + width, load(positions, fraction_y + n)
            left = permute_window(image, first, positions, index_row + n, first)
            right = permute_window(image, first, positions, index_row + n, first - 1)
            left = left + (permute_window(image, below, positions, index_row + n, first) - left) * fraction
            right = right + (permute_window(image, below, positions, index_row + n, first - 1) - right) * fraction
            store(positions, samples + n, left + (right - left) * load(positions, n))
        else:
            outside += 1
            for at in range(n, n + REGISTER):
                pixel, weight = load_int32(positions, index_row + at), load_scalar(positions, fraction_y + at)
                upper = load_like(image, pixel, (0, 0))
                store(positions, columns + 2 * at, upper + (load_like(image, pixel + width, (0, 0)) - upper) * weight)
    if outside:  # in a second pass, so that wide loads need not wait for the narrow stores (store forwarding)
        for n in range(0, count * LANES, REGISTER):
            if not fits_window(positions, index_row + n, min(load_int32(positions, index_row + n), last)):
                one, other = load(positions, columns + 2 * n), load(positions, columns + 2 * n + REGISTER)
                left = deinterleave(one, other, 0)
                store(positions, samples + n, left + (deinterleave(one, other, 1) - left) * load(positions, n))


@subroutine
def load_sample(positions, samples, k):  # type: ignore[no-untyped-def]
    """Load the samples at offset ``k``."""
    return load_wide(positions, samples + k * LANES)
