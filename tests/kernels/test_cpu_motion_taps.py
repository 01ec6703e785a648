"""Native: pixels with motions of their own give what the plain operators give, in float32 and in pairs of bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from numba import njit
from torch import Tensor

from support.tap_scenes import PRESENT, noise, scene, steered_taps
from vdeblur.kernels import cpu as cpu_kernels
from vdeblur.kernels import dispatch
from vdeblur.kernels.cpu.jit import vectors
from vdeblur.kernels.cpu.simd import BF16_DOT, LANES
from vdeblur.kernels.dispatch import kernels_for, without_kernels
from vdeblur.metrics import psnr
from vdeblur.model.checkpoint import load_network
from vdeblur.model.motion_taps import Deconvolution, MotionTaps, Neighbour
from vdeblur.model.regions import Region

Seen = tuple[Tensor, Tensor, Tensor, list[Neighbour]]

FORMS: dict[str, Callable[[], MotionTaps]] = {
    "balanced": steered_taps,
    "quality": lambda: steered_taps(details=12),
    "odd": lambda: steered_taps(
        taps=5, hidden=21, depth=0, features=1, guides=3, points=1, lateral_points=0, details=1
    ),
    "alone": lambda: steered_taps(taps=3, hidden=24, depth=1, guides=1, neighbours=0, points=0, lateral_points=2),
}


@pytest.fixture(autouse=True)
def _working() -> Any:
    """Without kernels these tests would compare operators with themselves; a failing kernel is given up quietly."""
    assert kernels_for(torch.device("cpu")) is not None
    yield
    assert not dispatch._broken


def sights(
    taps: MotionTaps, present: tuple[bool, ...], height: int, width: int, batch: int = 1, *, smooth: bool = False
) -> Seen:
    """``smooth``: motion that changes little from cell to cell, so that pixels are picked from windows."""
    frame, motion, neighbours = scene(present, height, width, batch)
    if smooth:
        motion = 5 + motion / 20
        neighbours = [one._replace(displacement=one.displacement / 50 - 7) for one in neighbours]
    guide = noise(batch, taps.guides, height // 8, width // 8, seed=40).to(taps.filters.weight.dtype)
    return frame, motion, guide, neighbours if len(taps.neighbour_offsets) else []


def both(taps: MotionTaps, seen: Seen, area: Region | None = None) -> tuple[Deconvolution, Deconvolution]:
    """What kernels and what operators make of it."""
    with torch.inference_mode():
        found = taps(*seen, area)
        with without_kernels():
            return found, taps(*seen, area)


@pytest.mark.parametrize(("height", "width", "batch"), [(32, 32, 1), (40, 72, 2), (56, 200, 1)])
@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_kernels_give_what_operators_give(form: str, smooth: bool, height: int, width: int, batch: int) -> None:
    taps = FORMS[form]()
    for present in PRESENT if len(taps.neighbour_offsets) else [()]:
        for area in (None, Region(8, 28, 12, width - 4)):
            found, wanted = both(taps, sights(taps, present, height, width, batch, smooth=smooth), area)
            assert wanted.correction.abs().max() > 0.01
            for one, other in zip(found, wanted, strict=True):
                assert one.shape == other.shape
                assert torch.allclose(one, other, rtol=0, atol=6e-5)  # the operators' places are less exact


@pytest.mark.parametrize("form", FORMS)
def test_bfloat16_is_as_near_as_with_operators(form: str) -> None:
    exact_taps, taps = FORMS[form](), FORMS[form]().to(torch.bfloat16)
    present = (True, True) if len(taps.neighbour_offsets) else ()
    exact, _ = both(exact_taps, sights(exact_taps, present, 56, 200))
    found, wanted = both(taps, sights(taps, present, 56, 200))
    assert found.texture.dtype == torch.bfloat16
    for one, other, right in zip(found, wanted, exact, strict=True):
        if right.numel():
            error, plain = (one - right).abs(), (other - right).abs()
            assert error.mean() < plain.mean() * 1.05 + 1e-5
            assert error.max() < plain.max() * 1.5 + 1e-5


def test_pairs_are_taken_where_the_processor_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere bfloat16 weights meet float32 numbers: both are nearer to the truth than operators."""
    asked: list[str] = []
    for name in ("_rows", "_rows_bf16"):
        kernel = getattr(cpu_kernels.motion_taps, name)
        monkeypatch.setattr(cpu_kernels.motion_taps, name, lambda *args, k=kernel, n=name: (asked.append(n), k(*args)))
    seen = sights(steered_taps(), (True, True), 32, 32)
    with torch.inference_mode():
        steered_taps()(*seen)
        steered_taps().to(torch.bfloat16)(*seen)
        assert asked == ["_rows", "_rows_bf16" if BF16_DOT else "_rows"]
        monkeypatch.setattr(cpu_kernels.motion_taps, "BF16_DOT", False)
        steered_taps().to(torch.bfloat16)(*seen)
    assert asked[2:] == ["_rows"]


