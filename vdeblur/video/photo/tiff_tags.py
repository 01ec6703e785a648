"""TIFF metadata: the first directory holds the tags of Exif beside those of the samples.

Source: TIFF 6.0; Exif 2.32; Adobe's TIFF technical notes.
"""

from __future__ import annotations

import mmap
import re
import struct
from fractions import Fraction
from typing import BinaryIO

from vdeblur.errors import SourceError
from vdeblur.video.photo.exif import (
    EXIF_POINTER,
    GPS_POINTER,
    SIZES,
    Tag,
    byte_order,
    directory_bytes,
    rational,
    read_directory,
    short,
    stream_of,
    swapped,
)
from vdeblur.video.photo.metadata import PictureTags
from vdeblur.video.tiff.directories import Field, TiffData, directories

_XMP, _IPTC, _RESOURCES, _ICC = 700, 33723, 34377, 34675
_ACROSS, _DOWN, _UNIT = 282, 283, 296
_INCH, _CENTIMETRE = 2, 3
_POINTERS = frozenset({EXIF_POINTER, GPS_POINTER})
#: Tags that tell of the photograph and not of how its samples lie: what it shows, who made it, when, with what.
_TELLING = frozenset({
    269, 270, 271, 272, 274, 285, 305, 306, 315, 316, 18246, 18249, 33432, EXIF_POINTER, GPS_POINTER,
    40091, 40092, 40093, 40094, 40095, 50341, _IPTC,
})  # fmt: skip
#: GeoTIFF (OGC 19-008), and what GDAL adds to it.
_GEO = frozenset({33550, 33920, 33922, 34264, 34735, 34736, 34737, 42112, 42113})
_DESCRIPTION = 270
#: What ImageJ and OME say of all pages of a stack, which would be wrong for one picture.
_STACK_WORDS = re.compile(rb"^(?:images|channels|slices|frames|hyperstack|loop)=.*\n?", re.MULTILINE)


def read(file: BinaryIO) -> PictureTags:
    # Mapped, not read: directories lie anywhere among gigabytes of samples.
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        tags = read_directory(data) or _first_of_big(file)
    if _DESCRIPTION in tags and (words := _of_one_picture(tags[_DESCRIPTION])) != tags[_DESCRIPTION]:
        tags[_DESCRIPTION] = words
    told = {name: tag for name, tag in tags.items() if name in _TELLING}
    texts = {name: tags[name].data for name in (_XMP, _RESOURCES, _ICC) if name in tags}
    return PictureTags(
        stream_of(told) if told else None, texts.get(_ICC), xmp=texts.get(_XMP), resources=texts.get(_RESOURCES),
        density=_density(tags),
        geo=stream_of(geo) if (geo := {name: tag for name, tag in tags.items() if name in _GEO}) else None,
    )  # fmt: skip


def write(data: bytes, tags: PictureTags) -> bytes:
    """The same TIFF with a new first directory behind it, with these tags beside those of the samples."""
    if byte_order(data) != "<":
        return data
    here = read_directory(data)
    exif = {} if tags.exif is None else read_directory(tags.exif)
    added = {name: tag for name, tag in exif.items() if name in _TELLING}
    if tags.geo is not None:
        added |= read_directory(tags.geo)
    for name, value in ((_XMP, tags.xmp), (_RESOURCES, tags.resources), (_ICC, tags.icc)):
        if value is not None:
            added[name] = Tag(1 if name == _XMP else 7, len(value), value)
    if tags.density is not None:
        added |= {_ACROSS: rational(tags.density[0]), _DOWN: rational(tags.density[1]), _UNIT: short(_INCH)}
    # Where the samples lie is said by place, so they stay where they are.
    kept = {name: tag for name, tag in here.items() if name not in _TELLING}
    padded = data + b"\0" * (len(data) % 2)
    return padded[:4] + struct.pack("<I", len(padded)) + padded[8:] + directory_bytes(kept | added, len(padded))


def _of_one_picture(description: Tag) -> Tag:
    """A description without the words that are true of a whole stack only."""
    if description.data.startswith(b"ImageJ="):
        text = _STACK_WORDS.sub(b"", description.data.rstrip(b"\0")) + b"\0"
    elif b"<OME" in description.data[:1000]:
        text = b"\0"
    else:
        return description
    return Tag(description.kind, len(text), text)


def _first_of_big(file: BinaryIO) -> dict[int, Tag]:
    """Tags of the first page of a BigTIFF, without directories they point to."""
    file.seek(0)
    try:
        first = next(directories(TiffData(file)), None)
    except SourceError:
        return {}
    found = {name: field for name, field in (first or {}).items() if field.kind in SIZES and name not in _POINTERS}
    return {name: Tag(field.kind, field.count, _little(field)) for name, field in found.items()}


def _little(field: Field) -> bytes:
    """Values in little-endian order."""
    return swapped(field.data, field.kind, field.order)


def _density(tags: dict[int, Tag]) -> tuple[Fraction, Fraction] | None:
    numbers = [tags[name].numbers for name in (_ACROSS, _DOWN, _UNIT) if name in tags]
    if len(numbers) < 3 or not all(numbers) or numbers[2][0] not in (_INCH, _CENTIMETRE):
        return None
    scale = Fraction(254, 100) if numbers[2][0] == _CENTIMETRE else Fraction(1)
    across, down = numbers[0][0] * scale, numbers[1][0] * scale
    return (across, down) if across > 0 and down > 0 else None
