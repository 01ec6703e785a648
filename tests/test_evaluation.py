"""Evaluation: what is scored is what was restored, frame by frame, and false pairs are named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from doubles import Identity
from PIL import Image

from vdeblur.cli.evaluate import evaluate
from vdeblur.engine import Deblurrer
from vdeblur.errors import UsageError
from vdeblur.evaluation import find_pairs, score_pair
from vdeblur.model.checkpoint import save_network
from vdeblur.model.network import DeblurNet, NetworkConfig


def pictures(folder: Path, count: int, *, add: int = 0, size: tuple[int, int] = (40, 48)) -> str:
    """A sequence of random grey pictures; ``add`` is a constant error. Returns its pattern."""
    folder.mkdir()
    random = np.random.default_rng(4)
    for index in range(count):
        picture = random.integers(20, 200, (*size, 3)) + add
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"{index:03d}.png")
    return str(folder / "%03d.png")


def test_scores_of_a_known_error(tmp_path: Path) -> None:
    blurry, sharp = pictures(tmp_path / "b", 4, add=10), pictures(tmp_path / "s", 4)
    scores = score_pair(Deblurrer(Identity(), device="cpu"), blurry, sharp)
    assert scores.frames == 4
    assert scores.psnr_blurry == pytest.approx(10 * np.log10(255**2 / 100), abs=1e-6)
    assert scores.gain_db == 0
    assert scores.psnr_change == 100
    assert scores.ssim_restored == pytest.approx(scores.ssim_blurry)


def test_false_pairs_are_named(tmp_path: Path) -> None:
    deblurrer = Deblurrer(Identity(), device="cpu")
    three, four = pictures(tmp_path / "3", 3), pictures(tmp_path / "4", 4)
    other = pictures(tmp_path / "o", 3, size=(32, 32))
    with pytest.raises(UsageError, match="has fewer frames"):
        score_pair(deblurrer, four, three)
    with pytest.raises(UsageError, match="has more frames"):
        score_pair(deblurrer, three, four)
    with pytest.raises(UsageError, match="32×32"):
        score_pair(deblurrer, three, other)


def test_pairs_are_found_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no pairs"):
        find_pairs(tmp_path)
    with pytest.raises(UsageError, match="is no folder"):
        find_pairs(tmp_path / "nothing")
    (tmp_path / "a.blur.mkv").touch()
    with pytest.raises(UsageError, match=r"add a\.sharp\.mkv"):
        find_pairs(tmp_path)
    (tmp_path / "a.sharp.png").touch()
    assert find_pairs(tmp_path) == [("a", tmp_path / "a.blur.mkv", tmp_path / "a.sharp.png")]


def test_the_command_prints_a_row_a_pair(tmp_path: Path) -> None:
    for kind, error in (("blur", 10), ("sharp", 0)):
        pictures(tmp_path / kind, 1, add=error)
        (tmp_path / kind / "000.png").rename(tmp_path / f"wall.{kind}.png")
    net = DeblurNet(
        NetworkConfig(
            name="tiny", channels=(8, 8, 8), blocks=(1, 1, 1), decoder_blocks=(1, 1),
            flow_finest=4, tap_guides=2, taps=5, reach=1.0, tap_scale=2, tap_hidden=8, tap_depth=1, tap_features=4,
        )
    )  # fmt: skip
    save_network(net, tmp_path / "mine.safetensors", {})
    arguments = [str(tmp_path / "mine.safetensors"), str(tmp_path), "--precision", "float32"]
    table = CliRunner().invoke(evaluate, arguments, catch_exceptions=False).output
    assert table.splitlines()[1].split()[:5] == ["wall", "1", "28.131", "28.131", "+0.000"]
    report = json.loads(CliRunner().invoke(evaluate, [*arguments, "--json"], catch_exceptions=False).output)
    assert report["clips"]["wall"]["psnr_blurry"] == pytest.approx(28.1308, abs=1e-3)
