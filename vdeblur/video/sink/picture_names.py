"""Picture names: file names of an image sequence, from the source's names or its numbers in a pattern."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from vdeblur.video.info import SourceInfo
from vdeblur.video.sink.targets import PATTERN, STANDARD_OUTPUT, is_pattern


def is_folder(target: str | Path | BinaryIO, info: SourceInfo) -> bool:
    """Whether pictures go into a folder under their own names: one that is there, ends like one, or has no ending."""
    if not isinstance(target, (str, Path)) or str(target) == STANDARD_OUTPUT or not info.pictures:
        return False
    text = str(target)
    return os.path.isdir(text) or text.endswith(("/", os.sep)) or not (Path(text).suffix or is_pattern(target))


def names_in_folder(info: SourceInfo, ending: str | None) -> tuple[str, ...]:
    """Names of the source's pictures; with another ending where another kind was asked for."""
    if ending is None:
        return tuple(picture.name for picture in info.pictures)
    return tuple(f"{picture.stem}.{ending}" for picture in info.pictures)


def numbered_names(pattern: str, numbers: Sequence[int]) -> tuple[str, ...]:
    """Names that fit a pattern, with these numbers in it."""
    return tuple(_filled(pattern, number) for number in numbers)


def numbers_of(pictures: Sequence[Path]) -> tuple[int, ...]:
    """The last number in the name of each picture; none if they are not all there, rising and different."""
    found = [re.findall(r"\d+", picture.stem) for picture in pictures]
    numbers = tuple(int(parts[-1]) for parts in found if parts)
    rising = all(a < b for a, b in itertools.pairwise(numbers))
    return numbers if rising and len(numbers) == len(pictures) else ()


def _filled(pattern: str, number: int) -> str:
    def digits(match: re.Match[str]) -> str:
        zero, width = match.groups()
        return str(number).rjust(int(width or 0), "0" if zero else " ")

    return "%".join(PATTERN.sub(digits, part) for part in pattern.split("%%"))
