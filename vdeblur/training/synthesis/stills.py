"""Stills: sharp photographs, checked before work starts, and random crops of them with detail."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from kornia.io import ImageLoadType, load_image
from torch import Tensor

from vdeblur.errors import UsageError
from vdeblur.training.synthesis.config import SynthesisConfig
from vdeblur.training.synthesis.image_files import find_files
from vdeblur.training.synthesis.rng import Draw

log = logging.getLogger(__name__)

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}
#: Side of the cells whose detail is measured, pixels.
_CELL = 32
#: How often a cut is drawn in search of detail.
_TRIES = 8
#: A photograph whose best cell has less than this share of the wanted detail teaches nothing.
_HOPELESS = 0.05
_NAMED = 3
#: Threads that decode photographs.
_READERS = 8


@dataclass(frozen=True)
class CropWindow:
    """A window of a picture, in its own pixels (it may reach beyond and is mirrored there), and its size when used."""

    picture: int
    top: int
    left: int
    rows: int
    columns: int
    height: int
    width: int


class Textures:
    """Sharp pictures in memory: (3, H, W) uint8, all on one device, and where they have detail.

    Args:
        details: for each picture the mean squared Laplacian of luma in cells of 32 pixels, on the CPU.
    """

    def __init__(self, pictures: Sequence[Tensor], details: Sequence[Tensor] | None = None) -> None:
        self.pictures = list(pictures)
        self.details = [detail_map(picture) for picture in pictures] if details is None else list(details)

    def __len__(self) -> int:
        return len(self.pictures)

    def to(self, device: str | torch.device) -> Textures:
        """The same pictures on another device."""
        return Textures([picture.to(device) for picture in self.pictures], self.details)

    def cut(self, height: int, width: int, config: SynthesisConfig, draw: Draw) -> CropWindow:
        """A random cut that is (height, width) when reduced; the best of a few tries if detail is rare."""
        best, most = None, -1.0
        for _ in range(_TRIES):
            cut = self._random_cut(height, width, draw.between(*config.reduction), draw)
            detail = self._detail(cut)
            if detail > most:
                best, most = cut, detail
            if detail >= config.least_detail:
                break
        assert best is not None
        return best

    def _random_cut(self, height: int, width: int, reduction: float, draw: Draw) -> CropWindow:
        number = draw.integer(len(self.pictures))
        tall, wide = self.pictures[number].shape[-2:]
        reduction = min(reduction, max(1.0, min(tall / height, wide / width)))
        rows, columns = round(height * reduction), round(width * reduction)
        top, left = _place(tall, rows, draw), _place(wide, columns, draw)
        return CropWindow(number, top, left, rows, columns, height, width)

    def _detail(self, cut: CropWindow) -> float:
        """Mean detail of the middle half of a cut."""
        cells = self.details[cut.picture]
        top, left = cut.top + cut.rows // 4, cut.left + cut.columns // 4
        first_row, first_column = (
            min(max(0, at // _CELL), size - 1) for at, size in zip((top, left), cells.shape, strict=True)
        )
        last_row, last_column = (top + cut.rows // 2) // _CELL + 1, (left + cut.columns // 2) // _CELL + 1
        part = cells[first_row : max(last_row, first_row + 1), first_column : max(last_column, first_column + 1)]
        return float(part.mean())

    def pixels(self, cut: CropWindow) -> Tensor:
        """The cut itself: (3, height, width) uint8 on the pictures' device."""
        picture = self.pictures[cut.picture]
        tall, wide = picture.shape[-2:]
        if 0 <= cut.top <= tall - cut.rows and 0 <= cut.left <= wide - cut.columns:
            window = picture[:, cut.top : cut.top + cut.rows, cut.left : cut.left + cut.columns]
        else:
            rows, columns = _mirrored(cut.top, cut.rows, tall), _mirrored(cut.left, cut.columns, wide)
            window = picture[:, rows.to(picture.device)][:, :, columns.to(picture.device)]
        return resized(window, cut.height, cut.width)


