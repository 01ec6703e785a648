"""Reopening: whether streams that were written can be decoded again, found by decoding the first packets of each.

Some muxers (QuickTime's above all) take any stream and write a description of it that nobody reads again.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any

import av
from av.codec.context import CodecContext
from av.container import InputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Stream

from vdeblur.errors import SourceError
from vdeblur.video.av_compat import fraction_or_none, open_input
from vdeblur.video.encode.containers import Container
from vdeblur.video.ffmpeg.stream_listing import ListedStream, list_codecs
from vdeblur.video.info import SourceInfo, StreamInfo
from vdeblur.video.source.opening import open_again

_log = logging.getLogger(__name__)

#: A decoder that gives nothing for so many packets of its stream will not begin to.
_MOST_OF_A_STREAM = 64
#: Of all streams together; a stream whose packets come later is looked for where it starts.
_MOST_PACKETS, _MOST_BYTES = 4000, 64 << 20
#: So many times its time is more sound than a packet can hold.
_CRUSHED = 8
#: FFmpeg has no name for time code tracks, and its muxers write them whole.
_NAMELESS = frozenset({"tmcd"})
#: Why a stream is of no use.
UNDECODABLE = "nothing in the result can decode it again"


class Look(Enum):
    """What the first packets of a stream show."""

    DECODED = "a decoder took them"
    FAILED = "no decoder took them"
    SILENT = "there are none, as far as was looked"
    EMPTY = "there are none in the whole file"


def look_at_streams(container: InputContainer, indexes: Collection[int]) -> dict[int, Look]:
    """Decode the first packets of the streams at ``indexes``, as few as will do."""
    looks: dict[int, Look] = {}
    waiting = {index: _FirstPackets(container.streams[index]) for index in indexes}
    ended = _read(container, waiting, looks)
    for index in [] if ended else list(waiting):
        stream = container.streams[index]
        if waiting[index].count == 0 and stream.start_time is not None:
            try:
                container.seek(stream.start_time, stream=stream)
            except av.error.FFmpegError:
                continue
            _read(container, {index: waiting[index]}, looks)
    silent = Look.EMPTY if ended else Look.SILENT
    return {index: looks.get(index) or waiting[index].end(silent) for index in indexes}


def _read(container: InputContainer, waiting: dict[int, _FirstPackets], looks: dict[int, Look]) -> bool:
    """Hand packets to those that wait, until each has seen enough or too much has been read; True at the end."""
    most_bytes = _MOST_BYTES
    try:
        for count, packet in enumerate(container.demux()):
            index = packet.stream.index
            if index in waiting and packet.size and (look := waiting[index].add(packet)) is not None:
                looks[index] = look
                del waiting[index]
            most_bytes -= packet.size
            if not waiting or count >= _MOST_PACKETS or most_bytes <= 0:
                return False
    except av.error.FFmpegError as exc:
        _log.debug("reading the first packets: %s", exc)
        return False
    except IndexError:  # PyAV stumbles behind the last packet over streams that begin late
        pass
    return True


class _FirstPackets:
    """Decodes the first packets of one stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._context: CodecContext | None = stream.codec_context
        if self._context is not None and stream.type in ("audio", "video"):
            self._context.thread_count = 1
        self.count = 0

    def add(self, packet: Packet[Any]) -> Look | None:
        """Take the next packet; give the look once it is clear."""
        self.count += 1
        if self._stream.type == "data":
            return Look.DECODED
        if self._context is None:
            return Look.FAILED
        # A packet of subtitles may be a part of a picture, or have an end mark (DVB) that PyAV hands to the decoder.
        if self._stream.type == "subtitle" or self._decode(packet):
            return Look.DECODED
        return Look.FAILED if self.count >= _MOST_OF_A_STREAM else None

    def _decode(self, packet: Packet[Any] | None) -> bool:
        context: Any = self._context
        try:
            frames = context.decode(packet)
            return bool(frames) and not (packet is not None and _is_crushed(packet, frames))
        except (av.error.FFmpegError, ValueError) as exc:
            _log.debug("decoding a first packet of stream %d: %s", self._stream.index, exc)
            return False

    def end(self, silent: Look) -> Look:
        """The look after the last packet; ``silent`` if there was none."""
        if isinstance(self._stream, AttachmentStream):
            return Look.DECODED
        if not self.count:
            return silent
        flushable = self._context is not None and self._stream.type in ("audio", "video")
        return Look.DECODED if flushable and self._decode(None) else Look.FAILED


