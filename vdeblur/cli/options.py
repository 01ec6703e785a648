"""Run options: one frozen dataclass, merged from a YAML config and the command line, and validated once."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import shlex
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from vdeblur.config import WEIGHTS_FOLDER, load_config
from vdeblur.errors import UsageError
from vdeblur.options import GUIDE_MODES, InterlacedMode, RestoreOptions, SizeChange

_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d+)?)")


@dataclass(frozen=True, kw_only=True)
class RunOptions(RestoreOptions):
    """Options of a run: those of the restoration, of input, output and messages; the keys of ``--config``.

    Raises:
        UsageError: a value is out of its range; the message shows the range.
    """

    model: str = RestoreOptions.model
    #: File, folder, or "-" for standard output.
    output: str | None = None
    #: Replace existing files: true, false (skip them), or ask.
    overwrite: bool | None = None
    #: Show before and after: both beside each other, or each half of the picture.
    compare: Literal["side", "split"] | None = None
    #: A .png or .svg file for the sharpness of each frame.
    plot: str | None = None
    #: Container where the output's name does not say it.
    format: str | None = None
    #: Seconds, or a time like "1:30" or "00:01:30.500".
    start: float | str | None = None
    duration: float | str | None = None
    #: Frames a second of picture sequences, e.g. 25 or "30000/1001".
    frame_rate: float | str | None = None
    #: What to do with interlaced video.
    interlaced: InterlacedMode = "keep"
    #: What to do where the size or the pixel format changes in mid-stream.
    size_change: SizeChange = "stop"
    #: Number of the video stream to restore, as `vdeblur info` lists them.
    video: int | None = None
    #: Of folders, also take the videos in the folders below.
    recursive: bool = False
    #: Open inputs that are URLs.
    allow_network: bool = False
    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    pix_fmt: str | None = None
    #: Streams to leave out.
    drop: tuple[str, ...] = ()
    #: Strings of further FFmpeg output options, each split as a shell would.
    ffmpeg_args: tuple[str, ...] = ()
    #: Go on with interrupted jobs.
    resume: bool = False
    #: Seconds of work after which what is done outlives a crash, or "off".
    segments: float | str = 60.0
    json: bool = False
    quiet: bool = False
    verbose: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crf is not None and not (math.isfinite(self.crf) and self.crf >= 0):
            raise UsageError(f"crf cannot be {self.crf:g}; for H.264 and HEVC it is 0 (best) to 51")
        if self.video is not None and self.video < 0:
            raise UsageError(f"video cannot be {self.video}; it is the number of a stream, from 0 (see vdeblur info)")
        if self.duration_seconds == 0:
            raise UsageError("duration cannot be 0; it is a time above 0")
        if self.resume and self.segment_seconds is None:
            raise UsageError("resume and segments off exclude each other; choose one")
        if self.plot is not None and Path(self.plot).suffix.lower() not in (".png", ".svg"):
            raise UsageError(f"the plot cannot be {self.plot}: end it in .png or .svg")
        if self.quiet and self.verbose:
            raise UsageError("quiet and verbose exclude each other; choose one")
        _ = self.start_seconds, self.rate, self.ffmpeg_arguments

    @property
    def start_seconds(self) -> float | None:
        return None if self.start is None else parse_seconds("start", self.start)

    @property
    def duration_seconds(self) -> float | None:
        return None if self.duration is None else parse_seconds("duration", self.duration)

    @property
    def segment_seconds(self) -> float | None:
        """``segments`` as seconds; ``None`` = off."""
        # YAML reads a bare "off" as false.
        return None if self.segments in ("off", False) else parse_seconds("segments", self.segments)

    @property
    def rate(self) -> Fraction | None:
        """``frame_rate`` as an exact fraction."""
        return None if self.frame_rate is None else parse_rate(self.frame_rate)

    @property
    def ffmpeg_arguments(self) -> tuple[str, ...]:
        """``ffmpeg_args`` split into single arguments."""
        try:
            return tuple(argument for words in self.ffmpeg_args for argument in shlex.split(words))
        except ValueError as exc:
            raise UsageError(f"ffmpeg_args cannot be split: {exc}; write it as in a shell, e.g. '-tune grain'") from exc


def merge_options(config: Path | None, given: dict[str, Any]) -> RunOptions:
    """Merge the options of a YAML file, if there is one, with those of the command line, which take precedence.

    Raises:
        UsageError: the file cannot be read, has an unknown key or a wrong value, or a value is out of range.
    """
    base = RunOptions() if config is None else load_config(RunOptions, config)
    chosen = {name: value for name, value in given.items() if value is not None and value != ()}
    if chosen.get("quiet"):
        chosen.setdefault("verbose", False)
    if chosen.get("verbose"):
        chosen.setdefault("quiet", False)
    return dataclasses.replace(base, **chosen)


def parse_seconds(name: str, value: float | str) -> float:
    """Parse seconds from a number or a time like "1:30" or "00:01:30.500".

    Raises:
        UsageError: it is neither, or below 0.
    """
    clock = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
    if clock:
        hours, minutes, seconds = clock.groups()
        return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise UsageError(f"{name} cannot be {value!r}; it is seconds from 0 (2.5) or a time (1:30, 00:01:30.500)")
    return number


def parse_rate(value: float | str) -> Fraction:
    """Parse a frame rate like 25, 23.976 or "30000/1001" into an exact fraction.

    Raises:
        UsageError: it is none of these, or not above 0.
    """
    try:
        rate = Fraction(str(value).strip())
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise UsageError(f"frame rate cannot be {value!r}; it is above 0, to 1000, like 25, 23.976 or 30000/1001")
    return rate


def check_guide(name: str) -> None:
    """Refuse a guide whose file is missing, without loading PyTorch.

    Raises:
        UsageError: it is.
    """
    if name not in GUIDE_MODES and not Path(name).is_file():
        raise UsageError(f"guide cannot be {name!r}: there is no such file")


def check_model(name: str) -> None:
    """Refuse a network that is neither shipped nor a file, without loading PyTorch.

    Raises:
        UsageError: there is no such network; the message names those there are.
    """
    shipped = sorted(path.stem for path in WEIGHTS_FOLDER.glob("*.safetensors"))
    if name in shipped or Path(name).is_file():
        return
    near = difflib.get_close_matches(name, shipped, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose {', '.join(shipped) or 'none (no weights are installed)'}"
    raise UsageError(f"no network {name!r}; {hint}{'' if near else ' or a .safetensors file'}")
