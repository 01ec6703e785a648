"""Metadata track: exposure times that lie in a stream of their own beside the video.

The file is opened a second time with every other stream discarded. The video's demuxer could hand these packets out
too, but it seeks, starts anew and is closed for its own ends, and gives a packet that holds for a second before or
after its frames as the file happens to be interleaved. MP4 has an index: what is discarded is not even read. It cost
10 ms for the opening and 0.05 ms for a second of GoPro's track, on an AMD EPYC.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import av
from av.container import InputContainer
from av.stream import Discard, Stream

from vdeblur.errors import SourceError
from vdeblur.video.av_compat import fraction_or_none
from vdeblur.video.exposure.readers import READERS, reader_for
from vdeblur.video.exposure.written import PacketExposures, PacketReader, WrittenExposure

_log = logging.getLogger(__name__)

#: Streams that are looked at to find a track with exposure times, and packets of each.
_MOST_STREAMS, _PACKETS_TO_LOOK_AT = 16, 4
#: Longer packets are not looked into; a second of GoPro's is 10 kB, DJI's first is 50.
_MOST_BYTES = 1 << 22
#: The camera's clock is compared with the time line over at least this long.
_CLOCK_SECONDS = 0.25
_MOST_AHEAD = 256
#: A value is good for so long behind the end of its packet, if no other comes.
_HELD_SECONDS = 1.0
#: Before a frame that is farther in the file than this, nothing is read.
_JUMP_SECONDS = 10.0


@dataclass(frozen=True)
class _Timed:
    """A packet's values and when they are valid, in seconds of the container's time line."""

    begin: float
    duration: float
    held: PacketExposures


class ExposureTrack:
    """Exposure times of one metadata track; asked for times that rise, it reads as far as it has to.

    Args:
        open_again: opens the source once more.
        interval: seconds from frame to frame of the video.

    Raises:
        SourceError, av.error.FFmpegError: it cannot be opened.
        ValueError: no track has exposure times.
    """

    def __init__(self, open_again: Callable[[], InputContainer], interval: float | None) -> None:
        self._container = open_again()
        self._slack = 0.0 if interval is None else interval / 2
        try:
            self._stream, self._reader = _find(self._container)
        except BaseException:
            self._container.close()
            raise
        self._tick_seconds = float(fraction_or_none(self._stream.time_base) or 0)
        self._packets: Iterator[_Timed] = iter(())
        self._ahead: deque[_Timed] = deque()
        self._speed = 1.0
        self._asked: float | None = None

    def at(self, tick: int, seconds: float) -> WrittenExposure | None:
        """The value that is valid at a time of the container's time line."""
        if self._asked is None or seconds < self._asked:
            self._start(seconds)
        self._asked = seconds
        # Packets' times are rounded to their own ticks, and each value belongs to the frame that is nearest.
        seconds += self._slack
        while self._fill() and len(self._ahead) > 1 and self._ahead[1].begin <= seconds:
            self._ahead.popleft()
        if not self._ahead or seconds < self._ahead[0].begin:
            return None
        return self._value(self._ahead[0], seconds)

    def everything(self, most_packets: int) -> Iterator[WrittenExposure]:
        """All values, of that many packets at most."""
        self._asked = None  # whoever asks for a time next begins anew
        self._start(0.0)
        for _ in range(most_packets):
            if not self._fill():
                return
            timed = self._ahead[0]
            yield from (self._written(timed, index) for index in range(_count(timed.held)))
            self._ahead.popleft()

    def close(self) -> None:
        self._packets = iter(())
        self._ahead.clear()
        del self._stream
        self._container.close()

    def _start(self, seconds: float) -> None:
        """Go to the packet that holds a time, or to one before it."""
        tick = int(max(seconds - 1, 0) / self._tick_seconds) if self._tick_seconds and seconds > _JUMP_SECONDS else None
        try:
            self._container.seek(0 if tick is None else tick, stream=self._stream)
        except av.error.FFmpegError:
            _log.debug("cannot seek in the exposure times of the source")
        self._packets = self._read()
        self._ahead.clear()

    def _read(self) -> Iterator[_Timed]:
        """Packets with values; none after the first that cannot be read."""
        try:
            for packet in self._container.demux(self._stream):
                if packet.pts is None or not 0 < packet.size <= _MOST_BYTES:
                    continue
                held = self._reader.read(bytes(packet))
                yield _Timed(packet.pts * self._tick_seconds, (packet.duration or 0) * self._tick_seconds, held)
        except av.error.FFmpegError as exc:
            _log.debug("the exposure times of the source end early: %s", exc)

    def _fill(self) -> bool:
        """Read far enough ahead to compare the clocks; whether there is any packet."""
        while len(self._ahead) < 2 or (
            self._ahead[-1].begin - self._ahead[0].begin < _CLOCK_SECONDS and len(self._ahead) < _MOST_AHEAD
        ):
            timed = next(self._packets, None)
            if timed is None:
                break
            self._ahead.append(timed)
        return bool(self._ahead)

    def _value(self, timed: _Timed, seconds: float) -> WrittenExposure | None:
        count, since = _count(timed.held), seconds - timed.begin
        if not count or since > timed.duration + self._slack + _HELD_SECONDS:
            return None
        index = int(since / timed.duration * count) if timed.duration > 0 else 0
        return self._written(timed, min(index, count - 1))

    def _written(self, timed: _Timed, index: int) -> WrittenExposure:
        self._speed = self._measured_speed(timed)
        if timed.held.seconds:
            return WrittenExposure(self._reader.source, timed.held.seconds[index], speed=self._speed)
        return WrittenExposure(self._reader.source, fraction=timed.held.fractions[index])

    def _measured_speed(self, timed: _Timed) -> float:
        """Seconds of the camera's clock for one of the time line; near the end, what it was before."""
        if timed.held.capture_rate:
            interval = 2 * self._slack
            return 1 / (timed.held.capture_rate * interval) if interval else 1.0
        begin = timed.held.clock_seconds
        for later in reversed(self._ahead):
            played = later.begin - timed.begin
            if begin is not None and later.held.clock_seconds is not None and played >= _CLOCK_SECONDS:
                took = later.held.clock_seconds - begin
                return took / played if took > 0 else self._speed
        return self._speed


