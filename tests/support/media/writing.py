"""Words of the writer's tests: copying a video through reader and writer, made frames, and packets byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from vdeblur.frames import Colour, Frame, PixelFormat, dtype_for
from vdeblur.video.encode.encoder_options import EncodeOptions
from vdeblur.video.formats.pixel_formats import canonical_format
from vdeblur.video.info import SourceInfo, StreamInfo, VideoInfo
from vdeblur.video.sink.writer import Writer
from vdeblur.video.source.reader import Reader

BT709 = Colour("bt709", "tv", "bt709", "bt709", "left")
MILLISECONDS = Fraction(1, 1000)


def copy(source: Any, target: Any, *, limit: int | None = None, piped: bool = False, **arguments: Any) -> Writer:
    """Read a video and write its frames unchanged; the writer is returned for its notes."""
    options = {name: arguments.pop(name) for name in list(arguments) if name in ENCODE_NAMES}
    stretch = {name: arguments[name] for name in ("start_seconds", "duration_seconds") if name in arguments}
    with Reader(source, keep_packets=piped, **stretch) as reader:
        video = reader.info.video
        writer = Writer(
            target,
            info=reader.info,
            frame_format=video.format,
            colour=video.colour,
            width=video.width,
            height=video.height,
            time_base=video.time_base,
            options=EncodeOptions(**options),
            packets=reader.take_packets if piped else None,
            templates=reader.stream_templates() if piped else (),
            **arguments,
        )
        with writer:
            for number, frame in enumerate(reader):
                if number == limit:
                    break
                writer.write(frame)
    return writer


ENCODE_NAMES = frozenset(EncodeOptions.__dataclass_fields__)


def made_info(pixel_format: PixelFormat, colour: Colour, width: int, height: int, time_base: Fraction) -> SourceInfo:
    """A source that exists only as frames."""
    video = VideoInfo(
        0, "rawvideo", width, height, pixel_format.name, pixel_format, colour, time_base, Fraction(25), None, 0, None
    )
    streams = (StreamInfo(0, "video", "rawvideo", default=True),)
    return SourceInfo("made", None, None, {}, "made", video, streams, 0, {}, None)


def made_frames(
    name: str,
    times: Sequence[int],
    *,
    width: int = 33,
    height: int = 17,
    colour: Colour = BT709,
    time_base: Fraction = MILLISECONDS,
    flat: bool = False,
) -> list[Frame]:
    """Frames of noise, or of one value each, at the given ticks."""
    pixel_format, random = canonical_format(name), np.random.default_rng(1)
    frames = []
    for number, pts in enumerate(times):
        shapes = [pixel_format.plane_shape(index, height, width) for index in range(pixel_format.plane_count)]
        dtype, top = dtype_for(pixel_format), int(pixel_format.peak) + 1
        planes = (
            np.full(shape, top * (6 + number % 4) // 12, dtype) if flat else random.integers(0, top, shape, dtype)
            for shape in shapes
        )
        frames.append(Frame(tuple(planes), pixel_format, colour, pts, time_base))
    return frames


def writer_for(target: Any, first: Frame, *, info: SourceInfo | None = None, **arguments: Any) -> Writer:
    """A writer for frames like ``first``."""
    options = {name: arguments.pop(name) for name in list(arguments) if name in ENCODE_NAMES}
    made = made_info(first.format, first.colour, first.width, first.height, first.time_base)
    return Writer(
        target,
        info=info or made,
        frame_format=first.format,
        colour=first.colour,
        width=first.width,
        height=first.height,
        time_base=first.time_base,
        options=EncodeOptions(**options),
        **arguments,
    )


def write_all(target: Any, frames: Sequence[Frame], **arguments: Any) -> Writer:
    with writer_for(target, frames[0], **arguments) as writer:
        for frame in frames:
            writer.write(frame)
    return writer


def read_all(source: Any) -> list[Frame]:
    with Reader(source, threads=1) as reader:
        return list(reader)


def ticks(source: Any) -> list[tuple[int, Fraction]]:
    """Time of every frame: ticks and what a tick is."""
    return [(frame.pts, frame.time_base) for frame in read_all(source)]


def seconds(source: Any) -> list[Fraction]:
    return [pts * time_base for pts, time_base in ticks(source)]


def same_samples(one: Sequence[Frame], other: Sequence[Frame]) -> bool:
    """Whether two videos have the same frames, bit for bit."""
    return len(one) == len(other) and all(
        len(a.planes) == len(b.planes) and all(np.array_equal(p, q) for p, q in zip(a.planes, b.planes, strict=True))
        for a, b in zip(one, other, strict=True)
    )


def packets(path: Path, index: int) -> list[bytes]:
    """Payload of every packet of a stream."""
    with closing(av.open(str(path))) as container:
        return [bytes(packet) for packet in container.demux(container.streams[index]) if packet.size]


def packet_times(path: Path, index: int) -> list[Fraction]:
    with closing(av.open(str(path))) as container:
        stream = container.streams[index]
        return [
            packet.pts * stream.time_base
            for packet in container.demux(stream)
            if packet.size and packet.pts is not None
        ]


def kinds(path: Path) -> list[str]:
    with closing(av.open(str(path))) as container:
        return [str(stream.type) for stream in container.streams]


def leftovers(folder: Path) -> list[str]:
    """Hidden files and folders; a writer leaves none."""
    return sorted(entry.name for entry in folder.iterdir() if entry.name.startswith("."))
