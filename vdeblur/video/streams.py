"""The streams beside the video: which are copied, which converted, and which the container cannot hold.

The muxer itself is asked, before work starts: half a second of every stream is copied into a file of the target's kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vdeblur.errors import UsageError
from vdeblur.video.command import OutputStream
from vdeblur.video.companions import Companions
from vdeblur.video.containers import Container
from vdeblur.video.holding import TEXT_SUBTITLES, Question, refused_by
from vdeblur.video.info import SourceInfo, StreamInfo

_KINDS = ("audio", "subtitle", "attachment", "data", "video", "cover")
#: FFmpeg has two names for some codecs; Matroska holds these text subtitles as they are.
_NATIVE_TEXT = {
    "matroska": frozenset({"subrip", "srt", "ass", "ssa", "webvtt", "text"}),
    "webm": frozenset({"webvtt"}),
}
#: Tags that describe the bytes of the old video stream and would be wrong for the new one.
_STALE_TAGS = ("BPS", "NUMBER_OF_BYTES", "_STATISTICS", "DURATION", "NUMBER_OF_FRAMES")
#: Encoders for sound that a container does not hold, where AAC is none.
_SOUND = {"webm": "libopus", "avi": "mp3", "ogg": "libopus"}
#: Containers in which every packet of AAC has a header of its own, which MP4 does not want.
_ADTS_CONTAINERS = frozenset({"mpegts", "aac"})
#: QuickTime has a fixed list of languages, and FFmpeg names some by their older or shorter codes.
_QUICKTIME_LANGUAGES = {
    "deu": "ger", "nld": "dut", "swe": "sve", "ell": "gre", "isl": "ice", "hrv": "hr ", "zho": "chi", "fao": "fo ",
    "sqi": "alb", "srp": "sr ", "mkd": "mac", "hye": "arm", "kat": "geo", "bod": "tib", "pan": "pa ", "mya": "bur",
    "msa": "may", "fre": "fra", "cze": "ces", "rum": "ron", "slo": "slk",
}  # fmt: skip


@dataclass(frozen=True)
class StreamPlan:
    """The streams of the output, in the source's order, with the place of the video among them."""

    streams: tuple[OutputStream, ...]
    video_position: int
    #: The same, not counting attached files.
    track_of_video: int
    #: Cover pictures that must be attached as files: indexes in the source.
    covers: tuple[int, ...]
    notes: tuple[str, ...]


def plan_streams(
    info: SourceInfo,
    container: Container,
    *,
    companions: Companions | None = None,
    drop: Sequence[str] = (),
    extra: Sequence[str] = (),
) -> StreamPlan:
    """Decide about every stream of the source.

    FFmpeg opens the source again and takes them from there; where it cannot, ``companions`` carry them. Text
    subtitles are converted to what the container holds. Data streams of a kind it does not know (telemetry, time code)
    are left out with a note; anything else it cannot hold is an error, for a viewer would miss it.

    Raises:
        UsageError: the container cannot hold a stream, or ``drop`` names none.
    """
    _check_drop(info, drop)
    notes: list[str] = []
    wanted = _without_dropped(info, container, drop, notes)
    if anew := [stream for stream in wanted if _written_anew(stream, container)]:
        notes.append(f"written anew from its tag: {_list(anew)}")
    wanted = [stream for stream in wanted if stream not in anew]
    direct = companions is None
    covers = [stream for stream in wanted if stream.attached_picture and not (container.is_mov and direct)]
    attached = container.attaches_covers and direct
    if covers and not attached:
        notes.append(f"{container.name if direct else 'a pipe'} cannot hold cover pictures: left out {_list(covers)}")
    streams = [stream for stream in wanted if stream not in covers]
    codecs = {stream.index: _codec_for(stream, container) for stream in streams}
    unable = refused_by(Question(info, container, companions, tuple(extra)), codecs)
    kept = [stream for stream in streams if stream.index not in unable]
    missing = [stream for stream in streams if stream.index in unable]
    if refused := [stream for stream in missing if stream.kind != "data"]:
        raise UsageError(_refusal(info, container, refused))
    if missing:
        notes.append(f"{container.name} has no place for data of this kind: left out {_list(missing)}")
    notes += _kept_notes(kept, codecs, container)
    if companions is not None:
        companions.choose([stream.index for stream in kept])
    output, position = _in_order(info, container, kept, codecs, through_pipe=companions is not None)
    attachments = sum(stream.kind == "attachment" for stream in kept if stream.index < info.video.stream_index)
    return StreamPlan(
        output,
        position,
        position - attachments,
        tuple(stream.index for stream in covers) if attached else (),
        tuple(notes),
    )


def _without_dropped(info: SourceInfo, container: Container, drop: Sequence[str], notes: list[str]) -> list[StreamInfo]:
    """The streams beside the video that should be kept; ``notes`` gets the others."""
    others = _other_streams(info)
    dropped = [stream for stream in others if _is_dropped(stream, drop)]
    wanted = [stream for stream in others if stream not in dropped]
    if dropped:
        notes.append(f"left out as asked: {_list(dropped)}")
    if container.only_pictures and wanted:
        notes.append(f"{container.name} holds pictures only: left out {_list(wanted)}")
        return []
    return wanted


