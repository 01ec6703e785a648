"""Input/output plan: expands the inputs of a command line and pairs each source with its target."""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from vdeblur.cli.guidance.folders import VIDEO_SUFFIXES, look_into
from vdeblur.errors import TargetError, UsageError
from vdeblur.video.source.location import PICTURE_SUFFIXES, no_such_file

PIPE = "-"

#: The commands, which people misspell.
COMMAND_NAMES = ("run", "live", "eval", "train", "synth", "bench", "export", "info", "doctor")
#: Words that are commands elsewhere, and the options here.
_WORDS_FOR_OPTIONS = {"help": "--help", "version": "--version"}
#: Files of a folder whose names are compared with a missing one, and how like it they must be.
_LOOKED_AT, _LIKENESS = 5000, 0.7

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_PATTERN = re.compile(r"%0?\d*d")


@dataclass(frozen=True)
class RunJob:
    """A source and its target."""

    source: str
    target: str

    @property
    def to_pipe(self) -> bool:
        return self.target == PIPE


@dataclass(frozen=True)
class IoPlan:
    """All jobs of a command line, the folders they need, and what was taken of the folders that were named."""

    jobs: tuple[RunJob, ...]
    #: Folders that must be created for them, the outer ones first.
    new_folders: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Input:
    """A source, and its name below an output folder where that is not its own."""

    name: str
    place: Path | None = None


def plan_jobs(inputs: Sequence[str], output: str | None, *, recursive: bool = False, named: bool = True) -> IoPlan:
    """Pair every input with its target. A folder stands for the videos in it; several inputs need a folder.

    Args:
        recursive: folders stand for the videos in the folders below, too; the targets lie in folders alike.
        named: the container is what the output's name says.

    Raises:
        UsageError: an input is missing or no video is in its folder, the output does not fit, two jobs would write
            the same file, or one would write over an input.
    """
    if output is None:
        raise meant_otherwise(inputs) or UsageError(f"no output: add -o FILE, for example -o {_suggestion(inputs)}")
    notes: list[str] = []
    sources = [source for name in inputs for source in _expand(name, output, recursive, notes)]
    first = sources[0].name
    if len(sources) == 1 and os.path.isdir(first) and _takes_pictures(output):
        # A folder of pictures becomes one: what they are called is the writer's business.
        return IoPlan(_checked([RunJob(first, output)]), notes=tuple(notes))
    if len(sources) > 1 or sources[0].place is not None or _names_folder(output):
        _check_folder(output, [each.name for each in sources])
        jobs = [RunJob(each.name, str(Path(output) / (each.place or _file_name(each.name)))) for each in sources]
        return IoPlan(_checked(jobs), _missing_folders(Path(output), jobs), tuple(notes))
    if named and output != PIPE and not Path(output).suffix and not _PATTERN.search(output):
        raise UsageError(f"-o {output} has no ending to say what it is; did you mean {output}{_ending(first)}?")
    return IoPlan(_checked([RunJob(first, output)]), notes=tuple(notes))


@contextmanager
def new_folders(folders: Sequence[Path]) -> Iterator[None]:
    """Create folders for targets where they are missing, and remove those again into which nothing came.

    Args:
        folders: the outer ones first.

    Raises:
        TargetError: one cannot be created.
    """
    made: list[Path] = []
    try:
        for folder in folders:
            if not os.path.isdir(folder):
                try:
                    folder.mkdir(exist_ok=True)
                except OSError as exc:
                    raise TargetError(f"cannot create the folder {folder}: {exc.strerror or exc}") from exc
                made.append(folder)
        yield
    finally:
        for folder in reversed(made):
            with suppress(OSError):
                folder.rmdir()


def _missing_folders(output: Path, jobs: Sequence[RunJob]) -> tuple[Path, ...]:
    """Folders from the output folder down that are not there yet, the outer ones first."""
    wanted = {output}
    for job in jobs:
        parents = Path(job.target).relative_to(output).parents
        wanted.update(output / parent for parent in parents)
    return tuple(sorted(folder for folder in wanted if not os.path.exists(folder)))


def _expand(name: str, output: str, recursive: bool, notes: list[str]) -> list[_Input]:
    """The videos in a folder; any other input as it is. A folder of pictures is one source."""
    folder = Path(name)
    if not os.path.isdir(folder):
        if name != PIPE and not is_elsewhere(name) and not os.path.exists(name):
            raise missing_input(name)
        return [_Input(name)]
    contents = look_into(folder, recursive=recursive, without=Path(output) if os.path.isdir(output) else None)
    sources = contents.sources
    notes.append(contents.words)
    if sources == (folder,):
        return [_Input(name)]
    return [_Input(str(video), video.relative_to(folder)) for video in sources]


def is_elsewhere(name: str) -> bool:
    """A URL or a pattern of pictures: the reader knows what it is."""
    return bool(_URL.match(name) or _PATTERN.search(name))


