"""What a stream becomes in a container that has other words for it, and what to do where it has none.

Plain text subtitles are converted, for that loses nothing. Styled ones (ASS) and sound are not: the refusal names the
ways out, and each of them has been asked of the muxer first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from vdeblur.errors import UsageError
from vdeblur.video.encode.containers import Container, container_of
from vdeblur.video.info import StreamInfo
from vdeblur.video.streams.muxer_probe import TEXT_SUBTITLES, Question
from vdeblur.video.streams.outcomes import list_streams

#: Styles, places and effects are the point of these; other texts have none.
_STYLED = frozenset({"ass", "ssa"})
_LOSSLESS_SOUND = frozenset({"flac", "truehd", "mlp", "wavpack", "tta", "ape"})


def codec_for(stream: StreamInfo, container: Container) -> str:
    """Codec of a stream in the output: a copy, or plain text subtitles in the container's own words."""
    text = container.text_subtitles
    if stream.kind != "subtitle" or stream.codec not in TEXT_SUBTITLES - _STYLED or text in (None, stream.codec):
        return "copy"
    return "copy" if stream.codec in container.native_text else str(text)


def refusal(question: Question, refused: Sequence[StreamInfo], *, chapters: bool = False) -> str:
    """One line: what the container cannot hold, and every way out."""
    info, container = question.info, question.container
    named = list_streams(refused)
    if chapters:
        named = ", ".join(filter(None, (named, f"{info.chapters} chapter{'s' * (info.chapters != 1)}")))
    drops = [str(stream.index) for stream in refused] + ["chapters"] * chapters
    it = "it" if len(drops) == 1 and not chapters else "them"
    if question.info.input_url is None:
        ways = [f"{named} cannot come along from {info.name}; name the file itself"]
    else:
        ways = [f"{container.name} cannot hold {named}; write to {_other_ending(question, refused)}"]
        ways += _conversions(container, refused)
    words = ", ".join(map(repr, drops)) + ("," if len(drops) == 1 else "")
    ways.append(f"or leave {it} out with drop=({words}) ({' '.join(f'--drop {word}' for word in drops)})")
    return ", ".join(ways)


def _conversions(container: Container, refused: Sequence[StreamInfo]) -> list[str]:
    """What may be converted knowingly, in FFmpeg's options."""
    ways = []
    if sounds := [stream for stream in refused if stream.kind == "audio"]:
        lossless = all(stream.codec in _LOSSLESS_SOUND for stream in sounds)
        encoder = (container.lossless_audio_encoder if lossless else None) or container.audio_encoder
        options = f"ffmpeg_args=('-c:a', {encoder!r}) (--ffmpeg-args '-c:a {encoder}')"
        ways.append(f"or convert sound with {options}{_dropping_others(refused, sounds)}")
    text = container.text_subtitles
    if text is not None and (styled := [stream for stream in refused if stream.codec in _STYLED]):
        options = f"ffmpeg_args=('-c:s', {text!r}) (--ffmpeg-args '-c:s {text}')"
        ways.append(f"or give up the style of subtitles with {options}{_dropping_others(refused, styled)}")
    return ways


def _dropping_others(refused: Sequence[StreamInfo], converted: Sequence[StreamInfo]) -> str:
    others = [stream for stream in refused if stream not in converted]
    return f" and {' '.join(f'--drop {stream.index}' for stream in others)}" if others else ""


def _other_ending(question: Question, refused: Sequence[StreamInfo]) -> str:
    """An ending whose container takes what this one refuses: Matroska, or the source's own."""
    path = question.info.path
    for ending in (".mkv", "" if path is None else PurePath(path.name).suffix.lower()):
        try:
            container = container_of(f"x{ending}")
        except UsageError:
            continue
        other = Question(question.info, container, question.companions, ())
        if container.muxer != question.container.muxer and all(
            other.why_not({stream.index: codec_for(stream, container)}) is None for stream in refused
        ):
            return ending
    return ".mkv"
