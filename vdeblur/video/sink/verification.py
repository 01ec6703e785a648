"""Output verification: streams, chapters, dispositions and tags of the finished file against the plan.

Its head is read, FFmpeg's own count of packets is compared, and so is how long each stream lasts; the first packets of
each stream are decoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import av

from vdeblur.video.av_compat import open_input, tags_of
from vdeblur.video.encode.containers import Container
from vdeblur.video.ffmpeg.command import OutputStream, file_url, input_numbers
from vdeblur.video.ffmpeg.process import PacketCounts
from vdeblur.video.info import SourceInfo, StreamInfo
from vdeblur.video.sink.lengths import shortened_streams
from vdeblur.video.source.demuxer import chapter_times
from vdeblur.video.source.probe import stream_info
from vdeblur.video.streams.file_tags import missing_tags
from vdeblur.video.streams.languages import same_language
from vdeblur.video.streams.outcomes import Fate, Outcome, codec_label, codec_name, describe_stream
from vdeblur.video.streams.plan import AS_TAG, STALE_TAGS, StreamPlan
from vdeblur.video.streams.reopening import UNDECODABLE, unreadable_streams

#: What containers say of themselves and of their bytes; every file has its own.
_BOOKKEEPING = frozenset(
    {
        "major_brand", "minor_version", "compatible_brands", "encoder", "vendor_id", "handler_name", "language",
        "title", "name", "timecode", "filename", "mimetype", "duration", "creation_time", "variant_bitrate",
        "location-eng", "alpha_mode",
        "material_package_umid", "file_package_umid", "uid", "generation_uid", "product_uid",
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
class Expectation:
    """The planned contents of a file."""

    info: SourceInfo
    container: Container
    plan: StreamPlan
    #: Whether all of the source was written, without options of the user that may change what is.
    whole: bool
    #: Whether the user's own FFmpeg options may have changed what is written.
    changed: bool

    @property
    def loose_packets(self) -> int:
        """Packets of a stream that may be missing: where a recording breaks off, the last one is not whole."""
        return 1 if self.info.broken is not None else 0


@dataclass(frozen=True)
class _Found:
    """The head of a file."""

    streams: tuple[StreamInfo, ...]
    chapters: int
    metadata: dict[str, str]


def verify_output(path: Path, expected: Expectation, tally: PacketCounts) -> tuple[list[Outcome], list[str]]:
    """Compare the finished file with the plan; return the real outcomes, and notes on what was lost."""
    try:
        found = _read_head(path)
    except (av.error.FFmpegError, ValueError, OSError) as exc:
        return list(expected.plan.outcomes), [f"the result could not be checked: {exc}"]
    pairs = _pairs(expected, found)
    missing = _shortened(expected, pairs, path, tally)
    missing |= _undecodable(path, expected, tally, pairs) | _missing_packets(expected, tally)
    empty = _empty(expected.plan.streams, tally)
    outcomes = [
        _seen(outcome, expected, pairs, missing, found)
        for outcome in expected.plan.outcomes
        if outcome.index in pairs or outcome.index not in empty
    ]
    notes = [f"LOST: {outcome.what}: {outcome.detail}" for outcome in outcomes if outcome.fate == "lost"]
    if (index := expected.info.video.stream_index) in missing:
        notes.insert(0, f"LOST: {describe_stream(expected.info.streams[index])}: {missing[index]}")
    if gone := [*_lost_properties(expected, pairs), *_lost_tags(path, expected, found)]:
        notes.append(f"{expected.container.name} has no place for: {'; '.join(gone)}")
        outcomes.append(Outcome("left out", "tag", "; ".join(gone)))
    return outcomes, notes


def _read_head(path: Path) -> _Found:
    with open_input(str(path)) as container:
        chapters = chapter_times(container)
        name = container.format.name
        streams = tuple(stream_info(stream, name, chapters) for stream in container.streams)
        return _Found(streams, len(chapters), tags_of(container))


def _pairs(expected: Expectation, found: _Found) -> dict[int, StreamInfo]:
    """Counterparts of the source's streams in the result, by index."""
    info, plan = expected.info, expected.plan
    codecs = {_of_source(stream): stream.options["c"] for stream in plan.streams if not stream.from_pipe}
    codecs[info.video.stream_index] = ""
    wanted = [info.streams[o.index] for o in plan.outcomes if o.index is not None and _is_there(o)]
    left = list(found.streams)
    pairs: dict[int, StreamInfo] = {}
    if restored := _restored(expected, found):
        pairs[info.video.stream_index] = restored
        left.remove(restored)
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


