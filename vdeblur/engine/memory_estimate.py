"""Memory estimate: bytes that restoring a frame takes, predicted for any size from two trial frames."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vdeblur.engine.read_ahead import frames_that_wait

#: Side of the trial frame in pixels, and of the tiles that it is also cut into. (In smaller frames than this one,
#: the network looks for the exposure at more points.)
TRIAL, TILE = 512, 128


@dataclass(frozen=True)
class MemoryEstimate:
    """Peak memory of restoring a frame, in bytes: a share for each pixel, for each pixel of a tile, and for a strip.

    Frames that wait because later ones are read ahead come on top of it.
    """

    each_pixel: float
    each_tile_pixel: float
    #: Pixels around a tile that are computed with it.
    overlap: int = 0
    #: On a CPU, for a strip, and its pixels.
    strip: int = 0
    strip_pixels: int = 1
    #: For each pixel of a frame that waits.
    each_waiting_pixel: float = 0.0

    def bytes(self, height: int, width: int, side: int | None, *, read_ahead: int = 0) -> int:
        """For a frame of this size, in tiles or whole, and those that wait if so many are read ahead."""
        tile = height * width
        if side is not None:
            rows, columns = (min(size, side + 2 * self.overlap) for size in (height, width))
            tile = rows * columns
        strip = self.strip * min(1, tile / self.strip_pixels)
        each = self.each_waiting_pixel * height * width
        waiting = frames_that_wait(read_ahead, each) * each
        return int(strip + self.each_pixel * height * width + self.each_tile_pixel * tile + waiting)


def estimate_memory(measure: Callable[[int, int | None], int], *, tile: int, overlap: int) -> MemoryEstimate:
    """Estimate memory from two trials: an untiled frame costs both shares a pixel, a tiled one mostly the first.

    Args:
        measure: restores a square frame of so many pixels a side, in tiles of so many or whole; returns the most bytes
            it held at a time.
        tile: side of the tiles to try.
    """
    area, part = TRIAL * TRIAL, (tile + 2 * overlap) ** 2
    both = measure(TRIAL, None) / area
    whole = (measure(TRIAL, tile) - both * part) / (area - part)
    whole = min(max(whole, 0.0), both)
    return MemoryEstimate(whole, both - whole, overlap)


def peak_tensor_bytes(work: Callable[[], object]) -> int:
    """Peak bytes of the tensors that ``work`` creates, on any device; scratch memory inside kernels is not counted."""
    tally = _Tally()
    with tally:
        work()
    return tally.most


class _Tally(TorchFunctionMode):
    """Counts the bytes of living storages that PyTorch's functions have returned.

    (A TorchDispatchMode would see more, but it loads a compiler and a computer algebra first: 60 MB.)
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._living: dict[int, weakref.ref[Any]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, Tensor):
                self._watch(value.untyped_storage())
        return result

    def _watch(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._living:
            return

        def gone(_: object) -> None:
            self.now -= size
            del self._living[key]

        self._living[key] = weakref.ref(storage, gone)
        self.now += size
        self.most = max(self.most, self.now)
