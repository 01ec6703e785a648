"""Linear layers of an MLP over a vector of pixels: register-blocked products in float32 or bfloat16.

Pixels lie in the lanes of a vector, a weight is broadcast to all of them. The accumulators of ``ACCUMULATORS`` outputs
stay in registers over all inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from vdeblur.kernels.cpu.jit.vectors import _element, _maximum, _splat, wide
from vdeblur.kernels.cpu.simd import ACCUMULATORS, LANES

#: float32 lanes of a 512-bit register, and its vector types: bfloat16 pairs as int32, float32.
_REGISTER = 16
_PAIRS = ir.VectorType(ir.IntType(32), _REGISTER)
_FLOATS = ir.VectorType(ir.FloatType(), _REGISTER)
_INDEX, _INTEGER = ir.IntType(64), ir.IntType(32)
#: Slope of the leaky ReLU.
_SLOPE = ir.Constant(ir.FloatType(), 0.1)

Values = Sequence[Any]


def _accumulate(builder: Any, inputs: Any, starts: Values, step: Callable[[Any, Values], Values]) -> Values:
    """Emit a loop over inputs that carries accumulators in registers; ``step`` updates them."""
    before, loop = builder.basic_block, builder.append_basic_block("inputs")
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(_INDEX)
    sums = [builder.phi(start.type) for start in starts]
    results = step(k, sums)
    following = builder.add(k, ir.Constant(_INDEX, 1))
    for value, start, end in zip((k, *sums), (ir.Constant(_INDEX, 0), *starts), (following, *results), strict=True):
        value.add_incoming(start, before)
        value.add_incoming(end, loop)
    done = builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed("<", following, inputs), loop, done)
    builder.position_at_end(done)
    return results


def _call(builder: Any, name: str, kind: Any, args: Values) -> Any:
    form = ir.FunctionType(kind, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, form, name), args)


def _at(builder: Any, address: Any, index: Any, kind: Any) -> Any:
    """Typed pointer to memory from an index on."""
    return builder.bitcast(_element(builder, address, index), kind.as_pointer())


def _dot_float32(builder: Any, x: Any, weights: Any, inputs: Any, starts: Values) -> Values:
    """Accumulate the float32 products of :data:`ACCUMULATORS` outputs."""

    def step(k: Any, sums: Values) -> Values:
        place = builder.mul(k, ir.Constant(_INDEX, LANES))
        values = builder.load(_at(builder, x, place, wide.ir), align=4)
        results, first = [], builder.mul(k, ir.Constant(_INDEX, ACCUMULATORS))
        for n, total in enumerate(sums):
            at = builder.add(first, ir.Constant(_INDEX, n))
            weight = _splat(builder, wide, builder.load(_element(builder, weights, at)))
            results.append(_call(builder, f"llvm.fma.v{LANES}f32", wide.ir, (weight, values, total)))
        return results

    return _accumulate(builder, inputs, starts, step)


def _dot_bf16(builder: Any, x: Any, weights: Any, inputs: Any, starts: Values) -> Values:
    """The same with bfloat16 pairs (``vdpbf16ps``); an accumulator is two registers."""
    halves = range(LANES // _REGISTER)

    def step(k: Any, sums: Values) -> Values:
        values = []
        for half in halves:
            place = builder.add(builder.mul(k, ir.Constant(_INDEX, LANES)), ir.Constant(_INDEX, half * _REGISTER))
            values.append(builder.load(_at(builder, x, place, _PAIRS), align=4))
        results, first = [], builder.mul(k, ir.Constant(_INDEX, ACCUMULATORS))
        for n in range(ACCUMULATORS):
            at = builder.add(first, ir.Constant(_INDEX, n))
            pair = builder.load(_at(builder, weights, at, _INTEGER))
            empty, zero = ir.Constant(_PAIRS, ir.Undefined), ir.Constant(_INTEGER, 0)
            one = builder.insert_element(empty, pair, zero)
            weight = builder.shuffle_vector(one, one, ir.Constant(_PAIRS, None))
            for half in halves:
                args = sums[n * len(halves) + half], values[half], weight
                results.append(_call(builder, "llvm.x86.avx512bf16.dpbf16ps.512", _FLOATS, args))
        return results

    parts = [_half(builder, start, half) for start in starts for half in halves]
    sums = _accumulate(builder, inputs, parts, step)
    return [_concatenate(builder, *sums[n : n + 2]) for n in range(0, len(sums), 2)]


def _half(builder: Any, vector: Any, half: int) -> Any:
    lanes = [half * _REGISTER + lane for lane in range(_REGISTER)]
    return builder.shuffle_vector(vector, vector, ir.Constant(_PAIRS, lanes))


def _concatenate(builder: Any, one: Any, other: Any) -> Any:
    lanes = ir.Constant(ir.VectorType(_INTEGER, LANES), list(range(LANES)))
    return builder.shuffle_vector(one, other, lanes)


def _store_bf16_pairs(builder: Any, y: Any, at: Any, one: Any, other: Any) -> None:
    """Store two wide vectors as bfloat16 pairs, rounded to nearest."""
    words = ir.VectorType(ir.IntType(16), 2 * _REGISTER)
    order = [lane + member * _REGISTER for lane in range(_REGISTER) for member in range(2)]
    for half in range(LANES // _REGISTER):
        parts = _half(builder, other, half), _half(builder, one, half)
        rounded = _call(builder, "llvm.x86.avx512bf16.cvtne2ps2bf16.512", words, parts)
        pairs = builder.shuffle_vector(rounded, rounded, ir.Constant(ir.VectorType(_INTEGER, len(order)), order))
        place = builder.add(at, ir.Constant(_INDEX, half * _REGISTER))
        builder.store(pairs, _at(builder, y, place, words), align=4)


def _leaky(builder: Any, x: Any) -> Any:
    return _maximum(builder, x, builder.fmul(x, _splat(builder, wide, _SLOPE)))


def _linear(accumulate: Callable[..., Values], *, active: bool, pairs: bool) -> Any:
    """Intrinsic for :data:`ACCUMULATORS` outputs of a layer; ``active``: leaky ReLU; ``pairs``: bfloat16 output."""

    @intrinsic
    def block(typing: Any, x: Any, weights: Any, biases: Any, inputs: Any, y: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, weights, biases, inputs, y = args
            numbers = [ir.Constant(_INDEX, n) for n in range(ACCUMULATORS)]
            starts = [_splat(builder, wide, builder.load(_element(builder, biases, n))) for n in numbers]
            sums = accumulate(builder, x, weights, inputs, starts)
            results = [_leaky(builder, total) for total in sums] if active else sums
            for n in range(0, ACCUMULATORS, 2 if pairs else 1):
                at = ir.Constant(_INDEX, (n // 2 if pairs else n) * LANES)
                if pairs:
                    _store_bf16_pairs(builder, y, at, results[n], results[n + 1])
                else:
                    builder.store(results[n], _at(builder, y, at, wide.ir), align=4)
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, types.intp, types.intp, types.intp), code

    return block


#: ``linear(x, weights, biases, inputs, y)``: vectors at ``x`` → vectors at ``y``, all addresses.
linear_leaky, linear = _linear(_dot_float32, active=True, pairs=False), _linear(_dot_float32, active=False, pairs=False)
#: The same for bfloat16 pairs of inputs with float32 accumulators; the first one stores pairs again.
linear_leaky_bf16, linear_bf16 = (
    _linear(_dot_bf16, active=True, pairs=True),
    _linear(_dot_bf16, active=False, pairs=False),
)


@intrinsic
def store_bf16_pairs(typing: Any, address: Any, index: Any, one: Any, other: Any) -> Any:
    """Store two wide vectors as bfloat16 pairs."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address, index, one, other = args
        _store_bf16_pairs(builder, address, index, one, other)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, one, other), code


@intrinsic
def store_bf16(typing: Any, address: Any, index: Any, vector: Any) -> Any:
    """Store a wide vector as bfloat16, two numbers in the place of one float32."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words, halves = ir.VectorType(ir.IntType(16), LANES), range(LANES // _REGISTER)
        parts = [_half(builder, args[2], half) for half in reversed(halves)]
        rounded = _call(builder, "llvm.x86.avx512bf16.cvtne2ps2bf16.512", words, parts)
        builder.store(rounded, _at(builder, args[0], args[1], words), align=4)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, vector), code
