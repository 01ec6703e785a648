"""The engine: every frame comes out once, the same whichever way it went in, and failures name the frame's time."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import weakref
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.doubles import BT709, FORMATS, YUV420, YUV420P10, Constant, Failing, Identity, Mixing, clip, planes_equal
from support.engines import assert_same, by_steps, on_cpu, tiny_net
from support.media import shots
from support.wall_clock import scaled
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.scene_cuts import SceneCutDetector
from vdeblur.errors import DeviceError, NetworkError, UsageError, VdeblurError
from vdeblur.frames import Colour, Frame
from vdeblur.model.checkpoint import load_network, save_network
from vdeblur.runtime import device as devices
from vdeblur.runtime.device import available_devices, choose_dtype, find_device

# --- Number, order, time ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 500])
def test_as_many_come_out_as_went_in(count: int, lookahead: int) -> None:
    frames = list(clip(count, 4, 6, start=12345))
    deblurrer = on_cpu(Mixing(), lookahead=lookahead)
    restored = list(deblurrer.run(frames))
    assert [(f.pts, f.time_base, f.duration, f.format, f.colour) for f in restored] == [
        (f.pts, f.time_base, f.duration, f.format, f.colour) for f in frames
    ]
    assert deblurrer.network.encoded == count, "features are computed once a frame"  # type: ignore[attr-defined]


def test_the_network_sees_the_window_it_should() -> None:
    deblurrer = on_cpu(Mixing())
    list(deblurrer.run(clip(6, cuts=(2,))))
    has = deblurrer.network.calls  # type: ignore[attr-defined]
    assert has == [  # previous, next, state
        (False, True, False), (True, False, True),
        (False, True, False), (True, True, True), (True, True, True), (True, False, True),
    ]  # fmt: skip
    deblurrer = on_cpu(Mixing(), lookahead=0)
    list(deblurrer.run(clip(4, cuts=(2,))))
    assert deblurrer.network.calls == [(False, False, False), (True, False, True)] * 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("lookahead", [0, 1])
def test_run_takes_no_more_frames_than_it_needs(lookahead: int) -> None:
    taken = 0

    def source() -> Iterator[Frame]:
        nonlocal taken
        for frame in clip(8):
            taken += 1
            yield frame

    frames = source()
    for n, _ in enumerate(on_cpu(Identity(), lookahead=lookahead).run(frames)):
        assert taken == min(n + 1 + lookahead, 8)


def test_an_abandoned_run_leaves_the_frames_to_their_owner() -> None:
    frames = clip(8)
    run = on_cpu(Identity(), lookahead=0).run(frames)
    next(run)
    run.close()
    assert [frame.pts for frame in frames] == [512 * n for n in range(1, 8)]


# --- One way is as good as another ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [(), (4,), (1, 2, 6)])
@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("make", [Mixing, tiny_net])
def test_at_once_is_frame_by_frame_is_resumed(make: Any, lookahead: int, cuts: tuple[int, ...]) -> None:
    frames = list(clip(8, cuts=cuts))
    network = make()
    at_once = list(on_cpu(network, lookahead=lookahead).run(frames))
    assert_same(by_steps(on_cpu(network, lookahead=lookahead), frames), at_once)
    for where in (0, 1, 2, 4, 5, 8):
        first, second = on_cpu(network, lookahead=lookahead), on_cpu(network, lookahead=lookahead)
        begun = [frame for frame in map(first.step, frames[:where]) if frame is not None]
        memory = first.suspend()
        first.step(frames[0])  # what the first does afterwards is its own affair
        for _ in range(2):
            second.resume(memory)
            assert_same(begun + by_steps(second, frames[where:]), at_once)


def test_the_real_network_changes_the_picture() -> None:
    frames = list(clip(4))
    restored = list(on_cpu(tiny_net()).run(frames))
    assert not any(planes_equal(a, b) for a, b in zip(frames, restored, strict=True))


@pytest.mark.parametrize("lookahead", [0, 1])
def test_shots_know_nothing_of_each_other(lookahead: int) -> None:
    frames = list(clip(9, cuts=(3, 5)))
    together = list(on_cpu(Mixing(), lookahead=lookahead).run(frames))
    parts = [frames[:3], frames[3:5], frames[5:]]
    apart = [frame for part in parts for frame in on_cpu(Mixing(), lookahead=lookahead).run(part)]
    assert_same(together, apart)


@pytest.mark.parametrize("lookahead", [0, 1])
def test_no_pixel_of_a_shot_reaches_the_next(lookahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the shipped network the shots come out as they do alone, bit for bit; without the break they do not."""
    first, second = (
        shots.frames([picture[:96, :128] for picture in kind(1).pictures[:4]]) for kind in (shots.similar, shots.fast)
    )
    second = [dataclasses.replace(frame, pts=frame.pts + 4) for frame in second]
    deblurrer = on_cpu("fast", lookahead=lookahead)
    together = list(deblurrer.run([*first, *second]))
    assert_same(together, [*deblurrer.run(first), *deblurrer.run(second)])
    monkeypatch.setattr(SceneCutDetector, "__call__", lambda *_: False)
    assert not planes_equal(list(deblurrer.run([*first, *second]))[4], together[4])