def _names_folder(output: str) -> bool:
    return output != PIPE and (os.path.isdir(output) or output.endswith(("/", os.sep)))


def _takes_pictures(output: str) -> bool:
    """Whether pictures would keep their names there: a folder that is there, ends like one, or has no ending."""
    return _names_folder(output) or (output != PIPE and not (Path(output).suffix or _PATTERN.search(output)))


def _check_folder(output: str, sources: Sequence[str]) -> None:
    count = len(sources)
    path = Path(output)
    there = os.path.exists(path)
    if output == PIPE or (there and not os.path.isdir(path)) or (not there and path.suffix):
        what = f"{count} inputs need" if count > 1 else "an input folder needs"
        folders = {Path(source).parent for source in sources}
        pictures = all(Path(source).suffix.lower() in PICTURE_SUFFIXES for source in sources)
        if count > 1 and pictures and len(folders) == 1 and output != PIPE:
            words = shlex.join([str(*folders), "-o", output])
            raise UsageError(f"{what} a folder for -o; for one video of all pictures, did you mean `vdeblur {words}`?")
        raise UsageError(f"{what} a folder for -o, not {output!r}")
    if not there and not os.path.isdir(path.absolute().parent):
        raise UsageError(f"there is no folder {path.absolute().parent}; create it first")


def _file_name(source: str) -> str:
    """Name of the target inside a folder: the source's own."""
    if source == PIPE:
        raise UsageError("standard input has no name to keep; give -o a file name")
    if "://" in source:
        name = PurePosixPath(urlsplit(source).path).name
        if not name:
            raise UsageError(f"{source} has no name to keep; give -o a file name")
        return name
    path = Path(source)
    return f"{path.absolute().name}.mp4" if os.path.isdir(path) else path.name


def _checked(jobs: Sequence[RunJob]) -> tuple[RunJob, ...]:
    """The jobs, if none writes over another's file or over an input."""
    files = [job for job in jobs if not job.to_pipe]
    targets = Counter(os.path.normcase(os.path.realpath(job.target)) for job in files)
    sources = {os.path.normcase(os.path.realpath(job.source)) for job in jobs if os.path.exists(job.source)}
    for job in files:
        real = os.path.normcase(os.path.realpath(job.target))
        if targets[real] > 1:
            raise UsageError(f"two inputs would be written to {job.target}; restore them into different folders")
        if real in sources or _same_file(job):
            raise UsageError(f"the output {job.target} is an input; write to another file or folder")
    return tuple(jobs)


def _same_file(job: RunJob) -> bool:
    return os.path.exists(job.target) and os.path.exists(job.source) and os.path.samefile(job.source, job.target)


def meant_otherwise(inputs: Sequence[str]) -> UsageError | None:
    """What to say of inputs without an output that were meant as a command, or the last of them as the output."""
    first, *rest = inputs
    if not os.path.exists(first):
        if first in _WORDS_FOR_OPTIONS:
            words = [*rest[:1], _WORDS_FOR_OPTIONS[first]]
            return UsageError(f"{first} is no command; did you mean `vdeblur {shlex.join(words)}`?")
        if not is_elsewhere(first):
            return missing_input(first, rest)
    if rest and all(map(_is_there, inputs[:-1])) and not _is_there(inputs[-1]):
        return UsageError(f"no output; did you mean `vdeblur {shlex.join([*inputs[:-1], '-o', inputs[-1]])}`?")
    return None


def missing_input(name: str, rest: Sequence[str] = ()) -> UsageError:
    """What to say of an input that is not there: the command or the file whose name is nearest."""
    error = no_such_file(name)
    if not str(error).startswith("no such file"):
        return error
    if "." not in name and os.sep not in name and (near := difflib.get_close_matches(name, COMMAND_NAMES, n=1)):
        return UsageError(f"no such file or command: {name}; did you mean `vdeblur {shlex.join([near[0], *rest])}`?")
    folder = Path(name).parent
    try:
        there = [entry.name for entry in islice(folder.iterdir(), _LOOKED_AT)]
    except OSError:
        return error
    near = difflib.get_close_matches(Path(name).name, there, n=1, cutoff=_LIKENESS)
    return UsageError(f"{error}; did you mean {folder / near[0]}?") if near else error


def _is_there(name: str) -> bool:
    return name == PIPE or is_elsewhere(name) or os.path.exists(name)


def _ending(source: str) -> str:
    """Ending of an output that fits a source: its own, where it is a video's."""
    suffix = Path(source).suffix.lower()
    return suffix if suffix in VIDEO_SUFFIXES else ".mp4"


def _suggestion(inputs: Sequence[str]) -> str:
    if len(inputs) != 1 or os.path.isdir(inputs[0]):
        return "restored (a folder)"
    path = PurePosixPath(inputs[0].replace("\\", "/"))
    return f"{path.stem or 'video'}.sharp{path.suffix or '.mp4'}" if inputs[0] != PIPE else "sharp.mp4"
