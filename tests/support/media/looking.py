"""What a file holds beside its video, and what of it a second file has lost, column by column."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg

from support.media.clips import ffmpeg

#: Tags of the container's own, and of the bytes.
OWN_TAGS = frozenset(
    {
        "major_brand", "minor_version", "compatible_brands", "encoder", "vendor_id", "handler_name", "language",
        "title", "name", "duration", "creation_time", "location-eng", "filename", "mimetype",
        "software",
    }
)  # fmt: skip
#: QuickTime's names of languages, and one role in the words of another container.
SAME = {"ger": "deu", "und": None, "descriptions": "visual_impaired", "captions": "hearing_impaired"}
RATE = 48000
#: These say nothing of samples that only prepare the decoder.
NO_EDITS = frozenset({".ts"})
#: These count milliseconds.
MILLISECONDS = frozenset({".mkv", ".webm", ".flv", ".wmv"})
TEXTS = frozenset({"srt", "subrip", "mov_text", "webvtt", "text"})


@dataclass
class Track:
    """One stream."""

    index: int
    kind: str
    codec: str
    id: int
    tags: dict[str, str]
    roles: set[str | None]
    #: Payload, time in seconds, length, side data.
    packets: list[tuple[bytes, Fraction | None, Fraction, list[Any]]] = field(default_factory=list)
    attached: tuple[str, str, bytes] | None = None
    side: list[str] = field(default_factory=list)

    @property
    def title(self) -> str | None:
        return self.tags.get("title", self.tags.get("name"))


@dataclass
class Look:
    """One file."""

    path: Path
    tags: dict[str, str]
    chapters: list[tuple[Fraction, Fraction, str | None]]
    tracks: list[Track]
    programs: list[str]


def look(path: Path) -> Look:
    side, programs = _described(path)
    with av.open(str(path)) as container:
        chapters = [
            (one["start"] * one["time_base"], one["end"] * one["time_base"], one["metadata"].get("title"))
            for one in container.chapters()
        ]
        tracks = [_track(stream, side.get(stream.index, [])) for stream in container.streams]
        for packet in container.demux():
            if packet.size:
                when = None if packet.pts is None else packet.pts * packet.time_base
                data = sorted((str(item.data_type), bytes(item)) for item in packet.iter_sidedata())
                length = (packet.duration or 0) * packet.time_base
                tracks[packet.stream.index].packets.append((bytes(packet), when, length, data))
        tags = {name.lower(): value for name, value in container.metadata.items()}
        starts = [start for start, _, _ in chapters]
        tracks = [track for track in tracks if not (starts and _index(container.streams[track.index]) == starts)]
    return Look(path, tags, chapters, tracks, programs)


def _index(stream: Any) -> list[Fraction]:
    """Times in the index of a stream; QuickTime has a track with a text for each chapter."""
    return [entry.timestamp * stream.time_base for entry in stream.index_entries] if stream.type == "data" else []


def _track(stream: Any, side: list[str]) -> Track:
    context = stream.codec_context
    codec = (context.name if context is not None else getattr(stream, "name", None)) or "unknown"
    tags = {name.lower(): value for name, value in stream.metadata.items()}
    roles = {SAME.get(flag.name, flag.name) for flag in stream.disposition}
    kind = "cover" if "attached_pic" in roles else str(stream.type)
    track = Track(stream.index, kind, codec.removesuffix("float"), stream.id, tags, roles, side=side)
    if kind == "attachment":
        track.attached = (stream.name, stream.mimetype, bytes(stream.data))
    return track


def _described(path: Path) -> tuple[dict[int, list[str]], list[str]]:
    """Side data of each stream, and the programs, as the FFmpeg program says them."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(path)]
    text = subprocess.run(command, capture_output=True, check=False).stderr.decode(errors="replace")
    side: dict[int, list[str]] = {}
    programs: list[str] = []
    index = inside = -1
    for line in text.splitlines():
        if found := re.match(r" +Stream #0:(\d+)", line):
            index, inside = int(found[1]), -1
            side.setdefault(index, [])
        elif line.startswith("  Program ") or "service_" in line:
            programs.append(line.strip())
        elif line.strip() == "Side data:":
            inside = index
        elif inside >= 0 and line.startswith("        "):
            side[inside].append(line.strip())
    return side, programs


Column = Callable[[Look, Look, Sequence[tuple[Track, Track]]], Iterator[str]]


