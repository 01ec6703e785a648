"""Deblurrer: the engine's public API; restores frames online, one in, one out, or a whole clip."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Never, TypeVar, Unpack, cast, overload

from vdeblur.adapters.arrays import ArrayAdapter, Channels
from vdeblur.adapters.pictures import P, frame_of, picture_of
from vdeblur.engine.device_step import DeviceStep
from vdeblur.engine.keep import KeptRegions
from vdeblur.engine.read_ahead import checked_read_ahead
from vdeblur.engine.scheduler import Scheduler
from vdeblur.engine.stream_state import RestoredFrame, Snapshot, StreamState
from vdeblur.engine.windows import SlidingWindow
from vdeblur.frames import Frame
from vdeblur.model.network import Network
from vdeblur.options import (
    OPTIONS,
    ArgumentsBesideLookahead,
    NoiseSetting,
    OverlayMode,
    RestoreArguments,
    RestoreOptions,
    with_restore_signature,
)
from vdeblur.regions import KeepSetting
from vdeblur.removal import RemoveSetting
from vdeblur.shutter import ShutterSetting

#: What :meth:`Deblurrer.step` may return beside a picture: None, or nothing where the lookahead is known to be 0.
if TYPE_CHECKING:
    import typing_extensions

    N = typing_extensions.TypeVar("N", covariant=True, default=None)
else:
    N = TypeVar("N", covariant=True)


class Deblurrer(Generic[N]):
    """Removes motion blur from video frames, one after another.

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
        shutter: how long the camera's shutter was open for each frame, where you know it: a share of the frame interval
            up to 1 (0.5), degrees above 1 (180), or a time ("1/60", or a Fraction of a second), which is divided by the
            intervals between the frames' own timestamps. In interlaced video that is restored by fields, the interval
            is a field's. "auto" takes what the camera wrote down (:attr:`vdeblur.Frame.exposure`), and else reads it
            from the blur. The attribute may be set between frames.
        tile: "auto" restores a frame in tiles where it does not fit into memory whole, "off" never, a number always,
            in tiles of so many pixels each way, at least 64. When memory runs out, the tiles are halved. Tiles show
            no seams: what comes out differs by rounding at most.
        channels: order of the colours in arrays and tensors, "rgb" or "bgr" (as OpenCV has it).
        reduce: the network sees the frame so many times smaller each way, 1 to 8, and its correction is enlarged
            again: less work, and less gain. The attribute may be set between frames; the next one starts anew.

        overlays: "auto" finds letters, logos and displays that stand still over a moving picture, and leaves them as
            they are; "off" does not. The attribute may be set between frames.
        keep: regions that come out sample for sample as they went in: "none", rectangles (x, y, width, height) in
            pixels, or paths of mask pictures of the frames' size, white where they are kept; text as "10,20,100,40", or
            several of them. The attribute may be set between frames.
        remove: what is taken out beside the blur: "none" (it stays, grain and all), "noise" (with coding artefacts), or
            a share of it, "noise=0.5". The attribute may be set between frames.
        noise: how noisy the frames are: the standard deviation of luma in levels of 8 bits, 0 to 60, or "auto": read
            from the frames themselves. Noisy and coded frames (:attr:`vdeblur.Frame.quantiser`) are deblurred by a
            cleaner picture of them, the guide. The attribute may be set between frames.
        grain: standard deviation of film grain that is laid over the result, in levels of 8 bits, 0 to 20. It follows
            the frames' pts. The attribute may be set between frames.
        guide: what makes the guide: "auto" is the one that ships, for the networks that ship and wherever noise is
            said or removed; "off", a checkpoint's path, or a :class:`vdeblur.model.guide.guide_net.GuideNet`.

    Raises:
        UsageError: an argument is out of its range, the network cannot work in tiles or use a shutter, or the guide is
            none or off where noise is said or removed.
        DeviceError: the device is missing, does not work, or has no room for the network.
        NetworkError: the checkpoint is damaged.
    """

    @overload
    def __init__(
        self: Deblurrer[Never],
        model: str | Path | Network = ...,
        *,
        streams: bool = ...,
        channels: Channels = ...,
        lookahead: Literal[0],
        **restoration: Unpack[ArgumentsBesideLookahead],
    ) -> None: ...
    @overload
    def __init__(
        self: Deblurrer[None],
        model: str | Path | Network = ...,
        *,
        streams: bool = ...,
        channels: Channels = ...,
        **restoration: Unpack[RestoreArguments],
    ) -> None: ...
    @with_restore_signature
    def __init__(
        self,
        model: str | Path | Network = RestoreOptions.model,
        *,
        streams: bool = True,
        channels: Channels = "rgb",
        **restoration: Unpack[RestoreArguments],
    ) -> None:
        ArrayAdapter(channels)
        options = RestoreOptions(model=model, **restoration)
        self.lookahead = options.lookahead
        self.channels: Channels = channels
        #: State of the stream of :meth:`step`, and of those of :meth:`step_many`.
        self._stream = self._new_stream()
        self._streams: list[StreamState] = []
        self.device_step = DeviceStep(options, streams=streams)
        self.device, self.dtype = self.device_step.device, self.device_step.dtype
        self.network = self.device_step.network
        self._scheduler = Scheduler(self.device_step)
        self._lock = self._scheduler.lock

    @property
    def strength(self) -> float:
        """Factor on the residual; it may be set between frames."""
        return self.device_step.strength

    @strength.setter
    def strength(self, strength: float) -> None:
        with self._lock:
            self.device_step.strength = strength

    @property
    def reduce(self) -> int:
        """Factor by which the network's picture is smaller each way; it may be set between frames."""
        return self.device_step.reduce

    @reduce.setter
    def reduce(self, reduce: int) -> None:
        with self._lock:
            self.device_step.reduce = reduce

    @property
    def shutter(self) -> ShutterSetting:
        """Shutter in its usual form, "auto", 0.5 or "1/60"; it may be set between frames.

        Raises:
            UsageError: when it is set: it is none, or the network does not use the exposure.
        """
        return self.device_step.known_exposure.shutter

    @shutter.setter
    def shutter(self, shutter: ShutterSetting) -> None:
        with self._lock:
            self.device_step.known_exposure.shutter = shutter

    @property
    def overlays(self) -> OverlayMode:
        """Whether overlays are found, "auto" or "off"; it may be set between frames."""
        return self.device_step.overlays

    @overlays.setter
    def overlays(self, overlays: OverlayMode) -> None:
        with self._lock:
            self.device_step.overlays = overlays

    @property
    def keep(self) -> KeepSetting:
        """Regions that are kept, in their usual form; they may be set between frames.

        Raises:
            UsageError: when they are set: that is no region, or a mask cannot be read.
        """
        return self.device_step.kept.setting

    @keep.setter
    def keep(self, keep: KeepSetting) -> None:
        if keep != self.keep:
            kept = KeptRegions(keep)
            with self._lock:
                self.device_step.kept = kept

    @property
    def remove(self) -> str:
        """What is removed beside the blur, in its usual form: "none", "noise" or "noise=0.5"; it may be set.

        Raises:
            UsageError: when it is set: that cannot be, or the guide is off.
        """
        return self.device_step.remove

    @remove.setter
    def remove(self, remove: RemoveSetting) -> None:
        with self._lock:
            self.device_step.remove = remove

    @property
    def noise(self) -> NoiseSetting:
        """How noisy the frames are, "auto" or a standard deviation of 255; it may be set, as ``remove``."""
        return self.device_step.noise

    @noise.setter
    def noise(self, noise: NoiseSetting) -> None:
        with self._lock:
            self.device_step.noise = noise

    @property
    def grain(self) -> float:
        """Standard deviation of the film grain that is laid over, of 255; it may be set between frames."""
        return self.device_step.grain

    @grain.setter
    def grain(self, grain: float) -> None:
        with self._lock:
            self.device_step.grain = OPTIONS["grain"].checked(grain)

    @property
    def notes(self) -> tuple[str, ...]:
        """Messages for people on the restoration so far: where memory was short, or a shutter cannot be."""
        return (*self.device_step.tiles.notes, *self.device_step.known_exposure.notes)

    def run(
        self, frames: Iterable[Frame], *, read_ahead: int = 0, ready: Callable[[], bool] | None = None
    ) -> Generator[Frame, None, None]:
        """Restore a clip from its start: N frames in, N out, in order, each as soon as it is complete. Lazy.

        (For pictures of any kind there is :func:`vdeblur.deblur_frames`.) The same come out of :meth:`step` and
        :meth:`flush` where nothing is read ahead. A run has a stream state of its own. The iterable is not closed: it
        is the caller's. Frames are not copied, and those that come out may share planes: write into none.

        Args:
            frames: the clip.
            read_ahead: how many frames behind its window a frame waits for, 0 to 100: its exposure is then read from
                them, too, as far as they are of its shot. 24 is what files get. The delay grows by as many frames,
                and they wait in memory; large frames are held to 256 MiB of them. 0 where there is nothing to read:
                with a network that reads no exposure, or a shutter that you said. From 6 on, a frame also waits for a
                neighbour that is no copy of it, for up to 6 copies.
            ready: callback whether the next frame is there already, as in a file, so that nobody waits for it: then the
                work on it may overlap that on those before. None: that is not known, and each frame comes out first.

        Raises:
            UsageError: ``read_ahead`` is out of its bounds; at once.
            NetworkError: the network failed or returned nan or inf; with the frame's time.
            DeviceError: out of memory; with the frame's time.
        """
        return _frames_of(self.restorations(frames, read_ahead=read_ahead, ready=ready))

    def restorations(
        self,
        frames: Iterable[Frame],
        *,
        after: Snapshot | None = None,
        read_ahead: int = 0,
        ready: Callable[[], bool] | None = None,
    ) -> Generator[RestoredFrame, None, None]:
        """As :meth:`run`, with the snapshot after each frame, and the exposure that it was restored with.

        Args:
            frames: as for :meth:`run`; with ``after`` from the last restored frame on, which does not come out again.
            after: a snapshot to go on from; its state may be on any device.
            read_ahead: as for :meth:`run`; with ``after`` the same as before, for the same frames to come out.
            ready: as for :meth:`run`.

        Raises:
            UsageError, NetworkError, DeviceError: as :meth:`run`.
            SourceError: there are fewer frames than had been taken before the snapshot.
        """
        stream = self._new_stream()
        stream.read_ahead = checked_read_ahead(read_ahead)
        self.device_step.tiles.expect_waiting(stream.read_ahead)
        return self._scheduler.run(stream, iter(frames), after, ready)

    def run_many(self, streams: Sequence[Iterable[Frame]]) -> Generator[tuple[Frame | None, ...], None, None]:
        """Restore independent clips in lockstep, frames of one size in one batch. Lazy.

        The n-th tuple has the n-th restored frame of each stream, None for those that have ended before. Each stream
        has a state of its own; its frames are those of :meth:`run`, but for the rounding of sums, with nothing read
        ahead.

        Raises:
            NetworkError, DeviceError: as :meth:`run`.
        """
        yield from self._scheduler.run_many([self._new_stream() for _ in streams], streams)

    def step(self, picture: P) -> P | N:
        """Push a picture; return it restored with lookahead 0, or the one before it (None at the first) with 1.

        The picture is copied: whoever made it may write the next one over it.

        Raises:
            UsageError: that is no picture, or one of another kind than before.
            NetworkError, DeviceError: as :meth:`run`; the next picture starts anew.
        """
        with self._lock:
            frame = self._frame_of(picture, self._stream)
            with self._reset_after_failure():
                restored = self._scheduler.step(self._stream, frame)
        return cast(N, None) if restored is None else picture_of(restored)

    def flush(self) -> Any:
        """Flush at the end of the clip: return its last picture with lookahead 1, else None. The next starts anew."""
        with self._lock:
            with self._reset_after_failure():
                restored = self._scheduler.step(self._stream, None)
            self._stream = self._new_stream()
        return None if restored is None else picture_of(restored)

    def step_many(self, pictures: Sequence[P | None]) -> list[P | None]:
        """Push a picture into each of several streams, as :meth:`step`: cameras that share a machine.

        A stream is known by its place in the list. Pictures of one size go through the network in one pass.

        Args:
            pictures: the next one of each stream, None where there is none this time. They may differ in size and
                kind.

        Raises:
            UsageError, NetworkError, DeviceError: as :meth:`step`; after the latter two all streams start anew.
        """
        with self._lock:
            self._streams += [self._new_stream() for _ in range(len(pictures) - len(self._streams))]
            places = [place for place, picture in enumerate(pictures) if picture is not None]
            streams = [self._streams[place] for place in places]
            frames = [self._frame_of(pictures[place], stream) for place, stream in zip(places, streams, strict=True)]
            with self._reset_after_failure():
                restored = self._scheduler.step_many(list(zip(streams, frames, strict=True)))
        result: list[P | None] = [None] * len(pictures)
        for place, frame in zip(places, restored, strict=True):
            result[place] = None if frame is None else picture_of(frame)
        return result

    def flush_many(self) -> list[Any]:
        """Flush all streams of :meth:`step_many`: return the last picture of each with lookahead 1, else None."""
        with self._lock:
            with self._reset_after_failure():
                restored = self._scheduler.step_many([(stream, None) for stream in self._streams])
            self._streams = []
        return [None if frame is None else picture_of(frame) for frame in restored]

    def reset(self) -> None:
        """Reset the streams of :meth:`step` and :meth:`step_many`: the next picture is the first of a clip."""
        with self._lock:
            self._stream = self._new_stream()
            self._streams = []

    def suspend(self) -> StreamState:
        """Return a copy of the state of the stream of :meth:`step`, to :meth:`resume` from as often as wanted."""
        with self._lock:
            return self._stream.copy()

    def resume(self, stream: StreamState) -> None:
        """Resume a suspended stream, of this Deblurrer or one with the same network, device and lookahead."""
        with self._lock:
            self._stream = stream.copy()

    def _new_stream(self) -> StreamState:
        return StreamState(SlidingWindow(lookahead=self.lookahead))

    @contextlib.contextmanager
    def _reset_after_failure(self) -> Iterator[None]:
        """Reset all streams after any failure within."""
        try:
            yield
        except BaseException:
            self.reset()
            raise

    def _frame_of(self, picture: Any, stream: StreamState) -> Frame:
        return frame_of(picture, before=stream.newest, channels=self.channels)


def _frames_of(restorations: Generator[RestoredFrame, None, None]) -> Generator[Frame, None, None]:
    with contextlib.closing(restorations):
        for restored in restorations:
            yield restored.frame
