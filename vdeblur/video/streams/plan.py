"""Stream mapping: the streams to copy, convert or leave out, and those the container rejects.

The muxer itself is probed, before work starts: half a second of every stream is remuxed into the target's container.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from vdeblur.errors import UsageError
from vdeblur.video.encode.containers import Container
from vdeblur.video.encode.trial_encode import TrialVideo
from vdeblur.video.ffmpeg.command import OutputStream
from vdeblur.video.info import SourceInfo, StreamInfo
from vdeblur.video.streams.conversion import Refusal, target_codec
from vdeblur.video.streams.languages import QUICKTIME
from vdeblur.video.streams.muxer_probe import MuxerProbe, refused_streams
from vdeblur.video.streams.outcomes import Outcome, codec_label, describe_stream, list_streams, stream_outcome
from vdeblur.video.streams.passthrough import PassthroughPackets
from vdeblur.video.streams.reopening import empty_streams
from vdeblur.video.streams.retimed_copy import RetimedCopy

_KINDS = ("audio", "subtitle", "attachment", "data", "video", "cover", "chapters")
#: Tags that describe the bytes of the old video stream and would be wrong for the new one.
STALE_TAGS = ("BPS", "NUMBER_OF_BYTES", "_STATISTICS", "DURATION", "NUMBER_OF_FRAMES")
#: Demuxers whose packets of AAC have a header each (ADTS), which MP4 does not want.
_ADTS_DEMUXERS = frozenset({"mpegts", "aac"})
#: What becomes of a time code where there are no tracks for it.
AS_TAG = "→ a tag"
#: Roles FFmpeg's option takes; what is attached says so by itself.
_ROLES = frozenset(
    {
        "default", "dub", "original", "comment", "lyrics", "karaoke", "forced", "hearing_impaired", "visual_impaired",
        "clean_effects", "non_diegetic", "captions", "descriptions", "metadata", "dependent", "still_image",
    }
)  # fmt: skip


@dataclass(frozen=True)
class StreamPlan:
    """Mapping of the output's streams, in the source's order, with the position of the video."""

    streams: tuple[OutputStream, ...]
    video_position: int
    #: The same, not counting attached files.
    video_track: int
    #: Covers, fonts and the like that must be attached as files: indexes in the source.
    attached: tuple[int, ...]
    #: Whether the source's chapters come along.
    chapters: bool
    notes: tuple[str, ...]
    #: Outcomes of everything beside the video.
    outcomes: tuple[Outcome, ...] = ()

    def videos_before(self, index: int) -> int:
        """How many other videos stand in front of the one that had this index in the source."""
        return sum(
            one.kind == "video" and one.index is not None and one.index < index and one.fate in ("kept", "converted")
            for one in self.outcomes
        )


def plan_streams(
    info: SourceInfo,
    container: Container,
    *,
    passthrough: PassthroughPackets | None = None,
    drop: Sequence[str] = (),
    extra: Sequence[str] = (),
    video: TrialVideo | None = None,
    holds_video: Callable[[Container], bool] = lambda container: True,
) -> StreamPlan:
    """Map every stream of the source.

    FFmpeg opens the source again and takes them from there; where it cannot, ``passthrough`` carries them. Plain text
    subtitles are converted to what the container holds. Data streams of a kind it does not know (telemetry) are left
    out with a note; anything else it cannot hold is an error, for a viewer would miss it. ``video`` is for a muxer that
    writes nothing without one, ``holds_video`` tells whether another container could be suggested.

    Raises:
        UsageError: the container cannot hold a stream, or ``drop`` names none.
    """
    _check_drop(info, drop)
    notes: list[str] = []
    outcomes: list[Outcome] = []
    wanted = _without_dropped(info, container, drop, notes, outcomes)
    wanted = _without_encrypted(wanted, notes, outcomes)
    wanted = _without_written_anew(info, container, wanted, notes, outcomes)
    hollow = empty_streams(info, [stream for stream in wanted if stream.kind == "audio" and not stream.sample_rate])
    wanted = [stream for stream in wanted if stream.index not in hollow]
    direct = passthrough is None
    attached = [stream for stream in wanted if _is_attached(stream, container, direct)]
    streams = [stream for stream in wanted if stream not in attached]
    codecs = {stream.index: target_codec(stream, container) for stream in streams}
    probe = MuxerProbe(info, container, passthrough, tuple(extra), video)
    unable = refused_streams(probe, codecs)
    kept = [stream for stream in streams if stream.index not in unable]
    missing = [stream for stream in streams if stream.index in unable]
    chapters = bool(info.chapters) and "chapters" not in drop and direct and not container.only_pictures
    homeless = chapters and not container.holds_chapters
    pictures = [stream for stream in kept if stream.attached_picture and not (container.iso_base_media and direct)]
    refused = sorted(
        [*(stream for stream in missing if stream.kind != "data"), *pictures], key=lambda stream: stream.index
    )
    if refused or homeless:
        raise UsageError(Refusal(probe, wanted, refused, homeless, holds_video).message())
    if missing:
        notes.append(f"{container.name} has no place for data of this kind: left out {list_streams(missing)}")
        outcomes += [stream_outcome(stream, "left out", f"no place in {container.name}") for stream in missing]
    outcomes += [stream_outcome(info.streams[index], "left out", "there is nothing in it") for index in hollow]
    notes += _kept_notes([*kept, *attached], codecs, container)
    if others := [stream for stream in kept if stream.kind == "video" and not stream.attached_picture]:
        words = f"video {info.video.stream_index} is restored, {list_streams(others)} copied as it is"
        notes.append(f"{words}; --video N chooses another")
    outcomes += _outcomes(info, [*kept, *attached], codecs, chapters=chapters, container=container, drop=drop)
    if info.programs.names and not info.programs.are_kept(container.identifiers):
        words = f"name of program {', '.join(info.programs.names)}"
        notes.append(f"{container.name} has no place for the {words}")
        outcomes.append(Outcome("left out", "program", words))
    outcomes.sort(key=lambda outcome: len(info.streams) if outcome.index is None else outcome.index)
    if passthrough is not None:
        passthrough.select([stream.index for stream in kept])
    output, position = _in_order(info, container, kept, codecs, through_pipe=passthrough is not None)
    indexes = tuple(stream.index for stream in attached)
    return StreamPlan(output, position, position, indexes, chapters, tuple(notes), tuple(outcomes))


def with_copy(plan: StreamPlan, info: SourceInfo, container: Container, copy: RetimedCopy) -> StreamPlan:
    """The same with the streams of the source taken from its re-timed copy."""
    return replace(plan, streams=tuple(_from_copy(stream, info, container, copy) for stream in plan.streams))


def _from_copy(stream: OutputStream, info: SourceInfo, container: Container, copy: RetimedCopy) -> OutputStream:
    if stream.from_pipe:
        return stream
    original = info.streams[stream.index]
    options = {**stream.options, **_dispositions(original)}
    if filters := _packet_filters(info, original, container, through_pipe=not copy.keeps_durations):
        options["bsf"] = ",".join(filters)
    return replace(stream, index=copy.places[stream.index], from_copy=True, options=options)


def _is_attached(stream: StreamInfo, container: Container, direct: bool) -> bool:
    """Whether a stream becomes an attachment, as covers and fonts do in Matroska."""
    return container.attaches_files and direct and (stream.attached_picture or stream.kind == "attachment")


def _without_dropped(
    info: SourceInfo, container: Container, drop: Sequence[str], notes: list[str], outcomes: list[Outcome]
) -> list[StreamInfo]:
    """The streams beside the video that are wanted; the others are added to ``notes`` and ``outcomes``."""
    others = _other_streams(info)
    dropped = [stream for stream in others if _is_dropped(stream, drop)]
    wanted = [stream for stream in others if stream not in dropped]
    outcomes += [stream_outcome(stream, "left out", "as asked") for stream in dropped]
    if dropped:
        notes.append(f"left out as asked: {list_streams(dropped)}")
    if container.only_pictures and wanted:
        notes.append(f"{container.name} holds pictures only: left out {list_streams(wanted)}")
        outcomes += [stream_outcome(stream, "left out", f"{container.name} holds pictures only") for stream in wanted]
        return []
    return wanted


def _without_encrypted(wanted: list[StreamInfo], notes: list[str], outcomes: list[Outcome]) -> list[StreamInfo]:
    """The same without encrypted streams: no container here takes along what a key would need."""
    encrypted = [stream for stream in wanted if stream.encrypted]
    if encrypted:
        notes.append(f"encrypted in the source, and useless when copied: left out {list_streams(encrypted)}")
        outcomes += [stream_outcome(stream, "left out", "encrypted") for stream in encrypted]
    return [stream for stream in wanted if not stream.encrypted]


def _without_written_anew(
    info: SourceInfo, container: Container, wanted: list[StreamInfo], notes: list[str], outcomes: list[Outcome]
) -> list[StreamInfo]:
    """The same without QuickTime's tracks of chapter names and time code, which the muxer writes anew."""
    chapters = [stream for stream in wanted if stream.chapter_text]
    track, tag = container.iso_base_media, container.keeps_tags
    code = [stream for stream in wanted if _is_time_code(stream, info) and (track or tag)]
    if code and track:
        notes.append(f"written anew from its tag: {list_streams(code)}")
    elif code:
        notes.append(f"time code kept as a tag of the video: {list_streams(code)}")
    for stream in code:
        outcomes.append(stream_outcome(stream, "kept") if track else stream_outcome(stream, "converted", AS_TAG))
    return [stream for stream in wanted if stream not in chapters and stream not in code]