def _count(held: PacketExposures) -> int:
    return len(held.seconds or held.fractions)


def _find(container: InputContainer) -> tuple[Stream, PacketReader]:
    """The stream with exposure times, alone in not being discarded, and its reader."""
    able = [stream for stream in container.streams if may_hold_exposures(stream)][:_MOST_STREAMS]
    for stream in container.streams:
        stream.discard = Discard.default if stream in able else Discard.all
    packets: Iterator[av.Packet[Any]] = container.demux(able) if able else iter(())
    left = {stream.index: _PACKETS_TO_LOOK_AT for stream in able}
    for packet in packets:
        stream = packet.stream
        reader = reader_for(stream.type, bytes(packet)) if 0 < packet.size <= _MOST_BYTES else None
        if reader is not None:
            for other in able:
                other.discard = Discard.default if other is stream else Discard.all
            return stream, reader
        left[stream.index] -= 1
        if not left[stream.index]:
            stream.discard = Discard.all
        if not any(count > 0 for count in left.values()):
            break
    raise ValueError("no track has exposure times")


def may_hold_exposures(stream: Stream) -> bool:
    """Whether a stream is of a kind that cameras put metadata into; a container without one need not be opened."""
    return str(stream.type) in READERS


def open_track(open_again: Callable[[], InputContainer], interval: float | None) -> ExposureTrack | None:
    """The metadata track of a source; ``None`` if none has exposure times, or the source cannot be opened again."""
    try:
        return ExposureTrack(open_again, interval)
    except (SourceError, av.error.FFmpegError, ValueError) as exc:
        _log.debug("no exposure times beside the video: %s", exc)
        return None
