"""Derived decoding times: of Matroska, which has none; FFmpeg's own become a muddle where the clock starts again."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av

from vdeblur.video.av_compat import fraction_or_none

#: Containers that say only when a packet is shown.
_SHOWN_ONLY = frozenset({"matroska,webm"})
#: Decoding times lie so much before those of showing that pictures may be reordered by a few.
_AHEAD_SECONDS = Fraction(1, 10)


class DerivedTimes:
    """Gives the packets of the video rising decoding times once a key frame has stepped back.

    Whatever is decoded before a key frame is shown before it, so a key frame that is not later than all that came
    before begins anew. Until one does, FFmpeg's times are left as they are.
    """

    def __init__(self) -> None:
        self._latest: int | None = None
        self._last: int | None = None
        self._stepped_back = False

    @staticmethod
    def of(container: str) -> DerivedTimes | None:
        """What a container of this name needs; ``None`` where packets say when they are decoded."""
        return DerivedTimes() if container in _SHOWN_ONLY else None

    def prepare(self, packet: av.Packet[Any], *, of_video: bool) -> None:
        """Give a packet of the video its decoding time."""
        shown, base = packet.pts, fraction_or_none(packet.time_base)
        if not of_video or shown is None or base is None:
            return
        if packet.is_keyframe and self._latest is not None and shown <= self._latest:
            self._stepped_back, self._latest, self._last = True, None, None
        self._latest = shown if self._latest is None else max(self._latest, shown)
        if not self._stepped_back:
            return
        step, far = packet.duration or round(Fraction(1, 25) / base), round(1 / base)
        if self._last is None or packet.is_keyframe or shown - self._last > far:
            tick = shown
        else:
            tick = max(self._last + 1, min(shown, self._last + step))
        self._last = tick
        packet.dts = tick - round(_AHEAD_SECONDS / base)
