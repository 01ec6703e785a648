"""Pair preview: a synthetic blurred and sharp pair of any size, written as two videos to look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from vdeblur.errors import UsageError
from vdeblur.frames import Colour, Frame, PixelFormat
from vdeblur.training.synthesis.blur import ByteClip, make_levels
from vdeblur.training.synthesis.config import SynthesisConfig
from vdeblur.training.synthesis.image_files import picture_of
from vdeblur.training.synthesis.rng import Draw, seed_of
from vdeblur.training.synthesis.stills import SUFFIXES as PICTURE_SUFFIXES
from vdeblur.training.synthesis.stills import Textures, find_stills, limited, load_stills, resized
from vdeblur.training.synthesis.videos import AveragingCamera, farthest_step, find_videos, read_video
from vdeblur.video.info import SourceInfo, StreamInfo, VideoInfo
from vdeblur.video.sink.writer import EncodeOptions, Writer
from vdeblur.video.source.reader import Reader

_GBR = PixelFormat("gbrp", "rgb", 8)
_FULL = Colour("gbr", "pc", "bt709", "bt709")
#: Without a size, so much of the picture's sides is shown, and no more than this: the camera moves in the rest.
_SHOWN = 0.75
_LARGEST = (720, 1280)
#: Neighbours of a high-rate video that are looked at before it is averaged.
_LOOKED_AT = 24


def make_pair(
    source: Path, config: SynthesisConfig, *, seed: int, size: tuple[int, int] | None = None
) -> tuple[ByteClip, str]:
    """A blurred and a sharp clip, and in words how they were made.

    Args:
        source: a photograph, a video, or a folder of them. A video of ``averaged_rate`` frames a second or more is
            averaged; frames of a slower one serve as photographs.
        size: (height, width); by default three quarters of the picture's, and at most 1280×720.

    Raises:
        UsageError: there is nothing to use, or a high-rate video moves too fast to be averaged.
        SourceError: a video cannot be read.
    """
    rate = _rate(source)
    if rate is not None and rate >= config.averaged_rate:
        return _average(source, config, seed, size), f"averaged from {float(rate):g} frames/s"
    textures = _textures(source, config, seed)
    shown = size or _size_of(textures.pictures[0])
    made = make_levels(textures, config, seed=seed, numbers=[0], size=shown, motion=False)
    return made[0], f"moved over {len(textures)} picture{'s' if len(textures) > 1 else ''}"


def _rate(source: Path) -> Fraction | None:
    """Frames a second of a video; ``None`` for anything else."""
    if not source.is_file() or source.suffix.lower() in PICTURE_SUFFIXES:
        return None
    with Reader(source, threads=1) as reader:
        return reader.info.video.average_rate


def _textures(source: Path, config: SynthesisConfig, seed: int) -> Textures:
    if not source.exists():
        raise UsageError(f"no such file or folder: {source}")
    if source.is_file() and source.suffix.lower() in PICTURE_SUFFIXES:
        return load_stills([source], config)
    if source.is_dir() and any(path.suffix.lower() in PICTURE_SUFFIXES for path in source.rglob("*")):
        return load_stills(find_stills([source]), config)
    without = replace(config, averaged_share=0.0, video_frames=max(1, config.video_frames))
    videos = [source] if source.is_file() else find_videos([source])
    return Textures([picture for video in videos for picture in read_video(video, without, seed=seed)[0]])


def _size_of(picture: Tensor) -> tuple[int, int]:
    height, width = (side * _SHOWN for side in picture.shape[-2:])
    factor = min(1.0, _LARGEST[0] / height, _LARGEST[1] / width)
    return max(16, round(height * factor / 2) * 2), max(16, round(width * factor / 2) * 2)


def _average(source: Path, config: SynthesisConfig, seed: int, size: tuple[int, int] | None) -> ByteClip:
    draw = Draw.of(seed, "averaged", 0)
    camera = AveragingCamera(config, draw, noise_seed=seed_of(seed, "averaged noise", 0), device=torch.device("cpu"))
    with Reader(source) as reader:
        pictures = _of_size(reader, size)
        first = [picture for picture, _ in zip(pictures, range(_LOOKED_AT), strict=False)]
        step = farthest_step(torch.stack(first)) if len(first) > 1 else 0.0
        if step > config.step_px:
            factor = step / config.step_px
            raise UsageError(
                f"{source} moves {step:.1f} px between frames, which would leave ghosts: give a --size at most"
                f" {int(first[0].shape[-1] / factor)} wide, or raise step_px ({config.step_px:g})"
            )
        shots: list[Tensor] = []
        window = first
        while len(shots) < config.frames:
            window += [picture for picture, _ in zip(pictures, range(camera.stride - len(window)), strict=False)]
            if len(window) < camera.stride:
                break
            shots.append(camera.shoot(torch.stack(window[: camera.stride])))
            window = window[camera.stride :]
    if not shots:
        raise UsageError(f"{source} is shorter than one frame of {camera.stride} averaged ones")
    return camera.filmed(shots)


def _of_size(reader: Reader, size: tuple[int, int] | None) -> Iterator[Tensor]:
    for frame in reader:
        picture = picture_of(frame)
        yield limited(picture, _LARGEST[1]) if size is None else resized(picture, *size)


def write_pair(
    levels: ByteClip,
    targets: tuple[Path, Path],
    *,
    rate: Fraction = Fraction(25),
    options: EncodeOptions | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Write the blurred and the sharp side as two videos; return what the writer has to say.

    Raises:
        UsageError, TargetError: as :class:`Writer`; neither file is written then.
    """
    count, height, width = levels.pictures.shape[1], *levels.pictures.shape[-2:]

    def writer_to(target: Path) -> Writer:
        return Writer(
            target,
            info=_info(height, width, count, rate),
            frame_format=_GBR,
            colour=_FULL,
            width=width,
            height=height,
            time_base=1 / rate,
            options=options,
            overwrite=overwrite,
        )

    with writer_to(targets[0]) as blurry, writer_to(targets[1]) as sharp:
        for number in range(count):
            for writer, side in ((blurry, levels.pictures[0]), (sharp, levels.pictures[1])):
                red, green, blue = side[number].contiguous().numpy()
                writer.write(Frame((green, blue, red), _GBR, _FULL, number, 1 / rate, 1))
    return blurry.notes


def _info(height: int, width: int, count: int, rate: Fraction) -> SourceInfo:
    """A source that exists only as frames."""
    seconds = float(count / rate)
    video = VideoInfo(0, "rawvideo", width, height, _GBR.name, _GBR, _FULL, 1 / rate, rate, count, 0, seconds)
    streams = (StreamInfo(0, "video", "rawvideo", default=True),)
    return SourceInfo("a synthetic clip", None, None, {}, "made", video, streams, 0, {}, seconds)
