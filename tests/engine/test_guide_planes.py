"""Planes as the picture of a guide, and back: of every family, subsampling, depth and range."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from support.doubles import BT709, FORMATS, YUV420, clip
from support.guides import noisy_clip
from vdeblur.engine.guide.planes import Picture, Seen, changed, changes_of, picture_of, reduced
from vdeblur.engine.pixels import luma_from_planes, rgb_from_planes
from vdeblur.frames import Colour, Frame, PixelFormat

COLOURS = [BT709, Colour(), Colour("bt2020nc", "pc"), Colour("ycgco", "pc")]


def seen_of(frame: Frame, reduce: int = 1) -> Seen:
    planes = tuple(torch.from_numpy(plane) for plane in frame.planes[: frame.format.colour_planes])
    return Seen(planes, frame.format, frame.colour, frame.size, reduce)


def within_the_range(frame: Frame) -> Frame:
    """The frame with lower contrast."""
    middle = frame.format.peak / 2
    return frame.with_planes([(plane * 0.5 + middle * 0.5).astype(plane.dtype) for plane in frame.planes])


@pytest.mark.parametrize("colour", COLOURS, ids=lambda colour: f"{colour.matrix}-{colour.range}")
@pytest.mark.parametrize("pixel_format", FORMATS, ids=lambda layout: layout.name)
def test_the_change_to_another_picture_gives_its_planes(pixel_format: PixelFormat, colour: Colour) -> None:
    """Odd sizes, too: what is padded is not seen, and a sample of chroma is the mean of the pixels it stands for."""
    frames = clip(2, 37, 51, pixel_format=pixel_format, colour=colour)
    sources = [seen_of(within_the_range(frame)) for frame in frames]
    for source, target in pairwise([*sources, sources[0]]):
        here, there = (picture_of(each, 8, 32) for each in (source, target))
        assert here.luma.shape == (1, 1, 40, 56)
        assert here.chroma.shape[2:] in {(40, 56), (20, 28)}
        change = Picture(there.luma - here.luma, there.chroma - here.chroma)
        found = changed(source, changes_of(change, source))
        for plane, wanted in zip(found.planes, target.planes, strict=True):
            assert plane.dtype == torch.float32
            assert (plane - wanted.float()).abs().max() < pixel_format.peak * 2e-6 + 1e-6


@pytest.mark.parametrize("pixel_format", FORMATS, ids=lambda layout: layout.name)
def test_no_change_leaves_each_sample(pixel_format: PixelFormat) -> None:
    source = seen_of(noisy_clip(1, 37, 51, deviation=40, pixel_format=pixel_format)[0])
    picture = picture_of(source, 8, 32)
    found = changed(source, changes_of(Picture(*(torch.zeros_like(part) for part in picture)), source))
    assert all(torch.equal(plane, before.float()) for plane, before in zip(found.planes, source.planes, strict=True))


@pytest.mark.parametrize("pixel_format", FORMATS, ids=lambda layout: layout.name)
def test_the_luma_of_the_picture_is_that_of_the_planes(pixel_format: PixelFormat) -> None:
    source = seen_of(next(clip(1, 40, 56, pixel_format=pixel_format)))
    luma = luma_from_planes(*source[:3], height=40)
    assert (picture_of(source, 8, 32).luma - luma).abs().max() < 1e-6


@pytest.mark.parametrize("lines", [90, 1440])
@pytest.mark.parametrize("pixel_format", FORMATS[:7] + FORMATS[11:15], ids=lambda layout: layout.name)
def test_a_smaller_picture_is_what_the_network_would_see(pixel_format: PixelFormat, lines: int) -> None:
    """Also where the colour matrix goes by the number of the source's lines."""
    frame = next(clip(1, lines, 102, pixel_format=pixel_format, colour=replace(BT709, matrix=None)))
    source = seen_of(frame, reduce=3)
    small = reduced(source)
    assert small.reduce == 1
    height, width = small.size
    whole = rgb_from_planes(*source[:3], height=lines, width=102, reduce=3)
    assert (rgb_from_planes(*small[:3], height=height, width=width) - whole).abs().max() < 1e-5


def test_a_whole_picture_stays() -> None:
    source = seen_of(next(clip(1, pixel_format=YUV420)))
    assert reduced(source) is source
