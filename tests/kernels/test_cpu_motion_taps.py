"""CPU kernel of motion taps against plain operators, in float32 and bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from numba import njit
from torch import Tensor

from support.kernel_fixtures import working_kernels  # noqa: F401
from support.tap_scenes import PRESENT, motion_taps, noise, scene
from vdeblur.kernels import cpu as cpu_kernels
from vdeblur.kernels.cpu.jit import vectors
from vdeblur.kernels.cpu.simd import BF16_DOT, LANES
from vdeblur.kernels.dispatch import without_kernels
from vdeblur.metrics import psnr
from vdeblur.model.checkpoint import load_network
from vdeblur.model.motion_taps import Deconvolution, MotionTaps, Neighbour
from vdeblur.model.regions import Region

Inputs = tuple[Tensor, Tensor, Tensor, list[Neighbour]]

FORMS: dict[str, Callable[[], MotionTaps]] = {
    "balanced": motion_taps,
    "quality": lambda: motion_taps(details=12),
    "odd": lambda: motion_taps(taps=5, hidden=21, depth=0, features=1, guides=3, points=1, lateral_points=0, details=1),
    "alone": lambda: motion_taps(taps=3, hidden=24, depth=1, guides=1, neighbours=0, points=0, lateral_points=2),
}


def inputs_of(
    taps: MotionTaps, present: tuple[bool, ...], height: int, width: int, batch: int = 1, *, smooth: bool = False
) -> Inputs:
    """``smooth``: motion that changes little from cell to cell, so that pixels are picked from windows."""
    frame, motion, neighbours = scene(present, height, width, batch)
    if smooth:
        motion = 5 + motion / 20
        neighbours = [one._replace(displacement=one.displacement / 50 - 7) for one in neighbours]
    guide = noise(batch, taps.guides, height // 8, width // 8, seed=40).to(taps.filters.weight.dtype)
    return frame, motion, guide, neighbours if len(taps.neighbour_offsets) else []


def both(taps: MotionTaps, inputs: Inputs, region: Region | None = None) -> tuple[Deconvolution, Deconvolution]:
    """Output of the kernel and of plain operators."""
    with torch.inference_mode():
        fused = taps(*inputs, region)
        with without_kernels():
            return fused, taps(*inputs, region)


@pytest.mark.parametrize(("height", "width", "batch"), [(32, 32, 1), (40, 72, 2), (56, 200, 1)])
@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_kernels_equal_plain_operators(form: str, smooth: bool, height: int, width: int, batch: int) -> None:
    taps = FORMS[form]()
    for present in PRESENT if len(taps.neighbour_offsets) else [()]:
        for region in (None, Region(8, 28, 12, width - 4)):
            fused, plain = both(taps, inputs_of(taps, present, height, width, batch, smooth=smooth), region)
            assert plain.correction.abs().max() > 0.01
            for one, other in zip(fused, plain, strict=True):
                assert one.shape == other.shape
                assert torch.allclose(one, other, rtol=0, atol=6e-5)  # the operators' places are less exact


@pytest.mark.parametrize("form", FORMS)
def test_bfloat16_is_as_near_as_with_operators(form: str) -> None:
    exact_taps, taps = FORMS[form](), FORMS[form]().to(torch.bfloat16)
    present = (True, True) if len(taps.neighbour_offsets) else ()
    exact, _ = both(exact_taps, inputs_of(exact_taps, present, 56, 200))
    fused, plain = both(taps, inputs_of(taps, present, 56, 200))
    assert fused.texture.dtype == torch.bfloat16
    for one, other, right in zip(fused, plain, exact, strict=True):
        if right.numel():
            error, plain_error = (one - right).abs(), (other - right).abs()
            assert error.mean() < plain_error.mean() * 1.05 + 1e-5
            assert error.max() < plain_error.max() * 1.5 + 1e-5


def test_bfloat16_dot_products_are_used_where_the_cpu_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere bfloat16 weights meet float32 numbers: both are nearer to the truth than operators."""
    asked: list[str] = []
    for name in ("_rows", "_rows_bf16"):
        kernel = getattr(cpu_kernels.motion_taps, name)
        monkeypatch.setattr(cpu_kernels.motion_taps, name, lambda *args, k=kernel, n=name: (asked.append(n), k(*args)))
    inputs = inputs_of(motion_taps(), (True, True), 32, 32)
    with torch.inference_mode():
        motion_taps()(*inputs)
        motion_taps().to(torch.bfloat16)(*inputs)
        assert asked == ["_rows", "_rows_bf16" if BF16_DOT else "_rows"]
        monkeypatch.setattr(cpu_kernels.motion_taps, "BF16_DOT", False)
        motion_taps().to(torch.bfloat16)(*inputs)
    assert asked[2:] == ["_rows"]


