"""CPU kernels of block taps and planes against plain operators, and the cache of compiled code."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numba import njit
from torch import Tensor

from support import tap_scenes
from support.kernel_fixtures import working_kernels  # noqa: F401
from support.tap_scenes import PRESENT, mixture_taps, noise, shared_taps
from vdeblur import Deblurrer
from vdeblur.kernels import cpu as cpu_kernels
from vdeblur.kernels import dispatch
from vdeblur.kernels.cpu import compiling
from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.jit import vectors
from vdeblur.kernels.dispatch import without_kernels
from vdeblur.model.block_taps import BlockTaps
from vdeblur.model.motion_taps import Neighbour

CPU = torch.device("cpu")


def scene(present: tuple[bool, ...], height: int, width: int, batch: int = 1) -> tuple[Tensor, Tensor, list[Neighbour]]:
    return tap_scenes.scene(present, height, width, batch, far=25, moved=12)


FORMS: dict[str, Callable[[], BlockTaps]] = {
    "plain": lambda: shared_taps(depth=2, neighbour_points=3),
    "odd": lambda: shared_taps(taps=5, reach=1.0, hidden=21, depth=0, neighbour_points=0),  # they fill no block
    "mixed": mixture_taps,
    "odd mixed": lambda: mixture_taps(hidden=21, experts=3, code=10, neighbour_points=1),
    "mixed alone": lambda: mixture_taps(neighbour_points=0),
}


@pytest.mark.parametrize(("height", "width", "batch"), [(32, 32, 1), (40, 72, 2), (56, 200, 1)])
@pytest.mark.parametrize("taps", FORMS, ids=list(FORMS))
def test_taps_equal_plain_operators(taps: str, height: int, width: int, batch: int) -> None:
    form = FORMS[taps]()
    for present in PRESENT if len(form.neighbour_offsets) else [()]:
        seen = scene(present, height, width, batch)
        with torch.inference_mode():
            found = form(*seen)
            with without_kernels():
                wanted = form(*seen)
        assert wanted.abs().max() > 0.01
        assert (found - wanted).abs().max() < 2e-5 * max(1, wanted.abs().max())


@pytest.mark.parametrize("what", ["pixels", "motion", "place", "trust"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("form", ["plain", "mixed"])
def test_nan_and_infinity_stay_local_and_propagate(form: str, what: str, value: float) -> None:
    """They must not become addresses; and the engine detects a failed network by nan in the residual."""
    frame, motion, neighbours = scene((True, True), 40, 72)
    there = {"pixels": frame, "motion": motion, "place": neighbours[0].displacement, "trust": neighbours[1].mismatch}
    there[what][..., 2, 3] = value
    taps = FORMS[form]()
    with torch.inference_mode():
        found = taps(frame, motion, neighbours)
        with without_kernels():
            wanted = taps(frame, motion, neighbours)
    if value != value and what != "place":
        assert found.isnan().any()
    far = (found - wanted).abs() > 1e-4
    assert not far[..., 32:, 56:].any(), "far from there nothing changes"


@pytest.mark.parametrize("form", ["plain", "mixed"])
def test_strips_and_threads_give_the_same_bits(form: str) -> None:
    taps, seen = FORMS[form](), scene((True, True), 256, 320)
    threads = torch.get_num_threads()
    with torch.inference_mode():
        found = []
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            found.append(taps(*seen))
    torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("form", ["plain", "mixed"])
def test_changed_weights_count(form: str) -> None:
    """Packed weights are cached."""
    taps, seen = FORMS[form](), scene((True, True), 40, 72)
    with torch.inference_mode():
        before = taps(*seen)
    for parameter in taps.parameters():
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.add_(noise(*parameter.shape, scale=0.1))
        with torch.inference_mode():
            assert not torch.equal(taps(*seen), before)
        with torch.no_grad():
            parameter.copy_(kept)
    taps.load_state_dict(FORMS[form]().state_dict())
    with torch.inference_mode():
        assert torch.equal(taps(*seen), before)
        taps.register_parameter("unused", torch.nn.Parameter(torch.zeros(1), requires_grad=False))
        assert torch.equal(taps(*seen), before), "weights whose changes are not counted are read each time"


def test_operators_are_the_fallback() -> None:
    """Other dtypes, and gradients."""
    frame, motion, neighbours = scene((True, True), 40, 72)
    taps = shared_taps(depth=2, neighbour_points=3)
    with torch.inference_mode():
        exact = taps(frame, motion, neighbours)
    taps(frame, motion, neighbours).sum().backward()
    assert taps.filters.weight.grad is not None
    assert taps.filters.weight.grad.abs().sum() > 0
    with torch.inference_mode():
        rounded = taps.to(torch.bfloat16)(frame, motion, neighbours)
    assert 1e-6 < (rounded - exact).abs().mean() < 0.05 * exact.abs().mean() + 1e-3


@pytest.mark.parametrize("kind", [vectors.wide, vectors.eight])
def test_vectors_compute_lane_by_lane(kind: vectors.Vector) -> None:
    load = vectors.load if kind is vectors.wide else vectors.load8
    fill = vectors.broadcast if kind is vectors.wide else vectors.broadcast8
    fma, larger, store = vectors.fma, vectors.maximum, vectors.store

    @njit
    def work(x: Any, y: Any, result: Any) -> None:
        a, b, half = load(x, 1), load(y, 2), fill(np.float32(0.5))
        store(result, 0, larger(fma(a, b, half), a * half - (b + b)))

    x, y = (noise(kind.count + 2, seed=seed) for seed in (1, 2))
    result = torch.zeros(kind.count + 1)
    work(x.data_ptr(), y.data_ptr(), result.data_ptr())
    a, b = x[1 : kind.count + 1], y[2 : kind.count + 2]
    assert torch.allclose(result[:-1], torch.maximum(a * b + 0.5, a / 2 - 2 * b), atol=1e-6)
    assert result[-1] == 0, "nothing is written beyond"


def test_auto_takes_float32_where_kernels_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vdeblur.runtime.device._fast_cpu_dtype", lambda: torch.bfloat16)
    assert Deblurrer("swift", device="cpu").dtype == torch.float32
    assert Deblurrer("swift", device="cpu", precision="bfloat16").dtype == torch.bfloat16
    assert Deblurrer("balanced", device="cpu").dtype == torch.bfloat16
    with without_kernels():
        assert Deblurrer("swift", device="cpu").dtype == torch.bfloat16


def test_without_numba_operators_are_the_fallback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen = scene((True, True), 40, 72)
    taps = mixture_taps()
    with torch.inference_mode():
        wanted = taps(*seen)
        dispatch._module.cache_clear()
        monkeypatch.setitem(sys.modules, "vdeblur.kernels.cpu", None)
        with caplog.at_level(logging.INFO, logger="vdeblur"):
            found = taps(*seen)
    monkeypatch.undo()
    dispatch._module.cache_clear()
    assert "Numba is not installed" in caplog.text
    assert (found - wanted).abs().max() < 2e-5


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
@pytest.mark.parametrize(("height", "width"), [(3, 32), (7, 33), (20, 130)])
def test_planes_become_luma_and_are_corrected(dtype: torch.dtype, height: int, width: int) -> None:
    """Rows of decoders and of cropped residuals are longer than the plane."""
    peak = torch.iinfo(dtype).max
    samples = torch.randint(0, peak + 1, (height, width + 5), generator=torch.Generator().manual_seed(1))
    plane, change = samples.to(dtype)[:, :width], noise(height, width + 3, scale=0.3)[:, :width]
    offset, scale = 16.0 * (peak + 1) / 256, 219.0 * (peak + 1) / 256
    luma = cpu_kernels.luma(plane, offset, 1 / scale)
    corrected = cpu_kernels.add_residual(plane, change, scale, peak)
    assert luma is not None
    assert corrected is not None
    assert torch.allclose(luma, ((plane.float() - offset) / scale).clamp(0, 1), atol=1e-6)
    wanted = (plane.double() + change.double() * scale).clamp(0, peak)
    assert (corrected.double() - wanted).abs().max() < 0.51
    assert torch.equal(cpu_kernels.add_residual(plane, change, 0.0, peak), plane)


def test_other_planes_are_left_to_operators() -> None:
    for plane in (torch.zeros(8, 64), torch.zeros(64, 40, dtype=torch.uint8).t(), torch.zeros(8, 9, dtype=torch.uint8)):
        assert cpu_kernels.luma(plane, 0.0, 1.0) is None
        assert cpu_kernels.add_residual(plane, torch.zeros(plane.shape), 1.0, 255.0) is None
    plane = torch.zeros(8, 64, dtype=torch.uint8)
    assert cpu_kernels.add_residual(plane, torch.zeros(64, 8).t(), 1.0, 255.0) is None
    assert cpu_kernels.add_residual(plane, torch.zeros(8, 1), 1.0, 255.0) is None


# --- Cache of compiled code -------------------------------------------------------------------------------------------


def halve(times: int = 1) -> Tensor:
    """Pool a small image by a freshly loaded kernel."""
    picture, small = noise(1, 1, 4, 64), torch.empty(1, 1, 2, 32)
    kernel = Kernel("pyramid", "halve")
    for _ in range(times):
        kernel(picture.data_ptr(), small.data_ptr(), 4, 64)
    assert torch.allclose(small, torch.nn.functional.avg_pool2d(picture, 2), atol=1e-6)
    return small


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(compiling.FOLDER_VARIABLE, str(tmp_path / "kept"))
    return tmp_path / "kept"


def test_compiled_code_is_cached_and_loaded_without_numba(folder: Path) -> None:
    first = halve(2)
    (file,) = folder.iterdir()
    code = (
        "import sys, torch\n"
        "from vdeblur.kernels.cpu.compiling import Kernel\n"
        "x, y = torch.arange(256.).view(1, 1, 4, 64), torch.empty(1, 1, 2, 32)\n"
        "Kernel('pyramid', 'halve')(x.data_ptr(), y.data_ptr(), 4, 64)\n"
        "print(y[0, 0, 0, 1].item(), 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["34.5", "False"]
    assert [file] == list(folder.iterdir())
    assert torch.equal(halve(), first)


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_cache_file_is_compiled_again(folder: Path, damage: bytes | None) -> None:
    halve()
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-9] if damage is None else damage)
    halve()
    assert compiling._read(file), "it is whole again"


def test_kernels_work_without_a_writable_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv(compiling.FOLDER_VARIABLE, str(tmp_path / "file" / "folder"))
    with caplog.at_level(logging.INFO, logger="vdeblur"):
        halve()
    assert "cannot be kept" in caplog.text


def test_kernels_work_where_nobody_has_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "cache_folder", lambda: None)
    halve()


def test_a_full_disk_leaves_no_part(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    halve()
    assert list(folder.iterdir()) == []


def test_a_kernel_that_needs_numba_itself_still_works(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_compile_object", lambda *args: None)
    halve(2)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("system", "variables", "expected"),
    [
        ("linux", {"HOME": "/home/me"}, "/home/me/.cache/vdeblur"),
        ("linux", {"HOME": "/home/me", "XDG_CACHE_HOME": "/quick"}, "/quick/vdeblur"),
        ("darwin", {"HOME": "/Users/me"}, "/Users/me/Library/Caches/vdeblur"),
        ("win32", {"LOCALAPPDATA": "/me/local"}, "/me/local/vdeblur/cache"),
        ("linux", {"VDEBLUR_CACHE": "/mine"}, "/mine"),
    ],
)
def test_the_folder_is_the_systems(
    system: str, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", compiling.FOLDER_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", system)
    assert compiling.cache_folder() == Path(expected)


def test_another_processor_or_version_has_other_files(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = compiling._key()
    compiling._key.cache_clear()
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_name", lambda: "another")
    assert compiling._key() != mine
    monkeypatch.undo()
    compiling._key.cache_clear()
    assert compiling._key() == mine
