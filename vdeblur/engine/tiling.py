"""Tiles: into what parts a frame is cut so that it fits into memory; as large as can be, smaller when it fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from math import ceil
from typing import Any, Literal, Protocol, TypeVar

import torch
from torch import Tensor

from vdeblur.engine.memory_estimate import TILE, TRIAL, Footprint, footprint, held_bytes
from vdeblur.engine.pixels import add_residual, crop, pad_to_multiple, picture_from_planes
from vdeblur.errors import DeviceError, UsageError
from vdeblur.frames import Colour, PixelFormat
from vdeblur.runtime.device import free_bytes, is_out_of_memory, peak_bytes, release, single_thread

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: "auto", "off", or the side of a tile in pixels.
TileWish = Literal["auto", "off"] | int

#: Least side that can be asked for.
LEAST_SIDE = 64
#: Of the free memory so much is planned with: queues, the decoder and the encoder share it, and others come and go.
USABLE = 0.7
#: With so many bytes free for each pixel, nothing is measured: no network here takes nearly as much.
PLENTY = {"cpu": 1024, "cuda": 8192}

_TRIAL_FORMAT = PixelFormat("yuv420p", "yuv", 8, (1, 1))


class Tileable(Protocol):
    """A network that can work in tiles; what it returns does not depend on ``side``, but for rounding."""

    stride: int
    minimum_size: int
    #: Least useful side of a tile.
    smallest_tile: int
    #: Pixels around a tile that are computed with it.
    tile_overlap: int
    #: On a CPU, pixels that are taken at a time, where that makes no other difference.
    strip_pixels: int

    def set_strip_pixels(self, pixels: int | None, /) -> None:
        """Take so many pixels at a time instead; None: ``strip_pixels`` again."""

    def encode(self, frame: Tensor, /, *, side: int | None = None) -> Any: ...

    def residual(
        self, previous: Any, current: Any, following: Any, state: Any, /, *, side: int | None = None
    ) -> tuple[Tensor, Any]: ...


class Tiles:
    """Chooses the tiles of each size of frame, and smaller ones when memory runs out all the same.

    Args:
        wish: "auto" takes tiles only where a whole frame would not fit into the memory that is free; "off" never; a
            number is the side of a tile in pixels, made a multiple of the network's stride.
        network: placed on ``device``; one that is not :class:`Tileable` is never given a side.

    Raises:
        UsageError: the wish is none of these, or the network cannot work in tiles.
    """

    def __init__(self, wish: TileWish, network: Any, device: torch.device) -> None:
        self.able = hasattr(network, "smallest_tile")
        self._wish = _checked(wish)
        if isinstance(self._wish, int) and not self.able:
            raise UsageError(f"this network cannot work in tiles of {wish} pixels; use tile auto or off")
        self._network, self._device = network, device
        self._sides: dict[tuple[int, int], int | None] = {}
        #: What people should know, in plain words.
        self.notes: list[str] = []

    @property
    def off(self) -> bool:
        return self._wish == "off"

    def side(self, size: tuple[int, int]) -> int | None:
        """Side of the tiles of a frame of ``size`` (rows, columns), None where it is done whole."""
        if size not in self._sides:
            self._sides[size] = self._chosen(size)
        return self._sides[size]

    def have_room(self, size: tuple[int, int], count: int) -> bool:
        """Whether so many whole frames of a size may be done at the same time."""
        if self.side(size) is not None:
            return False
        height, width = size
        free = free_bytes(self._device)
        if self.off or free is None or free >= PLENTY.get(self._device.type, 0) * height * width * count:
            return True
        need = self._footprint if self.able else None
        return need is None or need.bytes(height * count, width, None) <= USABLE * free

    def run(self, size: tuple[int, int], work: Callable[[int | None], T]) -> T:
        """Do ``work``, which takes the side of the tiles; again with half of it for as long as memory runs out.

        What else ``work`` raises comes through.

        Raises:
            DeviceError: there is not enough for the smallest tiles, or they are off.
        """
        while True:
            side = self.side(size)
            try:
                return work(side)
            except Exception as exc:
                if not self.able or not is_out_of_memory(exc):
                    raise
                smaller = self._smaller(size, side)
                if smaller is None:
                    raise self._failure(size, side) from exc
            # What the failed work held has gone with its exception.
            release(self._device)
            self._sides[size] = smaller
            height, width = size
            self._note(
                f"memory ran out: {width}×{height} frames are restored in tiles of {smaller} pixels from here on"
            )

    def _failure(self, size: tuple[int, int], side: int | None) -> DeviceError:
        height, width = size
        what = f"a {width}×{height} frame on {self._device}"
        remedy = "use a smaller model or video, or another --device"
        if self.off:
            return DeviceError(f"out of memory: {what}; use --tile auto, or {remedy[4:]}")
        return DeviceError(f"out of memory: {what}, even in tiles of {side} pixels; {remedy}")

    def _smaller(self, size: tuple[int, int], side: int | None) -> int | None:
        """The side to try next, None if there is none."""
        if not self.able or self.off:
            return None
        smallest = self._rounded(self._network.smallest_tile)
        longest = self._rounded(max(size)) if side is None else side
        return None if longest <= smallest else max(smallest, self._rounded(ceil(longest / 2)))

    def _rounded(self, side: int) -> int:
        stride = int(self._network.stride)
        return ceil(side / stride) * stride

    def _chosen(self, size: tuple[int, int]) -> int | None:
        side: int | None
        if isinstance(self._wish, int):
            side = self._rounded(max(self._wish, self._network.smallest_tile))
            return None if max(size) <= side else side
        if self.off or not self.able:
            return None
        plenty = PLENTY.get(self._device.type, 0) * size[0] * size[1]
        free = free_bytes(self._device)
        if free is None or free >= plenty:
            return None
        release(self._device)
        need = self._footprint
        free = free_bytes(self._device)  # again: what libraries set up in the trials stays with them
        side = None
        while need is not None and free is not None and need.bytes(*size, side) > USABLE * free:
            smaller = self._smaller(size, side)
            if smaller is None:
                break
            side = smaller
        if side is not None:
            height, width = size
            self._note(f"memory is short: {width}×{height} frames are restored in tiles of {side} pixels")
        return side

    def _note(self, words: str) -> None:
        logger.info(words)
        self.notes.append(words)

    @cached_property
    def _footprint(self) -> Footprint | None:
        """What the network takes on this device, measured once; None where it cannot be measured."""
        tile = self._rounded(max(TILE, self._network.smallest_tile))
        threads = torch.get_num_threads()
        try:
            with torch.inference_mode(), single_thread():  # what other threads make would not be counted
                strip = threads * self._strip_bytes() if self._device.type == "cpu" else 0
                parts = footprint(self._measured, tile=tile, overlap=self._network.tile_overlap)
                return replace(parts, strip=strip, strip_pixels=self._network.strip_pixels)
        except RuntimeError as exc:
            logger.debug("the memory that frames take cannot be measured: %s", exc)
            return None
        finally:
            self._network.set_strip_pixels(None)
            release(self._device)

    def _measured(self, size: int, side: int | None) -> int:
        trial = Trial(self._network, self._device, size, side)
        return peak_bytes(self._device, trial) if self._device.type == "cuda" else held_bytes(trial)

    def _strip_bytes(self) -> int:
        """What strips of the usual size take more than the thinnest ones, with which the trials go on."""
        usual = self._measured(TRIAL, None)
        self._network.set_strip_pixels(1)
        return max(0, usual - self._measured(TRIAL, None))


class Trial:
    """Restores a square grey frame between two others, as the engine would."""

    def __init__(self, network: Any, device: torch.device, size: int, side: int | None) -> None:
        self._network, self._device, self._side = network, device, side
        self._size = size - 1, size - 1  # an odd size has to be padded, as most are

    def __call__(self) -> None:
        window = [self._encoded() for _ in range(3)]
        residual, _ = self._network.residual(*window, None, side=self._side)
        add_residual(self._planes(), crop(residual, *self._size), _TRIAL_FORMAT, Colour())

    def _planes(self) -> list[Tensor]:
        shapes = [_TRIAL_FORMAT.plane_shape(index, *self._size) for index in range(3)]
        return [torch.full(shape, 128, dtype=torch.uint8, device=self._device) for shape in shapes]

    def _encoded(self) -> Any:
        picture = network_input(self._network, self._planes(), _TRIAL_FORMAT, Colour(), self._size)
        return self._network.encode(picture, side=self._side)


def network_input(
    network: Any,
    planes: Sequence[Tensor],
    pixel_format: PixelFormat,
    colour: Colour,
    size: tuple[int, int],
    *,
    reduce: int = 1,
) -> Tensor:
    """A frame of ``size`` (height, width) as a network takes it: (1, C, H, W), padded to what it can work on.

    C is 3, R'G'B', unless the network says that it has 1 channel, luma.
    """
    height, width = size
    picture = picture_from_planes(
        planes, pixel_format, colour, height=height, width=width, channels=channels_of(network), reduce=reduce
    )
    return fitting(network, picture)


def channels_of(network: Any) -> int:
    """What a network is given and gives back: 3, R'G'B', or 1, luma."""
    return int(getattr(network, "channels", 3))


def fitting(network: Any, picture: Tensor) -> Tensor:
    """A picture (B, C, H, W), padded to a size that a network can work on."""
    return pad_to_multiple(picture, network.stride, minimum=network.minimum_size)


def _checked(wish: TileWish) -> TileWish:
    if isinstance(wish, str) and wish.isdecimal():
        wish = int(wish)
    if wish in ("auto", "off") or (isinstance(wish, int) and not isinstance(wish, bool) and wish >= LEAST_SIDE):
        return wish
    raise UsageError(f"tile cannot be {wish!r}; it is auto, off, or a side in pixels of at least {LEAST_SIDE}")
