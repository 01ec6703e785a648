"""Muxer probe: whether a container accepts streams, found by remuxing half a second of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import av

from vdeblur.errors import UsageError
from vdeblur.video.av_compat import open_input
from vdeblur.video.encode.containers import Container
from vdeblur.video.ffmpeg.command import file_url
from vdeblur.video.ffmpeg.executable import run_ffmpeg
from vdeblur.video.info import SourceInfo
from vdeblur.video.source.location import check_unchanged
from vdeblur.video.streams.passthrough import PassthroughPackets
from vdeblur.video.temp_folders import scratch_folder

TEXT_SUBTITLES = frozenset({"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text"})
#: NUT, in which they travel and which may be the target as well, does not say how long a packet lasts.
_NO_LENGTH = "no word for how long a text is shown"
#: A muxer that says this has written a stream nobody will find again.
_UNREADABLE = "may not be recognized upon reading"


@dataclass(frozen=True)
class MuxerProbe:
    """A probe of one target's muxer with streams of one source."""

    info: SourceInfo
    container: Container
    passthrough: PassthroughPackets | None
    extra: tuple[str, ...]

    def refusal_reason(self, codecs: dict[int, str]) -> str | None:
        """Reason why the muxer rejects the streams, ``None`` if it accepts them, perhaps with the user's options."""
        if self.passthrough is not None:
            if _texts(self.info, codecs):
                return _NO_LENGTH
            return None if self.passthrough.can_mux(codecs, self.container.muxer) else "no word for it"
        if not self.container.keeps_packet_durations and _texts(self.info, codecs):
            return _NO_LENGTH
        if self.info.input_url is None:
            return "the source cannot be opened twice"
        reason = self._try(codecs, ())
        return reason if reason is None or not self.extra else self._try(codecs, self.extra)

    def _try(self, codecs: dict[int, str], extra: Sequence[str]) -> str | None:
        info, options = self.info, self.container.options
        command = [word for name, value in info.input_options.items() for word in (f"-{name}", value)]
        command += ["-i", str(info.input_url)]
        for position, (index, codec) in enumerate(codecs.items()):
            command += ["-map", f"0:{index}", f"-c:{position}", codec]
        command += [word for name, value in options.items() for word in (f"-{name}", value)]
        with scratch_folder() as folder:
            target = file_url(str(Path(folder) / "trial"))
            finished = run_ffmpeg([*command, "-t", "0.5", *extra, "-f", self.container.muxer, target])
            found = _kinds_in(Path(folder) / "trial") if self.container.lists_streams else None
        if finished.returncode:
            check_unchanged(info.name, info.path, info.file_id)
            return finished.reason
        wanted = Counter(info.streams[index].kind for index in codecs)
        if not extra and (wanted - found if found is not None else wanted["attachment"]):
            return "it writes nothing and says nothing"
        return next((line for line in finished.messages if _UNREADABLE in line), None)


def _kinds_in(path: Path) -> Counter[str] | None:
    """Number of streams of each kind in a file; ``None`` if it cannot be read."""
    try:
        with open_input(str(path)) as container:
            return Counter(str(stream.type) for stream in container.streams)
    except (av.error.FFmpegError, OSError):
        return None


def _texts(info: SourceInfo, indexes: Iterable[int]) -> bool:
    return any(info.streams[index].codec in TEXT_SUBTITLES for index in indexes)


def refused_streams(probe: MuxerProbe, codecs: dict[int, str]) -> set[int]:
    """Indexes of the rejected streams: all are tried at once, and one by one only if that fails."""
    if not codecs or (reason := probe.refusal_reason(codecs)) is None:
        return set()
    refused = {index for index, codec in codecs.items() if probe.refusal_reason({index: codec}) is not None}
    if not refused:
        name = probe.container.name
        raise UsageError(
            f"{name} cannot hold these streams together: {reason}; leave some out with drop=(…) (--drop …)"
        )
    return refused
