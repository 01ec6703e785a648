"""Stage benchmarks: decoding, transfers and encoding, each alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import torch

from vdeblur.bench.timing import Timing, middle, timed, typical
from vdeblur.frames import Frame
from vdeblur.runtime.transfer import transfer_for
from vdeblur.video.encode.encoder_options import EncodeOptions
from vdeblur.video.sink.writer import Writer
from vdeblur.video.source.reader import Reader

#: Pixels that decoding and encoding alone work on, which decides their frames, and the limits of these.
WORK_PX = 100_000_000
LEAST_FRAMES, MOST_FRAMES = 24, 240


def frames_for(width: int, height: int) -> int:
    """Frames that decoding and encoding alone work on: enough that starting and ending count little."""
    return min(MOST_FRAMES, max(LEAST_FRAMES, WORK_PX // (width * height)))


def measure_decoding(clip: Path, frames: int, *, runs: int) -> Timing:
    """Reading so many frames of a clip, as the pipeline does, with nothing else going on."""

    def work() -> None:
        with Reader(clip, interlaced="keep", size_change="stop") as reader:
            for _ in islice(reader, frames):
                pass

    return typical(work, runs=runs, warm_up=1, frames=frames)


def measure_encoding(clip: Path, target: Path, frames: int, preset: str, *, runs: int) -> Timing:
    """Writing so many frames as H.264, from the first one to the finished file."""
    with Reader(clip) as reader:
        info, some = reader.info, list(islice(reader, LEAST_FRAMES))
    video = info.video
    timings = []
    for _ in range(runs):
        writer = Writer(
            target,
            info=info,
            frame_format=video.format,
            colour=video.colour,
            width=video.width,
            height=video.height,
            time_base=video.time_base,
            options=EncodeOptions(preset=preset),
            overwrite=True,
        )
        timings.append(timed(lambda writer=writer: _write(writer, repeated(some, frames)), frames=frames))  # type: ignore[misc]
    return middle(timings)


def _write(writer: Writer, frames: Iterable[Frame]) -> None:
    with writer:
        for frame in frames:
            writer.write(frame)


def repeated(frames: list[Frame], count: int) -> Iterator[Frame]:
    """So many frames, with times that go on."""
    ticks = frames[1].pts - frames[0].pts
    for number, frame in enumerate(islice(cycle(frames), count)):
        yield replace(frame, pts=frames[0].pts + number * ticks)


def measure_transfers(device: torch.device, frame: Frame, *, runs: int) -> tuple[Timing, Timing]:
    """Planes of a frame up to the device and back; on a CPU there is nothing to do."""
    transfer = transfer_for(device)
    planes = [torch.from_numpy(plane) for plane in frame.planes]
    with transfer.compute("encode"):
        there = transfer.upload(planes)
    up = typical(lambda: transfer.upload(planes), runs=runs, warm_up=3, device=device)
    down = typical(lambda: transfer.download(there).result(), runs=runs, warm_up=3, device=device)
    return up, down