def resized(window: Tensor, height: int, width: int) -> Tensor:
    """(3, h, w) uint8 reduced to (3, height, width) without aliasing."""
    if window.shape[-2:] == (height, width):
        return window
    source = window[None] if window.device.type == "cpu" else window[None].float()
    small = F.interpolate(source, (height, width), mode="bilinear", antialias=True, align_corners=False)[0]
    return small if small.dtype == torch.uint8 else small.round_().clamp_(0, 255).to(torch.uint8)


def _place(size: int, wanted: int, draw: Draw) -> int:
    """Where a window starts: anywhere inside, or centred where it is larger than the picture."""
    return draw.integer(size - wanted + 1) if wanted <= size else (size - wanted) // 2


def _mirrored(first: int, count: int, size: int) -> Tensor:
    """Indexes first … first + count - 1, reflected at the edges of 0 … size - 1 as often as needed."""
    period = max(1, 2 * (size - 1))
    index = torch.arange(first, first + count).remainder(period)
    return torch.minimum(index, period - index)


def detail_map(picture: Tensor) -> Tensor:
    """Mean squared Laplacian of luma in [0, 1] in each cell of 32 pixels, (rows, columns), on the CPU."""
    grey = picture.float().mean(dim=0) / 255
    laplacian = grey[1:-1, 2:] + grey[1:-1, :-2] + grey[2:, 1:-1] + grey[:-2, 1:-1] - 4 * grey[1:-1, 1:-1]
    cell = min(_CELL, *laplacian.shape)
    cells: Tensor = F.avg_pool2d(laplacian.square()[None, None], cell, ceil_mode=True)[0, 0]
    return cells.cpu()


def find_stills(folders: Sequence[Path]) -> list[Path]:
    """Every photograph below the folders, sorted; a folder may also be one photograph.

    Raises:
        UsageError: a folder is missing or holds no photograph.
    """
    return find_files(folders, SUFFIXES, "photographs")


def load_still(path: Path) -> Tensor:
    """A photograph as uint8 RGB (3, H, W).

    Raises:
        UsageError: it cannot be decoded.
    """
    try:
        picture: Tensor = load_image(path, ImageLoadType.RGB8)
    except Exception as exc:
        reason = (str(exc).splitlines() or [type(exc).__name__])[0]
        raise UsageError(f"cannot read the photograph {path}: {reason}") from exc
    return picture.contiguous()


def load_stills(paths: Iterable[Path], config: SynthesisConfig) -> Textures:
    """Read every photograph; those too small or without any detail are left out, and the log names them.

    Raises:
        UsageError: one cannot be decoded, or none is of use.
    """
    pictures, details, left_out = [], [], []
    for path, size, picture, detail in _read_all(paths, config.longest_px):
        if min(size) < config.size_px // 2:
            left_out.append(f"{path} ({size[1]}×{size[0]}, less than half a frame)")
            continue
        if float(detail.max()) < _HOPELESS * config.least_detail:
            left_out.append(f"{path} (without detail)")
            continue
        pictures.append(picture)
        details.append(detail)
    if left_out:
        more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        words = f"{', '.join(left_out[:_NAMED])}{more}"
        if not pictures:
            raise UsageError(f"none of the photographs is of use: {words}")
        log.warning("left out: %s", words)
    if not pictures:
        raise UsageError("there are no photographs to make clips from; name a folder with some")
    return Textures(pictures, details)


def _read_all(paths: Iterable[Path], longest_px: int) -> Iterator[tuple[Path, tuple[int, int], Tensor, Tensor]]:
    """Each photograph's path, its size in the file, itself reduced to ``longest_px``, and where it has detail."""

    def read(path: Path) -> tuple[Path, tuple[int, int], Tensor, Tensor]:
        picture = load_still(path)
        small = limited(picture, longest_px)
        return path, (picture.shape[-2], picture.shape[-1]), small, detail_map(small)

    with ThreadPoolExecutor(_READERS, thread_name_prefix="vdeblur-stills") as pool:
        yield from pool.map(read, paths)


def limited(picture: Tensor, longest_px: int) -> Tensor:
    """A picture reduced until its longer side is at most ``longest_px``."""
    factor = longest_px / max(picture.shape[-2:])
    if factor >= 1:
        return picture
    height, width = (round(side * factor) for side in picture.shape[-2:])
    return resized(picture, height, width).contiguous()
