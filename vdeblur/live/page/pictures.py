"""JPEG sink: encodes the frames of a session once for all viewers, and measures their sharpness."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from vdeblur.live.page.messages import BOTH, SHARP, pack_picture
from vdeblur.live.page.sharpness import sharpness_of
from vdeblur.live.types import LiveFrame
from vdeblur.video.realtime.jpeg import JpegEncoder, frame_as_png

#: Sharpness is measured so often.
_SHARPNESS_SECONDS = 0.25


@dataclass(frozen=True, eq=False)
class EncodedPicture:
    """A frame as JPEG, for browsers."""

    number: int
    #: Capture time by ``time.monotonic()``.
    at: float
    sharp: bytes
    #: Empty where the browser has the raw picture itself.
    raw: bytes

    def pack(self) -> bytes:
        """Pack it as a binary message, with the milliseconds since its capture."""
        here_ms = (time.monotonic() - self.at) * 1000
        return pack_picture(BOTH if self.raw else SHARP, self.number, here_ms, self.sharp, self.raw)


class PictureSink:
    """A sink that encodes each frame as JPEG.

    Args:
        deliver: callback for each picture, called in the sink's thread.
        with_raw: the raw picture travels along; without, the source's tag is the browser's own number of it.
    """

    name = "page"

    def __init__(self, deliver: Callable[[EncodedPicture], None], *, with_raw: bool) -> None:
        self._deliver, self._with_raw = deliver, with_raw
        self._sharp_encoder, self._raw_encoder = JpegEncoder(), JpegEncoder()
        self._measured_at = 0.0
        #: Sharpness before and after, of a moment ago.
        self.sharpness: tuple[float, float] | None = None
        self.latest: LiveFrame | None = None
        #: Median milliseconds of JPEG encoding.
        self.encode_ms = 0.0
        self._times: list[float] = []

    def show(self, shown: LiveFrame) -> None:
        started = time.monotonic()
        self.latest = shown
        sharp = self._sharp_encoder.encode(shown.sharp)
        raw = self._raw_encoder.encode(shown.taken.frame) if self._with_raw else b""
        number = shown.taken.number if self._with_raw else int(shown.taken.tag)
        self._deliver(EncodedPicture(number, shown.taken.at, sharp, raw))
        self._note_time(time.monotonic() - started)
        if started - self._measured_at >= _SHARPNESS_SECONDS:
            self._measured_at = started
            self.sharpness = sharpness_of(shown.taken.frame), sharpness_of(shown.sharp)

    def snapshot(self) -> bytes | None:
        """Encode the last sharp picture at full size as PNG; None before the first."""
        return None if self.latest is None else frame_as_png(self.latest.sharp)

    def close(self) -> None:
        self.latest = None

    def _note_time(self, seconds: float) -> None:
        self._times = [*self._times[-29:], seconds * 1000]
        self.encode_ms = median(self._times)
