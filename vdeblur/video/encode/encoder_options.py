"""Encoder settings: FFmpeg options for quality, speed, colour tags, filters and HDR metadata of one encoder."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vdeblur.errors import UsageError
from vdeblur.frames import Colour
from vdeblur.video.encode.containers import Container
from vdeblur.video.encode.encoders import Encoder
from vdeblur.video.encode.raw_video import RawVideoSpec, mastering_display_text
from vdeblur.video.ffmpeg.executable import has_option
from vdeblur.video.formats.pixel_formats import canonical_format

#: Encoders that code fields want to be asked for it; the others do not mind.
INTERLACED_FLAGS = "+ildct+ilme"
#: Untagged video of so many lines is BT.709.
_HD_LINES = 720
#: The finest conversion swscale has; used only where the encoder cannot have the frames as they are.
_CONVERSION = "lanczos+accurate_rnd+full_chroma_int+full_chroma_inp"


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """User's encoding options; ``None`` = chosen by container and source."""

    #: "h264", "hevc", "h265", "av1", "vp9", "ffv1", "prores", "nvenc", "auto-gpu" or any encoder name of FFmpeg.
    codec: str | None = None
    #: Constant quality on the encoder's own scale; for H.264 and HEVC 0 to 51, smaller is better.
    crf: float | None = None
    #: Speed against size, in the encoder's own words, e.g. "slow".
    preset: str | None = None
    #: FFmpeg pixel format, e.g. "yuv420p" to give up alpha or depth.
    pixel_format: str | None = None
    #: Further FFmpeg output options, e.g. ("-tune", "grain") or ("-c:a", "aac"). They have the last word.
    ffmpeg_args: tuple[str, ...] = ()
    #: Container where the target's name does not say it, e.g. "matroska" for a pipe.
    container: str | None = None
    #: Streams to leave out: kinds ("attachment", "subtitle", "audio", "data", "video", "cover") or indexes ("3").
    drop: tuple[str, ...] = ()


@dataclass(frozen=True)
class EncoderSettings:
    """FFmpeg options for one encoder and its raw input, without dashes."""

    encoder: Encoder
    pixel_format: str
    #: Input options of the raw frames.
    input_options: dict[str, str | None]
    #: Output options of the video stream, without stream specifier.
    options: dict[str, str]
    #: FFmpeg is told "limited range" of full-range samples, so that it does not convert them.
    hides_full_range: bool
    #: The pixel format, matrix or range is converted, so samples change.
    converts: bool
    #: Full range becomes limited range, because the encoder cannot say it.
    limits_range: bool = False
    #: Limited range becomes full range, because the encoder knows no other.
    widens_range: bool = False


def encoder_settings(
    container: Container,
    spec: RawVideoSpec,
    encoder: Encoder,
    pixel_format: str,
    options: EncodeOptions,
    *,
    limit_range: bool = False,
) -> EncoderSettings:
    """Build the settings of an encoder for raw video; ``limit_range`` converts full-range YUV to limited range.

    Raises:
        UsageError: it does not take the quality or the preset asked for.
    """
    told = _told_colour(spec, encoder, pixel_format)
    filters, converts = _filters(spec, encoder, pixel_format, limit_range=limit_range)
    ticks = container.encoder_time_base(spec)
    chosen = {
        "c": encoder.name,
        "pix_fmt": pixel_format,
        "fps_mode": "passthrough",
        "enc_time_base": f"{ticks.numerator}:{ticks.denominator}",
        **encoder.options,
        **container.encoder_options,
        **_quality_options(encoder, options),
        **_particular_options(container, spec, encoder, pixel_format, options),
    }
    _tell_hdr(encoder, spec, chosen)
    if spec.field_order is not None:
        chosen["flags"] = INTERLACED_FLAGS
    if filters:
        chosen["filter"] = ",".join(filters)
    hides = told.range != spec.colour.range
    widens = spec.format.family == "yuv" and encoder.bt601_range == "pc" != spec.colour.range
    return EncoderSettings(
        encoder, pixel_format, spec.input_options(told), chosen, hides, converts, limit_range, widens
    )


def check_quality(encoder: Encoder, options: EncodeOptions) -> None:
    """Refuse a quality or preset that the encoder does not take.

    Raises:
        UsageError: it does not.
    """
    _quality_options(encoder, options)


def _quality_options(encoder: Encoder, options: EncodeOptions) -> dict[str, str]:
    quality, preset = _quality(encoder, options), _preset(encoder, options)
    chosen = {}
    if quality is not None and encoder.quality_option is not None:
        chosen[encoder.quality_option] = f"{quality:g}"
    if preset is not None and encoder.preset_option is not None:
        chosen[encoder.preset_option] = preset
    return chosen


