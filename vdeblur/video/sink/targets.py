"""Output targets: an atomically replaced file, an image sequence, a device, or a pipe.

A file is written beside its final name under a hidden one and renamed at the end, so a failure leaves the old file
untouched and no half-written one behind.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from vdeblur.atomic_files import hidden_name
from vdeblur.errors import TargetError, UsageError
from vdeblur.video.ffmpeg.command import file_url
from vdeblur.video.info import SourceInfo

_log = logging.getLogger(__name__)

#: The one number in the name of numbered pictures: %d, %5d or %05d.
PATTERN = re.compile(r"%(0?)(\d*)d")
STANDARD_OUTPUT = "-"


class Target:
    """An output that can be committed or discarded.

    Attributes: ``url`` is what FFmpeg writes to; ``seekable`` whether it may go back in it.
    """

    def __init__(self, name: str, url: str, *, seekable: bool) -> None:
        self.name = name
        self.url = url
        self.seekable = seekable

    @property
    def sink(self) -> BinaryIO | None:
        """File object that FFmpeg's standard output is copied to; ``None`` = none."""
        return None

    @property
    def is_standard_output(self) -> bool:
        """Whether FFmpeg writes to our own standard output."""
        return False

    @property
    def partial_path(self) -> Path | None:
        """The file being written, if it can be changed afterwards."""
        return None

    def pictures(self) -> list[Path]:
        """Written files that can be changed before the commit, in the order of frames."""
        return [] if self.partial_path is None else [self.partial_path]

    def commit(self) -> None:
        """Move the finished output to its final name."""

    def discard(self) -> None:
        """Remove what has been written."""


class PipeTarget(Target):
    """Standard output, or a file object that FFmpeg's output is copied to."""

    def __init__(self, name: str, sink: BinaryIO | None) -> None:
        super().__init__(name, "pipe:1", seekable=False)
        self._sink = sink

    @property
    def sink(self) -> BinaryIO | None:
        return self._sink

    @property
    def is_standard_output(self) -> bool:
        return self._sink is None


