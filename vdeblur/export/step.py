"""Exportable step: one inference step as a pure function of tensors, recurrent state in and out.

One graph is for all frames of a clip. A first frame is one whose memory is zeros, and so knows nothing of a frame
before it; that no frame follows is said by a flag. Both are looked at for each clip of a batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from vdeblur.engine.batching import concatenate, split_batch
from vdeblur.engine.pixels import crop, luma_from_rgb
from vdeblur.engine.tiling import pad_to_network
from vdeblur.frames import Colour
from vdeblur.model.exposure import has_frames
from vdeblur.model.luma_net import LumaFeatures
from vdeblur.model.motion_taps import luma
from vdeblur.model.network import traits_of
from vdeblur.model.optical_flow import build_pyramid


class Size(NamedTuple):
    """Of what a step is given: clips in a batch, and height and width of their frames in pixels."""

    batch: int
    height: int
    width: int


class ExportableStep(nn.Module):
    """A step of a network, which is kept as it is.

    Inputs: the frame (B, 3, H, W), float32 R'G'B' in [0, 1]; with lookahead the frame after it, and whether it is the
    last one (B,), boolean, where the frame after does not matter; the memory. Outputs: the sharp frame, in [0, 1], and
    the new memory: the frame's luma in squares of S × S pixels, S being the network's stride (B, S², H/S, W/S), and
    the network's state.
    """

    def __init__(self, network: nn.Module, lookahead: int) -> None:
        super().__init__()
        self.network: Any = network
        self._traits = traits_of(network)
        self._lookahead = lookahead

    def forward(self, frame: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        gathered, *state = others[2 * self._lookahead :]
        if isinstance(gathered.shape[-1], torch.SymInt):
            self._say_what_sizes_agree(frame, others[: 2 * self._lookahead], gathered, state)
        before = pixel_shuffle(gathered, self.network.stride)
        memory = self._traits.state_from(state)
        present = has_frames(memory.profile)[:, :, None, None]
        grey, exists = [before], [present, None]
        if self._lookahead:
            grey.append(self._fitting(self._luma(others[0])))
            exists[1] = ~others[1].view(-1, 1, 1, 1)
        sides = [*self._seen_beside(grey), None][:2]
        current = self.network.encode(self._input(frame))
        residual, new = self.network.residual(sides[0], current, sides[1], memory, present=tuple(exists))
        sharp = (frame + crop(residual, *frame.shape[-2:])).clamp(0, 1)
        kept = pixel_unshuffle(self._fitting(self._luma(frame)), self.network.stride)
        return (sharp, kept, *(part.float() for part in new))

    def _say_what_sizes_agree(
        self, frame: Tensor, others: tuple[Tensor, ...], gathered: Tensor, state: list[Tensor]
    ) -> None:
        """Tell a tracer at once; left to find out by itself, it takes many times as long."""
        batch, _, *cells = gathered.shape
        strides = [self.network.stride] * (1 + len(others)) + [self.network.stride // 8, self.network.stride // 16]
        for tensor, factor in zip((frame, *others, *state), strides, strict=False):
            torch._check(tensor.shape[0] == batch)  # type: ignore[no-untyped-call,unused-ignore]
            for size, count in zip(tensor.shape[2:], cells, strict=False):
                torch._check(size == count * factor)  # type: ignore[no-untyped-call,unused-ignore]

    def memory(self, size: Size) -> list[Tensor]:
        """What to begin with: zeros."""
        frame = torch.zeros(size.batch, 3, size.height, size.width)
        with torch.no_grad():
            picture = self._input(frame)
            _, state = self.network.residual(None, self.network.encode(picture), None, None)
            gathered = pixel_unshuffle(picture[:, :1], self.network.stride)
        return [torch.zeros_like(part, dtype=torch.float32) for part in (gathered, *state)]

    def examples(self, size: Size) -> list[Tensor]:
        """Inputs of the right shapes."""
        frames = [torch.zeros(size.batch, 3, size.height, size.width) for _ in range(1 + self._lookahead)]
        flags = [torch.zeros(size.batch, dtype=torch.bool)] * self._lookahead
        return [*frames, *flags, *self.memory(size)]

    def inputs(self) -> list[str]:
        """Names of what comes in, those of the memory last."""
        return ["frame", *["following", "last"][: 2 * self._lookahead], *self.memory_names()]

    def memory_names(self) -> list[str]:
        return [f"memory_{number}" for number in range(len(self.memory(Size(1, 64, 64))))]

    def _input(self, frame: Tensor) -> Tensor:
        """What the engine gives the network of an untagged R'G'B' frame."""
        return self._fitting(self._luma(frame) if self._traits.channels == 1 else frame.clamp(0, 1))

    def _fitting(self, picture: Tensor) -> Tensor:
        """A picture as large as the network needs it; one of any size has to be so already."""
        return picture if isinstance(picture.shape[-1], torch.SymInt) else pad_to_network(self.network, picture)

    def _luma(self, frame: Tensor) -> Tensor:
        """Luma (B, 1, H, W) that the network sees: what it is given, or what it makes of R'G'B' itself."""
        frame = frame.clamp(0, 1)
        if self._traits.channels == 1:
            return luma_from_rgb(frame, Colour(), lines=frame.shape[-2])[:, None]
        return luma(frame)

    def _seen_beside(self, grey: list[Tensor]) -> list[LumaFeatures]:
        """What a network looks at in the frames before and after one, of their luma (B, 1, H, W)."""
        levels = build_pyramid(concatenate(grey), self.network.config.flow_finest)
        return [LumaFeatures(*parts) for parts in zip(grey, split_batch(levels, len(grey)), strict=True)]
