"""File tags: the date of a recording and the software that made it, which containers keep in different places."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from vdeblur.video.encode.containers import Container
from vdeblur.video.info import SourceInfo
from vdeblur.video.streams.asf_header import asf_date

_DATE = "creation_time"
_SOFTWARE, _ENCODER = "software", "encoder"
#: Names that FFmpeg's own libraries leave; they say nothing of the recording.
_OURS = ("Lavf", "Lavc")
#: Where the tag of the encoder names the library that muxed the file.
_NAMES_MUXERS = frozenset({"matroska,webm", "nut"})
#: Demuxers of the FFmpeg program that say 1970 where a file says no date.
_INVENTS_DATES = frozenset({"asf"})


def date_of(metadata: Mapping[str, str], path: Path | None) -> datetime | None:
    """The date of creation by the tags or the header of a file, to the second; one without a zone counts as UTC."""
    text = _lower(metadata).get(_DATE)
    if text is None:
        return None if path is None else asf_date(path)
    try:
        date = datetime.fromisoformat(text.strip()).replace(microsecond=0)
        return date.astimezone(UTC) if date.tzinfo is not None else date.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def software_of(info: SourceInfo) -> str | None:
    """The software that made a source, as its camera or its editor says; ``None`` for FFmpeg's own libraries."""
    tags = _lower(info.metadata)
    names = [tags.get(_SOFTWARE)]
    if info.container not in _NAMES_MUXERS:
        names.append(tags.get(_ENCODER))
    return next((name for name in names if name and not name.startswith(_OURS)), None)


def says_software(metadata: Mapping[str, str], software: str) -> bool:
    """Whether tags name this software."""
    return software.strip() in (value.strip() for value in metadata.values())


def moved_tags(info: SourceInfo, container: Container, *, newer_list: bool, dated_later: bool) -> dict[str, str]:
    """Tags that a container is given beside those FFmpeg copies, or under another name; empty ones are taken away.

    Args:
        newer_list: MP4 and QuickTime keep tags of any name in this file.
        dated_later: FFmpeg would put the date among them and into the header as well, so it is set there alone, by
            :func:`vdeblur.video.sink.iso_patch.write_creation_time`.
    """
    tags, own = {}, _lower(info.metadata)
    for name, written in container.tag_names.items():
        if name in own and written not in own:
            tags[written] = own[name]
    if (date := date_of(info.metadata, info.path)) is not None:
        # Said anew, for FFmpeg joins the dates of files that have two, and understands none of them then.
        tags[_DATE] = "" if dated_later else own.get(_DATE, f"{date:%Y-%m-%dT%H:%M:%SZ}")
    elif info.container in _INVENTS_DATES:
        tags[_DATE] = ""
    software = software_of(info)
    if software is not None and _SOFTWARE not in own and (container.keeps_file_tags or newer_list):
        tags[_SOFTWARE] = software
    return tags


def missing_tags(info: SourceInfo, found: Mapping[str, str], path: Path) -> list[str]:
    """The date and the software of the source, with what they say, if the result at ``path`` does not have them.

    ``found`` are the tags of the result.
    """
    missing = []
    date, software = date_of(info.metadata, info.path), software_of(info)
    if date is not None and date_of(found, path) != date:
        missing.append(f"{_DATE} ({date:%Y-%m-%d %H:%M:%S})")
    if software is not None and not says_software(found, software):
        missing.append(f"{_SOFTWARE if _SOFTWARE in _lower(info.metadata) else _ENCODER} ({software})")
    return missing


def _lower(metadata: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in metadata.items()}
