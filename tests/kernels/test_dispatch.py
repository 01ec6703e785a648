"""Kernel dispatch: fused kernels equal plain operators, and a failing backend is disabled with one log message.

Those for a CPU are tried in test_cpu_kernels.py. Triton can interpret its kernels on a CPU: that runs where Triton is
installed. The tests marked ``cuda`` run them.
"""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import Tensor

from support.media.recording import Recording
from support.tap_scenes import PRESENT, mixture_taps, motion_taps, noise, scene, shared_taps
from vdeblur.kernels import dispatch
from vdeblur.model.block_sampling import median_filter
from vdeblur.model.block_taps import BlockTaps
from vdeblur.model.checkpoint import load_network
from vdeblur.model.motion_taps import Neighbour
from vdeblur.model.optical_flow import build_pyramid, estimate_flows
from vdeblur.model.regions import Region

LUMA_NETWORKS = ("fast", "swift")


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Triton kernels run by its interpreter on the CPU."""
    kernels = pytest.importorskip("vdeblur.kernels.triton", reason="Triton is not installed")
    for module in ("block_taps", "optical_flow", "motion_taps"):
        monkeypatch.setattr(f"vdeblur.model.{module}.try_kernels", lambda like, work: work(kernels))
    return kernels


def on(device: str, *things: Any) -> list[Any]:
    def moved(thing: Any) -> Any:
        if isinstance(thing, Tensor):
            return thing.to(device)
        return [Neighbour(*(part if part is None else part.to(device) for part in one)) for one in thing]

    return [moved(thing) for thing in things]


def test_interpreted_block_taps_equal_plain_operators(interpreted: Any) -> None:
    plain, small = shared_taps(depth=1, neighbour_points=1), {"taps": 7, "hidden": 12, "experts": 3, "code": 10}
    bare = shared_taps(taps=5, reach=1.0, hidden=20, depth=0, neighbour_points=0)
    cases: list[tuple[BlockTaps, tuple[bool, ...]]] = [(plain, one) for one in PRESENT]
    cases += [(bare, ()), (mixture_taps(neighbour_points=0, **small), ())]
    cases += [(mixture_taps(**small), one) for one in PRESENT]
    for taps, present in cases:
        frame, motion, neighbours = scene(present, 24, 40, batch=2)
        with torch.inference_mode():
            found = taps(frame, motion, neighbours)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("vdeblur.model.block_taps.try_kernels", lambda like, work: None)
                wanted = taps(frame, motion, neighbours)
        assert wanted.abs().max() > 0.01
        assert (found - wanted).abs().max() < 2e-5


MOTION_TAPS_CASES = [
    *((present, 3, 3, 5, None) for present in PRESENT),
    ((True, True), 3, 0, 0, Region(8, 24, 16, 68)),
    ((), 0, 3, 5, Region(4, 32, 0, 72)),
]


@pytest.mark.parametrize(("present", "points", "beside", "details", "area"), MOTION_TAPS_CASES)
def test_interpreted_motion_taps_equal_plain_operators(
    present: tuple[bool, ...], points: int, beside: int, details: int, area: Region | None, interpreted: Any
) -> None:
    taps = motion_taps(taps=7, hidden=24, features=3, guides=4, points=points, lateral_points=beside, details=details)
    frame, motion, neighbours = scene(present, 32, 72, batch=2)
    guide = noise(2, 4, 4, 9)
    with torch.inference_mode():
        found = taps(frame, motion, guide, neighbours, area)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("vdeblur.model.motion_taps.try_kernels", lambda like, work: None)
            wanted = taps(frame, motion, guide, neighbours, area)
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        assert not other.numel() or other.abs().max() > 0.05
        assert torch.allclose(one, other, rtol=0, atol=2e-5)
    assert found.texture.is_contiguous(memory_format=torch.channels_last)


def test_weights_for_kernels_are_made_on_the_device(interpreted: Any) -> None:
    mixed, plain, steered = mixture_taps(), shared_taps(depth=1, neighbour_points=1), motion_taps()
    with torch.inference_mode(), Recording() as recording:
        interpreted.block_taps._pack_mixture_weights(mixed, 32)
        interpreted.block_taps.pack_weights(plain.filters, plain.mix, plain.correction)
        interpreted.motion_taps._pack_weights(steered)
    assert recording.operations


@pytest.mark.parametrize(("height", "width"), [(64, 96), (72, 136)])
def test_interpreted_flows_equal_plain_operators(interpreted: Any, height: int, width: int) -> None:
    wide = torch.nn.functional.avg_pool2d(noise(2, 1, height + 26, width + 26), 15, 1)
    frames = [wide[..., 3 * n : 3 * n + height, 2 * n : 2 * n + width].contiguous() for n in range(3)]
    here, *others = (build_pyramid(frame, 2) for frame in frames)
    found = estimate_flows(here, others, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vdeblur.model.optical_flow.try_kernels", lambda like, work: None)
        wanted = estimate_flows(here, others, 2)
    for one, other in zip(found, wanted, strict=True):
        assert other.displacement.abs().max() > 1
        assert (one.displacement - other.displacement).abs().max() < 1e-3
        assert (one.mismatch - other.mismatch).abs().max() < 1e-3


def test_interpreted_median_filter_equals_plain_operators(interpreted: Any) -> None:
    for shape in ((2, 2, 5, 7), (1, 1, 24, 40), (1, 2, 3, 3)):
        assert torch.equal(interpreted.median_filter(noise(*shape)), median_filter(noise(*shape)))


class Elsewhere:
    """A tensor's device that is no CPU, for what looks no further."""

    device = torch.device("cuda:0")


