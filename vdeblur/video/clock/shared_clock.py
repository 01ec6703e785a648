"""Shared clock: packets of all streams on one time line, where the source's clock starts again or has outliers.

Sources are joined (``cat a.ts b.ts``), recorders begin anew with each motion, packets carry wrong times. What moves the
pictures moves sound, subtitles and data: the offset between streams inside each piece is kept. Packets come and go in
file order; they wait here only while it is open what an odd time means.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import av

from vdeblur.video.clock.derived_times import DerivedTimes
from vdeblur.video.clock.wrapping import Unwrapping

Packet: TypeAlias = "av.Packet[Any]"

#: A time that is off by no more than this, or two packets, is none of our business: rounding, jitter, variable rates.
_USUAL_SECONDS = Fraction(1, 10)
#: So many packets in a row may have wrong times without being another piece.
_MOST_STRAYS = 3
#: The same of sound, of which MPEG-TS and MPEG-PS give one time to as many packets as share a PES packet.
_MOST_TOGETHER = 64
#: Streams are interleaved no more loosely than this, so all of them have begun a new piece by then.
_INTERLEAVING_SECONDS = Fraction(3, 2)
#: Packets that may wait while it is open what a time means.
_MOST_HELD = 2000
#: Least distance of packets in the output, for containers that count milliseconds.
_LEAST_SECONDS = Fraction(2, 1000)
#: Frames by which H.264 and HEVC may reorder at most, and a little more.
_MOST_REORDERED = 20


@dataclass
class Line:
    """The times of one stream, in its own ticks."""

    time_base: Fraction
    #: Sound and video, of which each packet follows the one before; subtitles and data come when they like.
    dense: bool
    piece: int = 0
    #: Decoding time of the last packet, in the clock of the piece.
    last: int | None = None
    #: Ticks that a packet lasts.
    step: int = 0
    #: Latest tick in the piece until which something is shown, and longest time between decoding and showing.
    shown_until: int | None = None
    delay: int = 0
    #: Decoding time that the last packet was given.
    given: int | None = None

    @property
    def usual(self) -> int:
        """Ticks by which a time may differ from the one that is due."""
        return max(2 * self.step, int(_USUAL_SECONDS / self.time_base), 1)

    def ticks(self, seconds: Fraction) -> int:
        return math.ceil(seconds / self.time_base)


class SharedClock:
    """Gives the packets of all streams their places on one time line; good times pass unchanged.

    Args:
        lines: the streams, by index.
        main: index of the video, whose steps back begin a new piece.
        unwrapping: what undoes the wraps of a short counter.
        derived: what gives decoding times where the container has none.
        waits_forward: hold a packet that comes much later than due until the next one confirms it. Without, nothing
            waits but for a step back.
    """

    def __init__(
        self,
        lines: Mapping[int, Line],
        main: int,
        *,
        unwrapping: Unwrapping | None = None,
        derived: DerivedTimes | None = None,
        waits_forward: bool = True,
    ) -> None:
        self._lines, self._main = dict(lines), main
        self._unwrapping = unwrapping
        self._preparations = [one for one in (unwrapping, derived) if one is not None]
        self._waits_forward = waits_forward
        #: What each piece is moved by, in seconds.
        self._offsets: list[Fraction] = [Fraction(0)]
        self._held: deque[Packet] = deque()
        self._most_held, self._look_at = _MOST_HELD, 1
        #: Packets with wrong times, by stream.
        self.strays: dict[int, int] = {}

    @property
    def pieces(self) -> int:
        """Pieces that have been joined so far; 1 = the clock has never started again."""
        return len(self._offsets)

    @property
    def moves_others(self) -> bool:
        """Whether a packet of another stream than the video has got another time."""
        wraps = self._unwrapping is not None and self._unwrapping.turned
        return self.pieces > 1 or wraps or any(index != self._main for index in self.strays)

    def mended(self, packets: Iterable[Packet]) -> Iterator[Packet]:
        """The packets in their order, with their new times."""
        for packet in packets:
            for preparation in self._preparations:
                preparation.prepare(packet, of_video=packet.stream.index == self._main)
            self._held.append(packet)
            if len(self._held) >= self._look_at:
                yield from self._settled(final=False)
        yield from self._settled(final=True)

    def _settled(self, *, final: bool) -> Iterator[Packet]:
        """Packets whose meaning is clear; at the end, all that wait."""
        while self._held:
            if not self._settles(self._held[0], over=final or len(self._held) > self._most_held):
                # Looking again at each packet would take the square of what waits.
                self._look_at = len(self._held) + 1 + len(self._held) // 8
                return
            packet = self._held.popleft()
            line = self._lines.get(packet.stream.index)
            # FFmpeg marks what is not later than before, in fragments of MP4, as never to be shown.
            yield _without_mark(packet) if packet.is_discard and line is not None and line.piece else packet
        self._look_at = 1

    def _settles(self, packet: Packet, *, over: bool) -> bool:
        """Give the first packet its time; False = what follows must be seen before."""
        if packet.stream.index == self._main and not self._knows_shown(packet, over=over):
            return False
        line, tick = self._lines.get(packet.stream.index), decoding_tick(packet)
        if line is None or tick is None or (packet.stream.index == self._main and packet.dts is None):
            if line is not None:
                self._move(packet, line)
            return True
        if line.last is None or not line.dense:
            self._find_piece(line, tick)
        elif not 0 < tick - line.last <= line.usual:
            return self._settles_odd(packet, line, tick, over=over)
        self._accept(packet, line, tick)
        return True

    def _settles_odd(self, packet: Packet, line: Line, tick: int, *, over: bool) -> bool:
        """The same for a packet that is not due."""
        assert line.last is not None
        forward = tick > line.last
        if forward and not self._waits_forward:
            self._accept(packet, line, tick)
            return True
        following = self._following(packet)
        together = self._are_wrong_together(packet, line, tick)
        if (together is None or len(following) < (1 if forward else _MOST_STRAYS)) and not over:
            return False
        if together or _is_stray(line, tick, following):
            self._straighten(packet, line, following)
            return True
        if forward:
            self._find_piece(line, tick)
        elif _is_run(line, tick, following):
            if line.piece == self.pieces - 1 and not self._opens_piece(over=over):
                return False
            self._join(line, self.pieces - 1)
        self._accept(packet, line, tick)
        return True

    def _are_wrong_together(self, packet: Packet, line: Line, tick: int) -> bool | None:
        """Whether a packet and some behind it have got one wrong time; ``None`` = what follows must be seen before."""
        most = self._most_together(packet.stream.index)
        return _is_wrong_run(line, tick, self._following(packet, most), most)

    def _most_together(self, index: int) -> int:
        return _MOST_STRAYS if index == self._main else _MOST_TOGETHER

    def _following(self, packet: Packet, most: int = _MOST_STRAYS) -> list[int]:
        """Times of the next packets of the same stream."""
        found: list[int] = []
        for other in self._held:
            if other is packet or other.stream.index != packet.stream.index:
                continue
            if (tick := decoding_tick(other)) is not None:
                found.append(tick)
                if len(found) == most:
                    break
        return found

    def _find_piece(self, line: Line, tick: int) -> None:
        """Let a stream that did not step back itself follow the video into a new piece, if its time is nearer there."""
        main = self._lines[self._main]
        if line.piece == self.pieces - 1 or main.piece == line.piece or main.last is None:
            return
        behind = None if line.last is None else (tick - line.last) * line.time_base
        if behind is None or behind <= 0 or abs(tick * line.time_base - main.last * main.time_base) < behind:
            self._join(line, main.piece)

    def _join(self, line: Line, piece: int) -> None:
        if line.piece != piece:
            line.piece, line.last, line.shown_until = piece, None, None

    def _opens_piece(self, *, over: bool) -> bool:
        """Begin a new piece if the video does; False = what follows must be seen before.

        It is put where nothing of it is earlier than the end of the piece before: pictures follow pictures at once,
        unless sound of both would overlap by more than a packet.
        """
        line, newest = self._lines[self._main], self.pieces - 1
        runs = self._runs(self._main)
        turn = newest - line.piece
        if len(runs) < turn + 2:
            if over:
                # Sound alone steps back; nobody need wait as long for that once more.
                self._most_held = min(self._most_held, _MOST_HELD // 10)
            return over or _seconds(runs[turn:], line) > 2 * _INTERLEAVING_SECONDS
        gaps = [_gap_of_pictures(runs[turn], runs[turn + 1], line, line.shown_until if turn == 0 else None)]
        complete = over or _seconds(runs[turn + 1 :], line) > _INTERLEAVING_SECONDS
        for index, other in self._lines.items():
            if index == self._main or not other.dense or other.last is None:
                continue
            both = self._runs(index)[newest - other.piece :]
            if len(both) > 1:
                end = other.last if not both[0] else decoding_tick(both[0][-1])
                gap = ((end or 0) - (decoding_tick(both[1][0]) or 0)) * other.time_base
                gaps.append(gap + self._offsets[other.piece] - self._offsets[newest] + _LEAST_SECONDS)
            elif not complete:
                return False
        offset = self._offsets[newest] + math.ceil(max(gaps) / line.time_base) * line.time_base
        self._offsets.append(offset)
        return True

    def _runs(self, index: int) -> list[list[Packet]]:
        """The waiting packets of a stream, split where its clock starts again; without those of wrong times."""
        line = self._lines[index]
        waiting = [
            packet for packet in self._held if packet.stream.index == index and decoding_tick(packet) is not None
        ]
        ticks = [decoding_tick(packet) or 0 for packet in waiting]
        runs: list[list[Packet]] = [[]]
        last = line.last
        for place, (packet, tick) in enumerate(zip(waiting, ticks, strict=True)):
            if last is not None and not 0 < tick - last <= line.usual:
                following = ticks[place + 1 : place + 1 + _MOST_STRAYS]
                probe = Line(line.time_base, True, last=last, step=line.step)
                if _is_wrong_run(probe, tick, ticks[place + 1 :], self._most_together(index)):
                    last += line.step
                    continue
                if _is_stray(probe, tick, following):
                    continue
                if tick <= last and _is_run(probe, tick, following):
                    runs.append([])
            runs[-1].append(packet)
            last = tick
        return runs

    def _straighten(self, packet: Packet, line: Line, following: list[int]) -> None:
        """Give a packet with a wrong time the one between its neighbours."""
        assert line.last is not None
        self._count(packet)
        later = [tick for tick in following if tick > line.last]
        tick = line.last + max(1, min(line.step or 1, (later[0] - line.last) // 2 if later else line.step))
        if packet.pts is None or not 0 <= packet.pts - tick <= line.delay:
            packet.pts = None if line.delay else tick
        packet.dts = None if packet.dts is None else tick
        self._accept(packet, line, tick)

    def _count(self, packet: Packet) -> None:
        index = packet.stream.index
        self.strays[index] = self.strays.get(index, 0) + 1

    def _accept(self, packet: Packet, line: Line, tick: int) -> None:
        """Take a packet's time for right."""
        duration = packet.duration or 0
        if duration > 0:
            line.step = duration
        elif line.last is not None and 0 < tick - line.last <= line.usual:
            line.step = tick - line.last
        if packet.stream.index == self._main and packet.pts is not None:
            line.delay = max(line.delay, packet.pts - tick)
        elif (
            packet.pts is not None and line.dense and abs(packet.pts - tick) > _MOST_REORDERED * line.step + line.usual
        ):
            self._count(packet)
            packet.pts = tick
        shown = tick if packet.pts is None else packet.pts
        line.shown_until = max(shown + line.step, shown if line.shown_until is None else line.shown_until)
        line.last = tick
        self._move(packet, line)

    def _knows_shown(self, packet: Packet, *, over: bool) -> bool:
        """Forget when a picture is shown if that cannot be; False = what follows must be seen before."""
        line = self._lines[self._main]
        if packet.pts is None or packet.dts is None or line.last is None:
            return True
        delay = packet.pts - packet.dts
        if 0 <= delay <= max(_MOST_REORDERED * line.step, 2 * line.delay, line.usual):
            return True
        if delay > 0:
            # Before a pause, pictures are decoded early that are shown behind it.
            if not self._waits_forward:
                return True
            later = [other for other in self._held if other.stream.index == self._main and other is not packet]
            ticks = [tick for other in later[:_MOST_REORDERED] if (tick := decoding_tick(other)) is not None]
            if any(packet.pts - tick <= _MOST_REORDERED * line.step + line.usual for tick in ticks):
                return True
            if len(ticks) < _MOST_REORDERED and not over:
                return False
        self._count(packet)
        packet.pts = None
        return True

    def _move(self, packet: Packet, line: Line) -> None:
        """Move a packet with its piece, behind the one before it."""
        if self.pieces == 1:
            return
        offset = round(self._offsets[line.piece] / line.time_base)
        if packet.pts is not None:
            packet.pts += offset
        tick = decoding_tick(packet)
        if packet.dts is not None:
            tick = packet.dts = packet.dts + offset
        if tick is None:
            return
        of_main = packet.stream.index == self._main
        if line.given is not None and tick <= line.given and line.dense and not of_main:
            tick = line.given + line.ticks(_LEAST_SECONDS)
            packet.dts = None if packet.dts is None else tick
            packet.pts = None if packet.pts is None else max(packet.pts, tick)
        line.given = tick


