"""Steadiness under noise: flicker and drift over a long noisy scene, still or panning, whose truth is known.

A scene is cut out of one sharp picture: what does not move in the truth must not move in the output, and after hundreds
of frames the brightness must be what it was. Where the noise is kept, it alone may flicker.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.pixels import rgb_of
from vdeblur.engine.read_ahead import READ_AHEAD, always_ready
from vdeblur.evaluation.noise.clips import TrueClip, as_8bit_frames
from vdeblur.evaluation.noise.kinds import NoiseKind
from vdeblur.evaluation.scoring import mean
from vdeblur.frames import Frame
from vdeblur.metrics import as_8bit, psnr

Scene = Literal["still", "pan"]
SCENES: tuple[Scene, ...] = ("still", "pan")
#: Frames of a scene, those at its start that do not count, and those of an early and a late window.
SCENE_FRAMES, SETTLING_FRAMES, WINDOW_FRAMES = 500, 20, 60
#: The scene is cut out of the picture so much smaller each way, pixels at least; a pan goes there and back over them.
PAN_PX = 64


@dataclass(frozen=True)
class Steadiness:
    """A method on one long noisy scene, after it has settled.

    Flicker is the temporal standard deviation of the error (output minus truth), root mean square over the picture, in
    levels of 8 bits; drift is the slope of the mean of output minus input, in levels over the whole scene.
    """

    dataset: str
    clip: str
    scene: Scene
    noise: str
    method: str
    frames: int
    flicker_input: float
    flicker: float
    drift_levels: float
    #: Mean PSNR against the truth over frames early and late, dB: a state that runs away gets worse.
    early_psnr: float
    late_psnr: float

    @property
    def fall_db(self) -> float:
        return self.early_psnr - self.late_psnr


@dataclass
class _Spread:
    """Temporal standard deviation of pictures, by the sums of their samples and squares."""

    count: int = 0
    total: Tensor | float = 0.0
    squares: Tensor | float = 0.0

    def add(self, picture: Tensor) -> None:
        self.count += 1
        self.total = self.total + picture.double()
        self.squares = self.squares + picture.double() ** 2

    def result(self) -> float:
        """Root mean square over the picture."""
        variance = torch.as_tensor(self.squares) / self.count - (torch.as_tensor(self.total) / self.count) ** 2
        return math.sqrt(float(variance.mean().clamp_min(0)))


@dataclass
class _Tally:
    before: _Spread = field(default_factory=_Spread)
    after: _Spread = field(default_factory=_Spread)
    brightness: list[float] = field(default_factory=list)
    psnrs: list[float] = field(default_factory=list)

    def add(self, noisy: Tensor, output: Tensor, truth: Tensor) -> None:
        """Take a frame, R'G'B' (3, H, W) in levels each."""
        self.before.add(noisy - truth)
        self.after.add(output - truth)
        self.brightness.append(float((output - noisy).mean()))
        self.psnrs.append(psnr(output / 255, truth / 255))


def steadiness(
    deblurrer: Deblurrer,
    clip: TrueClip,
    noise: NoiseKind,
    *,
    scene: Scene,
    method: str,
    frames: int = SCENE_FRAMES,
) -> Steadiness:
    """Restore a long noisy scene that is cut out of the clip's first sharp picture; the noise is not coded."""
    picture = clip.sharp[0]
    truths = scene_pictures(picture, scene, frames)
    kept: list[Frame] = []
    tally = _Tally()
    noisy = _noisy(picture, noise, scene, frames, kept)
    with closing(deblurrer.run(noisy, read_ahead=READ_AHEAD, ready=always_ready)) as restored:
        for number, (frame, truth) in enumerate(zip(restored, truths, strict=True)):
            before = kept.pop(0)
            if number >= SETTLING_FRAMES:
                tally.add(*(as_8bit(each) for each in (rgb_of(before)[0], rgb_of(frame)[0], truth)))
    window = min(WINDOW_FRAMES, len(tally.psnrs) // 2)
    return Steadiness(
        dataset=clip.dataset,
        clip=clip.name,
        scene=scene,
        noise=noise.name,
        method=method,
        frames=frames,
        flicker_input=tally.before.result(),
        flicker=tally.after.result(),
        drift_levels=_slope(tally.brightness) * frames,
        early_psnr=mean(tally.psnrs[:window]),
        late_psnr=mean(tally.psnrs[-window:]),
    )


def scene_pictures(picture: Tensor, scene: Scene, frames: int) -> Iterator[Tensor]:
    """Pictures (3, h, w) cut out of one (3, H, W): the same each time, or moving a pixel a frame, there and back."""
    height, width = picture.shape[-2:]
    room = min(PAN_PX, width // 3)
    side = (width - room) // 2 * 2
    for number in range(frames):
        place = number % (2 * room) if scene == "pan" else room // 2
        left = min(place, 2 * room - place)
        yield picture[:, : height // 2 * 2, left : left + side]


def _noisy(picture: Tensor, noise: NoiseKind, scene: Scene, frames: int, kept: list[Frame]) -> Iterator[Frame]:
    """Noisy frames of a scene, each also kept until it is taken out again."""
    for number, part in enumerate(scene_pictures(picture, scene, frames)):
        (frame,) = as_8bit_frames([noise.uncoded(part, number)], first=number)
        kept.append(frame)
        yield frame


def _slope(values: list[float]) -> float:
    """Slope by least squares, a frame."""
    times = torch.arange(len(values), dtype=torch.float64)
    times = times - times.mean()
    return float((times * torch.tensor(values, dtype=torch.float64)).sum() / times.square().sum())
