"""AVCHD MDPM: exposure time in the user data of H.264 pictures, as camcorders of Sony, Panasonic and Canon write it.

"Modified Digital Video Pack Metadata" is a message of type 5 (user data unregistered) of the supplemental enhancement
information. Source: the layout that ExifTool documents (H264 MDPM tags): an identifier of 16 bytes, "MDPM", the number
of entries, then for each a tag of one byte and four bytes of value.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass

import av
from av.sidedata.sidedata import Type

from vdeblur.video.av_compat import side_data_items
from vdeblur.video.exposure.written import WrittenExposure

_START = bytes.fromhex("17ee8c60f84d11d98cd60800200c9a66") + b"MDPM"
#: A rational in two u16, and a u16 in 1/28125 s, the only little-endian one.
_EXPOSURE_TIME, _SHUTTER = 0xA0, 0x7F
_SHUTTER_TICKS, _UNSAID = 28125, 0x7FFF
#: Panasonic leaves it out of the first picture; where these have none, nobody looks any further.
_PICTURES_TO_LOOK_AT = 8
#: It comes with every picture or at least with every key frame.
_HELD_SECONDS = 2.0
_MOST_CHANGES = 1000


@dataclass
class _Stretch:
    """Pictures in a row that say the same; ticks of the first and the last."""

    first: int
    last: int
    seconds: float


class MdpmWatch:
    """Looks at decoded pictures, which may run some frames ahead of those that are asked for."""

    def __init__(self, codec: str, tick_seconds: float) -> None:
        self._tick_seconds = tick_seconds
        self._left = _PICTURES_TO_LOOK_AT if codec == "h264" else 0
        self._stretches: deque[_Stretch] = deque(maxlen=_MOST_CHANGES)

    @property
    def found(self) -> bool:
        """Whether any picture has told an exposure time."""
        return bool(self._stretches)

    def watch(self, picture: av.VideoFrame, tick: int) -> None:
        """The next picture; others than those of H.264 are not looked at."""
        if self._left <= 0:
            return
        seconds = _of_picture(picture)
        if seconds is None:
            self._left -= 0 if self._stretches else 1
            return
        if self._stretches and tick < self._stretches[-1].last:  # read anew
            self._stretches.clear()
        if self._stretches and self._stretches[-1].seconds == seconds:
            self._stretches[-1].last = tick
        else:
            self._stretches.append(_Stretch(tick, tick, seconds))

    def at(self, tick: int, seconds: float) -> WrittenExposure | None:
        """What the picture of a tick said, or one a little before it; ticks that are asked for rise."""
        while len(self._stretches) > 1 and self._stretches[1].first <= tick:
            self._stretches.popleft()
        if not self._stretches:
            return None
        now = self._stretches[0]
        held = (tick - now.last) * self._tick_seconds <= _HELD_SECONDS
        return WrittenExposure("AVCHD MDPM", now.seconds) if now.first <= tick and held else None

    def close(self) -> None:
        self._stretches.clear()


def _of_picture(picture: av.VideoFrame) -> float | None:
    try:
        for item in side_data_items(picture):
            if item.type == Type.SEI_UNREGISTERED and (seconds := exposure_time(bytes(item))) is not None:
                return seconds
    except ValueError:  # PyAV 18 does not know a kind of it
        pass
    return None


def exposure_time(message: bytes) -> float | None:
    """Seconds that a message of user data tells; ``None`` if it is another one, or damaged."""
    if not message.startswith(_START) or len(message) <= len(_START):
        return None
    entries, found = message[len(_START) + 1 :], {}
    for place in range(0, min(5 * message[len(_START)], len(entries) - 4), 5):
        found[entries[place]] = entries[place + 1 : place + 5]
    if _EXPOSURE_TIME in found:
        top, bottom = struct.unpack(">HH", found[_EXPOSURE_TIME])
        if top and bottom:
            return float(top / bottom)
    if _SHUTTER in found:
        ticks = struct.unpack("<H", found[_SHUTTER][2:])[0] & _UNSAID
        if ticks not in (0, _UNSAID):
            return float(ticks / _SHUTTER_TICKS)
    return None
