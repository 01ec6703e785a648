"""Quantiser scales of codecs, mapped to H.264's by the step between two values of a transform coefficient.

H.264 and HEVC: the step is 2^((QP − 4) / 6) for a transform of unit gain (ITU-T H.264, 8.5; Sullivan et al. 2012). The
other codecs' steps are divided by the gain of their transforms. What is compared is the step alone: dead zones,
matrices and filters differ from codec to codec.
"""

from __future__ import annotations

import math
from bisect import bisect_right

#: Largest quantiser of H.264 in 8 bits.
MOST = 51.0
#: VP9's and AV1's table of steps for AC coefficients in 8 bits (VP9 specification, 8.6.1; AV1 specification, 7.12.2),
#: at some indexes; between them it is a line, nearly.
_VP9_STEPS = (
    (0, 4), (1, 8), (95, 102), (96, 104), (120, 152), (136, 200), (152, 265), (168, 353), (184, 474), (200, 639),
    (216, 864), (232, 1173), (248, 1597), (255, 1828),
)  # fmt: skip
#: The same of VP8 (RFC 6386, 14.1).
_VP8_STEPS = ((0, 4), (54, 58), (83, 116), (102, 173), (116, 229), (127, 284))
#: Gains of their transforms.
_VP9_GAIN, _VP8_GAIN = 8, 2


def quantiser_of_step(step: float) -> float:
    """H.264's quantiser with the same step, of a transform of unit gain and 8-bit samples; 0 to 51."""
    return within(4 + 6 * math.log2(step)) if step > 0 else 0.0


def quantiser_of_mpeg(scale: float) -> float:
    """Of MPEG-1, MPEG-2 and MPEG-4 part 2, from MPEG-2's quantiser_scale (2 to 62; twice that of MPEG-4).

    The weights of their matrices are taken for 16, which they are for pictures that are predicted.
    """
    return quantiser_of_step(scale)


def quantiser_of_vp9(index: float) -> float:
    """Of VP9 and AV1, from base_q_idx (0 to 255). Steps grow with the bit depth as samples do: it does not matter."""
    return quantiser_of_step(_between(_VP9_STEPS, index) / _VP9_GAIN)


def quantiser_of_vp8(index: float) -> float:
    """Of VP8, from y_ac_qi (0 to 127)."""
    return quantiser_of_step(_between(_VP8_STEPS, index) / _VP8_GAIN)


def quantiser_of_jpeg(quality: float) -> float:
    """Of JPEG, from libjpeg's quality (1 to 100); the training data are mapped by the same line."""
    return within((118 - quality) / 2)


def within(quantiser: float) -> float:
    return min(max(quantiser, 0.0), MOST)


def _between(knots: tuple[tuple[int, int], ...], index: float) -> float:
    """Value at an index, linear between knots."""
    index = min(max(index, knots[0][0]), knots[-1][0])
    place = min(bisect_right(knots, (index, math.inf)), len(knots) - 1)
    (low, first), (high, last) = knots[place - 1], knots[place]
    return first + (last - first) * (index - low) / (high - low)