def test_a_failing_backend_is_disabled_and_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dispatch, "_broken", set())
    monkeypatch.setattr(dispatch, "_module", lambda *name: object())
    monkeypatch.setattr(dispatch, "capability", lambda device: (9, 0))
    tried = []

    def work(kernels: Any) -> Any:
        tried.append(kernels)
        raise RuntimeError("PTX was compiled with an unsupported toolchain\nand more")

    like: Any = Elsewhere()
    with caplog.at_level(logging.WARNING), torch.no_grad():
        assert dispatch.try_kernels(like, work) is None
        assert dispatch.try_kernels(like, work) is None
    assert len(tried) == 1
    (record,) = caplog.records
    assert "unsupported toolchain" in record.message
    assert "\n" not in record.message


@pytest.mark.parametrize("case", ["gradients", "old device", "no Triton", "without"])
def test_kernels_are_not_tried_where_they_cannot_be(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_broken", set())
    monkeypatch.setattr(dispatch, "_module", lambda *name: None if case == "no Triton" else object())
    monkeypatch.setattr(dispatch, "capability", lambda device: (7, 5) if case == "old device" else (9, 0))
    like: Any = Elsewhere()
    with torch.set_grad_enabled(case == "gradients"):
        if case == "without":
            with dispatch.without_kernels():
                assert dispatch.try_kernels(like, lambda kernels: 1) is None
            assert dispatch.try_kernels(like, lambda kernels: 1) == 1
        else:
            assert dispatch.try_kernels(like, lambda kernels: 1) is None


def test_out_of_memory_in_a_kernel_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_broken", set())
    monkeypatch.setattr(dispatch, "_module", lambda *name: object())
    monkeypatch.setattr(dispatch, "capability", lambda device: (9, 0))

    def work(kernels: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    like: Any = Elsewhere()
    with torch.no_grad(), pytest.raises(torch.OutOfMemoryError):
        dispatch.try_kernels(like, work)
    assert not dispatch._broken


# --- CUDA -------------------------------------------------------------------------------------------------------------


@pytest.mark.cuda
@pytest.mark.parametrize("name", LUMA_NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_cuda_block_taps_equal_plain_operators(name: str, dtype: torch.dtype) -> None:
    """Against float32 operators on the CPU, the offsets rounded alike; in 16 bits as near as operators come."""
    plain = load_network(name).taps
    taps = load_network(name).taps.to("cuda", dtype)
    plain.offsets, plain.neighbour_offsets = taps.offsets.float().cpu(), taps.neighbour_offsets.float().cpu()
    for present in PRESENT:
        frame, motion, neighbours = scene(present, 64, 200, batch=2)
        with torch.inference_mode():
            wanted = plain(frame, motion, neighbours)
            there = on("cuda", frame, motion, neighbours)
            found = taps(*there).cpu()
            with dispatch.without_kernels():
                operators = taps(*there).cpu()
        assert not dispatch._broken
        worst, usual = (found - wanted).abs().max(), (operators - wanted).abs().max()
        assert worst < (1e-4 if dtype == torch.float32 else 1.5 * usual + 1e-4)


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["balanced", "quality"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_cuda_motion_taps_equal_plain_operators(name: str, dtype: torch.dtype) -> None:
    plain = load_network(name).taps
    taps = load_network(name).taps.to("cuda", dtype)
    for buffer in ("offsets", "neighbour_offsets", "lateral_offsets"):
        setattr(plain, buffer, getattr(taps, buffer).float().cpu())
    for present in PRESENT:
        frame, motion, neighbours = scene(present, 64, 200, batch=2)
        guide = noise(2, taps.guides, 8, 25)
        with torch.inference_mode():
            wanted = plain(frame, motion, guide, neighbours)
            there = on("cuda", frame, motion, guide.to(dtype), neighbours)
            found = taps(*there)
            for _ in range(20):
                assert all(torch.equal(*each) for each in zip(found, taps(*there), strict=True))
            with dispatch.without_kernels():
                operators = taps(*there)
        assert not dispatch._broken
        for one, usual, other in zip(found, operators, wanted, strict=True):
            worst = (one.cpu().float() - other).abs().max() if other.numel() else 0
            usually = (usual.cpu().float() - other).abs().max() if other.numel() else 0
            assert worst < (1e-3 if dtype == torch.float32 else 1.5 * usually + 1e-3)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cuda_shared_taps_equal_plain_operators(dtype: torch.dtype) -> None:
    plain = shared_taps(hidden=48, depth=2, neighbour_points=3)
    taps = shared_taps(hidden=48, depth=2, neighbour_points=3).to("cuda", dtype)
    plain.offsets, plain.neighbour_offsets = taps.offsets.float().cpu(), taps.neighbour_offsets.float().cpu()
    frame, motion, neighbours = scene((True, True), 64, 200, batch=2)
    with torch.inference_mode():
        wanted = plain(frame, motion, neighbours)
        there = on("cuda", frame, motion, neighbours)
        found = taps(*there)
        for _ in range(20):
            assert torch.equal(found, taps(*there))
        with dispatch.without_kernels():
            operators = taps(*there).cpu()
    assert not dispatch._broken
    worst, usual = (found.cpu() - wanted).abs().max(), (operators - wanted).abs().max()
    assert worst < (1e-4 if dtype == torch.float32 else 1.5 * usual + 1e-4)


@pytest.mark.cuda
def test_cuda_flows_equal_plain_operators() -> None:
    height, width = 264, 392
    wide = torch.nn.functional.avg_pool2d(noise(2, 1, height + 26, width + 26), 15, 1).cuda()
    frames = [wide[..., 3 * n : 3 * n + height, 2 * n : 2 * n + width].contiguous() for n in range(3)]
    here, *others = (build_pyramid(frame, 2) for frame in frames)
    found = estimate_flows(here, others, 2)
    assert not dispatch._broken
    with dispatch.without_kernels():
        wanted = estimate_flows(here, others, 2)
    for one, other in zip(found, wanted, strict=True):
        assert (one.displacement - other.displacement).abs().mean() < 1e-3
        assert (one.mismatch - other.mismatch).abs().mean() < 1e-4
