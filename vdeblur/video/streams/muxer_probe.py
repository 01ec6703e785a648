"""Muxer probe: whether a container accepts streams, found by remuxing half a second of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import av

from vdeblur.video.av_compat import open_input
from vdeblur.video.encode.containers import Container
from vdeblur.video.encode.trial_encode import TrialVideo
from vdeblur.video.ffmpeg.command import file_url
from vdeblur.video.ffmpeg.executable import run_ffmpeg
from vdeblur.video.ffmpeg.process import COUNTS
from vdeblur.video.info import SourceInfo
from vdeblur.video.source.location import check_unchanged
from vdeblur.video.streams.passthrough import PassthroughPackets
from vdeblur.video.streams.reopening import UNDECODABLE, counterparts, unreadable_streams
from vdeblur.video.temp_folders import scratch_folder

TEXT_SUBTITLES = frozenset({"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text"})
#: NUT, in which they travel and which may be the target as well, does not say how long a packet lasts.
_NO_LENGTH = "no word for how long a text is shown"
_SILENT = "it writes nothing and says nothing"
#: A muxer that says this has written a stream nobody will find again.
_UNREADABLE = re.compile(r"Stream (\d+), .*may not be recognized upon reading")
#: It says so of this one too, which it registers by name (SMPTE ST 302).
_REGISTERED = frozenset({"s302m"})


@dataclass(frozen=True)
class MuxerProbe:
    """A probe of one target's muxer with streams of one source."""

    info: SourceInfo
    container: Container
    passthrough: PassthroughPackets | None
    extra: tuple[str, ...]
    #: For a muxer that writes nothing without the video.
    video: TrialVideo | None = None

    def refusal_reason(self, codecs: Mapping[int, str], extra: Sequence[str] = ()) -> str | None:
        """Reason why the muxer rejects the streams, ``None`` if it accepts them, perhaps with the user's options.

        ``extra`` are options that a remedy adds to those of the user.
        """
        if self.passthrough is not None:
            if _texts(self.info, codecs):
                return _NO_LENGTH
            if any(self.info.streams[index].codec == "unknown" for index in codecs):
                return UNDECODABLE
            return None if self.passthrough.can_mux(codecs, self.container.muxer) else "no word for it"
        if not self.container.keeps_packet_durations and _texts(self.info, codecs):
            return _NO_LENGTH
        if self.info.input_url is None:
            return "the source cannot be opened twice"
        if extra:
            return self._try(codecs, (*self.extra, *extra))
        reason = self._try(codecs, ())
        return reason if reason is None or not self.extra else self._try(codecs, self.extra)

    def _try(self, codecs: Mapping[int, str], extra: Sequence[str]) -> str | None:
        info = self.info
        with scratch_folder() as folder:
            target = file_url(str(Path(folder) / "trial"))
            finished = run_ffmpeg(self._command(codecs, extra, target), data=self.video.data if self.video else b"")
            if finished.returncode:
                check_unchanged(info.name, info.path, info.file_id)
                return finished.reason
            written = {place for (_, place), count in finished.tally.written.items() if count}
            found = self._look_at(target, codecs, extra, written)
        return found or self._doubt(finished.messages, codecs)

    def _doubt(self, messages: Iterable[str], codecs: Mapping[int, str]) -> str | None:
        """What the muxer itself says of a stream that nobody will find again."""
        told = [self.info.streams[index].codec for index in codecs]
        for line in messages:
            if (found := _UNREADABLE.search(line)) is not None:
                place = int(found[1]) - (self.video is not None)
                if not 0 <= place < len(told) or told[place] not in _REGISTERED:
                    return line
        return None

    def _command(self, codecs: Mapping[int, str], extra: Sequence[str], target: str) -> list[str]:
        """FFmpeg's arguments: half a second of the streams, behind the video where the muxer needs one."""
        inputs, outputs = list[str](), list[str]()
        if self.video is not None:
            inputs = [*_words({"f": "nut", **self.video.input_options}), "-i", "pipe:0"]
            outputs = ["-map", "0:v", *(word for n, v in self.video.options.items() for word in (f"-{n}:0", v))]
        number, first = (1, 1) if self.video is not None else (0, 0)
        inputs += [*_words(self.info.input_options), "-i", str(self.info.input_url)]
        for position, (index, codec) in enumerate(codecs.items(), start=first):
            outputs += ["-map", f"{number}:{index}", f"-c:{position}", codec]
        return [
            *COUNTS, *inputs, *outputs, *_words(self.container.options), "-t", "0.5", *extra, "-f",
            self.container.muxer, target,
        ]  # fmt: skip

    def _look_at(
        self, url: str, codecs: Mapping[int, str], extra: Sequence[str], written: Collection[int]
    ) -> str | None:
        """What is wrong with the trial: a stream that is not there, or that nothing decodes again.

        ``written`` are the places of the streams of which packets were written.
        """
        kinds = {index: self.info.streams[index].kind for index in codecs}
        wanted = Counter(kinds.values())
        try:
            with open_input(url) as container:
                found = Counter(str(stream.type) for stream in container.streams)
                first = 0 if self.video is None else 1
                pairs = counterparts(kinds, list(container.streams)[first:])
            found["video"] -= first
            converted = [index for index, codec in codecs.items() if codec != "copy" or extra]
            filled = [index for place, index in enumerate(codecs, start=first) if place in written]
            dead = unreadable_streams(self.info, self.container, url, pairs, converted, filled)
        except (av.error.FFmpegError, ValueError, OSError):
            # Half a second may be too little for a file that can be opened.
            return _SILENT if self.container.lists_streams and not extra else None
        missing = wanted - found if self.container.lists_streams else wanted["attachment"]
        return _SILENT if missing and not extra else UNDECODABLE if dead else None


def _words(options: Mapping[str, str | None]) -> list[str]:
    """Options with their dashes."""
    return [word for name, value in options.items() for word in (f"-{name}", *(() if value is None else (value,)))]


def _texts(info: SourceInfo, indexes: Iterable[int]) -> bool:
    return any(info.streams[index].codec in TEXT_SUBTITLES for index in indexes)


def refused_streams(probe: MuxerProbe, codecs: Mapping[int, str]) -> set[int]:
    """Indexes of the rejected streams: all are tried at once, and one by one only if that fails."""
    if not codecs or probe.refusal_reason(codecs) is None:
        return set()
    refused = {index for index, codec in codecs.items() if probe.refusal_reason({index: codec}) is not None}
    if probe.extra and len(refused) > 1:
        # Options of the user may be for a stream at its place ("-c:a:1"), where it is only beside the others.
        alone = {one: {i: c for i, c in codecs.items() if i == one or i not in refused} for one in refused}
        refused = {one for one in refused if probe.refusal_reason(alone[one]) is not None}
    fitting = {index: codec for index, codec in codecs.items() if index not in refused}
    if len(fitting) < 2 or (refused and probe.refusal_reason(fitting) is None):
        return refused
    # Each by itself is taken, but not all together: those that come first stay.
    together: dict[int, str] = {}
    for index, codec in fitting.items():
        if probe.refusal_reason({**together, index: codec}) is None:
            together[index] = codec
    return codecs.keys() - together.keys()
