"""Vectors: a few numbers at a time as one value, for kernels that are compiled for the processor at hand.

Compilers turn loops into vector instructions where they can prove that they may; here the kernels say it.

Memory is float32, at an address (``Tensor.data_ptr()``): kernels that pass arrays on would count references to them all
the time. Who calls a kernel keeps the tensors, and sees to it that they are contiguous and large enough.
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

#: A part of kernels, compiled with each of them.
part: Callable[[Any], Any] = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)


class Vector(types.Type):  # type: ignore[misc]
    """Type of ``count`` float32 numbers at a time; only within kernels."""

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


#: As many numbers as a processor with AVX2 or AVX-512 works on at a time, a row of a cell of pixels, and of a square.
wide, eight, four = Vector(LANES), Vector(8), Vector(4)


def _element(builder: Any, address: Any, index: Any) -> Any:
    """Pointer to a number in memory."""
    return builder.gep(builder.inttoptr(address, ir.FloatType().as_pointer()), [index])


def _filled(builder: Any, kind: Vector, number: Any) -> Any:
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


def _filler(kind: Vector) -> Any:
    @intrinsic
    def fill(typing: Any, number: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return _filled(builder, kind, args[0])

        return kind(types.float32), code

    return fill


#: ``load(address, index)``: the numbers in memory from an index on.
load, load_eight, load_four = _loader(wide), _loader(eight), _loader(four)
#: ``fill(number)``: it in all lanes.
fill, fill_eight = _filler(wide), _filler(eight)


@intrinsic
def load_four_rounded(typing: Any, address: Any, index: Any) -> Any:
    """Four bfloat16 numbers, which have the room of two, in memory from an index on."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        short, whole = (ir.VectorType(ir.IntType(bits), four.count) for bits in (16, 32))
        words = builder.load(builder.bitcast(_element(builder, *args), short.as_pointer()), align=2)
        bits = builder.shl(builder.zext(words, whole), ir.Constant(whole, [16] * four.count))
        return builder.bitcast(bits, four.ir)

    return four(types.intp, types.intp), code


@intrinsic
def fill_from(typing: Any, address: Any, index: Any) -> Any:
    """One number in memory in all lanes of a wide vector."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _filled(builder, wide, builder.load(_element(builder, *args)))

    return wide(types.intp, types.intp), code


@intrinsic
def number(typing: Any, address: Any, index: Any) -> Any:
    """One number in memory."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_element(builder, *args))

    return types.float32(types.intp, types.intp), code


@intrinsic
def put(typing: Any, address: Any, index: Any, value: Any) -> Any:
    """Write one number to memory."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _element(builder, *args[:2]))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.float32), code


@intrinsic
def store(typing: Any, address: Any, index: Any, vector: Any) -> Any:
    """Write a vector to memory from an index on."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.bitcast(_element(builder, *args[:2]), signature.args[2].ir.as_pointer())
        builder.store(args[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, vector), code


def _on_vectors(operation: Any, make: Callable[[Any, Any, Any], Any]) -> None:
    """Let vectors, or a vector and a number, be joined by an operator."""

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
            part if isinstance(one, Vector) else _filled(builder, kind, part)
            for part, one in zip(args, sig.args, strict=True)
        )
        return make(builder, *parts)

    for one, other in ((Vector, Vector), (Vector, types.Float), (types.Float, Vector)):
        lower_builtin(operation, one, other)(code)


_on_vectors(operator.add, lambda builder, a, b: builder.fadd(a, b))
_on_vectors(operator.sub, lambda builder, a, b: builder.fsub(a, b))
_on_vectors(operator.mul, lambda builder, a, b: builder.fmul(a, b))
_on_vectors(operator.truediv, lambda builder, a, b: builder.fdiv(a, b))


def instruction(name: str) -> Any:
    """An instruction of one vector that gives a vector."""

    @intrinsic
    def called(typing: Any, vector: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = signature.return_type.ir
            full = f"llvm.{name}.v{signature.return_type.count}f32"
            function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), full)
            return builder.call(function, args)

        return vector(vector), code

    return called


#: The sizes of numbers.
size = instruction("fabs")


def _operator(operate: Callable[[Any, Any, Any], Any]) -> Any:
    @intrinsic
    def joined(typing: Any, a: Any, b: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return operate(builder, *args)

        return a(a, b), code

    return joined


def _larger(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _smaller(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


#: The larger and the smaller one, lane by lane; the second one where one of them is nan.
larger, smaller = _operator(_larger), _operator(_smaller)


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a · b + c, rounded once."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.return_type.ir
        name = f"llvm.fma.v{signature.return_type.count}f32"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
        return builder.call(function, args)

    return a(a, b, c), code


def _bits(make: Callable[[Any, Any, ir.VectorType], Any]) -> Any:
    """An instruction of the bits of positive numbers."""

    @intrinsic
    def called(typing: Any, vector: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            whole = ir.VectorType(ir.IntType(32), signature.return_type.count)
            return make(builder, builder.bitcast(args[0], whole), whole)

        return vector(vector), code

    return called


def _everywhere(whole: ir.VectorType, value: int) -> ir.Constant:
    return ir.Constant(whole, [value] * whole.count)


def _exponent(builder: Any, bits: Any, whole: ir.VectorType) -> Any:
    power = builder.sub(builder.lshr(bits, _everywhere(whole, 23)), _everywhere(whole, 127))
    return builder.sitofp(power, ir.VectorType(ir.FloatType(), whole.count))


def _mantissa(builder: Any, bits: Any, whole: ir.VectorType) -> Any:
    part = builder.or_(builder.and_(bits, _everywhere(whole, 0x7FFFFF)), _everywhere(whole, 0x3F800000))
    return builder.bitcast(part, ir.VectorType(ir.FloatType(), whole.count))


#: Positive numbers are ``mantissa`` (1 to 2) · 2 to the power of ``exponent``.
exponent, mantissa = _bits(_exponent), _bits(_mantissa)
