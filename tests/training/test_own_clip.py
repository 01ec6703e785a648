"""Adaptation to a clip without truth: neighbours teach, what is repeated does not, and drift falls back."""

from __future__ import annotations

import copy
import signal
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

from support.synthetic import smooth
from vdeblur.config import build
from vdeblur.errors import Interrupted, UsageError
from vdeblur.model.checkpoint import load_network, read_provenance, save_network
from vdeblur.model.guide.guide_net import GuideConfig, GuideNet
from vdeblur.training.adaptation import run as adaptation
from vdeblur.training.adaptation.footage import LEAST_FRAMES, read_windows
from vdeblur.training.adaptation.guard import DriftGuard, Measured
from vdeblur.training.adaptation.neighbours import Targets, disagreement, neighbour_targets, repeated_noise
from vdeblur.training.adaptation.run import AdaptationProgress, adapt
from vdeblur.training.adaptation.synthetic_clips import Rehearsal, dead_leaves
from vdeblur.training.config import TrainConfig
from vdeblur.training.pair_preview import write_pair
from vdeblur.training.synthesis.blur import ByteClip
from vdeblur.video.sink.writer import EncodeOptions

SIDE, FRAMES = 64, 10


def moving(*, noise: float, seed: int = 1, repeated: bool = False) -> tuple[Tensor, Tensor]:
    """Noisy frames and their truth (T, 3, 64, 64) of a picture that moves two pixels a frame."""
    whole = smooth(3, 128).float() / 510 + 0.25
    truth = torch.stack([whole[:, :SIDE, 2 * t : 2 * t + SIDE] for t in range(FRAMES)])
    values = torch.randn(truth.shape, generator=torch.Generator().manual_seed(seed))
    if repeated:  # a codec that copies blocks along the motion
        wide = torch.randn(3, SIDE, 128, generator=torch.Generator().manual_seed(seed))
        values = torch.stack([wide[..., 2 * t : 2 * t + SIDE] for t in range(FRAMES)])
    return (truth + noise * values).clamp(0, 1), truth


def file_of(frames: Tensor, path: Path) -> Path:
    levels = (frames * 255).round().to(torch.uint8)
    pair = path, path.with_name(f"other-{path.name}")
    write_pair(
        ByteClip(torch.stack((levels, levels)), None), pair, options=EncodeOptions(codec="ffv1"), rate=Fraction(25)
    )
    return path


def guide(path: Path) -> Path:
    """A guide that changes the picture a little, at random, so that anything is better."""
    torch.manual_seed(1)
    net = GuideNet(GuideConfig(kind="guide", name="noise", width=8, deep=16, hidden=4, layers=1))
    with torch.no_grad():
        net.leave.weight.normal_(0, 0.005)
    save_network(net, path, {})
    return path


def config(where: Path, **own: float) -> TrainConfig:
    given = {"steps": 10, "size_px": 32, "batch": 2, "frames": 3, "checks": 2, "learning_rate": 3e-3, **own}
    start = str(guide(where / "start.safetensors"))
    data = {"network": "noise", "start": start, "noise": {}, "synthesis": {"truth": "blurred"}, "own": given}
    return build(TrainConfig, data, where="test")


def same_weights(one: Path, other: Path) -> bool:
    first, second = (load_network(path).state_dict() for path in (one, other))
    return all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.fixture(autouse=True)
def few_synthetic_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough to tell what falls behind."""
    for name, count in (("_CLIPS", 3), ("_REHEARSED", 2), ("_PICTURES", 1), ("_LEAVES", 200)):
        monkeypatch.setattr(f"vdeblur.training.adaptation.synthetic_clips.{name}", count)


@pytest.fixture
def independent_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the guide of these tests takes away is no noise, so that it cannot tell whether noise is repeated."""
    monkeypatch.setattr(adaptation, "repeated_noise", lambda frames, guides: 0.0)


def test_a_neighbour_stands_for_the_truth() -> None:
    """Warped onto this frame, the next one differs from the truth by its noise, and weighs where it matches."""
    noisy, truth = moving(noise=0.02)
    targets = neighbour_targets(noisy, truth, 1)
    inside = (slice(0, -1), slice(None), slice(8, -8), slice(8, -8))
    assert float((targets.frames - truth)[inside].std()) == pytest.approx(0.02, rel=0.2)
    assert float(targets.weight[inside].mean()) > 0.8
    assert not targets.weight[-1].any(), "the last frame has no next one"
    assert not neighbour_targets(noisy, truth, -1).weight[0].any()
    cut = torch.cat((truth[:5], 1 - truth[5:]))
    assert float(neighbour_targets(cut, cut, 1).weight[4].mean()) < 0.2, "what does not match teaches nothing"


def test_disagreement_is_least_for_the_truth() -> None:
    noisy, truth = moving(noise=0.05)
    targets = neighbour_targets(noisy, truth, 1)
    own, right, soft = (
        float(disagreement(part, targets)) for part in (noisy, truth, truth.mean((2, 3), True) + 0 * truth)
    )
    assert right < own - 0.2
    assert right < soft - 0.2
    nothing = Targets(targets.frames, torch.zeros_like(targets.weight))
    assert float(disagreement(noisy, nothing)) == 0


def test_noise_that_a_codec_has_copied_is_found() -> None:
    for repeated in (False, True):
        noisy, truth = moving(noise=0.03, repeated=repeated)
        assert (repeated_noise(noisy, truth) > adaptation.MOST_REPEATED) == repeated


