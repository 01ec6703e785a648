"""Tiles: the same picture as without them, chosen by measuring, halved when memory runs out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import vdeblur.model.deblur_net as network_module
from support.doubles import Identity, Mixing, clip, planes_equal
from support.engines import on_cpu
from support.media.clips import ffmpeg
from support.paths import PYTHONPATH
from support.wall_clock import patience
from vdeblur.cli.app import run_command_line
from vdeblur.cli.options import merge_options
from vdeblur.engine import tiling
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.memory_estimate import peak_tensor_bytes
from vdeblur.engine.pixels import rgb_of
from vdeblur.engine.tiling import MemoryTrial, TileChooser
from vdeblur.errors import DeviceError, NetworkError, UsageError
from vdeblur.frames import Frame
from vdeblur.library import generators
from vdeblur.library.generators import deblur_frames
from vdeblur.model.checkpoint import load_network
from vdeblur.model.layers import upsample
from vdeblur.model.network import NetworkTraits, TileTraits
from vdeblur.model.regions import Region, run_tiled, split_tiles, upsample_region
from vdeblur.pipeline import deblur_video as pipeline_module
from vdeblur.runtime import host_memory
from vdeblur.runtime.device import is_out_of_memory

CPU = torch.device("cpu")


def fast_pan(count: int, height: int, width: int) -> list[Frame]:
    """A textured picture that moves 11 pixels a frame to the right and 3 down, each frame blurred along its motion."""
    noise = torch.rand(
        1, 1, (height + 4 * count) // 4, (width + 12 * count) // 4, generator=torch.Generator().manual_seed(3)
    )
    wide = upsample(noise, 8)[0, 0]
    frames = []
    for n, frame in enumerate(clip(count, height, width)):
        views = [wide[3 * n :][:height, 11 * n + step :][:, :width] for step in range(7)]
        luma = (16 + 219 * torch.stack(views).mean(0)).round().to(torch.uint8).numpy()
        frames.append(frame.with_planes([luma, *frame.planes[1:]]))
    return frames


def small_video(folder: Path) -> Path:
    path = folder / "clip.mkv"
    if not path.exists():
        ffmpeg("-y", "-f", "lavfi", "-i", "testsrc2=s=160x96:r=25:d=0.12", "-c:v", "ffv1", str(path))
    return path


class Bounded(Mixing):
    """Works in tiles, and has memory for tiles of no more than ``most`` pixels a side (None: for whole frames)."""

    traits = NetworkTraits(tiles=TileTraits(smallest=64, strip_pixels=1000))

    def __init__(self, most: int | None, *, failure: BaseException | None = None) -> None:
        super().__init__()
        self.most = most
        self.failure = failure or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.")
        self.sides: list[int | None] = []

    def set_strip_pixels(self, pixels: int | None) -> None:
        pass

    def encode(self, frame: Tensor, *, side: int | None = None) -> Any:
        return super().encode(frame)

    def residual(
        self, previous: Any, current: Any, following: Any, state: Any, *, side: int | None = None
    ) -> tuple[Tensor, Any]:
        self.sides.append(side)
        if self.most is not None and (side is None or side > self.most):
            raise self.failure
        return super().residual(previous, current, following, state)


# --- Areas ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width", "side"), [(16, 16, 64), (64, 64, 64), (80, 336, 64), (1088, 1920, 256)])
def test_tiles_cover_a_frame_once(height: int, width: int, side: int) -> None:
    count = torch.zeros(height, width)
    for tile in split_tiles(Region(0, height, 0, width), side, 16):
        assert not any(edge % 16 for edge in tile)
        assert max(tile.bottom - tile.top, tile.width) <= side
        tile.crop(count).add_(1)
    assert torch.equal(count, torch.ones_like(count))


def test_a_convolution_in_tiles_is_the_convolution() -> None:
    x = torch.rand(1, 2, 80, 112)
    blur = torch.nn.Conv2d(2, 3, 5, padding=2)
    with torch.inference_mode():
        whole = blur(x)
        parts = run_tiled(lambda a: blur(a.crop(x)), Region(0, 80, 0, 112), 32, overlap=2, multiple=16, scale=1)
        torch.testing.assert_close(parts, whole, atol=1e-6, rtol=0)
        torn = run_tiled(lambda a: blur(a.crop(x)), Region(0, 80, 0, 112), 32, overlap=1, multiple=16, scale=1)
        assert (torn - whole).abs().max() > 1e-3, "this test can fail"


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_part_of_an_enlargement_is_the_enlargement(dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    x = torch.randn(1, 8, 12, 20).to(dtype).contiguous(memory_format=memory_format)
    whole = upsample(x, 8)
    for area in (Region(0, 96, 0, 160), Region(0, 40, 0, 160), Region(44, 60, 12, 100), Region(88, 96, 152, 160)):
        part, expected = upsample_region(x, 8, area), area.crop(whole)
        if area.width == 160:  # strips of a frame; elsewhere vector lanes may fall differently
            assert torch.equal(part, expected)
        torch.testing.assert_close(part, expected)


# --- No seam ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "precision"),
    [("fast", "float32"), ("fast", "bfloat16"), ("swift", "float32"), ("balanced", "float32")],
)
def test_tiles_leave_no_seam(model: str, precision: str) -> None:
    """Fast motion, the state carried over 22 frames: one level at most, and no more near the seams than elsewhere."""
    frames = fast_pan(22, 112, 176)
    network = load_network(model)
    whole = list(on_cpu(network, precision=precision, tile="off").run(frames))
    tiled = list(on_cpu(network, precision=precision, tile=64).run(frames))
    assert np.abs(whole[-1].planes[0].astype(int) - frames[-1].planes[0]).mean() > 0.5, "it restores something"
    near = np.zeros((112, 176), bool)
    for tile in split_tiles(Region(0, 112, 0, 176), 64, 16):
        for edge in (tile.top, tile.bottom):
            near[max(0, edge - 24) : edge + 24] |= 0 < edge < 112
        for edge in (tile.left, tile.right):
            near[:, max(0, edge - 24) : edge + 24] |= 0 < edge < 176
    assert 0.2 < near.mean() < 0.95
    for one, other in zip(whole, tiled, strict=True):
        difference = np.abs(one.planes[0].astype(int) - other.planes[0])
        assert difference.max() <= 1
        assert difference[near].mean() <= 0.002
        assert difference[~near].mean() <= 0.002
        assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(one.planes, other.planes, strict=True))


def differences(model: str, monkeypatch: pytest.MonkeyPatch, *, short: int = 0) -> Tensor:
    """Largest difference of the residual to the untiled one in each of 12 frames; ``short``: pixels too few around."""
    if short:
        given: Any = network_module.run_tiled

        def torn(*args: Any, overlap: int, **options: Any) -> Tensor:
            part: Tensor = given(*args, overlap=overlap - short, **options)
            return part

        monkeypatch.setattr(network_module, "run_tiled", torn)
    network = load_network(model)
    found = []
    with torch.inference_mode():
        frames = [rgb_of(frame) for frame in fast_pan(12, 112, 176)]
        states: list[Any] = [None, None]
        for window in zip(frames, frames[1:], frames[2:], strict=False):
            residuals = []
            for index, side in enumerate((None, 64)):
                features = [network.encode(frame, side=side) for frame in window]
                residual, states[index] = network.residual(*features, states[index], side=side)
                residuals.append(residual)
            found.append((residuals[0] - residuals[1]).abs().max())
    return torch.stack(found)


@pytest.mark.parametrize("model", ["fast", "balanced"])
def test_the_residual_is_the_same_but_for_rounding(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousandth of a level, over frames; four pixels less around the tiles, and it is many times that."""
    assert differences(model, monkeypatch).max() < 0.001 / 255
    if model == "balanced":  # `fast` looks at nothing around a tile
        assert differences(model, monkeypatch, short=4).max() > 0.1 / 255


