"""Video sources: frames of sharp clips as textures, and high-rate clips whose frames are averaged.

Averaging neighbours of a video shot at a high rate is how GoPro and REDS were made (Nah et al. 2017, 2019). It shows
real motion, but nobody knows that motion, and frames that lie too far apart leave ghosts. So pieces are measured by
block matching and reduced until neighbours lie at most ``step_px`` apart; those that would need too much are left out.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.training.synthesis.blur import ByteClip
from vdeblur.training.synthesis.camera import compress, develop, light_of_levels, quantiser_of
from vdeblur.training.synthesis.clip_plan import draw_electronics
from vdeblur.training.synthesis.config import SynthesisConfig
from vdeblur.training.synthesis.image_files import find_files, picture_of
from vdeblur.training.synthesis.rng import Draw, seed_of
from vdeblur.training.synthesis.stills import limited, resized
from vdeblur.video.source.reader import Reader

log = logging.getLogger(__name__)

SUFFIXES = {".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".y4m", ".mts", ".mpg"}
#: Side of the blocks that are matched and the farthest shift that is tried, pixels.
_BLOCK, _REACH = 16, 6
#: Blocks with a smaller variance (levels in [0, 1]) match anywhere.
_LEAST_VARIANCE = 1e-3
#: Share of the moving blocks that may lie farther apart than the step.
_OUTLIERS = 0.05
_REDUCTIONS = (1, 2, 4)
#: Pieces are this much larger than a frame, so that each can be cut in several ways.
_PIECE_FACTOR = 1.5


@dataclass(frozen=True)
class DenseFrames:
    """Consecutive frames of a sharp video, dense enough to be averaged: (N, 3, H, W) uint8."""

    frames: Tensor


def find_videos(folders: Sequence[Path]) -> list[Path]:
    """Every video below the folders, sorted; a folder may also be one video.

    Raises:
        UsageError: a folder is missing or holds no video.
    """
    return find_files(folders, SUFFIXES, "videos")


@dataclass
class _Window:
    """A piece while its frames are gathered: a part of the picture, large enough to be reduced."""

    top: int
    left: int
    side: int
    draw: Draw
    frames: list[Tensor] = field(default_factory=list)

    @classmethod
    def drawn(cls, height: int, width: int, config: SynthesisConfig, draw: Draw) -> _Window:
        side = min(height, width, round(config.size_px * _PIECE_FACTOR) * _REDUCTIONS[-1])
        return cls(draw.integer(height - side + 1), draw.integer(width - side + 1), side, draw)

    def add(self, picture: Tensor) -> None:
        rows, columns = slice(self.top, self.top + self.side), slice(self.left, self.left + self.side)
        self.frames.append(picture[:, rows, columns].clone())


def read_video(path: Path, config: SynthesisConfig, *, seed: int) -> tuple[list[Tensor], list[DenseFrames]]:
    """Pictures (3, H, W) uint8 evenly from the whole video, and pieces to average where its rate is high enough.

    Raises:
        SourceError: it cannot be read.
    """
    pictures: list[Tensor] = []
    pieces: list[DenseFrames] = []
    with Reader(path) as reader:
        video = reader.info.video
        rate = video.average_rate
        count = video.frame_count_from_header or round((video.duration_seconds or 0) * float(rate or 0))
        every = max(1, count // max(1, config.video_frames))
        fast = config.averaged_share > 0 and rate is not None and rate >= config.averaged_rate
        length = config.frames * config.averaged_frames[1]
        starts = _starts(count, length, config.averaged_pieces, Draw.of(seed, path.name)) if fast else []
        windows = {
            start: _Window.drawn(video.height, video.width, config, Draw.of(seed, path.name, start)) for start in starts
        }
        for index, frame in enumerate(reader):
            wanted = index % every == every // 2 and len(pictures) < config.video_frames
            here = next((start for start in windows if start <= index < start + length), None)
            if not wanted and here is None:
                continue
            picture = picture_of(frame)
            if wanted:
                pictures.append(limited(picture, config.longest_px))
            if here is not None:
                windows[here].add(picture)
                if index == here + length - 1:
                    window = windows.pop(here)
                    pieces += cut_piece(window.frames, config, window.draw, name=path.name)
            if not windows and len(pictures) == config.video_frames:
                break
    return pictures, pieces


def _starts(count: int, length: int, pieces: int, draw: Draw) -> list[int]:
    """First frames of pieces that do not overlap."""
    room = min(pieces, count // length)
    return [slot * (count // room) + draw.integer(count // room - length + 1) for slot in range(room)]


def cut_piece(frames: Sequence[Tensor], config: SynthesisConfig, draw: Draw, *, name: str) -> list[DenseFrames]:
    """A random part of consecutive frames, reduced until they are dense; none if that is not to be had."""
    height, width = frames[0].shape[-2:]
    for reduction in _REDUCTIONS:
        side = round(config.size_px * _PIECE_FACTOR)
        fitting = min(side, height // reduction, width // reduction)
        if fitting < config.size_px:
            break
        span = fitting * reduction
        top, left = draw.integer(height - span + 1), draw.integer(width - span + 1)
        cut = [frame[:, top : top + span, left : left + span] for frame in frames]
        small = torch.stack([resized(part, fitting, fitting) for part in cut])
        if farthest_step(small) <= config.step_px:
            return [DenseFrames(small)]
    log.info("%s: a piece moves too fast to be averaged without ghosts", name)
    return []


def farthest_step(frames: Tensor) -> float:
    """How far content moves between neighbours, pixels: the 95th percentile of a few pairs' moving blocks."""
    steps = []
    for first in torch.linspace(0, len(frames) - 2, min(5, len(frames) - 1)).long().tolist():
        pair = frames[first : first + 2].float().mean(dim=1) / 255
        steps.append(block_steps(pair[0], pair[1]))
    joined = torch.cat(steps)
    return float(torch.quantile(joined, 1 - _OUTLIERS)) if joined.numel() else 0.0


