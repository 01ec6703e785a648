"""Wrapping counters: times of MPEG-TS and MPEG-PS, which count 33 bits, made to go on."""

from __future__ import annotations

from typing import Any

import av

#: Containers whose times are counters of 33 bits (ISO/IEC 13818-1), 26.5 hours at 90 kHz.
_COUNTERS = {"mpegts": 1 << 33, "mpeg": 1 << 33}


class Unwrapping:
    """Takes each time for the one nearest to what came before, of all those that a short counter may mean.

    FFmpeg takes a time that lies more than a minute before the first one for a wrap; in a joined source it is none.
    """

    def __init__(self, period: int) -> None:
        self._period = period
        self._last: dict[int, int] = {}
        self._video: int | None = None
        #: Whether a time was changed.
        self.turned = False

    @staticmethod
    def of(container: str) -> Unwrapping | None:
        """What a container of this name needs; ``None`` where times do not wrap."""
        period = _COUNTERS.get(container)
        return None if period is None else Unwrapping(period)

    def prepare(self, packet: av.Packet[Any], *, of_video: bool) -> None:
        """Give a packet the times that its counter means."""
        index = packet.stream.index
        tick = packet.pts if packet.dts is None else packet.dts
        if tick is None:
            return
        near = self._last.get(index, self._video)
        if near is not None and (turns := round((near - tick) / self._period)):
            self.turned = True
            tick += turns * self._period
            packet.pts = None if packet.pts is None else packet.pts + turns * self._period
            packet.dts = None if packet.dts is None else packet.dts + turns * self._period
        self._last[index] = tick
        if of_video:
            self._video = tick
