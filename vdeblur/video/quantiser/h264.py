"""Quantiser of an H.264 picture: that of its first slice, by parameter sets and slice header (ITU-T H.264, 7.3.3).

FFmpeg's decoder would tell the mean of the blocks (AVVideoEncParams), but its threads copy the table of a picture that
another thread still decodes: the numbers change from run to run. What is read here does not.
"""

from __future__ import annotations

from vdeblur.video.quantiser.bits import BitReader, OutOfBitsError, without_emulation
from vdeblur.video.quantiser.encoder_words import lowering
from vdeblur.video.quantiser.h264_sets import (
    H264Parameters,
    H264Sequence,
    read_h264_parameters,
    read_h264_sequence,
)
from vdeblur.video.quantiser.nal_units import HEADER_BYTES, SET_BYTES, UnitQuantisers, packet_units, set_units
from vdeblur.video.quantiser.scales import within

#: nal_unit_type.
_SLICE, _SLICE_A, _IDR, _SEI, _SPS, _PPS = 1, 2, 5, 6, 7, 8
#: slice_type modulo 5.
_P, _B, _I, _SP, _SI = range(5)


class H264Quantisers(UnitQuantisers):
    """Reads packets in decoding order.

    Args:
        extradata: the decoder's: AVCDecoderConfigurationRecord (ISO/IEC 14496-15), or NAL units with start codes.
    """

    def __init__(self, extradata: bytes) -> None:
        self._sequences: dict[int, H264Sequence] = {}
        self._pictures: dict[int, H264Parameters] = {}
        configured = len(extradata) > 6 and extradata[0] == 1
        length_bytes = 1 + (extradata[4] & 3) if configured else 0
        super().__init__(set_units(extradata, 5) if configured else packet_units(extradata, 0), length_bytes)

    def _quantiser(self, unit: memoryview) -> float | None:
        """That of a NAL unit, if it is a slice; parameter sets are kept."""
        if len(unit) < 2 or unit[0] & 0x80:
            return None
        kind = unit[0] & 31
        if kind in (_SLICE, _SLICE_A, _IDR):
            payload = without_emulation(bytes(unit[1:HEADER_BYTES]))
            return self._slice_quantiser(kind == _IDR, unit[0] >> 5 & 3 > 0, payload)
        if kind == _SEI:
            self.lowered = lowering(unit) or self.lowered
        elif kind == _SPS:
            number, sequence = read_h264_sequence(without_emulation(bytes(unit[1:SET_BYTES])))
            self._sequences[number] = sequence
        elif kind == _PPS:
            number, picture = read_h264_parameters(without_emulation(bytes(unit[1:SET_BYTES])))
            self._pictures[number] = picture
        return None

    def _slice_quantiser(self, idr: bool, reference: bool, payload: bytes) -> float | None:
        read = BitReader(payload)
        read.unsigned()
        kind = read.unsigned() % 5
        picture = self._pictures.get(read.unsigned())
        sequence = None if picture is None else self._sequences.get(picture.sequence)
        if picture is None or sequence is None:
            return None
        field = _skip_order(read, idr, picture, sequence)
        _skip_prediction(read, kind, field, picture, sequence)
        if reference:
            _skip_marking(read, idr)
        if picture.arithmetic and kind not in (_I, _SI):
            read.unsigned()
        quantiser = picture.quantiser + read.signed()
        if quantiser > 51 or (sequence.bypass and quantiser + sequence.depth_offset <= 0):
            return None
        return within(quantiser)


def _skip_order(read: BitReader, idr: bool, picture: H264Parameters, sequence: H264Sequence) -> bool:
    """What says which picture it is; whether it is a field."""
    read.bits(2 * sequence.separate_planes + sequence.frame_number_bits)
    field = not sequence.frames_only and read.flag()
    read.bits(field)
    if idr:
        read.unsigned()
    both = picture.order_in_frame and not field
    if sequence.order_kind == 0:
        read.bits(sequence.order_bits)
        if both:
            read.signed()
    elif sequence.order_kind == 1 and not sequence.order_always_zero:
        for _ in range(1 + both):
            read.signed()
    if picture.redundant:
        read.unsigned()
    return field


def _skip_prediction(read: BitReader, kind: int, field: bool, picture: H264Parameters, sequence: H264Sequence) -> None:
    """References and weights of P and B slices."""
    if kind in (_I, _SI):
        return
    read.bits(kind == _B)
    counts = [1 + count for count in picture.references[: 1 + (kind == _B)]]
    if read.flag():
        counts = [1 + read.unsigned() for _ in counts]
    if max(counts) > 32:
        raise OutOfBitsError("a slice has too many references")
    for _ in counts:
        if read.flag():
            for _ in range(67):
                if read.unsigned() == 3:
                    break
                read.unsigned()
    if picture.weighted_both == 1 if kind == _B else picture.weighted:
        read.unsigned()
        if sequence.chroma:
            read.unsigned()
        for _ in range(sum(counts)):
            for values in (2, 4)[: 1 + sequence.chroma]:
                if read.flag():
                    for _ in range(values):
                        read.signed()


def _skip_marking(read: BitReader, idr: bool) -> None:
    """dec_ref_pic_marking()."""
    if idr:
        read.bits(2)
        return
    if not read.flag():
        return
    for _ in range(67):
        operation = read.unsigned()
        if operation == 0:
            return
        for _ in range({1: 1, 2: 1, 3: 2, 4: 1, 5: 0, 6: 1}.get(operation, 0)):
            read.unsigned()
    raise OutOfBitsError("a slice forgets too many pictures")
