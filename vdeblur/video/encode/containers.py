"""Containers: which one a file name asks for, which encoders suit it, and what it needs to be told."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import av

from vdeblur.errors import UsageError
from vdeblur.frames import PixelFormat
from vdeblur.video.encode.raw_video import Picture

#: Encoders for eight bits that players of today decode, best first.
_MODERN = ("libx264", "libx264rgb", "libx265", "libsvtav1", "libaom-av1", "libvpx-vp9")
#: More than eight bits: HEVC, which players decode in hardware, before ten-bit H.264, which none does.
_MODERN_DEEP = ("libx265", "libsvtav1", "libaom-av1", "libvpx-vp9", "libx264")
_LOSSLESS = ("ffv1",)
#: Where nothing is known of the container: its muxer says what it takes.
_ANY, _ANY_DEEP = (*_MODERN, "mpeg4", "mpeg2video", "ffv1"), (*_MODERN_DEEP, "ffv1")

#: Pixel formats that Y4M has a word for; FFmpeg's muxer takes no other.
_Y4M_FORMATS = frozenset(
    [f"yuv{s}p" for s in ("411", "420", "422", "444")]
    + [f"yuv{s}p{bits}le" for s in ("420", "422", "444") for bits in (9, 10, 12, 14, 16)]
    + ["gray", "yuva444p"] + [f"gray{bits}le" for bits in (9, 10, 12, 16)]
)  # fmt: skip
#: Tags that MP4 has classic places for. Others need a newer kind of list, which shows these to fewer players.
_MP4_TAGS = frozenset(
    {
        "title", "artist", "album_artist", "composer", "album", "date", "encoder", "comment", "genre", "copyright",
        "grouping", "lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords", "season_number",
        "episode_sort", "media_type", "hd_video", "gapless_playback", "compilation", "track", "disc", "creation_time",
        "timecode", "location",
    }
)  # fmt: skip
#: Those of QuickTime.
_QUICKTIME_TAGS = frozenset(
    {
        "title", "artist", "author", "album", "date", "encoder", "comment", "genre", "copyright", "make", "model",
        "location", "keywords", "creation_time", "timecode",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Container:
    """One kind of output file: a row of :data:`CONTAINERS`, where all that is known of it stands."""

    #: FFmpeg's muxer.
    muxer: str
    #: For people.
    name: str
    #: Endings of file names that ask for it, without the dot.
    endings: tuple[str, ...] = ()

    # Pictures.

    #: Encoders that suit it, best first: for eight bits, for more, and for frames with alpha.
    encoders: tuple[str, ...] = _MODERN
    deep_encoders: tuple[str, ...] = _MODERN_DEEP
    alpha_encoders: tuple[str, ...] = ()
    #: Encoders for frames that nothing above holds exactly; the conversion is noted.
    fallback: tuple[str, ...] = ()
    #: Pixel formats the muxer has words for; ``None`` = the encoder decides.
    pixel_formats: frozenset[str] | None = None
    #: It holds one video stream and nothing else by its nature.
    only_pictures: bool = False
    #: One file a frame.
    one_file_a_frame: bool = False
    #: A finished file can be told that its samples use the full range (Matroska's element Range, RFC 9559).
    range_can_be_marked: bool = False
    #: It keeps the arrangement of 3D video, which its source has as a tag (Matroska's element StereoMode, RFC 9559).
    keeps_stereo_mode: bool = False
    #: It takes packets joined from segments with their times as they are.
    takes_segments: bool = False

    # Times.

    #: Seconds a tick, where the container and not the source decides; 0 = one frame a tick.
    tick: Fraction | None = None
    #: It has no word for a later start.
    begins_at_zero: bool = False
    #: It holds times before 0: those of sound whose decoder needs a run-up, and of frames that are shown later than
    #: decoded. That is no reason to move all times, as FFmpeg would.
    keeps_negative_times: bool = False
    #: A packet says how long it lasts. Text subtitles would never disappear where none does.
    keeps_packet_durations: bool = True

    # Streams beside the video.

    #: Codec in which it holds text subtitles.
    text_subtitles: str | None = None
    #: Codecs of text subtitles that it holds as they are, for FFmpeg has two names for some.
    native_text: frozenset[str] = frozenset()
    #: Encoder for sound that it does not hold, named in the refusal.
    audio_encoder: str = "aac"
    #: The same for lossless sound, where it holds any.
    lossless_audio_encoder: str | None = None
    #: What to say of PCM sound that it holds and few players expect there.
    pcm_note: str | None = None
    #: Covers and fonts are files attached to it, not streams.
    attaches_files: bool = False
    #: Its head lists every stream, so a probe of the muxer shows at once whether one is missing.
    lists_streams: bool = False
    #: It knows languages by QuickTime's own list of codes.
    quicktime_languages: bool = False

    # What is said of the whole.

    #: ISO base media file format (ISO/IEC 14496-12), or QuickTime, from which it came.
    iso_base_media: bool = False
    #: FFmpeg's muxer writes chapters.
    holds_chapters: bool = False
    #: Names of programs and identifiers of streams (ISO/IEC 13818-1, DVB service information).
    holds_programs: bool = False
    #: Streams have tags of any name.
    keeps_tags: bool = False
    #: Tags of the file with a classic place, in ISO base media.
    classic_tags: frozenset[str] = frozenset()

    # What FFmpeg is told.

    #: Options of the muxer, without dashes.
    options: dict[str, str] = field(default_factory=dict)
    #: Options of the encoder, whichever it is.
    encoder_options: dict[str, str] = field(default_factory=dict)

    def suitable_encoders(self, pixel_format: PixelFormat) -> tuple[str, ...]:
        """Encoders to try for frames of this format, best first."""
        if pixel_format.alpha:
            return self.alpha_encoders
        return self.encoders if pixel_format.bits <= 8 else self.deep_encoders

    def holds(self, pixel_format: PixelFormat) -> bool:
        """Whether the muxer has a word for this format; the encoder may still have none."""
        return self.pixel_formats is None or pixel_format.name in self.pixel_formats

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

    def time_options(self, time_base: Fraction) -> dict[str, str]:
        """Options of the muxer that keep times as exact as it can."""
        options = {"avoid_negative_ts": "disabled"} if self.keeps_negative_times else {}
        if self.iso_base_media:
            scale = str(time_base.denominator)
            options |= {"video_track_timescale": scale, "movie_timescale": scale}
        return options

    def output_options(self, picture: Picture, *, seekable: bool) -> dict[str, str]:
        """Options of the muxer for this picture; a pipe cannot be written twice, so MP4 goes there in fragments."""
        options = {**self.options, **self.time_options(picture.time_base)}
        if self.iso_base_media:
            options["movflags"] = "+faststart" if seekable else "+frag_keyframe+delay_moov+default_base_moof"
        return options


def _iso(muxer: str, name: str, *endings: str, classic_tags: frozenset[str] = _MP4_TAGS, **facts: Any) -> Container:
    """A row of the family of MP4 and QuickTime."""
    return Container(
        muxer, name, endings, lossless_audio_encoder="alac", iso_base_media=True, keeps_negative_times=True,
        classic_tags=classic_tags, **facts,
    )  # fmt: skip


def _image(name: str, encoders: tuple[str, ...], *endings: str) -> Container:
    return Container(
        "image2", name, endings, encoders, encoders, encoders, encoders, only_pictures=True, one_file_a_frame=True
    )


_UNHURRIED = {"muxdelay": "0", "muxpreload": "0"}
Y4M = Container(
    "yuv4mpegpipe", "Y4M", ("y4m",), ("wrapped_avframe",), ("wrapped_avframe",), ("wrapped_avframe",),
    pixel_formats=_Y4M_FORMATS, only_pictures=True, tick=Fraction(0), begins_at_zero=True, options={"strict": "-1"},
)  # fmt: skip
NUT = Container(
    "nut", "NUT", ("nut",), ("rawvideo", "ffv1"), ("rawvideo", "ffv1"), ("rawvideo", "ffv1"), lists_streams=True,
    keeps_packet_durations=False, holds_chapters=True, keeps_tags=True,
)  # fmt: skip
_MPEGTS = Container(
    "mpegts", "MPEG-TS", ("ts",), ("libx264", "libx265", "mpeg2video"), ("libx265", "libx264"), takes_segments=True,
    tick=Fraction(1, 90000), keeps_negative_times=True, holds_programs=True,
    options={"mpegts_copyts": "1", **_UNHURRIED},
)  # fmt: skip

#: Every container that is known well, the one that a muxer's name means before others of that muxer.
CONTAINERS: tuple[Container, ...] = (
    _iso(
        "mp4", "MP4", "mp4", "m4v", text_subtitles="mov_text", lists_streams=True, holds_chapters=True,
        takes_segments=True,
        pcm_note="few players know PCM in MP4 (ISO/IEC 23003-5), most do in .mov",
    ),
    Container(
        "matroska", "Matroska", ("mkv",), (*_MODERN, "ffv1"), (*_MODERN_DEEP, "ffv1"), ("ffv1", "png"),
        range_can_be_marked=True, keeps_stereo_mode=True, takes_segments=True, tick=Fraction(1, 1000),
        keeps_negative_times=True, text_subtitles="subrip",
        native_text=frozenset({"subrip", "srt", "ass", "ssa", "webvtt", "text"}), attaches_files=True,
        lists_streams=True, holds_chapters=True, keeps_tags=True,
    ),
    NUT,
    Y4M,
    _iso(
        "mov", "QuickTime", "mov", deep_encoders=(*_MODERN_DEEP, "png"), alpha_encoders=("png", "prores_ks"),
        fallback=("prores_ks",), takes_segments=True, text_subtitles="mov_text", lists_streams=True,
        quicktime_languages=True, holds_chapters=True, classic_tags=_QUICKTIME_TAGS,
    ),
    # Its head leaves files out that should be attached, without a word.
    Container(
        "webm", "WebM", ("webm",), ("libvpx-vp9", "libaom-av1"), ("libvpx-vp9", "libaom-av1"), ("libvpx-vp9",),
        keeps_stereo_mode=True, takes_segments=True, tick=Fraction(1, 1000), keeps_negative_times=True,
        text_subtitles="webvtt", native_text=frozenset({"webvtt"}), audio_encoder="libopus", lists_streams=True,
        holds_chapters=True, keeps_tags=True,
    ),
    # AVI and FLV have no decoding times beside those of presentation, so frames must not be reordered.
    Container(
        "avi", "AVI", ("avi",), ("mpeg4", "mjpeg", "ffv1"), _LOSSLESS, _LOSSLESS, tick=Fraction(0),
        begins_at_zero=True, audio_encoder="mp3", lists_streams=True, encoder_options={"bf": "0"},
    ),
    _MPEGTS,
    # As on Blu-ray discs and in AVCHD cameras; FFmpeg knows it by the ending ".m2ts" alone.
    replace(_MPEGTS, endings=("m2ts", "mts"), options={**_MPEGTS.options, "mpegts_m2ts_mode": "1"}),
    Container("flv", "FLV", ("flv",), ("libx264",), (), tick=Fraction(1, 1000), encoder_options={"bf": "0"}),
    Container(
        "mpeg", "MPEG-PS", ("mpg", "mpeg", "vob"), ("mpeg2video",), (), (), ("mpeg2video",), tick=Fraction(0),
        options=_UNHURRIED,
    ),
    Container(
        "asf", "Windows Media", ("wmv", "asf"), ("wmv2", "mpeg4"), (), tick=Fraction(1, 1000), holds_chapters=True
    ),
    Container(
        "ogg", "Ogg", ("ogv", "ogg"), ("libtheora",), (), tick=Fraction(0), audio_encoder="libopus",
        holds_chapters=True,
    ),
    Container(
        "gif", "GIF", ("gif",), ("gif",), ("gif",), ("gif",), ("gif",), only_pictures=True, tick=Fraction(1, 100),
        begins_at_zero=True,
    ),
    Container(
        "apng", "animated PNG", ("apng",), ("apng",), ("apng",), ("apng",), ("apng",), only_pictures=True,
        begins_at_zero=True, options={"plays": "0"},
    ),
    Container(
        "webp", "WebP", ("webp",), ("libwebp_anim", "libwebp"), ("libwebp_anim",), ("libwebp_anim", "libwebp"),
        ("libwebp_anim", "libwebp"), only_pictures=True, tick=Fraction(1, 1000), begins_at_zero=True,
        options={"loop": "0"},
    ),
    _image("PNG", ("png",), "png"),
    _image("JPEG", ("mjpeg",), "jpg", "jpeg"),
    _image("TIFF", ("tiff",), "tif", "tiff"),
    _image("BMP", ("bmp",), "bmp"),
    _image("TGA", ("targa",), "tga"),
    _image("JPEG 2000", ("libopenjpeg", "jpeg2000"), "jp2"),
    _image("JPEG XL", ("libjxl",), "jxl"),
    _image("DPX", ("dpx",), "dpx"),
    # Kin of MP4, for phones and for music players; they are found by FFmpeg's own endings.
    _iso(
        "ipod", "IPOD", encoders=_ANY, deep_encoders=_ANY_DEEP, alpha_encoders=_LOSSLESS, takes_segments=True,
        lists_streams=True, holds_chapters=True,
    ),
    _iso("3gp", "3GP", encoders=_ANY, deep_encoders=_ANY_DEEP, alpha_encoders=_LOSSLESS),
    _iso("3g2", "3G2", encoders=_ANY, deep_encoders=_ANY_DEEP, alpha_encoders=_LOSSLESS),
)  # fmt: skip


def container_of(name: str) -> Container:
    """The container by a file's name, e.g. "out.mp4", or by FFmpeg's or people's word for it, e.g. "matroska".

    Raises:
        UsageError: nothing has that ending.
    """
    word = (PurePath(name).suffix.removeprefix(".") or name).lower()
    by_ending = {ending: row for row in CONTAINERS for ending in row.endings}
    if word in by_ending:
        return by_ending[word]
    by_muxer = {row.muxer: row for row in reversed(CONTAINERS) if not row.one_file_a_frame}
    muxer = word if word in by_muxer else _muxers_by_ending().get(word)
    if muxer is None:
        near = difflib.get_close_matches(word, by_ending, n=1) if "." in name else []
        hint = f"did you mean .{near[0]}?" if near else f"known endings: {', '.join(by_ending)}"
        raise UsageError(f"no container for {name!r}; {hint}")
    return by_muxer.get(muxer) or Container(
        muxer, muxer.upper(), encoders=_ANY, deep_encoders=_ANY_DEEP, alpha_encoders=_LOSSLESS
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
    return Y4M if picture.rate is not None and Y4M.holds(picture.format) else NUT