@pytest.mark.parametrize("smooth", [True, False])
def test_regions_strips_and_threads_give_the_same_bits(smooth: bool) -> None:
    taps = motion_taps()
    inputs, region = inputs_of(taps, (True, True), 128, 320, smooth=smooth), Region(4, 124, 20, 300)
    threads = torch.get_num_threads()
    with torch.inference_mode():
        whole = []
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            whole.append(taps(*inputs))
        torch.set_num_threads(threads)
        part = taps(*inputs, region)
    for each in whole[1:]:
        assert all(torch.equal(one, other) for one, other in zip(each, whole[0], strict=True))
    assert torch.equal(part.correction, region.crop(whole[0].correction))
    assert torch.equal(part.texture, region.downscaled(4).crop(whole[0].texture))


@pytest.mark.parametrize("what", ["pixels", "motion", "place", "trust", "guide"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nan_and_infinity_stay_local_and_propagate(dtype: torch.dtype, what: str, value: float) -> None:
    """They must not become addresses; and the engine detects a failed network by nan in the residual."""
    taps = motion_taps().to(dtype)
    frame, motion, guide, neighbours = inputs_of(taps, (True, True), 40, 104)
    there = {"pixels": frame, "motion": motion, "place": neighbours[0].displacement, "trust": neighbours[1].mismatch}
    {**there, "guide": guide}[what][..., 1, 2] = value
    fused, plain = both(taps, (frame, motion, guide, neighbours))
    if value != value and what != "place":
        assert fused.correction.isnan().any()
    far = (fused.correction - plain.correction).abs() > (1e-4 if dtype == torch.float32 else 0.02)
    assert not far[..., 24:, 80:].any(), "far from there nothing changes"


@pytest.mark.parametrize("name", ["balanced", "quality"])
def test_networks_use_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And stay what they are: within rounding in float32, and beyond 50 dB from there in bfloat16."""
    calls: list[Any] = []
    kernel = cpu_kernels.apply_motion_taps
    monkeypatch.setattr(cpu_kernels, "apply_motion_taps", lambda *args: (calls.append(args), kernel(*args))[1])
    network = load_network(name).eval()
    frames = [noise(1, 3, 32, 32, scale=0.25, seed=seed).add(0.5).clamp(0, 1) for seed in range(3)]
    frames = [torch.nn.functional.interpolate(frame, scale_factor=4, mode="bilinear") for frame in frames]
    with torch.inference_mode():
        fused, _ = network(tuple(frames))
        assert len(calls) == 1
        with without_kernels():
            plain, _ = network(tuple(frames))
        assert len(calls) == 1
        rounded, _ = network.to(torch.bfloat16)(tuple(frames))
    assert len(calls) == 2
    assert (fused - plain).abs().mean() < 1e-4, "the flow is by a kernel, too"
    assert psnr(rounded, plain) > 50


def test_changed_weights_count() -> None:
    """Packed weights are cached."""
    taps = motion_taps()
    inputs = inputs_of(taps, (True, True), 32, 32)
    with torch.inference_mode():
        before = taps(*inputs)
    for parameter in (taps.filters.weight, taps.mix[1].bias, taps.correction.weight):
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.add_(0.1)
        with torch.inference_mode():
            assert not torch.equal(taps(*inputs).correction, before.correction)
        with torch.no_grad():
            parameter.copy_(kept)
    with torch.inference_mode():
        assert torch.equal(taps(*inputs).correction, before.correction)
    taps.to(torch.bfloat16).to(torch.float32)
    with torch.inference_mode():
        assert not torch.equal(taps(*inputs).correction, before.correction)


def test_operators_are_the_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coarser taps, other dtypes, and gradients."""
    monkeypatch.setattr(cpu_kernels, "apply_motion_taps", lambda *args: pytest.fail("not for kernels"))
    for taps in (motion_taps(scale=2), motion_taps().half()):
        with torch.inference_mode():
            taps(*inputs_of(taps, (True, True), 32, 32))
    taps = motion_taps()
    taps(*inputs_of(taps, (True, True), 32, 32)).correction.sum().backward()
    assert taps.filters.weight.grad is not None
    assert taps.filters.weight.grad.abs().sum() > 0


def test_exponents_and_mantissas() -> None:
    load, store, exponent, mantissa = vectors.load, vectors.store, vectors.exponent, vectors.mantissa

    @njit
    def work(x: Any, result: Any) -> None:
        value = load(x, 0)
        store(result, 0, exponent(value))
        store(result, LANES, mantissa(value))

    x, result = noise(LANES, scale=5).exp(), torch.zeros(2, LANES)
    work(x.data_ptr(), result.data_ptr())
    mantissas, exponents = torch.frexp(x)
    assert torch.equal(result, torch.stack((exponents - 1.0, mantissas * 2)))
