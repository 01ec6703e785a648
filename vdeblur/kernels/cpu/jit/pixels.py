"""Sample conversion: 8- and 16-bit planes to luma, and residuals added to planes, each in one pass.

The twin of :mod:`vdeblur.engine.pixels`, but for fused multiply-adds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from vdeblur.kernels.cpu.jit.vectors import broadcast, load, maximum, minimum, store, unary_intrinsic, wide
from vdeblur.kernels.cpu.simd import LANES

ZERO, ONE = np.float32(0), np.float32(1)


def _pointer(builder: Any, bits: int, address: Any, index: Any) -> Any:
    """Pointer to a vector of integer samples."""
    kind = ir.IntType(bits)
    element = builder.gep(builder.inttoptr(address, kind.as_pointer()), [index])
    return builder.bitcast(element, ir.VectorType(kind, LANES).as_pointer())


def _loader(bits: int) -> Any:
    @intrinsic
    def samples(typing: Any, address: Any, index: Any) -> Any:
        """Load integer samples as float32."""

        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            found = builder.load(_pointer(builder, bits, *args), align=1)
            return builder.sitofp(builder.zext(found, ir.VectorType(ir.IntType(32), LANES)), wide.ir)

        return wide(types.intp, types.intp), code

    return samples


def _storer(bits: int) -> Any:
    @intrinsic
    def write(typing: Any, address: Any, index: Any, vector: Any) -> Any:
        """Store whole numbers as integer samples."""

        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            whole = builder.fptosi(args[2], ir.VectorType(ir.IntType(32), LANES))
            whole = builder.trunc(whole, ir.VectorType(ir.IntType(bits), LANES))
            builder.store(whole, _pointer(builder, bits, *args[:2]), align=1)
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, wide), code

    return write


round_nearest = unary_intrinsic("rint")
_load_uint8, _load_uint16, _store_uint8, _store_uint16 = _loader(8), _loader(16), _storer(8), _storer(16)


def luma(plane, plane_stride, is_16_bit, result, height, width, offset, gain):  # type: ignore[no-untyped-def]
    """(plane − offset) · gain, clamped to [0, 1]; ``plane_stride`` counts samples."""
    zero, one = broadcast(ZERO), broadcast(ONE)
    for row in range(height):
        for first in range(0, width, LANES):
            c = first if first + LANES < width else width - LANES  # the last ones again, where not all lanes are needed
            sample = (
                _load_uint16(plane, row * plane_stride + c) if is_16_bit else _load_uint8(plane, row * plane_stride + c)
            )
            store(result, row * width + c, minimum(maximum((sample - offset) * gain, zero), one))


def add_residual(  # type: ignore[no-untyped-def]
    plane, plane_stride, is_16_bit, residual, residual_stride, result, height, width, gain, peak
):  # fmt: skip
    """plane + residual · gain, rounded and clamped to [0, peak]."""
    zero, most = broadcast(ZERO), broadcast(peak)
    for row in range(height):
        for first in range(0, width, LANES):
            c = first if first + LANES < width else width - LANES
            sample = (
                _load_uint16(plane, row * plane_stride + c) if is_16_bit else _load_uint8(plane, row * plane_stride + c)
            )
            total = sample + load(residual, row * residual_stride + c) * gain
            total = minimum(maximum(round_nearest(total), zero), most)
            if is_16_bit:
                _store_uint16(result, row * width + c, total)
            else:
                _store_uint8(result, row * width + c, total)