def test_a_clip_is_adapted_to_or_its_guide_stays(tmp_path: Path, independent_noise: None) -> None:
    clip = file_of(moving(noise=0.025)[0], tmp_path / "dark.mkv")
    weights, words = adapt(config(tmp_path, margin_db=100.0), clip, tmp_path / "run")
    assert weights == tmp_path / "run" / "noise.safetensors"
    assert words.startswith("adapted: held-out frames +")
    assert not same_weights(weights, tmp_path / "start.safetensors")
    told = read_provenance(weights)
    assert told["adapted"] is True
    assert told["own"] == "dark.mkv"
    assert told["scores"]["held_out_db"] > 0
    _, words = adapt(config(tmp_path, learning_rate=1e-9), clip, tmp_path / "run")
    assert words.startswith("not adapted, the weights are those it began with: 10 steps won ")
    assert same_weights(weights, tmp_path / "start.safetensors")


def test_copied_noise_and_a_coarse_quantiser_are_no_teachers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = file_of(moving(noise=0.025, repeated=True)[0], tmp_path / "coded.mkv")
    weights, words = adapt(config(tmp_path), clip, tmp_path / "run")
    assert "not adapted" in words
    assert "repeated in the next one" in words
    assert same_weights(weights, tmp_path / "start.safetensors")
    windows = read_windows(file_of(moving(noise=0.025)[0], tmp_path / "dark.mkv"), size_px=32, seed=1)
    coarse = [type(window)(window.frames, 28.0, window.held) for window in windows]
    monkeypatch.setattr(adaptation, "read_windows", lambda *args, **rest: coarse)
    assert "at a quantiser of 28 the codec copies" in adapt(config(tmp_path), clip, tmp_path / "run")[1]


def test_drift_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best held-out frames count, among weights that do not fall behind elsewhere."""
    net = GuideNet(GuideConfig(kind="guide", name="x", width=4, deep=4, hidden=2, layers=1))
    scores = [Measured(-30.0, 3.0), Measured(-30.5, 2.9), Measured(-30.4, 2.9), Measured(-40.0, 2.5)]
    monkeypatch.setattr("vdeblur.training.adaptation.guard.standard_clips", list)
    monkeypatch.setattr(DriftGuard, "_measure", lambda self, net: scores.pop(0))
    guard = DriftGuard(net, [], 0.3)
    better, worse = copy.deepcopy(net), copy.deepcopy(net)
    with torch.no_grad():
        better.leave.bias.fill_(1)
    guard.check(better, 5)
    assert guard.helped
    guard.check(worse, 10)
    assert not guard.reason, "once may be chance"
    guard.check(worse, 15)
    assert guard.reason == "at step 15 the gain on synthetic clips fell from +3.00 to +2.50 dB"
    assert guard.best_step == 5
    assert torch.equal(guard.best_net.leave.bias, better.leave.bias)


def test_a_clip_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    noisy, truth = moving(noise=0.05)
    for frames, words in (
        (noisy[: LEAST_FRAMES - 1], "is too short to adapt to: 7 frames, at least 8 are needed"),
        (truth, "shows no noise"),
        (noisy[..., :24], "is too small to adapt to: 24×64, at least 32×32 is needed"),
    ):
        clip = file_of(frames, tmp_path / "clip.mkv")
        with pytest.raises(UsageError, match=words):
            adapt(config(tmp_path), clip, tmp_path / "run")
        assert not (tmp_path / "run").exists()
        clip.unlink()
        clip.with_name("other-clip.mkv").unlink()


def test_a_clip_is_for_guides_alone(tmp_path: Path) -> None:
    other = build(TrainConfig, {"network": "fast"}, where="test")
    with pytest.raises(UsageError, match="this config trains none: use train_noise"):
        adapt(other, tmp_path / "dark.mkv", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_training_run_keeps_its_weights(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.pt").write_bytes(b"state")
    with pytest.raises(UsageError, match="holds a training run, whose weights would be replaced"):
        adapt(config(tmp_path), tmp_path / "dark.mkv", tmp_path / "run")


def test_ctrl_c_keeps_the_best_so_far(tmp_path: Path, independent_noise: None) -> None:
    clip = file_of(moving(noise=0.025)[0], tmp_path / "dark.mkv")

    def interrupt(progress: AdaptationProgress) -> None:
        if progress.step == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="the best weights so far are in"):
        adapt(config(tmp_path), clip, tmp_path / "run", progress=interrupt)
    assert same_weights(tmp_path / "run" / "noise.safetensors", tmp_path / "start.safetensors")


def test_a_rehearsal_has_a_truth_and_is_the_same_again() -> None:
    (frames, truth, weight), quantiser = Rehearsal(1, 32, 3).crop(5)
    (again, _, _), _ = Rehearsal(1, 32, 3).crop(5)
    assert torch.equal(frames, again)
    assert frames.shape == truth.shape == (3, 3, 32, 32)
    assert 0.003 < float((frames - truth)[:, 0].std()) < 0.2
    assert float(weight.min()) == 1
    assert quantiser != quantiser or 0 < quantiser <= 51


def test_dead_leaves_are_the_same_everywhere_and_have_edges() -> None:
    picture = dead_leaves(1)
    assert torch.equal(picture, dead_leaves(1))
    assert not torch.equal(picture, dead_leaves(2))
    steps = (picture[:, :, 1:].float() - picture[:, :, :-1].float()).abs()
    assert float((steps == 0).float().mean()) > 0.5
    assert float(steps.max()) > 60
