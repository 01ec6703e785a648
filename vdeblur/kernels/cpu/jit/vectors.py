"""SIMD vectors: a Numba type of float32 lanes with loads, stores and arithmetic, lowered to LLVM vector instructions.

Explicit, since auto-vectorisation needs a proof that no two arrays overlap.

Memory is float32 at an address (``Tensor.data_ptr()``), without the reference counting of arrays. The caller keeps the
tensors alive, contiguous and large enough.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from vdeblur.kernels.cpu.compiling import OPTIONS
from vdeblur.kernels.cpu.simd import LANES

#: Decorator of a function that kernels call: compiled into each of them, without a Python wrapper.
subroutine: Callable[[Any], Any] = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)


class Vector(types.Type):  # type: ignore[misc]
    """Numba type of ``count`` float32 lanes; within kernels only."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(name=f"Vector({count})")

    @property
    def ir(self) -> ir.VectorType:
        return ir.VectorType(ir.FloatType(), self.count)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, kind.ir)


#: Two registers of AVX2 or AVX-512; a row of an 8×8 block; a row of a 4×4 square.
wide, eight, four = Vector(LANES), Vector(8), Vector(4)


def _element(builder: Any, address: Any, index: Any) -> Any:
    """Pointer to the float32 at an index."""
    return builder.gep(builder.inttoptr(address, ir.FloatType().as_pointer()), [index])


def _splat(builder: Any, kind: Vector, number: Any) -> Any:
    empty = ir.Constant(kind.ir, ir.Undefined)
    first = builder.insert_element(empty, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), kind.count), None))


