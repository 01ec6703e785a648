"""Products of matrices: what some pixels see, or hidden units of them, through a layer.

The pixels of a vector stand in its lanes, a weight in all lanes. The sums of as many outputs as the registers hold stay
there while all inputs go by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from vdeblur.kernels.cpu.jit.vectors import _element, _filled, _larger, wide
from vdeblur.kernels.cpu.simd import LANES, SUMS

#: Numbers of a register of 512 bits, and its pairs of bfloat16 numbers.
_REGISTER = 16
_PAIRS = ir.VectorType(ir.IntType(32), _REGISTER)
_FLOATS = ir.VectorType(ir.FloatType(), _REGISTER)
_INDEX, _INTEGER = ir.IntType(64), ir.IntType(32)
#: The activation's slope.
_SLOPE = ir.Constant(ir.FloatType(), 0.1)

Values = Sequence[Any]


def _summed(builder: Any, inputs: Any, starts: Values, more: Callable[[Any, Values], Values]) -> Values:
    """Sums in registers: what ``more`` makes of them for each input's number."""
    before, loop = builder.basic_block, builder.append_basic_block("inputs")
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(_INDEX)
    sums = [builder.phi(start.type) for start in starts]
    found = more(k, sums)
    following = builder.add(k, ir.Constant(_INDEX, 1))
    for value, start, end in zip((k, *sums), (ir.Constant(_INDEX, 0), *starts), (following, *found), strict=True):
        value.add_incoming(start, before)
        value.add_incoming(end, loop)
    done = builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed("<", following, inputs), loop, done)
    builder.position_at_end(done)
    return found


def _called(builder: Any, name: str, kind: Any, args: Values) -> Any:
    form = ir.FunctionType(kind, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, form, name), args)


def _at(builder: Any, address: Any, index: Any, kind: Any) -> Any:
    """Pointer to what lies in memory from a number on."""
    return builder.bitcast(_element(builder, address, index), kind.as_pointer())


def _numbers(builder: Any, x: Any, weights: Any, inputs: Any, starts: Values) -> Values:
    """:data:`SUMS` sums of float32 products, of the numbers of a wide vector."""

    def more(k: Any, sums: Values) -> Values:
        place = builder.mul(k, ir.Constant(_INDEX, LANES))
        seen = builder.load(_at(builder, x, place, wide.ir), align=4)
        found, first = [], builder.mul(k, ir.Constant(_INDEX, SUMS))
        for n, total in enumerate(sums):
            at = builder.add(first, ir.Constant(_INDEX, n))
            weight = _filled(builder, wide, builder.load(_element(builder, weights, at)))
            found.append(_called(builder, f"llvm.fma.v{LANES}f32", wide.ir, (weight, seen, total)))
        return found

    return _summed(builder, inputs, starts, more)


