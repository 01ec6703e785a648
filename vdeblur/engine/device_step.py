"""Device step: upload, network, correction and download of a batch of frames on one device."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vdeblur.engine.batching import concatenate, split_batch
from vdeblur.engine.corrections import Corrections, told_and_read
from vdeblur.engine.exposure import PATIENCE_FRAMES, KnownExposure, KnownFraction, count_contradictions
from vdeblur.engine.guide.planes import Seen
from vdeblur.engine.guide.stage import Guided, GuideMemory, GuideStage, guide_dtype, load_guide, refuse_guide_as_model
from vdeblur.engine.keep import KeptRegions
from vdeblur.engine.overlays import Found, find_overlays
from vdeblur.engine.pending_frame import FrameOfBatch, NoiseTold, PendingFrame, frame_errors, network_errors, tensors_of
from vdeblur.engine.pixels import reduced_size
from vdeblur.engine.read_ahead import frames_that_wait, tensor_bytes
from vdeblur.engine.stream_state import (
    EncodedFrame,
    RestoreJob,
    Snapshot,
    neighbourhood,
    network_arguments,
    seen_features,
    with_features,
)
from vdeblur.engine.tiling import TileChooser, network_input
from vdeblur.engine.windows import Window
from vdeblur.errors import UsageError
from vdeblur.frames import Frame
from vdeblur.kernels.dispatch import have_kernels
from vdeblur.model.checkpoint import load_network
from vdeblur.model.exposure import profile_ahead
from vdeblur.model.network import Network, traits_of
from vdeblur.options import OPTIONS, NoiseSetting, RestoreOptions
from vdeblur.removal import NONE, RemoveSetting, removed_share
from vdeblur.runtime.cpu_pool import run_in_background, single_threaded_ops
from vdeblur.runtime.cuda_graphs import with_cuda_graphs
from vdeblur.runtime.device import choose_dtype, find_device
from vdeblur.runtime.host_memory import keep_freed_blocks
from vdeblur.runtime.transfer import PendingDownload, Planes, transfer_for


class DeviceStep:
    """One step of the network on its device, for a batch of frames of one size.

    A frame goes through :meth:`encode` once and, when its window is complete, through :meth:`restore`; the result of
    the :class:`PendingFrame` that this starts is the restored frame.

    Args:
        options: as for :class:`vdeblur.engine.deblurrer.Deblurrer`; a network is copied. ``strength``, ``reduce``,
            ``overlays``, ``remove``, ``noise`` and ``grain`` become attributes, which may be set between frames, and
            ``keep`` becomes ``kept``.
        streams: on CUDA, transfer beside the computation, and steps as graphs.

    Raises:
        UsageError: the precision is none for the device, the network cannot work in tiles or use a shutter, or the
            guide is none.
        DeviceError: the device is missing, does not work, or has no room for the network.
        NetworkError: the checkpoint is damaged.
    """

    def __init__(self, options: RestoreOptions, *, streams: bool) -> None:
        model = options.model
        self.strength, self.reduce = float(options.strength), options.reduce
        self.overlays, self.kept = options.overlays, KeptRegions(options.keep)
        self.device = find_device(options.device)
        self.dtype = choose_dtype(options.precision, self.device)
        with network_errors(f"loading the network on {self.device}"):
            network = load_network(str(model)) if isinstance(model, (str, Path)) else model
            if network is not model:
                refuse_guide_as_model(network, model)
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
        self.grain = float(options.grain)
        self._guide_setting, self._guide_dtype = options.guide, guide_dtype(options.precision, self.device, self.dtype)
        #: Makes what the network is shown in place of a noisy frame; None: it is shown the frames.
        self.guide: GuideStage | None = None
        self._remove, self._noise = str(options.remove), options.noise
        self._need_guide(traits.guided)

    @property
    def remove(self) -> str:
        """What is removed beside the blur, in its usual form.

        Raises:
            UsageError: when it is set: it cannot be, or there is no guide.
        """
        return self._remove

    @remove.setter
    def remove(self, remove: RemoveSetting) -> None:
        self._remove = OPTIONS["remove"].checked(remove)
        self._need_guide()

    @property
    def noise(self) -> NoiseSetting:
        """Standard deviation of luma, of 255, or "auto"; when it is set, errors are those of ``remove``."""
        return self._noise

    @noise.setter
    def noise(self, noise: NoiseSetting) -> None:
        self._noise = OPTIONS["noise"].checked(noise)
        self._need_guide()

    def _need_guide(self, always: bool = False) -> None:
        """Load the guide when it is first wanted: by the network's nature, by its name, or for what is asked of it."""
        asked = [f"{name} cannot be {value!r}" for name, value, default in (
            ("remove", self._remove, NONE), ("noise", self._noise, "auto"),
        ) if value != default]  # fmt: skip
        if isinstance(self._guide_setting, str) and self._guide_setting == "off":
            if asked:
                raise UsageError(f'{asked[0]} without a guide; leave out guide="off"')
            return
        if self.guide is None and (always or asked or self._guide_setting != "auto"):
            with network_errors(f"loading the guide on {self.device}"):
                self.guide = load_guide(self._guide_setting, self.device, self._guide_dtype)
            self.tiles.guide = self.guide

    @property
    def in_flight(self) -> int:
        """Restored frames that may be pending before the oldest has to be waited for."""
        return max(self.transfer.in_flight, int(self._in_halves))

    @property
    def takes_batches(self) -> bool:
        """Whether frames of several streams may go through the network together."""
        return traits_of(self.network).takes_batches

    def encode(self, frames: Sequence[Frame], before: Sequence[GuideMemory | None] = ()) -> list[EncodedFrame]:
        """Upload frames that are of one size when they are reduced, and compute their features, in one pass.

        Args:
            before: what the guide remembers of the frame before each; None at the start of a shot, as all are if it is
                left out.
        """
        before = before or [None] * len(frames)
        reduce = self.reduce

        def encode(side: int | None) -> Any:
            inputs = [network_input(self.network, *each) for each in seen]
            return self.steps.encode(concatenate(inputs), **_in_tiles(side))

        with frame_errors(frames[0], self.device):
            planes = [self.transfer.upload(tensors_of(frame.planes[: frame.format.colour_planes])) for frame in frames]
            with self.transfer.compute("encode"):
                seen, guided = self._seen(frames, planes, before)
                features = self.tiles.run(reduced_size(frames[0].size, reduce), encode)
        each = zip(frames, planes, split_batch(features, len(frames)), strict=True)
        return [EncodedFrame(*parts, reduce, own) for parts, own in zip(each, guided, strict=True)]

    def _seen(
        self, frames: Sequence[Frame], planes: Sequence[Planes], before: Sequence[GuideMemory | None]
    ) -> tuple[list[Seen], list[Guided | None]]:
        """What the network is shown of frames, and what the guide stage knows of them."""
        if self.guide is None:
            own = zip(frames, planes, strict=True)
            seen = [Seen(each, frame.format, frame.colour, frame.size, self.reduce) for frame, each in own]
            return seen, [None] * len(frames)
        removes = removed_share(self._remove, "noise") > 0
        made = self.guide(frames, planes, before, reduce=self.reduce, noise=self._noise, removes=removes)
        return [seen for seen, _ in made], [guided for _, guided in made]

    def match(self, window: Window[EncodedFrame], read_ahead: int) -> tuple[Window[EncodedFrame], Any, int]:
        """Match a window so that earlier ones may wait for it, if anything can be learned from that.

        Args:
            read_ahead: how many windows are to wait at most.

        Returns:
            The window as it may wait, what ``match_motion`` returned for it, and how many may wait: the same window,
            None and 0 for a network that reads no exposure, and where the user said the shutter.
        """
        if read_ahead == 0 or not self.known_exposure.usable or self.known_exposure.given:
            return window, None, 0
        network: Any = self.steps
        current = window.current
        with frame_errors(current.frame, self.device), self.transfer.compute("match"):
            seen = seen_features(window)
            matched = self.tiles.run(current.size, lambda _: network.match_motion(*seen))
            window = with_features(window, network.without_levels)
        guided = () if current.guided is None else current.guided.waiting_parts()
        each_bytes = tensor_bytes(current.planes, window.current.features, matched, guided)
        return window, matched, frames_that_wait(read_ahead, each_bytes)

    def restore(self, jobs: Sequence[RestoreJob]) -> Iterator[PendingFrame]:
        """Restore windows of one size that lack the same neighbours, in one pass; the states of their streams move on.

        Lazy: each frame's download starts when it is asked for.
        """
        with frame_errors(jobs[0].window.current.frame, self.device):
            known = [self._known_of(job) for job in jobs]
        for job, own, planes in zip(jobs, known, self._restored_planes(jobs, known), strict=True):
            yield self._download(job, own, planes)

    def guide_on_device(self, memory: GuideMemory | None) -> GuideMemory | None:
        """What a snapshot remembers of the guide, on this device."""
        return None if self.guide is None else self.guide.on_device(memory)

    def state_on_device(self, state: Sequence[Tensor] | None) -> Any:
        """A snapshot's recurrent state, which may be on any device, as the network takes it."""
        if state is None:
            return None
        return traits_of(self.network).state_from(tuple(part.to(self.device) for part in state))

    @property
    def _in_halves(self) -> bool:
        """Whether a frame is corrected while the next one is matched: on a CPU, where network and threads allow."""
        return self.device.type == "cpu" and traits_of(self.steps).halves and torch.get_num_threads() > 1

    def _known_of(self, job: RestoreJob) -> KnownFraction | None:
        """What was said of the frame's exposure; None if the network takes none."""
        return self.known_exposure.fraction(neighbourhood(job)) if self.known_exposure.usable else None

    def _restored_planes(
        self, jobs: Sequence[RestoreJob], known: Sequence[KnownFraction | None]
    ) -> Sequence[Planes | PendingDownload]:
        frames = [job.window.current for job in jobs]
        removed = removed_share(self._remove, "noise")

        def restore(side: int | None) -> tuple[list[Planes], Any]:
            residual, state = self.steps.residual(*arguments, **_in_tiles(side))
            return correct(residual, told_and_read(arguments, state)), state

        restored: Sequence[Planes | PendingDownload]
        with frame_errors(frames[0].frame, self.device), self.transfer.compute("restore"):
            each = [self._arguments(job, own) for job, own in zip(jobs, known, strict=True)]
            arguments = [concatenate(column) for column in zip(*each, strict=True)]
            arguments, overlays = self._with_overlays(jobs, arguments)
            correct = Corrections(frames, overlays, self.kept, self.strength, removed, self.grain)
            if self._in_halves:
                restored, state = self._restore_in_halves(frames, arguments, correct)
            else:
                restored, state = self.tiles.run(frames[0].size, restore)
            for job, own, part in zip(jobs, known, split_batch(state, len(jobs)), strict=True):
                self._move_on(job, own, part)
        return restored

    def _arguments(self, job: RestoreJob, known: KnownFraction | None) -> tuple[Any, ...]:
        """What the network is given: features and state; if it reads exposures, what it need not read or match."""
        arguments = network_arguments(job)
        stream, matched = job.stream, job.waited.matched
        if job.window.first:
            stream.contradictions = None
        if known is None:
            return arguments
        exposure = torch.full((1, 1, 1, 1), known.fraction, device=self.device)
        if known.from_camera and stream.contradictions is not None:
            exposure = torch.where(stream.contradictions >= PATIENCE_FRAMES, math.nan, exposure)
        if matched is None:
            return *arguments, exposure
        ahead = profile_ahead(job.later) if job.later else torch.zeros_like(matched.profile)
        return *arguments, exposure, matched, ahead

    def _with_overlays(self, jobs: Sequence[RestoreJob], arguments: list[Any]) -> tuple[list[Any], list[Found]]:
        """Find each frame's overlays by its motion, which the network's arguments then hold, too."""
        seen = arguments[:3]
        pictures = [None if features is None else getattr(features, "picture", None) for features in seen]
        if self.overlays == "off" or not self.known_exposure.usable or pictures[1] is None:
            return arguments, [Found(None) for _ in jobs]
        if len(arguments) == 5:
            network: Any = self.steps
            matched = self.tiles.run(jobs[0].window.current.size, lambda _: network.match_motion(*seen))
            arguments = [*arguments, matched, torch.zeros_like(matched.profile)]
        count = len(jobs)
        motions = split_batch(arguments[5].motion, count)
        each = [[None] * count if picture is None else split_batch(picture, count) for picture in pictures]
        found = []
        with single_threaded_ops(self.device):
            for number, (job, motion) in enumerate(zip(jobs, motions, strict=True)):
                known, lookahead = None if job.window.first else job.stream.overlays, job.stream.window.lookahead
                found.append(find_overlays([side[number] for side in each], motion, known, lookahead=lookahead))
                job.stream.overlays = found[-1].times
        return arguments, found

    def _move_on(self, job: RestoreJob, known: KnownFraction | None, state: Any) -> None:
        """Keep the recurrent state after a frame, and for how long its camera has been contradicted."""
        stream, guided = job.stream, job.window.current.guided
        stream.state = state
        stream.guide_before = None if guided is None else guided.before
        if known is not None and known.from_camera:
            before = stream.contradictions
            before = torch.zeros(1, device=self.device) if before is None else before
            stream.contradictions = count_contradictions(known.fraction, state.reading, before)

    def _restore_in_halves(
        self,
        frames: Sequence[EncodedFrame],
        arguments: Sequence[Any],
        finish: Callable[[Tensor, Sequence[Tensor]], list[Planes]],
    ) -> tuple[list[PendingDownload], Any]:
        """Match now and run the correction asynchronously, so that it overlaps flow estimation of the next frame."""
        network: Any = self.steps
        size = frames[0].size
        matched, state = self.tiles.run(size, lambda _: network.match(*arguments))
        numbers = told_and_read(arguments, state)

        def correct(side: int | None) -> list[Planes]:
            return finish(network.correct(matched, **_in_tiles(side)), numbers)

        work = run_in_background(lambda: self.tiles.run(size, correct), self.device)
        return [FrameOfBatch(work, number) for number in range(len(frames))], state

    def _download(self, job: RestoreJob, known: KnownFraction | None, planes: Planes | PendingDownload) -> PendingFrame:
        """Start the device-to-host copy of the restored planes."""
        frame = job.window.current.frame
        with frame_errors(frame, self.device):
            stay = isinstance(frame.planes[0], Tensor) and frame.planes[0].device == self.device
            download = self.transfer.download(planes, stay=stay) if isinstance(planes, tuple) else planes
            guided, removed = job.window.current.guided, removed_share(self._remove, "noise")
            told = None if guided is None else NoiseTold(guided.given, removed, guided.quantiser)
            return PendingFrame(frame, self.device, download, Snapshot.of(job), known, told)


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
