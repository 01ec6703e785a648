"""Segment concatenation: closed-GOP segments, encoded one by one, joined into one stream with exact timestamps.

Every segment begins with a key frame and refers to nothing outside it. When they are joined, every packet gets the
exact pts of its frame back, whatever the segment's container made of it, and continuous decoding timestamps.
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
from vdeblur.video.encode.raw_video import ByteSink, RawVideoSpec
from vdeblur.video.encode.video_plan import VideoPlan
from vdeblur.video.formats.pixel_formats import canonical_format
from vdeblur.video.segments.captions import captioned, load_captions
from vdeblur.video.segments.journal import Segment

#: FFmpeg's ``-aspect`` knows ratios of such numbers only.
_LARGEST_IN_RATIO = 255
#: Muxer that holds what others cannot say.
_ANYTHING = "matroska"


def segment_container(plan: VideoPlan, container: Container, spec: RawVideoSpec) -> Container | None:
    """Container of the segments of a video; ``None`` where it cannot be encoded in segments."""
    pixels = canonical_format(plan.pixel_format)
    if not container.takes_segments or (pixels.alpha and plan.encoder.alpha_beside_packets):
        return None
    aspect = container_aspect(plan, spec)
    if aspect is not None and max(aspect.numerator, aspect.denominator) > _LARGEST_IN_RATIO:
        return None
    if plan.encoder.segment_muxer is None:
        return None
    said = pixels.family != "yuv" or pixels.chroma_shift not in plan.encoder.segments_lack
    return container_of(plan.encoder.segment_muxer if said else _ANYTHING)


def container_aspect(plan: VideoPlan, spec: RawVideoSpec) -> Fraction | None:
    """Display aspect ratio that the final container must be told; ``None`` = the bitstream says it."""
    shape = spec.sample_aspect_ratio
    if shape in (None, 0, 1) or plan.encoder.codes_pixel_aspect:
        return None
    return Fraction(spec.width * shape.numerator, spec.height * shape.denominator)


def inspect_segment(path: Path, times: Sequence[int]) -> Segment:
    """Read the packets of a finished segment, and check that it holds every frame.

    Raises:
        TargetError: it cannot be read, lacks frames, or does not begin with a key frame.
    """
    try:
        shown, key, parameters = _packets_of(path)
    except (av.error.FFmpegError, ValueError, IndexError) as exc:
        raise TargetError(f"a piece of the result cannot be read again ({exc}); segment_seconds=None may help") from exc
    if len(set(shown)) != len(times) or not key:
        raise TargetError(f"the encoder made {len(shown)} frames of {len(times)}; segment_seconds=None may help")
    return Segment(path.name, tuple(times), _places(shown), hashlib.sha256(parameters).hexdigest())


def _packets_of(path: Path) -> tuple[list[int], bool, bytes]:
    """Time of each packet of a segment, whether the first is a key frame, and the codec's extradata."""
    shown: list[int] = []
    key = False
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            if packet.size:
                key = key or (not shown and packet.is_keyframe)
                shown.append(packet.pts if packet.pts is not None else packet.dts or 0)
        return shown, key, stream.codec_context.extradata or b""


def join_segments(
    folder: Path, segments: Sequence[Segment], spec: RawVideoSpec, carrier: Container, sink: ByteSink
) -> None:
    """Mux all segments as one stream into ``sink``."""
    options = carrier.output_options(spec, seekable=False)
    stream: Stream | None = None
    with av.open(sink, "w", format=carrier.muxer, container_options=options) as output:
        for packet, template in _packets(folder, segments, spec):
            if stream is None:
                stream = output.add_stream_from_template(template, opaque=True)
                stream.time_base = spec.time_base
            packet.stream = stream
            output.mux_one(packet)


def _packets(folder: Path, segments: Sequence[Segment], spec: RawVideoSpec) -> Iterator[tuple[av.Packet[Any], Stream]]:
    """All packets in decoding order, with the timestamps of their frames, and the stream each one is from."""
    times = [tick for segment in segments for tick in segment.times]
    frame_ticks = max(1, round(1 / spec.nominal_rate / spec.time_base))
    delay = max(segment.delay for segment in segments)
    first = number = 0
    for segment in segments:
        captions = load_captions(folder / segment.file)
        with av.open(str(folder / segment.file)) as container:
            stream = container.streams.video[0]
            packets = (packet for packet in container.demux(stream) if packet.size)
            for packet, place in zip(packets, segment.places, strict=True):
                shown, early = first + place, number - delay
                packet.time_base = spec.time_base
                packet.pts = times[shown]
                packet.duration = times[shown + 1] - packet.pts if shown + 1 < len(times) else frame_ticks
                packet.dts = times[early] if early >= 0 else times[0] + early * _gap(times, frame_ticks)
                if (data := captions.get(packet.pts)) is not None:
                    packet = captioned(packet, stream.codec_context.name, data)
                number += 1
                yield packet, stream
        first += len(segment.times)


def _gap(times: Sequence[int], frame_ticks: int) -> int:
    """Ticks between the decoding timestamps before the first presentation."""
    return min(frame_ticks, times[1] - times[0]) if len(times) > 1 else frame_ticks


def _places(shown: Sequence[int]) -> tuple[int, ...]:
    """Position of each packet in presentation order."""
    places = [0] * len(shown)
    for place, index in enumerate(sorted(range(len(shown)), key=shown.__getitem__)):
        places[index] = place
    return tuple(places)
