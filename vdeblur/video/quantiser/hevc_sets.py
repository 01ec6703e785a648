"""Parameter sets of HEVC, as far as a slice header needs them (ITU-T H.265, 7.3.2.2, 7.3.2.3, 7.3.7)."""

from __future__ import annotations

from dataclasses import dataclass

from vdeblur.video.quantiser.bits import BitReader, OutOfBitsError

#: A short-term reference picture set: (difference of picture order, used by the current picture), earlier pictures
#: first, each group from the nearest on.
PictureSet = tuple[tuple[int, bool], ...]
#: Limits of the standard; what is beyond them is no parameter set.
_MOST_SETS, _MOST_PICTURES, _MOST_LONG_TERM, _MOST_TILES = 64, 16, 32, 440


@dataclass(frozen=True)
class SequenceSet:
    """Sequence parameter set."""

    chroma: bool
    separate_planes: bool
    order_bits: int
    picture_sets: tuple[PictureSet, ...]
    #: Whether long-term pictures may be referred to, and for each of those named here, whether it is used.
    long_term: bool
    long_term_used: tuple[bool, ...]
    adaptive_offset: bool
    temporal_vectors: bool


@dataclass(frozen=True)
class PictureParameters:
    """Picture parameter set."""

    sequence: int
    output_flag: bool
    extra_bits: int
    cabac_init: bool
    references: tuple[int, int]
    quantiser: int
    weighted: tuple[bool, bool]
    #: Whether blocks may be lossless.
    lossless: bool
    lists_modification: bool


def read_sequence_set(payload: bytes) -> tuple[int, SequenceSet]:
    """Number and content of a sequence parameter set, without its NAL header.

    Raises:
        OutOfBitsError: it is none.
    """
    read = BitReader(payload)
    read.bits(4)
    layers = read.bits(3)
    read.bits(1)
    _skip_profile(read, layers)
    number = _limited(read.unsigned(), 15)
    chroma = _limited(read.unsigned(), 3)
    separate = chroma == 3 and read.flag()
    read.unsigned(), read.unsigned()  # size
    if read.flag():
        _skip(read, 4)  # conformance window
    _skip(read, 2)  # bit depths
    order_bits = 4 + _limited(read.unsigned(), 12)
    for _ in range(layers + 1 if read.flag() else 1):
        _skip(read, 3)
    _skip(read, 6)
    if read.flag() and read.flag():
        _skip_scaling_lists(read)
    read.bits(1)  # asymmetric motion partitions
    adaptive_offset = read.flag()
    if read.flag():  # PCM
        read.bits(8)
        _skip(read, 2)
        read.bits(1)
    sets: list[PictureSet] = []
    count = _limited(read.unsigned(), _MOST_SETS)
    for _ in range(count):
        sets.append(read_picture_set(read, sets, last=False))
    long_term, used = read.flag(), list[bool]()
    if long_term:
        for _ in range(_limited(read.unsigned(), _MOST_LONG_TERM)):
            read.bits(order_bits)
            used.append(read.flag())
    colours = chroma > 0 and not separate
    return number, SequenceSet(
        colours, separate, order_bits, tuple(sets), long_term, tuple(used), adaptive_offset, read.flag()
    )


def read_picture_parameters(payload: bytes) -> tuple[int, PictureParameters]:
    """Number and content of a picture parameter set, without its NAL header.

    Raises:
        OutOfBitsError: it is none.
    """
    read = BitReader(payload)
    number, sequence = _limited(read.unsigned(), 63), _limited(read.unsigned(), 15)
    read.bits(1)  # dependent slice segments
    output_flag, extra_bits = read.flag(), read.bits(3)
    read.bits(1)
    cabac_init = read.flag()
    references = (
        _limited(read.unsigned(), _MOST_PICTURES - 1),
        _limited(read.unsigned(), _MOST_PICTURES - 1),
    )
    quantiser = 26 + read.signed()
    read.bits(2)
    if read.flag():
        read.unsigned()
    read.signed(), read.signed()
    read.bits(1)
    weighted = read.flag(), read.flag()
    lossless, tiles = read.flag(), read.flag()
    read.bits(1)
    if tiles:
        splits = read.unsigned() + read.unsigned()
        if not read.flag():
            _skip(read, _limited(splits, _MOST_TILES))
        read.bits(1)
    read.bits(1)
    if read.flag():  # deblocking
        read.bits(1)
        if not read.flag():
            read.signed(), read.signed()
    if read.flag():
        _skip_scaling_lists(read)
    return number, PictureParameters(
        sequence, output_flag, extra_bits, cabac_init, references, quantiser, weighted, lossless, read.flag()
    )


def read_picture_set(read: BitReader, known: list[PictureSet], *, last: bool) -> PictureSet:
    """A short-term reference picture set after those that are known; ``last`` = it is in a slice header."""
    if known and read.flag():
        return _predicted_set(read, known, last)
    negative, positive = (_limited(read.unsigned(), _MOST_PICTURES) for _ in range(2))
    pictures = []
    for sign, count in ((-1, negative), (1, positive)):
        order = 0
        for _ in range(count):
            order += sign * (1 + read.unsigned())
            pictures.append((order, read.flag()))
    return tuple(pictures)


def _predicted_set(read: BitReader, known: list[PictureSet], last: bool) -> PictureSet:
    back = 1 + (_limited(read.unsigned(), len(known) - 1) if last else 0)
    sign, size = read.bits(1), 1 + read.unsigned()
    step = -size if sign else size
    before = known[-back]
    found = []
    for order in [*(order for order, _ in before), 0]:
        used = read.flag()
        if used or read.flag():
            found.append((order + step, used))
    earlier = sorted((one for one in found if one[0] < 0), reverse=True)
    later = sorted(one for one in found if one[0] > 0)
    return tuple([*earlier, *later][:_MOST_PICTURES])


def _skip_profile(read: BitReader, layers: int) -> None:
    read.bits(96)
    there = [(read.flag(), read.flag()) for _ in range(layers)]
    if layers:
        read.bits(2 * (8 - layers))
    for profile, level in there:
        read.bits(88 * profile + 8 * level)


def _skip_scaling_lists(read: BitReader) -> None:
    for size in range(4):
        for _ in range(2 if size == 3 else 6):
            if not read.flag():
                read.unsigned()
                continue
            if size > 1:
                read.signed()
            for _ in range(min(64, 1 << (4 + 2 * size))):
                read.signed()


def _skip(read: BitReader, count: int) -> None:
    for _ in range(count):
        read.unsigned()


def _limited(value: int, most: int) -> int:
    if value > most:
        raise OutOfBitsError(f"{value} is more than the {most} of the standard")
    return value
