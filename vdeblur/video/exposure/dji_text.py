"""DJI telemetry as subtitles: the shutter in texts of a track inside the MP4, or of a file NAME.SRT beside it.

The texts differ from model to model: "[shutter : 1/60.0]", "[shutter: 1/500]", "SHUTTER : 1/60", "Shutter:60", and
"F/2.8, SS 206.14, ISO 150". All of them mean a fraction of a second by its denominator.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TextIO

from vdeblur.video.exposure.written import PacketExposures, WrittenExposure

_NUMBER = r"(\d{1,6}(?:\.\d{1,6})?)(?![\d./])"
_SHUTTER = (
    re.compile(rf"\bshutter\s{{0,4}}:\s{{0,4}}1/{_NUMBER}", re.IGNORECASE),
    re.compile(rf"\bShutter:{_NUMBER}"),
    re.compile(rf"\bSS {_NUMBER}, ISO \d"),
)
_CUE = re.compile(r"(\d{1,4}):(\d\d):(\d\d)[,.](\d{3}) --> (\d{1,4}):(\d\d):(\d\d)[,.](\d{3})")
#: A text of telemetry is shorter, and so is each of its lines.
_MOST_CHARACTERS = 4096
#: If the first lines of a file tell of no shutter, it holds people's subtitles.
_HEAD_LINES, _LINES_OF_A_CUE = 40, 30

#: Begin and end in seconds, and the exposure time.
_Cue = tuple[float, float, float | None]


class DjiTextReader:
    """Shutter of each text of a subtitle track."""

    source = "DJI subtitles"

    def recognises(self, data: bytes) -> bool:
        return shutter_in(_text(data)) is not None

    def read(self, data: bytes) -> PacketExposures:
        seconds = shutter_in(_text(data))
        return PacketExposures() if seconds is None else PacketExposures((seconds,))


class SidecarTexts:
    """Exposure times of an SRT file, read as the frames come.

    Raises:
        OSError: it cannot be read.
        ValueError: it tells of no shutter.
    """

    def __init__(self, path: Path) -> None:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError(f"{path} is no plain file")
        self._path = path
        self._file = self._open()
        if not any(shutter_in(line) is not None for line in islice(_lines(self._file), _HEAD_LINES)):
            self._file.close()
            raise ValueError(f"{path} tells of no shutter")
        self._rewind()

    def _open(self) -> TextIO:
        return self._path.open(encoding="utf-8-sig", errors="replace", newline=None)

    def _rewind(self) -> None:
        self._file.seek(0)
        self._cues = _cues(self._file)
        self._now: _Cue = (0.0, 0.0, None)
        self._next: _Cue | None = self._now
        self._asked = 0.0

    def at(self, tick: int, seconds: float) -> WrittenExposure | None:
        """What the text that is shown at a time says."""
        if seconds < self._asked:
            self._rewind()
        self._asked = seconds
        while self._next is not None and self._next[0] <= seconds:
            self._now = self._next
            self._next = next(self._cues, None)
        _, end, shutter = self._now
        return None if shutter is None or seconds >= end else WrittenExposure("DJI SRT file", shutter)

    def close(self) -> None:
        self._file.close()


def sidecar_of(path: Path) -> Path | None:
    """The SRT file that DJI writes beside a video: of the same name, in its own spelling."""
    return next((found for suffix in (".SRT", ".srt") if (found := path.with_suffix(suffix)).is_file()), None)


def shutter_in(text: str) -> float | None:
    """Exposure time in seconds that a text of DJI's tells; ``None`` if it tells none."""
    found = next(filter(None, (words.search(text[:_MOST_CHARACTERS]) for words in _SHUTTER)), None)
    return 1 / float(found[1]) if found is not None and float(found[1]) else None


def _text(data: bytes) -> str:
    """Text of a packet of timed text (3GPP TS 26.245), which begins with its length."""
    return data[2 : 2 + int.from_bytes(data[:2], "big")][:_MOST_CHARACTERS].decode("utf-8", "replace")


def _lines(file: TextIO) -> Iterator[str]:
    """Lines, the long ones in pieces."""
    while line := file.readline(_MOST_CHARACTERS):
        yield line


def _cues(file: TextIO) -> Iterator[_Cue]:
    lines = _lines(file)
    for line in lines:
        times = _CUE.search(line)
        if times is None:
            continue
        words = " ".join(islice(_until_empty(lines), _LINES_OF_A_CUE))
        begin, end = (_seconds(times.groups()[part : part + 4]) for part in (0, 4))
        yield begin, end, shutter_in(words)


def _until_empty(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if not line.strip():
            return
        yield line.strip()


def _seconds(parts: tuple[str, ...]) -> float:
    hours, minutes, seconds, thousandths = map(int, parts)
    return hours * 3600 + minutes * 60 + seconds + thousandths / 1000
