"""Colours of JPEG 2000 that FFmpeg takes for RGB: XYZ of digital cinema, Lab, inks.

Source: ISO/IEC 15444-1, annex I (JP2, the colour specification box); 15444-2, annex M; SMPTE ST 429-4.
"""

from __future__ import annotations

from pathlib import Path

from av.video.stream import VideoStream

#: Enumerated colour spaces that are neither RGB, grey nor YCC.
_ENUMERATED = {0: "black and white", 11: "CMY", 12: "CMYK", 13: "YCCK", 14: "CIE L*a*b*", 19: "CIE JAB"}
#: Colour spaces of ICC profiles, by the signature in their header.
_PROFILES = {b"XYZ ": "CIE XYZ", b"Lab ": "CIE L*a*b*", b"CMYK": "CMYK", b"CMY ": "CMY", b"Luv ": "CIE L*u*v*"}
_BOX, _HEAD_BYTES = b"colr", 1 << 16
_CINEMA = "digital cinema"


def foreign_colours(stream: VideoStream, path: Path | None) -> str | None:
    """Colours of a stream or picture in words, if they are not those that its pixel format says; else ``None``."""
    if _CINEMA in (stream.codec_context.profile or "").lower():
        return "CIE XYZ, for digital cinema"
    try:
        if path is None:
            return None
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return None
    place = head.find(_BOX)
    if not head.startswith(b"\0\0\0\x0cjP  ") or place < 0:
        return None
    box = head[place + len(_BOX) :]
    if box[:1] == b"\1":
        return _ENUMERATED.get(int.from_bytes(box[3:7], "big"))
    return _PROFILES.get(box[19:23]) if box[:1] in (b"\2", b"\3") else None
