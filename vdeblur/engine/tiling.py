"""Tiling: choice of the tile size with which a frame fits into memory; halved when memory runs out all the same."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from math import ceil
from typing import Any, TypeVar

import torch
from torch import Tensor

from vdeblur.engine.guide.planes import Seen
from vdeblur.engine.guide.stage import Guided, GuideMemory, GuideStage
from vdeblur.engine.memory_estimate import TILE, TRIAL, MemoryEstimate, estimate_memory, peak_tensor_bytes
from vdeblur.engine.pixels import add_residual, crop, pad_to_multiple, picture_from_planes
from vdeblur.engine.read_ahead import WAITING_BYTES, tensor_bytes
from vdeblur.errors import DeviceError, UsageError
from vdeblur.frames import Colour, Frame, PixelFormat
from vdeblur.model.network import traits_of
from vdeblur.options import OPTIONS, TileSize
from vdeblur.runtime.device import free_bytes, is_out_of_memory, peak_allocated_bytes, release, single_thread

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Of the free memory so much is planned with: queues, the decoder and the encoder share it, and others come and go.
USABLE = 0.7
#: With so many bytes free for each pixel, nothing is measured: no network here takes nearly as much.
PLENTY = {"cpu": 1024, "cuda": 8192}

_TRIAL_FORMAT = PixelFormat("yuv420p", "yuv", 8, (1, 1))
#: Noise of a trial frame, of 255: more than a clean one's.
_TRIAL_NOISE = 10.0


class TileChooser:
    """Chooses the tile size for each frame size, and halves it when memory runs out all the same.

    Args:
        wish: "auto" takes tiles only where a whole frame would not fit into the memory that is free; "off" never; a
            number is the side of a tile in pixels, made a multiple of the network's stride.
        network: placed on ``device``; one without :class:`vdeblur.model.network.TileTraits` is never given a side.

    Raises:
        UsageError: the wish is none of these, or the network cannot work in tiles.
    """

    def __init__(self, wish: TileSize, network: Any, device: torch.device) -> None:
        self._traits = traits_of(network).tiles
        self._wish: TileSize = OPTIONS["tile"].checked(wish)
        if isinstance(self._wish, int) and self._traits is None:
            raise UsageError(f"this network cannot work in tiles of {wish} pixels; use tile auto or off")
        self._network, self._device = network, device
        #: Makes guides of frames, which takes memory, too.
        self.guide: GuideStage | None = None
        self._sides: dict[tuple[int, int], int | None] = {}
        #: Frames that are read ahead at most.
        self._read_ahead = 0
        #: Messages for people.
        self.notes: list[str] = []

    def expect_waiting(self, read_ahead: int) -> None:
        """From here on so many frames may be read ahead, which wait in memory."""
        if traits_of(self._network).reads_exposure:
            self._read_ahead = max(self._read_ahead, read_ahead)

    @property
    def off(self) -> bool:
        return self._wish == "off"

    def side(self, size: tuple[int, int]) -> int | None:
        """Side of the tiles of a frame of ``size`` (rows, columns) in pixels, None for a whole frame."""
        if size not in self._sides:
            self._sides[size] = self._chosen(size)
        return self._sides[size]

    def fits(self, size: tuple[int, int], count: int) -> bool:
        """Whether a batch of so many whole frames of a size (rows, columns) fits into memory."""
        if self.side(size) is not None:
            return False
        height, width = size
        free = free_bytes(self._device)
        if self.off or free is None or free >= PLENTY.get(self._device.type, 0) * height * width * count:
            return True
        need = self._memory_estimate
        return need is None or need.bytes(height * count, width, None) <= USABLE * free

    def run(self, size: tuple[int, int], work: Callable[[int | None], T]) -> T:
        """Call ``work`` with the side of the tiles; retry with half of it while memory runs out.

        Other errors of ``work`` are not caught.

        Raises:
            DeviceError: there is not enough for the smallest tiles, or they are off.
        """
        while True:
            side = self.side(size)
            try:
                return work(side)
            except Exception as exc:
                if self._traits is None or not is_out_of_memory(exc):
                    raise
                smaller = self._smaller(size, side)
                if smaller is None:
                    raise self._failure(size, side) from exc
            # The memory of the failed attempt has gone with its exception.
            release(self._device)
            self._sides[size] = smaller
            height, width = size
            self._note(
                f"memory ran out: {width}×{height} frames are restored in tiles of {smaller} pixels from here on"
            )

    def _failure(self, size: tuple[int, int], side: int | None) -> DeviceError:
        height, width = size
        what = f"a {width}×{height} frame on {self._device}"
        remedy = "use a smaller model or video, or another device"
        if self.off:
            return DeviceError(f'out of memory: {what}; use tile="auto", or {remedy[4:]}')
        return DeviceError(f"out of memory: {what}, even in tiles of {side} pixels; {remedy}")

    def _smaller(self, size: tuple[int, int], side: int | None) -> int | None:
        """The side to try next, None if there is none."""
        if self._traits is None or self.off:
            return None
        smallest = self._rounded(self._traits.smallest)
        longest = self._rounded(max(size)) if side is None else side
        return None if longest <= smallest else max(smallest, self._rounded(ceil(longest / 2)))

    def _rounded(self, side: int) -> int:
        stride = int(self._network.stride)
        return ceil(side / stride) * stride

    def _chosen(self, size: tuple[int, int]) -> int | None:
        side: int | None
        if isinstance(self._wish, int):
            smallest = 0 if self._traits is None else self._traits.smallest
            side = self._rounded(max(self._wish, smallest))
            return None if max(size) <= side else side
        if self.off or self._traits is None:
            return None
        plenty = PLENTY.get(self._device.type, 0) * size[0] * size[1] + WAITING_BYTES * min(1, self._read_ahead)
        free = free_bytes(self._device)
        if free is None or free >= plenty:
            return None
        release(self._device)
        need = self._memory_estimate
        free = free_bytes(self._device)  # again: what libraries set up in the trials stays with them
        side = None
        ahead = self._read_ahead
        while need is not None and free is not None and need.bytes(*size, side, read_ahead=ahead) > USABLE * free:
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
    def _memory_estimate(self) -> MemoryEstimate | None:
        """Memory estimate of the network on this device, measured once; None where it cannot be measured."""
        if self._traits is None:
            return None
        tile = self._rounded(max(TILE, self._traits.smallest))
        in_strips = self._device.type == "cpu" and self._traits.strip_pixels is not None
        try:
            with torch.inference_mode(), single_thread():  # what other threads make would not be counted
                strip = torch.get_num_threads() * self._strip_bytes() if in_strips else 0
                parts = estimate_memory(self._measured, tile=tile, overlap=self._traits.overlap)
                waiting = MemoryTrial(self._network, self._device, TRIAL, None, self.guide).waiting_bytes() / TRIAL**2
                return replace(
                    parts,
                    strip=strip,
                    strip_pixels=self._traits.strip_pixels or 1,
                    each_waiting_pixel=waiting,
                )
        except RuntimeError as exc:
            logger.debug("the memory that frames take cannot be measured: %s", exc)
            return None
        finally:
            if in_strips:
                self._network.set_strip_pixels(None)
            release(self._device)

    def _measured(self, size: int, side: int | None) -> int:
        trial = MemoryTrial(self._network, self._device, size, side, self.guide)
        return peak_allocated_bytes(self._device, trial) if self._device.type == "cuda" else peak_tensor_bytes(trial)

    def _strip_bytes(self) -> int:
        """Memory of strips of the usual size beyond that of the thinnest ones, with which the trials go on."""
        usual = self._measured(TRIAL, None)
        self._network.set_strip_pixels(1)
        return max(0, usual - self._measured(TRIAL, None))


class MemoryTrial:
    """Trial restoration of a square grey frame between two others, as the engine does it; with a guide, a noisy one."""

    def __init__(
        self, network: Any, device: torch.device, size: int, side: int | None, guide: GuideStage | None = None
    ) -> None:
        self._network, self._device, self._side, self._guide = network, device, side, guide
        self._size = size - 1, size - 1  # an odd size has to be padded, as most are

    def __call__(self) -> None:
        window = [self._encoded() for _ in range(3)]
        residual, _ = self._network.residual(*window, None, side=self._side)
        more = [] if self._guide is None else [(change, 1.0) for change in self._guided()[1].changes]
        add_residual(self._planes(), crop(residual, *self._size), _TRIAL_FORMAT, Colour(), more=more)

    def waiting_bytes(self) -> int:
        """Of a frame that waits until later ones have been matched; 0 of a network that reads no exposure."""
        if not traits_of(self._network).reads_exposure:
            return 0
        window = [self._encoded() for _ in range(3)]
        matched = self._network.match_motion(*window)
        guided = () if self._guide is None else self._guided(self._guided()[1].after)[1].waiting_parts()
        return tensor_bytes(self._planes(), self._network.without_levels(window[1]), matched, guided)

    def _planes(self) -> list[Tensor]:
        shapes = [_TRIAL_FORMAT.plane_shape(index, *self._size) for index in range(3)]
        return [torch.full(shape, 128, dtype=torch.uint8, device=self._device) for shape in shapes]

    def _guided(self, before: GuideMemory | None = None) -> tuple[Seen, Guided]:
        assert self._guide is not None
        frame = Frame(tuple(self._planes()), _TRIAL_FORMAT, Colour(), 0, Fraction(1, 25))
        (made,) = self._guide([frame], [frame.planes], [before], reduce=1, noise=_TRIAL_NOISE, removes=True)
        return made

    def _encoded(self) -> Any:
        seen = Seen(tuple(self._planes()), _TRIAL_FORMAT, Colour(), self._size, 1)
        if self._guide is not None:
            seen, _ = self._guided()
        return self._network.encode(network_input(self._network, *seen), side=self._side)


def network_input(
    network: Any,
    planes: Sequence[Tensor],
    pixel_format: PixelFormat,
    colour: Colour,
    size: tuple[int, int],
    reduce: int = 1,
) -> Tensor:
    """Network input (1, C, H, W) of a frame of ``size`` (height, width), padded to what the network can work on.

    C is 3, R'G'B', or 1, luma, as the network's traits say.
    """
    height, width = size
    picture = picture_from_planes(
        planes, pixel_format, colour, height=height, width=width, channels=traits_of(network).channels, reduce=reduce
    )
    return pad_to_network(network, picture)


def pad_to_network(network: Any, picture: Tensor) -> Tensor:
    """Pad a picture (B, C, H, W) to a multiple of the network's stride, and to its minimum size."""
    return pad_to_multiple(picture, network.stride, minimum=network.minimum_size)
