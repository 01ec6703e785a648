"""Decoder: frame-threaded decoding of packets that counts undecodable ones and goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any, Protocol, cast

import av
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from vdeblur.errors import SourceError
from vdeblur.video.av_compat import fraction_or_none, tags_of
from vdeblur.video.quantiser.lookup import DECODER_OPTIONS, QuantiserLookup

#: libavcodec's AV_CODEC_FLAG_OUTPUT_CORRUPT.
_OUTPUT_CORRUPT = 1 << 3
#: Its AV_CODEC_FLAG_UNALIGNED: cut exactly where the header says, not at the next round address to the left.
_UNALIGNED = 1 << 0


#: Where a greater share of the pictures is damaged or missing, what is shown is mostly what the decoder made up; of
#: codecs whose decoders mark all pictures that refer to a damaged one; and where it is known before the end.
MOST_DAMAGED, _MOST_INHERITED, _HOPELESS = 0.5, 0.9, 0.95
_INHERITING = frozenset({"hevc", "vvc"})
#: Of so few pictures no share is judged.
_LEAST_PICTURES = 8
#: A greater share of packets without a picture is no mere economy of the encoder.
_MOST_HIDDEN = 0.75

#: Alpha is a second stream inside VP8 and VP9, which FFmpeg's own decoders leave out.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


class DecodingContext(Protocol):
    """What is asked of FFmpeg's decoders, and of others that take their place."""

    thread_type: Any
    thread_count: int
    flags: int
    options: dict[str, str]

    @property
    def name(self) -> str: ...

    @property
    def sample_aspect_ratio(self) -> Any: ...

    def open(self, strict: bool = ...) -> None: ...

    def decode(self, packet: Any = ...) -> list[av.VideoFrame]: ...


def decoding_context(stream: VideoStream) -> VideoCodecContext:
    """The decoder of a stream: its own, or the one that knows its alpha."""
    own = stream.codec_context
    name = _ALPHA_DECODERS.get(own.name)
    if name is None or not says_alpha(tags_of(stream)) or name not in av.codecs_available:
        return own
    return cast(VideoCodecContext, av.CodecContext.create(name, "r"))


def says_alpha(tags: Mapping[str, str]) -> bool:
    """Whether the tags of a stream in Matroska or WebM say that it has alpha."""
    return any(name.lower() == "alpha_mode" and value == "1" for name, value in tags.items())


