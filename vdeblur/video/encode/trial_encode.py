"""Trial encode: a few frames through the real encoder, options and muxer, read back and compared.

So a refusal comes before any work, and the properties that a pair of encoder and container loses are known and noted.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from vdeblur.errors import SourceError
from vdeblur.frames import Frame, PixelFormat
from vdeblur.video.encode.containers import Container
from vdeblur.video.encode.encoder_options import EncoderSettings
from vdeblur.video.encode.raw_video import RawMuxer, RawVideoSpec, flat_frame
from vdeblur.video.ffmpeg.command import Input, Output, OutputStream, build_command, file_url
from vdeblur.video.ffmpeg.executable import find_ffmpeg, run_ffmpeg
from vdeblur.video.source.reader import Reader
from vdeblur.video.temp_folders import scratch_folder

_log = logging.getLogger(__name__)

#: Frames of a trial: fewer make files so short that FFmpeg does not know some containers again.
_FRAMES = 5
#: Above this two frames are long enough, and above that more than one would take too much memory.
_LARGE_PX, _HUGE_PX = 1 << 20, 1 << 24
#: Times that differ by less are the same: seconds are floats when they are read back.
_SAME_TIME_SECONDS = Fraction(1, 1_000_000)
#: Names of lost properties that other modules ask for.
EXACT_TIMES, FULL_RANGE, LIMITED_RANGE = "exact times", "full range", "limited range"
#: Why an encoder is of no use for interlaced video.
NO_FIELDS = "does not mark interlaced frames as such"


@dataclass(frozen=True)
class TrialResult:
    """Result of a trial encode: the failure, or the properties that were lost."""

    failure: str | None
    #: Pixel format that was read back.
    read_back: PixelFormat | None = None
    #: What did not come back as it was: "colour range", "rotation" …
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrialVideo:
    """A few flat frames for a muxer that writes nothing without the video, and FFmpeg's options for them."""

    data: bytes
    input_options: Mapping[str, str | None]
    options: Mapping[str, str]


def trial_video(spec: RawVideoSpec, input_options: Mapping[str, str | None], options: Mapping[str, str]) -> TrialVideo:
    """A few frames of this kind, to be encoded with these options."""
    gap = max(1, round(1 / spec.nominal_rate / spec.time_base))
    return TrialVideo(_frames(spec, tuple(index * gap for index in range(_FRAMES))), input_options, options)


@dataclass(frozen=True)
class _Setup:
    """Everything a trial depends on, hashable; options are without dashes."""

    spec: RawVideoSpec
    muxer: str
    #: Ending of the file, by which FFmpeg knows some kinds of picture.
    ending: str
    input_options: tuple[tuple[str, str | None], ...]
    video_options: tuple[tuple[str, str], ...]
    output_options: tuple[tuple[str, str], ...]
    extra: tuple[str, ...]
    #: A single frame is tried: images have no timestamps.
    single: bool
    #: Every sample must come back as it was.
    lossless: bool
    #: By how much times may differ.
    tolerance_seconds: Fraction


def run_trial(
    container: Container, spec: RawVideoSpec, settings: EncoderSettings, extra: Sequence[str], *, seekable: bool
) -> TrialResult:
    """Encode with the real settings into the real container, and read the file back; cached.

    A trial that a signal ended (out of memory, a limit of the system) says nothing of the settings, and is not kept.
    """
    output_options = container.output_options(spec, seekable=seekable)
    if container.one_file_a_frame:
        output_options["update"] = "1"
    # Half a tick is what rounding may cost; more is a fault.
    tolerance = (container.tick or Fraction(0)) / 2 + _SAME_TIME_SECONDS
    setup = _Setup(
        spec, container.muxer, next(iter(container.endings), container.muxer),
        tuple(settings.input_options.items()), tuple(settings.options.items()),
        tuple(output_options.items()), tuple(extra), container.only_pictures,
        settings.encoder.lossless and not settings.converts, tolerance,
    )  # fmt: skip
    try:
        return _try(find_ffmpeg(), setup)
    except _EndedBySignal as exc:
        return TrialResult(str(exc))