def block_steps(first: Tensor, second: Tensor) -> Tensor:
    """Lengths of the shifts, in pixels, that best match each block with detail of two pictures (H, W)."""
    size = 2 * _REACH + 1
    middle = first[_REACH:-_REACH, _REACH:-_REACH]
    height, width = middle.shape
    costs = []
    for dy in range(size):
        for dx in range(size):
            shifted = second[dy : dy + height, dx : dx + width]
            costs.append(F.avg_pool2d((middle - shifted).square()[None, None], _BLOCK)[0, 0])
    best = torch.stack(costs).argmin(dim=0)
    shift = torch.stack((best % size - _REACH, best // size - _REACH)).float()
    mean = F.avg_pool2d(middle[None, None], _BLOCK)
    variance = (F.avg_pool2d(middle.square()[None, None], _BLOCK) - mean.square())[0, 0]
    lengths: Tensor = shift.norm(dim=0)[variance > _LEAST_VARIANCE]
    return lengths


def make_averaged(
    pieces: Sequence[DenseFrames], config: SynthesisConfig, *, seed: int, number: int, device: torch.device
) -> ByteClip:
    """Clip ``number`` of a seed, averaged from a piece; its motion is not known. The truth is the middle frame."""
    draw = Draw.of(seed, "averaged", number)
    piece = pieces[draw.integer(len(pieces))].frames
    camera = AveragingCamera(config, draw, noise_seed=seed_of(seed, "averaged noise", number), device=device)
    top, left = (draw.integer(side - config.size_px + 1) for side in piece.shape[-2:])
    start = draw.integer(len(piece) - camera.stride * config.frames + 1)
    window = piece[start:, :, top : top + config.size_px, left : left + config.size_px].to(device)
    shots = [
        camera.shoot(window[frame * camera.stride : (frame + 1) * camera.stride]) for frame in range(config.frames)
    ]
    return camera.filmed(shots)


class AveragingCamera:
    """A camera whose exposure is an odd number ``count`` of dense frames, out of ``stride`` for each frame it gives."""

    def __init__(self, config: SynthesisConfig, draw: Draw, *, noise_seed: int, device: torch.device) -> None:
        low, high = config.averaged_frames
        self.electronics = draw_electronics(config, draw, noise_seed=noise_seed)
        self._truth = config.truth
        count = low + draw.integer(high - low + 1)
        self.count = count - 1 + count % 2
        self.stride = min(high, self.count + draw.integer(3))
        self._table = light_of_levels(self.electronics).to(device)
        self._generator = torch.Generator(device).manual_seed(noise_seed)

    def shoot(self, frames: Tensor) -> Tensor:
        """One blurred frame and its truth, (2, 3, H, W) uint8, of ``stride`` frames (N, 3, H, W) uint8."""
        opened = frames[: self.count]
        light = self._table.index_select(0, opened.flatten().int()).view(opened.shape)
        blurry, sharp = light.mean(dim=0)[None, None], light[self.count // 2][None, None]
        developed = develop(blurry, sharp, [self.electronics], [self._generator], self._truth)
        return torch.cat(developed)[:, 0]

    def filmed(self, shots: Sequence[Tensor]) -> ByteClip:
        """The clip of these shots, its blurred side compressed."""
        pictures = torch.stack(list(shots), dim=1)
        pictures[0] = compress([pictures[0]], [self.electronics])[0]
        return ByteClip(pictures, None, quantiser_of(self.electronics) if self._truth == "blurred" else None)


def read_videos(paths: Sequence[Path], config: SynthesisConfig, *, seed: int) -> tuple[list[Tensor], list[DenseFrames]]:
    """Pictures and pieces of all videos."""
    pictures: list[Tensor] = []
    pieces: list[DenseFrames] = []
    for path in paths:
        more, dense = read_video(path, config, seed=seed)
        pictures += more
        pieces += dense
    return pictures, pieces
