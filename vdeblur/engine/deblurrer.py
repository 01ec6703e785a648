"""The engine: network, recurrent state and device together restore frames, one in, one out."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vdeblur.adapters.arrays import Arrays, Channels
from vdeblur.adapters.pictures import P, frame_of, number_of, picture_of
from vdeblur.engine.batching import alike, joined, separated
from vdeblur.engine.pixels import add_residual, crop, shrunk_size
from vdeblur.engine.stream_state import Item, Job, Memory, Restored, Snapshot, Step, missing, seen
from vdeblur.engine.tiling import Tiles, TileWish, network_input
from vdeblur.engine.windows import SlidingWindow, Window
from vdeblur.errors import DeviceError, NetworkError, SourceError, UsageError, VdeblurError
from vdeblur.frames import Frame
from vdeblur.kernels.dispatch import have_kernels
from vdeblur.model.checkpoint import load_network
from vdeblur.runtime.cpu_pool import Later, later
from vdeblur.runtime.cuda_graphs import graphed
from vdeblur.runtime.device import choose_dtype, find_device, is_out_of_memory
from vdeblur.runtime.host_memory import keep
from vdeblur.runtime.transfer import Download, Planes, transfer_for

#: Largest strength; beyond it the correction overshoots visibly.
MAX_STRENGTH = 1.5
#: Most times the network's picture may be smaller; beyond it nothing is left to correct.
MAX_REDUCE = 8


class Network(Protocol):
    """What the engine asks of a network; :class:`vdeblur.model.deblur_net.DeblurNet` is one.

    One that can also work in tiles is a :class:`vdeblur.engine.tiling.Tileable`; any other is always given whole
    frames. It is given R'G'B' and returns a residual of R'G'B'; with an attribute ``channels`` of 1, both are luma.
    One that also takes frames of several streams at a time says ``takes_batches = True``; its features and states are
    tensors, or tuples of them, with the batch as their first dimension. On CUDA the steps of one that says
    ``recordable = True`` are recorded as graphs (:class:`vdeblur.runtime.cuda_graphs.Graphed`). One that says
    ``compiled = True`` has kernels for a CPU, which compute in float32.
    """

    stride: int
    minimum_size: int

    def encode(self, frame: Tensor, /) -> Any: ...

    def residual(self, previous: Any, current: Any, following: Any, state: Any, /) -> tuple[Tensor, Any]: ...


class Deblurrer:
    """Takes the motion blur out of frames, one after another.

    A Deblurrer carries the network's recurrent state from frame to frame. It starts anew by itself at a scene cut, a
    gap in time and a change of size or format. Pictures are NumPy arrays, tensors, PIL images, ``av.VideoFrame`` or
    :class:`vdeblur.frames.Frame`, as :func:`vdeblur.deblur_frames` tells, of any size from 1×1 on. They come back with
    the same type, size, dtype or pixel format, time and alpha, on the same device.

    It may be called from several threads: they wait for each other, and the pictures that :meth:`step` gets are one
    clip, in the order in which they come. For independent streams use :meth:`step_many`, or a Deblurrer for each.

    Example::

        from vdeblur import Deblurrer

        deblurrer = Deblurrer("fast", lookahead=0)
        for picture in camera:
            show(deblurrer.step(picture))     # the same picture, sharper

        for left, right in zip(one, other):
            show(*deblurrer.step_many([left, right]))

    Args:
        model: name of a network ("fast"), path of a checkpoint, or a network. A network is copied, not changed.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps"; auto takes CUDA where it works, else the CPU.
        precision: "auto", "float32", "bfloat16" or "float16". It is the network's own; the residual and its addition
            are always float32.
        strength: factor on the residual, 0 to 1.5; at 0 every plane comes back bit for bit.
        lookahead: 1 lets the network see one frame of the future, for one frame of delay; 0 has no delay.
        streams: on CUDA, transfer beside the computation, and steps as graphs; off only to compare.
        tile: "auto" restores a frame in tiles where it does not fit into memory whole, "off" never, a number always,
            in tiles of so many pixels each way, at least 64. When memory runs out, the tiles are halved. Tiles show
            no seams: what comes out differs by rounding at most.
        channels: order of the colours in arrays and tensors, "rgb" or "bgr" (as OpenCV has it).
        reduce: the network sees the frame so many times smaller each way, 1 to 8, and its correction is enlarged
            again: less work, and less gain. The attribute may be set between frames; the next one starts anew.

    Raises:
        UsageError: an argument is out of its range, or the network cannot work in tiles.
        DeviceError: the device is missing, does not work, or has no room for the network.
        NetworkError: the checkpoint is damaged.
    """

    def __init__(
        self,
        model: str | Path | Network = "fast",
        *,
        device: str = "auto",
        precision: str = "auto",
        strength: float = 1.0,
        lookahead: int = 1,
        streams: bool = True,
        tile: TileWish = "auto",
        channels: Channels = "rgb",
        reduce: int = 1,
    ) -> None:
        Arrays(channels)
        if reduce not in range(1, MAX_REDUCE + 1):
            raise UsageError(f"reduce cannot be {reduce!r}; it is a whole number from 1 (full size) to {MAX_REDUCE}")
        if not 0.0 <= strength <= MAX_STRENGTH:
            raise UsageError(f"strength cannot be {strength!r}; it is 0 (nothing) to {MAX_STRENGTH}, 1 as trained")
        self.strength = float(strength)
        self.lookahead = lookahead
        self.reduce = reduce
        self.channels: Channels = channels
        self._lock = threading.RLock()
        #: Restored frames on their way back, of all runs.
        self._aloft = 0
        self._memory = self.empty_memory()
        self._memories: list[Memory] = []
        self.device = find_device(device)
        self.dtype = choose_dtype(precision, self.device)
        with _failures(f"loading the network on {self.device}"):
            network = load_network(str(model)) if isinstance(model, (str, Path)) else model
            if precision == "auto" and self.device.type == "cpu" and have_kernels(network, self.device):
                self.dtype = torch.float32  # that is what they compute in
            self.network = _placed(network, self.device, self.dtype, own=network is not model)
            #: How planes get to the device and back.
            self.transfer = transfer_for(self.device, streams=streams)
        #: What is asked for a frame's work: the network itself, or what stands before it.
        self.steps: Network = graphed(self.network, self.device) if streams else self.network
        if self.device.type == "cpu":
            keep()
        self._tiles = Tiles(tile, self.network, self.device)

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of the restoration so far, in plain words."""
        return tuple(self._tiles.notes)

    def run(self, frames: Iterable[Frame]) -> Generator[Frame, None, None]:
        """Restore a clip from its start: N frames in, N out, in order, each as soon as it is known. Lazy.

        (For pictures of any kind there is :func:`vdeblur.deblur_frames`.) The same come out of :meth:`step` and
        :meth:`flush`. A run has a memory of its own. The iterable is not
        closed: it is the caller's.

        Raises:
            NetworkError: the network failed or returned nan or inf; with the frame's time.
            DeviceError: out of memory; with the frame's time.
        """
        with contextlib.closing(self.restorations(frames)) as restorations:
            for restored in restorations:
                yield restored.frame

    def restorations(
        self, frames: Iterable[Frame], *, after: Snapshot | None = None
    ) -> Generator[Restored, None, None]:
        """As :meth:`run`, with what is remembered after each frame.

        Args:
            frames: as for :meth:`run`; with ``after`` from the last restored frame on, which does not come out again.
            after: a snapshot to go on from; its state may be on any device.

        Raises:
            NetworkError, DeviceError: as :meth:`run`.
            SourceError: there are fewer frames than had been taken before the snapshot.
        """
        frames = iter(frames)
        memory = self.empty_memory() if after is None else self._memory_from(after, frames)
        flying: deque[_Flight] = deque()
        try:
            for frame in itertools.chain(frames, (None,)):
                with self._lock:
                    flying += [flight for _, flight in self._advance([(memory, frame)])]
                    landed = deque(self._landing(flying))
                while landed:
                    yield landed.popleft()
            while flying:
                yield self._landed(flying.popleft())
        finally:
            self._abandon(flying)

    def empty_memory(self) -> Memory:
        """What is remembered before the first frame: nothing."""
        return Memory(SlidingWindow(lookahead=self.lookahead))

    def _memory_from(self, snapshot: Snapshot, frames: Iterator[Frame]) -> Memory:
        """The memory a snapshot was taken of; the frames that had been taken are taken again."""
        taken = list(itertools.islice(frames, 1 + snapshot.ahead))
        if len(taken) <= snapshot.ahead:
            raise SourceError("the source has fewer frames than when the job began")
        memory = self.empty_memory()
        items = [item for frame in taken for item in self._items([frame])]
        memory.window.newest = items[-1]
        memory.window.before = items[0] if snapshot.ahead and snapshot.joined else None
        memory.breaks.restore(snapshot.breaks)
        if snapshot.state is not None:
            parts = tuple(part.to(self.device) for part in snapshot.state)
            memory.state = getattr(self.network, "state_from", tuple)(parts)
        return memory

    def run_many(self, streams: Sequence[Iterable[Frame]]) -> Generator[tuple[Frame | None, ...], None, None]:
        """Restore independent clips beside each other, frames of one size in one pass through the network. Lazy.

        The n-th tuple has the n-th restored frame of each stream, None for those that have ended before. Each stream
        has a memory of its own; its frames are those of :meth:`run`, but for the rounding of sums.

        Raises:
            NetworkError, DeviceError: as :meth:`run`.
        """
        iterators = [iter(stream) for stream in streams]
        memories = [self.empty_memory() for _ in iterators]
        living = list(range(len(iterators)))
        while living:
            frames = [next(iterators[index], None) for index in living]
            steps = [(memories[index], frame) for index, frame in zip(living, frames, strict=True)]
            restored = dict(zip(living, self._round(steps), strict=True))
            living = [index for index, frame in zip(living, frames, strict=True) if frame is not None]
            if any(frame is not None for frame in restored.values()):
                yield tuple(restored.get(index) for index in range(len(iterators)))

    def step(self, picture: P) -> P | None:
        """Take a picture; return it restored with lookahead 0, or the one before it (None at the first) with 1.

        Raises:
            UsageError: that is no picture, or one of another kind than before.
            NetworkError, DeviceError: as :meth:`run`; the next picture starts anew.
        """
        with self._lock:
            (restored,) = self._stepped([(self._memory, self._frame_of(picture, self._memory))])
        return None if restored is None else picture_of(restored)

    def flush(self) -> Any:
        """End of the clip: the last picture, if lookahead 1 still owes it. The next one starts anew."""
        with self._lock:
            (restored,) = self._stepped([(self._memory, None)])
            self._memory = self.empty_memory()
        return None if restored is None else picture_of(restored)

    def step_many(self, pictures: Sequence[P | None]) -> list[P | None]:
        """As :meth:`step`, a picture from each of several streams at a time: cameras that share a machine.

        A stream is known by its place in the list. Pictures of one size go through the network in one pass.

        Args:
            pictures: the next one of each stream, None where there is none this time. They may differ in size and
                kind.

        Raises:
            UsageError, NetworkError, DeviceError: as :meth:`step`; after the latter two all streams start anew.
        """
        with self._lock:
            self._memories += [self.empty_memory() for _ in range(len(pictures) - len(self._memories))]
            places = [place for place, picture in enumerate(pictures) if picture is not None]
            memories = [self._memories[place] for place in places]
            frames = [self._frame_of(pictures[place], memory) for place, memory in zip(places, memories, strict=True)]
            restored = self._stepped(list(zip(memories, frames, strict=True)))
        result: list[P | None] = [None] * len(pictures)
        for place, frame in zip(places, restored, strict=True):
            result[place] = None if frame is None else picture_of(frame)
        return result

    def flush_many(self) -> list[Any]:
        """End of all streams of :meth:`step_many`: the last picture of each, where lookahead 1 still owes it."""
        with self._lock:
            restored = self._stepped([(memory, None) for memory in self._memories])
            self._memories = []
        return [None if frame is None else picture_of(frame) for frame in restored]

    def reset(self) -> None:
        """Forget what :meth:`step` and :meth:`step_many` have seen: the next picture is the first of a clip."""
        with self._lock:
            self._memory = self.empty_memory()
            self._memories = []

    def suspend(self) -> Memory:
        """What :meth:`step` remembers now. :meth:`resume` goes on from it, as often as wanted."""
        with self._lock:
            return self._memory.copy()

    def resume(self, memory: Memory) -> None:
        """Go on from what was suspended, here or in a Deblurrer with the same network, device and lookahead."""
        with self._lock:
            self._memory = memory.copy()

    def _stepped(self, steps: Sequence[Step]) -> list[Frame | None]:
        """As :meth:`_round`; after a failure, whatever the reason, all starts anew."""
        try:
            return self._round(steps)
        except BaseException:
            self.reset()
            raise

    def _round(self, steps: Sequence[Step]) -> list[Frame | None]:
        """A frame more for each memory: what is complete then comes restored, in the place of its step."""
        restored: list[Frame | None] = [None] * len(steps)
        flying: deque[_Flight] = deque()
        places: deque[int] = deque()
        with self._lock:
            try:
                for place, flight in self._advance(steps):
                    flying.append(flight)
                    places.append(place)
                    for landed in self._landing(flying):
                        restored[places.popleft()] = landed.frame
                while flying:
                    restored[places.popleft()] = self._landed(flying.popleft()).frame
            finally:
                self._abandon(flying)
        return restored

    def _advance(self, steps: Sequence[Step]) -> Iterator[tuple[int, _Flight]]:
        """Give each memory its next frame, None at the end of its clip; start restoring what is complete then.

        Frames of several memories go through the network together where they are of one size and lack the same
        neighbours. Each comes with the place of its step.
        """
        items = iter(self._items([frame for _, frame in steps if frame is not None]))
        jobs: dict[int, Job] = {}
        for place, (memory, frame) in enumerate(steps):
            window = memory.window.finish() if frame is None else self._pushed(memory, next(items))
            if window is not None:
                jobs[place] = memory, window
        waiting = list(jobs.items())
        for group in self._groups([(job[1].current.size, missing(job)) for _, job in waiting]):
            chosen = [waiting[number] for number in group]
            for (place, job), planes in zip(chosen, self._restore([job for _, job in chosen]), strict=True):
                yield place, self._take_off(job, planes)

    def _groups(self, keys: Sequence[tuple[tuple[int, int], Any]]) -> Iterator[list[int]]:
        """Places of equal keys, which begin with a size; as many at a time as the network and the memory take."""
        batches = getattr(self.network, "takes_batches", False)
        for places in alike(keys):
            count = len(places) if batches else 1
            while count > 1 and not self._tiles.have_room(keys[places[0]][0], count):
                count = (count + 1) // 2
            yield from (places[first : first + count] for first in range(0, len(places), count))

    def _items(self, frames: Sequence[Frame]) -> list[Item]:
        """An item of each frame, in their order."""
        items: dict[int, Item] = {}
        reduce = self.reduce
        for places in self._groups([(shrunk_size(frame.size, reduce), None) for frame in frames]):
            items.update(zip(places, self._encode([frames[place] for place in places], reduce), strict=True))
        return [items[place] for place in range(len(frames))]

    def _encode(self, frames: Sequence[Frame], reduce: int) -> list[Item]:
        """Items of frames that are of one size when they are reduced, in one pass."""

        def encode(side: int | None) -> Any:
            inputs = [self._network_input(*each, reduce) for each in zip(frames, planes, strict=True)]
            return self.steps.encode(joined(inputs), **_in_tiles(side))

        with _working(frames[0], self.device):
            planes = [self.transfer.upload(_tensors(frame.planes[: frame.format.colour_planes])) for frame in frames]
            with self.transfer.compute("encode"):
                features = self._tiles.run(shrunk_size(frames[0].size, reduce), encode)
        each = zip(frames, planes, separated(features, len(frames)), strict=True)
        return [Item(*parts, reduce) for parts in each]

    def _network_input(self, frame: Frame, planes: Planes, reduce: int) -> Tensor:
        return network_input(self.network, planes, frame.format, frame.colour, frame.size, reduce=reduce)

    @property
    def _in_halves(self) -> bool:
        """Whether a frame is corrected while the next one is matched: on a CPU, where network and threads allow."""
        able = self.device.type == "cpu" and hasattr(self.steps, "match") and hasattr(self.steps, "correct")
        return able and torch.get_num_threads() > 1

    def _pushed(self, memory: Memory, item: Item) -> Window[Item] | None:
        with _working(item.frame, self.device):
            return memory.window.push(item, joined=memory.joins(item))

    def _restore(self, jobs: Sequence[Job]) -> Sequence[Planes | Download]:
        """Restored planes of windows of one size that lack the same neighbours, in one pass; the states go on."""
        items = [window.current for _, window in jobs]
        parts = [joined(column) for column in zip(*(seen(job) for job in jobs), strict=True)]

        def restore(side: int | None) -> tuple[list[Planes], Any]:
            residual, state = self.steps.residual(*parts, **_in_tiles(side))
            return self._all_corrected(items, residual), state

        restored: Sequence[Planes | Download]
        with _working(items[0].frame, self.device), self.transfer.compute("restore"):
            if self._in_halves:
                restored, state = self._restore_later(items, parts)
            else:
                restored, state = self._tiles.run(items[0].size, restore)
        for (memory, _), own in zip(jobs, separated(state, len(jobs)), strict=True):
            memory.state = own
        return restored

    def _restore_later(self, items: Sequence[Item], parts: Sequence[Any]) -> tuple[list[Download], Any]:
        """The same, but the second half is done beside what follows: the next frame can be matched meanwhile."""
        network: Any = self.steps
        size = items[0].size
        matched, state = self._tiles.run(size, lambda _: network.match(*parts))

        def correct(side: int | None) -> list[Planes]:
            return self._all_corrected(items, network.correct(matched, **_in_tiles(side)))

        work = later(lambda: self._tiles.run(size, correct), self.device)
        return [_Later(work, number) for number in range(len(items))], state

    def _all_corrected(self, items: Sequence[Item], residual: Tensor) -> list[Planes]:
        """The planes of frames of one size with their part of the network's residual (B, C, H, W)."""
        residuals = separated(residual, len(items))
        return [self._corrected(item, own) for item, own in zip(items, residuals, strict=True)]

    def _corrected(self, item: Item, residual: Tensor) -> Planes:
        """The planes with the network's residual (1, C, H, W), and a sum that is finite only if every value is."""
        frame = item.frame
        residual = crop(residual, *item.size)
        planes = add_residual(
            item.planes, residual, frame.format, frame.colour, strength=self.strength, reduce=item.reduce
        )
        return (*planes, residual.sum())

    def _take_off(self, job: Job, planes: Planes | Download) -> _Flight:
        """Start the way back of restored planes."""
        memory, frame = job[0], job[1].current.frame
        with _working(frame, self.device):
            stay = isinstance(frame.planes[0], Tensor) and frame.planes[0].device == self.device
            download = self.transfer.download(planes, stay=stay) if isinstance(planes, tuple) else planes
            flight = _Flight(frame, self.device, download, Snapshot.of(memory))
        self._aloft += 1
        return flight

    def _landing(self, flying: deque[_Flight]) -> Iterator[Restored]:
        """Those that must land before more may take off; others may be in the air too, of other runs."""
        while flying and self._aloft > max(self.transfer.in_flight, int(self._in_halves)):
            yield self._landed(flying.popleft())

    def _landed(self, flight: _Flight) -> Restored:
        with self._lock:
            self._aloft -= 1
            return flight.restored()

    def _abandon(self, flying: deque[_Flight]) -> None:
        """Nobody wants them any more, but the transfers end before their slots are free."""
        while flying:
            with contextlib.suppress(Exception):
                self._landed(flying.popleft())

    def _frame_of(self, picture: Any, memory: Memory) -> Frame:
        newest = memory.window.newest
        return frame_of(picture, before=None if newest is None else newest.frame, channels=self.channels)


