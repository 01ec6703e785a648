"""Re-timed copy: a source's other streams in a file of their own, on the one time line of its pictures.

FFmpeg reads the source itself, so it sees the clock that starts again there. Where that would part sound from pictures,
it gets the streams from this copy instead; tags and chapters still come from the source.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Stream

from vdeblur.errors import SourceError, TargetError
from vdeblur.video.av_compat import fraction_or_none, open_input
from vdeblur.video.clock.scan import clock_of, packets_of
from vdeblur.video.ffmpeg.command import file_url
from vdeblur.video.info import SourceInfo
from vdeblur.video.source.location import check_unchanged
from vdeblur.video.source.opening import open_again

#: Times in the copy are later by so much, for its containers have none before 0.
LEAD_SECONDS = 10


@dataclass(frozen=True)
class _Carrier:
    """A container to try, and its muxer's options."""

    muxer: str
    options: dict[str, str] = field(default_factory=dict)
    #: Packets say how long they last.
    keeps_durations: bool = True


_NUT = _Carrier("nut", keeps_durations=False)
_MATROSKA = _Carrier("matroska")
_MPEGTS = _Carrier("mpegts", {"mpegts_copyts": "1", "muxdelay": "0", "muxpreload": "0"})
#: The one that a source's own container suggests: it knows all that the source may hold.
_OWN = {"mpegts": (_MPEGTS,), "matroska,webm": (_MATROSKA,)}


@dataclass(frozen=True)
class RetimedCopy:
    """The copy, and where each stream of the source is in it."""

    path: Path
    carrier: _Carrier
    #: Index in the copy of a stream, by its index in the source.
    places: dict[int, int] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return file_url(str(self.path))

    @property
    def keeps_durations(self) -> bool:
        """Whether packets say how long they last."""
        return self.carrier.keeps_durations

    def input_options(self, options: dict[str, str | None]) -> dict[str, str | None]:
        """FFmpeg input options for a time line that gives the source itself these."""
        moved = dict(options)
        if (seek := moved.get("ss")) is not None:
            moved["ss"] = f"{float(seek) + LEAD_SECONDS:.6f}"
        moved["itsoffset"] = f"{float(moved.get('itsoffset') or 0) - LEAD_SECONDS:.6f}"
        return {"f": self.carrier.muxer, **moved}


def write_retimed_copy(info: SourceInfo, indexes: Sequence[int], folder: Path) -> RetimedCopy | None:
    """Copy the streams at ``indexes`` into ``folder``; ``None`` where FFmpeg can take them from the source itself.

    Raises:
        SourceError: the source cannot be opened again, or no container holds one of the streams.
        TargetError: the folder has no room.
    """
    if not indexes or info.scan is None or not info.scan.moves_others or info.input_url is None:
        return None
    check_unchanged(info.name, info.path, info.file_id)
    for carrier in (*_OWN.get(info.container, ()), _NUT, _MATROSKA):
        places = {index: place for place, index in enumerate(indexes)}
        copy = RetimedCopy(folder / f"retimed.{carrier.muxer}", carrier, places)
        if _write(info, copy) and _is_whole(info, copy):
            return copy
    raise SourceError(
        f"the clock of {info.name} starts again, and stream {', '.join(map(str, indexes))} cannot be moved along; "
        f"leave it out with drop=({indexes[-1]!r},) (--drop {indexes[-1]})"
    )


def _write(info: SourceInfo, copy: RetimedCopy) -> bool:
    """Write the copy; whether its container takes all of the streams."""
    try:
        with open_again(info) as source:
            target = av.open(str(copy.path), "w", format=copy.carrier.muxer, container_options=copy.carrier.options)
            with target:
                try:
                    streams = {
                        index: target.add_stream_from_template(source.streams[index], opaque=True)
                        for index in copy.places
                    }
                    target.start_encoding()
                except (av.error.FFmpegError, ValueError, TypeError):
                    return False
                for packet in _packets(source, info, streams):
                    target.mux(packet)
    except OSError as exc:
        if isinstance(exc, av.error.InvalidDataError | av.error.ArgumentError):
            return False
        raise TargetError(f"cannot write {copy.path}: {exc.strerror or exc}") from exc
    except av.error.FFmpegError:
        return False
    return True


def _packets(source: InputContainer, info: SourceInfo, streams: dict[int, Stream]) -> Iterator[av.Packet[Any]]:
    """The packets of these streams on the time line of the pictures; each stream's decoding times rise."""
    clock = clock_of(source, info.video.stream_index)
    last: dict[int, int] = {}
    for packet in clock.mended(packets_of(source)):
        index, base = packet.stream.index, fraction_or_none(packet.time_base)
        if index not in streams or base is None:
            continue
        lead = round(Fraction(LEAD_SECONDS) / base)
        least = last.get(index, -1) + 1
        given = packet.pts if packet.dts is None else packet.dts
        packet.dts = last[index] = max(least, lead if given is None else given + lead)
        packet.pts = packet.dts if packet.pts is None else max(packet.pts + lead, packet.dts)
        packet.stream = streams[index]
        yield packet


def _is_whole(info: SourceInfo, copy: RetimedCopy) -> bool:
    """Whether every stream is found in the copy as what it was."""
    try:
        with open_input(str(copy.path), copy.carrier.muxer) as container:
            found = [
                (str(stream.type), stream.codec_context and stream.codec_context.name) for stream in container.streams
            ]
    except (av.error.FFmpegError, ValueError):
        return False
    wanted = [info.streams[index] for index in copy.places]
    known = [(stream.kind, None if stream.codec == "unknown" else stream.codec) for stream in wanted]
    return found == known
