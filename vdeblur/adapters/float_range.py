"""Range of float pictures: each is checked for [0, 1], nan and inf, and the message says what is wrong with it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vdeblur.errors import SourceError, UsageError
from vdeblur.frames import Frame

#: A picture may overshoot a little, as resampling and corrections make it; one that goes beyond this has another range.
LEAST, MOST = -0.25, 2.0
#: Ranges that pictures are often in: their largest value, and what takes it to 1.
_INTEGERS = (255, 1023, 4095, 65535)


def check_range(samples: Any, number: int) -> None:
    """Refuse a float picture, an array or tensor of any shape, that is not in [0, 1].

    Args:
        number: of the picture in its stream.

    Raises:
        UsageError: it has nan or inf, or other values; the message says which, and what would be right.
    """
    least, most = _bounds(samples)
    if not (math.isfinite(least) and math.isfinite(most)):
        what = "nan" if math.isnan(least) else "inf"
        raise UsageError(f"frame {number} has {what} among its samples; float frames are finite, in [0, 1]")
    if most > MOST:
        whole = next((one for one in _INTEGERS if most <= one), None)
        remedy = "scale it" if whole is None or least < LEAST else f"divide it by {whole}"
        raise UsageError(f"float frames are in [0, 1], but frame {number} reaches {most:g}; {remedy}")
    if least < LEAST:
        remedy = "take (x + 1) / 2 of it" if least >= -1.1 and most <= 1.1 else "scale it"
        raise UsageError(f"float frames are in [0, 1], but frame {number} goes down to {least:g}; {remedy}")


def check_finite(frame: Frame) -> None:
    """Refuse a float frame of a file with nan or inf, which would spread over its neighbours.

    Raises:
        SourceError: it has one.
    """
    if not frame.format.is_float or frame.origin is not None:  # of a picture, it has been checked
        return
    for plane in frame.planes[: frame.format.colour_planes]:
        if not all(map(math.isfinite, _bounds(plane))):
            raise SourceError("the picture has nan or inf among its samples; replace them before")


def _bounds(samples: Any) -> tuple[float, float]:
    """Least and largest value; nan if there is one."""
    if isinstance(samples, Tensor):
        least, most = torch.aminmax(samples.detach())
        return float(least), float(most)
    return float(np.min(samples)), float(np.max(samples))
