"""Rows of numbers, a register at a time: what loops over cells are written with, where compilers would not dare.

A compiler turns a loop into vector instructions only where it can prove that no array overlaps another one. Here the
kernels say so themselves, with operators on vectors.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from vdeblur.kernels.cpu.jit.vectors import Vector, _element, _filled, _filler, _larger, _loader, instruction
from vdeblur.kernels.cpu.simd import STEP

row = Vector(STEP)

load, fill_row = _loader(row), _filler(row)


@intrinsic
def load_like(typing: Any, address: Any, index: Any, like: Any) -> Any:
    """As many numbers in memory from an index on as there are in the tuple ``like``."""
    kind = Vector(len(like))

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.bitcast(_element(builder, *args[:2]), kind.ir.as_pointer()), align=4)

    return kind(types.intp, types.intp, like), code


@intrinsic
def nothing(typing: Any, like: Any) -> Any:
    """As many zeros as there are numbers in the tuple ``like``."""
    kind = Vector(len(like))

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(kind.ir, None)

    return kind(like), code


@intrinsic
def whole(typing: Any, address: Any, index: Any) -> Any:
    """One of the whole numbers that :func:`store_place` has written to memory."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.bitcast(_element(builder, *args), ir.IntType(32).as_pointer())
        return builder.sext(builder.load(pointer), ir.IntType(64))

    return types.int64(types.intp, types.intp), code


floor, root = instruction("floor"), instruction("sqrt")


@intrinsic
def total(typing: Any, vector: Any) -> Any:
    """The sum of a vector's numbers."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = [builder.extract_element(args[0], ir.Constant(ir.IntType(32), n)) for n in range(vector.count)]
        while len(parts) > 1:
            parts = [builder.fadd(*parts[n : n + 2]) for n in range(0, len(parts), 2)]
        return parts[0]

    return types.float32(vector), code


@intrinsic
def limited(typing: Any, vector: Any, least: Any, most: Any) -> Any:
    """No number below ``least`` or above ``most``; not a number stays what it is."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.return_type
        low, high = (_filled(builder, kind, end) for end in args[1:])
        above = builder.select(builder.fcmp_ordered("<", args[0], low), low, args[0])
        return builder.select(builder.fcmp_ordered(">", above, high), high, above)

    return vector(vector, types.float32, types.float32), code


@intrinsic
def from_zero_to(typing: Any, vector: Any, most: Any) -> Any:
    """No number below 0 or above ``most``; not a number becomes 0."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.return_type
        above, high = _larger(builder, args[0], ir.Constant(kind.ir, None)), _filled(builder, kind, args[1])
        return builder.select(builder.fcmp_ordered("<", above, high), above, high)

    return vector(vector, types.float32), code


@intrinsic
def between(typing: Any, vector: Any, least: Any, most: Any) -> Any:
    """1 where a number lies between two others, else 0."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.return_type
        low, high = (_filled(builder, kind, end) for end in args[1:])
        one, none = _filled(builder, kind, ir.Constant(ir.FloatType(), 1)), ir.Constant(kind.ir, None)
        lower = builder.select(builder.fcmp_ordered("<", args[0], high), one, none)
        return builder.select(builder.fcmp_ordered(">", args[0], low), lower, none)

    return vector(vector, types.float32, types.float32), code


@intrinsic
def alternate(typing: Any, a: Any, b: Any, first: Any) -> Any:
    """Every other one of the numbers of one vector and then another one, from ``first`` on: a vector."""
    if not isinstance(first, types.IntegerLiteral):
        return None
    numbers = [2 * lane + first.literal_value for lane in range(a.count)]

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.shuffle_vector(*args[:2], ir.Constant(ir.VectorType(ir.IntType(32), a.count), numbers))

    return a(a, b, first), code


@intrinsic
def least(typing: Any, vector: Any, most: Any) -> Any:
    """No number above ``most``."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        high = _filled(builder, signature.return_type, args[1])
        return builder.select(builder.fcmp_ordered("<", args[0], high), args[0], high)

    return vector(vector, types.float32), code


@intrinsic
def store_place(typing: Any, address: Any, index: Any, x: Any, y: Any, width: Any) -> Any:
    """Write y · width + x, of vectors of whole numbers, to memory from an index on, as :func:`whole` reads them."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.VectorType(ir.IntType(32), x.count)
        columns, rows = (builder.fptosi(part, kind) for part in args[2:4])
        first = ir.Constant(ir.IntType(32), 0)
        pitch = builder.insert_element(ir.Constant(kind, ir.Undefined), builder.trunc(args[4], ir.IntType(32)), first)
        pitch = builder.shuffle_vector(pitch, pitch, ir.Constant(kind, None))
        place = builder.add(builder.mul(rows, pitch), columns)
        builder.store(place, builder.bitcast(_element(builder, *args[:2]), kind.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, x, y, types.intp), code
