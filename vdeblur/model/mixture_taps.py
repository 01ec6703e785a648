"""Mixture taps: per-block dynamic filters, a mixture of learned kernels predicted from block statistics (CondConv).

One filter for all pixels must serve a street lamp, a face and noise. Here an MLP predicts, from how much a block's
pixels differ along their motion, how far they move and how well the neighbours match, the filter of these 64 pixels: a
mixture of learned experts (Yang et al. 2019, "CondConv"). A pixel then needs a seventh of the multiply-adds of an
equally good shared filter.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vdeblur.model.block_taps import BlockTaps, FrameBlocks, motion_weight
from vdeblur.model.layers import activate
from vdeblur.model.regions import full_region

#: Index buffers by kind of feature: differences; those constant over a block; inputs of the predicted filters.
FEATURE_GROUPS = {
    "differences": ("difference",),
    "constants": ("length", "confidence"),
    "inputs": ("difference", "luma"),
}


class BlockFilters(NamedTuple):
    """Predicted filters of N blocks of 64 pixels.

    ``weight`` (N, hidden, inputs) and ``bias`` (N, hidden) of the hidden layer; ``output`` (N, hidden) and
    ``output_bias`` (N, 1) of the output; ``skip`` (N, differences): skip connection from the differences to the output.
    """

    weight: Tensor
    bias: Tensor
    output: Tensor
    output_bias: Tensor
    skip: Tensor


class MixtureTaps(BlockTaps):
    """Block taps with a filter per block, mixed from ``experts`` learned ones.

    The predictor is an MLP with ``code`` units a layer. Its inputs are the mean absolute value of each difference, the
    motion's length and the match confidence of the neighbours.
    """

    def __init__(self, *, taps: int, reach: float, hidden: int, experts: int, code: int, neighbour_points: int) -> None:
        super().__init__(taps=taps, reach=reach, neighbour_points=neighbour_points)
        # Buffers on the device: lists would be copied there in every step, which CUDA graphs forbid.
        for name, kinds in FEATURE_GROUPS.items():
            rows = [row for kind in kinds for row, spec in enumerate(self.feature_specs) if spec.kind == kind]
            self.register_buffer(name, torch.tensor(rows), persistent=False)
        self.differences: Tensor
        self.constants: Tensor
        self.inputs: Tensor
        inputs = len(self.inputs)
        self.code = nn.ModuleList([nn.Linear(len(self.differences) + len(self.constants), code), nn.Linear(code, code)])
        #: Outputs of the head: mixing weights of the experts, hidden bias, output weights and output bias, and skip
        #: weights.
        self.head_sizes = [experts, hidden, hidden, 1, len(self.differences)]
        self.head = nn.Linear(code, sum(self.head_sizes))
        #: The filter that all blocks share, and the experts.
        self.weight = nn.Parameter(torch.empty(experts + 1, hidden, inputs))
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.last = nn.Parameter(torch.zeros(hidden))
        with torch.no_grad():
            self.weight.uniform_(-(inputs**-0.5), inputs**-0.5)[1:].mul_(0.5)
            self.head.weight.normal_(std=0.02)[experts + hidden :].zero_()  # the initial correction is zero
            self.head.bias.zero_()

    @property
    def dtype(self) -> torch.dtype:
        return self.bias.dtype

    def select_kernel(self, kernels: Any) -> Any:
        return kernels.apply_mixture_taps

    def apply_filters(self, features: Tensor) -> Tensor:
        ordered = features.permute(1, 3, 4, 2, 0)  # (B, h, w, 64, features)
        per_block = ordered.reshape(-1, *ordered.shape[3:])
        correction = self._filter_blocks(per_block, self.block_statistics(per_block))
        return correction.view(ordered.shape[:4]).permute(0, 3, 1, 2)

    def export_correction(self, blocks: FrameBlocks) -> Tensor:
        features = self.gather_features(blocks, full_region(blocks.pixels))
        return self.apply_filters(features) * motion_weight(blocks.length)

    def correct_pixels(self, features: Tensor, length: Tensor, statistics: Tensor) -> Tensor:
        """Luma correction (N, P) of P pixels in each of N blocks, for training.

        Args:
            features: (N, P, features).
            length: of the blocks' motion in pixels (N,).
            statistics: of these blocks, as :meth:`block_statistics` returns them (N, K).
        """
        return self._filter_blocks(features, statistics) * motion_weight(length)[:, None]

    def block_statistics(self, features: Tensor) -> Tensor:
        """Inputs of the filter predictor, from all pixels of N blocks: (N, 64, features) → (N, K), float32.

        The fourth root of the mean absolute differences, motion length and match confidences.
        """
        magnitudes = features.index_select(-1, self.differences).float().abs().mean(1).sqrt().sqrt()
        return torch.cat((magnitudes, features[:, 0].index_select(-1, self.constants).float()), 1)

    def predict_filters(self, statistics: Tensor) -> BlockFilters:
        """Predict the filters of N blocks from their statistics (N, K)."""
        code = statistics.to(self.dtype)
        for layer in self.code:
            code = activate(layer(code))
        mixing, bias, output, output_bias, skip = self.head(code).split(self.head_sizes, 1)
        weight = torch.addmm(self.weight[0].flatten(), mixing, self.weight[1:].flatten(1))
        weight = weight.view(-1, *self.weight.shape[1:])
        return BlockFilters(weight, self.bias + bias, self.last + output, output_bias, skip)

    def _filter_blocks(self, features: Tensor, statistics: Tensor) -> Tensor:
        """Filter P pixels in each of N blocks: (N, P, features) → (N, P), float32, not yet weighted by the motion."""
        filters = self.predict_filters(statistics)
        pixels = features.index_select(-1, self.inputs).to(self.dtype)
        hidden = activate(torch.baddbmm(filters.bias[:, None], pixels, filters.weight.transpose(1, 2)))
        correction = torch.bmm(hidden, filters.output[..., None]) + torch.bmm(pixels[..., :-1], filters.skip[..., None])
        return correction[..., 0].float() + filters.output_bias.float()
