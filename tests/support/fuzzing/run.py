"""The fuzz run: thousands of damaged files, each of which must end in success or in one line within a time limit.

    cd tests && python -m support.fuzzing.run --count 5000 --seed 1 --jobs 2

Inputs are made from a small corpus, the same for the same seed. Worker processes restore them as the command would;
one that crashes or hangs is replaced. Inputs that fail are kept in ``--keep`` with a note of what happened.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.fuzzing.corpus import make_corpus
from support.fuzzing.mutations import mutate
from support.paths import PYTHONPATH

_START_SECONDS = 120
#: A worker is replaced after so many inputs, so that a slow leak shows in its peak and not in the next thousand's.
_INPUTS_A_WORKER = 500


@dataclass(frozen=True)
class Limits:
    """What one input may take."""

    seconds: float = 30.0
    #: Peak of resident memory above that of an idle worker, and of one FFmpeg program.
    memory_mb: int = 1024


@dataclass
class Summary:
    """What came of a run."""

    outcomes: Counter[str] = field(default_factory=Counter)
    #: What was said, without numbers and names of files, and how often.
    messages: Counter[str] = field(default_factory=Counter)
    #: Number of the input and what happened.
    faults: list[tuple[int, str]] = field(default_factory=list)
    slowest_seconds: float = 0.0
    slowest_input: int | None = None
    largest_mb: int = 0
    seconds: float = 0.0

    @property
    def count(self) -> int:
        return sum(self.outcomes.values())

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {name}" for name, count in self.outcomes.most_common())
        lines = [f"{self.count} inputs in {self.seconds:.0f} s: {ends}"]
        slowest = f"slowest {self.slowest_seconds:.1f} s (input {self.slowest_input})"
        lines.append(f"{slowest}, most memory above that before {self.largest_mb} MB")
        lines += [f"FAULT input {number}: {what}" for number, what in sorted(self.faults)]
        return "\n".join([*lines, f"{len(self.faults)} faults"])


class Worker:
    """A process that restores inputs one after another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary, self.targets = folder / "tmp", folder / "targets"
        for path in (self.temporary, self.targets):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
        names = (
            ("PYTHONPATH", PYTHONPATH),
            ("OMP_NUM_THREADS", "1"),
            ("OMP_WAIT_POLICY", "PASSIVE"),
            ("TMPDIR", str(self.temporary)),
        )
        self._messages = (folder / "stderr.txt").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.fuzzing.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._messages, env={**os.environ, **dict(names)}, text=True, encoding="utf-8",
        )  # fmt: skip
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._wait(_START_SECONDS)
        self.inputs = 0

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    def _wait(self, seconds: float) -> dict[str, Any] | None:
        line = self._answers.get(timeout=seconds)
        return None if line is None else json.loads(line)

    def restore(self, request: dict[str, Any], limits: Limits) -> dict[str, Any]:
        """Outcome of one input; a ``fault`` of "hang" or "crash" means that the worker is gone."""
        assert self._process.stdin is not None
        self.inputs += 1
        watch = _Watch(self._process.pid)
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._wait(limits.seconds)
        except queue.Empty:
            return {"outcome": "hang", "fault": f"no end within {limits.seconds:g} s"}
        except OSError:
            answer = None
        finally:
            child_mb = watch.end()
        if answer is None:
            code = self._process.wait()
            said = (self.folder / "stderr.txt").read_text(errors="replace").strip().splitlines()[-1:]
            return {"outcome": "crash", "fault": f"crash, status {code} {' '.join(said)}"}
        return self._judged(answer, child_mb, limits)

    def _judged(self, answer: dict[str, Any], child_mb: int, limits: Limits) -> dict[str, Any]:
        """The worker's answer with what its parent has seen."""
        answer["mb"] = max(answer["rss_mb"], child_mb)
        stray = [entry.name for entry in self.targets.iterdir()]
        if answer["outcome"] == "success":
            stray = [name for name in stray if name.startswith(".")] or ([] if stray else ["no target"])
        said = f"({answer['outcome']}: {answer['message']})"
        faults = (
            answer["fault"],
            answer["mb"] > limits.memory_mb and f"{answer['mb']} MB of memory",
            answer["left"] and f"left behind: {answer['left']}",
            stray and f"in the target's folder: {stray}",
            answer["files_opened"] > 2 and f"{answer['files_opened']} open files more than before",
        )
        answer["fault"] = next((f"{fault} {said}" for fault in faults if fault), None)
        if answer["fault"] and answer.get("traceback"):
            answer["fault"] += "\n" + answer["traceback"]
        for entry in self.targets.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        return answer

    def end(self) -> None:
        """Kill it and what it started."""
        for pid in (*_descendants(self._process.pid), self._process.pid):
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout, self._messages):
            assert stream is not None
            try:
                stream.close()
            except OSError:
                continue


