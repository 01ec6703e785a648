"""Host-device transfer of planes: asynchronous on CUDA, overlapping the computation; in line elsewhere.

On CUDA there are three streams, for upload, compute and download. Host memory is pinned and comes from two rings of
slots that are allocated once for each layout of planes. An event hands over from stream to stream, and a slot is used
again only once its event has passed. A tensor that a second stream uses is recorded there, so that the caching
allocator does not give its memory away too early.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

Planes = tuple[Tensor, ...]
#: Shape and dtype of every plane.
Layout = tuple[tuple[torch.Size, torch.dtype], ...]

#: Slots of each ring: one being filled, one on its way, and two that wait or are read.
SLOTS = 4


class Event(Protocol):
    def synchronize(self) -> None: ...


class PendingDownload(Protocol):
    """A device-to-host copy that may still be running."""

    def result(self) -> Planes:
        """Wait for the planes, which the caller then owns. To be called once, oldest copy first."""


class StageObserver(Protocol):
    """Callback around each upload, computation and download, with the stream it runs on; for a timeline."""

    def __call__(self, stage: str, stream: Any, /) -> contextlib.AbstractContextManager[None]: ...


class Transfer:
    """Synchronous transfers, for the CPU (where they do nothing) and for any device without streams.

    Attributes:
        device: where the planes are computed on.
        in_flight: downloads that may be under way before the oldest is asked for its result.
    """

    in_flight = 0

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def compute(self, stage: str) -> contextlib.AbstractContextManager[Any]:
        """The context to compute in: uploaded planes are ready there, planes to be downloaded are made there.

        Args:
            stage: name of the computation, for observers.
        """
        return contextlib.nullcontext()

    def upload(self, planes: Sequence[Tensor]) -> Planes:
        return tuple(plane.to(self.device) for plane in planes)

    def download(self, planes: Planes, *, stay: bool = False) -> PendingDownload:
        """Start the device-to-host copy, or, with ``stay``, hand over to the caller's stream on the device."""
        return _Ready(planes if stay else tuple(plane.cpu() for plane in planes))


@dataclass(frozen=True)
class _Ready:
    planes: Planes

    def result(self) -> Planes:
        return self.planes


class PinnedSlot:
    """Pinned host buffers for the planes of one frame, and the event after which they may be reused."""

    def __init__(self, buffers: Planes) -> None:
        self.buffers = buffers
        self.event: Event | None = None
        self.held = False

    def wait(self) -> None:
        if self.event is not None:
            self.event.synchronize()
            self.event = None


class BufferRing:
    """Ring buffer of a fixed number of slots.

    Args:
        slots: how many.
        allocate: makes the buffers for a layout; called once a slot while the layout stays the same.
    """

    def __init__(self, slots: int, allocate: Callable[[Layout], Planes]) -> None:
        self._count = slots
        self._allocate = allocate
        self._layout: Layout | None = None
        self._slots: list[PinnedSlot] = []
        self._turn = 0

    def take(self, layout: Layout) -> PinnedSlot:
        """The next slot that nobody holds, its event passed. Raises RuntimeError if all are held."""
        if layout != self._layout:
            for slot in self._slots:
                slot.wait()
            self._slots = [PinnedSlot(self._allocate(layout)) for _ in range(self._count)]
            self._layout, self._turn = layout, 0
        for _ in range(self._count):
            slot = self._slots[self._turn]
            self._turn = (self._turn + 1) % self._count
            if not slot.held:
                slot.wait()
                return slot
        raise RuntimeError(f"all {self._count} slots are held: ask for the oldest result first")


