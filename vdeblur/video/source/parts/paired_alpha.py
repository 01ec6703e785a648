"""Decoder of pictures whose alpha is a stream of its own: each comes out with the alpha of its time."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import Any

import av
from av.video.codeccontext import VideoCodecContext

from vdeblur.errors import SourceError
from vdeblur.frames import Colour, Frame
from vdeblur.video.av_compat import fraction_or_none
from vdeblur.video.formats.pixel_formats import canonical_format, planes_of, video_frame_from
from vdeblur.video.source.parts.heif_parts import format_with_alpha

#: Pictures that wait for their alpha; more means that there is none.
_MOST_WAITING = 64


class PairedAlpha:
    """Two decoders that work as one.

    Args:
        colours, alpha: the decoders.
        packets: those of the alpha that have been read and not decoded yet; somebody else fills it.
        ratio: ticks of the colours in one of the alpha.
    """

    def __init__(
        self,
        colours: VideoCodecContext,
        alpha: VideoCodecContext,
        packets: deque[av.Packet[Any]],
        ratio: Fraction,
    ) -> None:
        self._colours, self._alpha, self._packets = colours, alpha, packets
        self._ratio = ratio
        self._waiting: deque[av.VideoFrame] = deque()
        self._alphas: deque[av.VideoFrame] = deque()
        #: The first picture as it came from its decoder, with what is said beside it.
        self.first: av.VideoFrame | None = None
        self.thread_type: Any = "AUTO"
        self.thread_count = self.flags = 0
        self.options: dict[str, str] = {}

    @property
    def name(self) -> str:
        return self._colours.name

    @property
    def sample_aspect_ratio(self) -> Any:
        return self._colours.sample_aspect_ratio

    def open(self, strict: bool = True) -> None:
        for context in (self._colours, self._alpha):
            context.thread_type, context.thread_count = self.thread_type, self.thread_count
            context.flags |= self.flags
            context.options = {**context.options, **self.options}
            context.open(strict=strict)

    def forget(self) -> None:
        """Forget what has been read: what comes next is from another place."""
        self._packets.clear()
        self._waiting.clear()
        self._alphas.clear()
        if self._alpha.is_open:
            self._alpha.flush_buffers()

    def decode(self, packet: Any = None) -> list[av.VideoFrame]:
        """Pictures that are complete; at the end (``None``) all of them.

        Raises:
            SourceError: the alpha of a picture is missing.
        """
        while self._packets:
            self._alphas.extend(self._alpha.decode(self._packets.popleft()))
        self._waiting.extend(self._colours.decode(packet))
        if packet is None:
            self._alphas.extend(self._alpha.decode(None))
        made = []
        while self._waiting and (pair := self._pair()) is not None:
            made.append(pair)
        if self._waiting and (packet is None or len(self._waiting) > _MOST_WAITING):
            self._waiting.clear()
            raise SourceError("the alpha of a picture is missing")
        return made

    def _pair(self) -> av.VideoFrame | None:
        """The first picture that waits, with its alpha, if that is there."""
        picture = self._waiting[0]
        time = picture.pts or 0
        while self._alphas and (self._alphas[0].pts or 0) * self._ratio < time:
            self._alphas.popleft()
        if not self._alphas or (self._alphas[0].pts or 0) * self._ratio != time:
            return None
        if self.first is None:
            self.first = picture
        return _merged(self._waiting.popleft(), self._alphas.popleft())


def _merged(picture: av.VideoFrame, alpha: av.VideoFrame) -> av.VideoFrame:
    name = format_with_alpha(picture.format.name, alpha.format.name)
    if name is None or (picture.width, picture.height) != (alpha.width, alpha.height):
        raise SourceError("the alpha of a picture is of another size or depth")
    planes = (*planes_of(picture)[0], *planes_of(alpha)[0])
    made = video_frame_from(Frame(planes, canonical_format(name), Colour(), picture.pts or 0, Fraction(1)))
    if (base := fraction_or_none(picture.time_base)) is not None:
        made.time_base = base
    made.pts, made.dts, made.duration = picture.pts, picture.dts, picture.duration
    made.colorspace, made.color_range = picture.colorspace, picture.color_range
    made.color_primaries, made.color_trc = picture.color_primaries, picture.color_trc
    return made
