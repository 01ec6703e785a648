"""Encoder selection: the first candidate that survives a trial encode, by request, container and pixel format."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import Literal

from vdeblur.errors import SourceError, UsageError
from vdeblur.frames import PixelFormat
from vdeblur.video.encode.containers import Container, container_of
from vdeblur.video.encode.encoder_options import (
    EncodeOptions,
    EncoderSettings,
    check_quality,
    encoder_settings,
    is_limited_rgb,
)
from vdeblur.video.encode.encoders import AUTO_GPU, NVENC, Encoder, aliases, encoders_by_alias, find_encoder
from vdeblur.video.encode.pixel_format_choice import choose_pixel_format
from vdeblur.video.encode.raw_video import RawVideoSpec
from vdeblur.video.encode.trial_encode import EXACT_TIMES, FULL_RANGE, LIMITED_RANGE, TrialResult, run_trial
from vdeblur.video.ffmpeg.executable import encoder_details, encoder_opens, video_encoders
from vdeblur.video.formats.pixel_formats import canonical_format
from vdeblur.video.photo.metadata_copy import holds_tags

#: Colours of ordinary pictures, which need no tag.
_ORDINARY = frozenset({None, "bt709", "smpte170m", "bt470bg", "iec61966-2-1"})


@dataclass(frozen=True)
class VideoPlan:
    """The chosen encoder with its options."""

    encoder: Encoder
    pixel_format: str
    #: Input options of the raw frames, without dashes.
    input_options: dict[str, str | None]
    #: Output options of the video stream, without dashes and stream specifier.
    options: dict[str, str]
    #: The finished file must still be told that the samples use this range.
    mark_range: Literal["pc", "tv"] | None
    #: Losses and conversions, for people.
    notes: tuple[str, ...]


def plan_video(container: Container, spec: RawVideoSpec, options: EncodeOptions, *, seekable: bool = True) -> VideoPlan:
    """Select the encoder for raw video in a container by trial encodes.

    Unless a codec is named, it is the first encoder that preserves sampling, bit depth and timestamps; a codec that was
    asked for by name may also use its nearest pixel format, which is noted.

    Raises:
        UsageError: the codec is unknown or does not work here, cannot be in this container, cannot hold these frames,
            or does not take the preset, quality or pixel format asked for.
    """
    failures: dict[str, str] = {}
    plan = _first_that_works(container, spec, options, failures, seekable=seekable)
    if plan is None:
        raise UsageError(_refusal(container, spec, options, failures))
    return plan


def can_hold_video(container: Container, spec: RawVideoSpec, options: EncodeOptions) -> bool:
    """Whether some encoder makes this video for a container, with these options."""
    try:
        return _first_that_works(container, spec, options, {}, seekable=True) is not None
    except UsageError:
        return False


def _first_that_works(
    container: Container, spec: RawVideoSpec, options: EncodeOptions, failures: dict[str, str], *, seekable: bool
) -> VideoPlan | None:
    """The first candidate that survives its trial; the reasons of the others are added to ``failures``.

    Raises:
        UsageError: an option that no encoder takes.
    """
    wanted = _wanted_format(spec.format, options.pixel_format)
    named, encoders = _candidates(container, wanted, options)
    for exact in (True, False):
        fallback = encoders if named else tuple(map(find_encoder, container.fallback))
        for encoder in encoders if exact else fallback:
            if encoder_details(encoder.name) is None:  # asked one by one: each costs a start of FFmpeg
                continue
            pixel_format = _pixel_format(encoder, container, wanted, options.pixel_format, exact=exact)
            if pixel_format is None:
                continue
            settings = encoder_settings(container, spec, encoder, pixel_format, options)
            if exact and settings.widens_range and not container.only_pictures:
                continue
            trial = run_trial(container, spec, settings, options.ffmpeg_args, seekable=seekable)
            unsaid = settings.hides_full_range and encoder.full_range == "unsaid"
            limited = is_limited_rgb(spec, pixel_format)
            markable = container.range_can_be_marked and seekable
            mark: Literal["pc", "tv"] | None = None if not markable else "pc" if unsaid else "tv" if limited else None
            if not exact and _hides_range(trial, settings):
                settings = encoder_settings(container, spec, encoder, pixel_format, options, limit_range=True)
                trial = run_trial(container, spec, settings, options.ffmpeg_args, seekable=seekable)
            reason = trial.failure or (_shortcoming(trial, wanted, settings) if exact else None)
            if reason is None:
                notes = _notes(container, spec, settings, trial, failures, mark, seekable=seekable)
                return VideoPlan(encoder, pixel_format, settings.input_options, settings.options, mark, notes)
            failures.setdefault(encoder.name, reason)
    return None


def _wanted_format(frames: PixelFormat, asked: str | None) -> PixelFormat:
    if asked is None:
        return frames
    try:
        return canonical_format(asked)
    except SourceError as exc:
        raise UsageError(f"no pixel format {asked!r}; for example yuv420p, yuv422p10le or gbrp") from exc


def _candidates(container: Container, wanted: PixelFormat, options: EncodeOptions) -> tuple[bool, tuple[Encoder, ...]]:
    """Whether the codec was asked for by name, and the candidate encoders, best first."""
    named = options.codec is not None and options.codec.lower() != AUTO_GPU
    names = _named_encoders(str(options.codec)) if named else container.suitable_encoders(wanted)
    if options.codec is not None and not named:
        names = (*_nvenc_that_opens(), *names)
    if named:
        # A wrong preset or quality is said at once, whatever becomes of the rest.
        for name in names:
            if encoder_details(name) is not None:
                check_quality(find_encoder(name), options)
    return named, tuple(map(find_encoder, names))


def _named_encoders(codec: str) -> tuple[str, ...]:
    if codec.lower() == NVENC:
        if names := _nvenc_that_opens():
            return names
        raise UsageError("NVENC does not open on this machine; 'auto-gpu' uses it where it does, 'h264' needs no GPU")
    known = video_encoders()
    names = tuple(name for name in encoders_by_alias(codec) if name in known)
    if not names:
        near = [name for name in difflib.get_close_matches(codec.lower(), [*aliases(), *known]) if name != codec]
        hint = f"did you mean {near[0]!r}?" if near else "for example h264, hevc, av1, vp9, ffv1 or prores"
        raise UsageError(f"this FFmpeg has no video encoder {codec!r}; {hint}")
    return names


def _nvenc_that_opens() -> tuple[str, ...]:
    return tuple(name for name in encoders_by_alias(NVENC) if encoder_opens(name, "yuv420p"))


def _pixel_format(
    encoder: Encoder, container: Container, wanted: PixelFormat, asked: str | None, *, exact: bool
) -> str | None:
    """Pixel format of the encoder; one that was asked for by name is taken as it is, or as another layout."""
    details = encoder_details(encoder.name)
    if asked is not None and details is not None and asked in details.pixel_formats:
        return asked
    return choose_pixel_format(encoder, container, wanted, exact=exact) if exact or asked is None else None


def _hides_range(trial: TrialResult, settings: EncoderSettings) -> bool:
    """Whether full-range samples would be decoded as limited range, which clips black and white."""
    return FULL_RANGE in trial.lost and not settings.encoder.lossless and not settings.converts


def _shortcoming(trial: TrialResult, wanted: PixelFormat, settings: EncoderSettings) -> str | None:
    """Reason to prefer another encoder; ``None`` = none."""
    encoder = settings.encoder
    if EXACT_TIMES in trial.lost:
        return "does not keep times exactly"
    if _hides_range(trial, settings):
        return "does not say that the range is full"
    back = trial.read_back
    if back is None or back == wanted:
        return None
    alpha_lost = wanted.alpha and not back.alpha and not encoder.alpha_beside_packets
    # H.264 without chroma is decoded with neutral chroma; ProRes 4444 is always decoded to twelve bits.
    layouts_differ = (back.family, back.chroma_shift) != (wanted.family, wanted.chroma_shift)
    if alpha_lost or back.bits < wanted.bits or (layouts_differ and wanted.family != "gray"):
        return f"gives {back.name} back"
    return None


def _notes(
    container: Container,
    spec: RawVideoSpec,
    settings: EncoderSettings,
    trial: TrialResult,
    failures: dict[str, str],
    marked: str | None,
    *,
    seekable: bool,
) -> tuple[str, ...]:
    """Notes on the choice and its losses, for people."""
    encoder, notes = settings.encoder, []
    others = dict(failures)
    others.pop(encoder.name, None)
    if others:
        name, reason = next(iter(others.items()))
        notes.append(f"encoded with {encoder.name}, for {name} {_lower(reason)}")
    if encoder.note is not None:
        notes.append(encoder.note)
    elif canonical_format(settings.pixel_format) != spec.format:
        notes.append(f"{spec.format.name} frames are converted to {settings.pixel_format}")
    if encoder.alpha_note is not None and canonical_format(settings.pixel_format).alpha:
        notes.append(encoder.alpha_note)
    if container.rounds_times(spec):
        notes.append(f"{container.name} rounds times to {container.tick} s")
    if settings.limits_range:
        notes.append("full range is converted to limited range")
    said = {FULL_RANGE} if marked == "pc" or settings.limits_range else {LIMITED_RANGE} if marked == "tv" else set()
    lost = [what for what in trial.lost if what not in said]
    if container.only_pictures and {spec.colour.primaries, spec.colour.transfer} <= _ORDINARY:
        lost = [what for what in lost if what == EXACT_TIMES or not settings.converts]
    if container.only_pictures and seekable and holds_tags(encoder.picture_file):
        # Exif says it, once the file is finished.
        lost = [what for what in lost if what not in ("rotation", "mirroring")]
    if lost:
        notes.append(f"{encoder.name} in {container.name} does not keep: {', '.join(lost)}")
    return tuple(notes)


def _lower(reason: str) -> str:
    """A reason inside a sentence: what FFmpeg says is quoted, what we say follows on."""
    return reason if reason.startswith(("does ", "gives ", "makes ", "changes ")) else f"refuses: {reason}"


def _refusal(container: Container, spec: RawVideoSpec, options: EncodeOptions, failures: dict[str, str]) -> str:
    """One line: what cannot be, why, and what would be right."""
    wanted = _wanted_format(spec.format, options.pixel_format)
    what = f"{spec.width}×{spec.height} {spec.format.name} frames"
    asked = f" with codec {options.codec!r}" if options.codec else ""
    reason = "".join(f": {name} {_lower(why)}" for name, why in list(failures.items())[:1])
    if spec.field_order is not None:
        what = f"interlaced {what}"
    return f"cannot encode {what}{asked} into {container.name}{reason}; {_ways_out(container, spec, wanted, options)}"


def _ways_out(container: Container, spec: RawVideoSpec, wanted: PixelFormat, options: EncodeOptions) -> str:
    """Remedies of a refusal; what changes an option is tried before it is named."""
    plain = "yuv420p10le" if wanted.bits > 8 else "yuv420p"
    plainer = replace(options, pixel_format=plain)
    if spec.field_order is not None:
        ways = ["write h264, ffv1 or prores (--codec) into .mkv or .mov"]
        if can_hold_video(container, replace(spec, field_order=None), options):
            ways.append("make whole frames with interlaced='frame' (--interlaced frame)")
    elif wanted.alpha:
        ways = ["write to .mkv or .mov"]
        if can_hold_video(container, spec, plainer):
            ways.append(f"give alpha up with pixel_format={plain!r} (--pix-fmt {plain})")
    elif options.codec or options.preset or options.ffmpeg_args:
        ways = [_other_options(container, spec, wanted, options)]
    else:
        ways = ["write to .mkv, which holds everything"]
        if wanted.name != plain and can_hold_video(container, spec, plainer):
            ways.append(f"pass pixel_format={plain!r} (--pix-fmt {plain})")
    return ", or ".join(ways)


def _other_options(container: Container, spec: RawVideoSpec, wanted: PixelFormat, options: EncodeOptions) -> str:
    """What to change of the options that were asked for."""
    suitable = container.suitable_encoders(wanted)
    if works := [name for name in suitable if can_hold_video(container, spec, replace(options, codec=name))]:
        return f"for {container.name} choose one of {', '.join(works)}"
    if options.ffmpeg_args and can_hold_video(container, spec, replace(options, ffmpeg_args=())):
        return "without ffmpeg_args (--ffmpeg-args) it can"
    if options.pixel_format and can_hold_video(container, spec, replace(options, pixel_format=None)):
        return "without pixel_format (--pix-fmt) it can"
    if can_hold_video(container_of("mkv"), spec, options):
        return "write to .mkv"
    return f"for {container.name} choose one of {', '.join(suitable) or 'no codec'}"
