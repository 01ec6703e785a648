"""Decoding slots: shown times of AVI with B-frames, which numbers its packets and does not say when each is shown."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from typing import Any

import av

#: Containers that number packets in decoding order, so that FFmpeg can only guess when a picture is shown.
_NUMBERING = frozenset({"avi"})


class DecodingSlots:
    """The n-th picture that is shown has the n-th place of those that were decoded.

    So players of AVI do it, and the sound counts from the same start. FFmpeg's own guess is late by a frame
    (MPEG-4) or by as many as H.264 reorders, which it learns only while it reads.
    """

    def __init__(self) -> None:
        self._free: list[int] = []
        #: Place of the packet whose picture FFmpeg gives that time.
        self._places: dict[int, int] = {}

    @staticmethod
    def of(container: str, *, has_b_frames: bool) -> DecodingSlots | None:
        """What a video of such a container needs; ``None`` where it says when pictures are shown."""
        return DecodingSlots() if container in _NUMBERING and has_b_frames else None

    def watched(self, packets: Iterable[av.Packet[Any]]) -> Iterator[av.Packet[Any]]:
        """The packets on their way to the decoder."""
        for packet in packets:
            if packet.dts is not None:
                insort(self._free, packet.dts)
                if packet.pts is not None:
                    self._places[packet.pts] = packet.dts
            yield packet

    def take(self, picture: av.VideoFrame) -> int | None:
        """The tick at which a decoded picture is shown; ``None`` if there is none."""
        own = None if picture.pts is None else self._places.pop(picture.pts, None)
        if picture.key_frame and own is not None:
            # What was decoded before a key frame and has not been shown by now has been lost.
            while self._free and self._free[0] < own:
                self._free.pop(0)
        return self._free.pop(0) if self._free else None
