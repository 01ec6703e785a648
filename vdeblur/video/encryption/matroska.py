"""Encrypted tracks of Matroska and WebM: element ContentEncryption.

Source: RFC 9559, 5.1.4.1.31 (ContentEncodings); WebM Encryption (signal byte and counter in front of each block).
"""

from __future__ import annotations

from vdeblur.video.ebml import Data, child, elements, number, tracks_of

_TYPE, _ENCODINGS, _ENCODING, _ENCODING_TYPE, _ENCRYPTION = 0x83, 0x6D80, 0x6240, 0x5033, 0x5035
#: Video, audio, subtitles and metadata: the tracks that become streams.
_STREAMS = frozenset({1, 2, 17, 33})


def encrypted_tracks(data: Data) -> frozenset[int]:
    """Which tracks are encrypted, counted from 0, by the first bytes of a file."""
    tracks = tracks_of(data)
    found, index = set(), 0
    for entry in () if tracks is None else tracks[1]:
        kind = child(data, entry.body, entry.end, _TYPE)
        if kind is None or number(data, kind) not in _STREAMS:
            continue
        if _is_encrypted(data, entry.body, entry.end):
            found.add(index)
        index += 1
    return frozenset(found)


def _is_encrypted(data: Data, start: int, end: int) -> bool:
    encodings = child(data, start, end, _ENCODINGS)
    if encodings is None:
        return False
    for encoding in elements(data, encodings.body, encodings.end):
        if encoding.kind == _ENCODING:
            kind = child(data, encoding.body, encoding.end, _ENCODING_TYPE)
            by_type = kind is not None and number(data, kind) == 1
            if by_type or child(data, encoding.body, encoding.end, _ENCRYPTION) is not None:
                return True
    return False