def _other_streams(info: SourceInfo) -> list[StreamInfo]:
    return [stream for stream in info.streams if stream.index != info.video.stream_index]


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


def _codec_for(stream: StreamInfo, container: Container) -> str:
    """Codec of a stream in the output: a copy, or text subtitles in the container's own words."""
    text = container.text_subtitles
    if stream.kind != "subtitle" or stream.codec not in TEXT_SUBTITLES or text is None or stream.codec == text:
        return "copy"
    return "copy" if stream.codec in _NATIVE_TEXT.get(container.muxer, ()) else text


def _written_anew(stream: StreamInfo, container: Container) -> bool:
    """Whether it is a time code track, which the muxer makes itself from the tag the video stream has."""
    return stream.kind == "data" and container.is_mov and "timecode" in stream.metadata


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
            streams[stream.index] = OutputStream(number, True, options, tags=_tags(stream, True))
        else:
            tags = _language(stream) if container.muxer == "mov" else ()
            streams[stream.index] = OutputStream(stream.index, options=options, tags_of=stream.index, tags=tags)
    order = sorted(streams)
    return tuple(streams[index] for index in order), order.index(video.index)


def _language(stream: StreamInfo) -> tuple[str, ...]:
    """The language under the name FFmpeg's QuickTime muxer knows, where it is not the source's."""
    known = _QUICKTIME_LANGUAGES.get(stream.language or "")
    return (f"language={known}",) if known is not None else ()


def _packet_filters(info: SourceInfo, stream: StreamInfo, container: Container, *, through_pipe: bool) -> list[str]:
    """Bitstream filters of a copied stream; none changes what is heard."""
    filters = []
    if stream.codec == "aac" and container.is_mov and info.container in _ADTS_CONTAINERS:
        # FFmpeg sees to it itself, but not when it writes fragments.
        filters.append("aac_adtstoasc")
    if stream.kind == "audio" and through_pipe:
        # NUT does not keep lengths of packets. A last packet without one would be cut off by MP4's edit list: it lasts
        # as long as the gap before it.
        gap = r"if(isnan(PREV_INPTS)\,0\,PTS-PREV_INPTS)"
        filters.append(rf"setts=duration=if(gt(DURATION\,0)\,DURATION\,{gap})")
    return filters


def _dispositions(stream: StreamInfo) -> dict[str, str]:
    flags = [name for name, is_set in (("default", stream.default), ("forced", stream.forced)) if is_set]
    return {"disposition": "+".join(flags) or "0"}


def _tags(stream: StreamInfo, in_full: bool) -> tuple[str, ...]:
    """Tags of a stream, or only those to take away because they describe the old video stream's bytes."""
    stale = {name: "" for name in stream.metadata if stream.kind == "video" and name.upper().startswith(_STALE_TAGS)}
    tags = ({**stream.metadata} if in_full else {}) | stale
    return tuple(f"{name}={value}" for name, value in tags.items())


def _kept_notes(kept: Sequence[StreamInfo], codecs: dict[int, str], container: Container) -> list[str]:
    notes = []
    if copied := [stream for stream in kept if codecs[stream.index] == "copy"]:
        notes.append(f"copied: {_list(copied)}")
    for stream in kept:
        if (codec := codecs[stream.index]) != "copy":
            notes.append(f"converted: {_describe(stream)} to {codec}, the text {container.name} holds")
    return notes


def _describe(stream: StreamInfo) -> str:
    """A stream for people: "audio 1 (aac, eng)"."""
    kind = "cover" if stream.attached_picture else stream.kind
    language = stream.language if stream.language != "und" else None
    name = stream.metadata.get("filename") if stream.kind == "attachment" else stream.codec
    if stream.kind == "data":
        name = stream.metadata.get("handler_name", stream.codec).strip()
    return f"{kind} {stream.index} ({', '.join(filter(None, (name, language)))})"


def _list(streams: Sequence[StreamInfo]) -> str:
    return ", ".join(_describe(stream) for stream in streams)


def _refusal(info: SourceInfo, container: Container, refused: Sequence[StreamInfo]) -> str:
    words = ", ".join(repr(str(stream.index)) for stream in refused) + ("," if len(refused) == 1 else "")
    it = "it" if len(refused) == 1 else "them"
    if info.input_url is None:
        what, other = f"{_list(refused)} cannot come along from {info.name}", "name the file itself"
    else:
        what, other = f"{container.name} cannot hold {_list(refused)}", "write to .mkv"
    if any(stream.kind == "audio" for stream in refused) and info.input_url is not None:
        encoder = _SOUND.get(container.muxer, "aac")
        other += f", or convert sound with ffmpeg_args=('-c:a', {encoder!r}) (--ffmpeg-args '-c:a {encoder}')"
    options = " ".join(f"--drop {stream.index}" for stream in refused)
    return f"{what}; {other}, or leave {it} out with drop=({words}) ({options})"
