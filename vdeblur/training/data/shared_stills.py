"""Shared-memory stills: pictures in a memory-mapped file that worker processes share, and clips made from them."""

from __future__ import annotations

import atexit
import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from vdeblur.training.synthesis.blur import ByteClip, make_levels
from vdeblur.training.synthesis.config import SynthesisConfig
from vdeblur.training.synthesis.stills import Textures
from vdeblur.training.synthesis.videos import DenseFrames, make_averaged


@dataclass(frozen=True)
class ClipSource:
    """All that clips are made from: pictures on one device, and pieces of sharp videos to average."""

    textures: Textures
    pieces: Sequence[DenseFrames]
    config: SynthesisConfig
    seed: int

    def make(self, kind: str, numbers: Sequence[int]) -> list[ByteClip]:
        """Clips of a kind in small: the same ones whatever is made before or beside them."""
        if kind == "averaged":
            device = self.textures.pictures[0].device
            return [make_averaged(self.pieces, self.config, seed=self.seed, number=n, device=device) for n in numbers]
        return make_levels(self.textures, self.config, seed=self.seed, numbers=numbers)


@dataclass
class SharedClipSource(Dataset[ByteClip]):
    """A source that is written to a file, so that processes share one copy; made again in each of them when used.

    A map-style data set whose keys are (kind, number).
    """

    file: Path
    shapes: list[tuple[int, ...]]
    textures: int
    details: list[npt.NDArray[np.float32]]
    config: SynthesisConfig
    seed: int
    _source: ClipSource | None = field(default=None, repr=False)

    @classmethod
    def written(cls, source: ClipSource, file: Path) -> SharedClipSource:
        arrays = [*source.textures.pictures, *(piece.frames for piece in source.pieces)]
        with file.open("wb") as target:
            for array in arrays:
                array.contiguous().numpy().tofile(target)
        # Arrays, not tensors: each tensor would travel to each process by a file of its own.
        details = [detail.numpy() for detail in source.textures.details]
        shapes = [tuple(array.shape) for array in arrays]
        return cls(file, shapes, len(source.textures), details, source.config, source.seed)

    def __getitem__(self, key: tuple[str, int]) -> ByteClip:
        if self._source is None:
            self._source = self._opened()
        kind, number = key
        return self._source.make(kind, [number])[0]

    def _opened(self) -> ClipSource:
        # Copy on write: torch wants memory it may write to, and nobody does.
        samples = torch.from_numpy(np.memmap(self.file, np.uint8, mode="c"))
        arrays, start = [], 0
        for shape in self.shapes:
            size = math.prod(shape)
            arrays.append(samples[start : start + size].view(shape))
            start += size
        textures = Textures(arrays[: self.textures], [torch.from_numpy(detail) for detail in self.details])
        return ClipSource(textures, [DenseFrames(array) for array in arrays[self.textures :]], self.config, self.seed)


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="vdeblur-", ignore_cleanup_errors=True)


def begin_worker(_number: int) -> None:
    """Set a worker process up: one thread, and an end as forked processes have it.

    A spawned worker would take the interpreter down while the thread that sends clips is inside of torch; now and then
    that aborts the process, and the parent takes it for a failure.
    """
    torch.set_num_threads(1)
    atexit.register(os._exit, 0)