def _is_time_code(stream: StreamInfo, info: SourceInfo) -> bool:
    """Whether it is a time code track whose tag the video stream has too; the muxer makes the track from that."""
    video = info.streams[info.video.stream_index]
    return stream.kind == "data" and "timecode" in stream.metadata and "timecode" in video.metadata


def _outcomes(
    info: SourceInfo,
    kept: Sequence[StreamInfo],
    codecs: dict[int, str],
    *,
    chapters: bool,
    container: Container,
    drop: Sequence[str],
) -> list[Outcome]:
    """Outcomes of the streams that are kept, and of the chapters."""
    outcomes = []
    for stream in sorted(kept, key=lambda stream: stream.index):
        codec = codecs.get(stream.index, "copy")
        words = f"{codec_label(stream.codec)} → {codec_label(codec)}"
        outcomes.append(
            stream_outcome(stream, "kept") if codec == "copy" else stream_outcome(stream, "converted", words)
        )
    if info.chapters:
        words = f"{info.chapters} chapter{'s' * (info.chapters != 1)}"
        why = "as asked" if "chapters" in drop else "" if chapters else _why_no_chapters(container)
        outcomes.append(Outcome("kept" if chapters else "left out", "chapter", words, why, info.chapters))
    return outcomes


def _why_no_chapters(container: Container) -> str:
    return f"{container.name} holds pictures only" if container.only_pictures else "they cannot come from a pipe"


