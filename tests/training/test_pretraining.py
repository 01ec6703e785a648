"""What learns before the first step: the taps on single pixels, and the reader of the exposure fraction."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from support.synthetic import CLEAN, tiles
from vdeblur.errors import UsageError
from vdeblur.model.block_taps import SharedTaps
from vdeblur.model.checkpoint import save_network
from vdeblur.model.deblur_net import DeblurNet, NetworkConfig
from vdeblur.model.exposure import PROFILE_SIZE, read_exposure
from vdeblur.model.luma_net import LumaConfig, LumaNet
from vdeblur.model.mixture_taps import MixtureTaps
from vdeblur.model.motion_taps import luma
from vdeblur.training.config import ExposurePretraining, TapsPretraining, TrainConfig
from vdeblur.training.pretraining.block_filters import draw_cells, in_cells, learn_cells, rows_in
from vdeblur.training.pretraining.exposure_reader import draw_profiles, learn_fraction
from vdeblur.training.pretraining.stages import learn_first
from vdeblur.training.pretraining.taps import draw_pixels, learn_taps, true_exposure
from vdeblur.training.run_state import forget_first, load_first, save_first
from vdeblur.training.synthesis.blur import Clip, synthesise
from vdeblur.training.synthesis.config import SynthesisConfig
from vdeblur.training.synthesis.stills import Textures

MOVING = replace(CLEAN, size_px=64, frames=3, speed_px=(3.0, 5.0), exposure=(0.5, 0.9))
TINY = NetworkConfig(
    name="tiny", channels=(8, 8, 8), blocks=(1, 1, 1), decoder_blocks=(1, 1), flow_finest=2, tap_guides=2, taps=13,
    reach=1.5, tap_scale=1, tap_hidden=16, tap_depth=1, tap_features=2, tap_neighbours=1,
)  # fmt: skip


class Stream:
    """Synthetic clips one after the other, as the trainer's data serves them."""

    def __init__(self, config: SynthesisConfig, batch: int = 2) -> None:
        self.config, self.batch, self.served = config, batch, 0

    def batches(self, first_step: int) -> Iterator[Clip]:
        textures = Textures([tiles(seed, 160) for seed in range(4)])
        while True:
            numbers = range(self.served, self.served + self.batch)
            self.served += self.batch
            yield synthesise(textures, self.config, seed=3, numbers=list(numbers))


def net() -> DeblurNet:
    torch.manual_seed(2)
    return DeblurNet(TINY)


def taken(config: SynthesisConfig, batches: int) -> list[Clip]:
    stream = Stream(config).batches(0)
    return [next(stream) for _ in range(batches)]


def test_the_true_exposure_is_the_share_of_the_motion() -> None:
    velocity = torch.randn(1, 2, 2, 16, 16) * 5
    clip = Clip(torch.rand(1, 2, 3, 16, 16), torch.rand(1, 2, 3, 16, 16), velocity, velocity * 0.4)
    torch.testing.assert_close(true_exposure(clip), torch.full((2, 1, 1, 1), 0.4), atol=1e-4, rtol=0)


def blurred(clip: Clip) -> Tensor:
    """How much of the truth is wanted where the true motion is so long: nothing up to half a pixel, all from 1.5 on."""
    assert clip.motion is not None
    return (clip.motion.flatten(0, 1).norm(dim=1, keepdim=True) - 0.5).clamp(0, 1)


def test_pixels_are_those_of_the_frames() -> None:
    """Every drawn pixel sees its own luma and has its own change."""
    clip = taken(MOVING, 1)[0]
    pixels = draw_pixels(net(), [clip], per_frame=40, seed=1)
    assert pixels.seen.shape == (2 * 3 * 40, net().taps.filters.in_channels - 2)
    before, after = luma(clip.blurry.flatten(0, 1)), luma(clip.sharp.flatten(0, 1))
    known = torch.stack((before.flatten() - 0.5, ((after - before) * blurred(clip)).flatten()), 1)
    own = torch.stack((pixels.seen[:, len(net().taps.offsets) + 1].float(), pixels.change), 1)
    assert (torch.cdist(own, known).min(dim=1).values < 2e-3).all()


