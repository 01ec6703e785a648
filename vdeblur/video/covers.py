"""Cover pictures on their way into Matroska, where they are attached files and not streams."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av

from vdeblur.errors import SourceError, TargetError
from vdeblur.video.command import file_url
from vdeblur.video.info import SourceInfo
from vdeblur.video.opening import open_again
from vdeblur.video.places import check_unchanged

_MIME_TYPES = {"png": "image/png", "mjpeg": "image/jpeg", "bmp": "image/bmp", "gif": "image/gif", "webp": "image/webp"}


def extract_covers(info: SourceInfo, indexes: tuple[int, ...], folder: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Write the covers at ``indexes`` of the source into ``folder``; give each one's URL and tags.

    Raises:
        SourceError: the source cannot be opened again.
        TargetError: the folder has no room.
    """
    if not indexes:
        return
    try:
        with open_again(info) as container:
            for index in indexes:
                packet = next(packet for packet in container.demux(container.streams[index]) if packet.size)
                data = bytes(packet)
                container.seek(0)
                yield _write(info, index, data, folder)
    except (av.error.FFmpegError, StopIteration) as exc:
        check_unchanged(info.name, info.path, info.file_id)
        raise SourceError(f"cannot read the cover picture of {info.name}: {exc}") from exc


def _write(info: SourceInfo, index: int, data: bytes, folder: Path) -> tuple[str, tuple[str, ...]]:
    stream = info.streams[index]
    kind = _MIME_TYPES.get(stream.codec, "image/png")
    name = stream.metadata.get("filename", f"cover.{kind.removeprefix('image/').replace('jpeg', 'jpg')}")
    path = folder / f"cover{index}"
    try:
        path.write_bytes(data)
    except OSError as exc:
        raise TargetError(f"cannot write a cover picture into {folder}: {exc.strerror or exc}") from exc
    return file_url(str(path)), (f"filename={name}", f"mimetype={kind}")
