"""Source location: a file, numbered pictures, a URL, standard input or a file object."""

from __future__ import annotations

import os
import re
import select
import stat
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from vdeblur.errors import SourceError, UsageError
from vdeblur.video.broken_off import ElementWalk, walk_file, walk_path
from vdeblur.video.source.access import NETWORK_SCHEMES, reopening_options, scheme_of

DEFAULT_FRAME_RATE = Fraction(25)
PICTURE_SUFFIXES = frozenset({
    ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".ppm", ".pgm", ".pnm", ".pam", ".tga", ".dpx", ".jp2",
    ".j2k", ".jxl", ".sgi", ".qoi",
})  # fmt: skip
_SAME_KIND = {".jpeg": ".jpg", ".tiff": ".tif", ".pnm": ".ppm", ".j2k": ".jp2"}
_PATTERN = re.compile(r"%(0?)(\d*)d")
#: What is remembered of a pipe's data, to say what it was and whether it is encrypted.
_HEAD_BYTES = 1 << 18
_STANDARD_INPUT = {"-", "pipe:", "pipe:0"}


class PipeSource:
    """What FFmpeg reads from a file object: its data, and never an exception inside FFmpeg's own calls.

    An exception in ``read``, Ctrl-C among them, is kept in ``failure`` and looks like the end of the data to FFmpeg.
    """

    def __init__(self, stream: BinaryIO, *, wait: bool) -> None:
        self.failure: BaseException | None = None
        self.count = 0
        self.head = b""
        #: Goes through the data as they pass, to see whether they break off.
        self.walk = ElementWalk()
        self._ahead = b""
        self._stream = stream
        self._read = getattr(stream, "read1", stream.read)
        self._stop = threading.Event()
        self._descriptor = _pollable(stream) if wait else None
        seekable = getattr(stream, "seekable", None)
        self._seekable = bool(seekable and seekable())

    def peek(self, size: int) -> bytes:
        """The next bytes, which ``read`` gives all the same; fewer at the end, or where the data come slowly."""
        while len(self._ahead) < size and (data := self._take(size - len(self._ahead))):
            self._ahead += data
        return self._ahead[:size]

    def read(self, size: int) -> bytes:
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        return self._take(size)

    def _take(self, size: int) -> bytes:
        """Data of the stream itself."""
        try:
            if not self._wait():
                return b""
            data = self._read(size)
        except BaseException as exc:
            self.failure = exc
            return b""
        self.count += len(data)
        if not self._seekable:
            self.walk.feed(data)
        if len(self.head) < _HEAD_BYTES:
            self.head += data[: _HEAD_BYTES - len(self.head)]
        return data

    def seekable(self) -> bool:
        return self._seekable

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to ``offset``; -1 if that cannot be, for damaged files send FFmpeg before their beginning."""
        if whence == os.SEEK_CUR:
            offset -= len(self._ahead)
        try:
            found = self._stream.seek(offset, whence)
        except (OSError, ValueError):
            return -1
        self._ahead = b""
        return found

    def tell(self) -> int:
        return self._stream.tell() - len(self._ahead)

    def size(self) -> int | None:
        """Bytes from the beginning to the end; ``None`` where nobody knows."""
        if not self._seekable:
            return None
        try:
            here = self._stream.tell()
            end = self._stream.seek(0, os.SEEK_END)
            self._stream.seek(here)
        except (OSError, ValueError):
            return None
        return end

    def walked(self) -> ElementWalk | None:
        """The walk through all of the data; ``None`` where they could not be read."""
        if not self._seekable:
            return self.walk
        try:
            here = self._stream.tell()
            walk = walk_file(self._stream)
            self._stream.seek(here)
        except (OSError, ValueError):
            return None
        return walk

    def stop(self) -> None:
        """Make a ``read`` that waits for data return at once."""
        self._stop.set()

    def _wait(self) -> bool:
        """Wait until there is something to read; False when stopped."""
        while self._descriptor is not None and not self._stop.is_set():
            if select.select([self._descriptor], [], [], 0.1)[0]:
                break
        return not self._stop.is_set()


def _pollable(stream: BinaryIO) -> int | None:
    """File descriptor that ``select`` takes; none on Windows, where it takes sockets only."""
    if sys.platform == "win32":
        return None
    try:
        return stream.fileno()
    except (AttributeError, OSError):
        return None


@dataclass(frozen=True)
class SourceLocation:
    """A source before it is opened; exactly one of ``url``, ``pipe`` and ``pictures`` is what is read."""

    name: str
    #: The file, if it is a plain one.
    path: Path | None = None
    url: str | None = None
    pipe: PipeSource | None = None
    pictures: tuple[Path, ...] = ()
    #: Whether ``url`` may be opened a second time and gives the same.
    twice: bool = False
    network: bool = False
    #: What FFmpeg needs to read the same pictures: their pattern and options.
    pattern_url: str | None = None
    pattern_options: dict[str, str] = field(default_factory=dict)
    #: The number in the name of each of the pictures, if they have been chosen by it.
    numbers: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def again(self) -> bool:
        """Whether the source can be opened once more and gives the same frames."""
        return self.twice or bool(self.pictures)

    @property
    def file_bytes(self) -> int | None:
        """Length of the file, or of the first picture; ``None`` where nobody knows."""
        if self.pipe is not None:
            return self.pipe.size()
        path = self.pictures[0] if self.pictures else self.path
        try:
            return None if path is None else path.stat().st_size
        except OSError:
            return None

    def pattern_input(self, rate: Fraction) -> dict[str, str]:
        """FFmpeg's options for the pattern's pictures at so many frames a second; none where there is no pattern."""
        if self.pattern_url is None:
            return {}
        return {**reopening_options("image2", network=False), **self.pattern_options, "framerate": str(rate)}

    @property
    def head(self) -> bytes:
        """The first bytes of a pipe, as far as they have been read."""
        return b"" if self.pipe is None else self.pipe.head

    @property
    def hint(self) -> str | None:
        """What may help people when the source cannot be read."""
        walk = walk_path(self.path) if self.path is not None else self.pipe.walked() if self.pipe is not None else None
        if walk is not None and walk.lacks_index:
            return "the index (moov) is missing: the recording was not finished"
        if self.pipe is not None and self.pipe.head[4:8] == b"ftyp" and not self.pipe.seekable():
            return "an MP4 that comes through a pipe must have its index in front (ffmpeg … -movflags +faststart)"
        return None


def file_id(path: Path | None) -> tuple[int, int] | None:
    """Device and number of a file, which another file in its place does not have; ``None`` if there is none."""
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def check_unchanged(name: str, path: Path | None, known: tuple[int, int] | None) -> None:
    """Refuse to read another file than the one that was opened, for its sound would be joined to these frames.

    Raises:
        SourceError: the file has been removed or replaced.
    """
    if path is not None and known is not None and (found := file_id(path)) != known:
        what = "has been removed" if found is None else "is another file"
        raise SourceError(f"{name} {what} since work began; give a file that stays in its place")


def locate(source: str | Path | BinaryIO, *, allow_network: bool = False) -> SourceLocation:
    """Find out what ``source`` is. An existing file always wins over a pattern, a protocol or an option.

    Raises:
        UsageError: there is no such file, a folder holds no pictures or several kinds of them, or the source is an
            address on the network and that is not allowed.
        SourceError: the file is empty or may not be read.
    """
    if not isinstance(source, (str, Path)):
        if not hasattr(source, "read"):
            raise UsageError(f"cannot read from a {type(source).__name__}; give a path, a URL or a binary file object")
        return SourceLocation(str(getattr(source, "name", None) or "file object"), pipe=PipeSource(source, wait=False))
    name = str(source)
    if name in _STANDARD_INPUT:
        return _standard_input()
    if not name or "\0" in name:
        raise UsageError(f"{name!r} is no name of a file")
    path = Path(name)
    if os.path.isdir(path):
        return _folder(path)
    if os.path.exists(name):
        return _file(path)
    if _PATTERN.search(path.name):
        return _sequence(path)
    if isinstance(source, str) and (scheme := scheme_of(name)) is not None:
        return _elsewhere(name, scheme, allow_network=allow_network)
    raise no_such_file(name)


def _elsewhere(name: str, scheme: str, *, allow_network: bool) -> SourceLocation:
    """What an address means: a file or, if that is allowed, something on the network."""
    if scheme == "file":
        return locate(Path(name[len("file:") :]))
    if scheme not in NETWORK_SCHEMES:
        raise UsageError(f"no such file, and no protocol that vdeblur opens: {name}")
    if not allow_network:
        raise UsageError(f"{name} is on the network; allow that with allow_network=True (--allow-network)")
    return SourceLocation(name, url=name, twice=True, network=True)


def no_such_file(name: str) -> UsageError:
    """What to raise for a file that is not there, or that nobody may look at."""
    try:
        os.stat(name)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as exc:
        return UsageError(f"cannot reach {name}: {exc.strerror or exc}")
    return UsageError(f"no such file: {name}")


def _standard_input() -> SourceLocation:
    if sys.stdin is None or sys.stdin.closed:
        raise UsageError("there is no standard input to read from; name a file")
    if sys.stdin.isatty():
        raise UsageError("standard input is a terminal; pipe a video into it or name a file")
    buffer = sys.stdin.buffer
    return SourceLocation("standard input", pipe=PipeSource(getattr(buffer, "raw", buffer), wait=True))


def _file(path: Path) -> SourceLocation:
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            with path.open("rb") as file:
                if not file.read(1):
                    raise SourceError(f"{path} is empty")
    except OSError as exc:
        raise SourceError(f"cannot read {path}: {exc.strerror or exc}") from exc
    plain = stat.S_ISREG(mode)
    return SourceLocation(str(path), path=path if plain else None, url=f"file:{path.absolute()}", twice=plain)


def _folder(folder: Path) -> SourceLocation:
    """All pictures of a folder in the order of their numbers."""
    try:
        pictures = [
            entry for entry in folder.iterdir() if entry.suffix.lower() in PICTURE_SUFFIXES and os.path.isfile(entry)
        ]
    except OSError as exc:
        raise SourceError(f"cannot read {folder}: {exc.strerror or exc}") from exc
    if not pictures:
        raise UsageError(f"{folder} is a folder without pictures; name a video, or a folder of PNG, JPEG or TIFF files")
    kinds = Counter(_SAME_KIND.get(picture.suffix.lower(), picture.suffix.lower()) for picture in pictures)
    if len(kinds) > 1:
        found = " and ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        raise UsageError(f"{folder} holds {found}; a sequence is of one kind: name it by a pattern like frame_%05d.png")
    return SourceLocation(str(folder), pictures=tuple(sorted(pictures, key=lambda picture: _natural(picture.name))))


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def _sequence(pattern: Path) -> SourceLocation:
    """Pictures whose names fit a pattern like ``frame_%05d.png``, from the lowest number on."""
    matches = list(_PATTERN.finditer(pattern.name))
    if len(matches) > 1:
        raise UsageError(f"{pattern} has {len(matches)} numbers; a pattern has one, like frame_%05d.png")
    number = matches[0]
    zero, width = number.groups()
    digits = rf"\d{{{int(width)},}}" if zero and width else r"\d+"
    before, after = (re.escape(text.replace("%%", "%")) for text in _around(pattern.name, number))
    fits = re.compile(f"{before}({digits}){after}")
    folder = pattern.parent
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        names = []
    except OSError as exc:
        raise SourceError(f"cannot read {folder}: {exc.strerror or exc}") from exc
    found = {int(match[1]): folder / match[0] for match in map(fits.fullmatch, names) if match}
    if not found:
        raise UsageError(f"no file fits the pattern {pattern}")
    numbers = sorted(found)
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    return SourceLocation(
        str(pattern),
        pictures=tuple(found[index] for index in numbers),
        numbers=tuple(numbers),
        pattern_url=None if "%" in str(folder.absolute()) else f"file:{pattern.absolute()}",
        pattern_options={"f": "image2", "start_number": str(numbers[0])},
        notes=(f"{missing} numbers are missing in {pattern}; the pictures follow one another",) if missing else (),
    )


def _around(name: str, number: re.Match[str]) -> tuple[str, str]:
    return name[: number.start()], name[number.end() :]
