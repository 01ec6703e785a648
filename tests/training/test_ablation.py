"""The comparison: each variant changes what it says and nothing else, and a run of variants is kept and resumed."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from kornia.io import write_image
from torch import Tensor

from support.doubles import assert_all_learn
from vdeblur.config import build, find_config, load_config
from vdeblur.errors import UsageError
from vdeblur.model.deblur_net import DeblurNet, NetworkConfig
from vdeblur.training.ablation import comparison, library_flow
from vdeblur.training.ablation.clips import ByteClips
from vdeblur.training.ablation.comparison import ablate, compared
from vdeblur.training.ablation.learning import restore, train
from vdeblur.training.ablation.library_flow import library_motion
from vdeblur.training.ablation.results import Result, read_results, table
from vdeblur.training.ablation.scoring import kmac
from vdeblur.training.ablation.settings import AblationConfig, Variant, network_config, recipe
from vdeblur.training.ablation.variants import NETWORKS, ChannelAttention, EndToEnd, WindowAttention
from vdeblur.training.synthesis.blur import Clip

TINY = NetworkConfig(
    name="tiny", channels=(8, 8, 8), blocks=(1, 1, 1), decoder_blocks=(1, 1),
    flow_finest=4, tap_guides=2, taps=5, reach=1.0, tap_scale=1, tap_hidden=8, tap_depth=1, tap_features=2,
)  # fmt: skip


def network(form: str) -> DeblurNet:
    """A variant with weights that do something; what it shares with another variant is the same there."""
    net = NETWORKS[form](TINY).eval()
    for name, parameter in sorted(net.named_parameters()):
        generator = torch.Generator().manual_seed(sum(name.encode()))
        torch.nn.init.normal_(parameter, std=0.15, generator=generator)
    return net


def drifting(frames: int, step_px: int = 3) -> Tensor:
    """A clip (1, T, 3, 48, 64) of a soft texture that drifts to the left."""
    wide = torch.rand(1, 3, 48, 64 + step_px * frames, generator=torch.Generator().manual_seed(6))
    soft = torch.nn.functional.avg_pool2d(wide, 5, stride=1, padding=2)
    return torch.stack([soft[..., step_px * t : step_px * t + 64] for t in range(frames)], 1)


def residuals(form: str, clip: Tensor, *, fixed: bool = False) -> Tensor:
    """Residuals (T, 3, H, W) without lookahead; ``fixed`` gives the exposure fraction and the motion."""
    frames = clip.shape[1]
    exposure, steer = torch.full((frames, 1, 1, 1), 0.5), torch.full((frames, 2, 6, 8), 2.0)
    with torch.inference_mode():
        estimate = network(form).restore_clip(
            clip, lookahead=0, sampling_motion=steer if fixed else None, exposure=exposure if fixed else None
        )
    return estimate.residual


def first_frame_matters(form: str, *, fixed: bool = False) -> float:
    """How much the residual of the fourth frame changes with the first one, which is not its neighbour."""
    clip = drifting(4)
    other = clip.clone()
    other[:, 0] = other[:, 0].flip(-1)
    return float((residuals(form, clip, fixed=fixed) - residuals(form, other, fixed=fixed))[3].abs().max())


def test_what_a_variant_keeps() -> None:
    assert first_frame_matters("as it is", fixed=True) > 1e-5
    assert first_frame_matters("nothing kept") == 0
    assert first_frame_matters("no state", fixed=True) == 0
    assert first_frame_matters("no state") > 0, "the motion profile is kept"
    assert first_frame_matters("state at 1/8", fixed=True) > 1e-5
    assert first_frame_matters("full-channel state", fixed=True) > 1e-5


def test_the_state_at_one_sixteenth_is_all_that_is_emptied() -> None:
    clip = drifting(3)
    whole, part, none = (residuals(form, clip, fixed=True) for form in ("as it is", "state at 1/8", "no state"))
    assert torch.equal(whole[0], part[0])
    assert not torch.equal(whole[1], part[1])
    assert not torch.equal(part[1], none[1])


def test_an_unwarped_state_differs_where_things_move_only() -> None:
    still, moving = drifting(3, step_px=0), drifting(3)
    torch.testing.assert_close(residuals("unwarped state", still), residuals("as it is", still), atol=1e-5, rtol=0)
    assert (residuals("unwarped state", moving) - residuals("as it is", moving))[1].abs().max() > 1e-4


def test_without_taps_nothing_is_sampled() -> None:
    """Motion and all else but the taps being the same, the difference is what the taps add."""
    clip = drifting(2)
    with_taps = network("as it is")
    torch.nn.init.zeros_(with_taps.taps.correction.weight)
    torch.nn.init.zeros_(with_taps.taps.correction.bias)  # type: ignore[arg-type]
    torch.nn.init.zeros_(with_taps.taps.texture.weight)
    torch.nn.init.zeros_(with_taps.taps.texture.bias)  # type: ignore[arg-type]
    with torch.inference_mode():
        muted = with_taps.restore_clip(clip, lookahead=1).residual
        tapless = network("no taps").restore_clip(clip, lookahead=1).residual
        assert not torch.equal(network("as it is").restore_clip(clip, lookahead=1).residual, tapless)
    torch.testing.assert_close(muted, tapless)


@pytest.mark.parametrize("form", ["as it is", "end to end"])
def test_the_restoration_teaches_the_motion_end_to_end_only(form: str) -> None:
    net = network(form)
    still = torch.cat((drifting(2), drifting(1).expand(1, 2, 3, 48, 64)), 1)
    net.restore_clip(still, lookahead=1).residual.square().sum().backward()  # type: ignore[no-untyped-call]
    gradient = net.refine.weight.grad
    if isinstance(net, EndToEnd):
        assert gradient is not None
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0
    else:
        assert gradient is None


def test_the_previous_output_is_looked_at() -> None:
    """With all but the taps silent, the second frame depends on the restored first one when that is fed back."""
    clip = drifting(2)
    other = clip.clone()
    other[:, 0] += 0.05 * torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    for form, looks in (("as it is", False), ("fed back", True)):
        found = []
        for pictures in (clip, other):
            net = network(form)
            for name, parameter in net.named_parameters():
                if not name.startswith("taps."):
                    torch.nn.init.zeros_(parameter)
            with torch.inference_mode():
                steer = torch.full((2, 2, 6, 8), 3.0)
                found.append(net.restore_clip(pictures, lookahead=0, sampling_motion=steer).residual[1])
        assert bool((found[0] - found[1]).abs().max() > 1e-4) == looks


def test_the_restored_frame_is_fed_back_not_the_blurred_one() -> None:
    """A correction of the first frame alone reaches the second one."""
    clip, steer = drifting(2), torch.full((2, 2, 6, 8), 3.0)
    steer[0] = 0
    found = []
    for bias in (0.0, 0.1):
        net = network("fed back")
        torch.nn.init.zeros_(net.head.weight)
        torch.nn.init.constant_(net.head.bias, bias)  # type: ignore[arg-type]
        with torch.inference_mode():
            found.append(net.restore_clip(clip, lookahead=0, sampling_motion=steer).residual[1] - bias)
    assert (found[0] - found[1]).abs().max() > 1e-4


@pytest.mark.parametrize("form", sorted(NETWORKS))
def test_every_parameter_of_a_variant_learns(form: str) -> None:
    net, clip = network(form), drifting(3)
    estimate = net.restore_clip(clip, lookahead=1)
    assert_all_learn(net, estimate, unused="guide" if form == "no taps" else None)


@pytest.mark.parametrize("attention", [ChannelAttention(8), WindowAttention(8)], ids=["channel", "window"])
def test_attention_starts_as_nothing(attention: torch.nn.Module) -> None:
    x = torch.randn(2, 8, 6, 7)
    assert torch.equal(attention(x), x)


def test_window_attention_stays_in_its_windows() -> None:
    attention = WindowAttention(8)
    torch.nn.init.normal_(attention.project_out.weight)
    x = torch.randn(1, 8, 8, 8)
    other = x.clone()
    other[..., 1, 2] += 1
    changed = (attention(x) - attention(other)).abs().amax(1)[0] > 1e-6
    assert changed[:4, :4].all()
    assert not changed[4:].any()
    assert not changed[:, 4:].any()


def test_window_attention_puts_pixels_back_in_their_places() -> None:
    """With equal keys each pixel receives its window's mean, and the shortcut keeps its own value."""
    attention = WindowAttention(8)
    torch.nn.init.zeros_(attention.project_in.weight)
    torch.nn.init.zeros_(attention.project_in.bias)  # type: ignore[arg-type]
    with torch.no_grad():
        attention.project_in.weight[16:, :, 0, 0] = torch.eye(8)
        attention.project_out.weight[:, :, 0, 0] = torch.eye(8)
    x = torch.randn(1, 8, 8, 12)
    means = torch.nn.functional.avg_pool2d(x, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(attention(x), x + means)


def test_channel_attention_sees_the_whole_picture_and_no_order() -> None:
    attention = ChannelAttention(8)
    torch.nn.init.normal_(attention.project_out.weight)
    x = torch.randn(1, 8, 4, 6)
    torch.testing.assert_close(attention(x.flip(-1)), attention(x).flip(-1))
    other = x.clone()
    other[..., 0, 0] += 3
    assert ((attention(x) - attention(other)).abs().amax(1) > 1e-7).all()


def test_a_library_finds_the_motion() -> None:
    pytest.importorskip("cv2")
    wide = torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(2))
    wide = torch.nn.functional.interpolate(wide, scale_factor=4, mode="bicubic").clamp(0, 1)
    clip = torch.stack([wide[..., 3 * t : 3 * t + 96] for t in range(3)], 1)
    motion = library_motion(clip, lookahead=1)
    middle = motion.velocity[1, :, 3:-3, 3:-3].flatten(1).median(1).values
    torch.testing.assert_close(middle, torch.tensor([-3.0, 0.0]), atol=0.3, rtol=0)
    assert motion.mismatch[0, 0].min() == 1
    assert motion.mismatch[1, :, 3:-3, 3:-3].median() < 0.05


