"""Device step: upload, network, correction and download of a batch of frames on one device."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vdeblur.adapters.pictures import number_of
from vdeblur.engine.batching import concatenate, split_batch
from vdeblur.engine.exposure import KnownExposure
from vdeblur.engine.pixels import add_residual, crop, reduced_size
from vdeblur.engine.stream_state import (
    EncodedFrame,
    RestoredFrame,
    RestoreJob,
    Snapshot,
    neighbourhood,
    network_arguments,
)
from vdeblur.engine.tiling import TileChooser, network_input
from vdeblur.errors import DeviceError, NetworkError, VdeblurError
from vdeblur.frames import Frame
from vdeblur.kernels.dispatch import have_kernels
from vdeblur.model.checkpoint import load_network
from vdeblur.model.network import Network, traits_of
from vdeblur.options import RestoreOptions
from vdeblur.runtime.cpu_pool import BackgroundTask, run_in_background
from vdeblur.runtime.cuda_graphs import with_cuda_graphs
from vdeblur.runtime.device import choose_dtype, find_device, is_out_of_memory
from vdeblur.runtime.host_memory import keep_freed_blocks
from vdeblur.runtime.transfer import PendingDownload, Planes, transfer_for


class DeviceStep:
    """One step of the network on its device, for a batch of frames of one size.

    A frame goes through :meth:`encode` once and, when its window is complete, through :meth:`restore`; the result of
    the :class:`PendingFrame` that this starts is the restored frame.

    Args:
        options: as for :class:`vdeblur.engine.deblurrer.Deblurrer`; a network is copied. ``strength`` and ``reduce``
            become attributes, which may be set between frames.
        streams: on CUDA, transfer beside the computation, and steps as graphs.

    Raises:
        UsageError: the precision is none for the device, or the network cannot work in tiles or use a shutter.
        DeviceError: the device is missing, does not work, or has no room for the network.
        NetworkError: the checkpoint is damaged.
    """

    def __init__(self, options: RestoreOptions, *, streams: bool) -> None:
        model = options.model
        self.strength, self.reduce = float(options.strength), options.reduce
        self.device = find_device(options.device)
        self.dtype = choose_dtype(options.precision, self.device)
        with _network_errors(f"loading the network on {self.device}"):
            network = load_network(str(model)) if isinstance(model, (str, Path)) else model
            traits = traits_of(network)
            #: Exposure fractions that need not be read from the blur; its ``shutter`` may be set between frames.
            self.known_exposure = KnownExposure(options.shutter, usable=traits.reads_exposure)
            cpu_kernels = self.device.type == "cpu" and traits.compiled and have_kernels(self.device)
            if options.precision == "auto" and cpu_kernels:
                self.dtype = torch.float32  # the kernels' own
            self.network = _placed(network, self.device, self.dtype, own=network is not model)
            #: Moves planes to the device and back.
            self.transfer = transfer_for(self.device, streams=streams)
        #: Does a frame's work: the network itself, or its steps as CUDA graphs.
        self.steps: Network = self.network
        if streams:
            self.steps = with_cuda_graphs(self.network, self.device, capturable=traits.capturable)
        if self.device.type == "cpu":
            keep_freed_blocks()
        self.tiles = TileChooser(options.tile, self.network, self.device)

    @property
    def in_flight(self) -> int:
        """Restored frames that may be pending before the oldest has to be waited for."""
        return max(self.transfer.in_flight, int(self._in_halves))

    @property
    def takes_batches(self) -> bool:
        """Whether frames of several streams may go through the network together."""
        return traits_of(self.network).takes_batches

    def encode(self, frames: Sequence[Frame]) -> list[EncodedFrame]:
        """Upload frames that are of one size when they are reduced, and compute their features, in one pass."""
        reduce = self.reduce

        def encode(side: int | None) -> Any:
            inputs = [self._network_input(*each, reduce) for each in zip(frames, planes, strict=True)]
            return self.steps.encode(concatenate(inputs), **_in_tiles(side))

        with frame_errors(frames[0], self.device):
            planes = [self.transfer.upload(_tensors(frame.planes[: frame.format.colour_planes])) for frame in frames]
            with self.transfer.compute("encode"):
                features = self.tiles.run(reduced_size(frames[0].size, reduce), encode)
        each = zip(frames, planes, split_batch(features, len(frames)), strict=True)
        return [EncodedFrame(*parts, reduce) for parts in each]

    def restore(self, jobs: Sequence[RestoreJob]) -> Iterator[PendingFrame]:
        """Restore windows of one size that lack the same neighbours, in one pass; the states of their streams move on.

        Lazy: each frame's download starts when it is asked for.
        """
        for job, planes in zip(jobs, self._restored_planes(jobs), strict=True):
            yield self._download(job, planes)

    def state_on_device(self, state: Sequence[Tensor] | None) -> Any:
        """A snapshot's recurrent state, which may be on any device, as the network takes it."""
        if state is None:
            return None
        return traits_of(self.network).state_from(tuple(part.to(self.device) for part in state))

    def _network_input(self, frame: Frame, planes: Planes, reduce: int) -> Tensor:
        return network_input(self.network, planes, frame.format, frame.colour, frame.size, reduce=reduce)

    @property
    def _in_halves(self) -> bool:
        """Whether a frame is corrected while the next one is matched: on a CPU, where network and threads allow."""
        return self.device.type == "cpu" and traits_of(self.steps).halves and torch.get_num_threads() > 1

    def _restored_planes(self, jobs: Sequence[RestoreJob]) -> Sequence[Planes | PendingDownload]:
        frames = [window.current for _, window in jobs]
        strength = self.strength

        def restore(side: int | None) -> tuple[list[Planes], Any]:
            residual, state = self.steps.residual(*arguments, **_in_tiles(side))
            return _corrected(frames, residual, strength), state

        restored: Sequence[Planes | PendingDownload]
        with frame_errors(frames[0].frame, self.device), self.transfer.compute("restore"):
            arguments = [concatenate(column) for column in zip(*map(self._arguments, jobs), strict=True)]
            if self._in_halves:
                restored, state = self._restore_in_halves(frames, arguments)
            else:
                restored, state = self.tiles.run(frames[0].size, restore)
        for (stream, _), own in zip(jobs, split_batch(state, len(jobs)), strict=True):
            stream.state = own
        return restored

    def _arguments(self, job: RestoreJob) -> tuple[Any, ...]:
        """What the network is given: features and state, and the exposure fraction if it takes that."""
        if not self.known_exposure.usable:
            return network_arguments(job)
        fraction = self.known_exposure.fraction(neighbourhood(job))
        return *network_arguments(job), torch.full((1, 1, 1, 1), fraction, device=self.device)

    def _restore_in_halves(
        self, frames: Sequence[EncodedFrame], arguments: Sequence[Any]
    ) -> tuple[list[PendingDownload], Any]:
        """Match now and run the correction asynchronously, so that it overlaps flow estimation of the next frame."""
        network: Any = self.steps
        size, strength = frames[0].size, self.strength
        matched, state = self.tiles.run(size, lambda _: network.match(*arguments))

        def correct(side: int | None) -> list[Planes]:
            return _corrected(frames, network.correct(matched, **_in_tiles(side)), strength)

        work = run_in_background(lambda: self.tiles.run(size, correct), self.device)
        return [_FrameOfBatch(work, number) for number in range(len(frames))], state

    def _download(self, job: RestoreJob, planes: Planes | PendingDownload) -> PendingFrame:
        """Start the device-to-host copy of the restored planes."""
        stream, frame = job[0], job[1].current.frame
        with frame_errors(frame, self.device):
            stay = isinstance(frame.planes[0], Tensor) and frame.planes[0].device == self.device
            download = self.transfer.download(planes, stay=stay) if isinstance(planes, tuple) else planes
            return PendingFrame(frame, self.device, download, Snapshot.of(stream))


