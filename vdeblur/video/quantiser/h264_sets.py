"""Parameter sets of H.264, as far as a slice header needs them (ITU-T H.264, 7.3.2.1.1 and 7.3.2.2)."""

from __future__ import annotations

from dataclasses import dataclass

from vdeblur.video.quantiser.bits import BitReader, OutOfBitsError

#: profile_idc of those with chroma_format_idc.
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})


@dataclass(frozen=True)
class H264Sequence:
    """Sequence parameter set."""

    chroma: bool
    separate_planes: bool
    frame_number_bits: int
    order_kind: int
    order_bits: int
    order_always_zero: bool
    frames_only: bool
    #: Whether a quantiser of 0 is lossless, counted from 0 in every depth; and by how much that is more.
    bypass: bool
    depth_offset: int


@dataclass(frozen=True)
class H264Parameters:
    """Picture parameter set."""

    sequence: int
    arithmetic: bool
    order_in_frame: bool
    references: tuple[int, int]
    weighted: bool
    weighted_both: int
    quantiser: int
    redundant: bool


def read_h264_sequence(payload: bytes) -> tuple[int, H264Sequence]:
    """Number and content of a sequence parameter set, without its NAL header.

    Raises:
        OutOfBitsError: it is none.
    """
    read = BitReader(payload)
    profile = read.bits(8)
    read.bits(16)
    number = read.unsigned()
    chroma, separate, bypass, depth = 1, False, False, 0
    if profile in _HIGH_PROFILES:
        chroma = read.unsigned()
        separate = chroma == 3 and read.flag()
        depth = read.unsigned()
        read.unsigned()
        bypass = read.flag()
        if read.flag():
            _skip_scaling_lists(read, 12 if chroma == 3 else 8)
    frame_number_bits = 4 + read.unsigned()
    order_kind, order_bits, always_zero = read.unsigned(), 0, False
    if order_kind == 0:
        order_bits = 4 + read.unsigned()
    elif order_kind == 1:
        always_zero = read.flag()
        read.signed(), read.signed()
        count = read.unsigned()
        if count > 255:
            raise OutOfBitsError("a cycle of pictures is too long")
        for _ in range(count):
            read.signed()
    read.unsigned()
    read.bits(1)
    read.unsigned(), read.unsigned()  # size
    if max(frame_number_bits, order_bits) > 16 or chroma > 3 or depth > 6 or number > 31:
        raise OutOfBitsError("this is no sequence parameter set")
    return number, H264Sequence(
        chroma > 0 and not separate, separate, frame_number_bits, order_kind, order_bits, always_zero, read.flag(),
        bypass, 6 * depth,
    )  # fmt: skip


def read_h264_parameters(payload: bytes) -> tuple[int, H264Parameters]:
    """Number and content of a picture parameter set, without its NAL header.

    Raises:
        OutOfBitsError: it is none, or has slice groups, which nobody uses.
    """
    read = BitReader(payload)
    number, sequence = read.unsigned(), read.unsigned()
    arithmetic, order_in_frame = read.flag(), read.flag()
    if read.unsigned() or number > 255:
        raise OutOfBitsError("slice groups are not read")
    references = read.unsigned(), read.unsigned()
    if max(references) > 31:
        raise OutOfBitsError("a picture has too many references")
    weighted, both = read.flag(), read.bits(2)
    quantiser = 26 + read.signed()
    read.signed(), read.signed()
    read.bits(2)
    return number, H264Parameters(
        sequence, arithmetic, order_in_frame, references, weighted, both, quantiser, read.flag()
    )


def _skip_scaling_lists(read: BitReader, count: int) -> None:
    for index in range(count):
        if not read.flag():
            continue
        last = following = 8
        for _ in range(16 if index < 6 else 64):
            if following:
                following = (last + read.signed()) % 256
                last = following or last
