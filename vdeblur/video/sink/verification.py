"""A look at the finished file: whether it holds what was promised, and what of it the container had no place for.

Only its head is read, and FFmpeg's own count of packets is compared; nothing is decoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import av

from vdeblur.video.av_compat import open_input, tags_of
from vdeblur.video.encode.containers import Container
from vdeblur.video.ffmpeg.command import OutputStream
from vdeblur.video.ffmpeg.process import Tally
from vdeblur.video.info import SourceInfo, StreamInfo
from vdeblur.video.source.demuxer import chapter_times
from vdeblur.video.source.probe import stream_info
from vdeblur.video.streams.languages import same_language
from vdeblur.video.streams.outcomes import Fate, Outcome, codec_word, describe_stream, spoken
from vdeblur.video.streams.plan import AS_TAG, STALE_TAGS, StreamPlan

#: What containers say of themselves and of their bytes; every file has its own.
_BOOKKEEPING = frozenset(
    {
        "major_brand", "minor_version", "compatible_brands", "encoder", "vendor_id", "handler_name", "language",
        "title", "name", "timecode", "filename", "mimetype", "duration", "creation_time", "variant_bitrate",
        "location-eng",
    }
)  # fmt: skip
_DEGREES = re.compile(r"[+-]\d+(?:\.\d+)?")
_PLACE = re.compile(rf"(?:{_DEGREES.pattern}){{2,3}}/?")
_PLACE_DEGREES = 1e-4
#: One role in the words of another container.
_SAME_ROLE = {"descriptions": "visual_impaired", "captions": "hearing_impaired"}
#: Roles that muxers set by themselves.
_OWN_ROLES = frozenset({"attached_pic", "still_image", "timed_thumbnails"})


@dataclass(frozen=True)
class Promise:
    """What was planned for a file."""

    info: SourceInfo
    container: Container
    plan: StreamPlan
    #: Whether all of the source was written, without options of the user that may change what is.
    whole: bool
    #: Whether the user's own FFmpeg options may have changed what is written.
    changed: bool


@dataclass(frozen=True)
class _Found:
    """The head of a file."""

    streams: tuple[StreamInfo, ...]
    chapters: int
    metadata: dict[str, str]


def check_result(path: Path, promise: Promise, tally: Tally) -> tuple[list[Outcome], list[str]]:
    """What really became of everything beside the frames, and notes on what is not as it was."""
    try:
        found = _look_at(path)
    except (av.error.FFmpegError, ValueError, OSError) as exc:
        return list(promise.plan.outcomes), [f"the result could not be checked: {exc}"]
    pairs = _pairs(promise, found)
    missing = _missing_packets(promise, tally)
    empty = {index for (_, index), count in tally.read.items() if not count}
    outcomes = [
        _seen(outcome, promise, pairs, missing, found)
        for outcome in promise.plan.outcomes
        if outcome.index in pairs or outcome.index not in empty
    ]
    notes = [f"LOST: {outcome.what}: {outcome.detail}" for outcome in outcomes if outcome.fate == "lost"]
    if gone := [*_lost_properties(promise, pairs), *_lost_tags(promise, found)]:
        notes.append(f"{promise.container.name} has no place for: {'; '.join(gone)}")
        outcomes.append(Outcome("left out", "tag", "; ".join(gone)))
    return outcomes, notes


def _look_at(path: Path) -> _Found:
    with open_input(str(path)) as container:
        chapters = chapter_times(container)
        name = container.format.name
        streams = tuple(stream_info(stream, name, chapters) for stream in container.streams)
        return _Found(streams, len(chapters), tags_of(container))


def _pairs(promise: Promise, found: _Found) -> dict[int, StreamInfo]:
    """Streams of the source by index, each with its counterpart in the result."""
    info, plan = promise.info, promise.plan
    codecs = {stream.index: stream.options["c"] for stream in plan.streams if not stream.from_pipe}
    codecs[info.video.stream_index] = ""
    wanted = [info.streams[o.index] for o in plan.outcomes if o.index is not None and _is_there(o)]
    left = list(found.streams)
    pairs: dict[int, StreamInfo] = {}
    ordered = sorted([info.streams[info.video.stream_index], *wanted], key=lambda stream: stream.index)
    # First what is the same, then what has another name: MP4 calls MP2 MP3, and texts are converted.
    for same in (True, False):
        for stream in ordered:
            copied = same and codecs.get(stream.index, "copy") == "copy"
            fitting = (other for other in left if _fits(stream, other, copied=copied))
            if stream.index not in pairs and same == copied and (chosen := next(fitting, None)):
                pairs[stream.index] = chosen
                left.remove(chosen)
    return pairs


def _fits(stream: StreamInfo, other: StreamInfo, *, copied: bool) -> bool:
    return _kind(other) == _kind(stream) and (not copied or codec_word(other.codec) == codec_word(stream.codec))


def _is_there(outcome: Outcome) -> bool:
    """Whether a stream of its own is expected for it."""
    return outcome.fate in ("kept", "converted") and outcome.detail != AS_TAG


def _kind(stream: StreamInfo) -> str:
    return "cover" if stream.attached_picture else stream.kind


def _missing_packets(promise: Promise, tally: Tally) -> dict[int, str]:
    """Copied streams of which FFmpeg has written fewer packets than it has read."""
    if not promise.whole or promise.changed:
        return {}
    number = 1 if promise.plan.streams[0].from_pipe else 0
    missing = {}
    for position, stream in enumerate(promise.plan.streams):
        read, written = tally.read.get((number, stream.index)), tally.written.get((0, position))
        if _is_copy(stream) and read is not None and written is not None and written < read:
            missing[stream.index] = f"{read - written} of {read} packets are missing"
    return missing


def _is_copy(stream: OutputStream) -> bool:
    return not stream.from_pipe and stream.options.get("c") == "copy"


def _seen(
    outcome: Outcome, promise: Promise, pairs: Mapping[int, StreamInfo], missing: Mapping[int, str], found: _Found
) -> Outcome:
    """An outcome as the file shows it."""
    if outcome.kind == "chapter" and outcome.fate == "kept":
        return _seen_chapters(outcome, promise, found)
    if outcome.index is None or not _is_there(outcome):
        return outcome
    if outcome.index not in pairs:
        if promise.changed:
            return replace(outcome, fate="left out", detail="by ffmpeg_args")
        return replace(outcome, fate="lost", detail="it is not in the result")
    if outcome.index in missing:
        return replace(outcome, fate="lost", detail=missing[outcome.index])
    before, after = promise.info.streams[outcome.index], pairs[outcome.index]
    if promise.changed and outcome.fate == "kept" and codec_word(before.codec) != codec_word(after.codec):
        return replace(outcome, fate="converted", detail=f"{spoken(before.codec)} → {spoken(after.codec)}")
    return outcome


def _seen_chapters(outcome: Outcome, promise: Promise, found: _Found) -> Outcome:
    if found.chapters == outcome.count or (found.chapters and not promise.whole):
        return replace(outcome, count=found.chapters)
    if not promise.whole:
        return replace(outcome, fate="left out", detail="none lies in the stretch")
    fate: Fate = "left out" if promise.changed else "lost"
    return replace(outcome, fate=fate, detail=f"{found.chapters} of {outcome.count} are in the result")


def _lost_properties(promise: Promise, pairs: Mapping[int, StreamInfo]) -> Iterable[str]:
    """Language, title, roles and tags of streams that did not come back."""
    # Containers without that word play what comes first.
    ignored = set() if any(stream.default for stream in pairs.values()) else {"default"}
    for index, after in pairs.items():
        before = promise.info.streams[index]
        what = []
        if not same_language(before.language, after.language):
            what.append(f"language {before.language}")
        if before.title is not None and before.title != after.title and before.kind != "data":
            what.append("title")
        if before.kind != "data" and (roles := _roles(before) - _roles(after) - ignored):
            what.append(f"role {'+'.join(sorted(roles))}")
        if tags := [name for name in _names(before.metadata) if name.lower() not in _lower(after.metadata)]:
            what.append(f"tags {', '.join(tags)}")
        if what:
            yield f"{', '.join(what)} of {describe_stream(before)}"


def _roles(stream: StreamInfo) -> set[str]:
    return {_SAME_ROLE.get(name, name) for name in stream.dispositions} - _OWN_ROLES


def _lost_tags(promise: Promise, found: _Found) -> Iterable[str]:
    """Tags of the file that did not come back, or not in full."""
    before, after = promise.info.metadata, _lower(found.metadata)
    names = [*_names(before), *(name for name in before if name.lower() == "title")]
    if missing := [name for name in names if name.lower() not in after]:
        yield f"tags of the file {', '.join(missing)}"
    for name in names:
        if not _same_value(before[name], after.get(name.lower(), before[name])):
            yield f"all of the tag {name} ({after[name.lower()]})"


def _same_value(one: str, other: str) -> bool:
    """Whether two texts say the same; a place on earth (ISO 6709) may be written with fewer decimals, 11 m at worst."""
    places = [[float(number) for number in _DEGREES.findall(text)] for text in (one, other)]
    if len(places[0]) > 1 and len(places[0]) == len(places[1]) and _PLACE.fullmatch(one):
        return all(abs(a - b) <= _PLACE_DEGREES for a, b in zip(*places, strict=True))
    return one.strip() == other.strip()


def _names(metadata: Mapping[str, str]) -> list[str]:
    """Tags that people have given."""
    return [name for name in metadata if name.lower() not in _BOOKKEEPING and not name.upper().startswith(STALE_TAGS)]


def _lower(metadata: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in metadata.items()}