@dataclass(frozen=True)
class PendingFrame:
    """A restored frame whose planes are still being computed or downloaded."""

    frame: Frame
    device: torch.device
    download: PendingDownload
    #: State of its stream after it.
    snapshot: Snapshot

    def result(self) -> RestoredFrame:
        """Wait for the planes. To be called once, oldest frame first.

        Raises:
            NetworkError: the residual has nan or inf, or the pending correction failed.
            DeviceError: out of memory.
        """
        with frame_errors(self.frame, self.device):
            *planes, total = self.download.result()
            if not math.isfinite(total.item()):
                raise NetworkError("the network returned nan or inf; try --precision float32")
        return RestoredFrame(self.frame.with_planes(_like(planes, self.frame.planes)), self.snapshot)


@contextlib.contextmanager
def frame_errors(frame: Frame, device: torch.device) -> Iterator[None]:
    """Inference mode; errors within become those of this package, with the frame's number or time."""
    try:
        with torch.inference_mode(), _network_errors(f"a {frame.width}×{frame.height} frame on {device}"):
            yield
    except VdeblurError as exc:
        number = number_of(frame)
        if number is not None and exc.stage is None:
            exc.args = (f"frame {number}: {exc}",)
        exc.at("network", frame.time_seconds if number is None else None)
        raise


@dataclass(frozen=True)
class _FrameOfBatch:
    """Planes of one frame of a batch whose correction runs asynchronously."""

    work: BackgroundTask[list[Planes]]
    number: int

    def result(self) -> Planes:
        return self.work.result()[self.number]


def _corrected(frames: Sequence[EncodedFrame], residual: Tensor, strength: float) -> list[Planes]:
    """Planes of frames of one size with their part of the network's residual (B, C, H, W)."""
    residuals = split_batch(residual, len(frames))
    return [_corrected_planes(frame, own, strength) for frame, own in zip(frames, residuals, strict=True)]


def _corrected_planes(encoded: EncodedFrame, residual: Tensor, strength: float) -> Planes:
    """Planes with the network's residual (1, C, H, W), and its sum, which is finite only if every value is."""
    frame = encoded.frame
    residual = crop(residual, *encoded.size)
    planes = add_residual(
        encoded.planes, residual, frame.format, frame.colour, strength=strength, reduce=encoded.reduce
    )
    return (*planes, residual.sum())


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
def _network_errors(what: str) -> Iterator[None]:
    """Translate errors of PyTorch and the network into those of this package, in one line."""
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
