"""Steering: the frame sampled along its own blur, where every motion blur is the same unit box."""

from __future__ import annotations

from collections.abc import Sequence
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
#: A neighbour that differs by so much luma in the mean, after it is brought into place, is not looked at.
MISMATCH_LIMIT = 0.2


class Neighbour(NamedTuple):
    """Another frame in which each pixel is seen again.

    ``frame`` (B, 3, H, W) in [0, 1], None where there is none; ``displacement`` (B, 2, H/8, W/8) to the pixel's place
    there, in pixels; ``mismatch`` (B, 1, H/8, W/8), the mean difference in luma there, 1 where there is no frame.
    """

    frame: Tensor | None
    displacement: Tensor
    mismatch: Tensor


class View(NamedTuple):
    """A neighbour at the resolution of the taps: luma (B, 1, h, w), the places (B, h, w, 2) to look at in the units of
    ``grid_sample``, and how far to trust it (B, 1, h, w), 0 to 1."""

    luma: Tensor
    base: Tensor
    trust: Tensor


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
    itself and are gated by the length of the motion: no motion, no correction. In each of ``neighbours`` other frames
    ``neighbour_points`` more are looked at, from −1 to +1 exposure lengths around the pixel's place there, and
    ``beside`` points on each of two lines one sample to the left and right of the motion.
    """

    def __init__(
        self,
        *,
        taps: int,
        reach: float,
        scale: int,
        hidden: int,
        depth: int = 1,
        features: int,
        guides: int,
        neighbours: int = 0,
        neighbour_points: int = 0,
        beside: int = 0,
    ) -> None:
        super().__init__()
        self.scale = scale
        offsets = torch.linspace(-reach, reach, taps)
        self.register_buffer("offsets", offsets[offsets.abs() > 1e-6], persistent=False)
        self.offsets: Tensor
        around = torch.linspace(-1, 1, neighbour_points) if neighbour_points > 1 else torch.zeros(neighbour_points)
        self.register_buffer("neighbour_offsets", around, persistent=False)
        self.neighbour_offsets: Tensor
        self.register_buffer("beside_offsets", torch.linspace(-reach, reach, beside), persistent=False)
        self.beside_offsets: Tensor
        seen = neighbours * (neighbour_points + 1) if neighbour_points else 0
        seen += 2 * beside
        self.guides = guides
        self.filters = nn.Conv2d(len(self.offsets) + 2 + seen + guides, hidden, 1)
        self.mix = nn.ModuleList(nn.Conv2d(hidden, hidden, 1) for _ in range(depth))
        self.correction = zero_init(nn.Conv2d(hidden, 1, 1))
        self.texture = nn.Conv2d(hidden, features, 1)

    def forward(
        self, frame: Tensor, motion: Tensor, guide: Tensor, neighbours: Sequence[Neighbour] = ()
    ) -> tuple[Tensor, Tensor]:
        """Deconvolve a frame along its motion.

        Args:
            frame: (B, 3, H, W) in [0, 1].
            motion: displacement during the exposure (B, 2, H/8, W/8) in pixels of the frame.
            guide: what to mind there, noise for one (B, G, H/8, W/8).
            neighbours: as many as the taps were made for.

        Returns:
            The luma correction (B, 1, H, W), float32, and texture features (B, features · (4/scale)², H/4, W/4).
        """
        centre, path, views = self.prepare(frame, motion, neighbours)
        guide = upsample(guide, 8 // self.scale)
        parts = [self._deconvolve(centre, path, views, guide, rows) for rows in _strips(centre, 4 // self.scale)]
        correction, texture = (torch.cat(columns, dim=2) for columns in zip(*parts, strict=True))
        if self.scale > 1:
            correction = upsample(correction, self.scale)
        return correction, texture

    def prepare(
        self, frame: Tensor, motion: Tensor, neighbours: Sequence[Neighbour]
    ) -> tuple[Tensor, Path, list[View | None]]:
        """Luma, paths and views of a frame at the resolution of the taps, as :meth:`look` takes them."""
        centre = self._grey(frame)
        path = self._path(centre, motion.float())
        return centre, path, [self._view(neighbour, path) for neighbour in neighbours]

    def _grey(self, frame: Tensor) -> Tensor:
        """Luma at the resolution of the taps: (B, 3, H, W) → (B, 1, h, w)."""
        return F.avg_pool2d(luma(frame), self.scale) if self.scale > 1 else luma(frame)

    def _path(self, centre: Tensor, motion: Tensor) -> Path:
        """The motion at each sample of ``centre`` (B, 1, h, w)."""
        height, width = centre.shape[-2:]
        length = upsample(motion.square().sum(dim=1, keepdim=True).sqrt(), 8 // self.scale)
        return Path(normal_grid(height, width, centre.device), self._steps(motion), length)

    def _steps(self, displacement: Tensor) -> Tensor:
        """(B, 2, H/8, W/8) in pixels of the frame → (B, h, w, 2) in the units of ``grid_sample``."""
        height, width = displacement.shape[-2:]
        span = displacement.new_tensor((2.0 / width, 2.0 / height)) / 8
        return upsample(displacement * span.view(1, 2, 1, 1), 8 // self.scale).permute(0, 2, 3, 1).contiguous()

    def _view(self, neighbour: Neighbour, path: Path) -> View | None:
        """A neighbour made ready to be looked at, None where there is none."""
        if neighbour.frame is None:
            return None
        trust = upsample((1 - neighbour.mismatch.float() / MISMATCH_LIMIT).clamp(min=0), 8 // self.scale)
        return View(self._grey(neighbour.frame), path.base + self._steps(neighbour.displacement.float()), trust)

    def _deconvolve(
        self, centre: Tensor, path: Path, views: Sequence[View | None], guide: Tensor, rows: slice
    ) -> tuple[Tensor, Tensor]:
        """Correction and texture of some rows."""
        dtype = self.filters.weight.dtype
        seen = torch.cat((self.look(centre, path, views, rows).to(dtype), guide[:, :, rows].to(dtype)), 1)
        x = self.invert(seen.contiguous(memory_format=torch.channels_last), path.length[:, :, rows])
        correction = self.correction(x).float() / CONTRAST
        return correction, F.pixel_unshuffle(self.texture(x), 4 // self.scale)

    def invert(self, seen: Tensor, length: Tensor) -> Tensor:
        """What a pixel sees along its motion, guides last (B, K, h, w), and that motion's length give its features."""
        x = activate(self.filters(seen))
        for layer in self.mix:
            x = activate(layer(x))
        return x * (length * length / (1 + length * length)).to(x.dtype)

    def look(self, centre: Tensor, path: Path, views: Sequence[View | None], rows: slice) -> Tensor:
        """What the pixels of some rows see, (B, K, rows, w) float32, of the order of 1.

        Differences to the pixel along its motion, the motion's length, the pixel's own luma, and for each neighbour the
        differences there and the trust in them; then the differences beside the motion.
        """
        here, length = centre[:, :, rows], path.length[:, :, rows]
        along = _sampled(centre, path.base[:, rows], path.step[:, rows], self.offsets)
        parts = [(along - here) * CONTRAST, torch.log1p(length) / 4, here - 0.5]
        parts += [self._look_into(view, centre, path, rows) for view in views]
        if len(self.beside_offsets):
            parts += [(seen - here) * CONTRAST for seen in self._look_beside(centre, path, rows)]
        return torch.cat(parts, 1)

    def _look_beside(self, centre: Tensor, path: Path, rows: slice) -> list[Tensor]:
        """Luma on the two lines beside the motion: (B, K, rows, w) each."""
        step, base = path.step[:, rows], path.base[:, rows]
        span = step.new_tensor((centre.shape[-1] / 2, centre.shape[-2] / 2))
        along = step * span
        along = along / (along.norm(dim=-1, keepdim=True) + 1e-3)
        across = torch.stack((-along[..., 1], along[..., 0]), -1) / span
        return [_sampled(centre, base + side * across, step, self.beside_offsets) for side in (-1.0, 1.0)]

    def _look_into(self, view: View | None, centre: Tensor, path: Path, rows: slice) -> Tensor:
        """A neighbour's differences to the centre times CONTRAST, and the trust in them: (B, K + 1, rows, w).

        All are weighted by the trust, so that a missing neighbour and a wrong match are zeros.
        """
        here = centre[:, :, rows]
        if view is None:
            return here.new_zeros(here.shape[0], len(self.neighbour_offsets) + 1, *here.shape[2:])
        taps = _sampled(view.luma, view.base[:, rows], path.step[:, rows], self.neighbour_offsets)
        trust = view.trust[:, :, rows]
        return torch.cat(((taps - here) * (CONTRAST * trust), trust), 1)


def _sampled(picture: Tensor, base: Tensor, step: Tensor, offsets: Tensor) -> Tensor:
    """A picture (B, 1, h, w) at ``base`` + each offset · ``step``, both (B, rows, w, 2): (B, K, rows, w)."""
    grid = torch.addcmul(base[:, None], offsets.view(1, -1, 1, 1, 1), step[:, None])  # (B, K, rows, w, 2)
    taps = F.grid_sample(picture, grid.flatten(1, 2), "bilinear", "border", align_corners=False)
    return taps.view(picture.shape[0], len(offsets), *step.shape[1:3])


def _strips(centre: Tensor, multiple: int) -> list[slice]:
    """Rows to work on at a time: on a CPU so few that what is computed of them stays in its cache."""
    batch, _, height, width = centre.shape
    if centre.device.type != "cpu":
        return [slice(0, height)]
    rows = max(8, STRIP_PIXELS // (batch * width) // multiple * multiple)
    return [slice(top, min(height, top + rows)) for top in range(0, height, rows)]
