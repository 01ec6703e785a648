"""Metadata of a picture file (Exif, ICC, XMP, IPTC), whatever its format."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from fractions import Fraction

#: No profile or packet of text is longer; files that claim more are wrong.
MOST_BYTES = 1 << 26
XMP_KEYWORD = b"XML:com.adobe.xmp"


@dataclass(frozen=True)
class PictureTags:
    """What can be carried from one kind of picture file to another."""

    #: A TIFF stream, without what stands before it in each kind of file.
    exif: bytes | None = None
    icc: bytes | None = None
    #: Name of the profile, where the file gives it one.
    icc_name: bytes = b"ICC profile"
    xmp: bytes | None = None
    #: Photoshop's image resources, IPTC among them.
    resources: bytes | None = None
    #: Pixels across and down in an inch.
    density: tuple[Fraction, Fraction] | None = None
    #: Where on earth each pixel lies (GeoTIFF), as a TIFF stream.
    geo: bytes | None = None
    #: Comments of a JPEG.
    comments: tuple[bytes, ...] = ()
    #: Whole segments or chunks that only the same kind of file knows: "JPEG" or "PNG", and they.
    own: tuple[str, tuple[bytes, ...]] | None = None
    #: The file holds more pictures than the one that is decoded.
    further_pictures: bool = False

    def own_of(self, kind: str) -> tuple[bytes, ...]:
        return self.own[1] if self.own is not None and self.own[0] == kind else ()


def inflated(data: bytes) -> bytes | None:
    """What was compressed; ``None`` if it is damaged or longer than anybody needs."""
    machine = zlib.decompressobj()
    try:
        found = machine.decompress(data, MOST_BYTES)
    except zlib.error:
        return None
    return found if machine.eof else None
