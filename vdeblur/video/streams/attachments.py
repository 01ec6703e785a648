"""Attachments: covers, fonts and other files, extracted so that Matroska can attach them (RFC 9559)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import AttachmentStream

from vdeblur.errors import SourceError, TargetError
from vdeblur.video.ffmpeg.command import file_url
from vdeblur.video.info import SourceInfo, StreamInfo
from vdeblur.video.source.location import check_unchanged
from vdeblur.video.source.opening import open_again

_MIME_TYPES = {"png": "image/png", "mjpeg": "image/jpeg", "bmp": "image/bmp", "gif": "image/gif", "webp": "image/webp"}
#: MIME type of unknown content (RFC 9559, FileMediaType).
_ANY_TYPE = "application/octet-stream"


def extract_attachments(
    info: SourceInfo, indexes: tuple[int, ...], folder: Path
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Extract covers and attachments at ``indexes`` of the source into ``folder``; yield each one's URL and tags.

    Raises:
        SourceError: the source cannot be opened again.
        TargetError: the folder has no room.
    """
    if not indexes:
        return
    try:
        with open_again(info) as container:
            for index in indexes:
                path = folder / f"attached{index}"
                _write(path, _content(container, index))
                yield file_url(str(path)), tuple(f"{name}={value}" for name, value in _tags(info.streams[index]))
    except (av.error.FFmpegError, StopIteration) as exc:
        check_unchanged(info.name, info.path, info.file_id)
        raise SourceError(f"cannot read what is attached to {info.name}: {exc}") from exc


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as exc:
        raise TargetError(f"cannot write into {path.parent}: {exc.strerror or exc}") from exc


def _content(container: InputContainer, index: int) -> bytes:
    stream = container.streams[index]
    if isinstance(stream, AttachmentStream):
        return bytes(stream.data or b"")
    packet = next(packet for packet in container.demux(stream) if packet.size)
    data = bytes(packet)
    container.seek(0)
    return data


def _tags(stream: StreamInfo) -> Iterator[tuple[str, str]]:
    """Its own tags, with the file name and MIME type that Matroska requires."""
    tags = dict(stream.metadata)
    kind = _MIME_TYPES.get(stream.codec, "image/png") if stream.attached_picture else _ANY_TYPE
    tags.setdefault("mimetype", kind)
    ending = kind.removeprefix("image/").replace("jpeg", "jpg") if stream.attached_picture else "bin"
    tags.setdefault("filename", f"{'cover' if stream.attached_picture else 'attachment'}.{ending}")
    yield from tags.items()