def test_without_the_library_the_row_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(library_flow.importlib, "import_module", missing)
    with pytest.raises(UsageError, match="pip install opencv"):
        library_motion(drifting(2), lookahead=1)


def test_multiply_adds_are_counted_per_pixel() -> None:
    steered = load_config(NetworkConfig, find_config("steered"))
    counted = kmac(DeblurNet(steered))
    more = kmac(DeblurNet(replace(steered, tap_hidden=steered.tap_hidden + 1)))
    filters = steered.taps - 1 + 2 + 2 * (steered.tap_neighbours + 1) + steered.tap_guides
    own = filters + steered.tap_depth * (2 * steered.tap_hidden + 1) + 1 + steered.tap_features
    assert more - counted == pytest.approx(own / 1000, rel=1e-3)
    assert 8 < counted < 16


@pytest.fixture
def run_config(tmp_path: Path) -> AblationConfig:
    stills = tmp_path / "stills"
    stills.mkdir()
    for seed in range(2):
        noise = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
        picture = torch.nn.functional.interpolate(noise, (160, 160))[0]
        write_image(stills / f"{seed}.png", (picture * 255).to(torch.uint8))
    (tmp_path / "tiny.yaml").write_text(
        "{name: tiny, channels: [8, 8, 8], blocks: [1, 1, 1], decoder_blocks: [1, 1], flow_finest: 4,"
        " tap_guides: 2, taps: 5, reach: 1.0, tap_scale: 2, tap_hidden: 8, tap_depth: 1, tap_features: 2}"
    )
    data = {
        "network": str(tmp_path / "tiny.yaml"),
        "stills": [str(stills)],
        "test_stills": [str(stills)],
        "synthesis": {"size_px": 32, "frames": 3, "speed_px": [4.0, 8.0], "sharp_share": 0.5, "compressed_share": 0.0},
        "clips": 4, "test_clips": 8, "test_size_px": 32, "test_frames": 2, "batch": 2, "steps": 2, "warmup_steps": 1,
        "taps_clips": 2, "taps_pixels": 50, "taps_steps": 3, "taps_batch": 64,
        "variants": [
            {"name": "base", "says": "the base", "seeds": [1, 2]},
            {"name": "taps", "says": "more taps", "network": {"taps": 7}},
            {"name": "alone", "says": "no neighbour", "window": 1, "teaching": "never"},
            {"name": "told", "says": "the fraction is known", "motion": "true fraction"},
            {"name": "parted", "says": "one after the other", "teaching": "separate", "motion": "true"},
        ],
    }  # fmt: skip
    return build(AblationConfig, data, where="test")


