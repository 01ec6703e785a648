"""Shutter tags of QuickTime containers: one value for the whole clip, in SMPTE RDD 18's names.

Source: Apple's QuickTime metadata keys ``org.smpte.rdd18.camera.shutterspeed_angle`` (degrees) and ``…_time``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from vdeblur.video.exposure.written import WrittenExposure

_PREFIX = "org.smpte.rdd18.camera.shutterspeed_"
_NUMBER = re.compile(r"\s{0,9}(\d{1,9}(?:\.\d{1,12})?)(?:/(\d{1,9}(?:\.\d{1,12})?))?\s{0,9}(?:s|°|deg)?\s{0,9}")


class TaggedExposure:
    """The same exposure for every frame."""

    def __init__(self, written: WrittenExposure) -> None:
        self._written = written

    def at(self, tick: int, seconds: float) -> WrittenExposure | None:
        return self._written

    def close(self) -> None:
        """Nothing is open."""


def tagged_exposure(tags: Mapping[str, str]) -> TaggedExposure | None:
    """What the tags of a container say; ``None`` if they say nothing that can be read."""
    angle, seconds = (_number(tags.get(f"{_PREFIX}{name}", "")) for name in ("angle", "time"))
    if angle:
        return TaggedExposure(WrittenExposure("QuickTime tags", fraction=angle / 360))
    return TaggedExposure(WrittenExposure("QuickTime tags", seconds)) if seconds else None


def _number(text: str) -> float | None:
    found = _NUMBER.fullmatch(text[:100])
    if found is None:
        return None
    bottom = float(found[2] or 1)
    return float(found[1]) / bottom if bottom else None
