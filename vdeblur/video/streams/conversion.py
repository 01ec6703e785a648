"""Stream conversion: text subtitles in the container's own codec, and the remedies for streams it rejects.

Plain text subtitles are converted, for that loses nothing. Styled ones (ASS) and audio are not: the error message
names the remedies, each of which has been tried on the muxer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from vdeblur.errors import UsageError
from vdeblur.video.encode.containers import Container, container_of
from vdeblur.video.info import StreamInfo
from vdeblur.video.streams.muxer_probe import TEXT_SUBTITLES, MuxerProbe
from vdeblur.video.streams.outcomes import list_streams

#: Subtitle codecs with styles, positions and effects.
_STYLED = frozenset({"ass", "ssa"})
_LOSSLESS_SOUND = frozenset({"alac", "flac", "truehd", "mlp", "wavpack", "tta", "ape"})
_PCM = ("pcm_", "s302m")
#: PCM of more than sixteen bits, as its name says.
_DEEP_PCM = re.compile(r"24|32|64|bluray|dvd|s302m")
#: Encoders to fall back on, best first, where a container does not hold what its row suggests.
_SOUND_ENCODERS = ("aac", "ac3", "libmp3lame", "mp2", "libopus", "pcm_s16le", "pcm_s16be", "libvorbis", "flac")
#: Endings to suggest where neither Matroska nor the source's own will do.
_ENDINGS = (".mov", ".mp4", ".ts")


def target_codec(stream: StreamInfo, container: Container) -> str:
    """Codec of a stream in the output: "copy", or the container's text subtitle codec."""
    text = container.text_subtitles
    if stream.kind != "subtitle" or stream.codec not in TEXT_SUBTITLES - _STYLED or text in (None, stream.codec):
        return "copy"
    return "copy" if stream.codec in container.native_text else str(text)


@dataclass(frozen=True)
class Refusal:
    """What a container rejects, and the ways out that have been tried."""

    probe: MuxerProbe
    #: All streams that are to come along beside the video.
    wanted: Sequence[StreamInfo]
    #: Those of them that the container rejects.
    refused: Sequence[StreamInfo]
    #: Whether it has no place for chapters either.
    chapters: bool = False
    #: Whether another container can hold the video; asked before it is named.
    holds_video: Callable[[Container], bool] = lambda container: True

    def message(self) -> str:
        """Error message in one line: the streams that the container rejects, and every remedy that works."""
        info, container = self.probe.info, self.probe.container
        named = list_streams(self.refused)
        if self.chapters:
            count = f"{info.chapters} chapter{'s' * (info.chapters != 1)}"
            named = ", ".join(filter(None, (named, count)))
        drops = [str(stream.index) for stream in self.refused] + ["chapters"] * self.chapters
        it = "it" if len(drops) == 1 and not self.chapters else "them"
        ways = list[str]()
        if info.input_url is None:
            problem, ways = f"{named} cannot come along from {info.name}", ["name the file itself"]
        else:
            problem = f"{container.name} cannot hold {named}"
            if (ending := self._other_ending()) is not None:
                ways.append(f"write to {ending}")
            ways += self._conversions()
        words = ", ".join(map(repr, drops)) + ("," if len(drops) == 1 else "")
        ways.append(f"leave {it} out with drop=({words}) ({' '.join(f'--drop {word}' for word in drops)})")
        return f"{problem}; {', or '.join(ways)}"

    def _other_ending(self) -> str | None:
        """Ending of a container that accepts everything: Matroska, the source's own, or another that many play."""
        path = self.probe.info.path
        own = "" if path is None else PurePath(path.name).suffix.lower()
        return next((ending for ending in dict.fromkeys((".mkv", own, *_ENDINGS)) if self._fits(ending)), None)

    def _fits(self, ending: str) -> bool:
        """Whether the container of an ending accepts everything."""
        try:
            container = container_of(f"x{ending}")
        except UsageError:
            return False
        # One that needs a video cannot be tried with the one at hand.
        if container == self.probe.container or container.only_pictures or container.needs_video:
            return False
        if self.chapters and not container.holds_chapters:
            return False
        other = MuxerProbe(self.probe.info, container, self.probe.passthrough, self.probe.extra)
        codecs = {s.index: target_codec(s, container) for s in self.wanted if not _is_apart(s, container)}
        return (not codecs or other.refusal_reason(codecs) is None) and self.holds_video(container)

    def _conversions(self) -> Iterator[str]:
        """Remedies by conversion, as FFmpeg options."""
        container = self.probe.container
        if sounds := [stream for stream in self.refused if stream.kind == "audio"]:
            yield from self._conversion("convert sound with", "a", _sound_encoders(container, sounds), sounds)
        texts = [stream for stream in self.refused if stream.kind == "subtitle"]
        if texts and container.text_subtitles is not None:
            words = "give up the style of subtitles with"
            yield from self._conversion(words, "s", (container.text_subtitles,), texts)

    def _conversion(
        self, words: str, kind: str, encoders: Iterable[str], converted: Sequence[StreamInfo]
    ) -> Iterator[str]:
        """The first conversion that works: of those refused, or of all of their kind where that loses nothing."""
        left = [stream for stream in self.refused if stream not in converted]
        kept = [stream for stream in self.wanted if stream not in left]
        codecs = {stream.index: target_codec(stream, self.probe.container) for stream in kept}
        own = [stream for stream in kept if stream.kind == converted[0].kind]
        for encoder in encoders:
            harmless = encoder in _LOSSLESS_SOUND and all(map(_is_lossless, own))
            every = harmless or len(own) == len(converted)
            places = [""] if every else [f":{own.index(stream)}" for stream in converted]
            options = [word for place in places for word in (f"-c:{kind}{place}", encoder)]
            options += self.probe.container.audio_options if kind == "a" else ()
            if self.probe.refusal_reason(codecs, options) is None:
                drops = [f"--drop {stream.index}" for stream in left] + ["--drop chapters"] * self.chapters
                and_drop = f" and {' '.join(drops)}" if drops else ""
                quoted = ", ".join(map(repr, options))
                yield f"{words} ffmpeg_args=({quoted}) (--ffmpeg-args '{' '.join(options)}'){and_drop}"
                return


def _is_apart(stream: StreamInfo, container: Container) -> bool:
    """Whether a container never refuses a stream: it is left out with a note, or attached as a file."""
    return stream.kind == "data" or (
        container.attaches_files and (stream.attached_picture or stream.kind == "attachment")
    )


def _sound_encoders(container: Container, sounds: Sequence[StreamInfo]) -> Iterator[str]:
    """Encoders to try, best first: without loss where nothing has been lost yet."""
    if all(stream.codec.startswith(_PCM) for stream in sounds):
        deep = any(_DEEP_PCM.search(stream.codec) for stream in sounds)
        yield from ("pcm_s24le", "pcm_s24be") if deep else ("pcm_s16le", "pcm_s16be")
    if container.lossless_audio_encoder is not None and all(map(_is_lossless, sounds)):
        yield container.lossless_audio_encoder
    yield from dict.fromkeys((container.audio_encoder, *_SOUND_ENCODERS))


def _is_lossless(stream: StreamInfo) -> bool:
    return stream.codec in _LOSSLESS_SOUND or stream.codec.startswith(_PCM)
