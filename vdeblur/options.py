"""Restoration options: one table of defaults, bounds, messages and help texts, from which every interface takes them.

:class:`RestoreOptions` is that table; engine, library, command line, YAML configs, live session and page derive what
they offer from it. :class:`ReadOptions` is its counterpart for reading a source.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypedDict, TypeVar, cast, get_args

from vdeblur.errors import UsageError
from vdeblur.regions import BOUNDS as KEEP_BOUNDS
from vdeblur.regions import NONE, KeepSetting, keep_setting
from vdeblur.removal import BOUNDS as REMOVE_BOUNDS
from vdeblur.removal import NONE as NOTHING
from vdeblur.removal import RemoveSetting, remove_setting
from vdeblur.shutter import BOUNDS as SHUTTER_BOUNDS
from vdeblur.shutter import ShutterSetting, shutter_setting

F = TypeVar("F", bound=Callable[..., Any])

#: Numbers the network computes in.
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
#: Side of the tiles a frame is restored in, in pixels.
TileSize = Literal["auto", "off"] | int
LEAST_TILE = 64
#: Whether letters, logos and displays that stand still over a moving picture are found, and left as they are.
OverlayMode = Literal["auto", "off"]
OVERLAY_MODES: tuple[str, ...] = get_args(OverlayMode)
#: Standard deviation of luma's noise in levels of 8 bits, or as it is read from the picture.
NoiseSetting = Literal["auto"] | float
MOST_NOISE = 60.0
#: Ending of a guide's checkpoint.
_CHECKPOINT = ".safetensors"
GUIDE_MODES = ("auto", "off")
#: What is done with interlaced video.
InterlacedMode = Literal["keep", "frame", "field", "refuse"]
INTERLACED_MODES: tuple[str, ...] = get_args(InterlacedMode)
#: What is done when the size or the pixel format changes in mid-stream.
SizeChange = Literal["stop", "fit"]
SIZE_CHANGES: tuple[str, ...] = get_args(SizeChange)

_DEVICE = re.compile(r"auto|(cpu|cuda|mps)(:\d+)?")
#: Of a wrong value, a message shows so many characters.
_SHOWN_CHARACTERS = 160


@dataclass(frozen=True, kw_only=True)
class Option:
    """One row of the table: what an option's values may be, and how messages and help pages put it."""

    #: From text, as command lines, configs and queries have it, to a value; raises ValueError.
    parse: Callable[[Any], Any]
    #: Whether a value is within the bounds.
    accepts: Callable[[Any], bool]
    #: The bounds, as messages end.
    bounds: str
    #: Its line of a help page, with the place of the ``{default}``, and what stands for its value there.
    help: str
    metavar: str
    #: Values other than text are parsed as well: each becomes its usual form.
    normalizes: bool = False
    #: Least and greatest value of a number.
    limits: tuple[float, float] | None = None
    #: Browsers may choose it; others are the server's.
    on_page: bool = False
    #: The attribute of a Deblurrer may be set between frames; other options need another Deblurrer.
    settable: bool = False
    #: The command line takes it several times.
    repeatable: bool = False
    #: Decides what comes out beyond rounding: an interrupted job goes on only with the same.
    decisive: bool = False
    #: Its field's.
    name: str = ""

    def checked(self, value: Any) -> Any:
        """The value, converted where it is text, if it is within the bounds.

        Raises:
            UsageError: it is not; the message shows the bounds.
        """
        try:
            value = self.parse(value) if self.normalizes or isinstance(value, (str, bool)) else value
            if self.accepts(value):
                return value
        except (TypeError, ValueError):
            pass
        raise self.refusal(value)

    def refusal(self, value: Any) -> UsageError:
        """Why a value cannot be."""
        shown = repr(value)
        shown = shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}…"
        return UsageError(f"{self.name} cannot be {shown}; it is {self.bounds}")

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def json_types(self) -> tuple[type, ...]:
        """Types of its values in JSON."""
        numbers = {float: (int, float), int: (int,)}.get(cast(type, self.parse))
        return numbers or ((str, int, float) if self.normalizes else (str,))


