"""TIFF stack as an output: pages that FFmpeg writes one by one, joined into one file in the end."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from vdeblur.errors import TargetError
from vdeblur.video.encode.containers import Container
from vdeblur.video.ffmpeg.command import file_url
from vdeblur.video.info import SourceInfo
from vdeblur.video.photo.exif import Tag, directory_bytes, read_directory
from vdeblur.video.sink.targets import FileTarget, Target, is_pattern

_OFFSETS, _COUNTS, _LONG = 273, 279, 4
#: Places in a TIFF have 32 bits; metadata take some of them.
_MOST_BYTES = (1 << 32) - (1 << 26)
_STACK_CODEC = "tiff"


def becomes_stack(target: object, info: SourceInfo, container: Container) -> bool:
    """Whether the pages of a TIFF go into one TIFF again: one that is named, for pages that fit into it."""
    video = info.video
    pages = 0 if info.pictures or video.codec != _STACK_CODEC else video.frame_count_from_header or 0
    if pages < 2 or not container.holds_pages or not isinstance(target, (str, Path)) or is_pattern(target):
        return False
    shapes = (video.format.plane_shape(index, video.height, video.width) for index in range(video.format.plane_count))
    samples = sum(rows * columns for rows, columns in shapes)
    return pages * samples * (2 if video.format.bits > 8 else 1) < _MOST_BYTES


class StackTarget(Target):
    """One file of several pages, hidden until it is finished."""

    def __init__(self, whole: FileTarget) -> None:
        self._whole = whole
        assert whole.partial_path is not None
        self._pages = whole.partial_path.with_name(whole.partial_path.name + ".pages")
        try:
            self._pages.mkdir()
        except OSError as exc:
            whole.discard()
            raise TargetError(f"cannot write in {self._pages.parent}: {exc.strerror or exc}") from exc
        pattern = str(self._pages).replace("%", "%%") + f"/%010d{whole.partial_path.suffix}"
        super().__init__(whole.name, file_url(pattern), seekable=True)

    def pictures(self) -> list[Path]:
        return sorted(self._pages.iterdir())

    def commit(self) -> None:
        path = self._whole.partial_path
        assert path is not None
        try:
            with path.open("wb") as file:
                join_pages(file, self.pictures())
        except (OSError, ValueError, struct.error) as exc:
            raise TargetError(f"cannot join the pages of {self.name}: {exc}; they are in {self._pages}") from exc
        self._whole.commit()
        shutil.rmtree(self._pages, ignore_errors=True)

    def discard(self) -> None:
        shutil.rmtree(self._pages, ignore_errors=True)
        self._whole.discard()


def join_pages(file: BinaryIO, paths: Sequence[Path]) -> None:
    """Write the first page of each little-endian TIFF into one file, with its samples and tags as they are.

    Raises:
        ValueError: one of them is no such TIFF, or the file becomes too long.
    """
    file.write(struct.pack("<2sHI", b"II", 42, 0))
    pointer = 4
    for path in paths:
        data = path.read_bytes()
        tags = read_directory(data)
        if _OFFSETS not in tags or _COUNTS not in tags:
            raise ValueError(f"{path.name} is no TIFF of strips")
        places = []
        for start, count in zip(tags[_OFFSETS].numbers, tags[_COUNTS].numbers, strict=True):
            places.append(file.tell())
            file.write(data[int(start) : int(start + count)])
        tags[_OFFSETS] = Tag(_LONG, len(places), struct.pack(f"<{len(places)}I", *places))
        file.write(b"\0" * (file.tell() % 2))
        here = file.tell()
        file.write(directory_bytes(tags, here))
        if file.tell() >= 1 << 32:
            raise ValueError("a TIFF has 4 GiB at most")
        file.seek(pointer)
        file.write(struct.pack("<I", here))
        file.seek(0, 2)
        pointer = here + 2 + 12 * len(tags)
