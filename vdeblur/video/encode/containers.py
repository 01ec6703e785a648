"""Containers: which one a file name asks for, which encoders suit it, and what it needs to be told."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path, PurePath
from typing import BinaryIO

import av

from vdeblur.errors import UsageError
from vdeblur.frames import PixelFormat
from vdeblur.video.encode.raw_video import Picture

_KEEPS_NEGATIVE_TIMES = frozenset({"matroska", "webm", "mpegts"})
#: Muxers of FFmpeg that write chapters.
_CHAPTERED = frozenset({"matroska", "webm", "mp4", "mov", "ipod", "asf", "nut", "ogg"})
_TAGGED = frozenset({"matroska", "webm", "nut"})
_MODERN = ("libx264", "libx264rgb", "libx265", "libsvtav1", "libaom-av1", "libvpx-vp9")
#: More than eight bits: HEVC, which players decode in hardware, before ten-bit H.264, which none does.
_MODERN_DEEP = ("libx265", "libsvtav1", "libaom-av1", "libvpx-vp9", "libx264")

#: What Y4M has words for; FFmpeg's muxer takes no other.
_Y4M_FORMATS = frozenset(
    [f"yuv{s}p" for s in ("411", "420", "422", "444")]
    + [f"yuv{s}p{bits}le" for s in ("420", "422", "444") for bits in (9, 10, 12, 14, 16)]
    + ["gray", "yuva444p"] + [f"gray{bits}le" for bits in (9, 10, 12, 16)]
)  # fmt: skip


@dataclass(frozen=True)
class Container:
    """One kind of output file."""

    #: FFmpeg's muxer.
    muxer: str
    #: For people.
    name: str
    #: Encoders that suit it, best first: for eight bits, for more, and for pictures with alpha.
    encoders: tuple[str, ...] = _MODERN
    deep_encoders: tuple[str, ...] = _MODERN_DEEP
    alpha_encoders: tuple[str, ...] = ()
    #: Encoders for frames that nothing above holds exactly; the conversion is noted.
    fallback: tuple[str, ...] = ()
    #: It holds one video stream and nothing else by its nature.
    only_pictures: bool = False
    #: One file a frame.
    one_file_a_frame: bool = False
    #: Codec in which it holds text subtitles.
    text_subtitles: str | None = None
    #: Seconds a tick, where the container and not the source decides; 0 = one frame a tick.
    tick: Fraction | None = None
    #: Covers and fonts are files attached to it, not streams.
    attaches_files: bool = False
    #: It has no word for a later start.
    begins_at_zero: bool = False
    #: Options of the muxer, without dashes.
    options: dict[str, str] = field(default_factory=dict)
    #: Options of the encoder, whichever it is.
    encoder_options: dict[str, str] = field(default_factory=dict)

    @cached_property
    def is_mov(self) -> bool:
        return self.muxer in {"mp4", "mov", "ipod", "3gp", "3g2"}

    @property
    def holds_chapters(self) -> bool:
        return self.muxer in _CHAPTERED

    @property
    def keeps_tags(self) -> bool:
        """Whether streams have tags of any name."""
        return self.muxer in _TAGGED

    def suitable_encoders(self, pixel_format: PixelFormat) -> tuple[str, ...]:
        """Encoders to try for frames of this format, best first."""
        if pixel_format.alpha:
            return self.alpha_encoders
        return self.encoders if pixel_format.bits <= 8 else self.deep_encoders

    def encoder_time_base(self, picture: Picture) -> Fraction:
        """Ticks in which the encoder is given times."""
        if self.tick is None:
            return picture.time_base
        if self.tick == 0:
            return 1 / picture.nominal_rate
        # A finer tick than the container's would only be rounded later; a coarser one loses nothing.
        return picture.time_base if (picture.time_base / self.tick).denominator == 1 else self.tick

    def rounds_times(self, picture: Picture) -> bool:
        """Whether the source's ticks are no whole ticks of the container's."""
        return self.tick is not None and self.tick > 0 and (picture.time_base / self.tick).denominator != 1

    def output_options(self, picture: Picture, *, seekable: bool) -> dict[str, str]:
        """Options of the muxer for this picture; a pipe cannot be written twice, so MP4 goes there in fragments."""
        options = dict(self.options)
        if self.is_mov or self.muxer in _KEEPS_NEGATIVE_TIMES:
            # Sound may begin a little before 0, where its decoder needs a run-up, and frames that are shown later may
            # be decoded before; that is no reason to move all times.
            options["avoid_negative_ts"] = "disabled"
        if self.is_mov:
            scale = str(picture.time_base.denominator)
            options |= {"video_track_timescale": scale, "movie_timescale": scale}
            options["movflags"] = "+faststart" if seekable else "+frag_keyframe+delay_moov+default_base_moof"
        return options


def _image(name: str, *encoders: str) -> Container:
    return Container("image2", name, encoders, encoders, encoders, encoders, only_pictures=True, one_file_a_frame=True)


_LOSSLESS = ("ffv1",)
_MP4 = Container("mp4", "MP4", text_subtitles="mov_text")
_MATROSKA = Container(
    "matroska", "Matroska", (*_MODERN, "ffv1"), (*_MODERN_DEEP, "ffv1"), ("ffv1", "png"), text_subtitles="subrip",
    tick=Fraction(1, 1000), attaches_files=True,
)  # fmt: skip
_MPEGTS = Container(
    "mpegts", "MPEG-TS", ("libx264", "libx265", "mpeg2video"), ("libx265", "libx264"), tick=Fraction(1, 90000),
    options={"mpegts_copyts": "1", "muxdelay": "0", "muxpreload": "0"},
)  # fmt: skip
#: As on Blu-ray discs and in AVCHD cameras; FFmpeg knows it by the ending ".m2ts" alone.
_M2TS = replace(_MPEGTS, options={**_MPEGTS.options, "mpegts_m2ts_mode": "1"})
_MPEGPS = Container(
    "mpeg",
    "MPEG-PS",
    ("mpeg2video",),
    (),
    (),
    ("mpeg2video",),
    tick=Fraction(0),
    options={"muxdelay": "0", "muxpreload": "0"},
)
_ASF = Container("asf", "Windows Media", ("wmv2", "mpeg4"), (), tick=Fraction(1, 1000))
_OGG = Container("ogg", "Ogg", ("libtheora",), (), tick=Fraction(0))
Y4M = Container(
    "yuv4mpegpipe", "Y4M", ("wrapped_avframe",), ("wrapped_avframe",), ("wrapped_avframe",), only_pictures=True,
    tick=Fraction(0), options={"strict": "-1"}, begins_at_zero=True,
)  # fmt: skip
NUT = Container("nut", "NUT", ("rawvideo", "ffv1"), ("rawvideo", "ffv1"), ("rawvideo", "ffv1"))

_BY_ENDING = {
    "mp4": _MP4, "m4v": _MP4, "mkv": _MATROSKA, "nut": NUT, "y4m": Y4M,
    "mov": Container(
        "mov", "QuickTime", _MODERN, (*_MODERN_DEEP, "png"), ("png", "prores_ks"), ("prores_ks",),
        text_subtitles="mov_text",
    ),
    "webm": Container(
        "webm", "WebM", ("libvpx-vp9", "libaom-av1"), ("libvpx-vp9", "libaom-av1"), ("libvpx-vp9",),
        text_subtitles="webvtt", tick=Fraction(1, 1000),
    ),
    # AVI and FLV have no decoding times beside those of presentation, so frames must not be reordered.
    "avi": Container(
        "avi", "AVI", ("mpeg4", "mjpeg", "ffv1"), _LOSSLESS, _LOSSLESS, tick=Fraction(0),
        encoder_options={"bf": "0"}, begins_at_zero=True,
    ),
    "ts": _MPEGTS, "m2ts": _M2TS, "mts": _M2TS,
    "flv": Container("flv", "FLV", ("libx264",), (), tick=Fraction(1, 1000), encoder_options={"bf": "0"}),
    "mpg": _MPEGPS, "mpeg": _MPEGPS, "vob": _MPEGPS,
    "wmv": _ASF, "asf": _ASF, "ogv": _OGG, "ogg": _OGG,
    "gif": Container(
        "gif", "GIF", ("gif",), ("gif",), ("gif",), ("gif",), only_pictures=True, tick=Fraction(1, 100),
        begins_at_zero=True,
    ),
    "apng": Container(
        "apng", "animated PNG", ("apng",), ("apng",), ("apng",), ("apng",), only_pictures=True, options={"plays": "0"},
        begins_at_zero=True,
    ),
    "webp": Container(
        "webp", "WebP", ("libwebp_anim", "libwebp"), ("libwebp_anim",), ("libwebp_anim", "libwebp"),
        ("libwebp_anim", "libwebp"), only_pictures=True, tick=Fraction(1, 1000), options={"loop": "0"},
        begins_at_zero=True,
    ),
    "png": _image("PNG", "png"),
    "jpg": _image("JPEG", "mjpeg"), "jpeg": _image("JPEG", "mjpeg"),
    "tif": _image("TIFF", "tiff"), "tiff": _image("TIFF", "tiff"),
    "bmp": _image("BMP", "bmp"), "tga": _image("TGA", "targa"),
    "jp2": _image("JPEG 2000", "libopenjpeg", "jpeg2000"),
    "jxl": _image("JPEG XL", "libjxl"), "dpx": _image("DPX", "dpx"),
}  # fmt: skip


def container_of(name: str) -> Container:
    """The container by a file's name, e.g. "out.mp4", or by FFmpeg's or people's word for it, e.g. "matroska".

    Raises:
        UsageError: nothing has that ending.
    """
    word = (PurePath(name).suffix.removeprefix(".") or name).lower()
    if word in _BY_ENDING:
        return _BY_ENDING[word]
    by_muxer = {one.muxer: one for one in _BY_ENDING.values() if one.muxer != "image2" and one is not _M2TS}
    muxer = word if word in by_muxer else _muxers_by_ending().get(word)
    if muxer is None:
        near = difflib.get_close_matches(word, _BY_ENDING, n=1) if "." in name else []
        hint = f"did you mean .{near[0]}?" if near else f"known endings: {', '.join(_BY_ENDING)}"
        raise UsageError(f"no container for {name!r}; {hint}")
    if muxer in by_muxer:
        return by_muxer[muxer]
    return Container(
        muxer, muxer.upper(), (*_MODERN, "mpeg4", "mpeg2video", "ffv1"), (*_MODERN_DEEP, "ffv1"), _LOSSLESS
    )


@cache
def _muxers_by_ending() -> dict[str, str]:
    """Ending to muxer for everything FFmpeg can write that has a picture."""
    found: dict[str, str] = {}
    for name in sorted(av.formats_available):
        try:
            entry = av.ContainerFormat(name, "w")
        except ValueError:
            continue
        if entry.is_output and name != "image2":
            for ending in entry.extensions:
                found.setdefault(ending, name)
    return found


def choose_container(target: str | Path | BinaryIO, picture: Picture, asked: str | None) -> Container:
    """The container asked for, else the one of the target's name; for a pipe Y4M or NUT.

    Y4M is what programs on pipes read; it needs a known rate and a format it has words for. NUT holds everything.

    Raises:
        UsageError: no container has that name or ending.
    """
    if asked is not None:
        return container_of(asked)
    if isinstance(target, (str, Path)) and str(target) != "-":
        return container_of(Path(target).name)
    return Y4M if picture.rate is not None and y4m_holds(picture.format) else NUT


def y4m_holds(pixel_format: PixelFormat) -> bool:
    return pixel_format.name in _Y4M_FORMATS