def _row(**row: Any) -> dict[str, Option]:
    return {"option": Option(**row)}


def _number(least: float, greatest: float, *, whole: bool = False, **row: Any) -> dict[str, Option]:
    def accepts(value: Any) -> bool:
        return bool(least <= value <= greatest) and (not whole or value == int(value))

    return _row(parse=int if whole else float, accepts=accepts, limits=(least, greatest), **row)


def _tile(text: str | bool) -> int | str | bool:
    """A tile size from text; YAML takes a bare "off" for false."""
    if text is False:
        return "off"
    return int(text) if isinstance(text, str) and text.isdecimal() else text


def _switch(text: str | bool) -> str | bool:
    """A word from text; YAML takes a bare "off" for false."""
    return "off" if text is False else text


def _is_tile(value: Any) -> bool:
    return value in ("auto", "off") or (isinstance(value, int) and not isinstance(value, bool) and value >= LEAST_TILE)


def _noise(value: Any) -> Any:
    """A level of noise from text or a number."""
    if isinstance(value, bool):
        raise ValueError(f"{value} is no level")
    return value if value == "auto" else float(value)


def _is_guide(value: Any) -> bool:
    """Whether a value may stand for a guide: a word, a path, or a network that makes guides."""
    if isinstance(value, (str, Path)):
        return str(value) in GUIDE_MODES or str(value).endswith(_CHECKPOINT)
    return callable(getattr(value, "guide", None))


class ArgumentsBesideLookahead(TypedDict, total=False):
    """The options beside the model and the lookahead, which decides what ``Deblurrer.step`` returns."""

    device: str
    precision: str
    strength: float
    shutter: ShutterSetting
    tile: TileSize
    reduce: int
    overlays: OverlayMode
    keep: KeepSetting
    remove: RemoveSetting
    noise: NoiseSetting
    grain: float
    guide: Any


class RestoreArguments(ArgumentsBesideLookahead, total=False):
    """The options beside the model, as keyword arguments of those who pass them on (``Unpack[RestoreArguments]``)."""

    lookahead: int


@dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """How frames are restored; :class:`vdeblur.engine.deblurrer.Deblurrer` tells what each option does.

    Text becomes the value it stands for.

    Raises:
        UsageError: a value is out of its bounds.
    """

    #: Name of a network, path of a checkpoint, or a network.
    model: Any = field(default="fast", metadata=_row(
        parse=str, accepts=lambda value: value is not None,
        bounds="a network's name, a checkpoint's path, or a network",
        help="Network: swift, fast, balanced, quality, or a .safetensors file (default: {default}).", metavar="NAME",
        on_page=True,
    ))  # fmt: skip
    #: Beyond 1.5 the correction overshoots visibly.
    strength: float = field(default=1.0, metadata=_number(
        0.0, 1.5,
        bounds="0 (nothing) to 1.5, 1 as trained",
        help="0 (nothing) to 1.5 (default: {default}, as trained).", metavar="NUMBER",
        on_page=True, settable=True, decisive=True,
    ))  # fmt: skip
    lookahead: int = field(default=1, metadata=_number(
        0, 1, whole=True,
        bounds="0 (no delay) or 1 (one frame of delay)",
        help="Frames of the future it may see; 1: a frame later, and better (default: {default}).", metavar="0|1",
        on_page=True, settable=True, decisive=True,
    ))  # fmt: skip
    #: "auto", a share of the frame interval as a float, or a time as "1/60".
    shutter: ShutterSetting = field(default="auto", metadata=_row(
        parse=shutter_setting, accepts=lambda _: True, normalizes=True,
        bounds=SHUTTER_BOUNDS,
        help="How long it was open: 180 (degrees), 1/60 (seconds), 0.5 (of the frame interval); auto: as the camera "
        "noted it, else read from the blur (default: {default}).", metavar="ANGLE|TIME|SHARE",
        on_page=True, settable=True, decisive=True,
    ))  # fmt: skip
    device: str = field(default="auto", metadata=_row(
        parse=str, accepts=lambda value: _DEVICE.fullmatch(str(value)) is not None,
        bounds="auto, cpu, cuda, cuda:N or mps",
        help="auto, cpu, cuda, cuda:N or mps (default: {default}).", metavar="NAME",
    ))  # fmt: skip
    precision: str = field(default="auto", metadata=_row(
        parse=str, accepts=lambda value: value in PRECISIONS,
        bounds=", ".join(PRECISIONS),
        help="The network's numbers (default: {default}).", metavar=f"[{'|'.join(PRECISIONS)}]",
    ))  # fmt: skip
    tile: TileSize = field(default="auto", metadata=_row(
        parse=_tile, accepts=_is_tile,
        bounds=f"auto, off, or a side in pixels of at least {LEAST_TILE}",
        help="Work in tiles of N pixels; auto: where memory is short (default: {default}).", metavar="auto|off|N",
    ))  # fmt: skip
    #: Beyond 8 nothing is left to correct.
    reduce: int = field(default=1, metadata=_number(
        1, 8, whole=True,
        bounds="a whole number from 1 (full size) to 8",
        help="The network sees the picture N times smaller: quicker, gains less (default: {default}).", metavar="N",
        on_page=True, settable=True, decisive=True,
    ))  # fmt: skip

    overlays: OverlayMode = field(default="auto", metadata=_row(
        parse=_switch, accepts=lambda value: value in OVERLAY_MODES,
        bounds=" or ".join(OVERLAY_MODES),
        help="Letters, logos and displays that stand still over a moving picture; auto: they are found and left as "
        "they are; off: not looked for (default: {default}).", metavar=f"[{'|'.join(OVERLAY_MODES)}]",
        settable=True, decisive=True,
    ))  # fmt: skip
    #: "none", or a tuple of rectangles and of paths.
    keep: KeepSetting = field(default=NONE, metadata=_row(
        parse=keep_setting, accepts=lambda _: True, normalizes=True, repeatable=True,
        bounds=KEEP_BOUNDS,
        help="Leave a part of the picture exactly as it is, in pixels as it is shown, or where a picture of its size "
        "is white; may be repeated (default: {default}).", metavar="X,Y,W,H|FILE",
        settable=True, decisive=True,
    ))  # fmt: skip
    #: "none", "noise" or "noise=0.5".
    remove: RemoveSetting = field(default=NOTHING, metadata=_row(
        parse=remove_setting, accepts=lambda _: True, normalizes=True, repeatable=True,
        bounds=REMOVE_BOUNDS,
        help="Take noise and coding artefacts out, too, or a share of them: noise, noise=0.5; none: they stay "
        "(default: {default}).", metavar="noise[=0…1]",
        on_page=True, settable=True, decisive=True,
    ))  # fmt: skip
    noise: NoiseSetting = field(default="auto", metadata=_row(
        parse=_noise, accepts=lambda value: value == "auto" or 0 <= value <= MOST_NOISE, normalizes=True,
        bounds=f"auto, or the standard deviation of luma from 0 to {MOST_NOISE:g} (of 255)",
        help="How noisy the source is: the standard deviation of luma, of 255; auto: read from the picture (default: "
        "{default}).", metavar="auto|0…60",
        on_page=True, settable=True, decisive=True,
    ))  # fmt: skip
    grain: float = field(default=0.0, metadata=_number(
        0.0, 20.0,
        bounds="0 (none) to 20, the standard deviation of luma (of 255)",
        help="Film grain to lay over the result: its standard deviation, of 255 (default: {default}).",
        metavar="0…20",
        on_page=True, settable=True, decisive=True,
    ))  # fmt: skip
    #: A name, the path of a checkpoint, or a network with a method ``guide``.
    guide: Any = field(default="auto", metadata=_row(
        parse=_switch, accepts=_is_guide,
        bounds="auto, off, or the path of a guide that ends in .safetensors",
        help="What finds the picture under noise and coding artefacts; auto: the guide that comes with it (default: "
        "{default}).", metavar="auto|off|FILE",
    ))  # fmt: skip

    def __post_init__(self) -> None:
        for option in OPTIONS.values():
            object.__setattr__(self, option.name, option.checked(getattr(self, option.name)))

    @property
    def arguments(self) -> RestoreArguments:
        """All options beside the model, as keyword arguments."""
        return cast(RestoreArguments, self.values(name for name in OPTIONS if name != "model"))

    def values(self, names: Iterable[str]) -> dict[str, Any]:
        """Some of the options by their names."""
        return {name: getattr(self, name) for name in names}