def losses(source: Path, target: Path, order: Sequence[int] | None, without: frozenset[str]) -> list[str]:
    """Everything of the source that is not in the target as it was; ``order`` = its streams in the target's order."""
    before, after = look(source), look(target)
    wanted = [track for track in before.tracks if order is None or track.index in order]
    wanted.sort(key=lambda track: order.index(track.index) if order is not None else track.index)
    kinds = [track.kind for track in wanted], [track.kind for track in after.tracks]
    if kinds[0] != kinds[1]:
        return [f"order: {kinds[0]} became {kinds[1]}"]
    pairs = list(zip(wanted, after.tracks, strict=True))
    return [
        f"{name}: {words}"
        for name, column in COLUMNS.items()
        if name not in without
        for words in column(before, after, pairs)
    ]


def _copied(before: Look, pairs: Sequence[tuple[Track, Track]]) -> list[tuple[Track, Track]]:
    """Streams that must come packet by packet: all but the restored video, converted texts and time codes."""
    video = _restored(before)
    return [
        (a, b) for a, b in pairs
        if a.index != video and not (a.codec != b.codec and a.codec in TEXTS) and "timecode" not in a.tags
    ]  # fmt: skip


def _restored(before: Look) -> int:
    """The video that is processed: the largest."""
    return 1 if before.path.name.startswith("corpus_mkv_two") or "turned_second" in before.path.name else next(
        track.index for track in before.tracks if track.kind == "video"
    )  # fmt: skip


def packets_column(before: Look, after: Look, pairs: Sequence[tuple[Track, Track]]) -> Iterator[str]:
    for a, b in _copied(before, pairs):
        ts = before.path.suffix in (".ts", ".m2ts"), after.path.suffix in (".ts", ".m2ts")
        one, other = [p[0] for p in a.packets], [p[0] for p in b.packets]
        if a.codec == "aac" and ts[0] != ts[1]:  # MPEG-TS has a header of seven bytes before each
            one, other = ([p[7:] if here else p for p in data] for data, here in zip((one, other), ts, strict=True))
        if a.codec == "pgssub" and ts[0] != ts[1]:  # Matroska has all segments of a picture in one packet
            one, other = [b"".join(one)], [b"".join(other)]
        if one != other:
            sizes = sum(map(len, one)), sum(map(len, other))
            yield f"{a.kind} {a.index}: {len(one)} packets, {sizes[0]} bytes, became {len(other)}, {sizes[1]} bytes"


def times_column(before: Look, after: Look, pairs: Sequence[tuple[Track, Track]]) -> Iterator[str]:
    slack = _slack(before, after)
    for a, b in _copied(before, pairs):
        if a.kind == "cover" or (a.codec == "pgssub" and len(a.packets) != len(b.packets)):
            continue
        gaps = [abs((p[1] or 0) - (q[1] or 0)) for p, q in zip(a.packets, b.packets, strict=False)]
        if max(gaps, default=0) > slack:
            yield f"{a.kind} {a.index} moved by up to {float(max(gaps)):.6f} s"
        if a.kind == "subtitle" and any(
            abs(p[2] - q[2]) > 2 * slack for p, q in zip(a.packets, b.packets, strict=False)
        ):
            yield f"subtitle {a.index} is shown longer or shorter"


def _slack(before: Look, after: Look) -> Fraction:
    """By how much times may differ: nothing in the same container, half a tick of the coarser clock else."""
    if before.path.suffix == after.path.suffix:
        return Fraction(0)
    coarse = {before.path.suffix, after.path.suffix} & MILLISECONDS
    return Fraction(51, 100_000) if coarse else Fraction(12, 1_000_000)


def sound_column(before: Look, after: Look, pairs: Sequence[tuple[Track, Track]]) -> Iterator[str]:
    """What is heard, and when: decoded samples are the same, at the same time."""
    slack = _slack(before, after)
    for a, b in pairs:
        if a.kind != "audio":
            continue
        (start, one, width), (other_start, other, _) = _heard(before.path, a.index), _heard(after.path, b.index)
        shift, most = round((other_start - start) * RATE), round(slack * RATE)
        if shift < -most and after.path.suffix in NO_EDITS:
            other, shift = other[-shift * width :], 0  # the decoder's run-up is heard
        if abs(shift) > most:
            yield f"audio {a.index} begins {shift} samples later"
        # A container that counts milliseconds says only roughly how long that run-up is.
        loose = most if before.path.suffix in MILLISECONDS else 0
        if not any(_overlap(one, other, by * width) for by in range(-loose, loose + 1)):
            yield f"audio {a.index} sounds different"