def _is_crushed(packet: Packet[Any], frames: list[Any]) -> bool:
    """Whether a packet holds far more sound than the time it is given, as a sample table of a wrong kind has it."""
    time_base = fraction_or_none(packet.time_base)
    if not packet.duration or time_base is None or not isinstance(frames[0], av.AudioFrame):
        return False
    samples = sum(int(frame.samples) for frame in frames)
    return samples > _CRUSHED * frames[0].sample_rate * packet.duration * time_base


def unreadable_streams(
    info: SourceInfo,
    container: Container,
    url: str,
    pairs: Mapping[int, int],
    converted: Collection[int | None],
    filled: Collection[int] = (),
) -> set[int]:
    """Streams of the source that cannot be decoded again from the file at ``url``.

    What nothing decodes in the source either must have the same name in the file, and the muxer must be one that
    refuses what it does not know.

    Args:
        pairs: index in the source to index in the file.
        converted: those of the source that have another codec in the file.
        filled: those of which packets were written, so that the file must have some.

    Raises:
        av.error.FFmpegError, ValueError, OSError: the file cannot be opened.
    """
    with open_input(url) as opened:
        looks = look_at_streams(opened, pairs.values())
        names = {index: _codec_name(opened.streams[index]) for index in pairs.values()}
    sure = {index for index, other in pairs.items() if _is_sure(info.streams[index], names[other], looks[other])}
    doubtful = {index: other for index, other in pairs.items() if index not in sure}
    empty = {index for index, other in pairs.items() if index in filled and looks[other] is Look.EMPTY}
    if not doubtful:
        return empty
    media = {index for index in doubtful if info.streams[index].kind != "data"}
    strange = media if container.takes_anything else _decoded_in_source(info, media)
    known = _same_names(info, url, doubtful, names)
    return {index for index in doubtful if index in strange or index in converted or index not in known} | empty


def _is_sure(before: StreamInfo, name: str | None, look: Look) -> bool:
    """Whether there is no doubt about a stream of the result: its codec has a name, and a decoder took its packets."""
    if before.kind == "data":
        return name is not None and name == before.codec
    return name is not None and look is not Look.FAILED


def _codec_name(stream: Stream) -> str | None:
    context = stream.codec_context
    return context.name if context is not None else getattr(stream, "name", None)


def _decoded_in_source(info: SourceInfo, indexes: Collection[int]) -> set[int]:
    """Those of the streams that can be decoded in the source; all, where it cannot be asked."""
    if not indexes:
        return set()
    if info.input_url is None:
        return set(indexes)
    try:
        with open_again(info) as source:
            looks = look_at_streams(source, indexes)
    except SourceError as exc:
        _log.debug("the source cannot be asked: %s", exc)
        return set(indexes)
    return {index for index, look in looks.items() if look is not Look.FAILED}


def empty_streams(info: SourceInfo, streams: Sequence[StreamInfo]) -> set[int]:
    """Those of the streams of a source in which no packet is found, as of the core that TrueHD on a disc may have."""
    if not streams or info.input_url is None:
        return set()
    try:
        with open_again(info) as source:
            looks = look_at_streams(source, [stream.index for stream in streams])
    except SourceError as exc:
        _log.debug("the source cannot be asked: %s", exc)
        return set()
    return {index for index, look in looks.items() if look in (Look.EMPTY, Look.SILENT)}


def _same_names(info: SourceInfo, url: str, pairs: Mapping[int, int], names: Mapping[int, str | None]) -> set[int]:
    """Streams that FFmpeg knows by the same name in the source and in the file."""
    if info.input_url is None:
        return {index for index, other in pairs.items() if names[other] == info.streams[index].codec}
    before, after = list_codecs(info.input_url, info.input_options), list_codecs(url, {})
    nameless = ListedStream(None, None)
    return {index for index, other in pairs.items() if _same(before.get(index, nameless), after.get(other, nameless))}


def _same(one: ListedStream, other: ListedStream) -> bool:
    if one.codec is None:
        return other.codec is None and one.code == other.code and one.code in _NAMELESS
    return one.codec == other.codec


def counterparts(kinds: Mapping[int, str], streams: Iterable[Stream]) -> dict[int, int]:
    """Index in the source to index among ``streams``, in their order; nothing for kinds of another number."""
    pairs: dict[int, int] = {}
    others = list(streams)
    for kind in set(kinds.values()):
        wanted = [index for index, own in kinds.items() if own == kind]
        found = [stream.index for stream in others if stream.type == kind]
        if len(wanted) == len(found):
            pairs |= dict(zip(wanted, found, strict=True))
    return pairs