def test_a_change_of_size_or_format_starts_anew() -> None:
    parts = [list(clip(3)), list(clip(3, 20, 40)), list(clip(3, 20, 40, pixel_format=YUV420P10))]
    together = list(on_cpu(Mixing()).run(itertools.chain(*parts)))
    assert_same(together, [frame for part in parts for frame in on_cpu(Mixing()).run(part)])


def test_reset_and_flush_are_a_fresh_start() -> None:
    frames, other = list(clip(5)), list(clip(7, start=99))
    deblurrer = on_cpu(Mixing())
    expected = by_steps(on_cpu(Mixing()), frames)
    for frame in other:
        deblurrer.step(frame)
    deblurrer.reset()
    assert_same(by_steps(deblurrer, frames), expected)
    assert_same(by_steps(deblurrer, frames), expected)
    assert deblurrer.flush() is None


def test_two_runs_of_one_deblurrer_do_not_disturb_each_other() -> None:
    frames = list(clip(6))
    deblurrer = on_cpu(Mixing())
    pairs = list(zip(deblurrer.run(frames), deblurrer.run(frames), strict=True))
    assert_same([a for a, _ in pairs], [b for _, b in pairs])
    assert_same([a for a, _ in pairs], list(on_cpu(Mixing()).run(frames)))


# --- Pixels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pixel_format", FORMATS, ids=lambda f: f.name)
def test_strength_0_returns_every_bit(pixel_format: Any) -> None:
    frames = list(clip(3, 33, 47, pixel_format=pixel_format, colour=Colour()))
    for restored in (on_cpu(Constant(0.3), strength=0).run(frames), on_cpu(Identity()).run(frames)):
        assert_same(list(restored), frames)


@pytest.mark.parametrize("pixel_format", FORMATS, ids=lambda f: f.name)
def test_strength_0_returns_every_bit_at_a_reduced_size(pixel_format: Any) -> None:
    frames = list(clip(2, 33, 47, pixel_format=pixel_format, colour=Colour()))
    assert_same(list(on_cpu(Mixing(), strength=0, reduce=3).run(frames)), frames)


