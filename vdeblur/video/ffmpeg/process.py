"""FFmpeg process: a running program whose standard error is always drained, for a full pipe would block it."""

from __future__ import annotations

import logging
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO

from vdeblur.errors import TargetError
from vdeblur.video.ffmpeg.log_lines import separate_messages

_log = logging.getLogger(__name__)

#: Chatter of FFmpeg and of encoder libraries.
_NOISE = re.compile(r"Last message repeated|x265 \[(info|warning)\]|Svt\[(info|warn)\]|^\s*$")
#: Errors that only follow from an earlier one, unless they name the reason themselves.
_CONSEQUENCE = re.compile(
    r"^(?!.*(No space left|Broken pipe|File too large|Input/output error)).*"
    r"(Conversion failed|Task finished with error|Terminating thread|Error sending frames|Error submitting|"
    r"Nothing was written|Output file is empty|Error muxing a packet|Error closing file|Error writing trailer|"
    r"Could not open encoder before EOF|Error while opening encoder|Could not write header|Cannot open lib\w+ encoder|"
    r"Error opening output file|Error splitting the argument list)"
)
_ERROR = re.compile(r"\[(?:error|fatal|panic)\]|x265 \[error\]|Svt\[error\]", re.IGNORECASE)
_PREFIX = re.compile(r"\[[^\]]* @ 0x[0-9a-f]+\]\s*|(x265 |Svt)?\[(?:error|fatal|panic|warning|info)\]:?\s*")

#: Levels below a warning, which only a job asks for, because of the numbers of packets.
_CHATTER = re.compile(r"(?:^|\] )\[(?:verbose|info|debug)\]")
_PACKETS = re.compile(r"(Input|Output) stream #(\d+):(\d+) \(\w+\): (\d+) packets (?:read|muxed)")
#: Warnings after which something is not as it was in the source.
_TROUBLE = re.compile(r"Non-monotonic DTS|backward in time|corrupt|[Dd]ropp(ing|ed)|invalid dropping")
#: Those that mostly mean nothing, but explain a loss where there is one.
_DOUBT = re.compile(r"pts has no value|Timestamps are unset|[Dd]iscard|duration: \S+ .*invalid|Packet is too small")
#: Kinds of them that are counted.
_MOST_TROUBLES = 8

_COPY_BYTES = 1 << 16

# A group or session of its own keeps Ctrl-C from FFmpeg: we decide whether it finishes or is ended.
if sys.platform == "win32":
    CREATION_FLAGS, NEW_SESSION = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW, False
else:
    CREATION_FLAGS, NEW_SESSION = 0, True


def write_all(sink: IO[bytes], data: bytes | memoryview) -> None:
    """Write all of ``data``; a raw pipe takes only part of it at a time."""
    view = memoryview(data)
    while view:
        written = sink.write(view)
        view = view[len(view) if written is None else written :]


#: First arguments of every run: say warnings and errors, each with its level, and never ask a question.
QUIET = ("-hide_banner", "-nostdin", "-nostats", "-y", "-loglevel", "level+warning")
#: The same for work: every warning each time, and at the end how many packets were read and written.
COUNTS = ("-loglevel", "repeat+level+verbose")
COUNTING = (*QUIET[:-2], *COUNTS)


@dataclass
class PacketCounts:
    """What FFmpeg has counted: packets read, by input and stream, and written, by output and stream; and warnings."""

    read: dict[tuple[int, int], int] = field(default_factory=dict)
    written: dict[tuple[int, int], int] = field(default_factory=dict)
    #: Warnings of lost or moved packets: the first of each kind, and how many there were.
    troubles: dict[str, tuple[str, int]] = field(default_factory=dict)

    def count(self, line: str) -> None:
        if found := _PACKETS.search(line):
            counts = self.read if found[1] == "Input" else self.written
            counts[int(found[2]), int(found[3])] = int(found[4])

    def warn(self, line: str) -> None:
        words = _PREFIX.sub("", line).strip()
        kind = re.sub(r"\d+", "", words)
        if (_TROUBLE.search(words) or _DOUBT.search(words)) and (
            kind in self.troubles or len(self.troubles) < _MOST_TROUBLES
        ):
            first, count = self.troubles.get(kind, (words, 0))
            self.troubles[kind] = (first, count + 1)

    @property
    def moved_times(self) -> bool:
        """Whether packets got other times because theirs did not rise."""
        return any("Non-monoton" in first for first, _ in self.troubles.values())

    def notes(self, *, lost: bool) -> list[str]:
        """The warnings for people; where something is lost, those too that may explain it."""
        return [
            f"FFmpeg warned{f' {count} times' if count > 1 else ''}: {first}"
            for first, count in self.troubles.values()
            if lost or _TROUBLE.search(first)
        ]


