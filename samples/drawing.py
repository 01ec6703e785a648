"""Canvas: drawing in output pixels on a picture four times as large, so that every edge comes out smooth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

#: Drawn pixels for each output pixel.
DRAW_SCALE = 4
#: Texture pixels for each output pixel, after the drawing has been reduced.
TEXTURE_SCALE = 2

FloatArray = NDArray[np.float32]
Colour = tuple[int, int, int] | tuple[int, int, int, int]
Point = tuple[float, float]


@cache
def font(size: float) -> ImageFont.FreeTypeFont:
    """Pillow's built-in scalable font at ``size`` output pixels."""
    found = ImageFont.load_default(size=round(size * DRAW_SCALE))
    assert isinstance(found, ImageFont.FreeTypeFont), "Pillow without FreeType cannot draw the samples"
    return found


class Canvas:
    """A picture of ``width`` × ``height`` output pixels; sizes and positions are output pixels, floats welcome."""

    def __init__(self, width: int, height: int, fill: Colour = (0, 0, 0)) -> None:
        self.width, self.height = width, height
        mode = "RGBA" if len(fill) == 4 else "RGB"
        self.image = Image.new(mode, (width * DRAW_SCALE, height * DRAW_SCALE), fill)

    @property
    def pen(self) -> ImageDraw.ImageDraw:
        return ImageDraw.Draw(self.image)

    def rect(self, x: float, y: float, width: float, height: float, fill: Colour, radius: float = 0) -> None:
        box = _scaled((x, y, x + width, y + height))
        self.pen.rounded_rectangle((box[0], box[1], box[2] - 1, box[3] - 1), round(radius * DRAW_SCALE), fill)

    def disc(self, x: float, y: float, radius: float, fill: Colour) -> None:
        self.pen.ellipse(_scaled((x - radius, y - radius, x + radius, y + radius)), fill)

    def ring(self, x: float, y: float, radius: float, line_px: float, colour: Colour) -> None:
        box = _scaled((x - radius, y - radius, x + radius, y + radius))
        self.pen.ellipse(box, outline=colour, width=max(1, round(line_px * DRAW_SCALE)))

    def line(self, points: Sequence[Point], line_px: float, colour: Colour) -> None:
        flat = [(round(x * DRAW_SCALE), round(y * DRAW_SCALE)) for x, y in points]
        self.pen.line(flat, colour, max(1, round(line_px * DRAW_SCALE)), joint="curve")

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        self.pen.polygon([(round(x * DRAW_SCALE), round(y * DRAW_SCALE)) for x, y in points], fill)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float,
        colour: Colour,
        *,
        bold: float = 0.0,
        anchor: str = "mm",
        fit: float | None = None,
    ) -> None:
        """Words at (x, y); ``anchor`` as Pillow names it, ``bold`` px of extra stroke, ``fit`` px the line may take."""
        if fit is not None:
            size = min(size, size * fit * DRAW_SCALE / max(1.0, font(size).getlength(words)))
        place = (round(x * DRAW_SCALE), round(y * DRAW_SCALE))
        self.pen.text(place, words, colour, font(size), anchor, stroke_width=round(bold * DRAW_SCALE))

    def paste(self, other: Canvas, x: float, y: float, *, degrees: float = 0.0) -> None:
        """Lay another canvas over this one, its corner at (x, y), turned about its middle; its alpha counts."""
        picture = other.image.rotate(degrees, Image.Resampling.BICUBIC, expand=True) if degrees else other.image
        dx, dy = (picture.width - other.image.width) // 2, (picture.height - other.image.height) // 2
        place = (round(x * DRAW_SCALE) - dx, round(y * DRAW_SCALE) - dy)
        self.image.paste(picture, place, picture if picture.mode == "RGBA" else None)

    def surface(self, x: float, y: float, texture: FloatArray) -> None:
        """Put a texture (rows, columns, 3) in 0…255, already at the drawing's scale, with its corner at (x, y)."""
        picture = Image.fromarray(np.clip(texture, 0, 255).astype(np.uint8))
        self.image.paste(picture, (round(x * DRAW_SCALE), round(y * DRAW_SCALE)))

    def shadow(self, points: Sequence[Point], soft_px: float, strength: float) -> None:
        """Darken a polygon with a soft edge; ``strength`` 0…1 is how much light it takes away."""
        pad = int(3 * soft_px) + 1
        left, top = int(min(x for x, _ in points)) - pad, int(min(y for _, y in points)) - pad
        right, bottom = int(max(x for x, _ in points)) + pad, int(max(y for _, y in points)) + pad
        left, top, right, bottom = max(0, left), max(0, top), min(self.width, right), min(self.height, bottom)
        mask = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in points], round(255 * strength))
        mask = mask.filter(ImageFilter.GaussianBlur(soft_px))
        mask = mask.resize((mask.width * DRAW_SCALE, mask.height * DRAW_SCALE), Image.Resampling.BILINEAR)
        dark = Image.new(self.image.mode, mask.size)
        if self.image.mode == "RGBA":
            area = (left * DRAW_SCALE, top * DRAW_SCALE, right * DRAW_SCALE, bottom * DRAW_SCALE)
            dark.putalpha(self.image.crop(area).getchannel("A"))
        self.image.paste(dark, (left * DRAW_SCALE, top * DRAW_SCALE), mask)

    def multiply(self, light: FloatArray) -> None:
        """Multiply the colours by a field of light (height, width) or (height, width, 3) given in output pixels."""
        gain = np.atleast_3d(light)
        bands = [Image.fromarray(np.ascontiguousarray(gain[..., i])) for i in range(gain.shape[2])]
        full = [np.asarray(band.resize(self.image.size, Image.Resampling.BILINEAR)) for band in bands]
        pixels = np.asarray(self.image).astype(np.float32)
        for i in range(3):
            pixels[..., i] *= full[i % len(full)]
        self.image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), self.image.mode)

    def texture(self) -> FloatArray:
        """The picture in linear light, 0…1, at ``TEXTURE_SCALE``: (3 or 4, rows, columns); alpha is premultiplied.

        Each texture pixel has an output pixel's footprint, so that sampling it at the output's spacing does not alias.
        """
        pixels = np.asarray(self.image).astype(np.float32) / 255
        pixels[..., :3] = to_linear(pixels[..., :3])
        if pixels.shape[2] == 4:
            pixels[..., :3] *= pixels[..., 3:]
        step = DRAW_SCALE // TEXTURE_SCALE
        rows, columns = pixels.shape[0] // step, pixels.shape[1] // step
        small = pixels.reshape(rows, step, columns, step, -1).mean(axis=(1, 3))
        footprint = (small + np.roll(small, 1, 0) + np.roll(small, 1, 1) + np.roll(small, (1, 1), (0, 1))) / 4
        return np.ascontiguousarray(footprint.transpose(2, 0, 1), dtype=np.float32)


def to_linear(values: FloatArray) -> FloatArray:
    """sRGB values in 0…1 to linear light (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_display(light: FloatArray) -> FloatArray:
    """Linear light in 0…1 to sRGB values, the inverse of :func:`to_linear`."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055).astype(np.float32)


def _scaled(box: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (round(value * DRAW_SCALE) for value in box)
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)
