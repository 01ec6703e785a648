"""Shutter: how long the camera's shutter was open for each frame, as people say it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from numbers import Real

#: The bounds, as messages end.
BOUNDS = "auto, degrees up to 360 (180), a time (1/60), or a share of the frame interval up to 1 (0.5)"

_DECIMAL = r"(?:\d{1,9}(?:\.\d{1,20})?|\.\d{1,20})"
_NUMBER = re.compile(rf"({_DECIMAL}(?:e-?\d{{1,3}})?)\s*(°|deg|s)?")
_RATIO = re.compile(rf"({_DECIMAL})\s*/\s*({_DECIMAL})\s*s?")


@dataclass(frozen=True)
class Shutter:
    """Exposure of every frame: a share of the frame interval, a time, or neither: then it is read from the blur.

    Args:
        fraction: share of the frame interval, 0 < fraction ≤ 1: a shutter angle divided by 360°.
        seconds: exposure time, above 0.
    """

    fraction: float | None = None
    seconds: Fraction | None = None

    @property
    def auto(self) -> bool:
        return self.fraction is None and self.seconds is None

    @property
    def setting(self) -> str | float:
        """Its usual form, from which :meth:`parse` makes it again: "auto", 0.5 or "1/60"."""
        if self.seconds is not None:
            return f"{self.seconds.numerator}/{self.seconds.denominator}"
        return "auto" if self.fraction is None else self.fraction

    def __str__(self) -> str:
        """For people: "auto", "0.50 of the frame interval", "1/60 s"."""
        if self.seconds is not None:
            return seconds_words(float(self.seconds))
        return "auto" if self.fraction is None else f"{self.fraction:.2f} of the frame interval"

    @staticmethod
    def parse(value: ShutterSetting) -> Shutter:
        """Parse "auto", a share of the frame interval up to 1, degrees above 1 up to 360, or a time.

        In text, "1/60" and "0.02s" are times, "180°" and "180deg" degrees. A Fraction is a time in seconds.

        Raises:
            ValueError: it is none of these.
        """
        if isinstance(value, Shutter):
            return value
        if isinstance(value, Fraction):
            return _of_seconds(value)
        if isinstance(value, Real) and not isinstance(value, bool):
            return _of_number(float(value))
        text = value.strip() if isinstance(value, str) else ""
        if text == "auto":
            return Shutter()
        if ratio := _RATIO.fullmatch(text):
            above, below = map(Fraction, ratio.groups())
            return _of_seconds(above / below if below else Fraction(0))
        number = _NUMBER.fullmatch(text)
        if number is None:
            raise ValueError(f"a shutter is {BOUNDS}")
        if number[2] == "s":
            return _of_seconds(Fraction(number[1]))
        return _of_number(float(number[1])) if number[2] is None else _of_degrees(float(number[1]))


#: A shutter, or what :meth:`Shutter.parse` makes one of.
ShutterSetting = str | float | Fraction | Shutter


def shutter_setting(value: ShutterSetting) -> str | float:
    """A shutter's usual form; raises ValueError."""
    return Shutter.parse(value).setting


def seconds_words(seconds: float) -> str:
    """An exposure time or a frame interval, for people: "1/60 s", "1/29.97 s", "2.5 s"."""
    return f"1/{1 / seconds:.4g} s" if seconds < 1 else f"{seconds:.4g} s"


def _of_number(number: float) -> Shutter:
    return _of_degrees(number) if number > 1 else _of_fraction(number)


def _of_degrees(degrees: float) -> Shutter:
    return _of_fraction(degrees / 360)


def _of_fraction(fraction: float) -> Shutter:
    if not (math.isfinite(fraction) and 0 < fraction <= 1):
        raise ValueError(f"a shutter is a share of the frame interval above 0, to 1, not {fraction}")
    return Shutter(fraction=fraction)


def _of_seconds(seconds: Fraction) -> Shutter:
    if seconds <= 0:
        raise ValueError(f"a shutter is a time above 0 s, not {seconds}")
    return Shutter(seconds=seconds)
