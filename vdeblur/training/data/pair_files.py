"""Pair files: blurred and sharp sequences, checked frame by frame before work starts, and read in stretches."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vdeblur.errors import UsageError, VdeblurError
from vdeblur.frames import Frame
from vdeblur.training.data.dataset_layouts import FoundPair, find_sequences
from vdeblur.training.synthesis.image_files import picture_of
from vdeblur.video.source.reader import Reader

logger = logging.getLogger(__name__)

#: Checks of more frames than this are announced: they take a while.
_MANY_FRAMES = 1000


@dataclass(frozen=True)
class FramePair:
    """A pair that has been checked.

    Args:
        times: of a video: seconds from its start at which each frame is shown; empty for pictures.
        size: (height, width) of every frame, pixels.
    """

    pair: FoundPair
    frames: int
    size: tuple[int, int]
    times: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())

    def read(self, first: int, count: int) -> Tensor:
        """Frames from ``first`` on, blurred and sharp: uint8 R'G'B' (2, count, 3, H, W).

        Raises:
            SourceError: a file can no longer be read.
        """
        halves = []
        for files, times in zip((self.pair.blurry, self.pair.sharp), self.times, strict=True):
            if self.pair.is_video:
                frames = _video_frames(files[0], times[first], count)
            else:
                frames = (_picture(path) for path in files[first : first + count])
            halves.append(torch.stack([picture_of(frame) for frame in frames]))
        return torch.stack(halves)


def open_footage(folders: Sequence[Path], *, least_px: int, threads: int, thorough: bool = True) -> list[FramePair]:
    """Find all pairs below the folders and check that they can be trained on.

    Args:
        least_px: least height and width.
        thorough: decode every picture, not only the first of each sequence; videos are decoded in any case.

    Raises:
        UsageError: a pair's halves differ in length or size, or a frame is too small.
        SourceError: a file cannot be read.
    """
    found = [pair for folder in folders for pair in find_sequences(folder)]
    count = sum(len(pair.blurry) for pair in found)
    if thorough and count > _MANY_FRAMES:
        logger.info("checking %d pairs of pictures", count)
    with ThreadPoolExecutor(max(1, threads), thread_name_prefix="vdeblur-check") as pool:
        return list(pool.map(lambda pair: _opened(pair, least_px, thorough), found))


def _opened(pair: FoundPair, least_px: int, thorough: bool) -> FramePair:
    size = _picture_size(pair, thorough) if not pair.is_video else None
    times: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    frames = len(pair.blurry)
    if size is None:
        (size, blurry), (sharp_size, sharp) = _watched(pair.blurry[0]), _watched(pair.sharp[0])
        _same_size(pair.sharp[0], sharp_size, pair.blurry[0], size)
        if len(blurry) != len(sharp):
            raise UsageError(
                f"{pair.blurry[0]} has {len(blurry)} frames and {pair.sharp[0]} has {len(sharp)}: give a true pair"
            )
        times, frames = (blurry, sharp), len(blurry)
    if min(size) < least_px:
        raise UsageError(f"{pair.blurry[0]} is {_words(size)}: frames of at least {least_px}×{least_px} can be used")
    return FramePair(pair, frames, size, times)


def _picture_size(pair: FoundPair, thorough: bool) -> tuple[int, int]:
    """The size that all pictures of a sequence have."""
    first = _picture(pair.blurry[0]).size
    files = [*pair.blurry[1:], *pair.sharp] if thorough else [pair.sharp[0]]
    for path in files:
        _same_size(path, _picture(path).size, pair.blurry[0], first)
    return first


def _watched(path: Path) -> tuple[tuple[int, int], tuple[float, ...]]:
    """Size of a video and the times of its frames in seconds from its start, all of them decoded once."""
    times: list[float] = []
    start, size = None, None
    with Reader(path, threads=1) as reader:
        for frame in reader:
            start = frame.pts if start is None else start
            size = frame.size if size is None else size
            _same_size(path, frame.size, path, size)
            times.append(float((frame.pts - start) * frame.time_base))
        if reader.skipped_packets:
            raise UsageError(f"{path} is damaged: {reader.skipped_packets} packets cannot be decoded")
    assert size is not None
    return size, tuple(times)


def _picture(path: Path) -> Frame:
    try:
        with Reader(path, threads=1) as reader:
            return next(reader)
    except VdeblurError as exc:
        raise type(exc)(f"cannot read the picture {path}: {exc}") from exc


def _video_frames(path: Path, start_seconds: float, count: int) -> Iterator[Frame]:
    with Reader(path, start_seconds=start_seconds, threads=1) as reader:
        for _ in range(count):
            yield next(reader)


def _same_size(path: Path, size: tuple[int, int], other: Path, right: tuple[int, int]) -> None:
    if size != right:
        raise UsageError(f"{path} is {_words(size)} and {other} is {_words(right)}: give frames of one size")


def _words(size: tuple[int, int]) -> str:
    return f"{size[1]}×{size[0]}"
