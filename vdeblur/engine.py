"""The engine: network, recurrent state and device together restore frames, one in, one out."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vdeblur.compute import choose_dtype, find_device, is_out_of_memory
from vdeblur.errors import DeviceError, NetworkError, SourceError, UsageError, VdeblurError
from vdeblur.frames import Frame
from vdeblur.memory import keep
from vdeblur.model.checkpoint import load_network
from vdeblur.pixels import add_residual, crop, pad_to_multiple, picture_from_planes
from vdeblur.scenes import Breaks
from vdeblur.tiles import Tiles, TileWish, channels_of
from vdeblur.transfer import Download, Planes, transfer_for
from vdeblur.windows import SlidingWindow, Window

#: Largest strength; beyond it the correction overshoots visibly.
MAX_STRENGTH = 1.5


class Network(Protocol):
    """What the engine asks of a network; :class:`vdeblur.model.network.DeblurNet` is one.

    One that can also work in tiles is a :class:`vdeblur.tiles.Tileable`; any other is always given whole frames. It is
    given R'G'B' and returns a residual of R'G'B'; with an attribute ``channels`` of 1, both are luma.
    """

    stride: int
    minimum_size: int

    def encode(self, frame: Tensor, /) -> Any: ...

    def residual(self, previous: Any, current: Any, following: Any, state: Any, /) -> tuple[Tensor, Any]: ...


@dataclass(frozen=True, eq=False)
class _Item:
    """A frame and what the device holds of it: colour planes, and features that serve every window it is in."""

    frame: Frame
    planes: Planes
    features: Any


@dataclass
class Memory:
    """What a Deblurrer remembers from frame to frame. Its parts are replaced, never written to."""

    window: SlidingWindow[_Item]
    breaks: Breaks = field(default_factory=Breaks)
    state: Any = None

    def copy(self) -> Memory:
        return Memory(copy.copy(self.window), copy.copy(self.breaks), self.state)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What is remembered after a frame, without the frames themselves: enough to go on once they are read again."""

    #: The network's recurrent state.
    state: Any
    #: Frames taken beyond the last restored one: 0, or 1 with lookahead.
    ahead: int
    #: Whether the frame ahead belongs to the same shot.
    joined: bool
    #: What the search for cuts remembers (:meth:`vdeblur.scenes.Breaks.memory`).
    breaks: dict[str, Any]

    @staticmethod
    def of(memory: Memory) -> Snapshot:
        window = memory.window
        return Snapshot(memory.state, window.lookahead, window.before is not None, memory.breaks.memory())

    def tensors(self) -> tuple[Tensor, ...]:
        """The state's tensors, on the CPU.

        Raises:
            NetworkError: the state of this network is no tuple of tensors.
        """
        parts = () if self.state is None else self.state
        if not isinstance(parts, tuple) or not all(isinstance(part, Tensor) for part in parts):
            raise NetworkError("the network's state is no tuple of tensors; a job with it cannot be kept for later")
        return tuple(part.cpu() for part in parts)


@dataclass(frozen=True, eq=False)
class Restored:
    """A restored frame, and what was remembered when it had been restored."""

    frame: Frame
    snapshot: Snapshot


