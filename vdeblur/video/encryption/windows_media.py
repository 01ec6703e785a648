"""Encrypted Windows Media: the content encryption objects of an ASF header.

Source: Advanced Systems Format, 3.14 and 3.15 (Content Encryption Object, Extended Content Encryption Object).
"""

from __future__ import annotations

import uuid

_HEADER = uuid.UUID("75B22630-668E-11CF-A6D9-00AA0062CE6C").bytes_le
_ENCRYPTION = frozenset(
    uuid.UUID(words).bytes_le
    for words in ("2211B3FB-BD23-11D2-B4B7-00A0C955FC6E", "298AE614-2622-4C17-B935-DAE07EE9289C")
)
_MOST_OBJECTS = 1000


def is_encrypted(head: bytes) -> bool:
    """Whether the header of a file, by its first bytes, has an object about encryption."""
    if head[:16] != _HEADER:
        return False
    place = 30
    for _ in range(_MOST_OBJECTS):
        if place + 24 > len(head):
            return False
        if head[place : place + 16] in _ENCRYPTION:
            return True
        size = int.from_bytes(head[place + 16 : place + 24], "little")
        if size < 24:
            return False
        place += size
    return False
