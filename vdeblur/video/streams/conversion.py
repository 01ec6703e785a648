"""Stream conversion: text subtitles in the container's own codec, and the remedies for streams it rejects.

Plain text subtitles are converted, for that loses nothing. Styled ones (ASS) and audio are not: the error message
names the remedies, each of which has been tried on the muxer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from vdeblur.errors import UsageError
from vdeblur.video.encode.containers import Container, container_of
from vdeblur.video.info import StreamInfo
from vdeblur.video.streams.muxer_probe import TEXT_SUBTITLES, MuxerProbe
from vdeblur.video.streams.outcomes import list_streams

#: Subtitle codecs with styles, positions and effects.
_STYLED = frozenset({"ass", "ssa"})
_LOSSLESS_SOUND = frozenset({"flac", "truehd", "mlp", "wavpack", "tta", "ape"})


def target_codec(stream: StreamInfo, container: Container) -> str:
    """Codec of a stream in the output: "copy", or the container's text subtitle codec."""
    text = container.text_subtitles
    if stream.kind != "subtitle" or stream.codec not in TEXT_SUBTITLES - _STYLED or text in (None, stream.codec):
        return "copy"
    return "copy" if stream.codec in container.native_text else str(text)


def refusal_message(probe: MuxerProbe, refused: Sequence[StreamInfo], *, chapters: bool = False) -> str:
    """Error message in one line: the streams that the container rejects, and every remedy."""
    info, container = probe.info, probe.container
    named = list_streams(refused)
    if chapters:
        named = ", ".join(filter(None, (named, f"{info.chapters} chapter{'s' * (info.chapters != 1)}")))
    drops = [str(stream.index) for stream in refused] + ["chapters"] * chapters
    it = "it" if len(drops) == 1 and not chapters else "them"
    if probe.info.input_url is None:
        ways = [f"{named} cannot come along from {info.name}; name the file itself"]
    else:
        ways = [f"{container.name} cannot hold {named}; write to {_other_ending(probe, refused)}"]
        ways += _conversions(container, refused)
    words = ", ".join(map(repr, drops)) + ("," if len(drops) == 1 else "")
    ways.append(f"or leave {it} out with drop=({words}) ({' '.join(f'--drop {word}' for word in drops)})")
    return ", ".join(ways)


def _conversions(container: Container, refused: Sequence[StreamInfo]) -> list[str]:
    """Remedies by conversion, as FFmpeg options."""
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


def _other_ending(probe: MuxerProbe, refused: Sequence[StreamInfo]) -> str:
    """File ending of a container that accepts the streams: Matroska, or the source's own."""
    path = probe.info.path
    for ending in (".mkv", "" if path is None else PurePath(path.name).suffix.lower()):
        try:
            container = container_of(f"x{ending}")
        except UsageError:
            continue
        other = MuxerProbe(probe.info, container, probe.passthrough, ())
        if container.muxer != probe.container.muxer and all(
            other.refusal_reason({stream.index: target_codec(stream, container)}) is None for stream in refused
        ):
            return ending
    return ".mkv"