class _Watch:
    """Looks at the memory of a worker's child processes while it works."""

    def __init__(self, pid: int) -> None:
        self._pid, self._mb, self._done = pid, 0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        own = _command(self._pid)
        while not self._done.wait(0.1):
            for child in _descendants(self._pid):
                if _command(child) == own:
                    continue  # between fork and exec: its memory is the worker's
                try:
                    pages = int(Path(f"/proc/{child}/statm").read_text().split()[1])
                except (OSError, IndexError):
                    continue
                self._mb = max(self._mb, pages * os.sysconf("SC_PAGE_SIZE") >> 20)

    def end(self) -> int:
        self._done.set()
        self._thread.join()
        return self._mb


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _descendants(pid: int) -> list[int]:
    """Process ids of all children and their children (Linux; none elsewhere)."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, path.read_text().split())
        except OSError:
            continue
    return [*found, *(below for child in found for below in _descendants(child))]


def request_for(seed: int, number: int, path: Path, targets: Path) -> dict[str, Any]:
    """How an input is restored: by name or as a file object, from its start or later, into one of three containers."""
    rng = random.Random(f"{seed}:{number}:request")
    name, codec = rng.choice((("out.mkv", "ffv1"), ("out.mp4", "libx264"), ("out.nut", "ffv1"), ("out.mov", "mjpeg")))
    return {
        "path": str(path), "target": str(targets / name), "codec": codec, "piped": rng.random() < 0.2,
        "start": 0.08 if rng.random() < 0.15 else None,
        "drop": ["subtitle", "attachment", "cover", "data", "audio", "video"] if rng.random() < 0.3 else [],
    }  # fmt: skip


def fuzz(count: int, seed: int, *, jobs: int, folder: Path, keep: Path | None = None, limits: Limits | None = None,
         numbers: Iterable[int] | None = None) -> Summary:  # fmt: skip
    """Run inputs ``numbers`` (default: all up to ``count``) of a seed."""
    limits = limits or Limits()
    corpus = make_corpus(folder / "corpus")
    seeds = [path.read_bytes() for path in corpus]
    todo: queue.Queue[int] = queue.Queue()
    for number in range(count) if numbers is None else numbers:
        todo.put(number)
    summary, lock, began = Summary(), threading.Lock(), time.monotonic()

    def work(job: int) -> None:
        worker: Worker | None = None
        home = folder / f"worker{job}"
        try:
            while True:
                try:
                    number = todo.get_nowait()
                except queue.Empty:
                    return
                worker = worker or Worker(home)
                index, data = mutate(seeds, seed, number)
                # The worker makes its folders anew, so the input lies beside them.
                path = home / f"input{corpus[index].suffix}"
                path.write_bytes(data)
                answer = worker.restore(request_for(seed, number, path, worker.targets), limits)
                with lock:
                    _note(summary, number, answer, corpus[index].name)
                if answer["fault"] and keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, keep / f"{seed}-{number}-{corpus[index].name}")
                if answer["outcome"] in ("hang", "crash") or worker.inputs >= _INPUTS_A_WORKER:
                    worker.end()
                    worker = None
        finally:
            if worker is not None:
                worker.end()

    threads = [threading.Thread(target=work, args=(job,)) for job in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    summary.seconds = time.monotonic() - began
    return summary


def _note(summary: Summary, number: int, answer: dict[str, Any], name: str) -> None:
    summary.outcomes[answer["outcome"]] += 1
    words = re.sub(r"/\S+|\d+(\.\d+)?", "…", answer.get("message", ""))[:160]
    summary.messages[f"{answer['outcome']}: {words}"] += 1
    if (seconds := answer.get("seconds", 0.0)) > summary.slowest_seconds:
        summary.slowest_seconds, summary.slowest_input = seconds, number
    summary.largest_mb = max(summary.largest_mb, answer.get("mb", 0))
    if answer["fault"]:
        summary.faults.append((number, f"{name}: {answer['fault']}"))
        print(f"input {number} ({name}): {answer['fault']}", file=sys.stderr, flush=True)
    elif summary.count % 100 == 0:
        print(f"{summary.count} inputs, {len(summary.faults)} faults", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--seconds", type=float, default=Limits.seconds, help="time limit of one input")
    parser.add_argument("--memory-mb", type=int, default=Limits.memory_mb)
    parser.add_argument("--messages", action="store_true", help="show everything that was said")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "vdeblur-fuzz-faults")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vdeblur-fuzz-") as folder:
        summary = fuzz(
            given.count, given.seed, jobs=given.jobs, folder=Path(folder), keep=given.keep,
            limits=Limits(given.seconds, given.memory_mb), numbers=range(given.first, given.first + given.count),
        )  # fmt: skip
    print(summary)
    if given.messages:
        print(*(f"{count:6} {words}" for words, count in summary.messages.most_common()), sep="\n")
    return 1 if summary.faults else 0


if __name__ == "__main__":
    sys.exit(main())