class FileTarget(Target):
    """One file, hidden until it is finished."""

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self._path = path
        self._overwrite = overwrite
        self._partial = path.with_name(hidden_name(path.name, path.suffix))
        try:
            os.close(os.open(self._partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except OSError as exc:
            raise TargetError(f"cannot write in {path.parent}: {exc.strerror or exc}") from exc
        super().__init__(str(path), file_url(str(self._partial)), seekable=True)

    @property
    def partial_path(self) -> Path | None:
        return self._partial

    def move_into(self, folder: Path) -> None:
        """Make the file in a folder of the same disk instead of beside its final name.

        Raises:
            TargetError: it cannot be moved there.
        """
        moved = folder / f"whole{self._path.suffix}"
        try:
            os.replace(self._partial, moved)
        except OSError as exc:
            raise TargetError(f"cannot write in {folder}: {exc.strerror or exc}") from exc
        self._partial, self.url = moved, file_url(str(moved))

    def commit(self) -> None:
        if not self._overwrite and self._path.exists():
            raise TargetError(f"{self._path} has appeared meanwhile; the result is in {self._partial}")
        try:
            os.replace(self._partial, self._path)
        except OSError as exc:
            reason = exc.strerror or exc
            raise TargetError(f"cannot rename to {self._path}: {reason}; the result is in {self._partial}") from exc

    def discard(self) -> None:
        _remove(self._partial)


class SequenceTarget(Target):
    """An image sequence, written to a hidden folder and moved out of it when complete.

    Args:
        names: what they will be called, where that is not what the pattern says.
    """

    def __init__(self, pattern: Path, *, overwrite: bool, names: Sequence[str] = ()) -> None:
        self._folder = pattern.parent
        #: Names for the pictures that have been written, in their order; empty = the pattern's own.
        self.names: Sequence[str] = ()
        self._made_folder = bool(names) and not self._folder.exists()
        self._partial = pattern.with_name(hidden_name(pattern.name.replace("%", ""), ""))
        try:
            if self._made_folder:
                self._folder.mkdir()
            existing = self._existing(pattern, frozenset(names))
            if existing is not None and not overwrite:
                raise UsageError(f"{existing} exists; pass overwrite=True (-y) to replace pictures of that name")
            self._partial.mkdir()
        except OSError as exc:
            raise TargetError(f"cannot write in {self._folder}: {exc.strerror or exc}") from exc
        url = file_url(str(self._partial).replace("%", "%%") + os.sep + pattern.name)
        super().__init__(str(self._folder if names else pattern), url, seekable=True)

    def _existing(self, pattern: Path, names: frozenset[str]) -> Path | None:
        """A picture that would be replaced, if there is one."""
        fits = _numbered(pattern)
        for entry in self._folder.iterdir():
            if entry.name in names if names else fits.fullmatch(entry.name):
                return entry
        return None

    def pictures(self) -> list[Path]:
        return sorted(self._partial.iterdir(), key=lambda picture: (len(picture.name), picture.name))

    def commit(self) -> None:
        written = self.pictures()
        names = self.names if len(self.names) == len(written) else [picture.name for picture in written]
        try:
            for picture, name in zip(written, names, strict=True):
                os.replace(picture, self._folder / name)
            self._partial.rmdir()
        except OSError as exc:
            reason = exc.strerror or exc
            raise TargetError(
                f"cannot move pictures to {self._folder}: {reason}; the rest is in {self._partial}"
            ) from exc

    def discard(self) -> None:
        if self._partial.is_dir():
            for picture in self._partial.iterdir():
                _remove(picture)
            self._partial.rmdir()
        if self._made_folder:
            with suppress(OSError):  # somebody else has put something into it
                self._folder.rmdir()


def is_pattern(target: str | Path | BinaryIO) -> bool:
    """Whether the name has a number in it, for pictures."""
    return isinstance(target, (str, Path)) and PATTERN.search(Path(target).name) is not None


def open_target(
    target: str | Path | BinaryIO,
    *,
    pictures: bool,
    overwrite: bool,
    info: SourceInfo | None = None,
    names: Sequence[str] = (),
) -> Target:
    """Open a target: check everything that can be checked before work starts, and reserve it.

    Args:
        pictures: one file a frame is written, so a ``%05d`` in the name is a number.
        info: the source, which must not be overwritten while it is read.
        names: of the pictures that come into a folder, which ``target`` then is.

    Raises:
        UsageError: the target exists, is the source or a folder, or its folder does not exist.
        TargetError: nothing can be written there.
    """
    if not isinstance(target, (str, Path)):
        if not hasattr(target, "write"):
            raise UsageError(f"cannot write to a {type(target).__name__}; give a path or a binary file object")
        return PipeTarget(str(getattr(target, "name", None) or "file object"), target)
    if str(target) == STANDARD_OUTPUT:
        return PipeTarget("standard output", None)
    # A link is followed, so that the file behind it is replaced and not the link.
    path = Path(os.path.realpath(_checked_name(target)))
    if names:
        return _open_folder(path, names, overwrite=overwrite, info=info)
    if os.path.isdir(path):
        raise UsageError(f"{target} is a folder; name a file in it")
    if not os.path.isdir(path.parent):
        raise UsageError(f"there is no folder {path.parent}; create it first")
    try:
        os.lstat(path)
    except FileNotFoundError:
        pass
    except OSError as exc:  # the name is too long, or the folder may not be entered
        raise TargetError(f"cannot write {target}: {exc.strerror or exc}") from exc
    numbered = pictures and PATTERN.search(path.name) is not None
    if info is not None and _is_source(path, info, numbered=numbered):
        raise UsageError(f"{target} is the source itself; write to another file")
    if numbered:
        return SequenceTarget(path, overwrite=overwrite)
    if os.path.exists(path) and not stat.S_ISREG(path.stat().st_mode):
        return Target(str(target), file_url(str(path)), seekable=False)
    if os.path.exists(path) and not overwrite:
        raise UsageError(f"{target} exists; pass overwrite=True (-y) to replace it")
    return FileTarget(path, overwrite=overwrite)


def _open_folder(path: Path, names: Sequence[str], *, overwrite: bool, info: SourceInfo | None) -> Target:
    there = os.path.isdir(path)
    if os.path.exists(path) and not there:
        raise UsageError(f"{path} is a file; pictures under their own names need a folder")
    if not os.path.isdir(path.parent):
        raise UsageError(f"there is no folder {path.parent}; create it first")
    if there and info is not None and any(_is_source(path / name, info, numbered=False) for name in names):
        raise UsageError(f"{path} is the source itself; write to another folder")
    # What they are called meanwhile is nobody's business, so no name can be mistaken for a pattern.
    return SequenceTarget(path / f"%010d{Path(names[0]).suffix}", overwrite=overwrite, names=names)


def _is_source(path: Path, info: SourceInfo, *, numbered: bool) -> bool:
    """Whether a path is the source's file, under any name, or the pattern or one of its pictures."""
    fits = _numbered(path) if numbered else re.compile(re.escape(path.name))
    same_names = [picture for picture in info.pictures if fits.fullmatch(picture.name)]
    if any(os.path.samefile(folder, path.parent) for folder in {picture.parent for picture in same_names}):
        return True
    return info.path is not None and os.path.exists(path) and os.path.exists(info.path) and path.samefile(info.path)


def _numbered(pattern: Path) -> re.Pattern[str]:
    """Regular expression of the file names that a pattern makes."""
    parts = [text.replace("%%", "%") for text in PATTERN.sub("\0", pattern.name).split("\0")]
    if len(parts) != 2:
        raise UsageError(f"{pattern} has {len(parts) - 1} numbers; a pattern has one, like frame_%05d.png")
    before, after = parts
    return re.compile(rf"{re.escape(before)}\d+{re.escape(after)}")


def _checked_name(target: str | Path) -> str:
    name = str(target)
    if not name or "\0" in name:
        raise UsageError(f"{name!r} is no name of a file")
    return name


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as exc:
        _log.warning("cannot remove %s: %s", path, exc)