def _without_mark(packet: Packet) -> Packet:
    """The same packet without the mark to discard what is decoded, which PyAV cannot take away."""
    fresh: Packet = av.Packet(packet.size)
    fresh.update(bytes(packet))
    fresh.stream, fresh.time_base = packet.stream, packet.time_base
    fresh.pts, fresh.dts, fresh.duration = packet.pts, packet.dts, packet.duration
    fresh.is_keyframe = packet.is_keyframe
    return fresh


def decoding_tick(packet: Packet) -> int | None:
    """When a packet is decoded or, where that is not said, shown."""
    return packet.pts if packet.dts is None else packet.dts


def _seconds(runs: list[list[Packet]], line: Line) -> Fraction:
    """How long runs of a stream last."""
    ticks = [[decoding_tick(packet) or 0 for packet in run] for run in runs if run]
    return sum(max(run) - min(run) + line.step for run in ticks) * line.time_base


def _gap_of_pictures(old: list[Packet], new: list[Packet], line: Line, shown_until: int | None) -> Fraction:
    """Seconds from the first picture of a new piece to the end of the old one, in the clock of the file."""
    starts = [packet.pts for packet in new[:_MOST_REORDERED] if packet.pts is not None]
    ends = [packet.pts + line.step for packet in old if packet.pts is not None]
    ends += [] if shown_until is None else [shown_until]
    last = decoding_tick(old[-1]) if old else line.last
    decoded = (last or 0) + line.step - (decoding_tick(new[0]) or 0)
    return (max(ends) - min(starts) if ends and starts else decoded) * line.time_base


