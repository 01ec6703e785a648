"""The choice of the encoder: from what was asked, what the container suits and what the frames are."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

from vdeblur.errors import SourceError, UsageError
from vdeblur.frames import Colour, PixelFormat
from vdeblur.video.containers import Container
from vdeblur.video.encoders import AUTO_GPU, FRIENDLY_NAMES, Encoder, find_encoder
from vdeblur.video.ffmpeg import encoder_details, encoder_opens, has_option, video_encoders
from vdeblur.video.fitting import fitting_format
from vdeblur.video.formats import canonical_format
from vdeblur.video.picture import Picture, mastering_text
from vdeblur.video.trial import Trial, trial_of

#: Lossless encoders before which FFmpeg converts full-range YUV to limited range.
_UNABLE_TO_SAY_FULL_RANGE = frozenset({"ffv1", "ffvhuff", "huffyuv", "utvideo", "magicyuv"})
#: Kinds of picture that are always read as BT.601, and their range.
_BT601_PICTURES = {"mjpeg": "pc", "libwebp": "tv", "libwebp_anim": "tv"}
#: Untagged video of so many lines is BT.709.
_HD_LINES = 720


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """How the restored video is encoded; ``None`` = what suits the container and the source."""

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
class VideoPlan:
    """How the frames are encoded."""

    encoder: str
    pixel_format: str
    #: Input options of the raw frames, without dashes.
    input_options: dict[str, str | None]
    #: Output options of the video stream, without dashes and stream specifier.
    options: dict[str, str]
    #: The container must still be told that the samples use the full range.
    mark_full_range: bool
    #: What will not be as in the source, for people.
    notes: tuple[str, ...]


def plan_video(container: Container, picture: Picture, options: EncodeOptions, *, seekable: bool = True) -> VideoPlan:
    """Choose and try out the encoder for frames described by ``picture`` in ``container``.

    Left to choose, it takes the first encoder that gives every sample's place and depth back; a codec that was asked
    for by name may also hold them in its nearest format, which is noted.

    Raises:
        UsageError: the codec is unknown or does not work here, cannot be in this container, cannot hold these frames,
            or does not take the preset, quality or pixel format asked for.
    """
    wanted = _wanted_format(picture.format, options.pixel_format)
    named, encoders = _candidates(container, wanted, options)
    failures: dict[str, str] = {}
    for exact in (True, False):
        fallback = encoders if named else tuple(map(find_encoder, container.fallback))
        for encoder in encoders if exact else fallback:
            pixel_format = _pixel_format(encoder, wanted, options.pixel_format, exact=exact)
            if pixel_format is None:
                continue
            converts = canonical_format(pixel_format) != picture.format
            told = _told_colour(picture, encoder, pixel_format)
            input_options = picture.input_options(told)
            video_options = _video_options(container, picture, encoder, pixel_format, options)
            trial = trial_of(
                container, picture, input_options, video_options, options.ffmpeg_args, seekable=seekable,
                lossless=encoder.lossless and not converts,
            )  # fmt: skip
            if trial.failure is None and not (exact and _differs(trial, wanted, encoder)):
                mark = told.range != picture.colour.range and container.muxer == "matroska" and seekable
                notes = _notes(container, picture, pixel_format, trial, encoder, failures, mark)
                return VideoPlan(encoder.name, pixel_format, input_options, video_options, mark, notes)
            failures[encoder.name] = trial.failure or "gives other samples back"
    raise UsageError(_refusal(container, picture, wanted, options, failures))


def _wanted_format(frames: PixelFormat, asked: str | None) -> PixelFormat:
    if asked is None:
        return frames
    try:
        return canonical_format(asked)
    except SourceError as exc:
        raise UsageError(f"no pixel format {asked!r}; for example yuv420p, yuv422p10le or gbrp") from exc


def _candidates(container: Container, wanted: PixelFormat, options: EncodeOptions) -> tuple[bool, tuple[Encoder, ...]]:
    """Whether the codec was asked for by name, and the encoders to try, best first."""
    named = options.codec is not None and options.codec.lower() != AUTO_GPU
    if named:
        names = _named_encoders(str(options.codec))
    else:
        names = container.suitable_encoders(wanted)
        if options.codec is not None:
            names = (*_nvenc_that_opens(), *names)
    encoders = tuple(find_encoder(name) for name in names if encoder_details(name) is not None)
    if named:
        # A wrong preset or quality is said at once, whatever becomes of the rest.
        for encoder in encoders:
            _quality(encoder, options)
            _preset(encoder, options)
    return named, encoders


def _named_encoders(codec: str) -> tuple[str, ...]:
    known = video_encoders()
    names = tuple(name for name in FRIENDLY_NAMES.get(codec.lower(), (codec,)) if name in known)
    if not names:
        near = difflib.get_close_matches(codec.lower(), [*FRIENDLY_NAMES, *known], n=1)
        hint = f"did you mean {near[0]!r}?" if near else "for example h264, hevc, av1, vp9, ffv1 or prores"
        raise UsageError(f"this FFmpeg has no video encoder {codec!r}; {hint}")
    if codec.lower() == "nvenc" and not (names := _nvenc_that_opens()):
        raise UsageError("NVENC does not open on this machine; 'auto-gpu' uses it where it does, 'h264' needs no GPU")
    return names


def _nvenc_that_opens() -> tuple[str, ...]:
    return tuple(name for name in FRIENDLY_NAMES["nvenc"] if encoder_opens(name, "yuv420p"))


def _pixel_format(encoder: Encoder, wanted: PixelFormat, asked: str | None, *, exact: bool) -> str | None:
    if asked is None:
        return fitting_format(encoder, wanted, exact=exact)
    details = encoder_details(encoder.name)
    takes = details is not None and (not details.pixel_formats or asked in details.pixel_formats)
    return asked if takes else fitting_format(encoder, wanted, exact=True) if exact else None


def _told_colour(picture: Picture, encoder: Encoder, pixel_format: str) -> Colour:
    """The colour FFmpeg is told the frames have.

    Some lossless encoders cannot say "full range", and FFmpeg would convert the samples; they are said to be limited.
    A matrix must be known to make RGB of YUV; where the source does not say, its size does, as everywhere else.
    """
    colour = picture.colour
    if picture.format.family != "yuv":
        return colour
    if encoder.name in _UNABLE_TO_SAY_FULL_RANGE and colour.range == "pc":
        return replace(colour, range="tv")
    if colour.matrix is None and _fixed_matrix(encoder, pixel_format):
        return replace(colour, matrix="bt709" if picture.height >= _HD_LINES else "smpte170m")
    return colour


def _fixed_matrix(encoder: Encoder, pixel_format: str) -> bool:
    """Whether readers of the result use one matrix whatever it says: RGB, JPEG and WebP."""
    return encoder.name in _BT601_PICTURES or canonical_format(pixel_format).family == "rgb" or encoder.name == "gif"


def _video_options(
    container: Container, picture: Picture, encoder: Encoder, pixel_format: str, options: EncodeOptions
) -> dict[str, str]:
    """All output options of the stream of frames; quality and preset are checked against what the encoder takes."""
    ticks = container.encoder_time_base(picture)
    chosen = {
        "c": encoder.name,
        "pix_fmt": pixel_format,
        "fps_mode": "passthrough",
        "enc_time_base": f"{ticks.numerator}:{ticks.denominator}",
        **encoder.options,
        **container.encoder_options,
    }
    if (quality := _quality(encoder, options)) is not None and encoder.quality_option:
        chosen[encoder.quality_option] = f"{quality:g}"
    if (preset := _preset(encoder, options)) is not None and encoder.preset_option:
        chosen[encoder.preset_option] = preset
    if encoder.name in ("libx265", "hevc_nvenc") and container.is_mov:
        chosen["tag"] = "hvc1"
    if encoder.name == "prores_ks":
        chosen["profile"] = "3" if "422" in pixel_format else "4"
    if encoder.name.startswith("libwebp") and picture.format.family == "rgb" and options.crf is None:
        chosen["lossless"] = "1"
    _tell_hdr(encoder, picture, chosen)
    if filters := _filters(picture, encoder, pixel_format):
        chosen["filter"] = filters
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


def _tell_hdr(encoder: Encoder, picture: Picture, chosen: dict[str, str]) -> None:
    """Give HDR metadata to the encoders that take it as text; only needed before FFmpeg 9."""
    display, light = mastering_text(picture.mastering_display), picture.content_light
    words = {"libx265": ("master-display", "max-cll"), "libsvtav1": ("mastering-display", "content-light")}
    if has_option("mastering_display") or encoder.name not in words:
        return
    name = encoder.name.removeprefix("lib") + "-params"
    parameters = [chosen[name]] if name in chosen else []
    if display is not None:
        parameters.append(f"{words[encoder.name][0]}={display}")
    if light is not None:
        parameters.append(f"{words[encoder.name][1]}={light.max_content},{light.max_average}")
    if parameters:
        chosen[name] = ":".join(parameters)


def _filters(picture: Picture, encoder: Encoder, pixel_format: str) -> str:
    filters = []
    scale = {}
    if canonical_format(pixel_format) != picture.format and encoder.name != "gif":
        scale["flags"] = "lanczos+accurate_rnd+full_chroma_int+full_chroma_inp"
    if encoder.name in _BT601_PICTURES and picture.format.family == canonical_format(pixel_format).family == "yuv":
        scale |= {"out_color_matrix": "bt601", "out_range": _BT601_PICTURES[encoder.name]}
    if scale:
        filters += ["scale=" + ":".join(f"{name}={value}" for name, value in scale.items()), f"format={pixel_format}"]
    if shape := picture.sample_aspect_ratio:
        filters.append(f"setsar=sar={shape.numerator}/{shape.denominator}:max={2**30}")
    if encoder.name == "gif":
        # A palette for every frame: one for all would have to wait for the last frame.
        filters.append("split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1")
    return ",".join(filters)


def _differs(trial: Trial, wanted: PixelFormat, encoder: Encoder) -> bool:
    """Whether the samples that were read back have another place or depth than those that went in."""
    back = trial.read_back
    if back is None or back == wanted:
        return False
    # VP8 and VP9 keep alpha in a second stream that only libvpx decodes.
    alpha_lost = wanted.alpha and not back.alpha and not encoder.name.startswith("libvpx")
    if wanted.family == "gray":
        # H.264 without chroma is decoded with neutral chroma.
        return alpha_lost or back.bits < wanted.bits
    # ProRes 4444 is always decoded to twelve bits.
    return (
        alpha_lost
        or back.bits < wanted.bits
        or (back.family, back.chroma_shift) != (wanted.family, wanted.chroma_shift)
    )


def _notes(
    container: Container,
    picture: Picture,
    pixel_format: str,
    trial: Trial,
    encoder: Encoder,
    failures: dict[str, str],
    mark: bool,
) -> tuple[str, ...]:
    notes = [f"{name} {reason}; encoded with {encoder.name} instead" for name, reason in list(failures.items())[:1]]
    if canonical_format(pixel_format) != picture.format:
        notes.append(f"{picture.format.name} frames are converted to {pixel_format}")
    if encoder.name == "gif":
        notes.append("GIF has 256 colours a frame and no half-transparency")
    if lost := [what for what in trial.lost if not (mark and what == "full range")]:
        notes.append(f"{encoder.name} in {container.name} does not keep: {', '.join(lost)}")
    return tuple(notes)


def _refusal(
    container: Container, picture: Picture, wanted: PixelFormat, options: EncodeOptions, failures: dict[str, str]
) -> str:
    """One line: what cannot be, why, and what would be right."""
    what = f"{picture.width}×{picture.height} {picture.format.name} frames"
    codec = f" with codec {options.codec!r}" if options.codec else ""
    reason = "".join(f": {name} says: {reason}" for name, reason in list(failures.items())[:1])
    if wanted.alpha:
        hint = "write to .mkv, .mov or .webm, or give alpha up with pixel_format='yuv420p'"
    elif options.codec or options.preset or options.ffmpeg_args:
        hint = f"for {container.name} choose one of {', '.join(container.suitable_encoders(wanted)) or 'no codec'}"
    else:
        hint = "write to .mkv, which holds everything, or pass pixel_format='yuv420p'"
    return f"cannot encode {what}{codec} into {container.name}{reason}; {hint}"
