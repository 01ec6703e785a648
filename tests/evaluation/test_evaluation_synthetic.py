"""The synthetic test set: seeds define it, its strata keep their promise, and the shipped one states every knob."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from kornia.io import write_image

from support.pairs import case, moving
from vdeblur.config import find_config, load_config
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.pixels import rgb_of
from vdeblur.errors import UsageError
from vdeblur.evaluation.cases import TrueMotion
from vdeblur.evaluation.motion import endpoint_error, motion_errors
from vdeblur.evaluation.synthetic import SyntheticSet, SyntheticSetConfig, synthesis_of, unpinned
from vdeblur.model.deblur_net import DeblurNet, NetworkConfig

SMALL = """
seed: 5
synthesis: {size_px: 32, frames: 2, static_share: 0.0, sharp_share: 0.0, layer_share: 0.0, compressed_share: 0.0}
mild: {clips: 2, motion_px: [1.0, 4.0], synthesis: {speed_px: [2.0, 6.0], exposure: [0.5, 1.0]}}
strong: {clips: 1, motion_px: [5.0, 20.0], synthesis: {speed_px: [8.0, 24.0], exposure: [0.8, 1.0]}}
sharp: {clips: 1, motion_px: [0.0, 0.5], synthesis: {speed_px: [1.0, 4.0], exposure: [0.01, 0.05]}}
"""


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stills")
    for seed in range(2):
        picture = torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(seed))
        large = picture.repeat_interleave(5, 1).repeat_interleave(5, 2)
        write_image(folder / f"{seed}.png", (large * 255).to(torch.uint8).contiguous())
    return folder


def config(folder: Path, text: str = SMALL) -> Path:
    path = folder / "small.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_seeds_define_every_clip(tmp_path: Path, stills: Path) -> None:
    made = [list(SyntheticSet(config(tmp_path), stills).cases()) for _ in range(2)]
    names = [case.name for case in made[0]]
    assert names == ["mild00", "mild01", "strong00", "sharp00"]
    for one, other in zip(*made, strict=True):
        for side in ("blurry", "sharp"):
            with getattr(one, side)() as frames, getattr(other, side)() as again:
                assert all(torch.equal(rgb_of(a), rgb_of(b)) for a, b in zip(frames, again, strict=True))
    with made[0][0].blurry() as frames, made[0][1].blurry() as others:
        assert not torch.equal(rgb_of(next(iter(frames))), rgb_of(next(iter(others))))


def test_strata_keep_their_promise(tmp_path: Path, stills: Path) -> None:
    ranges = {"mild": (1, 4), "strong": (5, 20), "sharp": (0, 0.5)}
    for made in SyntheticSet(config(tmp_path), stills).cases():
        assert made.truth is not None
        low, high = ranges[made.stratum]
        assert low <= float(made.truth.motion.norm(dim=1).mean()) <= high


def test_a_range_that_nothing_meets_is_named(tmp_path: Path, stills: Path) -> None:
    wrong = config(tmp_path, SMALL.replace("[5.0, 20.0]", "[500.0, 600.0]"))
    with pytest.raises(UsageError, match=r"small: strong: only 0 of 12 clips .* 500 to 600 px"):
        list(SyntheticSet(wrong, stills).cases())


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ("motion_px: [5.0", "motion: [5.0", r"unknown key 'motion'; did you mean 'motion_px'"),
        ("size_px", "size", r"mild: synthesis: unknown key 'size'; did you mean 'size_px'"),
        ("clips: 2", "clips: 0", r"clips must be at least 1"),
        ("seed: 5", "sed: 5", r"did you mean 'seed'"),
    ],
)
def test_a_wrong_config_is_named_before_a_clip_is_made(
    tmp_path: Path, stills: Path, right: str, wrong: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        SyntheticSet(config(tmp_path, SMALL.replace(right, wrong)), stills)


def test_the_digest_is_that_of_the_pictures(tmp_path: Path, stills: Path) -> None:
    digest = SyntheticSet(config(tmp_path), stills).stills_digest
    write_image(tmp_path / "other.png", torch.full((3, 120, 120), 7, dtype=torch.uint8))
    assert SyntheticSet(config(tmp_path), tmp_path).stills_digest != digest


def test_the_shipped_set_states_every_knob() -> None:
    path = find_config("test_synthetic")
    shipped = load_config(SyntheticSetConfig, path)
    assert unpinned(shipped) == {"mild": [], "strong": [], "sharp": []}
    assert sum(stratum.clips for stratum in shipped.strata.values()) >= 24
    for name, stratum in shipped.strata.items():
        synthesis = synthesis_of(shipped, stratum, where=name)
        assert synthesis.size_px >= 256
        assert synthesis.frames >= 12


def test_a_knob_left_to_its_default_is_found(tmp_path: Path) -> None:
    assert "gamma" in unpinned(load_config(SyntheticSetConfig, config(tmp_path)))["mild"]


def test_endpoint_error_of_a_known_field() -> None:
    truth = torch.zeros(1, 2, 16, 16)
    truth[:, 0] = 3
    estimate = torch.zeros(1, 2, 2, 2)
    estimate[:, 1] = 4
    assert endpoint_error(estimate, truth) == (5, 3)
    assert endpoint_error(-truth[..., :2, :2], truth)[0] == 6
    assert endpoint_error(-truth[..., :2, :2], truth, signless=True)[0] == 0
    truth[..., :8] = torch.nan
    assert endpoint_error(estimate, truth) == (5, 3)


def test_motion_is_scored_only_where_it_is_known() -> None:
    net = DeblurNet(
        NetworkConfig(
            name="tiny", channels=(8, 8, 8), blocks=(1, 1, 1), decoder_blocks=(1, 1),
            flow_finest=4, tap_guides=2, taps=5, reach=1.0, tap_scale=2, tap_hidden=8, tap_depth=1, tap_features=4,
        )
    )  # fmt: skip
    deblurrer = Deblurrer(net, device="cpu", precision="float32")
    pictures = moving(3, size=32)
    still = TrueMotion(torch.zeros(3, 2, 32, 32), torch.zeros(3, 2, 32, 32))
    assert motion_errors(deblurrer, case(pictures, pictures)) is None
    errors = motion_errors(deblurrer, case(pictures, pictures, truth=still))
    assert errors is not None
    assert errors.velocity_if_none_px == errors.motion_if_none_px == 0
    assert errors.velocity_px >= 0