def _is_stray(line: Line, tick: int, following: list[int]) -> bool:
    """Whether a time is wrong alone, or a few are: those that follow go on where the stream was."""
    assert line.last is not None
    if abs(tick - line.last - line.step) <= line.usual:
        return False
    if tick > line.last:
        return bool(following) and any(later <= tick for later in following[:1])
    for count, later in enumerate(following, 1):
        if later > line.last:
            old, new = line.last + (count + 1) * line.step, tick + count * line.step
            return count == 1 or abs(later - old) < abs(later - new)
    return not following


def _is_wrong_run(line: Line, tick: int, following: list[int], most: int) -> bool | None:
    """Whether up to ``most`` packets in a row are off together: behind them the stream is where their number puts it.

    ``None`` = those that are given do not tell.
    """
    assert line.last is not None
    if not line.step or abs(tick - line.last - line.step) <= line.usual:
        return False
    before = tick
    for count, later in enumerate(following[:most], 1):
        if not 0 < later - before <= line.usual:
            return abs(later - line.last - (count + 1) * line.step) <= line.usual
        before = later
    return None if len(following) < most else False


def _is_run(line: Line, tick: int, following: list[int]) -> bool:
    """Whether the stream goes on from a time that lies behind: a run that rises by itself, below where it was."""
    assert line.last is not None
    return bool(following) and tick < following[0] <= line.last
