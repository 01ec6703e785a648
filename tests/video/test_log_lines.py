"""Messages of FFmpeg's threads that were written into each other: none is hidden, and each is counted as its own."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence

import pytest

from vdeblur.video.ffmpeg.log_lines import separate_messages
from vdeblur.video.ffmpeg.process import FFmpegProcess

MUXER, SUBTITLES, FILTER = "[out#0/mpegts @ 0x55d0]", "[sost#0:1/copy @ 0x55d4]", "[vf#0:0 @ 0x55d8]"
#: Context, level and words of each call of FFmpeg's log, thread by thread.
Call = tuple[str, str, str]


def moved(previous: int) -> list[Call]:
    """The warning as FFmpeg logs it, in two calls."""
    return [
        (SUBTITLES, "[warning]", f"Non-monotonic DTS; previous: {previous}, current: {previous - 2}; "),
        (
            SUBTITLES, "[warning]",
            f"changing to {previous}. This may result in incorrect timestamps in the output file.\n",
        ),
    ]  # fmt: skip


CHATTER: list[Call] = [
    (FILTER, "[verbose]", "Filtergraph returned EOF, finishing\n"),
    (FILTER, "[verbose]", "Terminating thread with return code 0 (success)\n"),
]
NUMBERS: list[Call] = [
    (MUXER, "[verbose]", "  Output stream #0:0 (video): "),
    (MUXER, "[verbose]", "5 frames encoded; "),
    (MUXER, "[verbose]", "5 packets muxed (814 bytes); "),
    (MUXER, "[verbose]", "\n"),
]
WHOLE = (
    "FFmpeg warned 2 times: Non-monotonic DTS; previous: 9, current: 7; changing to 9. "
    "This may result in incorrect timestamps in the output file."
)


def logged(calls: Sequence[Call]) -> list[str]:
    """Lines that FFmpeg writes: a context and a level only at the beginning of a line."""
    text = ""
    for context, level, words in calls:
        text += words if text and not text.endswith("\n") else f"{context} {level} {words}"
    return text.splitlines()


def interleaved(one: Sequence[Call], other: Sequence[Call]) -> Iterator[list[Call]]:
    """Every order in which two threads' calls may come."""
    for places in itertools.combinations(range(len(one) + len(other)), len(one)):
        ours, theirs = iter(one), iter(other)
        yield [next(ours) if place in places else next(theirs) for place in range(len(one) + len(other))]


def notes_of(lines: Sequence[str]) -> list[str]:
    """What the process that writes these lines is found to have warned of."""
    words = "\n".join(lines).encode().hex()
    process = FFmpegProcess([sys.executable, "-S", "-c", f"import os; os.write(2, bytes.fromhex({words!r}))"])
    assert process.wait() == 0
    process.kill()
    return process.tally.notes(lost=False)


@pytest.mark.parametrize("other", [CHATTER, NUMBERS], ids=["chatter", "numbers"])
def test_a_warning_is_whole_in_whatever_order_threads_write(other: list[Call]) -> None:
    lines = [logged(calls) for calls in interleaved([*moved(9), *moved(8)], other)]
    assert len(set(map(tuple, lines))) == len(lines) > 10
    assert any("; Terminating" in "".join(one) or "; 5 frames" in "".join(one) for one in lines), "this is tried"
    expected = sorted("".join(words.rstrip("\n") for _, _, words in moved(n)) for n in (8, 9))
    for one in lines:
        messages = [message for message in separate_messages(one) if "Non-monotonic" in message]
        found = sorted(message[message.index("Non-monotonic") :] for message in messages)
        assert found == expected, one


def test_the_notes_are_those_of_an_undisturbed_log() -> None:
    warning = [*moved(9), *moved(8)]
    assert notes_of(logged([*warning, *CHATTER])) == [WHOLE]
    assert notes_of(logged([*warning[:1], *CHATTER[1:], *warning[1:]])) == [WHOLE], "between the calls"
    assert notes_of(logged([*NUMBERS[:2], *warning, *NUMBERS[2:]])) == [WHOLE], "in a line of a lower level"


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_message_in_the_middle_of_a_word_hides_neither(cut: int) -> None:
    """As where standard error is buffered, and written whenever the buffer is full."""
    ended = f"{FILTER} [verbose] Terminating thread with return code 0 (success)"
    failed = f"{MUXER} [error] Error writing trailer: No space left on device"
    place = len(f"{FILTER} [verbose] ") + cut
    assert list(separate_messages([ended[:place] + failed, ended[place:]])) == [failed, ended]
    place = len(f"{MUXER} [error] ") + cut
    assert list(separate_messages([failed[:place] + ended, failed[place:]])) == [ended, failed]


def test_what_is_never_finished_is_given_at_the_end() -> None:
    half = logged(moved(9)[:1])
    assert list(separate_messages(half)) == half
    cut = [f"{MUXER} [error] No space le{FILTER} [verbose] Terminating thread"]
    assert list(separate_messages(cut)) == [f"{FILTER} [verbose] Terminating thread", f"{MUXER} [error] No space le"]


def test_no_more_is_waited_for_than_a_few() -> None:
    """A run may last for days."""
    lines = [f"{MUXER} [error] number {n} {FILTER} [verbose] Terminating thread" for n in range(100)]
    source = iter(lines)
    messages = separate_messages(source)
    for _ in range(150):
        next(messages)
    assert len(list(source)) > 10, "given while they are read"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[info]     title           : [error] No space left on device",
        "[info]     title           : Non-monotonic DTS; corrupt input packet; invalid dropping",
        "[vist#0:0/rawvideo @ 0x55d4] [dec:rawvideo @ 0x55d8] [verbose] Decoder returned EOF, finishing",
        "[h264 @ 0x55d4] [warning] slice 3: corrupt decoded frame",
        "x265 [error]: bad options",
        "Svt[error]: bad options",
        "words of a library",
    ],
)
def test_other_lines_are_left_as_they_are(line: str) -> None:
    assert list(separate_messages([line])) == [line]
    assert list(separate_messages([*logged(moved(9)), line, *logged(CHATTER)])) == [
        *logged(moved(9)), line, *logged(CHATTER),
    ]  # fmt: skip


@pytest.mark.parametrize("line", ["x265 [error]: bad options", "Svt[error]: bad options", "[error] no more memory"])
def test_what_has_an_author_of_its_own_continues_nothing(line: str) -> None:
    cut = f"{FILTER} [verbose] Termin{MUXER} [verbose] All streams finished"
    assert list(separate_messages([cut, line, "ating thread"]))[1:] == [line, f"{FILTER} [verbose] Terminating thread"]