def test_the_state_does_not_depend_on_the_tiles() -> None:
    frames = fast_pan(8, 112, 176)
    network = load_network("fast")
    states = []
    for tile in ("off", 64, 128):
        deblurrer = on_cpu(network, tile=tile)
        for frame in frames:
            deblurrer.step(frame)
        states.append(deblurrer.suspend().state)
    for other in states[1:]:
        for one, two in zip(states[0], other, strict=True):
            assert one.shape == two.shape
            torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)


def test_the_side_may_change_from_frame_to_frame() -> None:
    frames = fast_pan(6, 112, 176)
    deblurrer = on_cpu("fast", tile="off")
    whole = list(deblurrer.run(frames))
    changing = on_cpu("fast", tile=128)
    found = []
    for n, frame in enumerate(frames):
        changing.device_step.tiles._sides[frame.size] = (None, 64, 96)[n % 3]
        found.append(changing.step(frame))
    found = [*found[1:], changing.flush()]
    for one, other in zip(whole, found, strict=True):
        assert other is not None
        assert np.abs(one.planes[0].astype(int) - other.planes[0]).max() <= 1


# --- When memory runs out ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tile", ["auto", 512])
@pytest.mark.parametrize(
    "failure",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"
        ),
        MemoryError(),
    ],
)
def test_tiles_are_halved_until_they_fit(tile: Any, failure: BaseException) -> None:
    frames = list(clip(5, 60, 500))
    expected = list(on_cpu(Mixing()).run(frames))
    deblurrer = on_cpu(Bounded(100, failure=failure), tile=tile)
    restored = list(deblurrer.run(frames))
    assert all(planes_equal(a, b) for a, b in zip(restored, expected, strict=True)), "replayed from the last state"
    network: Any = deblurrer.network
    assert network.sides == [None, 256, 128, 64, 64, 64, 64, 64]
    assert deblurrer.notes[-1] == "memory ran out: 500×60 frames are restored in tiles of 64 pixels from here on"
    assert len(deblurrer.notes) == 3


