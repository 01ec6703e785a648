"""Benchmark run: every case after the other, on clips made for it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from vdeblur.bench.clip import PERIOD, make_clip
from vdeblur.bench.machine import BackgroundLoad, describe_machine, usable_cores
from vdeblur.bench.network import measure_engine, measure_network
from vdeblur.bench.peak import convolution_peak
from vdeblur.bench.results import FORM, Results, Row
from vdeblur.bench.settings import BenchCase, BenchSettings
from vdeblur.bench.stages import (
    frames_for,
    measure_decoding,
    measure_encoding,
    measure_transfers,
    repeated,
)
from vdeblur.bench.timeline import overlap_of, watch_run
from vdeblur.bench.timing import Timing
from vdeblur.bench.whole import measure_command
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.read_ahead import always_ready
from vdeblur.errors import UsageError
from vdeblur.frames import Frame
from vdeblur.runtime.device import find_device, peak_reserved_bytes
from vdeblur.video.source.reader import Reader

#: Frames the engine restores, in memory.
ENGINE_FRAMES = 5
#: Frames of a timeline.
TIMELINE_FRAMES = 36
#: Limits of the frames of a whole run.
LEAST_WHOLE, MOST_WHOLE = PERIOD, 500


def benchmark(settings: BenchSettings, progress: Callable[[str], None] = lambda words: None) -> Results:
    """Measure every case of ``settings``; ``progress`` is told what comes next.

    Raises:
        UsageError, DeviceError, NetworkError: as :class:`Deblurrer`.
        VdeblurError: a clip cannot be made, or a run of the whole failed.
    """
    machine = describe_machine(str(find_device(settings.device)))
    others = BackgroundLoad()
    with tempfile.TemporaryDirectory(prefix="vdeblur bench ") as name:
        bench = _Bench(settings, Path(name), progress)
        rows = tuple(bench.row(case) for case in settings.cases())
    return Results(machine, asdict(settings), others.share(), rows)


def timelines(settings: BenchSettings, progress: Callable[[str], None] = lambda words: None) -> dict[str, Any]:
    """Timelines of all cases of ``settings`` on a GPU, frames coming from memory, as JSON can hold them.

    Raises:
        UsageError: the device is no CUDA device.
        DeviceError, NetworkError, VdeblurError: as :func:`benchmark`.
    """
    device = find_device(settings.device)
    if device.type != "cuda":
        raise UsageError(f"a timeline needs a CUDA device; this is {device}")
    found, machine = [], describe_machine(str(device))
    with tempfile.TemporaryDirectory(prefix="vdeblur bench ") as name:
        for case in settings.cases():
            progress(f"{case.name}: timeline")
            with Reader(make_clip(Path(name), case.width, case.height, PERIOD), threads=1) as reader:
                frames = list(reader)
            deblurrer = _deblurrer(case, settings.device)
            watch_run(deblurrer, repeated(frames, TIMELINE_FRAMES))  # to warm up
            spans = watch_run(deblurrer, repeated(frames, TIMELINE_FRAMES))
            overlap = overlap_of(spans)
            progress(f"{case.name}: {overlap.words}")
            found.append({**asdict(case), "overlap": overlap.as_dict(), "spans": [asdict(span) for span in spans]})
    return {"form": FORM, "machine": machine, "timelines": found}


def _deblurrer(case: BenchCase, device: str) -> Deblurrer:
    return Deblurrer(case.model, device=device, precision=case.precision, lookahead=case.lookahead)


class _Bench:
    """One benchmark; what cases share is measured once."""

    def __init__(self, settings: BenchSettings, folder: Path, progress: Callable[[str], None]) -> None:
        self._settings = settings
        self._folder = folder
        self._progress = progress
        self._files: dict[str, tuple[Timing, Timing]] = {}
        self._peaks: dict[torch.dtype, float] = {}

    def row(self, case: BenchCase) -> Row:
        runs = self._settings.runs
        decoding, encoding = self._of_files(case)
        self._progress(f"{case.name}: network")
        deblurrer = _deblurrer(case, self._settings.device)
        device, frames = deblurrer.device, self._frames(case)
        replay, beside = measure_engine(deblurrer, frames, runs=runs)
        network = measure_network(replay, device, runs=max(3, runs))
        peak = self._peak(deblurrer.dtype, device)
        upload, download = measure_transfers(device, frames[0], runs=max(5, runs))
        stages = {
            "decode": decoding,
            "upload": upload,
            "pixels": beside.minus(upload).minus(download),
            "network": network.timing,
            "download": download,
            "encode": encoding,
        }
        on_gpu = device.type == "cuda"
        device_peak = self._device_peak(case, device, frames) if on_gpu else None
        self._progress(f"{case.name}: the whole")
        clip = self._clip(case, _whole_frames(self._settings.seconds, stages))
        settings, target = self._settings, self._folder / "out.mp4"
        whole = measure_command(case, clip, target, device=settings.device, preset=settings.preset, runs=runs)
        dtype = str(deblurrer.dtype).removeprefix("torch.")
        return Row(case, dtype, stages, network, peak, whole, usable_cores(), device_peak)

    def _device_peak(self, case: BenchCase, device: torch.device, frames: list[Frame]) -> int:
        """Most memory of a GPU that a run takes: weights, graphs and what is kept for later included."""
        runs = 2  # in the second one, all steps are recorded

        def work() -> None:
            deblurrer = _deblurrer(case, self._settings.device)
            for _ in range(runs):
                for _ in deblurrer.run(frames, ready=always_ready):
                    pass

        return peak_reserved_bytes(device, work)

    def _of_files(self, case: BenchCase) -> tuple[Timing, Timing]:
        """Decoding and encoding alone, which are the same for all networks."""
        if case.size not in self._files:
            self._progress(f"{case.size}: decoding and encoding")
            count, runs = frames_for(case.width, case.height), self._settings.runs
            clip, target = self._clip(case, count), self._folder / "out.mp4"
            self._files[case.size] = (
                measure_decoding(clip, count, runs=runs),
                measure_encoding(clip, target, count, self._settings.preset, runs=runs),
            )
        return self._files[case.size]

    def _frames(self, case: BenchCase) -> list[Frame]:
        with Reader(self._clip(case, PERIOD), threads=1) as reader:
            return list(islice(reader, ENGINE_FRAMES))

    def _clip(self, case: BenchCase, frames: int) -> Path:
        return make_clip(self._folder, case.width, case.height, frames)

    def _peak(self, dtype: torch.dtype, device: torch.device) -> float:
        if dtype not in self._peaks:
            self._peaks[dtype] = convolution_peak(dtype, device)
        return self._peaks[dtype]


def _whole_frames(seconds: float, stages: dict[str, Timing]) -> int:
    """Frames that the whole takes about so many seconds for."""
    slowest = max(stage.seconds for stage in stages.values())
    return min(MOST_WHOLE, max(LEAST_WHOLE, round(seconds / slowest)))
