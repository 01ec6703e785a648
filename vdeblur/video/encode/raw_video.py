"""Raw video: its specification (format, size, time base, colour, HDR), and a muxer that streams frames as NUT.

Raw frames go to FFmpeg in NUT, the one container that carries every pixel format with exact timestamps. NUT has no
fields for colour, rotation or HDR; those are passed beside it, as input options.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import av
import numpy as np
from av.stream import Stream

from vdeblur.errors import TargetError
from vdeblur.frames import Colour, FieldOrder, Frame, PixelFormat, dtype_for
from vdeblur.video.ffmpeg.executable import has_option
from vdeblur.video.formats.pixel_formats import video_frame_from
from vdeblur.video.info import ContentLight, MasteringDisplay, VideoInfo, display_turn

#: Formats NUT has no tag for travel losslessly compressed instead.
_COMPRESSED_CARRIER = {"yuv440p10le": "ffv1", "yuv440p12le": "ffv1", "ya16le": "png"}
_CARRIER_FORMAT = {"ya16le": "ya16be"}
#: Large enough that a frame leaves in a few writes.
_BUFFER_BYTES = 1 << 20
#: FFmpeg reports these names but older programs do not take them.
_SPELLING = {("colorspace", "gbr"): "rgb", ("color_trc", "bt470m"): "gamma22", ("color_trc", "bt470bg"): "gamma28"}


class ByteSink(Protocol):
    """A destination for muxed bytes."""

    def write(self, data: bytes, /) -> int: ...


@dataclass(frozen=True)
class RawVideoSpec:
    """Specification of raw video: what all frames of an output have in common."""

    format: PixelFormat
    colour: Colour
    width: int
    height: int
    time_base: Fraction
    rate: Fraction | None = None
    sample_aspect_ratio: Fraction | None = None
    rotation_degrees: int = 0
    display_matrix: tuple[int, ...] | None = None
    mastering_display: MasteringDisplay | None = None
    content_light: ContentLight | None = None
    #: The frames are interlaced, in this order; ``None`` = they are whole.
    field_order: FieldOrder | None = None

    @staticmethod
    def of(
        video: VideoInfo, *, frame_format: PixelFormat, colour: Colour, width: int, height: int, time_base: Fraction
    ) -> RawVideoSpec:
        """The source's specification, with the size, format and time base of the frames to be written."""
        return RawVideoSpec(
            frame_format, colour, width, height, time_base, video.average_rate, video.sample_aspect_ratio,
            video.rotation_degrees, video.display_matrix, video.mastering_display, video.content_light,
            video.interlacing.order,
        )  # fmt: skip

    def check(self, frame: Frame, target: str) -> None:
        """Check that a frame matches the specification; ``target`` is for the message.

        Raises:
            TargetError: its size, format or time base is another.
        """
        if (frame.width, frame.height, frame.format) != (self.width, self.height, self.format):
            raise TargetError(
                f"a frame of {frame.width}×{frame.height} {frame.format.name} does not fit {target}, "
                f"begun with {self.width}×{self.height} {self.format.name}"
            )
        if frame.time_base != self.time_base:
            raise TargetError(f"a frame's time base {frame.time_base} is not the target's {self.time_base}")

    @property
    def nominal_rate(self) -> Fraction:
        """Frames a second; 25 when the source does not say. Rate control and the last frame's length use it."""
        return self.rate if self.rate is not None and 0 < self.rate <= 1000 else Fraction(25)

    def input_options(self, colour: Colour) -> dict[str, str | None]:
        """FFmpeg input options for what NUT cannot store, with these colour tags."""
        # The header says all there is to know, so FFmpeg need not gather seconds of frames before it begins.
        options: dict[str, str | None] = {"noautorotate": None, "fpsprobesize": "0"}
        tags = {
            "colorspace": colour.matrix, "color_range": colour.range, "color_primaries": colour.primaries,
            "color_trc": colour.transfer, "chroma_sample_location": colour.chroma_location,
        }  # fmt: skip
        options |= {name: _SPELLING.get((name, value), value) for name, value in tags.items() if value is not None}
        degrees, mirrored = self._turn()
        if degrees or mirrored:
            options["display_rotation"] = str(degrees)
        if mirrored:
            options["display_hflip"] = None
        if has_option("mastering_display"):
            if (mastering := mastering_display_text(self.mastering_display)) is not None:
                options["mastering_display"] = mastering
            if self.content_light is not None:
                options["content_light"] = f"{self.content_light.max_content},{self.content_light.max_average}"
        return options

    def _turn(self) -> tuple[int, bool]:
        """As :func:`vdeblur.video.info.display_turn`."""
        return display_turn(self.rotation_degrees, self.display_matrix)

    def differences(self, other: RawVideoSpec) -> Iterator[str]:
        """Names of properties that ``other``, read back from a file, does not preserve; unknown ones never differ."""
        mine, theirs = self.colour, other.colour
        pairs: dict[str, tuple[object, object]] = {
            "colour primaries": (mine.primaries, theirs.primaries),
            "transfer function": (mine.transfer, theirs.transfer),
            "pixel aspect ratio": (_odd_shape(self.sample_aspect_ratio), _odd_shape(other.sample_aspect_ratio)),
            "rotation": (self.rotation_degrees or None, other.rotation_degrees),
            "mirroring": (self._turn()[1] or None, other._turn()[1]),
            "mastering display": (_rounded(self.mastering_display), _rounded(other.mastering_display)),
            "content light level": (self.content_light, other.content_light),
        }
        if self.format.family == other.format.family == "yuv":
            # YUV that does not say is limited.
            limited = "full range" if mine.range == "pc" else "limited range"
            pairs |= {"colour matrix": (mine.matrix, theirs.matrix), limited: (mine.range, theirs.range or "tv")}
            if self.format.chroma_shift == other.format.chroma_shift:
                shift = self.format.chroma_shift
                wanted, found = mine.chroma_location, theirs.chroma_location
                pairs["chroma location"] = (wanted and _siting(wanted, shift), _siting(found, shift))
        elif self.format.family == other.format.family == "rgb" and mine.range == "tv":
            pairs["limited range"] = ("tv", theirs.range or "pc")  # RGB that does not say is full
        for what, (expected, seen) in pairs.items():
            if expected is not None and expected != seen:
                yield what


