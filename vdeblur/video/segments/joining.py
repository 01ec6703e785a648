"""Segments: the video in finished pieces, each encoded by itself, and how they become one stream again.

Every piece begins with a key frame and refers to nothing outside it. When they are put together, every packet gets the
exact time of its frame back, whatever the piece's container made of it, and decoding times that run through.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.stream import Stream

from vdeblur.errors import TargetError
from vdeblur.video.encode.containers import Container, container_of
from vdeblur.video.encode.raw_video import Picture, Sink
from vdeblur.video.encode.video_plan import VideoPlan
from vdeblur.video.formats.pixel_formats import canonical_format
from vdeblur.video.segments.journal import Segment

#: FFmpeg's ``-aspect`` knows ratios of such numbers only.
_LARGEST_IN_RATIO = 255


def carrier_for(plan: VideoPlan, container: Container, picture: Picture) -> Container | None:
    """The container for pieces of a video; ``None`` where it cannot be made in pieces."""
    alpha = canonical_format(plan.pixel_format).alpha
    if not container.takes_segments or (alpha and plan.encoder.alpha_beside_packets):
        return None
    aspect = aspect_to_tell(plan, picture)
    if aspect is not None and max(aspect.numerator, aspect.denominator) > _LARGEST_IN_RATIO:
        return None
    return None if plan.encoder.segment_muxer is None else container_of(plan.encoder.segment_muxer)


def aspect_to_tell(plan: VideoPlan, picture: Picture) -> Fraction | None:
    """Shape of the whole picture that the final container must be told; ``None`` = it knows."""
    shape = picture.sample_aspect_ratio
    if shape in (None, 0, 1) or plan.encoder.codes_pixel_aspect:
        return None
    return Fraction(picture.width * shape.numerator, picture.height * shape.denominator)


def inspect(path: Path, times: Sequence[int]) -> Segment:
    """Look at a finished piece and make sure that every frame is in it.

    Raises:
        TargetError: it lacks frames, or does not begin with a key frame.
    """
    shown: list[int] = []
    key = False
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            if packet.size:
                key = key or (not shown and packet.is_keyframe)
                shown.append(packet.pts if packet.pts is not None else packet.dts or 0)
        parameters = stream.codec_context.extradata or b""
    if len(set(shown)) != len(times) or not key:
        raise TargetError(f"the encoder made {len(shown)} frames of {len(times)}; --segments off may help")
    return Segment(path.name, tuple(times), _places(shown), hashlib.sha256(parameters).hexdigest())


def join(folder: Path, segments: Sequence[Segment], picture: Picture, carrier: Container, sink: Sink) -> None:
    """Write all pieces as one stream into ``sink``."""
    options = carrier.output_options(picture, seekable=False)
    stream: Stream | None = None
    with av.open(sink, "w", format=carrier.muxer, container_options=options) as output:
        for packet, template in _packets(folder, segments, picture):
            if stream is None:
                stream = output.add_stream_from_template(template, opaque=True)
                stream.time_base = picture.time_base
            packet.stream = stream
            output.mux_one(packet)


def _packets(folder: Path, segments: Sequence[Segment], picture: Picture) -> Iterator[tuple[av.Packet[Any], Stream]]:
    """All packets in the order they are decoded, with their frames' times, and the stream each one is from."""
    times = [tick for segment in segments for tick in segment.times]
    frame_ticks = max(1, round(1 / picture.nominal_rate / picture.time_base))
    delay = max(segment.delay for segment in segments)
    first = number = 0
    for segment in segments:
        with av.open(str(folder / segment.file)) as container:
            stream = container.streams.video[0]
            packets = (packet for packet in container.demux(stream) if packet.size)
            for packet, place in zip(packets, segment.places, strict=True):
                shown, early = first + place, number - delay
                packet.time_base = picture.time_base
                packet.pts = times[shown]
                packet.duration = times[shown + 1] - packet.pts if shown + 1 < len(times) else frame_ticks
                packet.dts = times[early] if early >= 0 else times[0] + early * _gap(times, frame_ticks)
                number += 1
                yield packet, stream
        first += len(segment.times)


def _gap(times: Sequence[int], frame_ticks: int) -> int:
    """Ticks between decoding times before the first frame is shown."""
    return min(frame_ticks, times[1] - times[0]) if len(times) > 1 else frame_ticks


def _places(shown: Sequence[int]) -> tuple[int, ...]:
    """Place of each packet in the order in which they are shown."""
    places = [0] * len(shown)
    for place, index in enumerate(sorted(range(len(shown)), key=shown.__getitem__)):
        places[index] = place
    return tuple(places)
