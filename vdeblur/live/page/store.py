"""The store: files of the page in a temporary folder, under names of the server's own, each for a while."""

from __future__ import annotations

import re
import secrets
import shutil
import time
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Self

from vdeblur.errors import TargetError

#: So long a file is kept that nobody asks for.
IDLE_SECONDS = 30 * 60.0
#: So long one is kept that has been fetched, for a download that must be begun again.
FETCHED_SECONDS = 60.0
#: The disk is never filled further than this.
_FREE_BYTES = 512 << 20
_LONGEST_NAME = 100
_UNSAFE = re.compile(r'[\\/:*?"<>|%;\x00-\x1f\x7f]')


@dataclass(eq=False)
class Stored:
    """A file and what a browser may call it."""

    id: str
    path: Path
    #: Name for the download, safe to put into a header.
    name: str
    touched_at: float = field(default_factory=time.monotonic)
    fetched_at: float | None = None
    #: Somebody is writing or reading it.
    busy: bool = False

    def touch(self) -> None:
        self.touched_at = time.monotonic()

    def fetched(self) -> None:
        self.fetched_at = time.monotonic()

    def is_stale(self, now: float) -> bool:
        if self.busy:
            return False
        if self.fetched_at is not None and now - max(self.fetched_at, self.touched_at) > FETCHED_SECONDS:
            return True
        return now - self.touched_at > IDLE_SECONDS


class Store:
    """Files in a temporary folder that goes away with the store. A context manager; for one thread."""

    def __init__(self) -> None:
        from vdeblur.video.temp_folders import scratch_folder

        self._folder = scratch_folder()
        self._files: dict[str, Stored] = {}

    @property
    def folder(self) -> Path:
        return Path(self._folder.name)

    def new(self, suffix: str, name: str) -> Stored:
        """A file that does not exist yet.

        Args:
            suffix: ".mp4" or the like; one of ours, never what a browser said.
            name: what a browser calls it; only made harmless and handed back to browsers.

        Raises:
            TargetError: the disk is nearly full.
        """
        self.check_room(0)
        key = secrets.token_urlsafe(18)
        stored = Stored(key, self.folder / f"{secrets.token_hex(12)}{suffix}", harmless(name))
        self._files[key] = stored
        return stored

    def check_room(self, size: int) -> None:
        """Raise TargetError unless the disk has room for so many bytes."""
        if shutil.disk_usage(self.folder).free < size + _FREE_BYTES:
            raise TargetError("the server's disk has no room for this file")

    def find(self, key: str) -> Stored | None:
        stored = self._files.get(key)
        if stored is not None:
            stored.touch()
        return stored

    def remove(self, stored: Stored) -> None:
        self._files.pop(stored.id, None)
        stored.path.unlink(missing_ok=True)

    def sweep(self) -> list[Stored]:
        """Remove what nobody has asked for; returns it."""
        now = time.monotonic()
        stale = [stored for stored in self._files.values() if stored.is_stale(now)]
        for stored in stale:
            self.remove(stored)
        return stale

    def close(self) -> None:
        self._files.clear()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def harmless(name: str) -> str:
    """A file name without folders, control and formatting characters, of bounded length; "video" if nothing is left."""
    name = PurePosixPath(PureWindowsPath(name).name).name
    name = "".join(letter for letter in name if unicodedata.category(letter)[0] != "C")
    name = _UNSAFE.sub("_", name).strip(" .")
    stem, dot, suffix = name.rpartition(".")
    if dot and len(suffix) <= 8:
        name = stem[: _LONGEST_NAME - len(suffix) - 1] + dot + suffix
    return name[:_LONGEST_NAME] or "video"


def with_ending(name: str, addition: str, suffix: str) -> str:
    """ "holiday.mov" with ".sharp" and ".mp4": "holiday.sharp.mp4"."""
    stem = PurePosixPath(name).stem or "video"
    return f"{stem}{addition}{suffix}"
