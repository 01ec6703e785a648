"""Each pixel along a motion of its own, on a CPU, by :mod:`vdeblur.kernels.cpu.jit.motion_taps`."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.kernels.cpu.block_operands import kept_weights
from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.scanlines import NOTED, PAIR, check_maps, in_strips, span_of
from vdeblur.kernels.cpu.simd import LANES, PAIRS, SUMS, address, memory
from vdeblur.kernels.inputs import PixelInputs

#: Lines of a row: the pixels' luma and places, then maps.
LUMA, PLACES, MAPS = range(3)
#: Maps: the motion, its length, places in the frames before and after, the trust in them; then guides.
X, Y, LENGTH, BEFORE, TRUST, NOTES = 0, 1, 2, 3, 7, 9

_rows, _rows_in_pairs = Kernel("motion_taps", "rows"), Kernel("motion_taps", "rows_in_pairs")


def steered_taps(looks: PixelInputs, form: Any) -> tuple[Tensor, Tensor, Tensor]:
    """What :class:`vdeblur.model.motion_taps.MotionTaps` ``form`` makes of an area: the parts of a ``Deconvolved``."""
    pairs = PAIRS and form.filters.weight.dtype == torch.bfloat16
    weights = kept_weights(form, lambda: weights_of(form, looks.contrast, pairs))
    frames = [None if frame is None else memory(frame) for frame in (*looks.frames, None, None)[:3]]
    assert frames[0] is not None
    batch, _, height, width = frames[0].shape
    check_maps(frames[0], looks.maps)
    high, across = looks.bottom - looks.top, looks.right - looks.left
    correction = torch.empty(batch, 1, high, across)
    texture = torch.empty(
        (batch, 16 * weights.features, high // 4, across // 4), dtype=torch.bfloat16 if pairs else torch.float32,
        memory_format=torch.channels_last,
    )  # fmt: skip
    details = torch.empty(batch, weights.details, high, across)
    maps = memory(looks.maps)
    points = [memory(each) for each in (form.offsets, form.neighbour_offsets, form.beside_offsets)]
    span, most = span_of(across), max(len(each) for each in points)
    wide = max(weights.hidden, weights.outputs, weights.inputs + 1) * LANES

    def work(number: int, top: int, bottom: int, scratch: list[int]) -> None:
        (_rows_in_pairs if pairs else _rows)(
            *(address(each, number) for each in (correction, texture, details, *frames, maps)),
            *(part for each in points for part in (address(each), len(each))),
            *(address(each) for each in weights[:3]), *weights[3:], maps.shape[1] - NOTES, float(looks.contrast),
            height, width, looks.top, looks.bottom, looks.left, looks.right, top, bottom, span, *scratch,
        )  # fmt: skip

    sizes = (MAPS + maps.shape[1]) * span, LANES, (NOTED + 1 + PAIR) * most * LANES, wide, wide, wide
    in_strips(batch, looks.top, looks.bottom, across, sizes, work)
    return correction, texture.to(form.filters.weight.dtype), details


class MotionTapWeights(NamedTuple):
    """Layers in the order in which they are read, and their sizes; numbers of units fill multiples of SUMS.

    The last layer's bias stands alone, since it is added behind the weight of the motion.
    """

    layers: Tensor
    biases: Tensor
    last: Tensor
    inputs: int
    hidden: int
    depth: int
    outputs: int
    features: int
    details: int


def weights_of(form: Any, contrast: float, pairs: bool) -> MotionTapWeights:
    """The weights of a SteeredTaps, as pairs of bfloat16 numbers or as float32; its correction counts 1/contrast."""
    layers = [form.filters, *form.mix]
    ends = [form.correction, form.texture, *([] if form.details is None else [form.details])]
    shares = [1 / contrast, 1.0, 1.0]
    last = torch.cat([_bias(layer) * share for layer, share in zip(ends, shares, strict=False)])
    matrices = [layer.weight.float().flatten(1) for layer in layers]
    parts = [layer.weight.float().flatten(1) * share for layer, share in zip(ends, shares, strict=False)]
    matrices.append(torch.cat(parts))
    biases = [*(_bias(layer) for layer in layers), torch.zeros_like(last)]
    seen, hidden = matrices[0].shape[1], _full(len(biases[0]))
    inputs = (seen, *(hidden for _ in layers))
    blocks = [
        _blocks(F.pad(matrix, (0, count - matrix.shape[1])), pairs)
        for matrix, count in zip(matrices, inputs, strict=True)
    ]
    filled = [F.pad(bias, (0, _full(len(bias)) - len(bias))) for bias in biases]
    features, outputs = len(form.texture.weight), len(last)
    sizes = seen, hidden, len(form.mix), _full(outputs), features, outputs - 1 - features
    return MotionTapWeights(torch.cat(blocks), torch.cat(filled), last, *sizes)


def _full(count: int) -> int:
    return -(-count // SUMS) * SUMS


def _blocks(matrix: Tensor, pairs: bool) -> Tensor:
    """(outputs, inputs) → numbers in the order in which they are read: of one input, or of two, for SUMS outputs."""
    together = 2 if pairs else 1
    outputs, inputs = matrix.shape
    matrix = F.pad(matrix, (0, -inputs % together, 0, _full(outputs) - outputs))
    blocks = matrix.view(-1, SUMS, matrix.shape[1] // together, together).transpose(1, 2)
    return (blocks.bfloat16() if pairs else blocks).flatten()


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias.float()