def test_taps_learn_to_sharpen() -> None:
    """Taps that learned on pixels bring other clips nearer to the truth, on their own."""
    network = net()
    loss = learn_taps(
        network.taps, draw_pixels(network, taken(MOVING, 10), per_frame=1500, seed=1), steps=600, batch=1024
    )
    assert math.isfinite(loss)
    guides = network.taps.filters.weight[:, -2:]
    assert torch.equal(guides, torch.zeros_like(guides))
    clip = synthesise(Textures([tiles(9, 160)]), MOVING, seed=8, numbers=[0, 1, 2, 3])
    with torch.inference_mode():
        estimate = network.restore_clip(clip.blurry, lookahead=1, exposure=true_exposure(clip))
    before = (clip.blurry - clip.sharp).square().mean()
    after = (clip.blurry.flatten(0, 1) + estimate.residual - clip.sharp.flatten(0, 1)).square().mean()
    assert 10 * math.log10(before / after) > 0.25


def mixed() -> LumaNet:
    torch.manual_seed(0)
    return LumaNet(
        LumaConfig(
            kind="luma", name="mixed", flow_finest=4, taps=9, reach=1.5, tap_hidden=12, tap_depth=0, tap_neighbours=3,
            tap_experts=4, tap_code=16,
        )
    )  # fmt: skip


def test_cells_are_those_of_the_frames() -> None:
    """The pixels of a cell see their own luma and have their own change."""
    clip, network = taken(MOVING, 1)[0], mixed()
    cells = draw_cells(network, [clip], per_frame=5, seed=1)
    assert cells.seen.shape == (2 * 3 * 5, 64, network.taps.feature_count)
    before, after = luma(clip.blurry.flatten(0, 1)), luma(clip.sharp.flatten(0, 1))
    known = in_cells(torch.cat((before - 0.5, (after - before) * blurred(clip)), 1)).flatten(0, 1).flatten(1)
    own = torch.stack((cells.seen[..., len(network.taps.offsets) + 1].float(), cells.change.float()), 2).flatten(1)
    assert (torch.cdist(own, known).min(dim=1).values < 2e-2).all()


def test_a_film_that_runs_backwards_is_seen_backwards() -> None:
    network, clip = mixed(), torch.rand(1, 3, 3, 32, 32)
    exposure = torch.full((3, 1, 1, 1), 0.5)
    forth, _ = network.sample_taps(clip, lookahead=1, exposure=exposure)
    back, _ = network.sample_taps(clip.flip(1), lookahead=1, exposure=exposure)
    assert isinstance(network.taps, MixtureTaps)
    there = network.taps.feature_specs
    rows = [there.index(column.time_reversed()) for column in there]
    torch.testing.assert_close(back[1], forth[1][rows], atol=2e-3, rtol=1e-3)


def test_cells_learn_to_sharpen() -> None:
    network = mixed()
    loss = learn_cells(
        network.taps, draw_cells(network, taken(MOVING, 10), per_frame=16, seed=1), steps=500, batch=2048
    )
    assert math.isfinite(loss)
    clip = synthesise(Textures([tiles(9, 160)]), MOVING, seed=8, numbers=[0, 1, 2, 3])
    with torch.inference_mode():
        estimate = network.restore_clip(clip.blurry, lookahead=1, exposure=true_exposure(clip))
    blurry, sharp = luma(clip.blurry.flatten(0, 1)), luma(clip.sharp.flatten(0, 1))
    before = (blurry - sharp).square().mean()
    after = (blurry + estimate.residual - sharp).square().mean()
    assert 10 * math.log10(before / after) > 0.25


