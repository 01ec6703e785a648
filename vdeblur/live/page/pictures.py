"""Pictures: the sink that makes JPEGs of what a session shows, once for everybody who looks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from vdeblur.live.page.messages import BOTH, SHARP, pack_picture
from vdeblur.live.page.sharpness import sharpness_of
from vdeblur.live.types import Shown
from vdeblur.video.realtime.jpeg import JpegEncoder, frame_as_png

#: Sharpness is measured so often.
_SHARPNESS_SECONDS = 0.25


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture on its way to browsers."""

    number: int
    #: ``time.monotonic()`` when the camera's picture reached us.
    at: float
    sharp: bytes
    #: Empty where the browser has the raw picture itself.
    raw: bytes

    def packed(self) -> bytes:
        """The message that carries it, with how long it has been here up to now."""
        here_ms = (time.monotonic() - self.at) * 1000
        return pack_picture(BOTH if self.raw else SHARP, self.number, here_ms, self.sharp, self.raw)


class PictureSink:
    """A sink that hands each picture on as JPEG.

    Args:
        deliver: called with each picture, in the sink's thread.
        with_raw: the raw picture travels along; without, the source's tag is the browser's own number of it.
    """

    name = "page"

    def __init__(self, deliver: Callable[[Picture], None], *, with_raw: bool) -> None:
        self._deliver, self._with_raw = deliver, with_raw
        self._sharp_encoder, self._raw_encoder = JpegEncoder(), JpegEncoder()
        self._measured_at = 0.0
        #: Sharpness before and after, of a moment ago.
        self.sharpness: tuple[float, float] | None = None
        self.latest: Shown | None = None
        #: What the last pictures took to become JPEGs.
        self.encode_ms = 0.0
        self._times: list[float] = []

    def show(self, shown: Shown) -> None:
        started = time.monotonic()
        self.latest = shown
        sharp = self._sharp_encoder.encode(shown.sharp)
        raw = self._raw_encoder.encode(shown.taken.frame) if self._with_raw else b""
        number = shown.taken.number if self._with_raw else int(shown.taken.tag)
        self._deliver(Picture(number, shown.taken.at, sharp, raw))
        self._note_time(time.monotonic() - started)
        if started - self._measured_at >= _SHARPNESS_SECONDS:
            self._measured_at = started
            self.sharpness = sharpness_of(shown.taken.frame), sharpness_of(shown.sharp)

    def snapshot(self) -> bytes | None:
        """The last sharp picture at full size, as PNG; None before the first."""
        return None if self.latest is None else frame_as_png(self.latest.sharp)

    def close(self) -> None:
        self.latest = None

    def _note_time(self, seconds: float) -> None:
        self._times = [*self._times[-29:], seconds * 1000]
        self.encode_ms = median(self._times)
