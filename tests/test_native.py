"""Native: kernels for a CPU give what the plain operators give, and nan comes through them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numba import njit
from torch import Tensor

from vdeblur import Deblurrer
from vdeblur.model import fused
from vdeblur.model.celltaps import CellTaps
from vdeblur.model.checkpoint import load_network
from vdeblur.model.fused import kernels_for, without_kernels
from vdeblur.model.native import vectors
from vdeblur.model.steering import Neighbour

CPU = torch.device("cpu")
PRESENT = [(True, True), (False, True), (True, False), (False, False)]


@pytest.fixture(autouse=True)
def _working() -> Any:
    """Without kernels these tests would compare operators with themselves; a failing kernel is given up quietly."""
    assert kernels_for(CPU) is not None
    yield
    assert not fused._broken


def noise(*shape: int, scale: float = 1.0, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def scene(present: tuple[bool, ...], height: int, width: int, batch: int = 1) -> tuple[Tensor, Tensor, list[Neighbour]]:
    """A frame, its motion, and neighbours; places far outside of the picture are among them."""
    frames = [noise(batch, 1, height, width, scale=0.2, seed=seed).add(0.5).clamp(0, 1) for seed in range(3)]
    small = height // 8, width // 8
    neighbours = [
        Neighbour(
            frames[1 + side] if there else None,
            noise(batch, 2, *small, scale=25, seed=10 + side),
            noise(batch, 1, *small, scale=0.1, seed=20 + side).abs(),
        )
        for side, there in enumerate(present)
    ]
    return frames[0], noise(batch, 2, *small, scale=12, seed=30), neighbours


def odd_taps() -> CellTaps:
    """Sizes that fill no block, without neighbours and without a second layer."""
    torch.manual_seed(0)
    taps = CellTaps(taps=5, reach=1.0, hidden=21, depth=0, neighbour_points=0)
    torch.nn.init.normal_(taps.correction.weight)
    return taps


@pytest.mark.parametrize(("height", "width", "batch"), [(32, 32, 1), (40, 72, 2), (56, 200, 1)])
@pytest.mark.parametrize("name", ["swift", "fast", "odd"])
def test_taps_give_what_operators_give(name: str, height: int, width: int, batch: int) -> None:
    taps = odd_taps() if name == "odd" else load_network(name).taps
    for present in [()] if name == "odd" else PRESENT:
        seen = scene(present, height, width, batch)
        with torch.inference_mode():
            found = taps(*seen)
            with without_kernels():
                wanted = taps(*seen)
        assert wanted.abs().max() > 0.01
        assert (found - wanted).abs().max() < 2e-5


@pytest.mark.parametrize("what", ["pixels", "motion", "place", "trust"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_what_is_no_number_does_no_harm_and_comes_through(what: str, value: float) -> None:
    """It must not become an address; and the engine tells a failed network by nan in the residual."""
    frame, motion, neighbours = scene((True, True), 40, 72)
    there = {"pixels": frame, "motion": motion, "place": neighbours[0].displacement, "trust": neighbours[1].mismatch}
    there[what][..., 2, 3] = value
    taps = load_network("swift").taps
    with torch.inference_mode():
        found = taps(frame, motion, neighbours)
        with without_kernels():
            wanted = taps(frame, motion, neighbours)
    if value != value and what != "place":
        assert found.isnan().any()
    far = (found - wanted).abs() > 1e-4
    assert not far[..., 32:, 56:].any(), "far from there nothing changes"


def test_strips_and_threads_give_the_same_bits() -> None:
    taps, seen = load_network("fast").taps, scene((True, True), 256, 320)
    threads = torch.get_num_threads()
    with torch.inference_mode():
        found = []
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            found.append(taps(*seen))
    torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_operators_do_what_kernels_cannot() -> None:
    """Other dtypes, and gradients."""
    frame, motion, neighbours = scene((True, True), 40, 72)
    taps = load_network("swift").taps
    with torch.inference_mode():
        exact = taps(frame, motion, neighbours)
    taps(frame, motion, neighbours).sum().backward()
    assert taps.filters.weight.grad.abs().sum() > 0
    with torch.inference_mode():
        rounded = taps.to(torch.bfloat16)(frame, motion, neighbours)
    assert 1e-6 < (rounded - exact).abs().mean() < 0.05 * exact.abs().mean() + 1e-3


@pytest.mark.parametrize("kind", [vectors.wide, vectors.four])
def test_vectors_compute_lane_by_lane(kind: vectors.Vector) -> None:
    load = vectors.load if kind is vectors.wide else vectors.load_four
    fill = vectors.fill if kind is vectors.wide else vectors.fill_four
    fma, mul, add, sub, larger, store = (
        getattr(vectors, name) for name in ("fma", "mul", "add", "sub", "larger", "store")
    )

    @njit
    def work(x: Any, y: Any, result: Any) -> None:
        a, b, half = load(x, 1), load(y, 2), fill(np.float32(0.5))
        store(result, 0, larger(fma(a, b, half), sub(mul(a, half), add(b, b))))

    x, y = (noise(kind.count + 2, seed=seed) for seed in (1, 2))
    result = torch.zeros(kind.count + 1)
    work(x.data_ptr(), y.data_ptr(), result.data_ptr())
    a, b = x[1 : kind.count + 1], y[2 : kind.count + 2]
    assert torch.allclose(result[:-1], torch.maximum(a * b + 0.5, a / 2 - 2 * b), atol=1e-6)
    assert result[-1] == 0, "nothing is written beyond"


def test_auto_takes_float32_where_kernels_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vdeblur.compute._fast_cpu_dtype", lambda: torch.bfloat16)
    assert Deblurrer("swift", device="cpu").dtype == torch.float32
    assert Deblurrer("swift", device="cpu", precision="bfloat16").dtype == torch.bfloat16
    assert Deblurrer("balanced", device="cpu").dtype == torch.bfloat16
    with without_kernels():
        assert Deblurrer("swift", device="cpu").dtype == torch.bfloat16


def test_without_numba_all_goes_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    seen = scene((True, True), 40, 72)
    taps = load_network("swift").taps
    with torch.inference_mode():
        wanted = taps(*seen)
        fused._module.cache_clear()
        monkeypatch.setitem(sys.modules, "vdeblur.model.native", None)
        with caplog.at_level(logging.INFO):
            found = taps(*seen)
    monkeypatch.undo()
    fused._module.cache_clear()
    assert "Numba is not installed" in caplog.text
    assert (found - wanted).abs().max() < 2e-5


def test_kernels_work_where_nothing_can_be_kept(tmp_path: Path) -> None:
    """A package and a home that cannot be written to: compiled anew in each run, and still right."""
    code = (
        "import numba.core.caching as c\n"
        "c.CacheImpl.__init__ = lambda self, f: (_ for _ in ()).throw(RuntimeError('cannot cache: no locator'))\n"
        "from vdeblur.model.native.compiling import kernel\n"
        "@kernel\ndef twice(x):\n    return 2 * x\n"
        "print(twice(21))"
    )
    home = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=home)
    assert done.stdout.strip() == "42"