def _restored(expected: Expectation, found: _Found) -> StreamInfo | None:
    """The video that has been made, by its place among all videos of the result."""
    in_front = expected.plan.videos_before(expected.info.video.stream_index)
    videos = [stream for stream in found.streams if _kind(stream) == "video"]
    return videos[in_front] if in_front < len(videos) else None


def _fits(stream: StreamInfo, other: StreamInfo, *, copied: bool) -> bool:
    return _kind(other) == _kind(stream) and (not copied or codec_name(other.codec) == codec_name(stream.codec))


def _is_there(outcome: Outcome) -> bool:
    """Whether a stream of its own is expected for it."""
    return outcome.fate in ("kept", "converted") and outcome.detail != AS_TAG


def _kind(stream: StreamInfo) -> str:
    return "cover" if stream.attached_picture else stream.kind


def _undecodable(
    path: Path, expected: Expectation, tally: PacketCounts, pairs: Mapping[int, StreamInfo]
) -> dict[int, str]:
    """Streams of the result that nothing decodes again, though the source's could be decoded."""
    video = expected.info.video.stream_index
    converted = {outcome.index for outcome in expected.plan.outcomes if outcome.fate == "converted"} | {video}
    if expected.changed:
        converted |= {index for index in pairs if expected.info.streams[index].kind != "data"}
    places = {index: found.index for index, found in pairs.items()}
    written = {position for (_, position), count in tally.written.items() if count}
    filled = {
        _of_source(stream)
        for place, stream in enumerate(expected.plan.streams)
        if place in written and _is_copy(stream)
    }
    url = file_url(str(path))
    try:
        dead = unreadable_streams(expected.info, expected.container, url, places, converted, filled)
    except (av.error.FFmpegError, ValueError, OSError):
        return {}
    return dict.fromkeys(dead, UNDECODABLE)


def _missing_packets(expected: Expectation, tally: PacketCounts) -> dict[int, str]:
    """Copied streams of which FFmpeg has written fewer packets than it has read."""
    if not expected.whole or expected.changed:
        return {}
    numbers = input_numbers(expected.plan.streams)
    missing = {}
    for position, stream in enumerate(expected.plan.streams):
        read, written = tally.read.get((numbers[stream.input_name], stream.index)), tally.written.get((0, position))
        if _is_copy(stream) and read is not None and written is not None and written + expected.loose_packets < read:
            missing[_of_source(stream)] = f"{read - written} of {read} packets are missing"
    return missing


def _shortened(
    expected: Expectation, pairs: Mapping[int, StreamInfo], path: Path, tally: PacketCounts
) -> dict[int, str]:
    """Copied streams that do not last as long as in the source, or whose packets are squeezed together."""
    if not expected.whole or expected.changed:
        return {}
    copied = [_of_source(stream) for stream in expected.plan.streams if stream.options.get("c") == "copy"]
    if expected.info.input_url is None:
        copied = [outcome.index for outcome in expected.plan.outcomes if outcome.index is not None]
    places = {index: pairs[index].index for index in copied if index in pairs}
    return shortened_streams(expected.info, path, places, suspicious=tally.moved_times)


def _empty(streams: Sequence[OutputStream], tally: PacketCounts) -> set[int]:
    """Streams of the source of which FFmpeg has read nothing, as there is nothing."""
    if not any(stream.from_copy for stream in streams):
        return {index for (_, index), count in tally.read.items() if not count}
    numbers = input_numbers(streams)
    counts = {_of_source(stream): tally.read.get((numbers[stream.input_name], stream.index)) for stream in streams}
    return {index for index, count in counts.items() if count == 0}