def _other_streams(info: SourceInfo) -> list[StreamInfo]:
    return [stream for stream in info.streams if stream.index != info.video.stream_index and _is_copied(stream)]


def _is_copied(stream: StreamInfo) -> bool:
    """Whether a stream is one beside the video, and no part of what is read."""
    return stream.part_of_video in (None, "copied alpha")


def _is_dropped(stream: StreamInfo, drop: Sequence[str]) -> bool:
    kind = "cover" if stream.attached_picture else stream.kind
    return kind in drop or str(stream.index) in drop


def _check_drop(info: SourceInfo, drop: Sequence[str]) -> None:
    """Refuse words in ``drop`` that name no kind and no stream.

    Raises:
        UsageError: such a word, or the video itself.
    """
    indexes = {str(stream.index) for stream in _other_streams(info)}
    for word in drop:
        if word not in _KINDS and word not in indexes:
            known = ", ".join([*_KINDS, *sorted(indexes, key=int)])
            raise UsageError(f"drop={word!r} is no kind or index of a stream beside the video; choose from {known}")


def _in_order(
    info: SourceInfo, container: Container, kept: Sequence[StreamInfo], codecs: dict[int, str], *, through_pipe: bool
) -> tuple[tuple[OutputStream, ...], int]:
    """Output streams in the order of the source, and the place of the video among them."""
    video = info.streams[info.video.stream_index]
    frames = OutputStream(
        0, from_pipe=True, options=_dispositions(video), tags_of=video.index, tags=_tags(video, through_pipe)
    )
    streams = {video.index: frames}
    for number, stream in enumerate(kept, start=1):
        options = {"c": codecs[stream.index]}
        if filters := _packet_filters(info, stream, container, through_pipe=through_pipe):
            options["bsf"] = ",".join(filters)
        if through_pipe:
            options |= _dispositions(stream)
            streams[stream.index] = OutputStream(
                number, from_pipe=True, kind=stream.kind, options=options, tags=_tags(stream, True)
            )
        else:
            tags = (*(_language(stream) if container.quicktime_languages else ()), *_title(stream))
            streams[stream.index] = OutputStream(
                stream.index, kind=stream.kind, options=options, tags_of=stream.index, tags=tags
            )
    order = sorted(streams)
    return tuple(streams[index] for index in order), order.index(video.index)


