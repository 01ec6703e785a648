"""Image files: found below folders and decoded to 8-bit frames."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from torch import Tensor

from vdeblur.engine.pixels import rgb_of
from vdeblur.errors import UsageError
from vdeblur.frames import Frame


def find_files(folders: Sequence[Path], suffixes: Collection[str], what: str) -> list[Path]:
    """Every file below the folders whose name ends so, sorted; a folder may also be one file.

    Raises:
        UsageError: a folder is missing or holds none of ``what``.
    """
    found: list[Path] = []
    for folder in folders:
        inside = folder.rglob("*") if folder.is_dir() else [folder] if folder.is_file() else []
        here = sorted(path for path in inside if path.suffix.lower() in suffixes)
        if not here:
            raise UsageError(f"no {what} ({', '.join(sorted(suffixes))}) below {folder}")
        found += here
    return found


def picture_of(frame: Frame) -> Tensor:
    """A frame as R'G'B' levels, (3, H, W) uint8."""
    return rgb_of(frame)[0].mul(255).round_().to(torch.uint8)