class Decoder:
    """One decoder, from its first packet to the last frame it holds back.

    Until a first good frame has come, pictures that lack their references are withheld, as FFmpeg does; after it they
    are kept, so that one bad packet does not cost all frames up to the next key frame.
    """

    def __init__(
        self, context: DecodingContext, *, threads: int, max_px: int, quantisers: QuantiserLookup | None = None
    ) -> None:
        """``max_px`` = pixels one picture may have; ``quantisers`` is shown every packet."""
        self._context = context
        #: Packets, in all and before the first frame came out.
        self._sent = self._sent_in_front = 0
        #: Whether the stream begins without a key frame, and how many pictures are lost by that, known at the end.
        self._headless, self.withheld = False, 0
        #: Frames that came out.
        self.received = 0
        #: Packets that could not be decoded, in all and since the last frame that came out.
        self.skipped = self.skipped_since_frame = 0
        #: The latest of their presentation times; exact only without threads.
        self.skipped_pts: deque[int] = deque(maxlen=1000)
        #: Frames that were decoded with errors concealed.
        self.damaged = 0
        self.last_error = ""
        #: Whether the final flush broke off at an error, and whether frames may be missing because of it.
        self.flush_failed = self.may_lack_frames = False
        #: Pixel shape of the stream by what was read of it in front, which may be of a later part.
        self.probed_aspect_ratio = fraction_or_none(context.sample_aspect_ratio)
        context.thread_type = "AUTO"
        context.thread_count = threads
        context.flags |= _UNALIGNED
        context.options = {**context.options, "max_pixels": str(max_px)}
        if quantisers is not None:
            context.options = {**context.options, **DECODER_OPTIONS}
        self._codec = name = context.name  # PyAV 19 crashes when it is asked for it after a failure
        try:
            context.open(strict=False)
        except (av.error.FFmpegError, ValueError) as exc:
            reason = str(getattr(exc, "strerror", None) or exc)
            raise SourceError(f"cannot open the {name} decoder: {reason}") from exc
        extradata = getattr(context, "extradata", None)
        self._watch = None if quantisers is None else quantisers.watcher(name, extradata)

    def frames(self, packets: Iterable[av.Packet[Any]]) -> Iterator[av.VideoFrame]:
        """Frames in the order they are shown."""
        self._context.flags &= ~_OUTPUT_CORRUPT
        self._sent = self._sent_in_front = self.received = self.skipped = self.skipped_since_frame = self.damaged = 0
        self._headless, self.withheld = False, 0
        self.skipped_pts.clear()
        for packet in packets:
            self._sent += 1
            self._headless |= self._sent == 1 and not packet.is_keyframe
            if not packet.size:
                self._skip(packet, "the packet is empty")
                continue
            if self._watch is not None:
                self._watch(packet)
            try:
                decoded = self._context.decode(packet)
            except (av.error.FFmpegError, SourceError) as exc:
                self._skip(packet, str(getattr(exc, "strerror", None) or exc))
                continue
            yield from self._count(decoded)
        yield from self._flush()

    @property
    def sample_aspect_ratio(self) -> Fraction | None:
        """Pixel shape that the stream itself has given last, if it gives one."""
        return fraction_or_none(self._context.sample_aspect_ratio)

    @property
    def notes(self) -> list[str]:
        """What people should know of the pictures, in plain words; complete after the last frame."""
        notes = []
        if self.damaged:
            notes.append(f"{self.damaged} frame{'s are' if self.damaged > 1 else ' is'} damaged in the source")
        if self.withheld:
            words = f"{self.withheld} picture{'s' * (self.withheld > 1)} in front of the first key frame"
            notes.append(f"{words} cannot be decoded: the recording begins in the middle")
        return notes

    def made_up(self, *, hopeless: bool = False) -> str | None:
        """How many pictures are damaged or missing, in words, if they are most of those that should have come.

        Args:
            hopeless: if they are nearly all so far.
        """
        most, missing = MOST_DAMAGED, self.skipped
        if self._codec in _INHERITING:
            most = 1.0 if hopeless else _MOST_INHERITED
        most = max(most, _HOPELESS) if hopeless else most
        # Some pictures are never shown, and two fields may come for one; not nearly all of them.
        if (silent := self._sent - self._sent_in_front - self.received) > _MOST_HIDDEN * self._sent:
            missing = silent
        damaged, count = self.damaged + missing, self.received + missing
        if count < _LEAST_PICTURES or damaged <= most * count:
            return None
        return f"{damaged} of {count} pictures are damaged or cannot be decoded"

    def close(self) -> None:
        """Let go of the decoder; its threads end when nothing else holds it."""
        del self._context

    def _flush(self) -> Iterator[av.VideoFrame]:
        """The frames the decoder still holds; PyAV cannot go on behind an error here."""
        try:
            yield from self._count(self._context.decode(None))
        except av.error.FFmpegError as exc:
            self.flush_failed = True
            self.last_error = str(exc.strerror or exc)
        self.withheld = max(0, self._sent - self.received - self.skipped) if self._headless else 0
        self.may_lack_frames = self.flush_failed or self.received + self.skipped < self._sent

    def _count(self, frames: list[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        for frame in frames:
            self._context.flags |= _OUTPUT_CORRUPT
            if not self.received:
                self._sent_in_front = self._sent - 1
            self.received += 1
            self.damaged += frame.is_corrupt
            self.skipped_since_frame = 0
            yield frame

    def _skip(self, packet: av.Packet[Any], reason: str) -> None:
        self.skipped += 1
        self.skipped_since_frame += 1
        self.last_error = reason
        if packet.pts is not None:
            self.skipped_pts.append(packet.pts)
