"""Encoder table: quality scales, presets, colour and alpha rules of FFmpeg's video encoders.

An encoder without a row works too; its options then come from ``ffmpeg -h encoder=NAME``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from vdeblur.video.encode.raw_video import RawVideoSpec
from vdeblur.video.ffmpeg.executable import encoder_details

_X26X_PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip
_NVENC_PRESETS = ("p1", "p2", "p3", "p4", "p5", "p6", "p7", "fast", "medium", "slow", "hq", "ll", "llhq", "hp")
#: A palette for every frame: one for all would have to wait for the last frame.
_PALETTE = "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1"


@dataclass(frozen=True)
class HdrParameters:
    """Syntax of static HDR metadata (SMPTE ST 2086, CTA-861.3) in an encoder library's parameters."""

    #: FFmpeg's option for the library's own parameters.
    option: str
    #: The library's names of the mastering display and of the content light level.
    mastering_display: str
    content_light: str
    #: Chromaticities and luminances as decimal numbers, not in units of 1/50000 and 1/10000.
    decimal: bool = False


def _no_options(spec: RawVideoSpec, pixel_format: str) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Encoder:
    """One video encoder of FFmpeg: a row of :data:`ENCODERS`, the only place for facts about it."""

    name: str
    #: FFmpeg's option for constant quality, ``None`` if the encoder has none (it is lossless, or one quality only).
    quality_option: str | None = None
    #: Smallest and largest sensible value; smaller is better, but in WebP, Theora and VideoToolbox larger.
    quality_range: tuple[float, float] = (0, 51)
    quality: float | None = None
    preset_option: str | None = None
    presets: tuple[str, ...] = ()
    preset: str | None = None
    #: Further output options, without dashes.
    options: dict[str, str] = field(default_factory=dict)
    #: Names for people; of several encoders with one alias, the first that suits is taken.
    aliases: tuple[str, ...] = ()
    #: Output options that depend on the frames and on the pixel format they are encoded in.
    options_for: Callable[[RawVideoSpec, str], dict[str, str]] = _no_options
    #: Output options for R'G'B' frames, unless a quality is asked for.
    rgb_options: dict[str, str] = field(default_factory=dict)

    # Samples.

    #: Every sample comes back as it was, if the pixel format is kept.
    lossless: bool = False
    #: Its YUV formats are passed over: they say neither matrix nor range, and few programs read them (TIFF).
    avoids_yuv: bool = False
    #: It passes frames to the muxer as they are, so the container's ``pixel_formats`` are the only ones.
    passes_frames: bool = False
    #: Filtergraph that gives every frame a palette of 256 colours, for an encoder that has nothing else (GIF).
    palette_filter: str | None = None
    #: Its alpha travels beside the packets, which only WebM knows (BlockAdditional); libraries without the decoders of
    #: libvpx do not see it.
    alpha_beside_packets: bool = False

    # Colour.

    #: How its bitstream signals full-range YUV. FFmpeg (7.1 and newer) converts it to limited range unless it is
    #: "said"; where it is "unsaid" the container may say it, where it is "denied" decoders believe the stream.
    full_range: Literal["said", "unsaid", "denied"] = "said"
    #: Bitstream filter that makes its stream say that R'G'B' is limited; FFmpeg has it say "full" whatever it is.
    range_filter: str | None = None
    #: Range of its YUV where decoders always assume BT.601 (JFIF 1.02; WebP, RFC 9649).
    bt601_range: Literal["tv", "pc"] | None = None
    #: Syntax of static HDR metadata for an FFmpeg older than 9, which does not pass it on.
    hdr_parameters: HdrParameters | None = None

    # Files.

    #: Sample entry in MP4 and QuickTime where FFmpeg's own choice will not do.
    iso_tag: str | None = None
    #: The bitstream has the pixel aspect ratio (VUI of H.264 and HEVC). For others the container must be told.
    codes_pixel_aspect: bool = False
    #: Muxer of segments: it keeps the packets with all their properties until they are joined.
    segment_muxer: str | None = None
    #: Chroma subsampling that it cannot say (log2, horizontal and vertical); such segments are Matroska.
    segments_lack: frozenset[tuple[int, int]] = frozenset()
    #: Closed captions can be put into its pictures when segments are joined (H.264 and HEVC).
    carries_captions: bool = False
    #: Kind of image file, if metadata can be written into it afterwards; see :mod:`vdeblur.video.photo`.
    picture_file: str | None = None

    # Notes for people.

    #: On any frames.
    note: str | None = None
    #: On frames with alpha.
    alpha_note: str | None = None


