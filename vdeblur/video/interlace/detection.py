"""Interlace detection: a source's flags against its pictures, and which of the two is trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from fractions import Fraction

import av

from vdeblur.errors import SourceError, UsageError
from vdeblur.frames import FieldOrder
from vdeblur.options import InterlacedMode
from vdeblur.video.formats.pixel_formats import canonical_format, planes_of
from vdeblur.video.info import Interlacing, VideoInfo
from vdeblur.video.interlace.combing import Combing
from vdeblur.video.interlace.deinterlacer import LEAST_COLUMNS, LEAST_ROWS, carrier_format
from vdeblur.video.interlace.field_flags import FieldFlags

#: Heights of interlaced systems; other pictures are looked at only if something calls them interlaced.
_RASTERS = frozenset({480, 486, 576, 608, 1080, 1088})
#: Codecs whose streams may hold interlaced pictures.
_CODECS = frozenset({
    "mpeg1video", "mpeg2video", "mpeg4", "h264", "hevc", "vc1", "wmv3", "dvvideo", "prores", "dnxhd", "mjpeg", "ffv1",
    "huffyuv", "ffvhuff", "utvideo", "magicyuv", "rawvideo", "v210", "v410", "jpeg2000", "cfhd", "libopenjpeg",
})  # fmt: skip
#: Pictures looked at in one place, and the places, as shares of the length.
PICTURES = 20
PLACES = (0.0, 0.33, 0.67)
#: Share of the pairs of pictures, and their number, that must agree before the flags are not believed.
SURE = {"share": 0.9, "least": 8}

ORDER_WORDS: dict[FieldOrder, str] = {"tff": "top field first", "bff": "bottom field first"}


class InterlaceDetector:
    """Pictures of a source, looked at as far as it takes."""

    def __init__(self) -> None:
        self._flags = FieldFlags()
        self._flagged: Counter[FieldOrder | None] = Counter()
        self._combing = Combing()

    def at(self, pictures: Iterable[av.VideoFrame]) -> None:
        """Look at pictures that follow one another."""
        self._combing.restart()
        for picture in pictures:
            self._flagged[self._flags.order_of(picture)] += 1
            planes, pixel_format = planes_of(picture)
            self._combing.add(planes[0], pixel_format.peak)

    @property
    def is_enough(self) -> bool:
        """Whether pictures from elsewhere would hardly change the verdict."""
        sure = self._combing.verdict(share=SURE["share"], least=12)
        return sure is not None and (sure == "progressive" or sure == self._order) == (self._order is None)

    @property
    def _order(self) -> FieldOrder | None:
        orders: tuple[FieldOrder, ...] = ("tff", "bff")
        most = max(orders, key=lambda order: self._flagged[order])
        return most if self._flagged[most] else None

    def judged(self, header: FieldOrder | None) -> tuple[Interlacing, list[str]]:
        """What is believed, and what people should know of it; ``header`` = the order of the stream's header."""
        flagged = self._order or header
        shown, votes = self._combing.verdict(), self._combing.votes
        sure = self._combing.verdict(share=SURE["share"], least=int(SURE["least"]))
        seen: FieldOrder = "bff" if votes["bff"] > votes["tff"] else "tff"
        if shown == "telecine":
            order = flagged or seen
            return Interlacing(order, flagged, shown), [
                "the pictures are film in 3:2 pulldown; undoing it first restores better: "
                "ffmpeg -i INPUT -vf fieldmatch,decimate …"
            ]
        if flagged is None:
            if shown in (None, "progressive") or votes[shown] < SURE["least"]:
                return Interlacing(shown=shown), []
            words = f"its frames are combed, {ORDER_WORDS[seen]}; they are treated as interlaced"
            return Interlacing(seen, None, shown), [f"flagged as whole frames, but {words}"]
        if sure == "progressive":
            words = "the pictures are whole frames (PsF); they are treated and marked as such"
            return Interlacing(None, flagged, sure), [f"flagged as interlaced, but {words}"]
        if sure is not None and sure != flagged:
            words = f"the pictures show {ORDER_WORDS[seen]}, which is believed"
            return Interlacing(seen, flagged, sure), [f"flagged as {ORDER_WORDS[flagged]}, but {words}"]
        return Interlacing(flagged, flagged, shown), []


def may_be_interlaced(video: VideoInfo) -> bool:
    """Whether the pictures must be looked at."""
    return video.interlacing.flagged is not None or (video.height in _RASTERS and video.codec in _CODECS)


def check_treatable(video: VideoInfo, mode: InterlacedMode, name: str) -> None:
    """Refuse what was asked to be refused, and what cannot be taken apart.

    Raises:
        UsageError: the video is interlaced and ``mode`` is "refuse".
        SourceError: its pixel format or coding is one whose fields cannot be treated.
    """
    order = video.interlacing.order
    if order is None:
        return
    if video.height < LEAST_ROWS or video.width < LEAST_COLUMNS:
        raise SourceError(f"{name} is interlaced and only {video.width}×{video.height}; its fields cannot be treated")
    if mode == "refuse":
        raise UsageError(
            f"{name} is interlaced, {ORDER_WORDS[order]}; --interlaced keep restores its fields, frame and field make "
            "whole frames of them"
        )
    if carrier_format(canonical_format(video.pixel_format)) is None:
        raise SourceError(
            f"{name} is interlaced {video.pixel_format}, whose fields cannot be treated; convert it first, "
            "for example with ffmpeg -i INPUT -pix_fmt yuv422p10le -c:v ffv1 …"
        )


class FieldWatch:
    """Counts pictures whose flags say another field order than the one all are treated by."""

    def __init__(self, interlacing: Interlacing, time_base: Fraction) -> None:
        self._time_base = time_base
        self._order = interlacing.order
        self._believed = interlacing.order == interlacing.flagged
        self._flags = FieldFlags()
        self._others = 0
        self._first_seconds: float | None = None

    def pictures(self, pictures: Iterable[tuple[av.VideoFrame, int]]) -> Iterator[tuple[av.VideoFrame, int]]:
        """The same pictures."""
        for picture, tick in pictures:
            if self._believed and self._flags.order_of(picture) not in (None, self._order):
                self._others += 1
                if self._first_seconds is None:
                    self._first_seconds = float(tick * self._time_base)
            yield picture, tick

    @property
    def notes(self) -> list[str]:
        if not self._others or self._order is None:
            return []
        since = "" if self._first_seconds is None else f", the first at {self._first_seconds:.3f} s"
        frames = "1 frame has" if self._others == 1 else f"{self._others} frames have"
        return [f"{frames} the other field order{since}; all are marked {ORDER_WORDS[self._order]}"]


def treatment_words(order: FieldOrder, mode: InterlacedMode) -> str:
    """What becomes of interlaced video, for people."""
    become = {
        "keep": "each field is restored, and the result is interlaced again",
        "frame": "one whole frame is made of each (bwdif)",
        "field": "one whole frame is made of each field (bwdif), at twice the rate",
    }[mode]
    return f"interlaced, {ORDER_WORDS[order]}: {become}"
