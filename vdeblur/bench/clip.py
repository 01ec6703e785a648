"""The clip a benchmark runs on: two textures that move, blurred by it, made by code and coded as H.264."""

from __future__ import annotations

from collections.abc import Iterator
from math import cos, pi, sin
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vdeblur.errors import VdeblurError
from vdeblur.video.ffmpeg.executable import run_ffmpeg

Plane = npt.NDArray[np.uint8]

#: Frames after which the motion is where it began, so that the clip can be repeated without a cut.
PERIOD = 24
#: Pixels from frame to frame, at 720 lines.
SPEED_PX = 10.0
#: Power of the frequency by which amplitudes fall: with it the clip is coded at some 14 Mbit/s at 720p, as footage is.
STEEPNESS = 1.3
#: Instants that are averaged into a frame, over half of its interval.
INSTANTS = 8
_X264 = (
    *("-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-pix_fmt", "yuv420p"),
    *("-color_range", "tv", "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"),
)


def make_clip(folder: Path, width: int, height: int, frames: int) -> Path:
    """Write a clip of so many frames, 25 a second, into ``folder`` and return its path.

    Raises:
        VdeblurError: FFmpeg cannot make it.
    """
    once, path = folder / f"once_{width}x{height}.mp4", folder / f"clip_{width}x{height}_{frames}.mp4"
    if not once.exists():
        data = b"".join(plane.tobytes() for picture in pictures(width, height) for plane in picture)
        source = ["-f", "rawvideo", "-pixel_format", "yuv420p", "-video_size", f"{width}x{height}", "-framerate", "25"]
        _run([*source, "-i", "pipe:0", *_X264, str(once)], data)
    if not path.exists():
        repeats = -(-frames // PERIOD) - 1
        _run(["-stream_loop", str(repeats), "-i", str(once), "-c", "copy", "-frames:v", str(frames), str(path)])
    return path


def pictures(width: int, height: int) -> Iterator[tuple[Plane, Plane, Plane]]:
    """Y, Cb and Cr of the frames of one period; width and height are even."""
    radius = SPEED_PX * height / 720 * PERIOD / (2 * pi)
    textures = [_texture(height, width, radius, seed) for seed in (1, 2)]
    chroma = [_texture(height // 2, width // 2, radius, seed) // 4 + 96 for seed in (3, 4)]
    for number in range(PERIOD):
        angles = [2 * pi * (number + 0.5 * instant / INSTANTS) / PERIOD for instant in range(INSTANTS)]
        luma = _exposed([_scene(textures, height, width, radius, angle) for angle in angles])
        first, second = (_seen(plane, height // 2, width // 2, radius / 2, angles[0]) for plane in chroma)
        yield luma, first, second


def _texture(height: int, width: int, radius: float, seed: int) -> Plane:
    """Noise whose amplitude falls with frequency, as in photographs; larger by the motion on every side."""
    margin = 2 * int(radius + 2)
    rows, columns = height + margin, width + margin
    noise = np.fft.rfft2(np.random.default_rng(seed).standard_normal((rows, columns), dtype=np.float32))
    distance = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None])
    field = np.fft.irfft2(noise / (distance + 4 / max(rows, columns)) ** STEEPNESS, (rows, columns))
    texture: Plane = np.clip(128 + 45 * field / field.std(), 16, 235).astype(np.uint8)
    return texture


def _seen(texture: Plane, height: int, width: int, radius: float, angle: float) -> Plane:
    """The part of a texture that a camera on a circle sees."""
    middle = (texture.shape[0] - height) // 2, (texture.shape[1] - width) // 2
    top, left = middle[0] + round(radius * sin(angle)), middle[1] + round(radius * cos(angle))
    return texture[top : top + height, left : left + width]


def _scene(textures: list[Plane], height: int, width: int, radius: float, angle: float) -> Plane:
    """One instant: a texture, and before it another one in a window that moves the other way."""
    scene = _seen(textures[0], height, width, radius, angle).copy()
    rows, columns = height // 3, width // 4
    top, left = height // 3 - round(radius / 2 * sin(angle)), width // 3 - round(radius / 2 * cos(angle))
    scene[top : top + rows, left : left + columns] = textures[1][:rows, :columns]
    return scene


def _exposed(scenes: list[Plane]) -> Plane:
    total: npt.NDArray[Any] = np.zeros(scenes[0].shape, np.uint16)
    for scene in scenes:
        total += scene
    return (total // len(scenes)).astype(np.uint8)


def _run(arguments: list[str], data: bytes = b"") -> None:
    finished = run_ffmpeg(["-y", *arguments], data=data)
    if finished.returncode:
        raise VdeblurError(f"the benchmark's clip cannot be made: {finished.reason}")