def _ffv1_slices(spec: RawVideoSpec, pixel_format: str) -> dict[str, str]:
    """FFV1 slice count: FFmpeg finds none by itself where a small picture is taller than wide.

    It divides heights above 288 at least once in each direction; one column of chroma cannot be, and only the first
    version of FFV1 has no slices (there it is exact for eight bits only).
    """
    if spec.width <= 352 and spec.height <= 288:
        return {"slices": "1"}
    columns = spec.format.plane_shape(1 if spec.format.family == "yuv" else 0, 1, spec.width)[1]
    if columns < 2 and spec.format.bits <= 8:
        return {"level": "1", "slicecrc": "0"}
    return {}


def _prores_profile(spec: RawVideoSpec, pixel_format: str) -> dict[str, str]:
    """ProRes profile: 422 HQ, or 4444."""
    return {"profile": "3" if "422" in pixel_format else "4"}


def _x26x(name: str, *aliases: str, **facts: Any) -> Encoder:
    return Encoder(
        name, "crf", (0, 51), 16, "preset", _X26X_PRESETS, "medium", aliases=aliases, segment_muxer="mp4",
        codes_pixel_aspect=True, carries_captions=True, **facts,
    )  # fmt: skip


def _nvenc(codec: str, quality: float, limit: float, **facts: Any) -> Encoder:
    options = {"rc": "vbr", "b:v": "0", "tune": "hq"}
    return Encoder(
        f"{codec}_nvenc", "cq", (0, limit), quality, "preset", _NVENC_PRESETS, "p5", options, aliases=(NVENC,),
        segment_muxer="mp4", carries_captions=codec != "av1", **facts,
    )  # fmt: skip


def _webp(name: str) -> Encoder:
    return Encoder(
        name, "quality", (0, 100), 95, aliases=("webp",), rgb_options={"lossless": "1"}, bt601_range="tv",
        picture_file="WebP", alpha_note="WebP does not keep the colours of wholly transparent pixels",
    )  # fmt: skip


#: Name of the encoders of NVIDIA's GPUs.
NVENC = "nvenc"
#: NVENC where it really opens, else the default of the container.
AUTO_GPU = "auto-gpu"

