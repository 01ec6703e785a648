"""Steering: the frame sampled along its own blur, where every motion blur is the same unit box."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.model.blocks import activate, normal_grid, upsample, zero_init

#: Luma weights of R', G', B' (ITU-R BT.601): any fixed weights would do, the network only needs one sharpness channel.
LUMA = (0.299, 0.587, 0.114)


#: Differences along a blur are small; this brings them to the order of 1.
CONTRAST = 8.0


def luma(frame: Tensor) -> Tensor:
    """(B, 3, H, W) → (B, 1, H, W)."""
    red, green, blue = frame.float().chunk(3, dim=1)
    return red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]


#: Pixels of a strip: at full size everything at once would be read from and written to main memory ten times over.
STRIP_PIXELS = 80_000


class Path(NamedTuple):
    """Where each pixel looks: its own place (1, h, w, 2), the motion (B, h, w, 2), and its length (B, 1, h, w).

    Places are in the units of ``grid_sample``, lengths in pixels of the frame.
    """

    base: Tensor
    step: Tensor
    length: Tensor


class SteeredTaps(nn.Module):
    """Samples luma at ``taps`` points along each pixel's motion and deconvolves there with one shared filter bank.

    The points run from −reach to +reach exposure lengths around the pixel. They enter as differences to the pixel
    itself and are gated by the length of the motion: no motion, no correction.
    """

    def __init__(self, *, taps: int, reach: float, scale: int, hidden: int, features: int, guides: int) -> None:
        super().__init__()
        self.scale = scale
        self.features = features
        offsets = torch.linspace(-reach, reach, taps)
        self.register_buffer("offsets", offsets[offsets.abs() > 1e-6], persistent=False)
        self.offsets: Tensor
        self.filters = nn.Conv2d(len(self.offsets) + 1 + guides, hidden, 1)
        self.mix = nn.Conv2d(hidden, hidden, 1)
        self.correction = zero_init(nn.Conv2d(hidden, 1, 1))
        self.texture = nn.Conv2d(hidden, features, 1)

    def forward(self, frame: Tensor, motion: Tensor, guide: Tensor) -> tuple[Tensor, Tensor]:
        """Deconvolve a frame along its motion.

        Args:
            frame: (B, 3, H, W) in [0, 1].
            motion: displacement during the exposure (B, 2, H/8, W/8) in pixels of the frame; gets no gradient here.
            guide: what to mind there, noise for one (B, G, H/8, W/8).

        Returns:
            The luma correction (B, 1, H, W), float32, and texture features (B, features · (4/scale)², H/4, W/4).
        """
        centre = luma(frame)
        if self.scale > 1:
            centre = F.avg_pool2d(centre, self.scale)
        path = self._path(centre, motion.detach().float())
        guide = upsample(guide, 8 // self.scale)
        parts = [self._deconvolve(centre, path, guide, rows) for rows in _strips(centre, 4 // self.scale)]
        correction, texture = (torch.cat(columns, dim=2) for columns in zip(*parts, strict=True))
        if self.scale > 1:
            correction = upsample(correction, self.scale)
        return correction, texture

    def _path(self, centre: Tensor, motion: Tensor) -> Path:
        """The motion at each sample of ``centre`` (B, 1, h, w)."""
        height, width = centre.shape[-2:]
        length = upsample(motion.square().sum(dim=1, keepdim=True).sqrt(), 8 // self.scale)
        span = motion.new_tensor((2.0 / width, 2.0 / height)) / self.scale
        step = upsample(motion * span.view(1, 2, 1, 1), 8 // self.scale).permute(0, 2, 3, 1).contiguous()
        return Path(normal_grid(height, width, centre.device), step, length)

    def _deconvolve(self, centre: Tensor, path: Path, guide: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """Correction and texture of some rows."""
        differences, length = self._look_along(centre, path, rows)
        dtype = self.filters.weight.dtype
        gate = (length * length / (1 + length * length)).to(dtype)
        x = torch.cat((differences.to(dtype), (torch.log1p(length) / 4).to(dtype), guide[:, :, rows]), 1)
        x = x.contiguous(memory_format=torch.channels_last)
        x = activate(self.filters(x))
        x = activate(self.mix(x)) * gate
        correction = self.correction(x).float() / CONTRAST
        return correction, F.pixel_unshuffle(self.texture(x), 4 // self.scale)

    @torch.no_grad()
    def _look_along(self, centre: Tensor, path: Path, rows: slice) -> tuple[Tensor, Tensor]:
        """Differences to the centre times CONTRAST (B, K, rows, w) and the motion's length (B, 1, rows, w)."""
        here = centre[:, :, rows]
        step, base = path.step[:, None, rows], path.base[:, None, rows]
        grid = torch.addcmul(base, self.offsets.view(1, -1, 1, 1, 1), step)  # (B, K, rows, w, 2)
        taps = F.grid_sample(centre, grid.flatten(1, 2), "bilinear", "border", align_corners=False)
        return (taps.view(here.shape[0], -1, *here.shape[2:]) - here) * CONTRAST, path.length[:, :, rows]


def _strips(centre: Tensor, multiple: int) -> list[slice]:
    """Rows to work on at a time: on a CPU so few that what is computed of them stays in its cache."""
    batch, _, height, width = centre.shape
    if centre.device.type != "cpu":
        return [slice(0, height)]
    rows = max(8, STRIP_PIXELS // (batch * width) // multiple * multiple)
    return [slice(top, min(height, top + rows)) for top in range(0, height, rows)]