def _loader(kind: Vector) -> Any:
    @intrinsic
    def load(typing: Any, address: Any, index: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(builder.bitcast(_element(builder, *args), kind.ir.as_pointer()), align=4)

        return kind(types.intp, types.intp), code

    return load


def _broadcaster(kind: Vector) -> Any:
    @intrinsic
    def fill(typing: Any, number: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return _splat(builder, kind, args[0])

        return kind(types.float32), code

    return fill


#: ``load(address, index)``: a vector from memory, unaligned.
load, load8, load4 = _loader(wide), _loader(eight), _loader(four)
#: ``broadcast(number)``: a scalar in all lanes.
broadcast, broadcast8, broadcast4 = _broadcaster(wide), _broadcaster(eight), _broadcaster(four)


@intrinsic
def load4_bf16(typing: Any, address: Any, index: Any) -> Any:
    """Load four bfloat16 numbers as float32; the index counts float32."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        short, whole = (ir.VectorType(ir.IntType(bits), four.count) for bits in (16, 32))
        words = builder.load(builder.bitcast(_element(builder, *args), short.as_pointer()), align=2)
        bits = builder.shl(builder.zext(words, whole), ir.Constant(whole, [16] * four.count))
        return builder.bitcast(bits, four.ir)

    return four(types.intp, types.intp), code


@intrinsic
def load_broadcast(typing: Any, address: Any, index: Any) -> Any:
    """Load a scalar and broadcast it to a wide vector."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _splat(builder, wide, builder.load(_element(builder, *args)))

    return wide(types.intp, types.intp), code


@intrinsic
def load_scalar(typing: Any, address: Any, index: Any) -> Any:
    """Load a scalar."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_element(builder, *args))

    return types.float32(types.intp, types.intp), code


@intrinsic
def store_scalar(typing: Any, address: Any, index: Any, value: Any) -> Any:
    """Store a scalar."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _element(builder, *args[:2]))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.float32), code


def _short(builder: Any, address: Any, index: Any) -> Any:
    """Pointer to the bfloat16 number at an index."""
    return builder.gep(builder.inttoptr(address, ir.IntType(16).as_pointer()), [index])


@intrinsic
def load_short(typing: Any, address: Any, index: Any) -> Any:
    """Load a bfloat16 number as float32; the index counts bfloat16."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = builder.zext(builder.load(_short(builder, *args)), ir.IntType(32))
        return builder.bitcast(builder.shl(bits, ir.Constant(ir.IntType(32), 16)), ir.FloatType())

    return types.float32(types.intp, types.intp), code


@intrinsic
def store_short(typing: Any, address: Any, index: Any, value: Any) -> Any:
    """Store a number, or four, as bfloat16, rounded to the nearest, ties to even; the index counts bfloat16."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        whole, half = ir.IntType(32), ir.IntType(16)
        pointer = _short(builder, *args[:2])
        if isinstance(signature.args[2], Vector):
            whole, half = (ir.VectorType(each, signature.args[2].count) for each in (whole, half))
            pointer = builder.bitcast(pointer, half.as_pointer())

        def number(value: int) -> ir.Constant:
            return ir.Constant(whole, [value] * whole.count if isinstance(whole, ir.VectorType) else value)

        bits = builder.bitcast(args[2], whole)
        odd = builder.and_(builder.lshr(bits, number(16)), number(1))
        bits = builder.add(bits, builder.add(odd, number(0x7FFF)))
        builder.store(builder.trunc(builder.lshr(bits, number(16)), half), pointer, align=2)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, value), code


@intrinsic
def store(typing: Any, address: Any, index: Any, vector: Any) -> Any:
    """Store a vector, unaligned."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.bitcast(_element(builder, *args[:2]), signature.args[2].ir.as_pointer())
        builder.store(args[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, vector), code


def _overload_operator(operation: Any, make: Callable[[Any, Any, Any], Any]) -> None:
    """Overload a binary operator for vectors, and for a vector and a scalar."""

    def typed(self: Any, args: Any, kws: Any) -> Any:
        kinds = {kind for kind in args if isinstance(kind, Vector)}
        if len(args) == 2 and len(kinds) == 1 and all(isinstance(kind, (Vector, types.Float)) for kind in args):
            (kind,) = kinds
            return signature(kind, *(one if isinstance(one, Vector) else types.float32 for one in args))
        return None

    infer_global(operation)(type("OnVectors", (AbstractTemplate,), {"key": operation, "generic": typed}))

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = sig.return_type
        parts = (
            part if isinstance(one, Vector) else _splat(builder, kind, part)
            for part, one in zip(args, sig.args, strict=True)
        )
        return make(builder, *parts)

    for one, other in ((Vector, Vector), (Vector, types.Float), (types.Float, Vector)):
        lower_builtin(operation, one, other)(code)


_overload_operator(operator.add, lambda builder, a, b: builder.fadd(a, b))
_overload_operator(operator.sub, lambda builder, a, b: builder.fsub(a, b))
_overload_operator(operator.mul, lambda builder, a, b: builder.fmul(a, b))
_overload_operator(operator.truediv, lambda builder, a, b: builder.fdiv(a, b))


def unary_intrinsic(name: str) -> Any:
    """Intrinsic for a unary LLVM instruction on vectors."""

    @intrinsic
    def called(typing: Any, vector: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = signature.return_type.ir
            full = f"llvm.{name}.v{signature.return_type.count}f32"
            function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), full)
            return builder.call(function, args)

        return vector(vector), code

    return called


#: Absolute value.
absolute = unary_intrinsic("fabs")


def _binary_intrinsic(operate: Callable[[Any, Any, Any], Any]) -> Any:
    @intrinsic
    def joined(typing: Any, a: Any, b: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return operate(builder, *args)

        return a(a, b), code

    return joined


def _maximum(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _minimum(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


#: Lane-wise maximum and minimum; the second operand where either is nan.
maximum, minimum = _binary_intrinsic(_maximum), _binary_intrinsic(_minimum)


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Fused multiply-add: a · b + c, rounded once."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.return_type.ir
        name = f"llvm.fma.v{signature.return_type.count}f32"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
        return builder.call(function, args)

    return a(a, b, c), code


def _bitwise_intrinsic(make: Callable[[Any, Any, ir.VectorType], Any]) -> Any:
    """Intrinsic on the bit patterns of positive numbers."""

    @intrinsic
    def called(typing: Any, vector: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            whole = ir.VectorType(ir.IntType(32), signature.return_type.count)
            return make(builder, builder.bitcast(args[0], whole), whole)

        return vector(vector), code

    return called


def _constant(whole: ir.VectorType, value: int) -> ir.Constant:
    return ir.Constant(whole, [value] * whole.count)


def _exponent(builder: Any, bits: Any, whole: ir.VectorType) -> Any:
    power = builder.sub(builder.lshr(bits, _constant(whole, 23)), _constant(whole, 127))
    return builder.sitofp(power, ir.VectorType(ir.FloatType(), whole.count))


def _mantissa(builder: Any, bits: Any, whole: ir.VectorType) -> Any:
    part = builder.or_(builder.and_(bits, _constant(whole, 0x7FFFFF)), _constant(whole, 0x3F800000))
    return builder.bitcast(part, ir.VectorType(ir.FloatType(), whole.count))


#: A positive number is ``mantissa``, in [1, 2), times 2 to the power of ``exponent``.
exponent, mantissa = _bitwise_intrinsic(_exponent), _bitwise_intrinsic(_mantissa)
