"""Quantiser of an HEVC picture: that of its first slice, by parameter sets and slice header (ITU-T H.265, 7.3.6.1).

What its blocks add to it is not read: encoders spread that about the slice's own value.
"""

from __future__ import annotations

from vdeblur.video.quantiser.bits import BitReader, OutOfBitsError, without_emulation
from vdeblur.video.quantiser.encoder_words import lowering
from vdeblur.video.quantiser.hevc_sets import (
    PictureParameters,
    SequenceSet,
    read_picture_parameters,
    read_picture_set,
    read_sequence_set,
)
from vdeblur.video.quantiser.nal_units import HEADER_BYTES, SET_BYTES, UnitQuantisers, array_units, packet_units
from vdeblur.video.quantiser.scales import within

#: NAL unit types (ITU-T H.265, table 7-1).
_SLICES, _RANDOM_ACCESS, _IDR = range(32), range(16, 24), range(19, 21)
_SPS, _PPS, _SEI = 33, 34, 39
#: slice_type.
_B, _I = 0, 2


class HevcQuantisers(UnitQuantisers):
    """Reads packets in decoding order.

    Args:
        extradata: the decoder's: HEVCDecoderConfigurationRecord (ISO/IEC 14496-15), or NAL units with start codes.
    """

    def __init__(self, extradata: bytes) -> None:
        self._sequences: dict[int, SequenceSet] = {}
        self._pictures: dict[int, PictureParameters] = {}
        configured = len(extradata) > 22 and extradata[0] == 1
        length_bytes = 1 + (extradata[21] & 3) if configured else 0
        super().__init__(array_units(extradata) if configured else packet_units(extradata, 0), length_bytes)

    def _quantiser(self, unit: memoryview) -> float | None:
        """That of a NAL unit, if it is the first slice of a picture; parameter sets are kept."""
        if len(unit) < 3 or unit[0] & 0x81 or unit[1] >> 3:  # damaged, or of another layer
            return None
        kind = unit[0] >> 1
        if kind in _SLICES:
            return self._slice_quantiser(kind, without_emulation(bytes(unit[2:HEADER_BYTES])))
        if kind == _SEI:
            self.lowered = lowering(unit) or self.lowered
        elif kind == _SPS:
            number, sequence = read_sequence_set(without_emulation(bytes(unit[2:SET_BYTES])))
            self._sequences[number] = sequence
        elif kind == _PPS:
            number, picture = read_picture_parameters(without_emulation(bytes(unit[2:SET_BYTES])))
            self._pictures[number] = picture
        return None

    def _slice_quantiser(self, kind: int, payload: bytes) -> float | None:
        read = BitReader(payload)
        if not read.flag():
            return None  # not the first of its picture
        if kind in _RANDOM_ACCESS:
            read.bits(1)
        picture = self._pictures.get(read.unsigned())
        sequence = None if picture is None else self._sequences.get(picture.sequence)
        if picture is None or sequence is None or picture.lossless:
            return None
        quantiser = picture.quantiser + _slice_difference(read, kind, picture, sequence)
        return within(quantiser) if quantiser <= 51 else None


def _slice_difference(read: BitReader, kind: int, picture: PictureParameters, sequence: SequenceSet) -> int:
    """slice_qp_delta, from behind slice_pic_parameter_set_id on."""
    read.bits(picture.extra_bits)
    slice_type = read.unsigned()
    if slice_type > _I:
        raise OutOfBitsError(f"there is no slice type {slice_type}")
    read.bits(picture.output_flag + 2 * sequence.separate_planes)
    used, vectors = 0, False
    if kind not in _IDR:
        used = _references(read, sequence)
        vectors = sequence.temporal_vectors and read.flag()
    if sequence.adaptive_offset:
        read.bits(1 + sequence.chroma)
    if slice_type != _I:
        _skip_prediction(read, slice_type == _B, picture, sequence, used=used, vectors=vectors)
    return read.signed()


def _references(read: BitReader, sequence: SequenceSet) -> int:
    """How many pictures this one refers to."""
    read.bits(sequence.order_bits)
    sets = sequence.picture_sets
    if not read.flag():
        chosen = read_picture_set(read, list(sets), last=True)
    elif sets:
        number = read.bits((len(sets) - 1).bit_length())
        if number >= len(sets):
            raise OutOfBitsError(f"there is no picture set {number}")
        chosen = sets[number]
    else:
        raise OutOfBitsError("there is no picture set")
    used = sum(one for _, one in chosen)
    return used + _long_term(read, sequence) if sequence.long_term else used


def _long_term(read: BitReader, sequence: SequenceSet) -> int:
    known, used = len(sequence.long_term_used), 0
    named = read.unsigned() if known else 0
    count = named + read.unsigned()
    if count > 33:
        raise OutOfBitsError(f"{count} long-term pictures are too many")
    for index in range(count):
        if index < named:
            number = read.bits((known - 1).bit_length())
            used += number < known and sequence.long_term_used[number]
        else:
            read.bits(sequence.order_bits)
            used += read.flag()
        if read.flag():
            read.unsigned()
    return used


def _skip_prediction(
    read: BitReader, both: bool, picture: PictureParameters, sequence: SequenceSet, *, used: int, vectors: bool
) -> None:
    """What P and B slices have in front of slice_qp_delta."""
    counts = [1 + count for count in picture.references[: 1 + both]]
    if read.flag():
        counts = [1 + read.unsigned() for _ in counts]
    if max(counts) > 16:
        raise OutOfBitsError("a slice has too many references")
    if picture.lists_modification and used > 1:
        for count in counts:
            if read.flag():
                read.bits(count * (used - 1).bit_length())
    read.bits(both + picture.cabac_init)
    if vectors:
        first = not both or read.flag()
        if counts[0 if first else 1] > 1:
            read.unsigned()
    if picture.weighted[both]:
        _skip_weights(read, counts, sequence.chroma)
    read.unsigned()  # merge candidates


def _skip_weights(read: BitReader, counts: list[int], chroma: bool) -> None:
    read.unsigned()
    if chroma:
        read.signed()
    for count in counts:
        luma = [read.flag() for _ in range(count)]
        colours = [chroma and read.flag() for _ in range(count)]
        for one, other in zip(luma, colours, strict=True):
            for _ in range(2 * one + 4 * other):
                read.signed()
