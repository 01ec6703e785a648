"""Encryption lookup: the scheme by which each stream of a source is encrypted, whatever its container."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vdeblur.video.encryption import iso_media, matroska, mpeg_streams, windows_media
from vdeblur.video.iso_boxes import movie_of

_log = logging.getLogger(__name__)

#: Headers stand in front, and so many bytes of a transport stream show whether it is scrambled.
_HEAD_BYTES = 2 << 20
#: Stands for all streams of a source.
_ALL = "MPEG scrambling", "Windows Media DRM"


@dataclass(frozen=True)
class StreamName:
    """How a container and FFmpeg number a stream."""

    index: int
    #: The container's own number: of a track, or a packet identifier.
    id: int


def encrypted_streams(
    path: Path | None, head: bytes, container: str, streams: Sequence[StreamName]
) -> Mapping[int, str]:
    """Names of the schemes, for people, by the indexes of the encrypted streams.

    Args:
        path: the file; ``None`` = only its first bytes, ``head``, are there.
        container: FFmpeg's name of the container.
    """
    try:
        return _encrypted(path, head, container, streams)
    except OSError as exc:
        _log.debug("cannot look for encryption: %s", exc)
        return {}


def _encrypted(path: Path | None, head: bytes, container: str, streams: Sequence[StreamName]) -> dict[int, str]:
    family = container.partition(",")[0]
    if family == "mov":
        tracks = _tracks(path, head)
        return {stream.index: tracks[stream.id] for stream in streams if stream.id in tracks}
    if path is not None and family in ("matroska", "mpegts", "mpeg", "asf"):
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    if family == "matroska":
        found = matroska.encrypted_tracks(head)
        return {stream.index: "content encryption" for stream in streams if stream.index in found}
    if family == "mpegts":
        pids = mpeg_streams.scrambled_pids(head)
        return {stream.index: _ALL[0] for stream in streams if stream.id in pids}
    if family == "mpeg" and mpeg_streams.is_scrambled_program(head):
        return {stream.index: _ALL[0] for stream in streams}
    if family == "asf" and windows_media.is_encrypted(head):
        return {stream.index: _ALL[1] for stream in streams}
    return {}


def _tracks(path: Path | None, head: bytes) -> dict[int, str]:
    with io.BytesIO(head) if path is None else path.open("rb") as file:
        movie = movie_of(file)
    return {} if movie is None else iso_media.encrypted_tracks(movie.data)


def scheme_of_unreadable(path: Path | None, head: bytes) -> str | None:
    """Scheme of a source that FFmpeg finds no video in, or none it can decode; ``None`` if it is not encrypted."""
    try:
        if path is not None:
            with path.open("rb") as file:
                head = file.read(_HEAD_BYTES)
        if mpeg_streams.scrambled_pids(head) or mpeg_streams.is_scrambled_program(head):
            return _ALL[0]
        if windows_media.is_encrypted(head):
            return _ALL[1]
        if matroska.encrypted_tracks(head):
            return "content encryption"
        return next(iter(_tracks(path, head).values()), None)
    except OSError:
        return None