class CudaTransfer(Transfer):
    """Asynchronous transfers on CUDA streams of their own, which overlap the computation.

    Args:
        device: a CUDA device with its index. Pending work of its current stream (loading weights) is waited for.
        slots: see :class:`BufferRing`.
        cuda: ``torch.cuda``, or a stand-in for tests.
        pin: whether host memory is pinned; without it nothing overlaps.
    """

    def __init__(self, device: torch.device, *, slots: int = SLOTS, cuda: Any = torch.cuda, pin: bool = True) -> None:
        super().__init__(device)
        self._cuda = cuda
        self._pin = pin
        self._uploading, self._computing, self._downloading = (cuda.Stream(device=device) for _ in range(3))
        cuda.current_stream(device).synchronize()
        self._up, self._down = BufferRing(slots, self._buffers), BufferRing(slots, self._buffers)
        self.in_flight = slots - 1
        #: Called around each upload, computation and download.
        self.watch: StageObserver | None = None

    @contextlib.contextmanager
    def compute(self, stage: str) -> Iterator[None]:
        with self._working(self._computing, stage):
            yield

    def upload(self, planes: Sequence[Tensor]) -> Planes:
        if self._resident(planes):
            self._computing.wait_stream(self._cuda.current_stream(self.device))
            self._keep(planes, self._computing)
            return tuple(planes)
        slot = self._up.take(_layout(planes))
        for buffer, plane in zip(slot.buffers, planes, strict=True):
            buffer.copy_(plane)
        with self._working(self._uploading, "upload"):
            arrived = tuple(buffer.to(self.device, non_blocking=True, copy=True) for buffer in slot.buffers)
        slot.event = self._record(self._uploading)
        self._computing.wait_event(slot.event)
        self._keep(arrived, self._computing)
        return arrived

    def download(self, planes: Planes, *, stay: bool = False) -> PendingDownload:
        done = self._record(self._computing)
        if stay:
            return _OnDevice(self, planes, done)
        slot = self._down.take(_layout(planes))
        self._downloading.wait_event(done)
        with self._working(self._downloading, "download"):
            for buffer, plane in zip(slot.buffers, planes, strict=True):
                buffer.copy_(plane, non_blocking=True)
        slot.event = self._record(self._downloading)
        self._keep(planes, self._downloading)
        slot.held = True
        return _PendingCopy(slot)

    def to_current_stream(self, planes: Planes, done: Any) -> None:
        """Make the caller's stream wait for planes that stay on the device."""
        current = self._cuda.current_stream(self.device)
        current.wait_event(done)
        self._keep(planes, current)

    def _resident(self, planes: Sequence[Tensor]) -> bool:
        return all(plane.device == self.device for plane in planes)

    def _buffers(self, layout: Layout) -> Planes:
        return tuple(torch.empty(shape, dtype=dtype, pin_memory=self._pin) for shape, dtype in layout)

    @contextlib.contextmanager
    def _working(self, stream: Any, stage: str) -> Iterator[None]:
        watched = contextlib.nullcontext() if self.watch is None else self.watch(stage, stream)
        with self._cuda.stream(stream), watched:
            yield

    def _record(self, stream: Any) -> Any:
        """An event at the end of the stream's work. It lets a waiting thread sleep, so decoding gets the core."""
        event = self._cuda.Event(blocking=True)
        event.record(stream)
        return event

    def _keep(self, planes: Sequence[Tensor], stream: Any) -> None:
        for plane in planes:
            plane.record_stream(stream)


@dataclass(frozen=True)
class _PendingCopy:
    slot: PinnedSlot

    def result(self) -> Planes:
        try:
            self.slot.wait()
            return tuple(buffer.clone() for buffer in self.slot.buffers)
        finally:
            self.slot.held = False


@dataclass(frozen=True)
class _OnDevice:
    transfer: CudaTransfer
    planes: Planes
    done: Any

    def result(self) -> Planes:
        self.transfer.to_current_stream(self.planes, self.done)
        return self.planes


def transfer_for(device: torch.device, *, streams: bool = True) -> Transfer:
    """Transfers for a device; ``streams=False`` makes them synchronous on CUDA, too, for comparison."""
    return CudaTransfer(device) if device.type == "cuda" and streams else Transfer(device)


def _layout(planes: Sequence[Tensor]) -> Layout:
    return tuple((plane.shape, plane.dtype) for plane in planes)