def _siting(location: str | None, chroma_shift: tuple[int, int]) -> str | None:
    """A chroma location reduced to the axes that are subsampled."""
    if chroma_shift == (0, 0):
        return None
    if chroma_shift[1]:
        return location
    # Where nothing is said of 4:2:2 it lies on the left.
    return "left" if location in (None, "left", "topleft", "bottomleft") else "center"


def _odd_shape(ratio: Fraction | None) -> Fraction | None:
    """The pixel aspect ratio; ``None`` for square pixels."""
    return None if ratio in (None, 0, 1) else ratio


def _rounded(display: MasteringDisplay | None) -> list[float] | None:
    """Its numbers as coarsely as the coarsest of the codecs keeps them (AV1: sixteen bits, eighteen for luminance)."""
    if (numbers := _numbers(display)) is None:
        return None
    return [round(float(value), 3) for value in numbers]


def _numbers(display: MasteringDisplay | None) -> list[Fraction] | None:
    """Green, blue, red, white, brightest and darkest; ``None`` unless all are known."""
    if display is None or display.primaries is None or display.white_point is None:
        return None
    if display.max_luminance is None or display.min_luminance is None:
        return None
    red, green, blue = display.primaries
    return [*green, *blue, *red, *display.white_point, display.max_luminance, display.min_luminance]


def mastering_display_text(display: MasteringDisplay | None, *, decimal: bool = False) -> str | None:
    """Format the mastering display as FFmpeg and x265 do, or as decimals like SVT-AV1; ``None`` unless known."""
    if (numbers := _numbers(display)) is None:
        return None
    scales = [50_000] * 8 + [10_000] * 2
    words = [f"{float(value):.6g}" if decimal else str(round(value * scale))
             for value, scale in zip(numbers, scales, strict=True)]  # fmt: skip
    pairs = [
        f"{name}({words[2 * place]},{words[2 * place + 1]})" for place, name in enumerate(("G", "B", "R", "WP", "L"))
    ]
    return "".join(pairs)


class RawMuxer:
    """Muxes frames as raw video into NUT, with the packets of further streams."""

    def __init__(self, sink: ByteSink, spec: RawVideoSpec) -> None:
        """Nothing is written before the first frame or packet."""
        # Packets leave at once and in the order they come: raw frames are too large to wait for sparse streams.
        order = {"max_interleave_delta": "1", "flush_packets": "1"}
        self._container = av.open(
            sink,
            "w",
            format="nut",
            options={"write_index": "0"},
            container_options=order,
            buffer_size=_BUFFER_BYTES,
        )
        name = spec.format.name
        stream: Any = self._container.add_stream(_COMPRESSED_CARRIER.get(name, "rawvideo"), rate=spec.nominal_rate)
        stream.width, stream.height = spec.width, spec.height
        stream.pix_fmt = self._carrier_format = _CARRIER_FORMAT.get(name, name)
        # Both are needed: the encoder stamps packets with its own and the container with the stream's.
        stream.time_base = stream.codec_context.time_base = spec.time_base
        self._stream = stream
        self._time_base = spec.time_base

    def add_stream(self, template: Stream) -> Stream:
        """Add a stream whose packets are muxed as they are; only before the first frame."""
        return self._container.add_stream_from_template(template, opaque=True)

    def mux(self, packet: av.Packet[Any]) -> None:
        self._container.mux_one(packet)

    def write(self, frame: Frame, pts: int) -> None:
        """Mux one frame with the timestamp ``pts`` ≥ 0."""
        av_frame = video_frame_from(frame)
        if av_frame.format.name != self._carrier_format:
            av_frame = _swap_bytes(av_frame, self._carrier_format)
        av_frame.pts, av_frame.time_base = pts, self._time_base
        self._container.mux(self._stream.encode(av_frame))

    def close(self) -> None:
        """Flush the encoder and finish the stream."""
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def discard(self) -> None:
        """Free everything; the output so far is useless, and the sink must still accept the remaining bytes."""
        self._container.close()


def _swap_bytes(picture: av.VideoFrame, name: str) -> av.VideoFrame:
    """The same 16-bit samples in the other byte order."""
    swapped = av.VideoFrame(picture.width, picture.height, name)
    for source, target in zip(picture.planes, swapped.planes, strict=True):
        samples: Any = source
        target.update(np.frombuffer(samples, np.uint16).byteswap().tobytes())
    return swapped


def flat_frame(spec: RawVideoSpec, pts: int, level: int) -> Frame:
    """A frame of one sample value, for trial encodes."""
    shapes = (spec.format.plane_shape(i, spec.height, spec.width) for i in range(spec.format.plane_count))
    planes = tuple(np.full(shape, level, dtype_for(spec.format)) for shape in shapes)
    return Frame(planes, spec.format, spec.colour, pts, spec.time_base)