@dataclass(frozen=True)
class _Later:
    """Planes of one of the frames that are restored beside other work."""

    work: Later[list[Planes]]
    number: int

    def result(self) -> Planes:
        return self.work.result()[self.number]


@dataclass(frozen=True)
class _Flight:
    """A restored frame on its way back."""

    frame: Frame
    device: torch.device
    download: Download
    #: What is remembered when it has been restored.
    snapshot: Snapshot

    def restored(self) -> Restored:
        return Restored(self.result(), self.snapshot)

    def result(self) -> Frame:
        with _working(self.frame, self.device):
            *planes, total = self.download.result()
            if not math.isfinite(total.item()):
                raise NetworkError("the network returned nan or inf; try --precision float32")
        return self.frame.with_planes(_like(planes, self.frame.planes))


def _in_tiles(side: int | None) -> dict[str, Any]:
    """The argument that only a network which can work in tiles takes."""
    return {} if side is None else {"side": side}


def _placed(network: Any, device: torch.device, dtype: torch.dtype, *, own: bool) -> Network:
    """The network on its device, in its dtype and memory layout; one that is not our ``own`` stays as it is."""
    if isinstance(network, nn.Module):
        network = network if own else copy.deepcopy(network)
        network = network.eval().to(device=device, dtype=dtype)
        network.to(memory_format=torch.channels_last)
    placed: Network = network
    return placed


