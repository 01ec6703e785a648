"""Journal of a resumable job: finished segments and stream state, in a hidden folder beside the target.

The folder holds finished segments of the video, the network's state at the end of the last one, and ``job.json``,
which is replaced atomically and only after everything it names is synced to the disk. So a crash or a power cut at any
moment costs the segment that was being encoded, and nothing else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vdeblur.atomic_files import write_atomically
from vdeblur.errors import TargetError, UsageError
from vdeblur.video.segments.file_lock import FileLock

#: Changes when folders of older versions can no longer be read.
VERSION = 3
_NAME_BYTES = 255
_RECORD = "job.json"
#: Term for people, which may differ: the options as they were given.
ASKED = "asked"


@dataclass(frozen=True)
class Segment:
    """A finished segment of the video."""

    #: Its file in the folder.
    file: str
    #: Timestamps of its frames in presentation order, in ticks as sent to the encoder.
    times: tuple[int, ...]
    #: Position in presentation order of each packet, in decoding order.
    places: tuple[int, ...]
    #: Digest of the codec's extradata, which all segments must share.
    parameters: str

    @property
    def delay(self) -> int:
        """Reordering delay in frames: by how many decoding runs ahead of presentation."""
        return max((number - place for number, place in enumerate(self.places)), default=0)


@dataclass(frozen=True)
class Position:
    """Checkpoint of a job: the last restored frame and the state after it."""

    #: Frames restored.
    frames: int
    #: Ticks of the first and of the last of them in the source.
    first_pts: int
    pts: int
    #: CRC-32 of the last one's samples in the source.
    checksum: int
    #: Stream state after it: plain values and the name of the file with the tensors.
    memory: Mapping[str, Any]
    #: Empty once no state is needed any more.
    memory_file: str
    #: All frames are encoded; only the join is left.
    complete: bool = False
    #: Tick of the frame before, where its fields are needed to complete those of the last one.
    run_up_pts: int | None = None
    #: What has been said of the source so far, and its packets that could not be decoded.
    notes: tuple[str, ...] = ()
    skipped_packets: int = 0


@dataclass(frozen=True)
class Record:
    """Contents of ``job.json``."""

    #: Everything that determines the output; a job resumes only if all of it is the same.
    terms: Mapping[str, Any]
    segments: tuple[Segment, ...] = field(default=())
    position: Position | None = None


class TermsDiffer(UsageError):
    """An interrupted job was begun in other terms.

    Args:
        name: of a term that differs between ``begun`` and ``now``.
    """

    def __init__(self, target: Path, name: str, begun: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        was, new = (json.dumps(terms.get(name), ensure_ascii=False) for terms in (begun, now))
        super().__init__(
            f"cannot go on with {target}: {name} was {was} when the job began and is {new} now; "
            "give the same again, or begin anew with overwrite=True (-y)"
        )
        self.target, self.name, self.begun, self.now = target, name, begun, now


class Journal:
    """Journal of one target's job. Nothing is touched before :meth:`begin` or :meth:`resume`."""

    def __init__(self, target: Path) -> None:
        path = Path(os.path.realpath(target))
        self.target = path
        self.folder = path.with_name(_folder_name(path.name))
        self.record = Record({})
        self._lock = FileLock(self.folder / "lock")

    @property
    def unfinished(self) -> Position | None:
        """Checkpoint of an interrupted job, if there is one to resume.

        Raises:
            TargetError: its record cannot be read.
        """
        record = self._read()
        return None if record is None else record.position

    def begin(self, terms: Mapping[str, Any], *, anew: bool = False) -> None:
        """Start a job; with ``anew`` the leftovers of an earlier one are removed.

        Raises:
            UsageError: an earlier job can be resumed.
            TargetError: another job writes to this target, or the folder cannot be written.
        """
        self._take()
        try:
            if not anew and (earlier := self.unfinished) is not None:
                raise UsageError(
                    f"an interrupted job for {self.target} is there, {earlier.frames} frames done; "
                    "resume=True goes on with it, overwrite=True begins anew"
                )
            self._empty()
            self._write(Record(dict(terms)))
        except OSError as exc:
            self._lock.release()
            raise _cannot_write(self.folder, exc) from exc
        except BaseException:
            self._lock.release()
            raise

    def resume(self, terms: Mapping[str, Any]) -> Position:
        """Resume the interrupted job.

        Raises:
            UsageError: there is none, or it was begun in other terms.
            TargetError: another job writes to this target, or what is there cannot be read.
        """
        if not self.folder.is_dir():
            raise UsageError(f"there is no interrupted job for {self.target}")
        self._take()
        try:
            record = self._read()
            if record is None or record.position is None:
                raise UsageError(f"there is no interrupted job for {self.target}")
            _compare(record.terms, terms, self.target)
            for segment in record.segments:
                if not (self.folder / segment.file).is_file():
                    raise TargetError(f"{self.folder / segment.file} is missing; overwrite=True begins anew")
        except BaseException:
            self._lock.release()
            raise
        self.record = record
        return record.position

    def next_file(self, suffix: str) -> Path:
        """Path of the next segment; a leftover under that name is overwritten."""
        return self.folder / f"segment-{len(self.record.segments):05d}.{suffix}"

    def add(self, segment: Segment) -> None:
        """Add a finished segment; it counts once :meth:`commit` has been called."""
        known = self.record.segments
        if known and known[0].parameters != segment.parameters:
            raise TargetError(
                "the encoder's parameters changed between segments; segment_seconds=None does without them"
            )
        self.record = dataclasses.replace(self.record, segments=(*known, segment))

    def commit(self, position: Position) -> None:
        """Sync everything added so far to the disk, and record the checkpoint.

        Raises:
            TargetError: the disk failed.
        """
        before = self.record.position
        try:
            if self.record.segments:
                _sync(self.folder / self.record.segments[-1].file)
            if position.memory_file:
                _sync(self.folder / position.memory_file)
            self._write(dataclasses.replace(self.record, position=position))
            if before is not None and before.memory_file not in ("", position.memory_file):
                (self.folder / before.memory_file).unlink(missing_ok=True)
        except OSError as exc:
            raise _cannot_write(self.folder, exc) from exc

    def release(self) -> None:
        """Release the lock; the folder stays if the job can be resumed, and is removed otherwise."""
        if not self._lock.held:
            return
        if self.record.position is None:
            self.remove()
        else:
            self._lock.release()

    def remove(self) -> None:
        """Remove the folder: the job is done, or nothing of it is useful."""
        with contextlib.suppress(OSError):
            self._empty()
        self._lock.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _take(self) -> None:
        try:
            self.folder.mkdir(exist_ok=True)
            taken = self._lock.take()
        except OSError as exc:
            raise _cannot_write(self.folder, exc) from exc
        if not taken:
            raise TargetError(f"another vdeblur is writing {self.target}; wait for it, or choose another name")

    def _empty(self) -> None:
        for entry in self.folder.iterdir():
            if entry != self._lock.path:
                entry.unlink()

    def _read(self) -> Record | None:
        path = self.folder / _RECORD
        try:
            data = json.loads(path.read_bytes())
            if data["version"] != VERSION:
                raise TargetError(
                    f"{self.folder} was written by another version of vdeblur; overwrite=True begins anew"
                )
            position = data["position"]
            if position is not None:
                position = Position(**{**position, "notes": tuple(position["notes"])})
            segments = (
                Segment(entry["file"], tuple(entry["times"]), tuple(entry["places"]), entry["parameters"])
                for entry in data["segments"]
            )
            return Record(data["terms"], tuple(segments), position)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise TargetError(f"cannot read {path}: {exc}; overwrite=True begins anew") from exc

    def _write(self, record: Record) -> None:
        path = self.folder / _RECORD
        data = {"version": VERSION, **dataclasses.asdict(record)}
        write_atomically(path, json.dumps(data), synced=True)
        _sync_folder(self.folder)
        self.record = record


def _compare(begun: Mapping[str, Any], now: Mapping[str, Any], target: Path) -> None:
    # Through JSON, as the old ones went.
    now = json.loads(json.dumps(now))
    for name in dict.fromkeys([*begun, *now]):
        if name != ASKED and begun.get(name) != now.get(name):
            raise TermsDiffer(target, name, begun, now)


def _folder_name(name: str) -> str:
    """Name of the folder of a target: deterministic, and short enough for every file system."""
    full = f".{name}.vdeblur"
    if len(os.fsencode(full)) <= _NAME_BYTES:
        return full
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return f".{os.fsencode(name)[:200].decode(errors='ignore')}.{digest}.vdeblur"


def _sync(path: Path) -> None:
    """Flush a file's data to the disk (fsync)."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # NTFS keeps its own journal of names
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_write(folder: Path, exc: OSError) -> TargetError:
    return TargetError(f"cannot write in {folder}: {exc.strerror or exc}")