def test_a_teacher_is_followed() -> None:
    """Of a teacher that looks at less, and of one that looks at more."""
    teacher, pupil = mixed(), mixed()
    torch.nn.init.normal_(teacher.taps.last, std=0.5)
    cells = draw_cells(pupil, taken(MOVING, 2), per_frame=16, seed=1)
    cells = cells._replace(change=torch.zeros_like(cells.change))

    def likeness() -> float:
        seen, length = cells.seen.float(), cells.length.float()
        with torch.no_grad():
            shown, found = (
                net.taps.correct_pixels(seen, length, net.taps.block_statistics(seen)) for net in (teacher, pupil)
            )
        return float((shown * found).mean() / shown.square().mean())

    learn_cells(pupil.taps, cells, steps=150, batch=2048, teacher=teacher.taps)
    assert likeness() > 0.2
    less = SharedTaps(taps=5, reach=1.5, hidden=4, depth=0, neighbour_points=1)
    assert [pupil.taps.feature_specs[row] for row in rows_in(less, pupil.taps)] == less.feature_specs
    small = MixtureTaps(taps=5, reach=1.5, hidden=4, experts=2, code=8, neighbour_points=1)
    learn_cells(small, cells, steps=2, batch=64, seen_by=pupil.taps, teacher=less)
    learn_cells(small, cells, steps=2, batch=64, seen_by=pupil.taps, teacher=teacher.taps)
    with pytest.raises(UsageError, match="looks at"):
        rows_in(SharedTaps(taps=5, reach=1.0, hidden=4, depth=0, neighbour_points=1), pupil.taps)


@pytest.mark.parametrize("taps", [5, 9, 17])
def test_a_recipe_names_its_teacher(taps: int, tmp_path: Path) -> None:
    """One that looks at less, at the same, and at more: pupils of a teacher and without one differ."""
    teacher = LumaNet(replace(mixed().config, taps=taps, tap_neighbours=1 if taps == 5 else 3))
    torch.nn.init.normal_(teacher.taps.last, std=0.5)
    save_network(teacher, tmp_path / "teacher.safetensors", {})
    first = TapsPretraining(clips=2, pixels=640, steps=20, batch=512)
    pupils = []
    for name in ("", str(tmp_path / "teacher.safetensors")):
        pupil = mixed()
        config = TrainConfig(network="mixed", synthesis=MOVING, batch=2, taps_first=replace(first, teacher=name))
        learn_first(pupil, config, Stream)
        pupils.append(pupil.taps.last.detach())
    assert pupils[0].abs().max() > 0
    assert not torch.equal(*pupils)


def test_who_cannot_teach_is_refused(tmp_path: Path) -> None:
    save_network(net(), tmp_path / "other.safetensors", {})
    config = TrainConfig(
        network="mixed",
        synthesis=MOVING,
        batch=2,
        taps_first=TapsPretraining(clips=1, teacher=str(tmp_path / "other.safetensors")),
    )
    for pupil, words in ((mixed(), "cannot teach"), (net(), "only filters of cells")):
        with pytest.raises(UsageError, match=words):
            learn_first(pupil, config, Stream)


def test_parts_that_rest_later_learn_first() -> None:
    network = net()
    network.taps.requires_grad_(False)
    before = network.taps.filters.weight.clone()
    learn_taps(network.taps, draw_pixels(network, taken(MOVING, 1), per_frame=50, seed=1), steps=3, batch=32)
    assert not torch.equal(network.taps.filters.weight, before)
    assert not any(parameter.requires_grad for parameter in network.taps.parameters())