@pytest.mark.parametrize("reduce", [1, 2, 3, 8])
def test_a_reduced_network_sees_block_means_and_corrects_the_whole_frame(reduce: int) -> None:
    class Watching(Constant):
        def encode(self, frame: torch.Tensor) -> Any:
            self.seen = frame
            return super().encode(frame)

    gray = FORMATS[11]
    ramp = np.repeat(np.arange(96, dtype=np.uint8)[None], 70, axis=0)
    network = Watching(20 / 255)
    deblurrer = on_cpu(network, reduce=reduce)
    (restored,) = deblurrer.run([Frame((ramp,), gray, Colour(), 0, Fraction(1, 25))])
    assert np.array_equal(restored.planes[0], ramp + 20)
    row = deblurrer.network.seen[0, 0, 0, : 96 // reduce]  # type: ignore[attr-defined]
    assert torch.allclose(row * 255, torch.arange(96.0).view(-1, reduce).mean(1), atol=1e-3)


@pytest.mark.parametrize("reduce", [2, 3, 4])
@pytest.mark.parametrize("pixel_format", FORMATS, ids=lambda f: f.name)
def test_an_even_correction_is_the_same_at_every_size(pixel_format: Any, reduce: int) -> None:
    (frame,) = clip(1, 33, 47, pixel_format=pixel_format, colour=Colour())
    (whole,) = on_cpu(Constant(0.1)).run([frame])
    (reduced,) = on_cpu(Constant(0.1), reduce=reduce).run([frame])
    for one, other in zip(whole.planes, reduced.planes, strict=True):
        assert np.abs(one.astype(float) - other.astype(float)).max() <= (1e-6 if pixel_format.is_float else 1)


def test_a_new_size_of_the_networks_picture_starts_anew() -> None:
    frames = list(clip(6))
    deblurrer = on_cpu(Mixing(), lookahead=0)
    begun = [deblurrer.step(frame) for frame in frames[:3]]
    deblurrer.reduce = 2
    found = [*begun, *(deblurrer.step(frame) for frame in frames[3:])]
    expected = [
        *on_cpu(Mixing(), lookahead=0).run(frames[:3]),
        *on_cpu(Mixing(), lookahead=0, reduce=2).run(frames[3:]),
    ]
    assert_same([frame for frame in found if frame is not None], expected)


def test_a_reduced_network_resumes_and_works_in_tiles() -> None:
    frames = list(clip(5, 260, 330))
    network = tiny_net()
    whole = list(on_cpu(network, reduce=2).run(frames))
    assert_same(by_steps(on_cpu(network, reduce=2), frames), whole)
    for one, other in zip(on_cpu(network, reduce=2, tile=96).run(frames), whole, strict=True):
        for a, b in zip(one.planes, other.planes, strict=True):
            assert np.abs(a.astype(int) - b.astype(int)).max() <= 1


@pytest.mark.parametrize("reduce", [0, 9, 1.5])
def test_a_wrong_reduction_is_refused(reduce: Any) -> None:
    with pytest.raises(UsageError, match="1 \\(full size\\) to 8"):
        on_cpu(Identity(), reduce=reduce)


def test_strength_scales_the_correction() -> None:
    (frame,) = clip(1)
    changes = []
    for strength in (0.5, 1.0, 1.5):
        (restored,) = on_cpu(Constant(0.1), strength=strength).run([frame])
        changes.append(float(np.mean(restored.planes[0].astype(int) - frame.planes[0])))
    assert changes == pytest.approx([0.05 * 219, 0.1 * 219, 0.15 * 219], abs=0.5)


@pytest.mark.parametrize("size", [(1, 1), (1, 100), (7, 5), (16, 16), (33, 31), (48, 64)])
def test_any_size_goes_through_the_real_network(size: tuple[int, int]) -> None:
    frames = list(clip(3, *size))
    restored = list(on_cpu(tiny_net()).run(frames))
    assert [frame.size for frame in restored] == [size] * 3


def test_tensors_in_are_tensors_out() -> None:
    arrays = list(clip(3, pixel_format=YUV420P10))
    tensors = [frame.with_planes([torch.from_numpy(plane) for plane in frame.planes]) for frame in arrays]
    for one, other in zip(on_cpu(Mixing()).run(arrays), on_cpu(Mixing()).run(tensors), strict=True):
        assert all(isinstance(plane, np.ndarray) for plane in one.planes)
        assert all(isinstance(plane, torch.Tensor) for plane in other.planes)
        assert planes_equal(one, other)
        other.planes[0].zero_()  # it is the caller's


def test_planes_that_cannot_be_shared_are_copied() -> None:
    frames = list(clip(2))
    expected = list(on_cpu(Mixing()).run(frames))
    frozen = [frame.with_planes([plane.copy() for plane in frame.planes]) for frame in frames]
    for plane in itertools.chain(*(frame.planes for frame in frozen)):
        plane.flags.writeable = False
    flipped = [frame.with_planes([plane[::-1].copy()[::-1] for plane in frame.planes]) for frame in frames]
    strided = [frame.with_planes([np.repeat(plane, 3, axis=1)[:, ::3] for plane in frame.planes]) for frame in frames]
    for same in (frozen, flipped, strided):
        assert_same(list(on_cpu(Mixing()).run(same)), expected)


def test_alpha_is_the_very_same_object() -> None:
    frames = list(clip(2, pixel_format=next(f for f in FORMATS if f.name == "yuva420p")))
    restored = list(on_cpu(Constant(0.1)).run(frames))
    assert all(a.planes[3] is b.planes[3] for a, b in zip(frames, restored, strict=True))


def test_memory_does_not_grow_with_the_clip() -> None:
    def most_alive(count: int) -> int:
        watched: list[weakref.ref[Any]] = []
        most = 0

        def source() -> Iterator[Frame]:
            for frame in clip(count, 8, 8):
                watched.append(weakref.ref(frame.planes[0]))
                yield frame

        for restored in on_cpu(Mixing()).run(source()):
            watched.append(weakref.ref(restored.planes[0]))
            most = max(most, sum(plane() is not None for plane in watched))
        return most

    gc.collect()
    assert most_alive(60) == most_alive(8) <= 6


# --- The network that was given ---------------------------------------------------------------------------------------


def test_a_given_network_is_copied() -> None:
    network = tiny_net().train()
    deblurrer = on_cpu(network, precision="bfloat16")
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert network.training
    assert {parameter.dtype for parameter in deblurrer.network.parameters()} == {torch.bfloat16}  # type: ignore[attr-defined]
    assert len(list(deblurrer.run(clip(3)))) == 3


def test_a_network_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_network(tiny_net(), path, {})
    frames = list(clip(3))
    assert_same(list(on_cpu(path).run(frames)), list(on_cpu(load_network(str(path))).run(frames)))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(NetworkError, match="damaged"):
        on_cpu(str(path))


def test_autograd_does_not_follow() -> None:
    deblurrer = on_cpu(tiny_net())
    deblurrer.step(next(clip(1)))
    features = deblurrer.suspend().window.newest.features  # type: ignore[union-attr]
    assert not any(tensor.requires_grad for tensor in features if isinstance(tensor, torch.Tensor))
    assert torch.is_grad_enabled()
    run = deblurrer.run(clip(3))
    next(run)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled(), "a generator must not leave its mode with the caller"
    run.close()


# --- Failures ---------------------------------------------------------------------------------------------------------

NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nMore lines"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:75] data. DefaultCPUAllocator: not enough memory: you tried 9 bytes"),
    MemoryError(),
]