def _of_source(stream: OutputStream) -> int:
    """Index in the source; in a re-timed copy streams have other ones."""
    return stream.index if stream.tags_of is None else stream.tags_of


def _is_copy(stream: OutputStream) -> bool:
    return not stream.from_pipe and stream.options.get("c") == "copy"


def _seen(
    outcome: Outcome, expected: Expectation, pairs: Mapping[int, StreamInfo], missing: Mapping[int, str], found: _Found
) -> Outcome:
    """The outcome as the file shows it."""
    if outcome.kind == "chapter" and outcome.fate == "kept":
        return _seen_chapters(outcome, expected, found)
    if outcome.index is None or not _is_there(outcome):
        return outcome
    if outcome.index not in pairs:
        if expected.changed:
            return replace(outcome, fate="left out", detail="by ffmpeg_args")
        return replace(outcome, fate="lost", detail="it is not in the result")
    if outcome.index in missing:
        return replace(outcome, fate="lost", detail=missing[outcome.index])
    before, after = expected.info.streams[outcome.index], pairs[outcome.index]
    if expected.changed and outcome.fate == "kept" and codec_name(before.codec) != codec_name(after.codec):
        return replace(outcome, fate="converted", detail=f"{codec_label(before.codec)} → {codec_label(after.codec)}")
    return outcome


def _seen_chapters(outcome: Outcome, expected: Expectation, found: _Found) -> Outcome:
    if found.chapters == outcome.count or (found.chapters and not expected.whole):
        return replace(outcome, count=found.chapters)
    if not expected.whole:
        return replace(outcome, fate="left out", detail="none lies in the stretch")
    fate: Fate = "left out" if expected.changed else "lost"
    return replace(outcome, fate=fate, detail=f"{found.chapters} of {outcome.count} are in the result")


def _lost_properties(expected: Expectation, pairs: Mapping[int, StreamInfo]) -> Iterable[str]:
    """Language, title, dispositions and tags of streams that were lost."""
    # Containers without that word play what comes first.
    ignored = set() if any(stream.default for stream in pairs.values()) else {"default"}
    for index, after in pairs.items():
        before = expected.info.streams[index]
        what = []
        if not same_language(before.language, after.language):
            what.append(f"language {before.language}")
        if before.title is not None and before.title != after.title and before.kind != "data":
            what.append("title")
        if before.kind != "data" and (roles := _roles(before) - _roles(after) - ignored):
            what.append(f"role {'+'.join(sorted(roles))}")
        spatial = expected.info.video.spatial if index == expected.info.video.stream_index else None
        # What this tag says has its own place in MP4, and what becomes of it is said.
        told = {"stereo_mode"} if spatial is not None and spatial.stereo is not None else set()
        there = _lower(after.metadata).keys() | told
        if tags := [name for name in _names(before.metadata) if name.lower() not in there]:
            what.append(f"tags {', '.join(tags)}")
        if what:
            yield f"{', '.join(what)} of {describe_stream(before)}"


def _roles(stream: StreamInfo) -> set[str]:
    return {_SAME_ROLE.get(name, name) for name in stream.dispositions} - _OWN_ROLES


def _lost_tags(path: Path, expected: Expectation, found: _Found) -> Iterable[str]:
    """Tags of the file that were lost or shortened."""
    before, after = expected.info.metadata, _lower(found.metadata)
    # Those that a container is given under another name come back under the first.
    after |= {written: after[name] for name, written in expected.container.tag_names.items() if name in after}
    names = [*_names(before), *(name for name in before if name.lower() == "title")]
    names = [name for name in names if name.lower() != "software"]
    missing = [name for name in names if name.lower() not in after]
    if missing := [*missing, *missing_tags(expected.info, found.metadata, path)]:
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
    """Names of tags given by people."""
    return [name for name in metadata if name.lower() not in _BOOKKEEPING and not name.upper().startswith(STALE_TAGS)]


def _lower(metadata: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in metadata.items()}
