"""Exif exposure times of pictures: one for each file of a sequence, set against the time between two captures.

Numbered pictures are played at a rate that somebody has chosen. Bursts and time lapses were taken at another one, which
their Exif tags tell; the exposure is then a share of the time between two captures.

Source: Exif 2.32 (CIPA DC-008): ExposureTime, DateTimeOriginal, SubSecTimeOriginal.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from vdeblur.video.exposure.written import WrittenExposure
from vdeblur.video.photo.exif import EXIF_POINTER, Tag, read_directory
from vdeblur.video.photo.metadata_copy import read_tags

_EXPOSURE_TIME, _TAKEN_AT, _TAKEN_AT_FRACTION = 33434, 36867, 37521
#: Times are whole seconds where no fraction is written; a rate needs this many times as long a stretch.
_STEPS_FOR_A_RATE = 10


@dataclass(frozen=True)
class _Taken:
    """When a picture was taken, and how exactly that is written, in seconds."""

    at: datetime
    step: float


class PictureExposures:
    """Exposure of each picture; a tick is a picture.

    Args:
        interval: seconds from picture to picture as they are played.
    """

    def __init__(self, paths: tuple[Path, ...], interval: float | None) -> None:
        self._paths = paths
        self._speed = _speed(paths, interval)

    @property
    def count(self) -> int:
        return len(self._paths)

    def at(self, tick: int, seconds: float) -> WrittenExposure | None:
        if self._speed is None or not 0 <= tick < len(self._paths):
            return None
        exposure = _seconds(_photo_tags(self._paths[tick]))
        return None if exposure is None else WrittenExposure("Exif", exposure, speed=self._speed)

    def close(self) -> None:
        """Nothing is open."""


def _speed(paths: tuple[Path, ...], interval: float | None) -> float | None:
    """Seconds of capture for one of playing; 1 where the pictures do not tell; ``None`` = they differ, unknown how."""
    first, last = (_taken(_photo_tags(path)) for path in (paths[0], paths[-1]))
    if len(paths) < 2 or interval is None or first is None or last is None:
        return 1.0
    played, step = (len(paths) - 1) * interval, max(first.step, last.step)
    took = abs((last.at - first.at).total_seconds())
    if abs(took - played) <= step + played / 10:
        return 1.0
    return took / played if took >= _STEPS_FOR_A_RATE * step else None


def _photo_tags(path: Path) -> dict[int, Tag]:
    """The photograph's own directory; empty where there is none."""
    exif = read_tags(path).exif
    pointer = read_directory(exif).get(EXIF_POINTER) if exif is not None else None
    return dict(pointer.directory or {}) if pointer is not None else {}


def _seconds(tags: dict[int, Tag]) -> float | None:
    numbers = tags[_EXPOSURE_TIME].numbers if _EXPOSURE_TIME in tags else ()
    return float(numbers[0]) if numbers else None


def _taken(tags: dict[int, Tag]) -> _Taken | None:
    words, fraction = (_text(tags.get(name)) for name in (_TAKEN_AT, _TAKEN_AT_FRACTION))
    try:
        at = datetime.strptime(words, "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    if not fraction.isdecimal() or len(fraction) > 6:
        return _Taken(at, 1.0)
    step = 0.1 ** len(fraction)
    return _Taken(at + timedelta(seconds=int(fraction) * step), step)


def _text(tag: Tag | None) -> str:
    return "" if tag is None else tag.data[:64].split(b"\0")[0].decode("ascii", "replace").strip()