def test_a_failure_in_the_middle_goes_on_from_the_last_state() -> None:
    frames = list(clip(8, 36, 300))
    expected = list(on_cpu(Mixing()).run(frames))
    deblurrer = on_cpu(Bounded(None))
    network: Any = deblurrer.network
    run = deblurrer.run(frames)
    restored = [next(run) for _ in range(3)]
    network.most = 200
    restored += run
    assert all(planes_equal(a, b) for a, b in zip(restored, expected, strict=True))
    assert network.sides == [None, None, None, None, 160, 160, 160, 160, 160]


@pytest.mark.parametrize(
    ("tile", "words"),
    [
        (
            "auto",
            "a 300×36 frame on cpu, even in tiles of 64 pixels; use a smaller model or video, or another device",
        ),
        ("off", 'a 300×36 frame on cpu; use tile="auto", or a smaller model or video, or another device'),
    ],
)
def test_too_little_for_the_smallest_tiles_is_said(tile: Any, words: str) -> None:
    deblurrer = on_cpu(Bounded(10), tile=tile)
    with pytest.raises(DeviceError) as caught:
        list(deblurrer.run(clip(3, 36, 300)))
    assert str(caught.value) == f"network at 0.000 s: out of memory: {words}"


def test_other_failures_are_not_tried_again() -> None:
    deblurrer = on_cpu(Bounded(10, failure=RuntimeError("shapes do not match")))
    with pytest.raises(NetworkError, match="shapes do not match"):
        list(deblurrer.run(clip(3, 36, 300)))
    assert deblurrer.network.sides == [None]  # type: ignore[attr-defined]
    assert not is_out_of_memory(ValueError("not enough memory cards"))


def test_each_size_has_its_own_tiles() -> None:
    frames = [*clip(2, 36, 300), *clip(2, 36, 52), *clip(2, 36, 300)]
    deblurrer = on_cpu(Bounded(None), lookahead=0)
    network: Any = deblurrer.network
    network.most = 200
    network.encode = lambda frame, side=None: (frame,)
    deblurrer.device_step.tiles._sides[(36, 52)] = 64
    list(deblurrer.run(frames))
    assert network.sides == [None, 160, 160, 64, 64, 160, 160]


# --- What is asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tile", [0, 63, -1, True, "large", "12", 1.5, None])
def test_wrong_tiles_are_refused(tile: Any) -> None:
    with pytest.raises(UsageError, match="it is auto, off, or a side in pixels of at least 64"):
        on_cpu(Bounded(None), tile=tile)
    with pytest.raises(UsageError, match="at least 64"):
        deblur_frames([], tile=tile)


