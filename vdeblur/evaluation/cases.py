"""Evaluation cases: blurred clips with their ground truth, from files or synthesised, read frame by frame."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar, get_args

from torch import Tensor

from vdeblur.errors import UsageError, VdeblurError
from vdeblur.frames import Frame
from vdeblur.video.source.reader import Reader, probe

T = TypeVar("T")

#: Where clips come from: pairs of files, a ladder of exposures, or a synthetic set.
Kind = Literal["pairs", "ladder", "synthetic"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: What the names of the two files of a pair have before their endings.
BLURRED_AND_SHARP = ("blur", "sharp")
#: Opens a clip; as often as wanted.
Opener = Callable[[], AbstractContextManager[Iterable[Frame]]]


@dataclass(frozen=True, eq=False)
class TrueMotion:
    """What only a synthetic clip knows: (T, 2, H, W) each, x before y.

    ``velocity`` in pixels a frame interval, ``motion`` in pixels during the exposure.
    """

    velocity: Tensor
    motion: Tensor


@dataclass(frozen=True, eq=False)
class Case:
    """One blurred clip and its truth.

    ``blurry_name`` and ``sharp_name`` are for messages; clips of one ``sharp_name`` have the same truth. ``stratum``
    says which clips are averaged together; that of files is empty until it is known whether they are photos or videos.
    ``exposure`` is the true exposure fraction of every frame, where it is known and constant.
    """

    dataset: str
    stratum: str
    name: str
    blurry_name: str
    sharp_name: str
    blurry: Opener
    sharp: Opener
    truth: TrueMotion | None = None
    kind: Kind = "pairs"
    exposure: float | None = None


def find_pairs(data: Path, words: tuple[str, str] = BLURRED_AND_SHARP) -> list[tuple[str, Path, Path]]:
    """(name, blurred, sharp) of every pair below a folder: files named ``NAME.blur.EXT`` and ``NAME.sharp.EXT``.

    Args:
        words: what the names of such files have instead of "blur" and "sharp".

    Raises:
        UsageError: there is no such folder, no pair, or half of one is missing.
    """
    worse, better = words
    if not data.is_dir():
        raise UsageError(f"{data} is no folder: give one with pairs named NAME.{worse}.mkv and NAME.{better}.mkv")
    pairs = []
    for blurry in sorted(data.rglob(f"*.{worse}.*")):
        name = blurry.name.split(f".{worse}.")[0]
        partners = sorted(blurry.parent.glob(f"{glob.escape(name)}.{better}.*"))
        if not partners:
            raise UsageError(f"{blurry} has no {better} partner: add {name}.{better}{blurry.suffix} beside it")
        if len(partners) > 1:
            raise UsageError(f"{blurry} has {len(partners)} {better} partners: keep one of {_names(partners)}")
        pairs.append((name, blurry, partners[0]))
    if not pairs:
        raise UsageError(f"no pairs in {data}: name them NAME.{worse}.mkv and NAME.{better}.mkv")
    return pairs


def file_cases(data: Path, *, dataset: str, words: tuple[str, str] = BLURRED_AND_SHARP) -> list[Case]:
    """The pairs below a folder, each opened once to see that it can be read and that sizes agree.

    Pairs in folders below it have the folder in their names.

    Raises:
        UsageError: as :func:`find_pairs`, or the two of a pair differ in size or, by their headers, in frames.
        SourceError: a file cannot be read.
    """
    cases = []
    for name, blurry, sharp in find_pairs(data, words):
        _check_headers(blurry, sharp)
        full_name = (blurry.relative_to(data).parent / name).as_posix()
        cases.append(pair_case(blurry, sharp, name=full_name, dataset=dataset))
    return cases


def pair_case(blurry: str | Path, sharp: str | Path, *, name: str = "clip", dataset: str = "files") -> Case:
    """A pair of anything the reader takes: files, patterns, folders of pictures."""
    return Case(dataset, "", name, str(blurry), str(sharp), partial(Reader, blurry), partial(Reader, sharp))


def frames_case(
    blurry: Sequence[Frame],
    sharp: Sequence[Frame],
    *,
    name: str,
    dataset: str,
    stratum: str,
    truth: TrueMotion | None,
    kind: Kind = "pairs",
    exposure: float | None = None,
    sharp_name: str | None = None,
) -> Case:
    """A pair whose frames are in memory."""
    label = f"{dataset}/{stratum}/{name}"
    return Case(
        dataset=dataset,
        stratum=stratum,
        name=name,
        blurry_name=label,
        sharp_name=label if sharp_name is None else sharp_name,
        blurry=lambda: nullcontext(blurry),
        sharp=lambda: nullcontext(sharp),
        truth=truth,
        kind=kind,
        exposure=exposure,
    )


def played(frames: Sequence[Frame], count: int) -> Iterator[Frame]:
    """``count`` frames of a clip played forth and back without a seam, 25 a second; one frame alone stands still."""
    period = max(1, 2 * (len(frames) - 1))
    for tick in range(count):
        place = tick % period
        yield replace(frames[min(place, period - place)], pts=tick, time_base=Fraction(1, 25), duration=1)


def in_step(frames: Iterable[Frame], truth: Iterable[Frame], case: Case) -> Iterator[tuple[Frame, Frame]]:
    """Frames side by side with their truth.

    Raises:
        UsageError: the two differ in size or in number of frames, or the size changes on the way.
    """
    rest = iter(truth)
    size: tuple[int, int] | None = None
    for frame in frames:
        if size not in (None, frame.size):
            raise UsageError(f"{case.blurry_name} changes its size on the way: give clips of one size")
        size = frame.size
        true = next(rest, None)
        if true is None:
            raise UsageError(f"{case.sharp_name} has fewer frames than {case.blurry_name}: give a true pair")
        _check_size(frame.size, true.size, case.blurry_name, case.sharp_name)
        yield frame, true
    if next(rest, None) is not None:
        raise UsageError(f"{case.sharp_name} has more frames than {case.blurry_name}: give a true pair")


def remembered(items: Iterable[T], kept: list[T]) -> Iterator[T]:
    """The same items, each also kept until it is taken out again."""
    for item in items:
        kept.append(item)
        yield item


def _check_headers(blurry: Path, sharp: Path) -> None:
    videos = []
    for path in (blurry, sharp):
        try:
            videos.append(probe(path).video)
        except VdeblurError as exc:
            text = exc.args[0]
            exc.args = (text if str(path) in text or path.name in text else f"{path}: {text}",)
            raise
    one, other = videos
    _check_size((one.height, one.width), (other.height, other.width), str(blurry), str(sharp))
    counts = (one.frame_count_from_header, other.frame_count_from_header)
    if all(counts) and counts[0] != counts[1]:
        raise UsageError(f"{blurry} has {counts[0]} frames, {sharp} {counts[1]}, by their headers: give a true pair")


def _check_size(one: tuple[int, int], other: tuple[int, int], name: str, other_name: str) -> None:
    if one != other:
        sizes = [f"{width}×{height}" for height, width in (other, one)]
        raise UsageError(f"{other_name} has frames of {sizes[0]}, {name} of {sizes[1]}: give a true pair")


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(path.name for path in paths)
