"""Sequence header of AV1, as far as a frame header needs it (AV1 Bitstream & Decoding Process Specification, 5.5)."""

from __future__ import annotations

from dataclasses import dataclass

from vdeblur.video.quantiser.bits import BitReader

#: seq_force_screen_content_tools and seq_force_integer_mv: each frame says it.
EACH_FRAME = 2


@dataclass(frozen=True)
class Av1Sequence:
    """What the sequence header says."""

    reduced_still: bool
    #: Bits of the largest width and height, and those sizes.
    size_bits: tuple[int, int]
    size: tuple[int, int]
    #: Bits of a frame's number and of a difference of them; 0: there are none.
    number_bits: int
    difference_bits: int
    large_superblocks: bool
    #: 0 = order hints are off.
    order_bits: int
    reference_vectors: bool
    screen_content: int
    integer_vectors: int
    superres: bool
    #: Bits of a frame's presentation time; ``None`` = frames do not say it.
    time_bits: int | None
    #: Of each operating point, idc and whether it has a decoder model; and bits of a removal time.
    points: tuple[tuple[int, bool], ...]
    removal_bits: int


def read_sequence(payload: bytes) -> Av1Sequence:
    """Content of a sequence header OBU.

    Raises:
        OutOfBitsError: it ends too early.
    """
    read = BitReader(payload)
    read.bits(3 + 1)  # profile, still picture
    reduced = read.flag()
    time_bits: int | None = None
    removal_bits = 0
    points: tuple[tuple[int, bool], ...] = ((0, False),)
    if reduced:
        read.bits(5)
    else:
        delay_bits, even = 0, True
        if read.flag():  # timing
            read.bits(64)
            if even := read.flag():
                read.unsigned()
            if read.flag():  # decoder model
                delay_bits = 1 + read.bits(5)
                read.bits(32)
                removal_bits, time_bits = 1 + read.bits(5), 1 + read.bits(5)
        time_bits = None if even else time_bits
        points = _points(read, delay_bits, removal_bits > 0)
    size_bits = 1 + read.bits(4), 1 + read.bits(4)
    size = 1 + read.bits(size_bits[0]), 1 + read.bits(size_bits[1])
    number_bits = difference_bits = 0
    if not reduced and read.flag():
        difference_bits = 2 + read.bits(4)
        number_bits = difference_bits + 1 + read.bits(3)
    large = read.flag()
    read.bits(2)  # intra filters
    order_bits, vectors = 0, False
    screen, integer = EACH_FRAME, EACH_FRAME
    if not reduced:
        read.bits(4)  # compound modes and motion
        if ordered := read.flag():
            read.bits(1)
            vectors = read.flag()
        screen = EACH_FRAME if read.flag() else read.bits(1)
        if screen > 0:
            integer = EACH_FRAME if read.flag() else read.bits(1)
        order_bits = 1 + read.bits(3) if ordered else 0
    return Av1Sequence(
        reduced, size_bits, size, number_bits, difference_bits, large, order_bits, vectors, screen, integer,
        read.flag(), time_bits, points, removal_bits,
    )  # fmt: skip


def _points(read: BitReader, delay_bits: int, modelled: bool) -> tuple[tuple[int, bool], ...]:
    """Operating points, with initial_display_delay_present_flag in front."""
    display_delay = read.flag()
    points = []
    for _ in range(1 + read.bits(5)):
        idc, level = read.bits(12), read.bits(5)
        if level > 7:
            read.bits(1)  # tier
        if has_model := modelled and read.flag():
            read.bits(2 * delay_bits + 1)
        if display_delay and read.flag():
            read.bits(4)
        points.append((idc, has_model))
    return tuple(points)
