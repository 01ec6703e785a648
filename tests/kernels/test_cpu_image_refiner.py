"""Native: what a finish looks at is what the plain operators look at, in float32 and in bfloat16."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from support.tap_scenes import PRESENT, noise, scene
from vdeblur.kernels import cpu as cpu_kernels
from vdeblur.kernels import dispatch
from vdeblur.kernels.dispatch import kernels_for, without_kernels
from vdeblur.model.image_refiner import FrameContext, ImageRefiner
from vdeblur.model.regions import Region, full_region

DETAILS, COARSE = 5, 4


@pytest.fixture(autouse=True)
def _working() -> Any:
    """Without kernels these tests would compare operators with themselves; a failing kernel is given up quietly."""
    assert kernels_for(torch.device("cpu")) is not None
    yield
    assert not dispatch._broken


def finish() -> ImageRefiner:
    torch.manual_seed(0)
    made = ImageRefiner(channels=(8, 8, 8), blocks=(1, 1, 1), details=DETAILS, coarse=COARSE)
    torch.nn.init.normal_(made.head.weight, std=0.1)
    return made


def restored(present: tuple[bool, ...], height: int, width: int, batch: int, dtype: torch.dtype) -> FrameContext:
    frame, other, after = (noise(batch, 3, height, width, scale=0.2, seed=seed).add(0.5) for seed in range(3))
    _, motion, found = scene(present, height, width, batch)
    motion[..., width // 16 :] = 3  # here pixels are picked from windows
    frames = zip(found, (other, after), strict=True)
    neighbours = [one._replace(frame=None if one.frame is None else picture) for one, picture in frames]
    residual, details = noise(batch, 3, height, width, scale=0.1, seed=5), noise(batch, DETAILS, height, width, seed=6)
    coarse = noise(batch, COARSE, height // 8, width // 8, seed=7).to(dtype)
    return FrameContext.create(frame, residual, details, neighbours, coarse, motion)


def both(form: ImageRefiner, seen: FrameContext, area: Region) -> tuple[Tensor, Tensor]:
    """What kernels and what operators see."""
    with torch.inference_mode():
        found = form._inputs(seen, area)
        with without_kernels():
            return found, form._inputs(seen, area)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("height", "width", "batch"), [(32, 32, 1), (40, 72, 2), (56, 200, 1)])
def test_kernels_see_what_operators_see(height: int, width: int, batch: int, dtype: torch.dtype) -> None:
    for present in PRESENT:
        seen = restored(present, height, width, batch, dtype)
        for area in (full_region(seen.frame), Region(8, 24, 16, width - 8)):
            found, wanted = both(finish(), seen, area)
            assert (found.shape, found.stride(), found.dtype) == (wanted.shape, wanted.stride(), dtype)
            difference = (found - wanted).float().abs()
            assert difference.max() < (2e-4 if dtype == torch.float32 else 0.04)
            assert difference.mean() < 1e-5


@pytest.mark.parametrize("rounded", [True, False])
def test_a_processor_without_bfloat16_gives_the_same(rounded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_kernels.image_refiner, "BF16_DOT", cpu_kernels.image_refiner.BF16_DOT and rounded)
    seen = restored((True, True), 40, 72, 1, torch.bfloat16)
    found, wanted = both(finish(), seen, full_region(seen.frame))
    assert (found - wanted).float().abs().mean() < 1e-5


def test_a_finish_uses_them_and_areas_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    kernel = cpu_kernels.gather_refiner_inputs
    monkeypatch.setattr(cpu_kernels, "gather_refiner_inputs", lambda *args: (calls.append(args), kernel(*args))[1])
    seen, area = restored((True, True), 96, 320, 1, torch.float32), Region(8, 80, 24, 296)
    with torch.inference_mode():
        form = finish()
        change = form(seen, full_region(seen.frame))
        assert len(calls) == 1
        with without_kernels():
            assert (change - form(seen, full_region(seen.frame))).abs().max() < 1e-4
        assert change.abs().max() > 1e-3
        assert torch.equal(
            form._inputs(seen, area), area.downscaled(2).crop(form._inputs(seen, full_region(seen.frame)))
        )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_what_is_no_number_does_no_harm(value: float) -> None:
    seen = restored((True, True), 40, 104, 1, torch.float32)
    for there in (seen.step, seen.neighbours[0].step, seen.restored):  # type: ignore[union-attr]
        there[..., 1, 2] = value
    found, wanted = both(finish(), seen, full_region(seen.frame))
    far = (found - wanted).abs() > 1e-3
    assert not far[..., 12:, 40:].any(), "far from there nothing changes"


def test_gradients_come_from_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_kernels, "gather_refiner_inputs", lambda *args: pytest.fail("not for kernels"))
    form, seen = finish(), restored((True, True), 32, 32, 1, torch.float32)
    form(seen, full_region(seen.frame)).sum().backward()
    assert form.enter.weight.grad is not None
