"""Data set layouts: where the folders of GoPro, REDS, BSD and our own hold blurred frames and their sharp partners.

Found without being told, anywhere below a folder:

- GoPro: ``SEQ/blur/*.png`` and ``SEQ/sharp/*.png``
- REDS: ``train_blur/SEQ/*.png`` and ``train_sharp/SEQ/*.png``
- BSD: ``SEQ/Blur/RGB/*.png`` and ``SEQ/Sharp/RGB/*.png``
- our own: ``NAME.blur.EXT`` beside ``NAME.sharp.EXT``, videos or photos
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vdeblur.errors import UsageError
from vdeblur.video.source.location import PICTURE_SUFFIXES

LAYOUTS = (
    "blur/ beside sharp/ (GoPro), train_blur/SEQ beside train_sharp/SEQ (REDS), Blur/RGB beside Sharp/RGB (BSD), "
    "or NAME.blur.EXT beside NAME.sharp.EXT"
)

_BLUR_FOLDER = re.compile(r"(?:.*_)?blur", re.IGNORECASE)
_SHARP_FOLDER = re.compile(r"(?:.*_)?sharp", re.IGNORECASE)
_HALF_FILE = re.compile(r"(?P<name>.+)\.(?P<half>blur|sharp)\.[^.]+")


@dataclass(frozen=True)
class FoundPair:
    """A blurred sequence and its sharp one: the files of its frames in order, or one video each."""

    name: str
    blurry: tuple[Path, ...]
    sharp: tuple[Path, ...]

    @property
    def is_video(self) -> bool:
        return self.blurry[0].suffix.lower() not in PICTURE_SUFFIXES


def find_sequences(folder: Path) -> list[FoundPair]:
    """Every pair below a folder, in the order of their names.

    Raises:
        UsageError: there is no such folder, no pair below it, or one is not whole: a half is missing or empty, or the
            two have different frames.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}: give one with {LAYOUTS}")
    found = list(_pairs_below(folder, folder))
    if not found:
        raise UsageError(f"no pairs below {folder}: they are {LAYOUTS}")
    return found


def _pairs_below(folder: Path, root: Path) -> Iterator[FoundPair]:
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    files = [Path(entry.path) for entry in entries if entry.is_file()]
    folders = [Path(entry.path) for entry in entries if entry.is_dir()]
    yield from _named_pairs(files, root)
    blurry = [path for path in folders if _BLUR_FOLDER.fullmatch(path.name)]
    sharp = {path.name.casefold(): path for path in folders if _SHARP_FOLDER.fullmatch(path.name)}
    for path in blurry:
        partner = path.name.casefold()[: -len("blur")] + "sharp"
        if partner not in sharp:
            raise UsageError(f"{path} has no sharp partner: put {path.with_name(_sharp_name(path.name))} beside it")
        yield from _matched(path, sharp.pop(partner), root)
    for path in sharp.values():
        raise UsageError(f"{path} has no blurred partner: put {path.with_name(_blur_name(path.name))} beside it")
    for path in folders:
        if not (_BLUR_FOLDER.fullmatch(path.name) or _SHARP_FOLDER.fullmatch(path.name)):
            yield from _pairs_below(path, root)


def _matched(blurry: Path, sharp: Path, root: Path) -> Iterator[FoundPair]:
    """Pairs of a folder of blurred frames and one of sharp frames, or of the folders of the same names in them."""
    halves = [_contents(blurry), _contents(sharp)]
    (blurry_files, blurry_folders), (sharp_files, sharp_folders) = halves
    for here, there, other in ((blurry_folders, sharp_folders, sharp), (sharp_folders, blurry_folders, blurry)):
        for name in here:
            if name not in there:
                raise UsageError(f"{here[name]} has no partner: there is no {other / name}")
    if not blurry_folders and not (blurry_files and sharp_files):
        empty = sharp if blurry_files else blurry
        raise UsageError(f"{empty} is empty: it has no pictures ({', '.join(sorted(PICTURE_SUFFIXES)[:6])}, …)")
    if len(blurry_files) != len(sharp_files):
        raise UsageError(
            f"{blurry} has {len(blurry_files)} pictures and {sharp} has {len(sharp_files)}: give one sharp for each"
        )
    for one, other in zip(blurry_files, sharp_files, strict=True):
        if one.stem != other.stem:
            raise UsageError(f"{one} stands where {other} does: give partners the same name")
    if blurry_files:
        yield FoundPair(blurry.relative_to(root).as_posix(), tuple(blurry_files), tuple(sharp_files))
    for name, path in blurry_folders.items():
        yield from _matched(path, sharp_folders[name], root)


def _contents(folder: Path) -> tuple[list[Path], dict[str, Path]]:
    entries = sorted(folder.iterdir())
    pictures = [path for path in entries if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()]
    return pictures, {path.name: path for path in entries if path.is_dir()}


def _named_pairs(files: list[Path], root: Path) -> Iterator[FoundPair]:
    halves: dict[str, dict[str, Path]] = {}
    for path in files:
        match = _HALF_FILE.fullmatch(path.name)
        if match:
            halves.setdefault(match["name"], {}).setdefault(match["half"], path)
    for name, pair in halves.items():
        for half, other in (("blur", "sharp"), ("sharp", "blur")):
            if half not in pair:
                partner = pair[other].with_name(f"{name}.{half}{pair[other].suffix}")
                raise UsageError(f"{pair[other]} has no partner: put {partner.name} beside it")
        yield FoundPair((pair["blur"].parent.relative_to(root) / name).as_posix(), (pair["blur"],), (pair["sharp"],))


def _sharp_name(name: str) -> str:
    return name[: -len("blur")] + ("Sharp" if name[-4].isupper() else "sharp")


def _blur_name(name: str) -> str:
    return name[: -len("sharp")] + ("Blur" if name[-5].isupper() else "blur")
