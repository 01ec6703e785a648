"""Quantisers that FFmpeg's decoders tell: AVVideoEncParams, the mean over the blocks of a picture.

Source: libavutil/video_enc_params.h, unchanged from libavutil 57 to 60: ``unsigned nb_blocks; size_t blocks_offset,
block_size; enum type; int32_t qp, delta_qp[4][2]``, and at ``blocks_offset`` a row of ``int src_x, src_y, w, h; int32_t
delta_qp``. Sizes and offsets in it are believed only as far as they lie within the data.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from vdeblur.video.quantiser.scales import quantiser_of_mpeg, quantiser_of_vp9, within

_HEADER = struct.Struct("@INNii8i")
#: Where a block's own difference lies, and the least bytes of a block.
_DELTA_AT, _BLOCK_BYTES = 16, 20
#: enum AVVideoEncParamsType.
_VP9, _H264, _MPEG2 = 0, 1, 2


def mean_quantiser(data: Any, bits: int) -> float | None:
    """Mean quantiser as H.264 counts it, of a buffer with an AVVideoEncParams.

    ``None`` where it tells nothing: it is too short, of an unknown kind, or of a lossless picture.

    Args:
        data: any object with the buffer protocol.
        bits: of the samples; H.264 counts from lower in more than 8.
    """
    view = memoryview(data).cast("B")
    if len(view) < _HEADER.size:
        return None
    count, start, size, kind, base, *_ = _HEADER.unpack_from(view)
    scale = _SCALES.get(kind)
    if scale is None:
        return None
    mean = 0.0
    if count:
        if size < _BLOCK_BYTES or start < _HEADER.size or start + count * size > len(view):
            return None
        blocks: Any = np.ndarray((count,), np.int32, view, start + _DELTA_AT, (size,))
        mean = float(blocks.mean(dtype=np.float64))
    elif kind == _MPEG2:
        return None
    return scale(base + mean, bits)


def _h264(quantiser: float, bits: int) -> float | None:
    # FFmpeg counts from 0 in every depth. 0 alone may be lossless (High 4:4:4), and hardly differs if it is not.
    return None if quantiser <= 0 else within(quantiser - 6 * (bits - 8))


def _vp9(quantiser: float, bits: int) -> float | None:
    return None if quantiser <= 0 else quantiser_of_vp9(quantiser)  # 0 is lossless


def _mpeg(quantiser: float, bits: int) -> float | None:
    return None if quantiser <= 0 else quantiser_of_mpeg(quantiser)


_SCALES: dict[int, Callable[[float, int], float | None]] = {_VP9: _vp9, _H264: _h264, _MPEG2: _mpeg}