def test_variants_are_run_kept_and_resumed(
    run_config: AblationConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    first = ablate(run_config, folder, only="base")
    assert "the base" in first
    assert "more taps" not in first
    whole = ablate(run_config, folder)
    assert [line.split(" |")[0] for line in whole.splitlines()[2:]] == [
        "| the base", "| more taps", "| no neighbour", "| the fraction is known", "| one after the other",
    ]  # fmt: skip
    with (folder / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["seed"]) for row in rows] == [
        ("base", "1"), ("base", "2"), ("taps", "1"), ("alone", "1"), ("told", "1"), ("parted", "1"),
    ]  # fmt: skip
    monkeypatch.setattr(comparison, "run", lambda *_: pytest.fail("a finished variant ran again"))
    assert ablate(run_config, folder) == whole
    assert compared(run_config, folder) == whole
    with pytest.raises(UsageError, match="has no results of this comparison: run it without --table"):
        compared(replace(run_config, steps=9), folder)


def test_a_changed_recipe_runs_again(run_config: AblationConfig, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    ablate(run_config, folder, only="base")
    longer = replace(run_config, steps=3)
    ablate(longer, folder, only="base")
    found = read_results(folder / "results.csv")
    assert [result.seed for result in found] == [1, 2, 1, 2]
    assert len({result.recipe for result in found}) == 2
    network, base = Path(run_config.network), run_config.variants[0]
    before = recipe(run_config, base)
    network.write_text(network.read_text().replace("taps: 5", "taps: 7"))
    assert recipe(run_config, base) != before, "the network's own settings count"


def test_the_same_seed_gives_the_same_scores(run_config: AblationConfig, tmp_path: Path) -> None:
    scores = []
    for name in ("first", "second"):
        ablate(run_config, tmp_path / name, only="base")
        scores.append([replace(result, step_ms=0) for result in read_results(tmp_path / name / "results.csv")])
    assert scores[0] == scores[1]
    assert scores[0][0].motion_px != scores[0][1].motion_px


@pytest.mark.parametrize(("motion", "right"), [("true fraction", True), ("found", False)])
def test_the_true_fraction_makes_motion_true_where_the_flow_is(
    motion: Literal["found", "true fraction"], right: bool
) -> None:
    """A texture that drifts two pixels a frame, three fifths of that exposed, moves 1.2 pixels during the exposure."""
    net, pictures = network("as it is"), drifting(3, step_px=2)
    torch.nn.init.zeros_(net.refine.weight)
    torch.nn.init.zeros_(net.refine.bias)  # type: ignore[arg-type]
    velocity = torch.tensor([-2.0, 0.0]).view(1, 1, 2, 1, 1).expand(1, 3, 2, 6, 8)
    clip = Clip(pictures, pictures, velocity, velocity * 0.6)
    with torch.inference_mode():
        found = restore(Variant(name="x", says="", motion=motion), net, clip, 1, None).motion[1, 0, 2:4, 2:6]
    assert (float((found + 1.2).abs().median()) < 0.1) == right


def test_in_separate_teaching_the_motion_rests_while_the_restoration_learns(run_config: AblationConfig) -> None:
    net = network("as it is")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    clips = ByteClips(
        torch.randint(0, 256, (4, 3, 3, 32, 32), dtype=torch.uint8),
        torch.randint(0, 256, (4, 3, 3, 32, 32), dtype=torch.uint8),
        torch.randn(4, 3, 2, 4, 4),
        torch.randn(4, 3, 2, 4, 4),
    )
    variant = Variant(name="parted", says="", teaching="separate")
    train(replace(run_config, steps=1, weight_decay=0.0), variant, 1, net, clips)
    changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert "head.weight" in changed
    assert "taps.filters.weight" in changed
    assert not {"refine.weight", "fraction.logits.weight", "stem.0.weight"} & changed


def test_the_table_compares_with_the_base() -> None:
    def result(name: str, seed: int, gain: float) -> Result:
        return Result(name, seed, "r", gain, gain - 0.1, gain + 0.2, 0.0, 42.0, 1.5, 12.2, 250.0)

    rows = [
        ("base", [result("base", 1, 0.4), result("base", 2, 0.6)]),
        ("gone", []),
        ("more", [result("more", 2, 0.7)]),
    ]
    lines = table(rows).splitlines()
    assert lines[2].startswith("| base | +0.50 (+0.40 … +0.60) | – | +0.40 | +0.70 |")
    assert lines[3].startswith("| more | +0.70 | +0.10 | +0.60 | +0.90 |")
    assert len({line.count("|") for line in lines}) == 1


def test_mistakes_are_named(run_config: AblationConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no variant 'bse': choose one of base, taps"):
        ablate(run_config, tmp_path / "run", only="bse")
    with pytest.raises(UsageError, match="no form 'no tap'; choose one of as it is"):
        Variant(name="x", says="", form="no tap")
    (tmp_path / "results.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="holds no results"):
        read_results(tmp_path / "results.csv")
    wrong = replace(run_config, variants=(*run_config.variants, Variant(name="x", says="", network={"tap": 3})))
    with pytest.raises(UsageError, match="x: unknown key 'tap'; did you mean 'taps'"):
        ablate(wrong, tmp_path / "run")
    assert not (tmp_path / "run").exists(), "nothing is made before the settings are checked"


def test_the_shipped_comparison_can_be_read() -> None:
    config = load_config(AblationConfig, find_config("ablation"))
    names = [variant.name for variant in config.variants]
    assert len(set(names)) == len(names)
    for variant in config.variants:
        assert NETWORKS[variant.form](network_config(config, variant))
