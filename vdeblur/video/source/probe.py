"""Probe: description of a source from its container, its video stream and the first decoded frame."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import av
from av.sidedata.sidedata import Type
from av.stream import Disposition, Stream

from vdeblur.errors import SourceError
from vdeblur.frames import Colour
from vdeblur.video.av_compat import fraction_or_none, tags_of
from vdeblur.video.changes.side_data import side_data_of
from vdeblur.video.formats.colour_tags import frame_colour
from vdeblur.video.formats.pixel_formats import canonical_format
from vdeblur.video.info import (
    Chromaticity,
    ContentLight,
    Interlacing,
    MasteringDisplay,
    SourceInfo,
    StreamInfo,
    VideoInfo,
)
from vdeblur.video.interlace.field_flags import FieldFlags, header_order
from vdeblur.video.mpegts_programs import Programs, read_programs
from vdeblur.video.source.decoder import Decoder
from vdeblur.video.source.demuxer import PacketSource
from vdeblur.video.source.location import SourceLocation
from vdeblur.video.source.parts.hevc_layer import says_hevc_alpha
from vdeblur.video.source.pictures.jpeg2000 import foreign_colours
from vdeblur.video.spatial.arrangement import Spatial
from vdeblur.video.spatial.lookup import spatial_of

#: Formats in which FFmpeg decodes JPEGs of four inks, calling them colours and alpha.
_INKS = frozenset({"gbrap", "yuva444p"})


def describe(
    place: SourceLocation, media: PacketSource, first: av.VideoFrame, start_pts: int, header: Colour
) -> SourceInfo:
    """Everything about a source; ``header`` = the colour tags of its video stream's header.

    Raises:
        SourceError: its samples are inks and not light.
    """
    if media.stream.codec_context.name == "mjpeg" and first.format.name in _INKS:
        raise SourceError(f"{place.name} is a JPEG in CMYK, for printing; convert it to RGB first")
    path = place.pictures[0] if place.pictures else place.path
    if media.stream.codec_context.name == "jpeg2000" and (colours := foreign_colours(media.stream, path)) is not None:
        raise SourceError(f"{place.name} is a JPEG 2000 in {colours}; convert it to RGB first")
    return SourceInfo(
        name=place.name,
        path=place.path,
        input_url=media.input_url,
        input_options=media.input_options,
        container=media.container_name,
        video=_video(place, media, first, start_pts, header),
        streams=tuple(
            replace(
                stream_info(stream, media.container_name, media.chapter_seconds),
                part_of_video=media.parts.get(stream.index),
            )
            for stream in media.streams
        ),
        chapters=len(media.chapter_seconds),
        metadata=media.metadata,
        duration_seconds=media.duration_seconds,
        file_id=media.file_id,
        pictures=place.pictures,
        programs=read_programs(place.path) if media.container_name == "mpegts" and place.path else Programs(),
        picture_numbers=place.numbers,
        broken=media.broken,
    )


def with_first_shape(info: SourceInfo, decoder: Decoder) -> SourceInfo:
    """The description with the pixel shape of the first picture, if the stream and not the container says it.

    FFmpeg looks at some seconds in front, and tells the last shape it has seen there.
    """
    said, first = info.video.sample_aspect_ratio, decoder.sample_aspect_ratio
    if first is None or said != decoder.probed_aspect_ratio or said == first:
        return info
    return replace(info, video=replace(info.video, sample_aspect_ratio=first))


def of_pairs(info: SourceInfo) -> SourceInfo:
    """The description of frames whose fields were counted as pictures."""
    rate, count = info.video.average_rate, info.video.frame_count_from_header
    video = replace(
        info.video,
        field_pairs=True,
        average_rate=None if rate is None else rate / 2,
        frame_count_from_header=None if count is None else -(-count // 2),
    )
    return replace(info, video=video)


def stream_info(stream: Stream, container: str, chapters: Sequence[Fraction]) -> StreamInfo:
    """What is known about a stream of a container of that name, with chapters that start at these seconds."""
    context, tags = stream.codec_context, tags_of(stream)
    name = context.name if context is not None else getattr(stream, "name", None)
    is_mov = container.startswith("mov,")
    return StreamInfo(
        index=stream.index,
        kind=str(stream.type),
        codec="unknown" if name is None or stream.type == "attachment" else name,
        language=tags.get("language"),
        # What MP4 and QuickTime call the name of a track is its title elsewhere.
        title=tags.get("title", tags.get("name") if is_mov else None),
        default=bool(stream.disposition & Disposition.default),
        forced=bool(stream.disposition & Disposition.forced),
        attached_picture=bool(stream.disposition & Disposition.attached_pic),
        chapter_text=is_mov and _names_chapters(stream, chapters),
        dispositions=tuple(str(flag.name) for flag in stream.disposition),
        id=stream.id,
        sample_rate=getattr(context, "sample_rate", None) if stream.type == "audio" else None,
        metadata=tags,
    )


def _names_chapters(stream: Stream, chapters: Sequence[Fraction]) -> bool:
    """Whether FFmpeg has made the chapters of this track: it has one text at the start of each."""
    time_base = fraction_or_none(stream.time_base)
    if stream.type != "data" or not chapters or time_base is None:
        return False
    return tuple(entry.timestamp * time_base for entry in stream.index_entries) == tuple(chapters)


def _video(
    place: SourceLocation, media: PacketSource, first: av.VideoFrame, start_pts: int, header: Colour
) -> VideoInfo:
    side_data, flagged = (
        side_data_of(media.first_colours or first),
        FieldFlags().order_of(first) or header_order(media.stream),
    )
    matrix = media.display_matrix or _display_matrix(side_data)
    return VideoInfo(
        stream_index=media.stream.index,
        codec=media.stream.codec_context.name,
        width=first.width,
        height=first.height,
        pixel_format=first.format.name,
        format=canonical_format(first.format.name),
        colour=frame_colour(first, header),
        time_base=media.time_base,
        average_rate=media.rate,
        frame_count_from_header=media.frame_count,
        start_pts=start_pts,
        duration_seconds=media.video_seconds if media.video_seconds is not None else media.duration_seconds,
        rotation_degrees=first.rotation if matrix is None else rotation_of(matrix),
        display_matrix=matrix,
        sample_aspect_ratio=fraction_or_none(media.stream.sample_aspect_ratio),
        interlacing=Interlacing(order=flagged, flagged=flagged),
        mastering_display=_mastering_display(side_data),
        content_light=_content_light(side_data),
        spatial=_spatial(place, media, side_data),
        side_data=tuple(side_data),
        crop=media.crop,
        hidden_alpha=not canonical_format(first.format.name).alpha and says_hevc_alpha(media.stream, place.path),
    )


def _spatial(place: SourceLocation, media: PacketSource, side_data: Mapping[str, bytes]) -> Spatial | None:
    """What is said of projection and arrangement."""
    videos = [stream.index for stream in media.streams if stream.type == "video"]
    stream = media.stream
    number = videos.index(stream.index) if stream.index in videos else 0
    return spatial_of(side_data, place.path, media.container_name, track=stream.id, place=number)


def _display_matrix(side_data: Mapping[str, bytes]) -> tuple[int, ...] | None:
    data = side_data.get(Type.DISPLAYMATRIX.name)
    return struct.unpack("=9i", data[:36]) if data is not None and len(data) >= 36 else None


def rotation_of(matrix: tuple[int, ...]) -> int:
    """Counter-clockwise turn in whole degrees, as FFmpeg's ``av_display_rotation_get``; 0 if the matrix is singular."""
    scale_x, scale_y = math.hypot(matrix[0], matrix[3]), math.hypot(matrix[1], matrix[4])
    if not scale_x or not scale_y:
        return 0
    return round(-math.degrees(math.atan2(matrix[1] / scale_y, matrix[0] / scale_x)))


def _mastering_display(side_data: Mapping[str, bytes]) -> MasteringDisplay | None:
    """FFmpeg's AVMasteringDisplayMetadata: ten rationals (R, G, B, white, darkest, brightest) and two flags."""
    data = side_data.get(Type.MASTERING_DISPLAY_METADATA.name)
    if data is None or len(data) < 88:
        return None
    *numbers, has_primaries, has_luminance = struct.unpack("=22i", data[:88])
    values = [Fraction(top, bottom or 1) for top, bottom in zip(numbers[0::2], numbers[1::2], strict=True)]
    points: list[Chromaticity] = list(zip(values[0:8:2], values[1:8:2], strict=True))
    return MasteringDisplay(
        primaries=(points[0], points[1], points[2]) if has_primaries else None,
        white_point=points[3] if has_primaries else None,
        min_luminance=values[8] if has_luminance else None,
        max_luminance=values[9] if has_luminance else None,
    )


def _content_light(side_data: Mapping[str, bytes]) -> ContentLight | None:
    data = side_data.get(Type.CONTENT_LIGHT_LEVEL.name)
    return ContentLight(*struct.unpack("=2I", data[:8])) if data is not None and len(data) >= 8 else None