def _overlap(one: bytes, other: bytes, later: int) -> bool:
    one, other = (one[later:], other) if later > 0 else (one, other[-later:])
    return one[: len(other)] == other[: len(one)]


def _heard(path: Path, index: int) -> tuple[Fraction, bytes, int]:
    with av.open(str(path)) as container:
        frames = list(container.decode(container.streams[index]))
        first = frames[0]
        assert first.pts is not None
        assert first.time_base is not None
        width = first.format.bytes * (1 if first.format.is_planar else first.layout.nb_channels)
        return first.pts * first.time_base, b"".join(bytes(f.planes[0])[: f.samples * width] for f in frames), width


def texts_column(before: Look, after: Look, pairs: Sequence[tuple[Track, Track]]) -> Iterator[str]:
    for a, b in pairs:
        if a.kind == "subtitle" and a.codec in TEXTS and a.codec != b.codec:
            one, other = (
                ffmpeg("-i", str(look.path), "-map", f"0:{track.index}", "-f", "srt", "-").decode()
                for look, track in ((before, a), (after, b))
            )
            if one != other:
                yield f"subtitle {a.index}: {one!r} became {other!r}"


def tags_column(before: Look, after: Look, pairs: Sequence[tuple[Track, Track]]) -> Iterator[str]:
    for a, b in pairs:
        languages = [SAME.get(track.tags.get("language", "und"), track.tags.get("language")) for track in (a, b)]
        if languages[0] != languages[1] and a.kind != "data":
            yield f"{a.kind} {a.index}: language {languages}"
        if a.title != b.title:
            yield f"{a.kind} {a.index}: title {a.title!r} became {b.title!r}"
        names = [name for name in a.tags if name not in OWN_TAGS]
        if a.kind in ("attachment", "cover"):
            names += [name for name in ("filename", "mimetype") if name in a.tags]
        for name in names:
            if a.kind != "data" and a.tags[name] != b.tags.get(name):
                yield f"{a.kind} {a.index}: {name}={a.tags[name]!r} became {b.tags.get(name)!r}"


def roles_column(before: Look, after: Look, pairs: Sequence[tuple[Track, Track]]) -> Iterator[str]:
    for a, b in pairs:
        # MP4 must have one default of each kind.
        extra = {"default"} if after.path.suffix in (".mp4", ".mov") else set()
        if a.kind != "data" and not (a.roles <= b.roles and b.roles - a.roles <= extra):
            yield f"{a.kind} {a.index}: roles {a.roles} became {b.roles}"


def chapters_column(before: Look, after: Look, pairs: Sequence[tuple[Track, Track]]) -> Iterator[str]:
    if before.chapters != after.chapters:
        yield f"{before.chapters} became {after.chapters}"


def attached_column(before: Look, after: Look, pairs: Sequence[tuple[Track, Track]]) -> Iterator[str]:
    for a, b in pairs:
        if a.attached != b.attached:
            yield f"attachment {a.index}: {(a.attached or ())[:2]} became {(b.attached or ())[:2]}"


def file_tags_column(before: Look, after: Look, pairs: Sequence[tuple[Track, Track]]) -> Iterator[str]:
    names = {*before.tags, *after.tags} - (OWN_TAGS - {"title"})
    for name in sorted(names):
        if before.tags.get(name) != after.tags.get(name):
            yield f"{name}={before.tags.get(name)!r} became {after.tags.get(name)!r}"


def side_column(before: Look, after: Look, pairs: Sequence[tuple[Track, Track]]) -> Iterator[str]:
    """ReplayGain, the kind of audio service, the display matrix."""
    for a, b in pairs:
        one, other = ([words for words in track.side if not words.startswith("CPB")] for track in (a, b))
        if one != other:
            yield f"{a.kind} {a.index}: {one} became {other}"


def programs_column(before: Look, after: Look, pairs: Sequence[tuple[Track, Track]]) -> Iterator[str]:
    if before.path.suffix == after.path.suffix == ".ts":
        if before.programs != after.programs:
            yield f"{before.programs} became {after.programs}"
        if [a.id for a, _ in pairs] != [b.id for _, b in pairs]:
            yield "identifiers of streams have changed"


COLUMNS: dict[str, Column] = {
    "packets": packets_column, "times": times_column, "sound": sound_column, "texts": texts_column,
    "tags": tags_column, "roles": roles_column, "chapters": chapters_column, "attached": attached_column,
    "file tags": file_tags_column, "side": side_column, "programs": programs_column,
}  # fmt: skip
