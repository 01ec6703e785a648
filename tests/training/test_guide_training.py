"""Training of guides: clips know their truth and their codec, noise is of the kinds asked for, and a guide learns."""

from __future__ import annotations

import itertools
import math
import signal
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from kornia.io import write_image

from support.synthetic import CLEAN, smooth, tiles
from support.training_fixtures import stills, texture, tiny_run
from vdeblur.errors import Interrupted, UsageError
from vdeblur.metrics import psnr
from vdeblur.model.checkpoint import load_network, read_provenance
from vdeblur.model.guide.guide_net import ycc_from_rgb
from vdeblur.training.config import TrainConfig
from vdeblur.training.data.noisy_data import NoisyData
from vdeblur.training.log import read_log
from vdeblur.training.losses import luma_decibels
from vdeblur.training.synthesis.augmentation import stack
from vdeblur.training.synthesis.blur import Clip, make_levels, synthesise
from vdeblur.training.synthesis.config import SynthesisConfig
from vdeblur.training.synthesis.noise_config import NoiseConfig
from vdeblur.training.synthesis.noise_mixture import LUMA_OF_WHITE, validation_mixture
from vdeblur.training.synthesis.stills import Textures
from vdeblur.training.trainer import TrainingProgress, train

__all__ = ["stills"]

GUIDE = "{kind: guide, name: tiny, width: 16, deep: 48, hidden: 4, layers: 1}"
NOISY = replace(CLEAN, truth="blurred", read_noise=(0.02, 0.02))
ONLY = dict.fromkeys(("white_share", "poisson_share", "correlated_share", "clean_share"), 0.0)


def guide_run(where: Path, **changes: Any) -> TrainConfig:
    """A run of the tiny guide."""
    synthesis = {
        "size_px": 32, "frames": 3, "speed_px": [1.0, 3.0], "truth": "blurred", "compressed_share": 0.0,
        "step_px": 4.0, "read_noise": [0.02, 0.03],
    }  # fmt: skip
    given = {"noise": {**ONLY, "white_share": 1.0, "white": [15.0, 30.0]}, "measure": "luma decibels", **changes}
    config = tiny_run(where, synthesis=synthesis, frequency_weight=0.0, motion_weight=0.0, **given)
    (where / "tiny.yaml").write_text(GUIDE)
    return config