#: The table: every option by its name.
OPTIONS: Mapping[str, Option] = MappingProxyType({
    each.name: replace(each.metadata["option"], name=each.name) for each in fields(RestoreOptions)
})  # fmt: skip


def named(condition: Callable[[Option], bool]) -> tuple[str, ...]:
    """Names of the options for which a condition holds, in the order of the table."""
    return tuple(name for name, option in OPTIONS.items() if condition(option))


#: Options that browsers may choose, and those that are the server's.
PAGE_OPTIONS, SERVER_OPTIONS = named(lambda one: one.on_page), named(lambda one: not one.on_page)
#: Options that may be set between frames, and those that need another Deblurrer.
SETTABLE_OPTIONS, FIXED_OPTIONS = named(lambda one: one.settable), named(lambda one: not one.settable)
#: Options that decide what comes out.
DECISIVE_OPTIONS = named(lambda one: one.decisive)


def with_restore_signature(function: F) -> F:
    """Let ``help`` and ``inspect.signature`` show the options of a function that takes ``**restoration`` of them."""
    signature = inspect.signature(function)
    own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    passed = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=getattr(RestoreOptions, name), annotation=kind)
        for name, kind in RestoreArguments.__annotations__.items()
    ]
    setattr(function, "__signature__", signature.replace(parameters=[*own, *passed]))  # noqa: B010
    return function


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a source is read; :class:`vdeblur.video.source.reader.Reader` tells what each option does.

    Raises:
        UsageError: a value is out of its bounds.
    """

    start_seconds: float | None = None
    duration_seconds: float | None = None
    #: Of the decoder; 0 = one for each core.
    threads: int = 0
    frame_rate: Fraction | None = None
    keep_packets: bool = False
    interlaced: InterlacedMode | None = None
    size_change: SizeChange | None = None
    #: Number of the video stream to read, as in the list of all streams; ``None`` = the main one.
    video: int | None = None
    allow_network: bool = False

    def __post_init__(self) -> None:
        if self.size_change is not None and self.size_change not in SIZE_CHANGES:
            raise UsageError(f"size change cannot be {self.size_change!r}; it is one of {', '.join(SIZE_CHANGES)}")
        if self.interlaced is not None and self.interlaced not in INTERLACED_MODES:
            raise UsageError(f"interlaced cannot be {self.interlaced!r}; it is one of {', '.join(INTERLACED_MODES)}")
        start, duration = self.start_seconds, self.duration_seconds
        if start is not None and not (math.isfinite(start) and start >= 0):
            raise UsageError(f"start cannot be {start} s; it is a number of seconds from 0")
        if duration is not None and not (math.isfinite(duration) and duration > 0):
            raise UsageError(f"duration cannot be {duration} s; it is a number of seconds above 0")
        if self.video is not None and self.video < 0:
            raise UsageError(f"video cannot be {self.video}; it is the number of a stream, from 0 (see vdeblur info)")
        if self.threads < 0:
            raise UsageError(f"threads cannot be {self.threads}; it is 0 (one a core) or a number of threads")
        if self.frame_rate is not None and not 0 < self.frame_rate <= 1_000_000:
            raise UsageError(f"frame rate cannot be {self.frame_rate}; it is a number of frames a second above 0")

    @property
    def arguments(self) -> dict[str, Any]:
        """All options as keyword arguments."""
        return {each.name: getattr(self, each.name) for each in fields(self)}