class _EndedBySignal(Exception):
    """FFmpeg was ended from outside; an exception, which the cache does not keep."""


@lru_cache(maxsize=64)
def _try(program: Path, setup: _Setup) -> TrialResult:
    _log.debug("trying %s with %s", dict(setup.video_options)["c"], program)
    with scratch_folder() as folder:
        target = Path(folder) / f"trial.{setup.ending}"
        stream = OutputStream(0, from_pipe=True, options=dict(setup.video_options))
        output = Output(file_url(str(target)), setup.muxer, dict(setup.output_options), extra=setup.extra)
        command = build_command(Input("pipe:0", dict(setup.input_options)), [stream], output)
        times = _times(setup)
        finished = run_ffmpeg(command[1:], data=_frames(setup.spec, times))
        if finished.returncode < 0:
            raise _EndedBySignal(finished.reason)
        if finished.returncode:
            return TrialResult(finished.reason)
        return _look_at(target, setup, times)


def _times(setup: _Setup) -> tuple[int, ...]:
    """Timestamps one frame apart; a single one for image files and huge frames."""
    spec = setup.spec
    area = spec.width * spec.height
    count = 1 if setup.single or area > _HUGE_PX else 2 if area > _LARGE_PX else _FRAMES
    gap = max(1, round(1 / spec.nominal_rate / spec.time_base))
    return tuple(index * gap for index in range(count))


def _frames(spec: RawVideoSpec, times: Sequence[int]) -> bytes:
    sink = io.BytesIO()
    muxer = RawMuxer(sink, spec)
    for pts, level in zip(times, _levels(times), strict=True):
        muxer.write(flat_frame(spec, pts, level), pts)
    muxer.close()
    return sink.getvalue()


def _levels(times: Sequence[int]) -> list[int]:
    """One sample value for each frame; none is the same in limited and full range."""
    return [64 + 16 * index for index in range(len(times))]


def _is_flat(frame: Frame, level: int) -> bool:
    return all((plane == level).all() for plane in frame.planes)


def _has_filters(extra: Sequence[str]) -> bool:
    """Whether the user's own options contain filters, which may deinterlace."""
    return any(word.lstrip("-").split(":")[0] in ("vf", "filter", "filter_complex") for word in extra)


def _look_at(target: Path, setup: _Setup, times: Sequence[int]) -> TrialResult:
    """Read the file back and compare it with the input."""
    spec = setup.spec
    try:
        with Reader(target, threads=1) as reader:
            video = reader.info.video
            frames = list(reader)
    except SourceError as exc:
        return TrialResult(f"makes a file that cannot be read: {exc}")
    # The user's own filters may change the size; they know what they do.
    if not setup.extra and (video.width, video.height) != (spec.width, spec.height):
        return TrialResult(f"makes the picture {video.width}×{video.height} instead of {spec.width}×{spec.height}")
    other = RawVideoSpec.of(
        video, frame_format=video.format, colour=video.colour, width=video.width, height=video.height,
        time_base=video.time_base,
    )  # fmt: skip
    lost = list(spec.differences(other))
    if spec.field_order not in (None, video.interlacing.order) and not _has_filters(setup.extra):
        return TrialResult(NO_FIELDS)
    if setup.lossless and not setup.extra and not all(map(_is_flat, frames, _levels(times))):
        return TrialResult("changes samples")
    seen = [frame.pts * frame.time_base for frame in frames]
    shown = [pts * spec.time_base for pts in times]
    if len(times) > 1 and any(abs(a - b) > setup.tolerance_seconds for a, b in zip(seen, shown, strict=False)):
        lost.append(EXACT_TIMES)
    return TrialResult(None, video.format, tuple(lost))
