"""Kept regions: parts of the picture that come out as they went in, sample for sample."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vdeblur.engine.pixels import rgb_of
from vdeblur.errors import UsageError, VdeblurError
from vdeblur.frames import PixelFormat
from vdeblur.options import OPTIONS
from vdeblur.regions import NONE, KeepSetting
from vdeblur.video.source.reader import Reader

Mask = NDArray[np.bool_]


class KeptRegions:
    """The regions of a setting, as masks of planes of any size.

    Args:
        setting: "none", or rectangles and paths of mask pictures, white where the picture is kept.

    Raises:
        UsageError: that is none, or a mask cannot be read.
    """

    def __init__(self, setting: KeepSetting) -> None:
        self.setting: KeepSetting = OPTIONS["keep"].checked(setting)
        regions = () if self.setting == NONE else self.setting
        self._rectangles = [each for each in regions if not isinstance(each, str)]
        self._pictures = {each: _read_mask(each) for each in regions if isinstance(each, str)}
        self._quarters, self._mirrored = 0, False
        self._masks: dict[tuple[tuple[int, int], PixelFormat, torch.device], list[Tensor]] = {}

    @property
    def terms(self) -> tuple[str, ...]:
        """What determines the masks, as texts: rectangles, and the contents of pictures."""
        pictures = (hashlib.sha256(mask.tobytes()).hexdigest()[:16] for mask in self._pictures.values())
        return (*(",".join(map(str, each)) for each in self._rectangles), *pictures)

    def turn(self, *, degrees: int, mirrored: bool) -> None:
        """Take coordinates for those of the picture as players show it: turned, and then mirrored left to right.

        Args:
            degrees: counter-clockwise; the nearest quarter counts.
        """
        self._quarters, self._mirrored = round(degrees / 90) % 4, mirrored
        self._masks.clear()

    def check(self, size: tuple[int, int]) -> None:
        """Check that the regions lie within frames of a size (height, width).

        Raises:
            UsageError: one does not; the message shows the size.
        """
        height, width = self._shown(size)
        for x, y, across, down in self._rectangles:
            if x + across > width or y + down > height:
                raise UsageError(f"keep cannot be {x},{y},{across},{down}; the picture has {width}×{height} pixels")
        for path, mask in self._pictures.items():
            if mask.shape != (height, width):
                rows, columns = mask.shape
                raise UsageError(f"keep cannot be {path}, of {columns}×{rows} pixels; the picture has {width}×{height}")

    def restored(self, source: Sequence[Tensor], planes: Sequence[Tensor], layout: PixelFormat) -> tuple[Tensor, ...]:
        """Restored planes with the source's samples in the regions; chroma samples that a region touches are kept.

        Raises:
            UsageError: as :meth:`check`.
        """
        if self.setting == NONE:
            return tuple(planes)
        masks = self._masks_for((int(source[0].shape[0]), int(source[0].shape[1])), layout, source[0].device)
        return tuple(
            after if after is before else torch.where(mask, _bits(before), _bits(after)).view(after.dtype)
            for before, after, mask in zip(source, planes, masks, strict=False)
        )

    def _masks_for(self, size: tuple[int, int], layout: PixelFormat, device: torch.device) -> list[Tensor]:
        key = (size, layout, device)
        if key not in self._masks:
            self.check(size)
            whole = torch.from_numpy(self._drawn(size))
            shapes = [layout.plane_shape(plane, *size) for plane in range(layout.colour_planes)]
            self._masks = {key: [_at_plane(whole, shape, layout).to(device) for shape in shapes]}
        return self._masks[key]

    def _drawn(self, size: tuple[int, int]) -> Mask:
        """Mask of a frame of a size (height, width), as it is coded."""
        mask = np.zeros(self._shown(size), bool)
        for x, y, across, down in self._rectangles:
            mask[y : y + down, x : x + across] = True
        for picture in self._pictures.values():
            mask |= picture
        mask = mask[:, ::-1] if self._mirrored else mask
        return np.ascontiguousarray(np.rot90(mask, -self._quarters))

    def _shown(self, size: tuple[int, int]) -> tuple[int, int]:
        height, width = size
        return (width, height) if self._quarters % 2 else (height, width)


def _at_plane(mask: Tensor, shape: tuple[int, int], layout: PixelFormat) -> Tensor:
    """A mask at the size of a plane: a sample of chroma is kept where any of its pixels is."""
    if tuple(mask.shape) == shape:
        return mask
    step_x, step_y = (1 << shift for shift in layout.chroma_shift)
    padded = F.pad(mask[None, None].float(), (0, shape[1] * step_x - mask.shape[1], 0, shape[0] * step_y - len(mask)))
    return F.max_pool2d(padded, (step_y, step_x))[0, 0] > 0


def _bits(plane: Tensor) -> Tensor:
    """A plane in a type that PyTorch can choose from: it cannot from uint16."""
    return plane.view(torch.int16) if plane.dtype == torch.uint16 else plane


def _read_mask(path: str) -> Mask:
    """(H, W): where a picture is white rather than black."""
    if not Path(path).is_file():
        raise UsageError(f"keep cannot be {path}; there is no such file")
    try:
        with Reader(path) as reader:
            frame = next(iter(reader))
    except VdeblurError as exc:
        raise UsageError(f"keep cannot be {path}: {exc}") from exc
    mask: Mask = rgb_of(frame).mean(1)[0].numpy() >= 0.5
    return mask
