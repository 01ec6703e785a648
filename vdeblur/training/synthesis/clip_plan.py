"""Clip plan: all random parameters of a synthetic clip, drawn on the CPU before any pixel is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vdeblur.training.synthesis.config import SynthesisConfig
from vdeblur.training.synthesis.motion_paths import Array, MotionPath, random_path, still_path, with_tremor
from vdeblur.training.synthesis.rng import Draw, seed_of
from vdeblur.training.synthesis.stills import CropWindow, Textures
from vdeblur.training.synthesis.texture_styles import PLAIN_STYLE, TextureStyle, draw_style

#: Instants of an exposure between which the speed of its motion is measured.
_INSTANTS = 9
#: A background is made at most this many frames wide and high; beyond, its edge is drawn out.
_MOST_FRAMES = 4.0
#: Beyond the screen, so that no sample meets an edge.
_MARGIN_PX = 3
_BLOB_CELLS = 6
#: A motion that is shorter than this during an exposure leaves no trace.
_STILL_PX = 0.1


@dataclass(frozen=True)
class MaskShape:
    """A layer's soft mask: a rounded box (|u/a|^p + |v/b|^p < 1), or a random blob where ``blob`` is given.

    ``edge`` is the width of its edge as a share of the layer's half side; ``blob`` (6, 6) random heights in [0, 1).
    """

    half_sides: tuple[float, float]
    power: float
    angle: float
    edge: float
    blob: Array | None


@dataclass(frozen=True)
class Layer:
    """A picture that moves: its own path first, then, placed on the screen at ``offset``, the camera's."""

    cut: CropWindow
    camera: MotionPath
    own: MotionPath | None = None
    offset: tuple[float, float] = (0.0, 0.0)
    shape: MaskShape | None = None
    style: TextureStyle = PLAIN_STYLE

    def matrices(self, times: Array) -> Array:
        """Maps from the layer's pixels to the screen's, both from their centres, at each time: (N, 3, 3)."""
        seen = self.camera.matrices(times)
        if self.own is None:
            return seen
        placed = self.own.matrices(times)
        placed[:, :2, 2] += self.offset
        moved: Array = seen @ placed
        return moved


@dataclass(frozen=True)
class CameraModel:
    """What the camera does to linear light; see :class:`SynthesisConfig` for the units."""

    gamma: float
    toe: float
    contrast: float
    gain: float
    highlight_gain: float
    read_noise: float
    shot_noise: float
    mosaic: bool
    denoised: bool
    sharpening: float
    noise_seed: int
    #: "h264", "hevc", "jpeg" or None, and its quality: a constant rate factor or JPEG's own.
    codec: str | None
    quality: float
    #: Standard deviation of the lens's blur in pixels, 0 for none; size of detail that a denoiser halves, 0 for none.
    lens_px: float = 0.0
    coring: float = 0.0