@pytest.mark.parametrize(
    ("outcome", "kind", "words"),
    [
        *((error, DeviceError, "out of memory: a 52×36 frame on cpu; use") for error in NO_MEMORY),
        (RuntimeError("shapes do not match\nat line 3"), NetworkError, "RuntimeError: shapes do not match"),
        (ZeroDivisionError(), NetworkError, "ZeroDivisionError"),
        (float("nan"), NetworkError, "nan or inf"),
        (float("-inf"), NetworkError, "nan or inf"),
    ],
)
@pytest.mark.parametrize("lookahead", [0, 1])
def test_failures_name_the_frame(outcome: Any, kind: type[VdeblurError], words: str, lookahead: int) -> None:
    deblurrer = on_cpu(Failing(2, outcome), lookahead=lookahead)
    restored = []
    with pytest.raises(kind) as caught:
        restored.extend(deblurrer.run(clip(6)))
    assert str(caught.value).startswith("network at 0.080 s: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(outcome, float) or type(caught.value.__cause__) is type(outcome)


def test_interrupts_pass_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        list(on_cpu(Failing(1, KeyboardInterrupt())).run(clip(4)))


def test_after_a_failure_the_next_frame_starts_anew() -> None:
    frames = list(clip(6))
    deblurrer = on_cpu(Failing(2, RuntimeError("once")), lookahead=0)
    deblurrer.step(frames[0])
    deblurrer.step(frames[1])
    with pytest.raises(NetworkError, match="once"):
        deblurrer.step(frames[2])
    assert_same(by_steps(deblurrer, frames[3:]), list(on_cpu(Mixing(), lookahead=0).run(frames[3:])))


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"strength": -0.1}, UsageError, "strength cannot be -0.1; it is 0 "),
        ({"strength": 1.6}, UsageError, "strength cannot be 1.6"),
        ({"strength": float("nan")}, UsageError, "strength cannot be nan"),
        ({"lookahead": 2}, UsageError, "lookahead cannot be 2"),
        ({"precision": "half"}, UsageError, "precision cannot be 'half'; it is auto, float32"),
        ({"precision": "float16"}, UsageError, "float16 is many times slower"),
        ({"device": "gpu"}, UsageError, "device cannot be 'gpu'; it is auto, cpu, cuda"),
        ({"device": "meta"}, UsageError, "device cannot be 'meta'"),
        ({"model": "no-such-network"}, UsageError, "no-such-network"),
    ],
)
def test_wrong_arguments_say_what_is_right(options: dict[str, Any], kind: type[VdeblurError], words: str) -> None:
    with pytest.raises(kind) as caught:
        Deblurrer(**{"model": Identity(), "device": "cpu", **options})
    assert words in str(caught.value)


