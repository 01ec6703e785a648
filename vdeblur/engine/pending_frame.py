"""Pending frames: restored frames that are still being computed or downloaded, and the errors of their work."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vdeblur.adapters.pictures import number_of
from vdeblur.engine.exposure import KnownFraction, frame_shutter
from vdeblur.engine.guide.stage import FrameNoise
from vdeblur.engine.keep import KeptRegions
from vdeblur.engine.repeats import Twin
from vdeblur.engine.stream_state import RestoredFrame, Snapshot
from vdeblur.errors import DeviceError, NetworkError, VdeblurError
from vdeblur.frames import Frame
from vdeblur.regions import NONE
from vdeblur.runtime.cpu_pool import BackgroundTask
from vdeblur.runtime.device import is_out_of_memory
from vdeblur.runtime.transfer import PendingDownload, Planes


@dataclass(frozen=True)
class NoiseTold:
    """What is known of a frame's noise before its reading is: as in :class:`vdeblur.engine.guide.stage.FrameNoise`."""

    given: bool
    removed: float
    quantiser: float | None


@dataclass(frozen=True)
class PendingFrame:
    """A restored frame whose planes are still being computed or downloaded."""

    frame: Frame
    device: torch.device
    download: PendingDownload
    #: State of its stream after it.
    snapshot: Snapshot
    #: What was said of its exposure; None if the network takes none.
    known: KnownFraction | None = None
    #: What is known of its noise; None without a guide.
    noise: NoiseTold | None = None

    def result(self) -> RestoredFrame:
        """Wait for the planes. To be called once, oldest frame first.

        Raises:
            NetworkError: the residual has nan or inf, or the pending correction failed.
            DeviceError: out of memory.
        """
        with frame_errors(self.frame, self.device):
            *planes, numbers = self.download.result()
            total, *exposures = numbers.tolist()
            noise = None if self.noise is None else _noise(self.noise, [exposures.pop(-2), exposures.pop()])
            if not math.isfinite(total):
                raise NetworkError('the network returned nan or inf; try precision="float32"')
        shutter = None if self.known is None else frame_shutter(exposures, self.known)
        return RestoredFrame(self.frame.with_planes(_like(planes, self.frame.planes)), self.snapshot, shutter, noise)


@dataclass(frozen=True)
class PendingCopy:
    """A copy of a frame that is to be restored before it."""

    frame: Frame
    twin: Twin
    snapshot: Snapshot
    #: What is kept now: it may have been set since the twin was restored.
    kept: KeptRegions

    def result(self) -> RestoredFrame:
        """Correct it as its twin was, but for what is kept. To be called behind the result of that one.

        Raises:
            UsageError: a kept region is none of its picture.
        """
        corrected = self.twin.correct(self.frame)
        if self.kept.setting != NONE:
            count = corrected.format.colour_planes
            source, planes = (tensors_of(each.planes[:count]) for each in (self.frame, corrected))
            kept = self.kept.restored(source, planes, corrected.format)
            corrected = corrected.with_planes(_like(kept, self.frame.planes))
        return RestoredFrame(corrected, self.snapshot, self.twin.shutter, self.twin.noise)


def _noise(told: NoiseTold, reading: Sequence[float]) -> FrameNoise:
    level, used = reading
    return FrameNoise(level * 255, used, told.given, told.removed, told.quantiser)


@contextlib.contextmanager
def frame_errors(frame: Frame, device: torch.device) -> Iterator[None]:
    """Inference mode; errors within become those of this package, with the frame's number or time."""
    try:
        with torch.inference_mode(), network_errors(f"a {frame.width}×{frame.height} frame on {device}"):
            yield
    except VdeblurError as exc:
        number = number_of(frame)
        if number is not None and exc.stage is None:
            exc.args = (f"frame {number}: {exc}",)
        exc.at("network", frame.time_seconds if number is None else None)
        raise


@dataclass(frozen=True)
class FrameOfBatch:
    """Planes of one frame of a batch whose correction runs asynchronously."""

    work: BackgroundTask[list[Planes]]
    number: int

    def result(self) -> Planes:
        return self.work.result()[self.number]


@contextlib.contextmanager
def network_errors(what: str) -> Iterator[None]:
    """Translate errors of PyTorch and the network into those of this package, in one line."""
    try:
        yield
    except VdeblurError:
        raise
    except Exception as exc:
        text = str(exc).strip() or type(exc).__name__
        if is_out_of_memory(exc):
            raise DeviceError(f"out of memory: {what}; use a smaller model or video, or another device") from exc
        raise NetworkError(f"{what}: {type(exc).__name__}: {text.splitlines()[0]}") from exc


def tensors_of(planes: Sequence[Any]) -> list[Tensor]:
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