def test_a_network_that_knows_no_tiles_gets_none() -> None:
    for tile in ("auto", "off"):
        assert len(list(on_cpu(Identity(), tile=tile).run(clip(3)))) == 3
    with pytest.raises(UsageError, match="this network cannot work in tiles of 128 pixels; use tile auto or off"):
        on_cpu(Identity(), tile=128)


def test_sides_become_multiples_of_the_stride() -> None:
    chosen = TileChooser(100, Bounded(None), CPU)
    assert chosen.side((1080, 1920)) == 112
    assert chosen.side((112, 90)) is None, "it fits into one tile"
    assert TileChooser(64, Bounded(None), CPU).side((1080, 1920)) == 64


# --- Chosen by measuring ----------------------------------------------------------------------------------------------


def test_nothing_is_measured_and_nothing_changes_while_memory_is_plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "free_bytes", lambda device: 8 << 30)
    monkeypatch.setattr(tiling, "estimate_memory", lambda *args, **options: pytest.fail("measured"))
    deblurrer = on_cpu("fast")
    frames = fast_pan(3, 112, 176)
    whole = list(on_cpu("fast", tile="off").run(frames))
    assert all(planes_equal(a, b) for a, b in zip(deblurrer.run(frames), whole, strict=True))
    assert deblurrer.notes == ()


def test_what_is_measured_is_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a fifth of what a larger frame is seen to hold, whole and in tiles, and the choice follows from it."""
    network = load_network("fast")
    chosen = TileChooser("auto", network, CPU)
    found = chosen._memory_estimate
    assert found is not None
    needs = {}
    for side in (None, 256):
        with torch.inference_mode():
            needs[side] = peak_tensor_bytes(MemoryTrial(network, CPU, 1024, side))
        assert found.bytes(1024, 1024, side) == pytest.approx(needs[side], rel=0.2)
    for fits, expected in ((1.3, None), (0.97, 512)):
        monkeypatch.setattr(tiling, "free_bytes", lambda device, part=fits: part * needs[None] / tiling.USABLE)
        chosen._sides.clear()
        side = chosen.side((1023, 1023))
        assert side == expected or (expected is not None and side is not None and side <= expected)
    assert chosen.notes
    assert "memory is short: 1023×1023 frames are restored in tiles of" in chosen.notes[-1]


def test_too_little_memory_takes_the_smallest_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "free_bytes", lambda device: 1000)
    monkeypatch.setattr(tiling.TileChooser, "_memory_estimate", tiling.MemoryEstimate(50, 50, 24))
    assert TileChooser("auto", Bounded(None), CPU).side((1080, 1920)) == 64
    monkeypatch.setattr(tiling, "free_bytes", lambda device: None)
    assert TileChooser("auto", Bounded(None), CPU).side((1080, 1920)) is None, "the system does not tell"


def test_a_network_that_cannot_be_measured_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "free_bytes", lambda device: 1000)
    assert TileChooser("auto", Bounded(10), CPU).side((1080, 1920)) is None


def test_what_is_held_is_counted() -> None:
    def work() -> None:
        first = torch.zeros(1000, dtype=torch.uint8)
        second = first[:500]
        del first
        third = second.to(torch.float32)
        del second, third
        torch.zeros(10)

    assert peak_tensor_bytes(work) == 1000 + 2000


def test_the_limits_of_the_control_groups_count(tmp_path: Path) -> None:
    inner = tmp_path / "box" / "job"
    inner.mkdir(parents=True)
    for folder, most, used in ((tmp_path, "max", 9000), (tmp_path / "box", "5000", 4000), (inner, "max", 1000)):
        (folder / "memory.max").write_text(f"{most}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text("anon 1\ninactive_file 300\n")
    names = ("memory.max", "memory.current", "inactive_file")
    assert list(host_memory._group(tmp_path, "/box/job", *names)) == [5000 - 4000 + 300]
    (inner / "memory.max").write_text("1100\n")
    assert list(host_memory._group(tmp_path, "/box/job", *names)) == [1100 - 1000 + 300, 5000 - 4000 + 300]
    (inner / "memory.max").write_text(f"{(1 << 63) - 4096}\n")
    assert list(host_memory._group(tmp_path, "/box/job", *names)) == [1300], "version 1 has no limit like that"


def test_the_machine_tells_what_is_free() -> None:
    free = host_memory.available_bytes()
    assert free is not None
    assert 1 << 20 < free < 1 << 50


_LIMITED = """
import json, resource, sys
import numpy as np
import torch
from vdeblur.runtime import host_memory
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.errors import DeviceError
from support.doubles import clip

