"""Stills: sharp photographs, checked before work starts, and sharp crops of them at random scales."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from kornia.io import ImageLoadType, load_image
from torch import Tensor

from vdeblur.errors import UsageError
from vdeblur.training.synthesis import Draw

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}


def find_stills(folders: Sequence[Path]) -> list[Path]:
    """Every photograph below the folders, sorted.

    Raises:
        UsageError: a folder is missing or holds no photograph.
    """
    found: list[Path] = []
    for folder in folders:
        here = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not here:
            raise UsageError(f"no photographs ({', '.join(sorted(SUFFIXES))}) below {folder}")
        found += here
    return found


def load_still(path: Path) -> Tensor:
    """A photograph as uint8 RGB (3, H, W).

    Raises:
        UsageError: it cannot be decoded.
    """
    try:
        picture: Tensor = load_image(path, ImageLoadType.RGB8)
    except Exception as exc:
        raise UsageError(f"cannot read the photograph {path}: {str(exc).splitlines()[0]}") from exc
    return picture


def sharpness(picture: Tensor) -> float:
    """Variance of the Laplacian of luma in [0, 1]: low where a crop has no detail to learn from."""
    grey = picture.mean(dim=-3, keepdim=True)[None]
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    return float(F.conv2d(grey, kernel).var())


class Stills:
    """Photographs in memory as uint8; hands out crops with detail.

    Args:
        paths: the photographs.
        longest_px: larger ones are reduced to this side, which also sharpens them.
    """

    def __init__(self, paths: Sequence[Path], *, longest_px: int = 1600) -> None:
        self.pictures = [_limited(load_still(path), longest_px) for path in paths]

    def crop(self, side_px: int, draw: Draw, *, least_sharpness: float = 0.0008, tries: int = 6) -> Tensor:
        """A sharp square crop (3, side, side) in [0, 1], reduced by a random factor of 1 to 2; the best of a few tries.

        A photograph smaller than that is mirrored at its edges.
        """
        best, best_sharpness = None, -1.0
        for _ in range(tries):
            picture = self.pictures[draw.integer(len(self.pictures))]
            cut = _cut(picture, round(side_px * draw.between(1.0, 2.0)), draw).float() / 255
            crop = F.interpolate(cut[None], (side_px, side_px), mode="bilinear", antialias=True, align_corners=False)[0]
            middle = crop[:, side_px // 4 : -side_px // 4, side_px // 4 : -side_px // 4]
            value = sharpness(middle)
            if value > best_sharpness:
                best, best_sharpness = crop, value
            if value >= least_sharpness:
                break
        assert best is not None
        return best


def _limited(picture: Tensor, longest_px: int) -> Tensor:
    factor = longest_px / max(picture.shape[-2:])
    if factor >= 1:
        return picture
    size = [round(side * factor) for side in picture.shape[-2:]]
    small = F.interpolate(picture[None].float(), size, mode="bilinear", antialias=True, align_corners=False)
    return small[0].round().clamp(0, 255).to(torch.uint8)


def _cut(picture: Tensor, side: int, draw: Draw) -> Tensor:
    height, width = picture.shape[-2:]
    side = min(side, height, width)
    top, left = draw.integer(height - side + 1), draw.integer(width - side + 1)
    return picture[:, top : top + side, left : left + side]
