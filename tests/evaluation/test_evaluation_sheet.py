"""The contact sheet: spots are found where blur is, and every crop stands in its column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from kornia.io import ImageLoadType, load_image
from PIL import Image

from support.pairs import case, moving
from vdeblur.errors import TargetError, UsageError
from vdeblur.evaluation.contact_sheet import (
    CROP_PX,
    ENLARGED,
    GAP_PX,
    LABEL_PX,
    PAPER,
    ContactSheet,
    SpotSearch,
    checked_target,
    label,
)

PAIR = case(moving(2, size=300), moving(2, size=300))


def test_the_worst_spot_is_where_blur_costs_most() -> None:
    truth = torch.full((1, 3, 300, 300), 0.5)
    blurry = truth.clone()
    blurry[..., 200:260, 150:220] += 0.3
    search, again = SpotSearch(PAIR), SpotSearch(PAIR)
    for number, picture in enumerate((truth, blurry, truth)):
        search.look(number, picture, truth)
        again.look(number, picture, truth)
    worst, chance = search.spots()
    assert worst.frame == 1
    assert worst.top <= 200
    assert worst.top + CROP_PX >= 260
    assert worst.left <= 150
    assert worst.left + CROP_PX >= 220
    assert again.spots()[1] == chance
    assert 0 <= chance.top <= 300 - CROP_PX


def test_crops_stand_in_their_columns(tmp_path: Path) -> None:
    sheet = ContactSheet(checked_target(tmp_path / "look.png", []), ["fast"])
    search = SpotSearch(PAIR)
    shades = {"blurred": 0.2, "fast": 0.4, "truth": 0.8}
    pictures = {name: torch.full((1, 3, 300, 300), shade) for name, shade in shades.items()}
    search.look(0, pictures["blurred"], pictures["truth"])
    sheet.begin(PAIR, search.spots()[:1])
    for name, picture in pictures.items():
        sheet.add(PAIR, name, 0, picture)
        sheet.add(PAIR, name, 1, torch.zeros_like(picture))
    sheet.write()
    drawn = load_image(tmp_path / "look.png", ImageLoadType.RGB8)
    side = CROP_PX * ENLARGED
    assert drawn.shape[2] == 3 * (side + GAP_PX) + GAP_PX
    for column, shade in enumerate(shades.values()):
        middle = drawn[:, -side // 2, GAP_PX + column * (side + GAP_PX) + side // 2]
        assert middle.tolist() == [round(shade * 255)] * 3
    assert (drawn[:, -side // 2, 1] == PAPER).all()
    assert (drawn[:, :18] > 200).any()


def test_a_small_picture_makes_a_small_crop() -> None:
    small = case(moving(1, size=40), moving(1, size=40))
    search = SpotSearch(small)
    picture = torch.rand(1, 3, 40, 40)
    search.look(0, picture, picture * 0.5)
    sheet = ContactSheet(Path("look.png"), [])
    sheet.begin(small, search.spots())
    for name in ("blurred", "truth"):
        sheet.add(small, name, 0, picture)
    assert sheet.draw().shape[2] == 2 * (CROP_PX * ENLARGED + GAP_PX) + GAP_PX


def test_labels_are_drawn_and_cut_off() -> None:
    strip = label("fast 31.20", 150)
    assert strip.shape == (3, LABEL_PX, 150)
    assert strip.min() == PAPER
    assert strip.max() > 200
    assert not torch.equal(strip, label("fast 31.21", 150))
    assert torch.equal(label("far too long", 40), label("far too long", 150)[..., :40])


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_sheet_is_written_as_its_ending_says(ending: str, tmp_path: Path) -> None:
    sheet = ContactSheet(checked_target(tmp_path / f"look.{ending}", []), [])
    picture = moving(1, size=300)[0][None]
    search = SpotSearch(PAIR)
    search.look(0, picture, picture * 0.5)
    sheet.begin(PAIR, search.spots())
    for name in ("blurred", "truth"):
        sheet.add(PAIR, name, 0, picture)
    sheet.write()
    with Image.open(sheet.path) as image:
        assert image.format == {"png": "PNG", "jpg": "JPEG"}[ending]
        error = np.abs(np.asarray(image).astype(int) - sheet.draw().permute(1, 2, 0).numpy())
    assert error.max() == 0 if ending == "png" else 0 < error.mean() < 8


def test_a_sheet_that_cannot_be_is_refused_before_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"end it in \.png or \.jpg"):
        checked_target(tmp_path / "look.gif", [])
    with pytest.raises(UsageError, match="there is no folder"):
        checked_target(tmp_path / "none" / "look.png", [])
    sheet = ContactSheet(tmp_path / "gone" / "look.png", [])
    sheet.begin(PAIR, [])
    with pytest.raises(TargetError, match="cannot write the contact sheet"):
        sheet.write()
