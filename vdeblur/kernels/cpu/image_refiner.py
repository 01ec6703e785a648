"""What a finish looks at on a CPU, by :mod:`vdeblur.kernels.cpu.jit.image_refiner`."""

from __future__ import annotations

import torch
from torch import Tensor

from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.scanlines import NOTED, PAIR, check_maps, in_strips, span_of
from vdeblur.kernels.cpu.simd import LANES, PAIRS, address, memory
from vdeblur.kernels.inputs import RefinerInputs

#: Colours of a pixel.
COLOURS = 3
#: Lines of a row: the colours of the frame and of the residual, the pixels' places, then maps, and the details.
PLACES = 2 * COLOURS
MAPS = PLACES + 1
#: Maps: the motion, places in the frames before and after, the trust in them; then what is passed on.
X, Y, BEFORE, TRUST, PASSED = 0, 1, 2, 6, 8

_rows, _rows_rounded = Kernel("image_refiner", "rows"), Kernel("image_refiner", "rows_rounded")


def finish_sight(looks: RefinerInputs, dtype: torch.dtype) -> Tensor:
    """Input of an :class:`vdeblur.model.image_refiner.ImageRefiner` for a region: ``pixel_unshuffle(look(…), 2)``."""
    rounded = PAIRS and dtype == torch.bfloat16
    check_maps(looks.frame, looks.maps)
    pictures: list[Tensor | None] = [
        memory(each) for each in (looks.frame, looks.residual, looks.restored, looks.details)
    ]
    pictures += [None if each is None else memory(each) for each in looks.frames]
    batch, _, height, width = looks.frame.shape
    maps, offsets, points = memory(looks.maps), memory(looks.offsets), len(looks.offsets)
    passed, more = maps.shape[1] - PASSED, looks.details.shape[1]
    channels = 3 * COLOURS + points - 1 + 2 * (COLOURS + 1) + passed + more
    high, across = looks.bottom - looks.top, looks.right - looks.left
    kind = torch.bfloat16 if rounded else torch.float32
    result = torch.empty(
        batch, 4 * channels, high // 2, across // 2, dtype=kind, memory_format=torch.channels_last
    )  # fmt: skip
    span = span_of(across)

    def work(number: int, top: int, bottom: int, scratch: list[int]) -> None:
        (_rows_rounded if rounded else _rows)(
            *(address(each, number) for each in (result, *pictures, maps)), address(offsets), points,
            looks.first, looks.last, passed, more, channels, float(looks.contrast), float(looks.aside),
            height, width, looks.top, looks.left, looks.right, top, bottom, span, *scratch,
        )  # fmt: skip

    lines = MAPS + maps.shape[1] + more
    sizes = lines * span, LANES, (NOTED + COLOURS + PAIR) * points * LANES, channels * LANES
    in_strips(batch, looks.top, looks.bottom, across, sizes, work)
    return result.to(dtype)
