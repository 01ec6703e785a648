"""Evaluation under noise: deblurring is judged apart from the noise, and denoisers at their best."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from support.cli_fixtures import Call, call, tiny_model
from support.doubles import Identity
from support.pairs import case, moving
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.errors import UsageError
from vdeblur.evaluation import EvaluationProgress
from vdeblur.evaluation.noise import NoiseSources, evaluate_noise, noise_kinds
from vdeblur.evaluation.noise.clips import added, corrections, mean_psnr, restored, rgb_pictures, true_clip
from vdeblur.evaluation.noise.denoisers import DENOISERS
from vdeblur.evaluation.noise.methods import GuidedNetwork
from vdeblur.evaluation.noise.scores import score_correction
from vdeblur.evaluation.noise.strata import NO_GUIDE, Stratum
from vdeblur.model.checkpoint import save_network
from vdeblur.model.guide.guide_net import GuideConfig, GuideNet
from vdeblur.video.encode.coded_clip import write_coded_clip

__all__ = ["call", "tiny_model"]


class Sharpening(Identity):
    """Adds a share of what a small box blur takes away: good for blur, bad for noise."""

    def correction(self, previous: Any, current: Any, following: Any, state: Any) -> tuple[Tensor, Any]:
        picture = current[0]
        return 0.8 * (picture - torch.nn.functional.avg_pool2d(picture, 5, 1, 2, count_include_pad=False)), state


def pairs(count: int = 3, size: int = 64) -> Any:
    return case(moving(count, speed=2, blur=5, size=size), moving(count, speed=2, size=size))


def write_pairs(folder: Path, *, names: tuple[str, str] = ("blur", "sharp"), size: int = 64) -> Path:
    """Two pairs of photographs, each a lossless picture file."""
    from PIL import Image

    folder.mkdir()
    for seed in (1, 2):
        for word, blur in zip(names, (5.0, 0.0), strict=True):
            (picture,) = moving(1, blur=blur, size=size, seed=seed)
            levels = (255 * picture).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(levels).save(folder / f"wall{seed}.{word}.png")
    return folder


def test_the_correction_is_judged_as_against_the_truth_with_the_same_noise() -> None:
    clip = true_clip(case(moving(2, speed=2, blur=16, size=64), moving(2, speed=2, size=64)))
    chance = torch.Generator().manual_seed(1)
    noise = [10 / 255 * torch.randn(picture.shape, generator=chance) for picture in clip.sharp]
    noisy = [0.5 * picture + 0.25 + grain for picture, grain in zip(clip.blurred, noise, strict=True)]
    clean = [0.5 * picture + 0.25 for picture in clip.blurred]
    sharp = [0.5 * picture + 0.25 for picture in clip.sharp]
    half = [0.5 * (one - other) for one, other in zip(sharp, clean, strict=True)]
    found = score_correction(added(noisy, half), noisy, noisy=noisy, clean=clean, sharp=sharp)
    same_noise = mean_psnr(added(noisy, half), added(sharp, noise)) - mean_psnr(noisy, added(sharp, noise))
    assert found.kept_gain_db == pytest.approx(20 * torch.tensor(2.0).log10().item(), abs=0.2)
    assert found.kept_gain_db == pytest.approx(same_noise, abs=0.2)
    assert 0 < found.seen_gain_db < found.kept_gain_db  # the noise hides it


def test_noise_takes_deblurring_away_and_a_denoiser_brings_it_back() -> None:
    network = GuidedNetwork("mine", Deblurrer(Sharpening(), device="cpu", guide="off"), None, None, None)
    clip = true_clip(pairs())
    (kind,) = noise_kinds("white10")
    stratum = Stratum(kind, [network], {})
    (alone,) = stratum.score_networks(clip)
    assert alone.method == "mine" + NO_GUIDE
    assert alone.clean_gain_db > 1
    assert alone.kept_gain_db < 0.5 * alone.clean_gain_db
    assert alone.removed_gain_db is None
    assert alone.sharp_psnr is not None
    (behind,) = stratum.score_denoiser(DENOISERS["bilateral"], lambda: [clip])
    assert behind.method == "bilateral, mine"
    assert behind.clean_gain_db == alone.clean_gain_db
    assert behind.kept_gain_db > alone.kept_gain_db
    assert behind.removed_gain_db is not None
    assert behind.denoised_gain_db is not None
    assert behind.removed_gain_db > behind.denoised_gain_db > 0
    noisy = rgb_pictures(kind.frames(clip.blurred))
    bilateral = DENOISERS["bilateral"]
    tried = {s: mean_psnr(list(bilateral.denoise(torch.stack(noisy), s)), clip.sharp) for s in bilateral.settings}
    assert behind.setting == max(tried, key=lambda setting: tried[setting])


def test_a_network_is_scored_with_its_guide_and_without(tmp_path: Path, tiny_model: Path) -> None:
    torch.manual_seed(1)
    guide = GuideNet(GuideConfig(kind="guide", name="small", width=4, deep=4, hidden=2, layers=1))
    torch.nn.init.normal_(guide.leave.weight, std=0.05)
    save_network(guide, tmp_path / "guide.safetensors", {"data": "none: made for tests"})
    steps: list[EvaluationProgress] = []
    found = evaluate_noise(
        [str(tiny_model), "identity"],
        NoiseSources(data=[write_pairs(tmp_path / "pairs")], kinds=noise_kinds("white10,crf30")),
        guide=str(tmp_path / "guide.safetensors"),
        device="cpu",
        progress=steps.append,
    )
    means = {(mean.noise, mean.method): mean for mean in found.means()}
    methods = [method for noise, method in means if noise == "crf30"]
    assert methods == [f"fast{NO_GUIDE}", "fast", f"identity{NO_GUIDE}", "identity"]
    assert all(mean.clips == 2 for mean in means.values())
    plain, guided = means["white10", f"fast{NO_GUIDE}"], means["white10", "fast"]
    assert plain.kept_gain_db != guided.kept_gain_db
    assert plain.removed_gain_db is None
    still = means["white10", "identity"]
    assert (still.kept_gain_db, still.clean_gain_db, still.share, still.sharp_psnr) == (0, 0, None, 100)
    assert still.removed_gain_db == still.denoised_gain_db != 0  # the guide alone
    assert [step.done for step in steps] == list(range(len(steps)))


def test_pictures_with_real_noise_are_denoised_and_nothing_else(tmp_path: Path, call: Call) -> None:
    folder = write_pairs(tmp_path / "photos", names=("noisy", "clean"))
    target = tmp_path / "scores.json"
    words = ("--guide", "off", "--baselines", "bilateral", "--json", str(target))
    result = call("eval", "identity", "--noise-pairs", str(folder), *words)
    assert result.code == 0
    assert "bilateral" in result.out
    found = json.loads(target.read_text())
    assert len(found["photos"]) == 2 * len(DENOISERS["bilateral"].settings)
    best = max(found["photo_means"], key=lambda mean: mean["gain_db"])
    assert found["best_photo_means"] == [best]
    (folder / "wall1.clean.png").unlink()
    result = call("eval", "identity", "--noise-pairs", str(folder))
    assert result.code == 2
    assert "no clean partner" in result.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--add-noise", "white10"], "is laid over clips"),
        (["--add-noise", "rain", "PAIRS"], "--add-noise cannot be 'rain'"),
        (["--noise-pairs", "PAIRS", "PAIRS"], "takes no other data"),
        (["--noise-pairs", "PAIRS"], "no pairs in"),
        (["--noise-pairs", "PAIRS", "--drift"], "long scenes"),
        (["--add-noise", "crf20", "PAIRS", "--drift"], "long scenes"),
        (["--add-noise", "white10", "PAIRS", "--sheet", "a.png"], "--sheet says nothing"),
        (["--add-noise", "white10", "PAIRS", "--true-exposure", "0.5"], "--true-exposure says nothing"),
        (["--add-noise", "white10", "PAIRS", "--baselines", "wiener"], "no denoiser 'wiener'"),
    ],
)
def test_what_cannot_be_is_said_before_work(tmp_path: Path, call: Call, words: list[str], message: str) -> None:
    folder = write_pairs(tmp_path / "pairs")
    result = call("eval", "identity", *(str(folder) if word == "PAIRS" else word for word in words))
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") == 1


def test_a_clip_that_cannot_be_coded_is_refused(tmp_path: Path) -> None:
    odd = moving(1, size=45)[0].byte().permute(1, 2, 0).numpy()
    with pytest.raises(UsageError, match="even sides, not 45×45"):
        write_coded_clip(tmp_path / "a.mkv", [odd], crf=20)
    with pytest.raises(UsageError, match="not none"):
        write_coded_clip(tmp_path / "a.mkv", [], crf=20)
    assert not any(tmp_path.iterdir())


def test_pictures_are_restored_as_a_files_are() -> None:
    clip = true_clip(pairs())
    deblurrer = Deblurrer(Sharpening(), device="cpu", guide="off")
    with pairs().blurry() as frames:
        after = restored(deblurrer, list(frames))
    assert mean_psnr(after, clip.sharp) > mean_psnr(clip.blurred, clip.sharp)
    assert all(change.abs().max() > 0 for change in corrections(after, clip.blurred))