@dataclass(frozen=True)
class ClipPlan:
    """A clip to be made; ``layers`` from back to front, the first one fills the screen."""

    height: int
    width: int
    layers: tuple[Layer, ...]
    #: Exposure of each frame in frame intervals, and its number of sub-frames, which is odd.
    exposures: tuple[float, ...]
    counts: tuple[int, ...]
    electronics: CameraModel

    def instants(self, count: int) -> Array:
        """Times of ``count`` sub-frames of each frame, spaced by its exposure / its own count: (T, count)."""
        steps = np.array(self.exposures) / np.array(self.counts)
        times: Array = np.arange(len(steps))[:, None] + steps[:, None] * (np.arange(count) - count // 2)
        return times


def draw_plan(
    textures: Textures, config: SynthesisConfig, *, seed: int, number: int, size: tuple[int, int] | None = None
) -> ClipPlan:
    """The plan of clip ``number`` of a seed: the same whatever is drawn before or beside it.

    Args:
        size: (height, width) instead of the config's square.
    """
    draw = Draw.of(seed, "clip", number)
    height, width = size or (config.size_px, config.size_px)
    exposures = _exposures(config, draw)
    electronics = draw_electronics(config, draw, noise_seed=seed_of(seed, "noise", number))
    cameras = _paths(config, (height + width) / 2, draw)
    camera = cameras[0]
    layers = [Layer(_background_cut(textures, camera, config.frames, height, width, config, draw), camera)]
    layers += [_draw_layer(textures, path, own, height, width, config, draw) for path, own in cameras[1]]
    style = Draw.of(seed, "style", number)  # of its own, as all that came later: old clips stay what they were
    layers = [replace(layer, style=draw_style(config, style)) for layer in layers]
    shutters = [
        _shutter(exposure, length, config)
        for exposure, length in zip(exposures, _lengths(layers, exposures, height, width), strict=True)
    ]
    shortened, counts = zip(*shutters, strict=True)
    return ClipPlan(height, width, tuple(layers), shortened, counts, electronics)


def draw_electronics(config: SynthesisConfig, draw: Draw, *, noise_seed: int) -> CameraModel:
    codec, quality = _draw_codec(config, draw)
    look = Draw.of(noise_seed, "look")
    return CameraModel(
        gamma=draw.between(*config.gamma),
        toe=draw.between(*config.toe),
        contrast=draw.between(*config.contrast),
        gain=draw.between(*config.gain),
        highlight_gain=draw.log_between(*config.highlight_gain) if draw.chance(config.highlight_share) else 1.0,
        read_noise=draw.log_between(*config.read_noise),
        shot_noise=draw.log_between(*config.shot_noise),
        mosaic=draw.chance(config.mosaic_share),
        denoised=draw.chance(config.denoised_share),
        sharpening=draw.between(*config.sharpening) if draw.chance(config.sharpened_share) else 0.0,
        noise_seed=noise_seed,
        codec=codec,
        quality=quality,
        lens_px=look.between(*config.lens_px) if look.chance(config.soft_share) else 0.0,
        coring=look.log_between(*config.coring) if look.chance(config.cored_share) else 0.0,
    )


def _draw_codec(config: SynthesisConfig, draw: Draw) -> tuple[str | None, float]:
    if not draw.chance(config.compressed_share):
        return None, 0.0
    which = draw.between(0, 1)
    if which < config.h264_share:
        return "h264", draw.between(*config.h264_crf)
    if which < config.h264_share + config.hevc_share:
        return "hevc", draw.between(*config.hevc_crf)
    return "jpeg", draw.between(*config.quality)


def _exposures(config: SynthesisConfig, draw: Draw) -> list[float]:
    """Exposure of each frame: one draw, and a slow drift from the first to the last."""
    exposure = draw.between(*(config.sharp_exposure if draw.chance(config.sharp_share) else config.exposure))
    drift = draw.between(*config.exposure_drift) * draw.sign()
    last = max(1, config.frames - 1)
    most = max(1.0, config.exposure[1])
    return [min(most, exposure * (1 + drift * (frame / last - 0.5))) for frame in range(config.frames)]


def _paths(config: SynthesisConfig, size: float, draw: Draw) -> tuple[MotionPath, list[tuple[MotionPath, MotionPath]]]:
    """The camera's path, and for each further layer the camera's path at its depth and its own, from back to front."""
    middle = (config.frames - 1) / 2
    camera = still_path(middle)
    if not draw.chance(config.static_share):
        camera = random_path(config, draw.log_between(*config.speed_px), size, middle, draw)
        if draw.chance(config.tremor_share):
            camera = with_tremor(camera, config, size, draw)
    others: list[tuple[MotionPath, MotionPath]] = []
    if draw.chance(config.parallax_share):
        depths = sorted(draw.log_between(*config.parallax) for _ in range(1 + draw.chance(0.5)))
        others += [(camera.at_depth(depth), still_path(middle)) for depth in depths]
    if draw.chance(config.layer_share):
        low, high = config.layers
        for _ in range(low + draw.integer(high - low + 1)):
            own = random_path(config, draw.log_between(*config.speed_px), size, middle, draw)
            others.insert(draw.integer(len(others) + 1), (camera, own))
    return camera, others


def _background_cut(
    textures: Textures,
    camera: MotionPath,
    frames: int,
    height: int,
    width: int,
    config: SynthesisConfig,
    draw: Draw,
) -> CropWindow:
    """A cut large enough for all that the camera sees."""
    times = np.linspace(-0.5, frames - 0.5, 4 * frames + 1)
    seen = np.linalg.inv(camera.matrices(times)) @ _corners(height, width)  # (N, 3, 4)
    reach = np.abs(seen[:, :2]).max(axis=(0, 2)).tolist()
    sides = [2 * (math.ceil(r) + _MARGIN_PX) for r in reach]
    tall, wide = (
        min(side, 2 * math.ceil(_MOST_FRAMES / 2 * most))
        for side, most in zip(sides[::-1], (height, width), strict=True)
    )
    return textures.cut(tall, wide, config, draw)


def _draw_layer(
    textures: Textures,
    camera: MotionPath,
    own: MotionPath,
    height: int,
    width: int,
    config: SynthesisConfig,
    draw: Draw,
) -> Layer:
    side = max(8, 2 * round(draw.between(*config.layer_size) * min(height, width) / 2))
    offset = (draw.between(-0.4, 0.4) * width, draw.between(-0.4, 0.4) * height)
    half_sides = (draw.between(0.2, 0.9), draw.between(0.2, 0.9))
    shape = MaskShape(
        half_sides=half_sides,
        power=draw.log_between(1.5, 10.0),
        angle=draw.between(0, math.pi),
        edge=draw.between(*config.layer_edge_px) / (side / 2),
        blob=draw.uniform(_BLOB_CELLS, _BLOB_CELLS) if draw.chance(0.6) else None,
    )
    return Layer(textures.cut(side, side, config, draw), camera, own, offset, shape)


def _corners(height: int, width: int) -> Array:
    """The screen's corners from its centre, homogeneous: (3, 4)."""
    x, y = width / 2, height / 2
    return np.array([[-x, x, -x, x], [-y, -y, y, y], [1.0, 1.0, 1.0, 1.0]])


def _lengths(layers: Sequence[Layer], exposures: Sequence[float], height: int, width: int) -> list[float]:
    """For each frame how far content seen in it would go in its exposure at its highest speed there, pixels."""
    frames = len(exposures)
    times = np.arange(frames)[:, None] + np.array(exposures)[:, None] * np.linspace(-0.5, 0.5, _INSTANTS)
    longest = np.zeros(frames)
    for layer in layers:
        maps = layer.matrices(times.ravel()).reshape(frames, _INSTANTS, 3, 3)
        content = np.linalg.inv(maps[:, _INSTANTS // 2]) @ _corners(height, width)  # (T, 3, 4)
        seen = (maps @ content[:, None])[:, :, :2]
        ways = np.linalg.norm(np.diff(seen, axis=1), axis=2)  # (T, N - 1, 4)
        longest = np.maximum(longest, ways.max(axis=(1, 2)) * (_INSTANTS - 1))
    lengths: list[float] = longest.tolist()
    return lengths


def _shutter(exposure: float, length_px: float, config: SynthesisConfig) -> tuple[float, int]:
    """The exposure and its odd number of sub-frames; shortened where the most sub-frames would be too few."""
    most = config.subframes - 1 + config.subframes % 2
    if length_px > most * config.step_px:
        return exposure * most * config.step_px / length_px, most
    count = max(3 if length_px > _STILL_PX else 1, math.ceil(length_px / config.step_px))
    return exposure, min(most, count + 1 - count % 2)
