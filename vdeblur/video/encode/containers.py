"""Container table: muxers of FFmpeg, file endings, suitable encoders, and the rules of each container."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import av

from vdeblur.errors import UsageError
from vdeblur.frames import PixelFormat
from vdeblur.video.encode.raw_video import RawVideoSpec
from vdeblur.video.mpegts_programs import BLU_RAY_IDENTIFIERS, Identifiers

#: Encoders for eight bits that players of today decode, best first.
_MODERN = ("libx264", "libx264rgb", "libx265", "libsvtav1", "libaom-av1", "libvpx-vp9")
#: More than eight bits: HEVC, which players decode in hardware, before ten-bit H.264, which none does.
_MODERN_DEEP = ("libx265", "libsvtav1", "libaom-av1", "libvpx-vp9", "libx264")
_LOSSLESS = ("ffv1",)
#: For containers without a row: the trial encode shows what the muxer takes.
_ANY, _ANY_DEEP = (*_MODERN, "mpeg4", "mpeg2video", "ffv1"), (*_MODERN_DEEP, "ffv1")

#: Pixel formats that FFmpeg's muxer of Y4M accepts.
_Y4M_FORMATS = frozenset(
    [f"yuv{s}p" for s in ("411", "420", "422", "444")]
    + [f"yuv{s}p{bits}le" for s in ("420", "422", "444") for bits in (9, 10, 12, 14, 16)]
    + ["gray", "yuva444p"] + [f"gray{bits}le" for bits in (9, 10, 12, 16)]
)  # fmt: skip
#: Tags with a classic box in MP4. Others need a newer kind of list (``mdta``), which fewer players read.
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
    """One output container: a row of :data:`CONTAINERS`, the only place for facts about it."""

    #: FFmpeg's muxer.
    muxer: str
    #: For people.
    name: str
    #: Endings of file names that ask for it, without the dot.
    endings: tuple[str, ...] = ()

    # Video.

    #: Encoders that suit it, best first: for eight bits, for more, and for frames with alpha.
    encoders: tuple[str, ...] = _MODERN
    deep_encoders: tuple[str, ...] = _MODERN_DEEP
    alpha_encoders: tuple[str, ...] = ()
    #: Encoders for frames that nothing above holds exactly; the conversion is noted.
    fallback: tuple[str, ...] = ()
    #: Pixel formats that the muxer accepts; ``None`` = the encoder decides.
    pixel_formats: frozenset[str] | None = None
    #: It holds one video stream and nothing else by its nature.
    only_pictures: bool = False
    #: One file a frame.
    one_file_a_frame: bool = False
    #: Its files can have several pages, where the source is of that kind.
    holds_pages: bool = False
    #: A finished file can be told that its samples use the full range (Matroska's element Range, RFC 9559).
    range_can_be_marked: bool = False
    #: It keeps the stereoscopic arrangement that its source has as a tag (Matroska's element StereoMode, RFC 9559).
    keeps_stereo_mode: bool = False
    #: Alpha is a stream of its own; that of a source which has one, too, is copied.
    alpha_is_a_stream: bool = False
    #: Of the arrangements only those side by side, and top and bottom (WebM's guidelines).
    common_stereo_modes_only: bool = False
    #: It has a place for the projection of 360° video (Matroska's element Projection, RFC 9559).
    keeps_projection: bool = False
    #: It takes packets joined from segments with their times as they are.
    takes_segments: bool = False

    # Timestamps.

    #: Seconds a tick, where the container and not the source decides; 0 = one frame a tick.
    tick: Fraction | None = None
    #: It has no field for a start after 0.
    begins_at_zero: bool = False
    #: It holds timestamps before 0: of audio whose decoder needs preroll, and decoding timestamps of frames that are
    #: presented later. That is no reason to shift all timestamps, as FFmpeg would.
    keeps_negative_times: bool = False
    #: A packet says how long it lasts. Text subtitles would never disappear where none does.
    keeps_packet_durations: bool = True

    # Other streams.

    #: Codec in which it holds text subtitles.
    text_subtitles: str | None = None
    #: Codecs of text subtitles that it holds as they are, for FFmpeg has two names for some.
    native_text: frozenset[str] = frozenset()
    #: Encoder to suggest for audio that it does not hold.
    audio_encoder: str = "aac"
    #: Options that sound needs there with any encoder.
    audio_options: tuple[str, ...] = ()
    #: An encoder to suggest for lossless audio, where it holds any.
    lossless_audio_encoder: str | None = None
    #: Note on PCM audio, which it holds and few players expect there.
    pcm_note: str | None = None
    #: Covers and fonts are files attached to it, not streams.
    attaches_files: bool = False
    #: Its header lists every stream, so a probe of the muxer shows whether one is missing.
    lists_streams: bool = False
    #: Its muxer writes streams of any codec, also where nothing will know them again.
    takes_anything: bool = False
    #: Its muxer writes nothing without the video, so a probe needs one.
    needs_video: bool = False
    #: It knows languages by QuickTime's own list of codes.
    quicktime_languages: bool = False

    # Family and metadata.

    #: ISO base media file format (ISO/IEC 14496-12), or QuickTime, from which it came.
    iso_base_media: bool = False
    #: FFmpeg's muxer writes chapters.
    holds_chapters: bool = False
    #: Names of programs and identifiers of streams (ISO/IEC 13818-1, DVB service information), and which these may be.
    identifiers: Identifiers | None = None
    #: Streams have tags of any name.
    keeps_tags: bool = False
    #: Tags of any name for the file.
    keeps_file_tags: bool = False
    #: Names under which its muxer takes tags that its demuxer calls otherwise.
    tag_names: dict[str, str] = field(default_factory=dict)
    #: The date and the software of a recording are chunks that FFmpeg's muxer does not write (RIFF).
    riff_tags: bool = False
    #: Tags of the file with a classic box of their own, in ISO base media.
    classic_tags: frozenset[str] = frozenset()

    # FFmpeg options.

    #: Options of the muxer, without dashes.
    options: dict[str, str] = field(default_factory=dict)
    #: Options of the encoder, whichever it is.
    encoder_options: dict[str, str] = field(default_factory=dict)

    def suitable_encoders(self, pixel_format: PixelFormat) -> tuple[str, ...]:
        """Candidate encoders for frames of this format, best first."""
        if pixel_format.alpha:
            return self.alpha_encoders
        return self.encoders if pixel_format.bits <= 8 else self.deep_encoders

    def holds(self, pixel_format: PixelFormat) -> bool:
        """Whether the muxer accepts this pixel format; the encoder may still lack it."""
        return self.pixel_formats is None or pixel_format.name in self.pixel_formats

    def encoder_time_base(self, spec: RawVideoSpec) -> Fraction:
        """Time base of the encoder."""
        if self.tick is None:
            return spec.time_base
        if self.tick == 0:
            return 1 / spec.nominal_rate
        # A finer tick than the container's would only be rounded later; a coarser one loses nothing.
        return spec.time_base if (spec.time_base / self.tick).denominator == 1 else self.tick

    def least_ticks(self, time_base: Fraction) -> int:
        """Least distance of two frames, in ticks of the source, that this container can tell apart."""
        return max(1, math.ceil(self.tick / time_base)) if self.tick else 1

    def rounds_times(self, spec: RawVideoSpec) -> bool:
        """Whether the container's ticks cannot represent the source's timestamps exactly."""
        return self.tick is not None and self.tick > 0 and (spec.time_base / self.tick).denominator != 1

    def time_options(self, time_base: Fraction) -> dict[str, str]:
        """Muxer options, without dashes, for timestamps as exact as the container allows."""
        options = {"avoid_negative_ts": "disabled"} if self.keeps_negative_times else {}
        if self.iso_base_media:
            scale = str(time_base.denominator)
            options |= {"video_track_timescale": scale, "movie_timescale": scale}
        return options

    def output_options(self, spec: RawVideoSpec, *, seekable: bool) -> dict[str, str]:
        """Muxer options, without dashes, for video of this kind; an output that cannot seek gets fragmented MP4."""
        options = {**self.options, **self.time_options(spec.time_base)}
        if self.iso_base_media:
            options["movflags"] = "+faststart" if seekable else "+frag_keyframe+delay_moov+default_base_moof"
        return options


def _iso(muxer: str, name: str, *endings: str, classic_tags: frozenset[str] = _MP4_TAGS, **facts: Any) -> Container:
    """A row of the MP4 and QuickTime family."""
    return Container(
        muxer, name, endings, lossless_audio_encoder="alac", iso_base_media=True, keeps_negative_times=True,
        classic_tags=classic_tags, **facts,
    )  # fmt: skip


def _image(name: str, encoders: tuple[str, ...], *endings: str, **facts: Any) -> Container:
    return Container(
        "image2", name, endings, encoders, encoders, encoders, encoders, only_pictures=True, one_file_a_frame=True,
        **facts,
    )  # fmt: skip


_UNHURRIED = {"muxdelay": "0", "muxpreload": "0"}
Y4M = Container(
    "yuv4mpegpipe", "Y4M", ("y4m",), ("wrapped_avframe",), ("wrapped_avframe",), ("wrapped_avframe",),
    pixel_formats=_Y4M_FORMATS, only_pictures=True, tick=Fraction(0), begins_at_zero=True, options={"strict": "-1"},
)  # fmt: skip
NUT = Container(
    "nut", "NUT", ("nut",), ("rawvideo", "ffv1"), ("rawvideo", "ffv1"), ("rawvideo", "ffv1"), lists_streams=True,
    keeps_packet_durations=False, holds_chapters=True, keeps_tags=True, keeps_file_tags=True,
)  # fmt: skip
_MPEGTS = Container(
    "mpegts", "MPEG-TS", ("ts",), ("libx264", "libx265", "mpeg2video"), ("libx265", "libx264"), takes_segments=True,
    tick=Fraction(1, 90000), keeps_negative_times=True, identifiers=Identifiers(), lists_streams=True,
    options={"mpegts_copyts": "1", **_UNHURRIED},
)  # fmt: skip

#: All known containers. Of several with one muxer, the muxer's name means the first.
CONTAINERS: tuple[Container, ...] = (
    _iso(
        "mp4", "MP4", "mp4", "m4v", text_subtitles="mov_text", lists_streams=True, holds_chapters=True,
        takes_segments=True,
        pcm_note="few players know PCM in MP4 (ISO/IEC 23003-5), most do in .mov",
    ),
    Container(
        "matroska", "Matroska", ("mkv",), (*_MODERN, "ffv1"), (*_MODERN_DEEP, "ffv1"), ("ffv1", "png"),
        range_can_be_marked=True, keeps_stereo_mode=True, keeps_projection=True, takes_segments=True,
        tick=Fraction(1, 1000), keeps_negative_times=True, text_subtitles="subrip",
        native_text=frozenset({"subrip", "srt", "ass", "ssa", "webvtt", "text"}), attaches_files=True,
        lists_streams=True, holds_chapters=True, keeps_tags=True, keeps_file_tags=True,
    ),
    NUT,
    Y4M,
    _iso(
        "mov", "QuickTime", "mov", deep_encoders=(*_MODERN_DEEP, "png"), alpha_encoders=("png", "prores_ks"),
        fallback=("prores_ks",), takes_segments=True, text_subtitles="mov_text", lists_streams=True,
        takes_anything=True,
        quicktime_languages=True, holds_chapters=True, classic_tags=_QUICKTIME_TAGS,
    ),
    # Its muxer drops attachments without a message.
    Container(
        "webm", "WebM", ("webm",), ("libvpx-vp9", "libaom-av1"), ("libvpx-vp9", "libaom-av1"), ("libvpx-vp9",),
        keeps_stereo_mode=True, common_stereo_modes_only=True, keeps_projection=True, takes_segments=True,
        tick=Fraction(1, 1000), keeps_negative_times=True, text_subtitles="webvtt", native_text=frozenset({"webvtt"}),
        audio_encoder="libopus", lists_streams=True, holds_chapters=True, keeps_tags=True,
        keeps_file_tags=True,
    ),
    # AVI and FLV have no decoding times beside those of presentation, so frames must not be reordered.
    Container(
        "avi", "AVI", ("avi",), ("mpeg4", "mjpeg", "ffv1"), _LOSSLESS, _LOSSLESS, tick=Fraction(0),
        begins_at_zero=True, audio_encoder="mp3", lists_streams=True, encoder_options={"bf": "0"},
        tag_names={"product": "album"}, riff_tags=True,
    ),
    _MPEGTS,
    # As on Blu-ray discs and in AVCHD cameras; FFmpeg knows it by the ending ".m2ts" alone.
    replace(
        _MPEGTS, name="M2TS", endings=("m2ts", "mts"), audio_encoder="ac3", identifiers=BLU_RAY_IDENTIFIERS,
        options={**_MPEGTS.options, "mpegts_m2ts_mode": "1"},
    ),
    Container(
        "flv", "FLV", ("flv",), ("libx264",), (), tick=Fraction(1, 1000), keeps_file_tags=True,
        encoder_options={"bf": "0"},
    ),
    Container(
        "mpeg", "MPEG-PS", ("mpg", "mpeg", "vob"), ("mpeg2video",), (), (), ("mpeg2video",), tick=Fraction(0),
        options=_UNHURRIED,
    ),
    Container(
        "asf", "Windows Media", ("wmv", "asf"), ("wmv2", "mpeg4"), (), tick=Fraction(1, 1000), holds_chapters=True,
        lists_streams=True, keeps_file_tags=True,
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
    Container(
        "avif", "AVIF", ("avif",), ("libsvtav1", "libaom-av1"), ("libsvtav1", "libaom-av1"), alpha_is_a_stream=True
    ),
    _image("PNG", ("png",), "png"),
    _image("JPEG", ("mjpeg",), "jpg", "jpeg"),
    _image("TIFF", ("tiff",), "tif", "tiff", holds_pages=True),
    _image("BMP", ("bmp",), "bmp"),
    _image("TGA", ("targa",), "tga"),
    _image("JPEG 2000", ("libopenjpeg", "jpeg2000"), "jp2"),
    _image("DPX", ("dpx",), "dpx"),
    # Kin of MP4, for phones and for music players; they are found by FFmpeg's own endings.
    _iso(
        "ipod", "IPOD", encoders=_ANY, deep_encoders=_ANY_DEEP, alpha_encoders=_LOSSLESS, takes_segments=True,
        lists_streams=True, holds_chapters=True,
    ),
    *(
        _iso(
            muxer, muxer.upper(), encoders=_ANY, deep_encoders=_ANY_DEEP, alpha_encoders=_LOSSLESS, lists_streams=True,
            text_subtitles="mov_text",
        )
        for muxer in ("3gp", "3g2")
    ),
    # Of tapes and of broadcasters; sound lies between the pictures, so there is none without them.
    Container(
        "dv", "DV", ("dv",), ("dvvideo",), (), fallback=("dvvideo",), tick=Fraction(0), begins_at_zero=True,
        audio_encoder="pcm_s16le", audio_options=("-ar", "48000", "-ac", "2"), needs_video=True,
    ),
    Container(
        "mxf", "MXF", encoders=_ANY, deep_encoders=_ANY_DEEP, tick=Fraction(0), begins_at_zero=True,
        audio_encoder="pcm_s16le", audio_options=("-ar", "48000"), needs_video=True, lists_streams=True,
    ),
)  # fmt: skip


#: What writes pictures without a header: nothing says their size, format and times, and no result can be checked.
_HEADERLESS = frozenset({"rawvideo", "raw"})


def container_of(name: str) -> Container:
    """Look up a container by file name ("out.mp4"), ending, or FFmpeg's name of the muxer ("matroska").

    An ending that only FFmpeg knows gives a row of defaults.

    Raises:
        UsageError: nothing has that ending, or it is that of pictures without a header.
    """
    word = (PurePath(name).suffix.removeprefix(".") or name).lower()
    by_ending = {ending: row for row in CONTAINERS for ending in row.endings}
    if word in by_ending:
        return by_ending[word]
    by_muxer = {row.muxer: row for row in reversed(CONTAINERS) if not row.one_file_a_frame}
    muxer = word if word in by_muxer else _muxers_by_ending().get(word)
    if word in _HEADERLESS or muxer in _HEADERLESS:
        raise UsageError(f"no container for {name!r}: bare samples say no size and no times; use y4m or nut")
    if muxer is None:
        near = difflib.get_close_matches(word, by_ending, n=1) if "." in name else []
        hint = f"did you mean .{near[0]}?" if near else f"known endings: {', '.join(by_ending)}"
        raise UsageError(f"no container for {name!r}; {hint}")
    return by_muxer.get(muxer) or Container(
        muxer, muxer.upper(), encoders=_ANY, deep_encoders=_ANY_DEEP, alpha_encoders=_LOSSLESS
    )


@cache
def _muxers_by_ending() -> dict[str, str]:
    """File ending to muxer, for all muxers of FFmpeg."""
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


def choose_container(target: str | Path | BinaryIO, spec: RawVideoSpec, asked: str | None) -> Container:
    """Choose the container: the one asked for, else by the target's name; for a pipe Y4M or NUT.

    Most programs read Y4M from a pipe; it needs a frame rate and few pixel formats. NUT holds everything.

    Raises:
        UsageError: no container has that name or ending.
    """
    if asked is not None:
        return container_of(asked)
    if isinstance(target, (str, Path)) and str(target) != "-":
        return container_of(Path(target).name)
    return Y4M if spec.rate is not None and Y4M.holds(spec.format) else NUT