#: All known encoders. Of several with one alias, the best comes first.
ENCODERS: tuple[Encoder, ...] = (
    _x26x("libx264", "h264", "x264", "avc", range_filter="h264_metadata"),
    Encoder(
        "libx264rgb", "crf", (0, 51), 16, "preset", _X26X_PRESETS, "medium", aliases=("h264", "x264", "avc"),
        range_filter="h264_metadata",
    ),
    # Apple's players open no other HEVC than that tagged hvc1.
    _x26x(
        "libx265", "h265", "hevc", "x265", options={"x265-params": "log-level=error"}, iso_tag="hvc1",
        range_filter="hevc_metadata", hdr_parameters=HdrParameters("x265-params", "master-display", "max-cll"),
        alpha_note="alpha in HEVC is a layer that Apple's players and FFmpeg 9 decode, and few others",
    ),
    Encoder(
        "libsvtav1", "crf", (1, 63), 20, "preset", tuple(map(str, range(14))), "6", aliases=("av1",),
        hdr_parameters=HdrParameters("svtav1-params", "mastering-display", "content-light", decimal=True),
        segment_muxer="mp4",
    ),
    Encoder(
        "libaom-av1", "crf", (0, 63), 18, "cpu-used", tuple(map(str, range(9))), "6", {"row-mt": "1"},
        aliases=("av1",), segment_muxer="mp4",
    ),
    Encoder(
        "libvpx-vp9", "crf", (0, 63), 18, "cpu-used", tuple(map(str, range(9))), "3",
        {"b:v": "0", "row-mt": "1", "deadline": "good"}, aliases=("vp9",), alpha_beside_packets=True,
        # VP in ISO base media has no number for 4:4:0; FFmpeg then writes a file that nobody reads.
        segment_muxer="mp4", segments_lack=frozenset({(0, 1)}),
    ),
    Encoder(
        "libvpx", "crf", (4, 63), 8, "cpu-used", tuple(map(str, range(6))), "2", {"b:v": "20M"}, aliases=("vp8",),
        alpha_beside_packets=True,
    ),
    Encoder(
        "ffv1", options={"level": "3", "g": "1", "slicecrc": "1"}, options_for=_ffv1_slices, lossless=True,
        full_range="unsaid", segment_muxer="matroska",
    ),
    Encoder("ffvhuff", lossless=True, full_range="unsaid"),
    Encoder("huffyuv", lossless=True, full_range="unsaid"),
    Encoder("utvideo", lossless=True, full_range="unsaid"),
    Encoder("magicyuv", lossless=True, full_range="denied"),
    Encoder(
        "prores_ks", "qscale", (1, 32), None, options={"vendor": "apl0"}, aliases=("prores",),
        options_for=_prores_profile, segment_muxer="mov",
    ),
    Encoder("libtheora", "qscale", (0, 10), 9),
    Encoder("dvvideo", aliases=("dv",)),
    Encoder("h264_videotoolbox", "qscale", (1, 100), 75),
    Encoder("hevc_videotoolbox", "qscale", (1, 100), 75),
    _webp("libwebp_anim"),
    _webp("libwebp"),
    Encoder("png", options={"pred": "mixed"}, lossless=True, picture_file="PNG"),
    Encoder("apng", options={"pred": "mixed"}, lossless=True),
    Encoder("tiff", options={"compression_algo": "deflate"}, lossless=True, avoids_yuv=True, picture_file="TIFF"),
    Encoder("gif", palette_filter=_PALETTE, note="GIF has 256 colours a frame and no half-transparency"),
    Encoder(
        "mjpeg", "qscale", (1, 31), 1, options={"qmin": "1"}, aliases=("jpeg", "jpg"), bt601_range="pc",
        picture_file="JPEG",
    ),
    Encoder("rawvideo", lossless=True),
    Encoder("wrapped_avframe", lossless=True, passes_frames=True),
    _nvenc("h264", 17, 51, codes_pixel_aspect=True),
    _nvenc("hevc", 18, 51, codes_pixel_aspect=True, iso_tag="hvc1"),
    _nvenc("av1", 22, 63),
)  # fmt: skip


def aliases() -> tuple[str, ...]:
    """All aliases, e.g. "h264"; other names are FFmpeg's own."""
    return tuple(dict.fromkeys(alias for encoder in ENCODERS for alias in encoder.aliases))


def encoders_by_alias(name: str) -> tuple[str, ...]:
    """FFmpeg's encoder names for an alias, best first; the name itself if it is no alias."""
    return tuple(encoder.name for encoder in ENCODERS if name.lower() in encoder.aliases) or (name,)


def find_encoder(name: str) -> Encoder:
    """Look up an encoder by FFmpeg's name; one without a row is described by its own option list."""
    if (known := next((encoder for encoder in ENCODERS if encoder.name == name), None)) is not None:
        return known
    details = encoder_details(name)
    own = details.options if details else frozenset()
    preset = "preset" if "preset" in own else None
    if "crf" in own:
        return Encoder(name, "crf", (0, float("inf")), preset_option=preset)
    # The MPEG family; left alone, FFmpeg would squeeze them into 200 kbit/s.
    return Encoder(name, "qscale", (1, 31), 2, preset_option=preset)
