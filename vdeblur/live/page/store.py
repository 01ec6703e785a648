"""Temporary file store of the page: random names, expiry, and sanitized download names."""

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

#: Expiry of a file without requests.
IDLE_SECONDS = 30 * 60.0
#: Expiry of a file after its download, in case that must be restarted.
FETCHED_SECONDS = 60.0
#: The disk is never filled further than this.
_FREE_BYTES = 512 << 20
_LONGEST_NAME = 100
_UNSAFE = re.compile(r'[\\/:*?"<>|%;\x00-\x1f\x7f]')


@dataclass(eq=False)
class StoredFile:
    """A file in the store, and its download name."""

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

    def mark_fetched(self) -> None:
        self.fetched_at = time.monotonic()

    def is_stale(self, now: float) -> bool:
        if self.busy:
            return False
        if self.fetched_at is not None and now - max(self.fetched_at, self.touched_at) > FETCHED_SECONDS:
            return True
        return now - self.touched_at > IDLE_SECONDS


class FileStore:
    """Files in a temporary folder that goes away with the store. A context manager; for one thread."""

    def __init__(self) -> None:
        from vdeblur.video.temp_folders import scratch_folder

        self._folder = scratch_folder()
        self._files: dict[str, StoredFile] = {}

    @property
    def folder(self) -> Path:
        return Path(self._folder.name)

    def new(self, suffix: str, name: str) -> StoredFile:
        """Reserve a new file.

        Args:
            suffix: ".mp4" or the like; chosen by the server, never by a browser.
            name: download name as a browser gives it; sanitized, and used for downloads only.

        Raises:
            TargetError: the disk is nearly full.
        """
        self.check_room(0)
        key = secrets.token_urlsafe(18)
        stored = StoredFile(key, self.folder / f"{secrets.token_hex(12)}{suffix}", sanitize_name(name))
        self._files[key] = stored
        return stored

    def check_room(self, size: int) -> None:
        """Raise TargetError unless the disk has room for so many bytes."""
        if shutil.disk_usage(self.folder).free < size + _FREE_BYTES:
            raise TargetError("the server's disk has no room for this file")

    def find(self, key: str) -> StoredFile | None:
        stored = self._files.get(key)
        if stored is not None:
            stored.touch()
        return stored

    def remove(self, stored: StoredFile) -> None:
        self._files.pop(stored.id, None)
        stored.path.unlink(missing_ok=True)

    def sweep(self) -> list[StoredFile]:
        """Remove expired files; return them."""
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


def sanitize_name(name: str) -> str:
    """Strip folders, control and formatting characters from a name, and bound its length; "video" if none is left."""
    name = PurePosixPath(PureWindowsPath(name).name).name
    name = "".join(letter for letter in name if unicodedata.category(letter)[0] != "C")
    name = _UNSAFE.sub("_", name).strip(" .")
    stem, dot, suffix = name.rpartition(".")
    if dot and len(suffix) <= 8:
        name = stem[: _LONGEST_NAME - len(suffix) - 1] + dot + suffix
    return name[:_LONGEST_NAME] or "video"


def add_to_stem(name: str, addition: str, suffix: str) -> str:
    """Replace the suffix and add to the stem: "holiday.mov" with ".sharp" and ".mp4" is "holiday.sharp.mp4"."""
    stem = PurePosixPath(name).stem or "video"
    return f"{stem}{addition}{suffix}"