class FFmpegProcess:
    """A running FFmpeg: ``stdin`` takes its input, a thread keeps reading its messages.

    Raises:
        TargetError: the program cannot be started.
    """

    def __init__(self, command: Sequence[str], *, stdout: int | None = None, sink: IO[bytes] | None = None) -> None:
        """Start ``command`` (a list, no shell).

        ``stdout`` is as for ``Popen``, ``None`` = our own standard output; with ``sink`` a thread copies it there.
        """
        _log.debug("starting %s", subprocess.list2cmdline(command))
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if sink is not None else stdout,
                stderr=subprocess.PIPE,
                bufsize=0,
                creationflags=CREATION_FLAGS,
                start_new_session=NEW_SESSION,
            )
        except (OSError, ValueError) as exc:
            raise TargetError(f"cannot start {command[0]}: {exc}") from exc
        assert self._process.stdin is not None
        self.stdin: IO[bytes] = self._process.stdin
        #: Why its output could not be copied to the sink, if it could not.
        self.sink_failure: Exception | None = None
        self._errors: list[str] = []
        self._consequences: list[str] = []
        self._last: deque[str] = deque(maxlen=8)
        #: What it has counted so far.
        self.tally = PacketCounts()
        self._threads = [threading.Thread(target=self._read_messages, name="vdeblur-ffmpeg-stderr", daemon=True)]
        if sink is not None:
            copy = threading.Thread(target=self._copy, args=(sink,), name="vdeblur-ffmpeg-stdout", daemon=True)
            self._threads.append(copy)
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read_messages(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        with stderr, open(stderr.fileno(), "rb", closefd=False) as lines:
            for line in separate_messages(raw.decode(errors="replace").rstrip("\r\n") for raw in lines):
                line = line.strip()
                if _CHATTER.search(line):
                    self.tally.count(line)
                    continue
                if _NOISE.search(line):
                    continue
                self.tally.warn(line)
                self._last.append(line)
                found = self._consequences if _CONSEQUENCE.search(line) else self._errors
                if _ERROR.search(line) and len(found) < 8:
                    found.append(line)

    def _copy(self, sink: IO[bytes]) -> None:
        """Copy the output to ``sink``, and keep none of it back; what cannot be written ends the process."""
        stdout = self._process.stdout
        assert stdout is not None
        flush = getattr(sink, "flush", lambda: None)
        with stdout:
            while data := stdout.read(_COPY_BYTES):
                try:
                    write_all(sink, data)
                    flush()
                except Exception as exc:
                    self.sink_failure = exc
                    self._process.kill()
                    return

    def feed(self, data: bytes) -> None:
        """Write all of ``data`` and close the input; a reader that has gone away is not an error here."""
        try:
            with self.stdin:
                write_all(self.stdin, data)
        except OSError as exc:
            _log.debug("FFmpeg stopped reading: %s", exc)

    def poll(self) -> int | None:
        """Exit status, or ``None`` while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Wait for its end and for its last message; return the exit status."""
        returncode = self._process.wait()
        for thread in self._threads:
            thread.join()
        return returncode

    def wait_for(self, seconds: float) -> int | None:
        """Wait for its end for a while; ``None`` if it goes on."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        return self.wait()

    def interrupt(self) -> None:
        """End it at once, from any thread; whoever waits for it goes on."""
        if self._process.poll() is None:
            self._process.kill()

    def kill(self) -> None:
        """End it at once and leave no thread or pipe behind; harmless when it has ended."""
        self.interrupt()
        self.wait()
        try:
            self.stdin.close()
        except OSError as exc:
            _log.debug("closing the input of FFmpeg: %s", exc)

    def messages(self) -> tuple[str, ...]:
        """Its first errors and its last messages."""
        return (*self._errors, *self._last)

    def reason(self) -> str:
        """Why it failed, in one line: its first errors, or its last message, or how it ended."""
        returncode = self._process.poll()
        lines = self._errors[:2] or self._consequences[:1] or list(self._last)[-1:]
        said = "; ".join(dict.fromkeys(_PREFIX.sub("", line).strip() for line in lines))
        if returncode is not None and returncode < 0:
            name = signal.Signals(-returncode).name if -returncode in set(signal.Signals) else "a signal"
            return f"FFmpeg was ended by {name}" + (f": {said}" if self._errors else "")
        return said or f"FFmpeg ended with status {returncode}"
