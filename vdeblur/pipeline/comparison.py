"""Before/after comparison: side-by-side or split frames, composed on the source's own planes without conversion."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from vdeblur.engine.pixels import sample_range
from vdeblur.errors import UsageError
from vdeblur.frames import Frame, PixelFormat

CompareMode = Literal["side", "split"]

#: Thickness of the line between the halves of a split picture, unless chroma needs more.
LINE_PX = 2


class Comparison:
    """Composes before (left) and after (right) in one frame, as a viewer sees it.

    "side" shows both whole, so pictures are twice as wide; halves are rounded up to whole chroma samples by repeating
    the edge. "split" keeps the size and shows one half of each, with a white line between. In a video that players
    turn by 90° the pictures are put together in such a way that left is left after the turn.

    Args:
        rotation_degrees: counter-clockwise turn the player will make.

    Raises:
        UsageError: ``mode`` is neither "side" nor "split".
    """

    def __init__(self, mode: CompareMode, pixel_format: PixelFormat, *, rotation_degrees: int = 0) -> None:
        if mode not in get_args(CompareMode):
            raise UsageError(f"compare cannot be {mode!r}; it is side or split")
        quarters = round(rotation_degrees / 90) % 4
        self._mode = mode
        self._axis = 1 if quarters in (0, 2) else 0
        self._before_first = quarters in (0, 1)
        shift_x, shift_y = pixel_format.chroma_shift
        self._block = 1 << (shift_x if self._axis == 1 else shift_y)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the picture drawn from two of the given size."""
        if self._mode == "split":
            return height, width
        if self._axis == 1:
            return height, 2 * self._rounded(width)
        return 2 * self._rounded(height), width

    def draw(self, before: Frame, after: Frame) -> Frame:
        """Compose one frame of two with the same layout, with the time of ``before``."""
        first, second = (before, after) if self._before_first else (after, before)
        join = self._side if self._mode == "side" else self._split
        return before.with_planes([join(first, second, index) for index in range(before.format.plane_count)])

    def _side(self, first: Frame, second: Frame, index: int) -> Any:
        block = self._block_of(first.format, index)
        wanted = self._rounded(first.size[self._axis]) // block
        halves = []
        for plane in (np.asarray(first.planes[index]), np.asarray(second.planes[index])):
            missing = [(0, 0), (0, 0)]
            missing[self._axis] = (0, wanted - plane.shape[self._axis])
            halves.append(np.pad(plane, missing, mode="edge"))
        return np.concatenate(halves, axis=self._axis)

    def _split(self, first: Frame, second: Frame, index: int) -> Any:
        block = self._block_of(first.format, index)
        half = first.size[self._axis] // 2 // self._block * self._block
        line = max(LINE_PX, self._block)
        plane = np.array(second.planes[index])
        across = plane if self._axis == 1 else plane.T
        source = np.asarray(first.planes[index])
        across[:, : half // block] = (source if self._axis == 1 else source.T)[:, : half // block]
        across[:, half // block : (half + line) // block] = self._white(first, index)
        return plane

    def _white(self, frame: Frame, index: int) -> float:
        levels = sample_range(frame.format, frame.colour)
        if frame.format.family == "yuv" and index in (1, 2):
            return levels.chroma_offset
        is_alpha = index == frame.format.colour_planes
        return frame.format.peak if is_alpha else levels.offset + levels.scale

    def _block_of(self, pixel_format: PixelFormat, index: int) -> int:
        """Pixels along the axis that one sample of the plane stands for."""
        return self._block if pixel_format.family == "yuv" and index in (1, 2) else 1

    def _rounded(self, size: int) -> int:
        return -(-size // self._block) * self._block
