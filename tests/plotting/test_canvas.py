"""The canvas: letters and lines are where they should be, smooth, on any paper."""

from __future__ import annotations

import numpy as np
import pytest

from vdeblur.plotting.canvas import Canvas
from vdeblur.plotting.hershey_font import text_lines, text_width


def test_letters_are_where_they_should_be() -> None:
    canvas = Canvas(200, 40)
    canvas.text(10, 30, "Hg 123", 12, "#000000")
    dark = np.argwhere(canvas.pixels[..., 0] < 128) / 2
    assert (dark[:, 0].min(), dark[:, 1].min()) == pytest.approx((18, 12), abs=1.5)
    assert dark[:, 1].max() == pytest.approx(10 + text_width("Hg 123", 12), abs=4)
    assert 33 < dark[:, 0].max() < 36, "the g reaches below the line"
    assert text_lines("é", 0, 0, 10) == text_lines("?", 0, 0, 10)


def test_upright_text_is_read_from_below() -> None:
    flat, upright = Canvas(60, 60), Canvas(60, 60)
    flat.text(10, 50, "Rag", 12, "#000000")
    upright.text(50, 50, "Rag", 12, "#000000", upright=True)
    assert np.abs(np.rot90(flat.pixels).astype(int) - upright.pixels).mean() < 1


def test_ink_on_coloured_paper_ends_at_the_edge() -> None:
    canvas = Canvas(30, 10, scale=1, paper="#102030")
    canvas.line([(-20, 5), (80, 5)], "#ff8000", 3)
    assert canvas.pixels.shape == (10, 30, 3)
    assert canvas.pixels[0].tolist() == [[16, 32, 48]] * 30
    assert canvas.pixels[5].tolist() == [[255, 128, 0]] * 30