folder, spare_mb, tile, name = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
torch.set_num_threads(1)
deblurrer = Deblurrer(name, device="cpu", precision="float32", tile=tile)
list(Deblurrer(name, device="cpu", precision="float32").run(clip(2, 64, 64)))  # what libraries load late
frames = list(clip(2, 800, 1600))
used = host_memory._field(host_memory.Path("/proc/self/status"), "VmSize:")
resource.setrlimit(resource.RLIMIT_AS, (used + (spare_mb << 20),) * 2)
free = host_memory.available_bytes()
try:
    restored = list(deblurrer.run(frames))
except DeviceError as exc:
    print(json.dumps({"error": str(exc)}))
else:
    np.savez(folder + "/restored.npz", *[frame.planes[0] for frame in restored])
    print(json.dumps({"notes": deblurrer.notes, "free": free}))
"""


def limited(folder: Path, name: str, spare_mb: int, tile: str) -> Any:
    """What a process with so much memory left says of two frames; what it restored is in ``folder``."""
    command = [sys.executable, "-c", _LIMITED, str(folder), str(spare_mb), tile, name]
    # Blocks that the C library keeps for later would blur the limit.
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "1048576"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=patience(200))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of address space is Linux's")
@pytest.mark.parametrize(
    ("name", "spare_mb", "tile", "words"),
    [
        ("balanced", 110, "auto", "memory is short"),
        pytest.param("balanced", 70, "1024", "memory ran out", marks=pytest.mark.slow),
    ],
)
def test_a_frame_that_does_not_fit_is_restored_in_tiles(
    name: str, spare_mb: int, tile: str, words: str, tmp_path: Path
) -> None:
    """Under a real limit: whole it fails, by measuring it is cut, and what fails after all is halved."""
    failed = limited(tmp_path, name, spare_mb, "off")
    assert 'out of memory: a 1600×800 frame on cpu; use tile="auto"' in failed["error"]
    expected = list(on_cpu(name, tile="off").run(clip(2, 800, 1600)))
    told = limited(tmp_path, name, spare_mb, tile)
    assert words in told["notes"][0]
    assert told["free"] <= spare_mb << 20
    restored = np.load(tmp_path / "restored.npz")
    for one, other in zip(expected, restored.values(), strict=True):
        assert np.abs(one.planes[0].astype(int) - other).max() <= 1


# --- The doors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "wish"), [("off", "off"), ("auto", "auto"), ("'off'", "off"), ("256", 256)])
def test_yaml_says_the_tiles(text: str, wish: Any, tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(f"tile: {text}\n")
    assert merge_options(config, {}).tile == wish
    assert merge_options(config, {"tile": "128"}).tile == 128
    config.write_text("tile: true\n")
    with pytest.raises(UsageError, match="tile cannot be True; it is auto, off, or a side"):
        merge_options(config, {})


def test_every_door_passes_the_tiles_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[Any] = []

    class Watched(Deblurrer):
        def __init__(self, *args: Any, tile: Any = None, **options: Any) -> None:
            given.append(tile)
            super().__init__(*args, tile=tile, **options)

    monkeypatch.setattr(pipeline_module, "Deblurrer", Watched)
    monkeypatch.setattr(generators, "Deblurrer", Watched)
    source = str(small_video(tmp_path))
    pipeline_module.deblur_video(source, str(tmp_path / "a.mkv"), model=Bounded(None), device="cpu", tile=96)
    list(deblur_frames([np.zeros((8, 8, 3), np.uint8)], model=Bounded(None), device="cpu", tile=128))
    assert (
        run_command_line([source, "-o", str(tmp_path / "b.mkv"), "--device", "cpu", "--strength", "0", "--tile", "160"])
        == 0
    )
    assert given == [96, 128, 160]


def test_a_job_says_that_memory_was_short(tmp_path: Path) -> None:
    network = Bounded(64)
    report = pipeline_module.deblur_video(
        str(small_video(tmp_path)), str(tmp_path / "a.mkv"), model=network, device="cpu"
    )
    assert any("memory ran out" in note for note in report.notes)
