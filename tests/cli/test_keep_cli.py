"""`--keep` and `--overlays` on the command line, in configs and in pipes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.cli_fixtures import Call, call, tiny_model
from vdeblur.cli.options import merge_options

__all__ = ["call", "tiny_model"]


def picture(path: Path) -> Path:
    noise = np.random.default_rng(1).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise.repeat(2, 0).repeat(2, 1)).save(path)
    return path


def test_it_may_be_given_several_times(call: Call, tmp_path: Path, tiny_model: Path) -> None:
    source, target = picture(tmp_path / "in.png"), tmp_path / "out.png"
    done = call(
        source, "-o", target, "--model", tiny_model, "--strength", "1.5", "--keep", "0,0,10,80", "--keep", "60,40,60,40"
    )
    assert done.code == 0, done.err
    before, after = (np.asarray(Image.open(path)) for path in (source, target))
    assert np.array_equal(before[:, :10], after[:, :10])
    assert np.array_equal(before[40:, 60:], after[40:, 60:])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("100,70,30,20", "--keep cannot be 100,70,30,20; the picture has 120×80 pixels"),
        ("1,2,3,0", "--keep cannot be '1,2,3,0'; it is none, rectangles of whole pixels X,Y,WIDTH,HEIGHT, or a mask "
         "picture like mask.png"),
        ("missing.png", "--keep cannot be missing.png; there is no such file"),
        ("small.png", "--keep cannot be small.png, of 20×10 pixels; the picture has 120×80"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(
    given: str, words: str, call: Call, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("L", (20, 10), 255).save("small.png")
    done = call(picture(tmp_path / "in.png"), "-o", "out.png", "--model", tiny_model, "--keep", given)
    assert (done.code, done.err.splitlines()[-1]) == (2, f"vdeblur: error: {words}")
    assert not Path("out.png").exists()


def test_a_config_has_a_list(tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text('keep: ["1,2,3,4", [5, 6, 7, 8], logo.png]\noverlays: off\n')
    options = merge_options(config, {})
    assert options.keep == ((1, 2, 3, 4), (5, 6, 7, 8), "logo.png")
    assert options.overlays == "off"
    assert merge_options(config, {"keep": "none"}).keep == "none"