class Deblurrer:
    """Takes the motion blur out of frames, one after another.

    A Deblurrer carries the network's recurrent state from frame to frame. It starts anew by itself at a scene cut, a
    gap in time and a change of size or format. Frames of any size from 1×1 on, of any pixel format that
    :class:`vdeblur.frames.PixelFormat` can describe, come back with the same format, size, time and alpha.

    Example::

        from vdeblur import Deblurrer

        deblurrer = Deblurrer("fast", lookahead=0)
        for frame in camera:                  # vdeblur.frames.Frame: planes, format, colour, pts
            show(deblurrer.step(frame))       # the same frame, sharper

        for frame in Deblurrer().run(frames):  # a whole clip, with one frame of lookahead
            save(frame)

    Args:
        model: name of a network ("fast"), path of a checkpoint, or a network. A network is copied, not changed.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps"; auto takes CUDA where it works, else the CPU.
        precision: "auto", "float32", "bfloat16" or "float16". It is the network's own; the residual and its addition
            are always float32.
        strength: factor on the residual, 0 to 1.5; at 0 every plane comes back bit for bit.
        lookahead: 1 lets the network see one frame of the future, for one frame of delay; 0 has no delay.
        streams: on CUDA, transfer beside the computation; off only to compare.
        tile: "auto" restores a frame in tiles where it does not fit into memory whole, "off" never, a number always,
            in tiles of so many pixels each way, at least 64. When memory runs out, the tiles are halved. Tiles show
            no seams: what comes out differs by rounding at most.

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
    ) -> None:
        if not 0.0 <= strength <= MAX_STRENGTH:
            raise UsageError(f"strength cannot be {strength!r}; it is 0 (nothing) to {MAX_STRENGTH}, 1 as trained")
        self.strength = float(strength)
        self.lookahead = lookahead
        self._memory = self.empty_memory()
        self.device = find_device(device)
        self.dtype = choose_dtype(precision, self.device)
        with _failures(f"loading the network on {self.device}"):
            self.network = _placed(model, self.device, self.dtype)
            self._transfer = transfer_for(self.device, streams=streams)
        if self.device.type == "cpu":
            keep()
        self._tiles = Tiles(tile, self.network, self.device)

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of the restoration so far, in plain words."""
        return tuple(self._tiles.notes)

    def run(self, frames: Iterable[Frame]) -> Generator[Frame, None, None]:
        """Restore a clip from its start: N frames in, N out, in order, each as soon as it is known. Lazy.

        The same frames come out of :meth:`step` and :meth:`flush`. A run has a memory of its own. The iterable is not
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
            for frame in frames:
                flying += self._push(memory, frame)
                while len(flying) > self._transfer.in_flight:
                    yield flying.popleft().restored()
            flying += self._finish(memory)
            while flying:
                yield flying.popleft().restored()
        finally:
            for flight in flying:  # nobody wants them any more, but the transfers end before their slots are free
                with contextlib.suppress(Exception):
                    flight.download.result()

    def empty_memory(self) -> Memory:
        """What is remembered before the first frame: nothing."""
        return Memory(SlidingWindow(lookahead=self.lookahead))

    def _memory_from(self, snapshot: Snapshot, frames: Iterator[Frame]) -> Memory:
        """The memory a snapshot was taken of; the frames that had been taken are taken again."""
        taken = list(itertools.islice(frames, 1 + snapshot.ahead))
        if len(taken) <= snapshot.ahead:
            raise SourceError("the source has fewer frames than when the job began")
        memory = self.empty_memory()
        items = [self._encoded(frame) for frame in taken]
        memory.window.newest = items[-1]
        memory.window.before = items[0] if snapshot.ahead and snapshot.joined else None
        memory.breaks.restore(snapshot.breaks)
        if snapshot.state is not None:
            parts = tuple(part.to(self.device) for part in snapshot.state)
            memory.state = getattr(self.network, "state_from", tuple)(parts)
        return memory

    def step(self, frame: Frame) -> Frame | None:
        """Take a frame; return it restored with lookahead 0, or the one before it (None at the first) with 1.

        Raises:
            NetworkError, DeviceError: as :meth:`run`; the next frame starts anew.
        """
        return self._one(lambda: self._push(self._memory, frame))

    def flush(self) -> Frame | None:
        """End of the clip: the last frame, if lookahead 1 still owes it. The next frame starts anew."""
        restored = self._one(lambda: self._finish(self._memory))
        self.reset()
        return restored

    def reset(self) -> None:
        """Forget what :meth:`step` has seen: the next frame is the first of a clip."""
        self._memory = self.empty_memory()

    def suspend(self) -> Memory:
        """What :meth:`step` remembers now. :meth:`resume` goes on from it, as often as wanted."""
        return self._memory.copy()

    def resume(self, memory: Memory) -> None:
        """Go on from what was suspended, here or in a Deblurrer with the same network, device and lookahead."""
        self._memory = memory.copy()

    def _one(self, work: Callable[[], list[_Flight]]) -> Frame | None:
        try:
            flights = work()
            return flights[0].result() if flights else None
        except BaseException:
            self.reset()
            raise

    def _push(self, memory: Memory, frame: Frame) -> list[_Flight]:
        """Give the frame to the window; start restoring the frame whose window is complete, if one is."""
        with _working(frame, self.device):
            last = memory.window.newest
            joined = last is not None and not memory.breaks(last.frame, frame)
            window = memory.window.push(self._encode(frame), joined=joined)
        return [] if window is None else [self._restore(memory, window)]

    def _encoded(self, frame: Frame) -> _Item:
        with _working(frame, self.device):
            return self._encode(frame)

    def _finish(self, memory: Memory) -> list[_Flight]:
        window = memory.window.finish()
        return [] if window is None else [self._restore(memory, window)]

    def _encode(self, frame: Frame) -> _Item:
        planes = self._transfer.upload(_tensors(frame.planes[: frame.format.colour_planes]))
        height, width = frame.size

        def encode(side: int | None) -> Any:
            picture = picture_from_planes(
                planes, frame.format, frame.colour, height=height, width=width, channels=channels_of(self.network)
            )
            picture = pad_to_multiple(picture, self.network.stride, minimum=self.network.minimum_size)
            return self.network.encode(picture, **_in_tiles(side))

        with self._transfer.compute():
            return _Item(frame, planes, self._tiles.run(frame.size, encode))

    def _restore(self, memory: Memory, window: Window[_Item]) -> _Flight:
        item, frame = window.current, window.current.frame
        previous = None if window.previous is item else window.previous.features
        following = None if window.next is item else window.next.features
        state = None if window.first else memory.state

        def restore(side: int | None) -> tuple[Planes, Any]:
            residual, new = self.network.residual(previous, item.features, following, state, **_in_tiles(side))
            residual = crop(residual, *frame.size)
            planes = add_residual(item.planes, residual, frame.format, frame.colour, strength=self.strength)
            return (*planes, residual.sum()), new  # the sum is finite only if every value is

        with _working(frame, self.device):
            with self._transfer.compute():
                planes, memory.state = self._tiles.run(frame.size, restore)
            stay = isinstance(frame.planes[0], Tensor) and frame.planes[0].device == self.device
            return _Flight(frame, self.device, self._transfer.download(planes, stay=stay), Snapshot.of(memory))


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


def _placed(model: str | Path | Network, device: torch.device, dtype: torch.dtype) -> Network:
    """The network on its device, in its dtype and memory layout; a network that was given stays as it is."""
    network: Any = load_network(str(model)) if isinstance(model, (str, Path)) else model
    if isinstance(network, nn.Module):
        network = network if network is not model else copy.deepcopy(network)
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
        exc.at("network", frame.time_seconds)
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
