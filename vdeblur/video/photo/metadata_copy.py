"""Metadata copy from one picture file to another, for FFmpeg's encoders leave most of it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from vdeblur.errors import TargetError
from vdeblur.video.photo import jpeg_tags, png_tags, tiff_tags, webp_tags
from vdeblur.video.photo.exif import with_orientation
from vdeblur.video.photo.metadata import PictureTags

__all__ = ["PictureTags", "holds_tags", "lost_tags", "read_tags", "write_tags"]


@dataclass(frozen=True)
class _Kind:
    """One kind of picture file, by its first bytes."""

    name: str
    signatures: tuple[bytes, ...]
    read: Callable[[BinaryIO], PictureTags]
    write: Callable[[bytes, PictureTags], bytes]


_KINDS = (
    _Kind("JPEG", (b"\xff\xd8\xff",), jpeg_tags.read, jpeg_tags.write),
    _Kind("PNG", (b"\x89PNG\r\n\x1a\n",), png_tags.read, png_tags.write),
    _Kind("TIFF", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), tiff_tags.read, tiff_tags.write),
    _Kind("WebP", (b"RIFF",), webp_tags.read, webp_tags.write),
)
#: What each kind of picture file can be given.
_EVERYWHERE = ("exif", "icc", "xmp")
_HELD = {
    "JPEG": (*_EVERYWHERE, "density", "resources", "comments"),
    "PNG": (*_EVERYWHERE, "density", "comments"),
    "TIFF": (*_EVERYWHERE, "density", "resources", "geo"),
    "WebP": _EVERYWHERE,
}
_WORDS = {
    "exif": "Exif data", "icc": "the ICC colour profile", "xmp": "XMP", "density": "the resolution (dpi)",
    "resources": "IPTC and other image resources", "comments": "comments", "geo": "the georeference (GeoTIFF)",
    "further_pictures": "further pictures inside the JPEG (previews, gain map)",
}  # fmt: skip
_OWN_WORDS = {"PNG": "texts and colour chunks of the PNG", "JPEG": "the further part of XMP"}


def holds_tags(kind: str | None) -> bool:
    """Whether tags can be put into picture files of a kind, e.g. "JPEG"; ``None`` = a kind without tags."""
    return kind in _HELD


def lost_tags(tags: PictureTags, kind: str | None) -> list[str]:
    """What files of a kind cannot be given of these tags, in words; ``None`` = they can be given nothing."""
    held = _HELD.get(kind or "", ())
    lost = [words for name, words in _WORDS.items() if getattr(tags, name) and name not in held]
    if tags.own is not None and tags.own[0] != kind:
        lost.append(_OWN_WORDS[tags.own[0]])
    return lost


def read_tags(path: Path | None, *, orientation: int | None = None) -> PictureTags:
    """Tags of a picture file; empty where there are none, there is no file, or it is of another kind or damaged.

    Args:
        orientation: how the decoded picture is shown, 1 to 8; it overrules what the tags say. ``None`` = unknown.
    """
    tags = PictureTags()
    try:
        if path is not None:
            tags = _read(path)
    except (OSError, ValueError):  # whoever decodes the pictures has said, or will say, what is wrong
        pass
    return tags if orientation is None else replace(tags, exif=with_orientation(tags.exif, orientation))


def _read(path: Path) -> PictureTags:
    with path.open("rb") as file:
        kind = _kind_of(file.read(12))
        file.seek(0)
        return PictureTags() if kind is None else kind.read(file)


def write_tags(path: Path, tags: PictureTags) -> None:
    """Put tags into a picture file that FFmpeg has written; the samples' bytes stay as they are.

    Raises:
        TargetError: the disk failed.
    """
    if tags == PictureTags():
        return
    try:
        data = path.read_bytes()
        kind = _kind_of(data[:12])
        if kind is not None:
            path.write_bytes(kind.write(data, tags))
    except OSError as exc:
        raise TargetError(f"cannot write {path}: {exc.strerror or exc}") from exc


def _kind_of(head: bytes) -> _Kind | None:
    for kind in _KINDS:
        if head.startswith(kind.signatures) and (kind.name != "WebP" or head[8:12] == b"WEBP"):
            return kind
    return None