def _language(stream: StreamInfo) -> tuple[str, ...]:
    """The language under the name FFmpeg's QuickTime muxer knows, where it is not the source's."""
    known = QUICKTIME.get(stream.language or "")
    return (f"language={known}",) if known is not None else ()


def _title(stream: StreamInfo) -> tuple[str, ...]:
    """The title under the name FFmpeg's muxers know, where MP4 has it as the name of the track."""
    if stream.title is None or "title" in stream.metadata:
        return ()
    return (f"title={stream.title}", "name=")


def _packet_filters(info: SourceInfo, stream: StreamInfo, container: Container, *, through_pipe: bool) -> list[str]:
    """Bitstream filters of a copied stream; none changes the decoded content."""
    filters = []
    if stream.codec == "aac" and container.iso_base_media and info.container in _ADTS_DEMUXERS:
        # FFmpeg sees to it itself, but not when it writes fragments.
        filters.append("aac_adtstoasc")
    timeless = stream.kind == "data" and container.iso_base_media and not info.container.startswith("mov,")
    if timeless or (stream.kind == "audio" and through_pipe):
        # NUT does not keep lengths of packets, and data in MPEG-TS have none. A last packet without one would be cut
        # off by MP4's edit list: it lasts as long as the gap before it.
        gap = r"if(isnan(PREV_INPTS)\,0\,PTS-PREV_INPTS)"
        filters.append(rf"setts=duration=if(gt(DURATION\,0)\,DURATION\,{gap})")
    return filters


def _dispositions(stream: StreamInfo) -> dict[str, str]:
    return {"disposition": "+".join(name for name in stream.dispositions if name in _ROLES) or "0"}


def _tags(stream: StreamInfo, in_full: bool) -> tuple[str, ...]:
    """Tags of a stream, or only those to take away because they describe the old video stream's bytes."""
    stale = {name: "" for name in stream.metadata if stream.kind == "video" and name.upper().startswith(STALE_TAGS)}
    tags = ({**stream.metadata} if in_full else {}) | stale
    return (*(f"{name}={value}" for name, value in tags.items()), *_title(stream))


def _kept_notes(kept: Sequence[StreamInfo], codecs: dict[int, str], container: Container) -> list[str]:
    notes = []
    if copied := [stream for stream in kept if codecs.get(stream.index, "copy") == "copy"]:
        notes.append(f"copied: {list_streams(sorted(copied, key=lambda stream: stream.index))}")
    for stream in kept:
        if (codec := codecs.get(stream.index, "copy")) != "copy":
            notes.append(f"converted: {describe_stream(stream)} to {codec}, the text {container.name} holds")
    if placed := [stream for stream in kept if stream.codec == "webvtt" and codecs.get(stream.index) != "copy"]:
        notes.append(f"{container.name} has no place for names and positions of cues: {list_streams(placed)}")
    if container.pcm_note and (sounds := [stream for stream in kept if stream.codec.startswith("pcm_")]):
        notes.append(f"{container.pcm_note}: {list_streams(sounds)}")
    return notes
