"""Folders as inputs: the videos in them come first, pictures are one video where there are none, and both are said."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vdeblur.errors import UsageError
from vdeblur.video.source.location import PICTURE_SUFFIXES

#: File name suffixes of videos in a folder.
VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mkv", ".mov", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".vob", ".flv", ".wmv",
    ".asf", ".ogv", ".3gp", ".3g2", ".mxf", ".nut", ".y4m",
})  # fmt: skip
#: So many names are written out.
_NAMED = 3


@dataclass(frozen=True)
class FolderContents:
    """What a folder holds, hidden entries aside, each in the order of names."""

    folder: Path
    videos: tuple[Path, ...]
    pictures: tuple[Path, ...]
    #: Other files.
    others: tuple[Path, ...]
    #: Folders that were not looked into.
    folders: tuple[Path, ...]

    @property
    def sources(self) -> tuple[Path, ...]:
        """The videos, or the folder itself where it holds pictures alone.

        Raises:
            UsageError: it holds neither.
        """
        if self.videos:
            return self.videos
        if self.pictures:
            return (self.folder,)
        hint = f"; --recursive looks into {_names('folder', self.folders)}" if self.folders else ""
        endings = ", ".join(sorted(VIDEO_SUFFIXES))
        raise UsageError(f"{self.folder} is a folder without videos; it should hold files ending in {endings}{hint}")

    @property
    def words(self) -> str:
        """What is taken and what is passed over."""
        as_one = " as one video" if len(self.pictures) > 1 and not self.videos else ""
        taken = _count("video", self.videos) if self.videos else _count("picture", self.pictures)
        passed = [
            _names("picture", self.pictures) if self.videos else "",
            _names("other file", self.others),
            f"{_names('folder', self.folders)}: --recursive looks into it" if len(self.folders) == 1 else "",
            f"{_names('folder', self.folders)}: --recursive looks into them" if len(self.folders) > 1 else "",
        ]
        over = ", ".join(filter(None, passed))
        return f"{self.folder}: {taken} taken{as_one}" + (f"; passed over: {over}" if over else "")


def look_into(folder: Path, *, recursive: bool = False, without: Path | None = None) -> FolderContents:
    """Sort a folder's entries by their endings.

    Args:
        recursive: with all that is in the folders below; links to folders are not followed.
        without: a folder below it that is passed over: the one that is written to.

    Raises:
        UsageError: it cannot be read.
    """
    files, folders = list[Path](), list[Path]()
    for path, is_folder in _entries(folder, recursive, without):
        (folders if is_folder else files).append(path)
    kinds = [path.suffix.lower() for path in files]
    return FolderContents(
        folder,
        tuple(path for path, kind in zip(files, kinds, strict=True) if kind in VIDEO_SUFFIXES),
        tuple(path for path, kind in zip(files, kinds, strict=True) if kind in PICTURE_SUFFIXES),
        tuple(path for path, kind in zip(files, kinds, strict=True) if kind not in VIDEO_SUFFIXES | PICTURE_SUFFIXES),
        tuple(folders),
    )


def _entries(folder: Path, recursive: bool, without: Path | None) -> Iterator[tuple[Path, bool]]:
    """Files, and folders that are not looked into."""
    waiting = [folder]
    while waiting:
        here = waiting.pop(0)
        try:
            entries = sorted(here.iterdir())
        except OSError as exc:
            raise UsageError(f"cannot read the folder {here}: {exc.strerror or exc}") from exc
        for path in entries:
            if path.name.startswith("."):
                continue
            if not os.path.isdir(path):
                if os.path.isfile(path):
                    yield path, False
            elif without is not None and os.path.exists(without) and path.samefile(without):
                continue
            elif recursive and not path.is_symlink():
                waiting.append(path)
            else:
                yield path, True


def _count(kind: str, paths: Iterable[Path]) -> str:
    count = len(tuple(paths))
    return f"{count} {kind}{'s' * (count != 1)}"


def _names(kind: str, paths: tuple[Path, ...]) -> str:
    """ "2 pictures (a.png, b.png)"; empty for none."""
    if not paths:
        return ""
    names = [path.name for path in paths[:_NAMED]] + ["…"] * (len(paths) > _NAMED)
    return f"{_count(kind, paths)} ({', '.join(names)})"
