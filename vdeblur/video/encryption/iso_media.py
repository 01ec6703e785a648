"""Encrypted tracks of ISO base media: Common Encryption and FairPlay.

Source: ISO/IEC 14496-12, 8.12 (protection scheme information), ISO/IEC 23001-7 (Common Encryption, ``tenc``, ``seig``),
Apple's QuickTime File Format (``drmi``, ``drms``).
"""

from __future__ import annotations

from vdeblur.video.iso_boxes import Box, Data, children, sample_entries

_PROTECTED = frozenset({b"encv", b"enca", b"encs", b"enct", b"encm"})
_FAIRPLAY = frozenset({b"drmi", b"drms", b"drmt"})


def encrypted_tracks(data: Data) -> dict[int, str]:
    """Scheme of each encrypted track by its number, of the index (``moov``) that ``data`` begin with."""
    found: dict[int, str] = {}
    for entry in sample_entries(data):
        if entry.box.kind in _FAIRPLAY:
            found[entry.track] = "FairPlay"
        elif entry.box.kind in _PROTECTED and (scheme := _scheme(data, entry.box, entry.around[-2])) is not None:
            found[entry.track] = scheme
    return found


def _scheme(data: Data, entry: Box, table: Box) -> str | None:
    """Name of the scheme; ``None`` where the track says that its samples are in the clear."""
    content = bytes(data[entry.body : entry.end])
    place = content.find(b"tenc")
    # Version and flags, two bytes of pattern, then whether samples are protected unless a group says otherwise.
    if place >= 0 and content[place + 10 : place + 11] == b"\0" and not _has_protected_groups(data, table):
        return None
    place = content.find(b"schm")
    name = content[place + 8 : place + 12].decode("ascii", "replace") if place >= 0 else ""
    return f"Common Encryption, {name}" if name.isalnum() else "Common Encryption"


def _has_protected_groups(data: Data, table: Box) -> bool:
    return any(data[box.body + 4 : box.body + 8] == b"seig" for box in children(data, table, b"sgpd"))