@pytest.fixture
def soft_stills(tmp_path: Path) -> Path:
    """A folder with two photographs without black and white, whose noise is seen everywhere."""
    folder = tmp_path / "soft"
    folder.mkdir()
    for seed in range(2):
        write_image(folder / f"{seed}.png", texture(seed) // 2 + 64)
    return folder


def batch(clips: int = 3) -> Clip:
    """Clips of grey, told that their codec had a quantiser of 30."""
    made = []
    for number in range(clips):
        levels = make_levels(Textures([smooth(number)]), NOISY, seed=1, numbers=[0], motion=False)[0]
        clean = levels.pictures[1] / 255 * 0.5 + 0.25
        made.append(Clip(clean + 0.01, clean, None, None))
    whole = stack(made)
    given = synthesise(Textures([smooth(1)]), NOISY, seed=1, numbers=range(clips)).told
    assert given is not None
    return whole._replace(told=given._replace(quantiser=torch.full((clips,), 30.0)))


class Repeated:
    """A stream of one batch."""

    def batches(self, first_step: int) -> Any:
        yield from itertools.repeat(batch())


def drawn(config: NoiseConfig, first: int = 0, steps: int = 1) -> list[Clip]:
    with closing(NoisyData(Repeated(), config, seed=3).batches(first)) as batches:
        return list(itertools.islice(batches, steps))


def test_the_truth_is_the_blurred_clip_before_noise_and_codec() -> None:
    textures = Textures([tiles(1), tiles(2)])
    blurry = replace(NOISY, static_share=0.0, speed_px=(9.0, 9.0), exposure=(1.0, 1.0), sharp_share=0.0)
    guide = make_levels(textures, blurry, seed=1, numbers=[0])[0]
    plain = make_levels(textures, replace(blurry, truth="sharp"), seed=1, numbers=[0])[0]
    silent = make_levels(
        textures, replace(blurry, read_noise=(1e-9, 1e-9), shot_noise=(1e-12, 1e-12)), seed=1, numbers=[0]
    )[0]
    assert torch.equal(guide.pictures[0], plain.pictures[0]), "the input is what it was"
    assert (guide.pictures[1].int() - silent.pictures[0].int()).abs().max() <= 1, "the truth has its blur and no noise"
    assert (guide.pictures[1].int() - plain.pictures[1].int()).abs().max() > 20
    assert plain.quantiser is None
    assert guide.quantiser is not None
    assert math.isnan(guide.quantiser)


@pytest.mark.parametrize(
    ("shares", "quantiser"),
    [({"h264_share": 1.0, "hevc_share": 0.0}, 30.0), ({"h264_share": 0.0, "hevc_share": 0.0}, 34.0)],
)
def test_a_clip_knows_the_quantiser_of_its_codec(shares: dict[str, float], quantiser: float) -> None:
    coded = replace(NOISY, compressed_share=1.0, h264_crf=(30.0, 30.0), quality=(50.0, 50.0), **shares)
    made = synthesise(Textures([tiles(1)]), coded, seed=1, numbers=[0, 1])
    assert made.told is not None
    assert made.told.quantiser.tolist() == [quantiser] * 2
    assert made.told.noise.isnan().all()


def test_each_kind_of_noise_is_what_it_says() -> None:
    for kind, levels in (("white", 12.0), ("correlated", 12.0), ("poisson", 0.0), ("clean", 0.0)):
        config = NoiseConfig(
            **{**ONLY, f"{kind}_share": 1.0}, white=(12.0, 12.0), correlated=(12.0, 12.0), told_share=1.0,
            half_chroma_share=0.0, jpeg_share=0.0, grain_px=(0.8, 0.8),
        )  # fmt: skip
        made = drawn(config)[0]
        noise = (made.blurry - made.sharp) * 255
        assert torch.equal(made.sharp, batch().sharp)
        assert made.told is not None
        assert made.told.quantiser.isnan().all(), "no codec"
        beside = float((noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean().clamp_min(1e-9))
        if kind == "clean":
            assert not noise.any()
        elif kind == "white":
            assert float(noise.std()) == pytest.approx(levels, rel=0.03)
            assert float((ycc_from_rgb(noise)[..., 0, :, :]).std()) == pytest.approx(12 * LUMA_OF_WHITE, rel=0.03)
            assert made.told.noise.tolist() == pytest.approx([12 / 255 * LUMA_OF_WHITE] * 3)
            assert abs(beside) < 0.05
        else:
            assert made.told.noise.isnan().all()
            assert (beside > 0.2) == (kind == "correlated")
            assert float(noise.std()) > 1


def test_a_photograph_has_grain_and_blotches_behind_jpeg() -> None:
    plain = {**ONLY, "correlated_share": 1.0}
    config = NoiseConfig(**plain, correlated=(6.0, 6.0), jpeg_share=0.0, grain_px=(0.8, 0.8), blotch_px=(4.0, 4.0))
    ratios = NoiseConfig(**plain, correlated=(6.0, 6.0), jpeg_share=1.0, jpeg_quality=(60.0, 60.0), withheld_share=0.0)
    made = drawn(config)[0]
    noise = ycc_from_rgb(made.blurry - made.sharp) * 255
    assert 3 < float(noise[:, :, 0].std()) < 7, "some of it is clipped"
    luma, chroma = (float((part[..., 2:] * part[..., :-2]).mean() / part.square().mean()) for part in (
        noise[:, :, 0], noise[:, :, 1]
    ))  # fmt: skip
    assert chroma > luma + 0.2, "blotches are larger than grain"
    coded = drawn(ratios)[0]
    assert coded.told is not None
    assert ((coded.told.quantiser - 29).abs() < 8).all(), "quality 60 stands for 29"
    assert (coded.blurry - coded.sharp).std() * 255 > 1


def test_what_the_codec_says_is_told_withheld_or_a_little_wrong() -> None:
    told = drawn(NoiseConfig(**ONLY, withheld_share=0.0))[0]
    assert told.told is not None
    assert float((told.blurry - told.sharp).mean()) == pytest.approx(0.01, abs=1e-4), "noise and codec are those it had"
    assert ((told.told.quantiser - 30).abs() < 8).all()
    assert len(set(told.told.quantiser.tolist())) == 3
    chroma = ycc_from_rgb(told.blurry)[..., 1:, :, :]
    torch.testing.assert_close(chroma[..., ::2, ::2], chroma[..., 1::2, 1::2], atol=1e-5, rtol=0)
    withheld = drawn(NoiseConfig(**ONLY, withheld_share=1.0))[0]
    assert withheld.told is not None
    assert withheld.told.quantiser.isnan().all()


def test_noise_depends_on_the_step_alone() -> None:
    whole = drawn(NoiseConfig(), 0, 4)
    for one, other in zip(whole[2:], drawn(NoiseConfig(), 2, 2), strict=True):
        assert torch.equal(one.blurry, other.blurry)
    assert not torch.equal(whole[0].blurry, whole[1].blurry)


def test_validation_shows_every_class() -> None:
    clips = [Clip(*(part[number] for part in batch(10)[:2]), None, None) for number in range(10)]
    made = validation_mixture(clips, NoiseConfig())
    assert sum(torch.equal(clip.blurry, clip.sharp) for clip in made) == 2
    noise = [float((clip.blurry - clip.sharp).std()) * 255 for clip in made]
    assert noise[1] < noise[5] < noise[9]
    assert all(clip.told is not None for clip in made)


def test_luma_decibels_mind_luma_most() -> None:
    grey = torch.full((1, 3, 8, 8), 0.1)
    assert float(luma_decibels(grey)) == pytest.approx(math.log10(0.01 + 3e-6) + 0.6 * math.log10(2e-6), abs=1e-3)
    frames = torch.cat((grey, grey / 10))
    mean = (float(luma_decibels(grey)) + float(luma_decibels(grey / 10))) / 2
    assert float(luma_decibels(frames)) == pytest.approx(mean, abs=1e-4)


def test_a_guide_learns(soft_stills: Path, tmp_path: Path) -> None:
    """White noise falls within a few dozen steps, in luma too; validation tells the classes, and clean clips stay."""
    config = guide_run(
        tmp_path, stills=[str(soft_stills)], frames=[[0, 1]], steps=100, batch=4, learning_rate=5e-3, ema_decay=0.9,
        final_learning_rate=5e-3, gradient_clip=1.0, validation_clips=4, validate_every=100, save_every=100,
        precision="float32", log_every=100, reuse=16,
    )  # fmt: skip
    weights = train(config, tmp_path / "run", device="cpu")
    first, last = (row for row in read_log(tmp_path / "run") if "gain_db" in row)
    assert first["gain_raw_db"] == pytest.approx(0, abs=5e-3), "it begins as the picture itself"
    assert last["gain_raw_db"] == last["gain_db"], "no clip is coded"
    assert last["kept_db"] == 100
    assert "kept_db" in read_provenance(weights)["scores"]
    net = load_network(weights)
    net.load_state_dict(torch.load(tmp_path / "run" / "state.pt", weights_only=True)["average"])
    truth = torch.stack([texture(seed, 64, 64) / 510 + 0.25 for seed in range(4)])
    noisy = (truth + 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    with torch.inference_mode():
        restored = noisy + net.residual(None, net.encode(noisy), None, None)[0]
    before, after = (psnr(ycc_from_rgb(part)[:, :1], ycc_from_rgb(truth)[:, :1]) for part in (noisy, restored))
    assert after > before + 0.5


def test_a_stopped_run_of_a_guide_goes_on_exactly(soft_stills: Path, tmp_path: Path) -> None:
    config = guide_run(tmp_path, stills=[str(soft_stills)], noise={}, validation_clips=4)

    def interrupt(progress: TrainingProgress) -> None:
        if progress.step == 4:
            signal.raise_signal(signal.SIGINT)

    train(config, tmp_path / "straight", device="cpu")
    with pytest.raises(Interrupted):
        train(config, tmp_path / "stopped", device="cpu", progress=interrupt)
    train(config, tmp_path / "stopped", device="cpu")
    one, other = (torch.load(tmp_path / run / "state.pt", weights_only=True) for run in ("straight", "stopped"))
    assert one["step"] == other["step"] == 6
    for part in ("network", "average"):
        assert all(torch.equal(value, other[part][name]) for name, value in one[part].items())
    rows = [[{**row, "minutes": 0} for row in read_log(tmp_path / run)] for run in ("straight", "stopped")]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"noise": {"white_share": 0.9, "clean_share": 0.2}}, "together they are 1 or less"),
        ({"noise": {"white": [5.0, 2.0]}}, "lowest number first"),
        ({"noise": {"jpeg_quality": [50, 101]}}, "must lie between 1 and 100"),
        ({"noise": {"told_share": 2.0}}, "a share lies between 0 and 1"),
        ({"noise": None}, "truth of the synthesis cannot be 'blurred' with no noise"),
    ],
)
def test_a_wrong_number_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        guide_run(tmp_path, **changes)


def test_noise_and_network_belong_together(stills: Path, tmp_path: Path) -> None:
    config = guide_run(tmp_path, stills=[str(stills)])
    with pytest.raises(UsageError, match="pairs do not show noise alone"):
        train(replace(config, pairs=("pairs",)), tmp_path / "run", device="cpu")
    with pytest.raises(UsageError, match="is no guide: leave `noise` out"):
        train(replace(config, network="fast"), tmp_path / "run", device="cpu")
    plain = replace(config, noise=None, synthesis=SynthesisConfig(size_px=32, frames=2))
    with pytest.raises(UsageError, match="needs a section `noise`"):
        train(plain, tmp_path / "run", device="cpu")
