"""The stretch of a source that a job covers, and how its times become the output's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from vdeblur.video.info import SourceInfo
from vdeblur.video.time_range import exact_seconds, first_tick


@dataclass(frozen=True)
class Stretch:
    """Times of a job: a whole one keeps every tick, one with a start moves it to 0."""

    time_base: Fraction
    #: Tick of the source that becomes 0.
    origin: int = 0
    #: Whether what lies before the origin is left out.
    cut: bool = False
    #: Second of the output at which it ends.
    end_seconds: Fraction | None = None
    #: Ticks by which times run ahead inside NUT, which has no negative ones; FFmpeg takes them back.
    lead: int = 0

    @staticmethod
    def of(
        info: SourceInfo, time_base: Fraction, start_seconds: float | None, duration_seconds: float | None
    ) -> Stretch:
        """The stretch that a reader with the same start and duration gives frames of."""
        start = None if start_seconds is None else exact_seconds(start_seconds)
        begin = info.video.start_pts + first_tick(start or Fraction(0), time_base)
        origin = 0 if start is None else begin
        end = None if duration_seconds is None else (begin - origin) * time_base + exact_seconds(duration_seconds)
        return Stretch(time_base, origin, start is not None, end)

    def beginning_at(self, pts: int) -> Stretch:
        """The same stretch with its first frame at ``pts``: no container shows what is before 0, so 0 is no later."""
        return self if pts >= self.origin else replace(self, origin=pts)

    def with_lead(self) -> Stretch:
        """The same with a lead of ten seconds or more that is whole in seconds and in ticks."""
        numerator = self.time_base.numerator
        return replace(self, lead=self.time_base.denominator * -(-10 // numerator))

    @property
    def moved_seconds(self) -> Fraction:
        """Seconds that are added to every time of the source."""
        return -self.origin * self.time_base

    @property
    def lead_seconds(self) -> int:
        return int(self.lead * self.time_base)

    def sent(self, pts: int) -> int:
        """Tick under which a frame travels in NUT."""
        return pts - self.origin + self.lead

    def source_options(self) -> dict[str, str | None]:
        """FFmpeg input options that give the source's other streams the same stretch and the same clock."""
        options: dict[str, str | None] = {}
        begin = self.origin * self.time_base
        if self.cut and begin > 0:
            options |= {"seek_timestamp": "1", "ss": _decimal(begin)}
        if self.origin:
            options["itsoffset"] = _decimal(self.moved_seconds)
        return options

    def output_options(self) -> dict[str, str]:
        options = {"copypriorss": "0"} if self.cut else {}
        if self.end_seconds is not None:
            options["t"] = _decimal(self.end_seconds)
        return options


def _decimal(seconds: Fraction) -> str:
    """Seconds for FFmpeg, which counts microseconds."""
    return f"{float(seconds):.6f}"
