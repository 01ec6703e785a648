"""Pixel format negotiation: the format of an encoder that holds the frames exactly, or with the least loss."""

from __future__ import annotations

from collections.abc import Sequence

from vdeblur.errors import SourceError
from vdeblur.frames import PixelFormat
from vdeblur.video.encode.containers import Container
from vdeblur.video.encode.encoders import Encoder
from vdeblur.video.ffmpeg.executable import encoder_details
from vdeblur.video.formats.pixel_formats import canonical_format

_PALETTE_FORMAT = "pal8"
#: Few colours or a bit a pixel; only a palette made for the frame is worth using.
_COARSE = frozenset({_PALETTE_FORMAT, "rgb8", "bgr8", "rgb4_byte", "bgr4_byte", "monob", "monow"})


def choose_pixel_format(encoder: Encoder, container: Container, frames: PixelFormat, *, exact: bool) -> str | None:
    """Choose the format that holds every sample or, with ``exact=False``, loses least; ``None`` if there is none.

    Alpha is never given up here; that takes a word from the user.
    """
    details = encoder_details(encoder.name)
    if details is None:
        return None
    if encoder.passes_frames:
        return frames.name if container.holds(frames) else None
    if encoder.palette_filter is not None:
        return None if exact else _PALETTE_FORMAT
    offered = details.pixel_formats
    if encoder.avoids_yuv:
        offered = tuple(name for name in offered if not name.startswith("yuv"))
    if not offered or frames.name in offered:
        return frames.name
    return _same_samples(frames, offered) if exact else _nearest(frames, offered)


def _same_samples(frames: PixelFormat, offered: Sequence[str]) -> str | None:
    """A different memory layout of the same samples: BGRA for planar RGB with alpha, P010 for ten-bit 4:2:0."""
    return next((name for name in offered if _parsed(name) == frames and name not in _COARSE), None)


def _nearest(frames: PixelFormat, offered: Sequence[str]) -> str | None:
    known = {name: fmt for name in offered if name not in _COARSE and (fmt := _parsed(name)) is not None}
    usable = {name: fmt for name, fmt in known.items() if fmt.alpha or not frames.alpha}
    return min(usable, key=lambda name: _loss(frames, usable[name]), default=None)


def _parsed(name: str) -> PixelFormat | None:
    try:
        return canonical_format(name)
    except SourceError:
        return None


def _loss(frames: PixelFormat, other: PixelFormat) -> tuple[int, ...]:
    """Sort key: information lost, worst first, then bandwidth wasted."""
    coloured = frames.family != "gray"
    finer = sum(max(0, b - a) for a, b in zip(frames.chroma_shift, other.chroma_shift, strict=True))
    coarser = sum(max(0, a - b) for a, b in zip(frames.chroma_shift, other.chroma_shift, strict=True))
    return (
        int(coloured and other.family == "gray"),
        max(0, frames.bits - other.bits),
        int(coloured and frames.family != other.family),
        finer if coloured else 0,
        int(other.family != frames.family) + int(other.alpha and not frames.alpha),
        max(0, other.bits - frames.bits),
        coarser,
    )
