"""CPU kernel of the image refiner's input against plain operators, in float32 and bfloat16."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from support.kernel_fixtures import working_kernels  # noqa: F401
from support.tap_scenes import PRESENT, noise, scene
from vdeblur.kernels import cpu as cpu_kernels
from vdeblur.kernels.dispatch import without_kernels
from vdeblur.model.image_refiner import FrameContext, ImageRefiner
from vdeblur.model.regions import Region, full_region

DETAILS, COARSE = 5, 4


def image_refiner() -> ImageRefiner:
    torch.manual_seed(0)
    made = ImageRefiner(channels=(8, 8, 8), blocks=(1, 1, 1), details=DETAILS, coarse=COARSE)
    torch.nn.init.normal_(made.head.weight, std=0.1)
    return made


def frame_context(present: tuple[bool, ...], height: int, width: int, batch: int, dtype: torch.dtype) -> FrameContext:
    frame, other, after = (noise(batch, 3, height, width, scale=0.2, seed=seed).add(0.5) for seed in range(3))
    _, motion, fused = scene(present, height, width, batch)
    motion[..., width // 16 :] = 3  # here pixels are picked from windows
    frames = zip(fused, (other, after), strict=True)
    neighbours = [one._replace(frame=None if one.frame is None else picture) for one, picture in frames]
    residual, details = noise(batch, 3, height, width, scale=0.1, seed=5), noise(batch, DETAILS, height, width, seed=6)
    coarse = noise(batch, COARSE, height // 8, width // 8, seed=7).to(dtype)
    return FrameContext.create(frame, residual, details, neighbours, coarse, motion)


def both(refiner: ImageRefiner, context: FrameContext, region: Region) -> tuple[Tensor, Tensor]:
    """Inputs gathered by the kernel and by plain operators."""
    with torch.inference_mode():
        fused = refiner._inputs(context, region)
        with without_kernels():
            return fused, refiner._inputs(context, region)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("height", "width", "batch"), [(32, 32, 1), (40, 72, 2), (56, 200, 1)])
def test_kernels_equal_plain_operators(height: int, width: int, batch: int, dtype: torch.dtype) -> None:
    for present in PRESENT:
        context = frame_context(present, height, width, batch, dtype)
        for region in (full_region(context.frame), Region(8, 24, 16, width - 8)):
            fused, plain = both(image_refiner(), context, region)
            assert (fused.shape, fused.stride(), fused.dtype) == (plain.shape, plain.stride(), dtype)
            difference = (fused - plain).float().abs()
            assert difference.max() < (2e-4 if dtype == torch.float32 else 0.04)
            assert difference.mean() < 1e-5


@pytest.mark.parametrize("rounded", [True, False])
def test_a_processor_without_bfloat16_gives_the_same(rounded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_kernels.image_refiner, "BF16_DOT", cpu_kernels.image_refiner.BF16_DOT and rounded)
    context = frame_context((True, True), 40, 72, 1, torch.bfloat16)
    fused, plain = both(image_refiner(), context, full_region(context.frame))
    assert (fused - plain).float().abs().mean() < 1e-5


def test_a_refiner_uses_them_and_regions_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    kernel = cpu_kernels.gather_refiner_inputs
    monkeypatch.setattr(cpu_kernels, "gather_refiner_inputs", lambda *args: (calls.append(args), kernel(*args))[1])
    context, region = frame_context((True, True), 96, 320, 1, torch.float32), Region(8, 80, 24, 296)
    with torch.inference_mode():
        refiner = image_refiner()
        change = refiner(context, full_region(context.frame))
        assert len(calls) == 1
        with without_kernels():
            assert (change - refiner(context, full_region(context.frame))).abs().max() < 1e-4
        assert change.abs().max() > 1e-3
        assert torch.equal(
            refiner._inputs(context, region),
            region.downscaled(2).crop(refiner._inputs(context, full_region(context.frame))),
        )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_nan_and_infinity_stay_local(value: float) -> None:
    context = frame_context((True, True), 40, 104, 1, torch.float32)
    for there in (context.step, context.neighbours[0].step, context.restored):  # type: ignore[union-attr]
        there[..., 1, 2] = value
    fused, plain = both(image_refiner(), context, full_region(context.frame))
    far = (fused - plain).abs() > 1e-3
    assert not far[..., 12:, 40:].any(), "far from there nothing changes"


def test_gradients_come_from_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_kernels, "gather_refiner_inputs", lambda *args: pytest.fail("not for kernels"))
    refiner, context = image_refiner(), frame_context((True, True), 32, 32, 1, torch.float32)
    refiner(context, full_region(context.frame)).sum().backward()
    assert refiner.enter.weight.grad is not None