def _of_pairs(builder: Any, x: Any, weights: Any, inputs: Any, starts: Values) -> Values:
    """The same of pairs of bfloat16 products; a sum is two registers."""
    halves = range(LANES // _REGISTER)

    def more(k: Any, sums: Values) -> Values:
        seen = []
        for half in halves:
            place = builder.add(builder.mul(k, ir.Constant(_INDEX, LANES)), ir.Constant(_INDEX, half * _REGISTER))
            seen.append(builder.load(_at(builder, x, place, _PAIRS), align=4))
        found, first = [], builder.mul(k, ir.Constant(_INDEX, SUMS))
        for n in range(SUMS):
            at = builder.add(first, ir.Constant(_INDEX, n))
            pair = builder.load(_at(builder, weights, at, _INTEGER))
            empty, zero = ir.Constant(_PAIRS, ir.Undefined), ir.Constant(_INTEGER, 0)
            one = builder.insert_element(empty, pair, zero)
            weight = builder.shuffle_vector(one, one, ir.Constant(_PAIRS, None))
            for half in halves:
                args = sums[n * len(halves) + half], seen[half], weight
                found.append(_called(builder, "llvm.x86.avx512bf16.dpbf16ps.512", _FLOATS, args))
        return found

    parts = [_half(builder, start, half) for start in starts for half in halves]
    sums = _summed(builder, inputs, parts, more)
    return [_joined(builder, *sums[n : n + 2]) for n in range(0, len(sums), 2)]


def _half(builder: Any, vector: Any, half: int) -> Any:
    lanes = [half * _REGISTER + lane for lane in range(_REGISTER)]
    return builder.shuffle_vector(vector, vector, ir.Constant(_PAIRS, lanes))


def _joined(builder: Any, one: Any, other: Any) -> Any:
    lanes = ir.Constant(ir.VectorType(_INTEGER, LANES), list(range(LANES)))
    return builder.shuffle_vector(one, other, lanes)


def _store_pairs(builder: Any, y: Any, at: Any, one: Any, other: Any) -> None:
    """Write the numbers of two wide vectors as pairs of bfloat16 numbers, rounded to the nearest."""
    words = ir.VectorType(ir.IntType(16), 2 * _REGISTER)
    order = [lane + member * _REGISTER for lane in range(_REGISTER) for member in range(2)]
    for half in range(LANES // _REGISTER):
        parts = _half(builder, other, half), _half(builder, one, half)
        rounded = _called(builder, "llvm.x86.avx512bf16.cvtne2ps2bf16.512", words, parts)
        pairs = builder.shuffle_vector(rounded, rounded, ir.Constant(ir.VectorType(_INTEGER, len(order)), order))
        place = builder.add(at, ir.Constant(_INDEX, half * _REGISTER))
        builder.store(pairs, _at(builder, y, place, words), align=4)


def _leaky(builder: Any, x: Any) -> Any:
    return _larger(builder, x, builder.fmul(x, _filled(builder, wide, _SLOPE)))


def _block(multiplied: Callable[..., Values], *, active: bool, pairs: bool) -> Any:
    """A layer's next :data:`SUMS` outputs; ``active``: with an activation; ``pairs``: written as bfloat16 pairs."""

    @intrinsic
    def block(typing: Any, x: Any, weights: Any, biases: Any, inputs: Any, y: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, weights, biases, inputs, y = args
            numbers = [ir.Constant(_INDEX, n) for n in range(SUMS)]
            starts = [_filled(builder, wide, builder.load(_element(builder, biases, n))) for n in numbers]
            sums = multiplied(builder, x, weights, inputs, starts)
            found = [_leaky(builder, each) for each in sums] if active else sums
            for n in range(0, SUMS, 2 if pairs else 1):
                at = ir.Constant(_INDEX, (n // 2 if pairs else n) * LANES)
                if pairs:
                    _store_pairs(builder, y, at, found[n], found[n + 1])
                else:
                    builder.store(found[n], _at(builder, y, at, wide.ir), align=4)
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, types.intp, types.intp, types.intp), code

    return block


#: ``block(x, weights, biases, inputs, y)``: vectors from ``x`` on → vectors from ``y`` on, all addresses.
block, last_block = _block(_numbers, active=True, pairs=False), _block(_numbers, active=False, pairs=False)
#: The same of pairs of inputs, in bfloat16 with float32 sums; the first one writes pairs again.
paired_block, last_paired_block = (
    _block(_of_pairs, active=True, pairs=True),
    _block(_of_pairs, active=False, pairs=False),
)


@intrinsic
def store_pairs(typing: Any, address: Any, index: Any, one: Any, other: Any) -> Any:
    """Write the numbers of two wide vectors to memory from an index on, as pairs of bfloat16 numbers."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address, index, one, other = args
        _store_pairs(builder, address, index, one, other)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, one, other), code


@intrinsic
def store_rounded(typing: Any, address: Any, index: Any, vector: Any) -> Any:
    """Write the numbers of a wide vector to memory from an index on, in bfloat16, two of them in the place of one."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words, halves = ir.VectorType(ir.IntType(16), LANES), range(LANES // _REGISTER)
        parts = [_half(builder, args[2], half) for half in reversed(halves)]
        rounded = _called(builder, "llvm.x86.avx512bf16.cvtne2ps2bf16.512", words, parts)
        builder.store(rounded, _at(builder, args[0], args[1], words), align=4)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, vector), code