def _quality(encoder: Encoder, options: EncodeOptions) -> float | None:
    if options.crf is None:
        return encoder.quality
    if encoder.quality_option is None:
        kind = "is lossless and" if encoder.lossless else "has one quality and"
        raise UsageError(f"{encoder.name} {kind} takes no crf; leave crf={options.crf:g} out or choose another codec")
    low, high = encoder.quality_range
    if not low <= options.crf <= high:
        raise UsageError(f"crf {options.crf:g} is out of range for {encoder.name}; it takes {low:g} to {high:g}")
    return options.crf


def _preset(encoder: Encoder, options: EncodeOptions) -> str | None:
    if options.preset is None:
        return encoder.preset
    if encoder.preset_option is None:
        raise UsageError(f"{encoder.name} has no presets; leave preset={options.preset!r} out")
    if encoder.presets and options.preset not in encoder.presets:
        known = ", ".join(encoder.presets)
        raise UsageError(f"{encoder.name} has no preset {options.preset!r}; choose one of {known}")
    return options.preset


def _particular_options(
    container: Container, spec: RawVideoSpec, encoder: Encoder, pixel_format: str, options: EncodeOptions
) -> dict[str, str]:
    """Options particular to this encoder, for these frames in this container."""
    chosen = dict(encoder.options_for(spec, pixel_format))
    if encoder.iso_tag is not None and container.iso_base_media:
        chosen["tag"] = encoder.iso_tag
    if spec.format.family == "rgb" and options.crf is None:
        chosen |= encoder.rgb_options
    if encoder.range_filter is not None and is_limited_rgb(spec, pixel_format):
        chosen["bsf"] = f"{encoder.range_filter}=video_full_range_flag=0"
    return chosen


def is_limited_rgb(spec: RawVideoSpec, pixel_format: str) -> bool:
    """Whether R'G'B' samples of limited range are encoded as they are."""
    families = (spec.format.family, canonical_format(pixel_format).family)
    return families == ("rgb", "rgb") and spec.colour.range == "tv"


def _tell_hdr(encoder: Encoder, spec: RawVideoSpec, chosen: dict[str, str]) -> None:
    """Add static HDR metadata as text for encoder libraries; FFmpeg 9 and newer passes it on as side data."""
    words = encoder.hdr_parameters
    if words is None or has_option("mastering_display"):
        return
    display, light = mastering_display_text(spec.mastering_display, decimal=words.decimal), spec.content_light
    parameters = [chosen[words.option]] if words.option in chosen else []
    if display is not None:
        parameters.append(f"{words.mastering_display}={display}")
    if light is not None:
        parameters.append(f"{words.content_light}={light.max_content},{light.max_average}")
    if parameters:
        chosen[words.option] = ":".join(parameters)


def _told_colour(spec: RawVideoSpec, encoder: Encoder, pixel_format: str) -> Colour:
    """Colour tags of the raw input, as FFmpeg is told them.

    Some lossless encoders cannot say "full range", and FFmpeg would convert the samples; they are said to be limited.
    A matrix must be known to make RGB of YUV; where the source does not say, its size does, as everywhere else.
    """
    colour = spec.colour
    if spec.format.family != "yuv":
        return colour
    if encoder.full_range != "said" and colour.range == "pc":
        return replace(colour, range="tv")
    needs_matrix = encoder.bt601_range is not None or canonical_format(pixel_format).family == "rgb"
    if colour.matrix is None and needs_matrix:
        return replace(colour, matrix="bt709" if spec.height >= _HD_LINES else "smpte170m")
    return colour


def _filters(spec: RawVideoSpec, encoder: Encoder, pixel_format: str, *, limit_range: bool) -> tuple[list[str], bool]:
    """Filters in front of the encoder, and whether they change samples."""
    filters = []
    scale = {}
    target = canonical_format(pixel_format)
    if target != spec.format and encoder.palette_filter is None:
        scale["flags"] = _CONVERSION
    if encoder.bt601_range is not None and spec.format.family == target.family == "yuv":
        scale |= {"out_color_matrix": "bt601", "out_range": encoder.bt601_range}
    elif spec.format.family == "rgb" and target.family == "yuv" and encoder.bt601_range is None:
        # Said as well as done: a player that is not told guesses by the size.
        scale |= {"out_color_matrix": "bt709" if spec.height >= _HD_LINES else "bt601", "out_range": "tv"}
    elif limit_range:
        scale |= {"flags": _CONVERSION, "out_range": "tv"}
    if spec.field_order is not None:
        filters.append(f"setfield={spec.field_order}")
        if scale:
            scale["interl"] = "1"  # the chroma of a field lies in that field
    if scale:
        filters += ["scale=" + ":".join(f"{name}={value}" for name, value in scale.items()), f"format={pixel_format}"]
    if shape := spec.sample_aspect_ratio:
        filters.append(f"setsar=sar={shape.numerator}/{shape.denominator}:max={2**30}")
    if encoder.palette_filter is not None:
        filters.append(encoder.palette_filter)
    return filters, bool(scale) or encoder.palette_filter is not None
