"""Decoding slots: shown times of AVI with B-frames, which numbers its packets and does not say when each is shown."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from typing import Any

import av

#: Containers that number packets in decoding order, so that FFmpeg can only guess when a picture is shown.
_NUMBERING = frozenset({"avi"})
#: Codecs of which FFmpeg knows the delay from the start.
_KNOWN_DELAY = frozenset({"mpeg4", "msmpeg4v3", "mpeg2video", "mpeg1video"})


class DecodingSlots:
    """The n-th picture that is shown has the n-th place of those that were decoded.

    So players of AVI do it, and the sound counts from the same start. FFmpeg's own guess comes later by a delay which,
    of H.264, it learns only while it reads: the first pictures are late by other frames than the rest. For MPEG-4 it
    is one frame from the start, and stays.
    """

    def __init__(self, *, delayed: bool = False) -> None:
        self._delayed, self._delay = delayed, 0
        self._free: list[int] = []
        #: Place of the packet whose picture FFmpeg gives that time.
        self._places: dict[int, int] = {}

    @staticmethod
    def of(container: str, codec: str, *, has_b_frames: bool) -> DecodingSlots | None:
        """What a video of such a container needs; ``None`` where it says when pictures are shown."""
        if container not in _NUMBERING or not has_b_frames:
            return None
        return DecodingSlots(delayed=codec in _KNOWN_DELAY)

    def watched(self, packets: Iterable[av.Packet[Any]]) -> Iterator[av.Packet[Any]]:
        """The packets on their way to the decoder."""
        for packet in packets:
            if packet.dts is not None:
                if not self._places and self._delayed and packet.pts is not None:
                    self._delay, self._delayed = packet.pts - packet.dts, False
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
        return self._free.pop(0) + self._delay if self._free else None
