"""Demultiplexing of FFmpeg's log: its threads share standard error, and one may write into the line of another.

FFmpeg writes a message in parts (context, level, words), and some messages in several calls without a newline between
them. What another thread writes meanwhile stands in the middle, mostly without a context and level of its own::

    [sost#0:1/copy @ 0x55] [warning] Non-monotonic DTS; previous: 9, current: 7; Terminating thread with return code 0
    [sost#0:1/copy @ 0x55] [warning] changing to 9. This may result in incorrect timestamps in the output file.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator

#: Contexts and a level, with which a message begins. A level alone counts only at the beginning of a line: elsewhere it
#: may be a word of a title.
_HEAD = re.compile(r"(?:\[[^\[\]]* @ (?:0x)?[0-9a-f]+\] ?)+(?:\[[a-z]+\] ?)?")
_CHATTER = re.compile(r"(?:\[[^\[\]]* @ (?:0x)?[0-9a-f]+\] ?)*\[(?:info|verbose|debug|trace)\]")
#: A level without a context, and what encoder libraries write past FFmpeg's log: these continue nothing.
_NO_CONTINUATION = re.compile(r"\[(?:quiet|panic|fatal|error|warning|info|verbose|debug|trace)\]|x265 \[|Svt\[")
#: The first call of the one warning that comes in two, and the second.
_FIRST_HALF = re.compile(r"Non-monoton(?:ic|ous) DTS[^;]*; previous: -?\d+, current: -?\d+; ")
_SECOND_HALF = re.compile(r"changing to -?\d+\. This may result in incorrect timestamps in the output file\.")
#: Warnings that are found in a line of a lower level, too: exact enough for no title to be taken for one.
_WARNING = re.compile(
    rf"{_FIRST_HALF.pattern}|Packet corrupt \(stream = \d+, dts = |corrupt input packet in stream \d+|"
    r"corrupt decoded frame|Queue input is backward in time|[DP]TS -?\d+, next:-?\d+ (?:st:\d+ )?invalid dropping"
)
#: Messages that are waited for; a run may last for days.
_MOST_UNFINISHED = 8


def separate_messages(lines: Iterable[str]) -> Iterator[str]:
    """Give each message of FFmpeg's log as a line of its own, with its context and level where they were written.

    ``lines`` are those of standard error, without their newlines; one that nobody else wrote into comes out as it is.
    What was interrupted comes when it is whole, or at the end.
    """
    halves: deque[str] = deque()
    for line in _without_interruptions(lines):
        for message in _without_chatter_before(line):
            yield from _whole_warnings(message, halves)
        if len(halves) > _MOST_UNFINISHED:
            yield halves.popleft()
    yield from halves


def _without_interruptions(lines: Iterable[str]) -> Iterator[str]:
    """Split lines in which another message's head stands; what it cut off goes on in a line without a head."""
    cut_off: deque[str] = deque()
    for line in lines:
        heads = {found.start() for found in _HEAD.finditer(line)}
        starts = sorted({0, *heads})
        for start, end in zip(starts, [*starts[1:], None], strict=True):
            piece = line[start:end]
            if start not in heads and cut_off and not _NO_CONTINUATION.match(piece):
                piece = cut_off.pop() + piece
            if end is None:
                yield piece
            else:
                cut_off.append(piece)
        if len(cut_off) > _MOST_UNFINISHED:
            yield cut_off.popleft()
    yield from cut_off


def _without_chatter_before(line: str) -> Iterator[str]:
    """A warning that was written into a message of a lower level, apart from it."""
    found = _WARNING.search(line)
    if found and _CHATTER.match(line):
        yield line[: found.start()]
        line = line[found.start() :]
    yield line


def _whole_warnings(line: str, halves: deque[str]) -> Iterator[str]:
    """Join the halves of a warning that has two, of which the first may wait in ``halves``; pass on what is between."""
    half, second = _FIRST_HALF.search(line), _SECOND_HALF.search(line)
    if half and second and half.end() == second.start():
        yield line
        return
    if half:
        halves.append(line[: half.end()])
        line = line[half.end() :]
        second = _SECOND_HALF.search(line)
    if second and halves:
        yield halves.popleft() + second[0]
        line = line[: second.start()] + line[second.end() :]
        if _HEAD.fullmatch(line):
            return
    if line or not (half or second):
        yield line
