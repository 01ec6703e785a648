"""Film grain synthesis: spatially correlated noise, scaled by brightness, added to a frame's own samples.

In plain form the model of AV1 (AV1 Bitstream & Decoding Process Specification, 7.18.3; Norkin and Birkbeck 2018, "Film
grain synthesis for AV1 video codec"): a tile of correlated noise is made once, each frame reads it from a place of its
own, and a function of the sample's brightness scales it. Unlike AV1's, the tile is filtered by a Gaussian instead of an
autoregression, and it repeats without a seam.

The tile is made of integers, and each step after it is rounded as IEEE 754 says: the same seed gives the same grain on
every device.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial

import torch
from torch import Tensor
from torch.nn import functional

from vdeblur.engine.pixels import colour_matrix, luma_from_planes, sample_range
from vdeblur.frames import Colour, PixelFormat
from vdeblur.kernels.dispatch import try_cpu_kernels
from vdeblur.runtime.cpu_pool import run_parallel, single_threaded_ops

#: Side of the tile, samples; it repeats in larger pictures.
TILE_PX = 1024
#: Standard deviation of the Gaussian that makes the grain, as a share of the picture's shorter side (0.75 pixels of
#: 1080), and the least, pixels: noise that is nearly white.
GRAIN_SIZE, FINEST_PX = 0.75 / 1080, 0.3
#: Standard deviation of Cb and Cr, as a share of that of luma.
CHROMA_SHARE = 0.25
#: Rows that are worked on at once on a processor, in its cache.
_ROWS = 192
_SEED = 20_231
#: The white noise is a sum of this many numbers, evenly spread from -128 to 127.
_SUMMANDS = 4
#: Of the filter's coefficients.
_UNIT = 256


def add_film_grain(
    planes: Sequence[Tensor], pixel_format: PixelFormat, colour: Colour, *, level: float, seed: int
) -> tuple[Tensor, ...]:
    """Planes with film grain of zero mean added in the source's own samples.

    The grain is strongest in the mid-tones and fades to black and white as 4·v·(1 − v) of a sample's brightness v. Its
    size follows that of the picture, so that it looks alike in all resolutions. R', G' and B' have it by their own
    brightness, as the layers of a film do, Cb and Cr by that of luma. Sums are rounded and clipped as by
    :func:`vdeblur.engine.pixels.add_residual`; alpha is the same tensor as it came.

    Args:
        planes: Y Cb Cr, Y, or G B R, each (rows, columns), integer or float32 samples.
        level: standard deviation of luma in the mid-tones, in levels of 8 bits: white is 255 above black. 0 returns the
            planes as they are.
        seed: every number gives other grain, the same one always the same.
    """
    if level <= 0:
        return tuple(planes)
    height, width = planes[0].shape
    device = planes[0].device
    size = _grain_size(height, width)
    draw = random.Random(seed % (1 << 64))
    levels, amount = sample_range(pixel_format, colour), level / 255
    # Each plane alone, and with the same range, is a grey picture.
    grey = replace(pixel_format, family="gray") if pixel_format.family == "rgb" else pixel_format
    add = partial(_grainy, pixel_format=grey, colour=colour)
    if pixel_format.family == "rgb":
        matrix = colour_matrix(colour, height)
        tiles = _rgb_tiles(size, matrix.from_cb, matrix.from_cr, device)
        place, amplitude = _place(draw), _sign(draw) * amount * levels.scale
        grainy = [add(plane, plane, tile, place, amplitude) for plane, tile in zip(planes, tiles, strict=False)]
        return (*grainy, *planes[3:])
    tile = _tile(size, device)
    grainy = [add(planes[0], planes[0], tile, _place(draw), _sign(draw) * amount * levels.scale)]
    if pixel_format.family == "yuv":
        shift_x, shift_y = pixel_format.chroma_shift
        brightness = planes[0][:: 1 << shift_y, :: 1 << shift_x]
        for plane in planes[1:3]:
            amplitude = _sign(draw) * CHROMA_SHARE * amount * levels.chroma_scale
            grainy.append(add(plane, brightness, tile, _place(draw), amplitude))
    return (*grainy, *planes[len(grainy) :])


def _grainy(
    plane: Tensor,
    brightness: Tensor,
    tile: Tensor,
    place: tuple[int, int],
    amplitude: float,
    *,
    pixel_format: PixelFormat,
    colour: Colour,
) -> Tensor:
    """A plane with the noise of ``tile``, read from ``place`` on, by the brightness (rows, columns) of its samples."""
    result = torch.empty_like(plane)

    def add(part: tuple[slice, slice], noise: Tensor) -> None:
        seen = brightness[part]
        value = luma_from_planes((seen,), pixel_format, colour, height=seen.shape[0])[0, 0]
        gain = (1 - value).mul_(value).mul_(4 * amplitude)
        result[part] = _sum(plane[part], gain.mul_(noise), pixel_format)

    jobs = []
    for y, from_y, rows in _stretches(plane.shape[0], place[0], _ROWS if plane.device.type == "cpu" else TILE_PX):
        for x, from_x, columns in _stretches(plane.shape[1], place[1], TILE_PX):
            noise = tile[from_y : from_y + rows, from_x : from_x + columns]
            jobs.append(partial(add, (slice(y, y + rows), slice(x, x + columns)), noise))
    with single_threaded_ops(plane.device):
        run_parallel(jobs, plane.device)
    return result


def _sum(samples: Tensor, noise: Tensor, pixel_format: PixelFormat) -> Tensor:
    """Samples and noise, rounded to nearest and clipped; float samples are not."""
    done: Tensor | None = try_cpu_kernels(
        samples, lambda native: native.add_residual(samples, noise, 1.0, pixel_format.peak)
    )
    if done is not None:
        return done
    total = noise.add_(samples.to(torch.float32))
    return total if pixel_format.is_float else total.round_().clamp_(0.0, pixel_format.peak).to(samples.dtype)


def _stretches(length: int, start: int, most: int) -> Iterator[tuple[int, int, int]]:
    """Where stretches of up to ``most`` samples begin in a plane and in the tile, which repeats, and their lengths."""
    done = 0
    while done < length:
        place = (start + done) % TILE_PX
        count = min(most, length - done, TILE_PX - place)
        yield done, place, count
        done += count


def _place(draw: random.Random) -> tuple[int, int]:
    return draw.getrandbits(32) % TILE_PX, draw.getrandbits(32) % TILE_PX


def _sign(draw: random.Random) -> int:
    return 1 if draw.getrandbits(1) else -1


def _grain_size(height: int, width: int) -> float:
    """Standard deviation of the filter in pixels, to a twentieth, so that there are few tiles."""
    return max(FINEST_PX, round(20 * GRAIN_SIZE * min(height, width)) / 20)


def grain_filter(size: float) -> list[int]:
    """Coefficients of a Gaussian with a standard deviation of ``size`` pixels, whole numbers."""
    reach = math.ceil(3 * size)
    return [round(_UNIT * math.exp(-0.5 * (x / size) ** 2)) for x in range(-reach, reach + 1)]


@lru_cache(maxsize=4)
def _tile(size: float, device: torch.device) -> Tensor:
    """Correlated noise (TILE_PX, TILE_PX), float32, of zero mean and unit variance, that repeats without a seam."""
    draw = torch.Generator().manual_seed(_SEED)
    shape = (_SUMMANDS, 1, 1, TILE_PX, TILE_PX)
    noise = torch.randint(-128, 128, shape, generator=draw, dtype=torch.int16).sum(0).double()
    coefficients = grain_filter(size)
    kernel = torch.tensor(coefficients, dtype=torch.float64)
    reach = len(coefficients) // 2
    noise = functional.conv2d(functional.pad(noise, (reach, reach, 0, 0), mode="circular"), kernel.view(1, 1, 1, -1))
    noise = functional.conv2d(functional.pad(noise, (0, 0, reach, reach), mode="circular"), kernel.view(1, 1, -1, 1))
    noise = noise * TILE_PX**2 - noise.sum()  # whole numbers so far, and thus exact
    deviation = sum(c * c for c in coefficients) * math.sqrt(_SUMMANDS * (256**2 - 1) / 12) * TILE_PX**2
    return (noise / deviation).float()[0, 0].to(device)


@lru_cache(maxsize=4)
def _rgb_tiles(
    size: float, from_cb: tuple[float, float, float], from_cr: tuple[float, float, float], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Noise of G', B' and R', each (TILE_PX, TILE_PX): that of luma, and a little chroma that leaves luma alone."""
    luma = _tile(size, device)
    cb, cr = (luma.roll((TILE_PX // 3, TILE_PX // part), (0, 1)) * CHROMA_SHARE for part in (2, 5))
    green, blue, red = (luma + cb * from_cb[channel] + cr * from_cr[channel] for channel in (1, 2, 0))
    return green, blue, red
