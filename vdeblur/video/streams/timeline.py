"""Timeline: the time range of the source that is restored, and the mapping of its timestamps to the output's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from vdeblur.video.info import SourceInfo
from vdeblur.video.time_range import exact_seconds, first_tick


@dataclass(frozen=True)
class Timeline:
    """Mapping of timestamps: the whole source keeps every tick; a range with a start moves it to 0."""

    time_base: Fraction
    #: Tick of the source that becomes 0.
    origin: int = 0
    #: Whether everything before the origin is left out.
    trims_start: bool = False
    #: Second of the output at which it ends.
    end_seconds: Fraction | None = None
    #: Ticks added inside NUT, which has no negative timestamps; FFmpeg subtracts them again.
    lead: int = 0

    @staticmethod
    def of(
        info: SourceInfo, time_base: Fraction, start_seconds: float | None, duration_seconds: float | None
    ) -> Timeline:
        """The timeline of a reader with the same start and duration."""
        start = None if start_seconds is None else exact_seconds(start_seconds)
        begin = info.video.start_pts + first_tick(start or Fraction(0), time_base)
        origin = 0 if start is None else begin
        end = None if duration_seconds is None else (begin - origin) * time_base + exact_seconds(duration_seconds)
        return Timeline(time_base, origin, start is not None, end)

    def starting_at(self, pts: int) -> Timeline:
        """The same with the first frame at ``pts``: players skip what is before 0, so the origin is no later."""
        return self if pts >= self.origin else replace(self, origin=pts)

    def with_lead(self) -> Timeline:
        """The same with a lead of ten seconds or more that is whole in seconds and in ticks."""
        numerator = self.time_base.numerator
        return replace(self, lead=self.time_base.denominator * -(-10 // numerator))

    @property
    def offset_seconds(self) -> Fraction:
        """Offset added to every timestamp of the source."""
        return -self.origin * self.time_base

    @property
    def lead_seconds(self) -> int:
        return int(self.lead * self.time_base)

    def nut_tick(self, pts: int) -> int:
        """Timestamp of a frame inside NUT."""
        return pts - self.origin + self.lead

    def source_options(self) -> dict[str, str | None]:
        """FFmpeg input options that give the source's other streams the same range and offset."""
        options: dict[str, str | None] = {}
        begin = self.origin * self.time_base
        if self.trims_start and begin > 0:
            options |= {"seek_timestamp": "1", "ss": _decimal(begin)}
        if self.origin:
            options["itsoffset"] = _decimal(self.offset_seconds)
        return options

    def output_options(self) -> dict[str, str]:
        """FFmpeg output options that end the output with the range."""
        options = {"copypriorss": "0"} if self.trims_start else {}
        if self.end_seconds is not None:
            options["t"] = _decimal(self.end_seconds)
        return options


def _decimal(seconds: Fraction) -> str:
    """Seconds as FFmpeg parses them, to the microsecond."""
    return f"{float(seconds):.6f}"
