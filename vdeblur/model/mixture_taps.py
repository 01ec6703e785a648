"""Mixed taps: cell taps whose filter is made anew for each cell, from what its pixels see.

One filter for all pixels must serve a street lamp, a face and noise. Here a cell looks at itself first: how much its
pixels differ from what lies along their motion, how far they move, how well its neighbours match. A small network turns
that into the weights of a filter for this cell's 64 pixels alone: a mixture of learned filters, as in CondConv (Yang et
al. 2019). A pixel then needs a seventh of the multiply-adds of one filter for all that is as good.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vdeblur.model.block_taps import BlockTaps, FrameBlocks, faded
from vdeblur.model.layers import activate
from vdeblur.model.regions import whole_of

#: Buffers that say which rows of what is seen are the differences; what is the same for all pixels of a cell; what a
#: filter is given.
ROWS = {"differences": ("difference",), "constants": ("length", "trust"), "inputs": ("difference", "own")}


class BlockFilters(NamedTuple):
    """Filters of N cells of 64 pixels.

    ``weight`` (N, hidden, inputs) and ``bias`` (N, hidden) of the hidden layer; ``last`` (N, hidden) and ``shift``
    (N, 1) of the output; ``straight`` (N, differences) from the differences to the output.
    """

    weight: Tensor
    bias: Tensor
    last: Tensor
    shift: Tensor
    straight: Tensor


class MixtureTaps(BlockTaps):
    """Deconvolves luma with a filter for each cell, mixed of ``experts`` learned ones.

    The cell's own network has ``code`` units a layer. It is given the mean size of each difference, the length of the
    motion and the trust in the neighbours.
    """

    def __init__(self, *, taps: int, reach: float, hidden: int, experts: int, code: int, neighbour_points: int) -> None:
        super().__init__(taps=taps, reach=reach, neighbour_points=neighbour_points)
        # On the device: lists would be copied there in every step, which no CUDA graph allows.
        for name, kinds in ROWS.items():
            rows = [row for kind in kinds for row, column in enumerate(self.columns) if column.kind == kind]
            self.register_buffer(name, torch.tensor(rows), persistent=False)
        self.differences: Tensor
        self.constants: Tensor
        self.inputs: Tensor
        inputs = len(self.inputs)
        self.code = nn.ModuleList([nn.Linear(len(self.differences) + len(self.constants), code), nn.Linear(code, code)])
        #: What the head makes of a cell's code: shares of the experts, a bias of the hidden units, the output's
        #: weights and its shift, and weights that lead from the differences straight to the output.
        self.head_sizes = [experts, hidden, hidden, 1, len(self.differences)]
        self.head = nn.Linear(code, sum(self.head_sizes))
        #: The filter that all cells have, and the experts.
        self.weight = nn.Parameter(torch.empty(experts + 1, hidden, inputs))
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.last = nn.Parameter(torch.zeros(hidden))
        with torch.no_grad():
            self.weight.uniform_(-(inputs**-0.5), inputs**-0.5)[1:].mul_(0.5)
            self.head.weight.normal_(std=0.02)[experts + hidden :].zero_()  # the correction starts as nothing
            self.head.bias.zero_()

    @property
    def dtype(self) -> torch.dtype:
        return self.bias.dtype

    def kernel(self, kernels: Any) -> Any:
        return kernels.apply_mixture_taps

    def corrected(self, seen: Tensor) -> Tensor:
        cells = seen.permute(1, 3, 4, 2, 0)  # (B, h, w, 64, seen)
        each = cells.reshape(-1, *cells.shape[3:])
        return self._of_pixels(each, self.known(each)).view(cells.shape[:4]).permute(0, 3, 1, 2)

    def whole(self, sight: FrameBlocks) -> Tensor:
        return self.corrected(self.look(sight, whole_of(sight.own))) * faded(sight.length)

    def change(self, seen: Tensor, length: Tensor, known: Tensor) -> Tensor:
        """Correction (N, P) of pixels of cells that see (N, P, seen), moved by ``length`` (N,); for training.

        ``known`` (N, K) is what :meth:`known` says of these cells.
        """
        return self._of_pixels(seen, known) * faded(length)[:, None]

    def known(self, cells: Tensor) -> Tensor:
        """What cells' filters are made of, from what all their pixels see (N, 64, seen): (N, K), float32."""
        sizes = cells.index_select(-1, self.differences).float().abs().mean(1).sqrt().sqrt()
        return torch.cat((sizes, cells[:, 0].index_select(-1, self.constants).float()), 1)

    def filters_of(self, known: Tensor) -> BlockFilters:
        """The filters of N cells."""
        code = known.to(self.dtype)
        for layer in self.code:
            code = activate(layer(code))
        shares, bias, last, shift, straight = self.head(code).split(self.head_sizes, 1)
        weight = torch.addmm(self.weight[0].flatten(), shares, self.weight[1:].flatten(1))
        return BlockFilters(
            weight.view(-1, *self.weight.shape[1:]), self.bias + bias, self.last + last, shift, straight
        )

    def _of_pixels(self, cells: Tensor, known: Tensor) -> Tensor:
        """What P pixels of cells see (N, P, seen) → (N, P), float32, before it is weighted by the motion."""
        mixture = self.filters_of(known)
        pixels = cells.index_select(-1, self.inputs).to(self.dtype)
        hidden = activate(torch.baddbmm(mixture.bias[:, None], pixels, mixture.weight.transpose(1, 2)))
        change = torch.bmm(hidden, mixture.last[..., None]) + torch.bmm(pixels[..., :-1], mixture.straight[..., None])
        return change[..., 0].float() + mixture.shift.float()