def test_the_fraction_is_learned() -> None:
    """Slow and fast shutters are told apart on clips that were not learned from."""
    network = net()
    whole = replace(MOVING, size_px=96, exposure=(0.05, 1.0))
    network.fraction.requires_grad_(False)
    error = learn_fraction(network.fraction, draw_profiles(network, taken(whole, 16), seed=1), steps=300)
    assert error < 0.2
    assert not any(parameter.requires_grad for parameter in network.fraction.parameters())
    read = []
    for exposure in ((0.1, 0.11), (0.9, 0.91)):
        samples = draw_profiles(network, taken(replace(whole, exposure=exposure), 4), seed=2)
        assert samples.profiles.shape[1:] == (whole.frames, PROFILE_SIZE)
        readings = read_exposure(network.fraction(samples.profiles.sum(1)))
        assert (readings.taken <= readings.middle).all(), "doubt makes the correction smaller"
        read.append(float(readings.middle.mean()))
    assert read[1] - read[0] > 0.2


def test_the_config_says_what_learns_first() -> None:
    config = TrainConfig(
        network="tiny",
        synthesis=MOVING,
        batch=2,
        taps_first=TapsPretraining(clips=4, pixels=50, steps=5),
        fraction_first=ExposurePretraining(clips=2, synthesis=replace(MOVING, size_px=96, frames=2), steps=5),
    )
    network, made = net(), []

    def data(synthesis: SynthesisConfig) -> Stream:
        made.append((synthesis.size_px, synthesis.frames, Stream(synthesis)))
        return made[-1][2]

    before = {name: value.clone() for name, value in network.state_dict().items()}
    learn_first(network, config, data)
    assert [(size, frames, stream.served) for size, frames, stream in made] == [(96, 2, 2), (64, 3, 4)]
    changed = {
        name.split(".")[0] for name, value in network.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"taps", "fraction"}


def test_a_part_that_has_learned_is_left_alone() -> None:
    config = TrainConfig(
        network="tiny", synthesis=MOVING, batch=2, taps_first=TapsPretraining(clips=4, pixels=50, steps=5),
        fraction_first=ExposurePretraining(clips=2, synthesis=replace(MOVING, size_px=96, frames=2), steps=5),
    )  # fmt: skip
    network, told = net(), []
    before = {name: value.clone() for name, value in network.state_dict().items()}
    learn_first(network, config, Stream, done=("fraction",), learned=told.append)
    assert told == ["taps"]
    changed = {
        name.split(".")[0] for name, value in network.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"taps"}


def test_a_reader_is_taken_over(tmp_path: Path) -> None:
    other, pupil = net(), net()
    for parameter in other.fraction.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_network(other, tmp_path / "other.safetensors", {})
    config = TrainConfig(
        network="tiny", fraction_first=ExposurePretraining(reader_of=str(tmp_path / "other.safetensors"))
    )
    learn_first(pupil, config, None)
    for name, value in pupil.fraction.state_dict().items():
        torch.testing.assert_close(value, other.fraction.state_dict()[name].half().float())


def test_what_was_learned_first_outlives_an_interruption(tmp_path: Path) -> None:
    """Its weights come back bit for bit for the same config, and for no other."""
    taught, config = net(), TrainConfig(network="tiny", stills=("photos",))
    for parameter in taught.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_first(tmp_path, config, taught, ["fraction"])
    other = net()
    assert load_first(tmp_path, replace(config, seed=2), other) == ([], {})
    assert load_first(tmp_path, config, other) == (["fraction"], {})
    assert all(torch.equal(one, another) for one, another in zip(taught.parameters(), other.parameters(), strict=True))
    (tmp_path / "first.pt").write_bytes(b"cut off")
    assert load_first(tmp_path, config, other) == ([], {})
    forget_first(tmp_path)
    forget_first(tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_a_wish_nothing_learns_first() -> None:
    network = net()
    before = network.taps.filters.weight.clone()
    learn_first(network, TrainConfig(network="tiny"), None)
    assert torch.equal(network.taps.filters.weight, before)


def test_pairs_alone_cannot_teach_the_parts() -> None:
    config = TrainConfig(network="tiny", taps_first=TapsPretraining(clips=1))
    with pytest.raises(UsageError, match="taps_first need stills or videos"):
        learn_first(net(), config, None)