@contextlib.contextmanager
def _working(frame: Frame, device: torch.device) -> Iterator[None]:
    """Without autograd; what fails is raised with the frame's time."""
    try:
        with torch.inference_mode(), _failures(f"a {frame.width}×{frame.height} frame on {device}"):
            yield
    except VdeblurError as exc:
        number = number_of(frame)
        if number is not None and exc.stage is None:
            exc.args = (f"frame {number}: {exc}",)
        exc.at("network", frame.time_seconds if number is None else None)
        raise


@contextlib.contextmanager
def _failures(what: str) -> Iterator[None]:
    """Turn what PyTorch and the network raise into our errors, in one line."""
    try:
        yield
    except VdeblurError:
        raise
    except Exception as exc:
        text = str(exc).strip() or type(exc).__name__
        if is_out_of_memory(exc):
            raise DeviceError(f"out of memory: {what}; use a smaller model or video, or another --device") from exc
        raise NetworkError(f"{what}: {type(exc).__name__}: {text.splitlines()[0]}") from exc


def _tensors(planes: Sequence[Any]) -> list[Tensor]:
    """Planes as tensors, without a copy where NumPy and PyTorch can share them."""
    result = []
    for plane in planes:
        if isinstance(plane, np.ndarray):
            if not plane.flags.writeable or min(plane.strides, default=0) < 0:
                plane = plane.copy()
            plane = torch.from_numpy(plane)
        result.append(plane)
    return result


def _like(planes: Sequence[Tensor], source: Sequence[Any]) -> list[Any]:
    """Planes of the source's kind, on its device; planes that were not restored (alpha) are the source's own."""
    restored: list[Any] = []
    for plane, original in zip(planes, source, strict=False):
        if isinstance(original, Tensor):
            plane = plane.to(original.device)
            restored.append(plane.clone() if plane.is_inference() else plane)  # a caller may write to it
        else:
            restored.append(plane.numpy())
    return [*restored, *source[len(planes) :]]
