"""The encoders we know well: what people call them, how their quality and speed are set, and what they need to be told.

Any other encoder of the FFmpeg program can be named too; then its own list of options says what it takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vdeblur.video.ffmpeg.executable import encoder_details

_X26X_PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip
_NVENC_PRESETS = ("p1", "p2", "p3", "p4", "p5", "p6", "p7", "fast", "medium", "slow", "hq", "ll", "llhq", "hp")


@dataclass(frozen=True)
class Encoder:
    """One video encoder of FFmpeg."""

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
    #: Whether every sample comes back as it was, if the pixel format is kept.
    lossless: bool = False


def _nvenc(codec: str, quality: float, limit: float) -> Encoder:
    options = {"rc": "vbr", "b:v": "0", "tune": "hq"}
    return Encoder(f"{codec}_nvenc", "cq", (0, limit), quality, "preset", _NVENC_PRESETS, "p5", options)


_KNOWN = {
    encoder.name: encoder
    for encoder in (
        Encoder("libx264", "crf", (0, 51), 16, "preset", _X26X_PRESETS, "medium"),
        Encoder("libx264rgb", "crf", (0, 51), 16, "preset", _X26X_PRESETS, "medium"),
        Encoder("libx265", "crf", (0, 51), 16, "preset", _X26X_PRESETS, "medium", {"x265-params": "log-level=error"}),
        Encoder("libsvtav1", "crf", (1, 63), 20, "preset", tuple(map(str, range(14))), "6"),
        Encoder("libaom-av1", "crf", (0, 63), 18, "cpu-used", tuple(map(str, range(9))), "6", {"row-mt": "1"}),
        Encoder(
            "libvpx-vp9", "crf", (0, 63), 18, "cpu-used", tuple(map(str, range(9))), "3",
            {"b:v": "0", "row-mt": "1", "deadline": "good"},
        ),
        Encoder("libvpx", "crf", (4, 63), 8, "cpu-used", tuple(map(str, range(6))), "2", {"b:v": "20M"}),
        Encoder("ffv1", options={"level": "3", "g": "1", "slicecrc": "1"}, lossless=True),
        Encoder("prores_ks", "qscale", (1, 32), None, options={"vendor": "apl0"}),
        Encoder("libtheora", "qscale", (0, 10), 9),
        Encoder("h264_videotoolbox", "qscale", (1, 100), 75),
        Encoder("hevc_videotoolbox", "qscale", (1, 100), 75),
        Encoder("libwebp", "quality", (0, 100), 95),
        Encoder("libwebp_anim", "quality", (0, 100), 95),
        Encoder("png", options={"pred": "mixed"}, lossless=True),
        Encoder("apng", options={"pred": "mixed"}, lossless=True),
        Encoder("tiff", options={"compression_algo": "deflate"}, lossless=True),
        Encoder("gif"),
        Encoder("mjpeg", "qscale", (1, 31), 1, options={"qmin": "1"}),
        Encoder("rawvideo", lossless=True),
        Encoder("wrapped_avframe", lossless=True),
        _nvenc("h264", 17, 51),
        _nvenc("hevc", 18, 51),
        _nvenc("av1", 22, 63),
    )
}  # fmt: skip

#: What people say, and the encoders that are meant, best first. Other names are FFmpeg's own.
FRIENDLY_NAMES: dict[str, tuple[str, ...]] = {
    "h264": ("libx264", "libx264rgb"), "x264": ("libx264", "libx264rgb"), "avc": ("libx264", "libx264rgb"),
    "h265": ("libx265",), "hevc": ("libx265",), "x265": ("libx265",),
    "av1": ("libsvtav1", "libaom-av1"), "vp9": ("libvpx-vp9",), "vp8": ("libvpx",),
    "prores": ("prores_ks",), "webp": ("libwebp_anim", "libwebp"), "jpeg": ("mjpeg",), "jpg": ("mjpeg",),
    "nvenc": ("h264_nvenc", "hevc_nvenc", "av1_nvenc"),
}  # fmt: skip
#: NVENC where it really opens, else the default of the container.
AUTO_GPU = "auto-gpu"


def find_encoder(name: str) -> Encoder:
    """The encoder by FFmpeg's name. One we do not know well takes what its own option list shows."""
    if name in _KNOWN:
        return _KNOWN[name]
    details = encoder_details(name)
    own = details.options if details else frozenset()
    preset = "preset" if "preset" in own else None
    if "crf" in own:
        return Encoder(name, "crf", (0, float("inf")), preset_option=preset)
    # The MPEG family; left alone, FFmpeg would squeeze them into 200 kbit/s.
    return Encoder(name, "qscale", (1, 31), 2, preset_option=preset)
