"""Encrypted sources: the video is refused by name, other streams are marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vdeblur.errors import SourceError
from vdeblur.video.encryption.lookup import StreamName, encrypted_streams, scheme_of_unreadable
from vdeblur.video.info import SourceInfo


def refuse_encrypted(
    name: str, path: Path | None, head: bytes, container: str, streams: Sequence[StreamName], video: int
) -> Mapping[int, str]:
    """Schemes of the encrypted streams by their indexes, unless the video is one of them.

    Args:
        path, head, container, streams: as for :func:`encrypted_streams`.
        video: index of the video that is to be restored.

    Raises:
        SourceError: it is encrypted.
    """
    schemes = encrypted_streams(path, head, container, streams)
    if video in schemes:
        raise SourceError(_refusal(name, schemes[video]))
    return schemes


def named_encrypted(error: SourceError, name: str, path: Path | None, head: bytes) -> SourceError:
    """An error of opening, or that of encryption if this is the reason."""
    scheme = scheme_of_unreadable(path, head)
    return error if scheme is None else SourceError(_refusal(name, scheme))


def marked(info: SourceInfo, schemes: Mapping[int, str]) -> SourceInfo:
    """The description with its encrypted streams marked."""
    if not schemes:
        return info
    streams = tuple(replace(stream, encrypted=stream.index in schemes) for stream in info.streams)
    return replace(info, streams=streams)


def _refusal(name: str, scheme: str) -> str:
    return f"the video in {name} is encrypted ({scheme}), and vdeblur has no key; decrypt it first"