@pytest.mark.parametrize("smooth", [True, False])
def test_areas_strips_and_threads_give_the_same_bits(smooth: bool) -> None:
    taps = steered_taps()
    seen, area = sights(taps, (True, True), 128, 320, smooth=smooth), Region(4, 124, 20, 300)
    threads = torch.get_num_threads()
    with torch.inference_mode():
        whole = []
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            whole.append(taps(*seen))
        torch.set_num_threads(threads)
        part = taps(*seen, area)
    for each in whole[1:]:
        assert all(torch.equal(one, other) for one, other in zip(each, whole[0], strict=True))
    assert torch.equal(part.correction, area.crop(whole[0].correction))
    assert torch.equal(part.texture, area.downscaled(4).crop(whole[0].texture))


@pytest.mark.parametrize("what", ["pixels", "motion", "place", "trust", "guide"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_no_number_does_no_harm_and_comes_through(dtype: torch.dtype, what: str, value: float) -> None:
    """It must not become an address; and the engine tells a failed network by nan in the residual."""
    taps = steered_taps().to(dtype)
    frame, motion, guide, neighbours = sights(taps, (True, True), 40, 104)
    there = {"pixels": frame, "motion": motion, "place": neighbours[0].displacement, "trust": neighbours[1].mismatch}
    {**there, "guide": guide}[what][..., 1, 2] = value
    found, wanted = both(taps, (frame, motion, guide, neighbours))
    if value != value and what != "place":
        assert found.correction.isnan().any()
    far = (found.correction - wanted.correction).abs() > (1e-4 if dtype == torch.float32 else 0.02)
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
        found, _ = network(tuple(frames))
        assert len(calls) == 1
        with without_kernels():
            wanted, _ = network(tuple(frames))
        assert len(calls) == 1
        rounded, _ = network.to(torch.bfloat16)(tuple(frames))
    assert len(calls) == 2
    assert (found - wanted).abs().mean() < 1e-4, "the flow is by a kernel, too"
    assert psnr(rounded, wanted) > 50


def test_changed_weights_count() -> None:
    """What the kernels make of them is kept."""
    taps = steered_taps()
    seen = sights(taps, (True, True), 32, 32)
    with torch.inference_mode():
        before = taps(*seen)
    for parameter in (taps.filters.weight, taps.mix[1].bias, taps.correction.weight):
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.add_(0.1)
        with torch.inference_mode():
            assert not torch.equal(taps(*seen).correction, before.correction)
        with torch.no_grad():
            parameter.copy_(kept)
    with torch.inference_mode():
        assert torch.equal(taps(*seen).correction, before.correction)
    taps.to(torch.bfloat16).to(torch.float32)
    with torch.inference_mode():
        assert not torch.equal(taps(*seen).correction, before.correction)


def test_operators_do_what_kernels_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coarser taps, other dtypes, and gradients."""
    monkeypatch.setattr(cpu_kernels, "apply_motion_taps", lambda *args: pytest.fail("not for kernels"))
    for taps in (steered_taps(scale=2), steered_taps().half()):
        with torch.inference_mode():
            taps(*sights(taps, (True, True), 32, 32))
    taps = steered_taps()
    taps(*sights(taps, (True, True), 32, 32)).correction.sum().backward()
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
