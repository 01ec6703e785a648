"""Blur synthesis: blurred clips with their sharp truth and true motion, made from sharp pictures.

A camera path moves a picture; planes at other depths move with it, layers move on their own. Each frame is the mean of
many sub-frames in linear light over its exposure; then the camera's noise, response and compression follow. The truth
is the middle of the exposure, without noise (Nah et al. 2017, REDS). Clip n of a seed is the same in any batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vdeblur.model.guide.guide_net import Told
from vdeblur.training.synthesis.camera import compress, develop, light_of_levels, quantiser_of
from vdeblur.training.synthesis.clip_plan import ClipPlan, draw_plan
from vdeblur.training.synthesis.config import SynthesisConfig, Truth
from vdeblur.training.synthesis.layers import ExposedFrames, LayerBatch, expose, layer_batches, soft_mask
from vdeblur.training.synthesis.stills import Textures
from vdeblur.training.synthesis.texture_styles import styled

__all__ = ["ByteClip", "Clip", "SynthesisConfig", "make_levels", "synthesise"]

#: Sub-frame pixels of the clips that a GPU makes in one go, and how unequal their numbers of sub-frames may be.
_GROUP_PIXELS = 1 << 26
_GROUP_RATIO = 2
#: Sub-frame pixels that a CPU's caches hold; frames are made together up to so many. A GPU makes all at once.
_CACHED_PIXELS = 20 * 128 * 128
#: Sub-frame pixels of one clip that are drawn at once.
_BAND_PIXELS = 1 << 24


class Clip(NamedTuple):
    """A clip to learn from, (T, …), or a batch of them, (B, T, …).

    ``blurry``, ``sharp``: (…, 3, H, W) R'G'B' in [0, 1], on 8-bit levels; ``velocity``: (…, 2, H, W) pixels a frame
    interval; ``motion``: (…, 2, H, W) pixels during the exposure; x before y. ``None`` where nobody knows the motion.
    ``told``: what a guide is told, numbers (…); ``None`` for networks that are told nothing.
    """

    blurry: Tensor
    sharp: Tensor
    velocity: Tensor | None
    motion: Tensor | None
    told: Told | None = None

    def to(self, device: str | torch.device) -> Clip:
        """The same clip on another device."""
        velocity, motion = (None if part is None else part.to(device) for part in (self.velocity, self.motion))
        told = None if self.told is None else Told(*(part.to(device) for part in self.told[:2]))
        return Clip(self.blurry.to(device), self.sharp.to(device), velocity, motion, told)


class ByteClip(NamedTuple):
    """A clip in small: pictures (2, T, 3, H, W) uint8 and vectors (2, T, 2, H, W) float16, or ``None``.

    ``quantiser``: as :func:`vdeblur.training.synthesis.camera.quantiser_of` says; ``None`` if nobody asks for it.
    """

    pictures: Tensor
    vectors: Tensor | None
    quantiser: float | None = None


def synthesise(
    textures: Textures,
    config: SynthesisConfig,
    *,
    seed: int,
    numbers: Sequence[int],
    size: tuple[int, int] | None = None,
) -> Clip:
    """Make clips ``numbers`` of a seed, a batch (B, T, …) on the textures' device.

    What a clip looks like is drawn on the CPU by its own generator, so devices agree up to rounding, but for two
    things: the noise has the same strength and other values, and a GPU has JPEG for H.264 and HEVC.

    Args:
        size: (height, width) instead of the config's square.
    """
    made = make_levels(textures, config, seed=seed, numbers=numbers, size=size)
    pictures = torch.stack([levels.pictures for levels in made], dim=1).float().div_(255)
    vectors = torch.stack([levels.vectors for levels in made if levels.vectors is not None], dim=1).float()
    quantisers = [levels.quantiser for levels in made if levels.quantiser is not None]
    told = None
    if quantisers:
        known = torch.tensor(quantisers, device=pictures.device)
        told = Told(known, torch.full_like(known, torch.nan))
    return Clip(pictures[0], pictures[1], vectors[0], vectors[1], told)


def make_levels(
    textures: Textures,
    config: SynthesisConfig,
    *,
    seed: int,
    numbers: Sequence[int],
    size: tuple[int, int] | None = None,
    motion: bool = True,
) -> list[ByteClip]:
    """The same clips in small; without vectors if ``motion`` is not wanted."""
    plans = [draw_plan(textures, config, seed=seed, number=number, size=size) for number in numbers]
    made: dict[int, ByteClip] = {}
    for group in _groups(plans, textures):
        picked = [plans[index] for index in group]
        for index, levels in zip(group, _make_group(picked, textures, motion, config.truth), strict=True):
            made[index] = levels
    return [made[index] for index in range(len(plans))]


def _groups(plans: Sequence[ClipPlan], textures: Textures) -> Iterator[list[int]]:
    """Clips that are made in one go: one on the CPU; on a GPU those that need about as many sub-frames."""
    on_cpu = _is_on_cpu(textures)
    group: list[int] = []
    for index in sorted(range(len(plans)), key=lambda i: max(plans[i].counts)):
        plan, most = plans[index], max(plans[index].counts)
        pixels = (len(group) + 1) * len(plan.counts) * most * plan.height * plan.width
        uneven = group and most > _GROUP_RATIO * max(plans[group[0]].counts)
        if group and (on_cpu or uneven or pixels > _GROUP_PIXELS):
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def _is_on_cpu(textures: Textures) -> bool:
    return textures.pictures[0].device.type == "cpu"


def _make_group(plans: Sequence[ClipPlan], textures: Textures, motion: bool, truth: Truth = "sharp") -> list[ByteClip]:
    device = textures.pictures[0].device
    layers = layer_batches(plans, [_light(plan, textures) for plan in plans])
    electronics = [plan.electronics for plan in plans]
    generators = [torch.Generator(device).manual_seed(camera.noise_seed) for camera in electronics]
    frames = len(plans[0].counts)
    chunk = max(1, _CACHED_PIXELS // (max(plans[0].counts) * plans[0].height * plans[0].width))
    if not _is_on_cpu(textures):
        chunk = frames
    parts: list[list[ByteClip]] = [[] for _ in plans]
    for first in range(0, frames, chunk):
        exposed = _in_bands(plans, layers, range(first, min(first + chunk, frames)), motion)
        developed = develop(exposed.blurry, exposed.sharp, electronics, generators, truth)
        pictures = torch.stack(developed, dim=1)
        vectors: Sequence[Tensor | None] = [None] * len(plans)
        if exposed.velocity is not None and exposed.motion is not None:
            vectors = torch.stack((exposed.velocity, exposed.motion), dim=1).half().unbind()
        for part, levels, moved in zip(parts, pictures, vectors, strict=True):
            part.append(ByteClip(levels, moved))
    made = [_joined(clip) for clip in parts]
    coded = compress([levels.pictures[0] for levels in made], electronics)
    for levels, blurry in zip(made, coded, strict=True):
        levels.pictures[0] = blurry
    if truth == "blurred":
        made = [levels._replace(quantiser=quantiser_of(own)) for levels, own in zip(made, electronics, strict=True)]
    return made


def _in_bands(plans: Sequence[ClipPlan], layers: Sequence[LayerBatch], frames: range, motion: bool) -> ExposedFrames:
    """What :func:`expose` gives, band by band where the sub-frames of large frames would fill the memory."""
    height, width = plans[0].height, plans[0].width
    per_row = len(frames) * max(plans[0].counts[frame] for frame in frames) * width
    band = max(16, _BAND_PIXELS // per_row) if len(plans) == 1 else height
    bands = [
        expose(plans, layers, frames, motion=motion, rows=range(top, min(top + band, height)))
        for top in range(0, height, band)
    ]
    if len(bands) == 1:
        return bands[0]
    velocities = [part.velocity for part in bands if part.velocity is not None]
    motions = [part.motion for part in bands if part.motion is not None]
    return ExposedFrames(
        torch.cat([part.blurry for part in bands], dim=-2),
        torch.cat([part.sharp for part in bands], dim=-2),
        torch.cat(velocities, dim=-2) if velocities else None,
        torch.cat(motions, dim=-2) if motions else None,
    )


def _joined(parts: Sequence[ByteClip]) -> ByteClip:
    """The parts of a clip in one."""
    vectors = [part.vectors for part in parts if part.vectors is not None]
    return ByteClip(torch.cat([part.pictures for part in parts], dim=1), torch.cat(vectors, dim=1) if vectors else None)


def _light(plan: ClipPlan, textures: Textures) -> list[Tensor]:
    """Each layer's picture in linear light, (3, h, w); from the second on with its mask, (4, h, w)."""
    table = light_of_levels(plan.electronics).to(textures.pictures[0].device)
    pictures = []
    for layer in plan.layers:
        levels = styled(textures.pixels(layer.cut), layer.style)
        light = table.index_select(0, levels.flatten().int()).view(levels.shape)
        if layer.shape is not None:
            light = torch.cat((light, soft_mask(layer.shape, levels.shape[-1], light.device)))
        pictures.append(light)
    return pictures
