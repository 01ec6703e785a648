"""The contact sheet: spots are found where blur is, and every crop stands in its column."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from kornia.io import ImageLoadType, load_image

from support.pairs import case, moving
from vdeblur.errors import TargetError, UsageError
from vdeblur.evaluation.lettering import GLYPHS, lettered
from vdeblur.evaluation.sheet import CROP_PX, ENLARGED, GAP_PX, PAPER, Sheet, SpotSearch, checked_target

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
    sheet = Sheet(checked_target(tmp_path / "look.png", []), ["fast"])
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
    sheet = Sheet(Path("look.png"), [])
    sheet.begin(small, search.spots())
    for name in ("blurred", "truth"):
        sheet.add(small, name, 0, picture)
    assert sheet.draw().shape[2] == 2 * (CROP_PX * ENLARGED + GAP_PX) + GAP_PX


def test_letters_are_drawn_and_cut_off() -> None:
    rows = ["".join("#" if pixel else "." for pixel in row) for row in lettered("L", 7, scale=1)]
    assert rows == [".......", *[".#....."] * 6, ".#####.", "......."]
    assert torch.equal(lettered("l", 20, scale=1), lettered("L", 20, scale=1))
    assert torch.equal(lettered("é", 20, scale=1), lettered("?", 20, scale=1))
    assert lettered("far too long", 21).shape == (18, 21)
    assert all(len(bytes.fromhex(glyph)) == 7 and max(bytes.fromhex(glyph)) < 32 for glyph in GLYPHS.values())


def test_a_sheet_that_cannot_be_is_refused_before_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"end it in \.png or \.jpg"):
        checked_target(tmp_path / "look.gif", [])
    with pytest.raises(UsageError, match="there is no folder"):
        checked_target(tmp_path / "none" / "look.png", [])
    sheet = Sheet(tmp_path / "gone" / "look.png", [])
    sheet.begin(PAIR, [])
    with pytest.raises(TargetError, match="cannot write the contact sheet"):
        sheet.write()
