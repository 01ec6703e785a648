"""Atomic file replacement: a file is written under a hidden name beside its own and renamed when it is complete.

So a failure, a full disk or Ctrl-C at any moment leaves the old file whole, and no half-written one behind.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vdeblur.errors import TargetError

#: Longest file name, in bytes, on every file system that matters.
_NAME_BYTES = 255


@contextmanager
def replaced_file(path: Path, *, synced: bool = False) -> Iterator[Path]:
    """Context to write a file atomically; yields the path to write to.

    That path is hidden, in the same folder, with the same ending, and there already, empty. At the end of the block it
    takes the place of ``path``, with the permissions of the file that was there. A symbolic link is followed: the file
    behind it is replaced. A device or a pipe, which cannot be replaced, is written to as it is.

    Args:
        synced: flush the data to the disk before the old file goes, for what must outlive a power cut.

    Raises:
        TargetError: the file cannot be written; also for an ``OSError`` of the block. The old file is untouched.
    """
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file():
            yield target
            return
        part = target.with_name(hidden_name(target.name, target.suffix))
        try:
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            yield part
            with suppress(FileNotFoundError):
                shutil.copymode(target, part)
            if synced:
                _sync(part)
            os.replace(part, target)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
    except OSError as exc:
        raise TargetError(f"cannot write {path}: {exc.strerror or exc}") from exc


def write_atomically(path: Path, data: bytes | str, *, synced: bool = False) -> None:
    """Write a whole file in one move; text as UTF-8, its line ends as they are. See :func:`replaced_file`.

    Raises:
        TargetError: it cannot be written; the old file is untouched.
    """
    with replaced_file(path, synced=synced) as part:
        part.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


def hidden_name(name: str, suffix: str) -> str:
    """A unique hidden name for the same folder, short enough for every file system."""
    tail = f".vdeblur-{secrets.token_hex(4)}.part{suffix}"
    room = _NAME_BYTES - len(os.fsencode(tail)) - 1
    stem = name.removesuffix(suffix).encode(errors="ignore")[: max(0, room)].decode(errors="ignore")
    return f".{stem}{tail}"


def _sync(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())
