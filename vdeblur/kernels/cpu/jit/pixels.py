"""Samples of planes as luma, and corrections added to them: each in one pass over the picture.

The same as :mod:`vdeblur.engine.pixels` does, but that a product and its sum are rounded once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from vdeblur.kernels.cpu.jit.vectors import fill, instruction, larger, load, smaller, store, wide
from vdeblur.kernels.cpu.simd import LANES

ZERO, ONE = np.float32(0), np.float32(1)


def _pointer(builder: Any, bits: int, address: Any, index: Any) -> Any:
    """To samples of so many bits."""
    kind = ir.IntType(bits)
    element = builder.gep(builder.inttoptr(address, kind.as_pointer()), [index])
    return builder.bitcast(element, ir.VectorType(kind, LANES).as_pointer())


def _sampler(bits: int) -> Any:
    @intrinsic
    def samples(typing: Any, address: Any, index: Any) -> Any:
        """Samples in memory from an index on, as numbers."""

        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            found = builder.load(_pointer(builder, bits, *args), align=1)
            return builder.sitofp(builder.zext(found, ir.VectorType(ir.IntType(32), LANES)), wide.ir)

        return wide(types.intp, types.intp), code

    return samples


def _writer(bits: int) -> Any:
    @intrinsic
    def write(typing: Any, address: Any, index: Any, vector: Any) -> Any:
        """Whole numbers from 0 to the largest sample to memory from an index on."""

        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            whole = builder.fptosi(args[2], ir.VectorType(ir.IntType(32), LANES))
            whole = builder.trunc(whole, ir.VectorType(ir.IntType(bits), LANES))
            builder.store(whole, _pointer(builder, bits, *args[:2]), align=1)
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, wide), code

    return write


rounded = instruction("rint")
_bytes, _words, _write_bytes, _write_words = _sampler(8), _sampler(16), _writer(8), _writer(16)


def luma(plane, plane_row, words, result, height, width, offset, gain):  # type: ignore[no-untyped-def]
    """(plane − offset) · gain in [0, 1]; ``plane_row`` samples lie from row to row, of 16 bits where ``words``."""
    zero, one = fill(ZERO), fill(ONE)
    for row in range(height):
        for first in range(0, width, LANES):
            c = first if first + LANES < width else width - LANES  # the last ones again, where not all lanes are needed
            sample = _words(plane, row * plane_row + c) if words else _bytes(plane, row * plane_row + c)
            store(result, row * width + c, smaller(larger((sample - offset) * gain, zero), one))


def corrected(  # type: ignore[no-untyped-def]
    plane, plane_row, words, change, change_row, result, height, width, gain, peak
):  # fmt: skip
    """plane + change · gain, rounded and limited to what samples can hold."""
    zero, most = fill(ZERO), fill(peak)
    for row in range(height):
        for first in range(0, width, LANES):
            c = first if first + LANES < width else width - LANES
            sample = _words(plane, row * plane_row + c) if words else _bytes(plane, row * plane_row + c)
            total = sample + load(change, row * change_row + c) * gain
            total = smaller(larger(rounded(total), zero), most)
            if words:
                _write_words(result, row * width + c, total)
            else:
                _write_bytes(result, row * width + c, total)
