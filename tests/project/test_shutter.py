"""The shutter as people say it: a share of the frame interval, degrees, a time, or auto."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.cli_fixtures import Call, call
from vdeblur.cli.options import merge_options
from vdeblur.errors import UsageError
from vdeblur.options import OPTIONS, RestoreOptions
from vdeblur.shutter import Shutter, seconds_words

__all__ = ["call"]

GOOD: list[tuple[Any, Shutter]] = [
    ("auto", Shutter()),
    (" auto ", Shutter()),
    ("0.5", Shutter(fraction=0.5)),
    (".5", Shutter(fraction=0.5)),
    (0.5, Shutter(fraction=0.5)),
    (np.float32(0.5), Shutter(fraction=0.5)),
    ("1", Shutter(fraction=1.0)),
    (1, Shutter(fraction=1.0)),
    ("180", Shutter(fraction=0.5)),
    ("180°", Shutter(fraction=0.5)),
    ("180 deg", Shutter(fraction=0.5)),
    ("172.8", Shutter(fraction=172.8 / 360)),
    (180, Shutter(fraction=0.5)),
    (np.int64(90), Shutter(fraction=0.25)),
    ("360", Shutter(fraction=1.0)),
    ("1°", Shutter(fraction=1 / 360)),
    ("1/60", Shutter(seconds=Fraction(1, 60))),
    ("1/60s", Shutter(seconds=Fraction(1, 60))),
    ("1 / 60 s", Shutter(seconds=Fraction(1, 60))),
    ("1/59.94", Shutter(seconds=Fraction(100, 5994))),
    ("0.02s", Shutter(seconds=Fraction(1, 50))),
    (Fraction(1, 60), Shutter(seconds=Fraction(1, 60))),
    (Fraction(2), Shutter(seconds=Fraction(2))),
    (Shutter(fraction=0.25), Shutter(fraction=0.25)),
]
BAD: list[Any] = [
    "720", "361°", "1/0", "0/60", "x", "", "-1", "-1/60", "nan", "inf", "0", "0°", "0s", "1/60/2", "180 turns", "Auto",
    720, 0, 0.0, -1, -0.5, float("nan"), float("inf"), True, False, None, Fraction(0), Fraction(-1, 60), [180],
    "9" * 5000,
]  # fmt: skip


@pytest.mark.parametrize(("said", "meant"), GOOD)
def test_what_it_means(said: Any, meant: Shutter) -> None:
    assert Shutter.parse(said) == meant
    assert RestoreOptions(shutter=said).shutter == meant.setting


@pytest.mark.parametrize(("said", "meant"), GOOD)
def test_its_usual_form_is_read_again(said: Any, meant: Shutter) -> None:
    """As a value, and as text: in a config, a query and the terms of a job."""
    assert Shutter.parse(meant.setting) == Shutter.parse(str(meant.setting)) == meant


@pytest.mark.parametrize("said", BAD)
def test_what_it_cannot_be(said: Any) -> None:
    with pytest.raises(ValueError, match="a shutter is"):
        Shutter.parse(said)
    with pytest.raises(UsageError) as caught:
        RestoreOptions(shutter=said)
    assert str(caught.value).startswith("shutter cannot be ")
    assert str(caught.value).endswith(f"; it is {OPTIONS['shutter'].bounds}")


@pytest.mark.parametrize("said", ["720", "1/0", "x", "-1", "nan", "0"])
def test_the_command_line_refuses_it_in_one_line(said: str, call: Call) -> None:
    result = call("x.mp4", "-o", "y.mp4", f"--shutter={said}")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        f"vdeblur: error: --shutter cannot be '{said}'; it is auto, degrees up to 360 (180), a time (1/60), "
        "or a share of the frame interval up to 1 (0.5)\n"
    )


@pytest.mark.parametrize(
    ("written", "meant"), [("180", 0.5), ("0.5", 0.5), ("1/60", "1/60"), ("180°", 0.5), ("auto", "auto")]
)
def test_a_config_says_it_as_the_command_line_does(written: str, meant: Any, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(f"shutter: {written}\n", encoding="utf-8")
    assert merge_options(config, {}).shutter == meant
    assert merge_options(config, {"shutter": "0.75"}).shutter == 0.75
    assert merge_options(None, {"shutter": written}).shutter == meant


def test_words_for_people() -> None:
    assert [str(Shutter.parse(said)) for said in ("auto", "172.8", "1/60", "1/59.94", "5/2")] == [
        "auto", "0.48 of the frame interval", "1/60 s", "1/59.94 s", "2.5 s",
    ]  # fmt: skip
    assert seconds_words(1001 / 30000) == "1/29.97 s"
