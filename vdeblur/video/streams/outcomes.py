"""Stream outcomes: each stream, chapter and tag kept, converted, left out or lost, and the summary line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vdeblur.video.info import StreamInfo

#: "lost" = promised but not in the result, which is a fault.
Fate = Literal["kept", "converted", "left out", "lost"]

_FONTS = ("font/", "application/x-truetype-font", "application/x-font", "application/vnd.ms-opentype")
#: Names of codecs as people write them.
_SPOKEN = {
    "subrip": "SRT", "srt": "SRT", "ass": "ASS", "ssa": "ASS", "webvtt": "WebVTT", "text": "text", "aac": "AAC",
    "ac3": "AC-3", "eac3": "E-AC-3", "mp3": "MP3", "opus": "Opus", "vorbis": "Vorbis", "flac": "FLAC", "alac": "ALAC",
}  # fmt: skip
_UNCOUNTED = frozenset({"audio", "data"})


@dataclass(frozen=True)
class Outcome:
    """Outcome of one stream, or of several items of a kind that are no streams (chapters, tags)."""

    fate: Fate
    #: "audio", "subtitle", "video", "cover", "font", "attachment", "data", "chapter", "tag" or "program".
    kind: str
    #: For people: "audio 1 (aac, eng)", "3 chapters".
    what: str
    #: What it was converted to ("SRT → mov_text"), or why it is missing.
    detail: str = ""
    count: int = 1
    #: Index in the source, if it is a stream.
    index: int | None = None


def stream_kind(stream: StreamInfo) -> str:
    """Kind of a stream for people; covers and fonts are kinds of their own."""
    if stream.attached_picture:
        return "cover"
    if stream.part_of_video is not None:
        return "alpha"
    if stream.kind == "attachment" and stream.metadata.get("mimetype", "").startswith(_FONTS):
        return "font"
    return stream.kind


def describe_stream(stream: StreamInfo) -> str:
    """Describe a stream for people: "audio 1 (aac, eng)"."""
    kind = "cover" if stream.attached_picture else "alpha" if stream.part_of_video is not None else stream.kind
    language = stream.language if stream.language != "und" else None
    name = stream.metadata.get("filename") if stream.kind == "attachment" else codec_name(stream.codec)
    if stream.kind == "data":
        name = stream.metadata.get("handler_name", stream.codec).strip()
    return f"{kind} {stream.index} ({', '.join(filter(None, (name, language)))})"


def list_streams(streams: Sequence[StreamInfo]) -> str:
    return ", ".join(describe_stream(stream) for stream in streams)


def codec_label(codec: str) -> str:
    """Name of a codec as people write it."""
    return _SPOKEN.get(codec, codec)


def codec_name(codec: str) -> str:
    """Name of the codec of a decoder: FFmpeg decodes "mp3" with "mp3float"."""
    return codec.removesuffix("float")


def stream_outcome(stream: StreamInfo, fate: Fate, detail: str = "") -> Outcome:
    return Outcome(fate, stream_kind(stream), describe_stream(stream), detail, index=stream.index)


def summary_words(outcomes: Sequence[Outcome]) -> str:
    """Summary line, like "kept: 2 audio, 1 font · converted: subtitle 3 SRT → mov_text"; empty if there is nothing."""
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        if outcome.fate == "kept":
            counts[outcome.kind] += outcome.count
    parts = []
    if counts:
        parts.append("kept: " + ", ".join(_counted(kind, count) for kind, count in counts.items()))
    if converted := [o for o in outcomes if o.fate == "converted"]:
        parts.append("converted: " + ", ".join(_converted(outcome) for outcome in converted))
    for fate, word in (("left out", "left out"), ("lost", "LOST")):
        if missing := [o for o in outcomes if o.fate == fate]:
            parts.append(f"{word}: " + ", ".join(_missing(outcome) for outcome in missing))
    return " · ".join(parts)


def _counted(kind: str, count: int) -> str:
    return f"{count} {kind}{'s' if count != 1 and kind not in _UNCOUNTED else ''}"


def _converted(outcome: Outcome) -> str:
    name = outcome.kind if outcome.index is None else f"{outcome.kind} {outcome.index}"
    return f"{name} {outcome.detail}"


def _missing(outcome: Outcome) -> str:
    return f"{outcome.what}: {outcome.detail}" if outcome.detail else outcome.what
