"""Register operations: vectors of one SIMD register, for loops over rows of blocks; clamps, reductions, permutes."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from vdeblur.kernels.cpu.jit.vectors import Vector, _broadcaster, _element, _loader, _maximum, _splat, unary_intrinsic
from vdeblur.kernels.cpu.simd import REGISTER

register = Vector(REGISTER)

load, broadcast_register = _loader(register), _broadcaster(register)


@intrinsic
def load_like(typing: Any, address: Any, index: Any, like: Any) -> Any:
    """Load as many numbers as the tuple ``like`` has."""
    kind = Vector(len(like))

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.bitcast(_element(builder, *args[:2]), kind.ir.as_pointer()), align=4)

    return kind(types.intp, types.intp, like), code


@intrinsic
def zeros(typing: Any, like: Any) -> Any:
    """Vector of as many zeros as the tuple ``like`` has numbers."""
    kind = Vector(len(like))

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(kind.ir, None)

    return kind(like), code


@intrinsic
def load_int32(typing: Any, address: Any, index: Any) -> Any:
    """Load one of the int32 that :func:`store_pixel_index` stores."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.bitcast(_element(builder, *args), ir.IntType(32).as_pointer())
        return builder.sext(builder.load(pointer), ir.IntType(64))

    return types.int64(types.intp, types.intp), code


@intrinsic
def store_int32(typing: Any, address: Any, index: Any, value: Any) -> Any:
    """Store an int32, as :func:`load_int32` loads it."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.bitcast(_element(builder, *args[:2]), ir.IntType(32).as_pointer())
        builder.store(builder.trunc(args[2], ir.IntType(32)), pointer)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.int64), code


floor, square_root = unary_intrinsic("floor"), unary_intrinsic("sqrt")


@intrinsic
def horizontal_sum(typing: Any, vector: Any) -> Any:
    """Horizontal sum of a vector, pairwise."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = [builder.extract_element(args[0], ir.Constant(ir.IntType(32), n)) for n in range(vector.count)]
        while len(parts) > 1:
            parts = [builder.fadd(*parts[n : n + 2]) for n in range(0, len(parts), 2)]
        return parts[0]

    return types.float32(vector), code


@intrinsic
def clamp(typing: Any, vector: Any, minimum: Any, maximum: Any) -> Any:
    """Clamp to [``minimum``, ``maximum``]; nan stays nan."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.return_type
        low, high = (_splat(builder, kind, end) for end in args[1:])
        above = builder.select(builder.fcmp_ordered("<", args[0], low), low, args[0])
        return builder.select(builder.fcmp_ordered(">", above, high), high, above)

    return vector(vector, types.float32, types.float32), code


@intrinsic
def clamp_from_zero(typing: Any, vector: Any, maximum: Any) -> Any:
    """Clamp to [0, ``maximum``]; nan becomes 0."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.return_type
        above, high = _maximum(builder, args[0], ir.Constant(kind.ir, None)), _splat(builder, kind, args[1])
        return builder.select(builder.fcmp_ordered("<", above, high), above, high)

    return vector(vector, types.float32), code


@intrinsic
def is_between(typing: Any, vector: Any, minimum: Any, maximum: Any) -> Any:
    """1 where a number lies strictly between ``minimum`` and ``maximum``, else 0."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.return_type
        low, high = (_splat(builder, kind, end) for end in args[1:])
        one, none = _splat(builder, kind, ir.Constant(ir.FloatType(), 1)), ir.Constant(kind.ir, None)
        lower = builder.select(builder.fcmp_ordered("<", args[0], high), one, none)
        return builder.select(builder.fcmp_ordered(">", args[0], low), lower, none)

    return vector(vector, types.float32, types.float32), code


@intrinsic
def deinterleave(typing: Any, a: Any, b: Any, first: Any) -> Any:
    """Every second number of two concatenated vectors, from ``first`` (0 or 1) on."""
    if not isinstance(first, types.IntegerLiteral):
        return None
    numbers = [2 * lane + first.literal_value for lane in range(a.count)]

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.shuffle_vector(*args[:2], ir.Constant(ir.VectorType(ir.IntType(32), a.count), numbers))

    return a(a, b, first), code


@intrinsic
def clamp_max(typing: Any, vector: Any, maximum: Any) -> Any:
    """Clamp from above."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        high = _splat(builder, signature.return_type, args[1])
        return builder.select(builder.fcmp_ordered("<", args[0], high), args[0], high)

    return vector(vector, types.float32), code


@intrinsic
def store_pixel_index(typing: Any, address: Any, index: Any, x: Any, y: Any, width: Any) -> Any:
    """Store the pixel index y · width + x, of vectors of whole numbers, as int32."""

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
