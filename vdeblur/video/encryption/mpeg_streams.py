"""Scrambled MPEG streams: the control bits of transport packets and of packetized elementary streams.

Source: ISO/IEC 13818-1, 2.4.3.3 (transport_scrambling_control) and 2.4.3.7 (PES_scrambling_control, which DVDs set).
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

_SYNC = 0x47
#: Bytes of a packet and where in them it begins: plain, with a time in front (Blu-ray, AVCHD), with a checksum behind.
_SHAPES = ((188, 0), (192, 4), (204, 0))
_LEAST_PACKETS = 8
_PACK, _VIDEO_STREAMS = b"\0\0\1\xba", range(0xE0, 0xF0)


def scrambled_pids(head: bytes) -> frozenset[int]:
    """Packet identifiers of which most packets with a payload are scrambled, by the first bytes of a transport stream.

    The extra header of a Blu-ray's packets is looked at too: its copy bits say nothing of scrambling.
    """
    packets = _packets(head)
    if packets is None:
        return frozenset()
    pids = (packets[:, 1].astype(np.int32) & 0x1F) << 8 | packets[:, 2]
    holds = (packets[:, 0] == _SYNC) & (packets[:, 3] & 0x10 != 0) & (packets[:, 1] & 0x80 == 0)
    scrambled = holds & (packets[:, 3] & 0x80 != 0)
    all_of, scrambled_of = Counter(pids[holds].tolist()), Counter(pids[scrambled].tolist())
    return frozenset(pid for pid, count in scrambled_of.items() if 2 * count > all_of[pid])


def _packets(head: bytes) -> npt.NDArray[np.uint8] | None:
    """The first four bytes of each packet; ``None`` if these are not packets."""
    for size, offset in _SHAPES:
        for start in range(min(size, len(head))):
            count = (len(head) - start - offset) // size
            if count < _LEAST_PACKETS:
                break
            if head[start + offset] != _SYNC or head[start + offset + size] != _SYNC:
                continue
            rows = np.frombuffer(head, np.uint8, count * size, start)[: count * size].reshape(count, size)
            packets = rows[:, offset : offset + 4]
            if (packets[:, 0] == _SYNC).mean() > 0.9:
                return packets
    return None


def is_scrambled_program(head: bytes) -> bool:
    """Whether most packets of video in a program stream (VOB) are scrambled, by its first bytes."""
    if not head.startswith(_PACK):
        return False
    found = Counter[bool]()
    place = head.find(b"\0\0\1")
    while 0 <= place < len(head) - 7:
        # Two bits mark the header of MPEG-2; those of MPEG-1 have other ones there, or stuffing.
        if head[place + 3] in _VIDEO_STREAMS and head[place + 6] >> 6 == 2:
            found[head[place + 6] & 0x30 != 0] += 1
        place = head.find(b"\0\0\1", place + 4)
    return found[True] > found[False]
