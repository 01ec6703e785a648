"""Regions to keep come out sample for sample, chroma included, and nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from support.doubles import FORMATS, YUV420, Constant, clip, planes_equal
from support.engines import on_cpu
from vdeblur import deblur_frames
from vdeblur.engine.keep import KeptRegions
from vdeblur.errors import UsageError
from vdeblur.frames import Frame, PixelFormat
from vdeblur.options import RestoreOptions
from vdeblur.regions import keep_setting

SIZE = (36, 52)


def restored(frames: list[Frame], **options: Any) -> list[Frame]:
    return list(on_cpu(Constant(0.25), **options).run(frames))


def kept(frame: Frame, after: Frame, plane: int) -> Any:
    return np.asarray(frame.planes[plane]) == np.asarray(after.planes[plane])


def mask_file(path: Path, mask: Any) -> str:
    Image.fromarray((mask * 255).astype(np.uint8)).save(path)
    return str(path)


@pytest.mark.parametrize("layout", FORMATS, ids=lambda each: each.name)
def test_each_format_keeps_its_samples(layout: PixelFormat) -> None:
    """(5, 3) to (16, 12), of which no side lies between samples of chroma: those that it touches are kept."""
    frames = list(clip(2, *SIZE, pixel_format=layout))
    for frame, after, all_changed in zip(frames, restored(frames, keep="5,3,11,9"), restored(frames), strict=True):
        for plane in range(layout.colour_planes):
            rows, columns = SIZE[0] / frame.planes[plane].shape[0], SIZE[1] / frame.planes[plane].shape[1]
            step_y, step_x = round(rows), round(columns)
            inside = np.zeros(frame.planes[plane].shape, bool)
            inside[3 // step_y : -(-12 // step_y), 5 // step_x : -(-16 // step_x)] = True
            found, changed = np.asarray(after.planes[plane]), np.asarray(all_changed.planes[plane])
            assert np.array_equal(found[inside], np.asarray(frame.planes[plane])[inside])
            assert np.array_equal(found[~inside], changed[~inside])


def test_several_regions_and_a_mask(tmp_path: Path) -> None:
    mask = np.zeros(SIZE, bool)
    mask[30:34, 40:50] = True
    frames = list(clip(2, *SIZE))
    after = restored(frames, keep=[(0, 0, 4, 2), "50,34,2,2", mask_file(tmp_path / "mask.png", mask)])
    mask[:2, :4] = mask[34:, 50:] = True
    assert np.array_equal(kept(frames[1], after[1], 0), mask)


@pytest.mark.parametrize("options", [{"strength": 1.5}, {"reduce": 2}, {"lookahead": 0}, {"overlays": "off"}])
def test_whatever_else_is_asked_for(options: dict[str, Any]) -> None:
    frames = list(clip(2, *SIZE))
    assert kept(frames[0], restored(frames, keep="8,8,10,10", **options)[0], 0)[8:18, 8:18].all()


def test_arrays_and_tensors() -> None:
    pictures = [np.full((36, 52, 3), 90 + number, np.uint8) for number in range(3)]
    for made in (pictures, [torch.from_numpy(each).permute(2, 0, 1) for each in pictures]):
        for before, after in zip(
            made, deblur_frames(made, model=Constant(0.25), device="cpu", keep="4,4,8,6"), strict=True
        ):
            before, after = (
                each if isinstance(each, np.ndarray) else each.permute(1, 2, 0).numpy() for each in (before, after)
            )
            assert np.array_equal((before == after).all(2).nonzero()[0], np.arange(4, 10).repeat(8))


def test_the_attribute_may_be_set_between_frames() -> None:
    frames = list(clip(3, *SIZE))
    deblurrer = on_cpu(Constant(0.25), lookahead=0)
    found = []
    for frame, keep in zip(frames, ("none", "0,0,52,36", "none"), strict=True):
        deblurrer.keep = keep
        found.append(planes_equal(deblurrer.step(frame), frame))
    assert found == [False, True, False]
    assert deblurrer.keep == "none"


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("at", [4, 5])
def test_it_takes_effect_on_a_copy_too(at: int, lookahead: int) -> None:
    """Frames come twice; what is set behind the first of two, or behind both, holds for each that comes out then."""
    frames = [frame for frame in clip(4, *SIZE) for _ in range(2)]
    deblurrer = on_cpu(Constant(0.25), lookahead=lookahead)
    before = [deblurrer.step(frame) for frame in frames[:at]]
    deblurrer.keep = "8,8,10,10"
    after = [frame for frame in [*(deblurrer.step(frame) for frame in frames[at:]), deblurrer.flush()] if frame]
    assert not kept(frames[at - 1 - lookahead], before[-1], 0)[8:18, 8:18].any()
    assert len(after) == len(frames) - at + lookahead
    for given, found in zip(frames[at - lookahead :], after, strict=True):
        assert kept(given, found, 0)[8:18, 8:18].all()
        assert not kept(given, found, 0)[:8].any()


@pytest.mark.parametrize(
    ("degrees", "mirrored", "shown"),
    # the coded rectangle is (2, 4) to (12, 10) of 52 × 36
    [(0, False, "2,4,10,6"), (90, False, "4,40,6,10"), (180, False, "40,26,10,6"), (270, False, "26,2,6,10"),
     (-90, False, "26,2,6,10"), (0, True, "40,4,10,6"), (90, True, "26,40,6,10")],
)  # fmt: skip
def test_coordinates_of_a_picture_that_players_turn(degrees: int, mirrored: bool, shown: str) -> None:
    regions = KeptRegions(shown)
    regions.turn(degrees=degrees, mirrored=mirrored)
    source, changed = (torch.full(SIZE, value, dtype=torch.uint8) for value in (1, 2))
    (plane,) = regions.restored([source], [changed], PixelFormat("gray", "gray", 8))
    expected = torch.full(SIZE, 2, dtype=torch.uint8)
    expected[4:10, 2:12] = 1
    assert torch.equal(plane, expected)


@pytest.mark.parametrize(
    ("given", "usual"),
    [("none", "none"), ("1, 2,3,4", ((1, 2, 3, 4),)), ((1, 2, 3, 4), ((1, 2, 3, 4),)), ([], "none"),
     (["1,2,3,4", "a.PNG"], ((1, 2, 3, 4), "a.PNG")), ([[1, 2, 3, 4], (5, 6, 7, 8)], ((1, 2, 3, 4), (5, 6, 7, 8)))],
)  # fmt: skip
def test_settings_have_a_usual_form(given: Any, usual: Any) -> None:
    assert RestoreOptions(keep=given).keep == usual == keep_setting(usual)


@pytest.mark.parametrize(
    "wrong",
    ["1,2,3", "1,2,3,0", "1,2,0,4", "-1,2,3,4", "1,2,3,4,5", "1.5,2,3,4", "", "mask", "1,2,3,99999999", 7, (1, 2, 3),
     (1, 2, 3, True), [(1, 2, 3, 4), "x"], [None]],
)  # fmt: skip
def test_garbage_is_refused_in_one_line(wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"^keep cannot be .+; it is none, rectangles of whole pixels .+mask\.png$"):
        RestoreOptions(keep=wrong)


@pytest.mark.parametrize("outside", ["50,0,3,1", "0,30,1,7", "52,0,1,1", "9999999,0,1,1"])
def test_a_rectangle_out_of_the_picture(outside: str) -> None:
    with pytest.raises(UsageError, match=rf"keep cannot be {outside}; the picture has 52×36 pixels"):
        restored(list(clip(1, *SIZE)), keep=outside)


def test_masks_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"keep cannot be .*none\.png; there is no such file"):
        on_cpu(Constant(0.25), keep=str(tmp_path / "none.png"))
    (tmp_path / "text.png").write_text("this is no picture")
    with pytest.raises(UsageError, match=r"keep cannot be .*text\.png: "):
        on_cpu(Constant(0.25), keep=str(tmp_path / "text.png"))
    small = mask_file(tmp_path / "small.png", np.ones((20, 30)))
    with pytest.raises(UsageError, match=r"small\.png, of 30×20 pixels; the picture has 52×36"):
        restored(list(clip(1, *SIZE)), keep=small)


def test_nothing_kept_touches_nothing() -> None:
    frames = list(clip(2, *SIZE, pixel_format=YUV420))
    plain = restored(frames)
    assert all(planes_equal(a, b) for a, b in zip(plain, restored(frames, keep="none"), strict=True))
