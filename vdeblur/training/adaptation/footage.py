"""Footage to adapt to: windows of consecutive frames from the whole of a clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vdeblur.engine.pixels import rgb_of
from vdeblur.errors import UsageError
from vdeblur.frames import Frame
from vdeblur.model.guide.guide_net import ycc_from_rgb
from vdeblur.training.synthesis.rng import Draw
from vdeblur.video.source.reader import Reader

#: Frames of a window; a clip has at least :data:`LEAST_FRAMES`, so many of which are held out, as a share.
WINDOW_FRAMES, LEAST_FRAMES, HELD_SHARE = 24, 8, 0.3
#: Windows, spread over the clip, and their largest side in pixels.
WINDOWS, WINDOW_PX = 4, 256
#: Of a long clip, so many frames from its start are looked at.
_MOST_FRAMES = 1500
_LEAST_PX = 32


@dataclass(frozen=True)
class ClipWindow:
    """A part of consecutive frames: Y'CbCr (T, 3, H, W), and the codec's mean quantiser as H.264 counts it, or NaN.

    The frames from ``held`` on are for measuring alone.
    """

    frames: Tensor
    quantiser: float
    held: int


def read_windows(clip: Path, *, size_px: int, seed: int) -> list[ClipWindow]:
    """Windows from a clip, evenly over its first frames, at places drawn by the seed.

    Args:
        size_px: least side of a window.

    Raises:
        UsageError: the clip is too short or too small.
        SourceError: it cannot be read.
    """
    gathered: dict[int, list[Frame]] = {}
    with Reader(clip) as reader:
        video = reader.info.video
        if min(video.height, video.width) < max(_LEAST_PX, size_px):
            raise UsageError(
                f"{clip} is too small to adapt to: {video.width}×{video.height}, at least {size_px}×{size_px} is needed"
            )
        rate = float(video.average_rate or 0)
        count = video.frame_count_from_header or round((video.duration_seconds or 0) * rate)
        starts = _starts(min(count, _MOST_FRAMES))
        for index, frame in enumerate(reader):
            for start in starts:
                if start <= index < start + WINDOW_FRAMES:
                    gathered.setdefault(start, []).append(frame)
            if index >= starts[-1] + WINDOW_FRAMES:
                break
    whole = [frames for frames in gathered.values() if len(frames) >= LEAST_FRAMES]
    if not whole:
        seen = max((len(frames) for frames in gathered.values()), default=0)
        raise UsageError(f"{clip} is too short to adapt to: {seen} frames, at least {LEAST_FRAMES} are needed")
    return [_window(frames, Draw.of(seed, "window", number)) for number, frames in enumerate(whole)]


def _starts(count: int) -> list[int]:
    """First frames of windows that do not overlap, where the clip is long enough for more than one."""
    room = max(1, min(WINDOWS, count // WINDOW_FRAMES))
    return [count * number // room for number in range(room)]


def _window(frames: list[Frame], draw: Draw) -> ClipWindow:
    size = frames[0].height, frames[0].width
    alike = [frame for frame in frames if (frame.height, frame.width) == size]
    tall, wide = (min(WINDOW_PX, side // 8 * 8) for side in size)
    top, left = (draw.integer((side - span) // 8 + 1) * 8 for side, span in zip(size, (tall, wide), strict=True))
    pictures = [ycc_from_rgb(rgb_of(frame)[..., top : top + tall, left : left + wide]) for frame in alike]
    told = [frame.quantiser for frame in alike if frame.quantiser is not None]
    quantiser = sum(told) / len(told) if told else torch.nan
    return ClipWindow(torch.cat(pictures), quantiser, round(len(pictures) * (1 - HELD_SHARE)))