# --- Device and precision ---------------------------------------------------------------------------------------------


def test_a_missing_device_lists_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available_devices", lambda: ["cuda:0", "cpu"])
    for name in ("cuda:7", "mps"):
        with pytest.raises(DeviceError, match=f"no device '{name}' here; this machine has cuda:0, cpu"):
            find_device(name)


def test_a_device_that_does_not_work_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(devices, "_problem", lambda name: "no kernel image is available")
    assert find_device("auto") == torch.device("cpu")
    assert "no kernel image" in caplog.text
    with pytest.raises(DeviceError, match="'cuda' does not work: no kernel image"):
        find_device("cuda")
    monkeypatch.setattr(devices, "_problem", lambda name: None)
    assert find_device("auto") == find_device("cuda") == torch.device("cuda:0")


def test_the_cpu_is_always_there() -> None:
    assert available_devices()[-1] == "cpu"
    assert find_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [((9, 0), torch.bfloat16), ((8, 0), torch.bfloat16), ((7, 5), torch.float16), ((6, 1), torch.float32)],
)
def test_the_fast_precision_of_a_gpu(
    capability: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_dtype("auto", torch.device("cuda:0")) is dtype
    assert choose_dtype("float16", torch.device("cuda:0")) is torch.float16


@pytest.mark.parametrize(
    ("supported", "float32_seconds", "dtype"),
    [(True, 2.0, torch.bfloat16), (True, 1.1, torch.float32), (False, 2.0, torch.float32)],
)
def test_a_cpu_gets_bfloat16_only_if_it_is_faster(
    supported: bool, float32_seconds: float, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {torch.float32: float32_seconds, torch.bfloat16: 1.0}
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: supported)
    monkeypatch.setattr(devices, "_convolution_seconds", seconds.__getitem__)
    devices._fast_cpu_dtype.cache_clear()
    threads = torch.get_num_threads()
    assert choose_dtype("auto", torch.device("cpu")) is dtype
    assert torch.get_num_threads() == threads
    devices._fast_cpu_dtype.cache_clear()


def test_the_probe_measures_something() -> None:
    assert 0 < devices._convolution_seconds(torch.float32) < scaled(5)
    assert choose_dtype("auto", torch.device("cpu")) in (torch.float32, torch.bfloat16)


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["auto", "bfloat16", "float32"])
def test_the_real_network_on_cuda_is_near_the_cpu(precision: str) -> None:
    frames = list(clip(6, 64, 96, colour=BT709, pixel_format=YUV420))
    expected = list(on_cpu(tiny_net()).run(frames))
    found = list(Deblurrer(tiny_net(), device="cuda", precision=precision).run(frames))
    allowed = 1.5 if precision == "float32" else 12
    for a, b in zip(found, expected, strict=True):
        assert np.abs(a.planes[0].astype(int) - b.planes[0].astype(int)).mean() <= allowed
