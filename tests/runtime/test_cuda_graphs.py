"""Graphs: a recorded step gives what the plain one gives, whatever came before, and nobody's state is written over.

A stand-in records operators on the CPU, and no kernels; the tests marked ``cuda`` record real graphs.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from support.doubles import Mixing, clip, planes_equal
from support.media.recording import CpuRecorder, Failing
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.kernels.dispatch import without_kernels
from vdeblur.model.checkpoint import available_models, load_network
from vdeblur.model.network import traits_of
from vdeblur.runtime.cuda_graphs import MAX_GRAPHS, GraphedNetwork, with_cuda_graphs, without_graphs

MODELS = available_models()
#: `quality` is of the class of `balanced`, and takes long on a CPU.
LIGHT = [name for name in MODELS if name != "quality"]


@pytest.fixture(autouse=True)
def _operators(request: pytest.FixtureRequest) -> Iterator[None]:
    with contextlib.nullcontext() if request.node.get_closest_marker("cuda") else without_kernels():
        yield


def flat(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif tree is not None:
        for part in tree:
            yield from flat(part)


def same(one: Any, other: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(flat(one), flat(other), strict=True))


def network(name: str) -> Any:
    """A network that corrects something, on the CPU."""
    return load_network(name).eval()


def pictures(net: Any, count: int, height: int = 64, width: int = 96) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    channels = getattr(net, "channels", 3)
    wide = torch.nn.functional.avg_pool2d(
        torch.rand(1, channels, height + 64, width + 64, generator=generator), 5, 1, 2
    )
    return [wide[..., 2 * n : 2 * n + height, 3 * n : 3 * n + width].contiguous() for n in range(count)]


@torch.inference_mode()
def walked(
    net: Any, frames: list[Tensor], *, lookahead: int = 1, cuts: tuple[int, ...] = ()
) -> list[tuple[Tensor, Any]]:
    """Residuals and states of a clip, each shot for itself; kept to the end, so that one written over shows."""
    results, state = [], None
    features = [net.encode(frame) for frame in frames]
    for n, current in enumerate(features):
        first, last = n == 0 or n in cuts, n == len(features) - 1 or n + 1 in cuts
        state = None if first else state
        previous, following = None if first else features[n - 1], None if last or not lookahead else features[n + 1]
        residual, state = net.residual(previous, current, following, state)
        results.append((residual, state))
    return results


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("lookahead", [0, 1])
def test_recorded_steps_give_what_plain_steps_give(name: str, lookahead: int) -> None:
    net, recorder = network(name), CpuRecorder()
    frames = pictures(net, 7)
    expected = walked(net, frames, lookahead=lookahead, cuts=(3,))
    recorded = GraphedNetwork(net, recorder)
    found = walked(recorded, frames, lookahead=lookahead, cuts=(3,))
    assert same(found, expected)
    assert recorder.count == (4 if lookahead else 3), "encode, first frames, frames between, last frames"
    assert recorder.replays >= 7


@pytest.mark.parametrize("name", LIGHT)
def test_a_resumed_state_goes_on_as_it_was(name: str) -> None:
    net = network(name)
    frames = pictures(net, 6)
    recorded = GraphedNetwork(net, CpuRecorder())
    with torch.inference_mode():
        for _ in range(2):
            walked(recorded, frames)
        features = [recorded.encode(frame) for frame in frames]
        _, state = recorded.residual(None, features[0], features[1], None)
        kept = [part.clone() for part in flat(state)]
        first = recorded.residual(features[0], features[1], features[2], state)
        recorded.residual(features[2], features[3], features[4], first[1])
        again = recorded.residual(features[0], features[1], features[2], state)
    assert all(torch.equal(a, b) for a, b in zip(flat(state), kept, strict=True))
    assert same(first, again)


def test_sizes_batches_and_dtypes_are_recorded_apart() -> None:
    net, recorder = network("fast"), CpuRecorder()
    recorded = GraphedNetwork(net, recorder)
    small, large = pictures(net, 1, 64, 64)[0], pictures(net, 1, 64, 96)[0]
    with torch.inference_mode():
        for _ in range(3):
            for frame in (small, large, torch.cat((small, small))):
                assert same(recorded.encode(frame), net.encode(frame))
    assert recorder.count == 3


def test_what_cannot_be_recorded_is_done_plainly_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    net = network("fast")
    frames = pictures(net, 6)
    with caplog.at_level(logging.WARNING):
        found = walked(GraphedNetwork(net, Failing()), frames)
    assert same(found, walked(net, frames))
    (record,) = caplog.records
    assert "not permitted when stream is capturing" in record.message
    assert "\n" not in record.message


def test_a_step_that_asks_for_a_number_is_not_recorded(caplog: pytest.LogCaptureFixture) -> None:
    class Asking(Mixing):
        def encode(self, frame: Tensor) -> Any:
            return (frame * frame.mean().item(),)

    recorded = GraphedNetwork(Asking(), CpuRecorder())
    frame = torch.rand(1, 3, 64, 64)
    with caplog.at_level(logging.WARNING):
        results = [recorded.encode(frame)[0] for _ in range(3)]
    assert all(torch.equal(result, frame * frame.mean()) for result in results)
    assert len(caplog.records) == 1


def test_when_memory_runs_out_recordings_are_dropped() -> None:
    class Full(Mixing):
        full = False

        def encode(self, frame: Tensor) -> Any:
            if self.full:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().encode(frame)

    net, recorder = Full(), CpuRecorder()
    recorded = GraphedNetwork(net, recorder)
    small, large = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        for _ in range(3):
            recorded.encode(small)
        assert (recorder.count, recorder.replays) == (1, 2)
        net.full = True
        recorded.encode(small)  # in memory that is there
        with pytest.raises(torch.OutOfMemoryError):
            recorded.encode(large)
        net.full = False
        recorded.encode(small)
        assert (recorder.count, recorder.replays) == (1, 3)
        recorded.encode(small)
        assert (recorder.count, recorder.replays) == (2, 4)


def test_steps_in_tiles_are_not_recorded() -> None:
    net, recorder = network("balanced"), CpuRecorder()
    recorded = GraphedNetwork(net, recorder)
    frame = pictures(net, 1)[0]
    with torch.inference_mode():
        for _ in range(3):
            recorded.encode(frame, side=64)
    assert recorder.count == 0


def test_recordings_are_limited() -> None:
    recorder = CpuRecorder()
    recorded = GraphedNetwork(Mixing(), recorder)
    with torch.inference_mode():
        for width in range(64, 64 + 16 * (MAX_GRAPHS + 3), 16):
            for _ in range(2):
                recorded.encode(torch.rand(1, 3, 64, width))
    assert recorder.count == MAX_GRAPHS + 3
    assert len(recorded._recordings) <= MAX_GRAPHS


def test_only_networks_that_say_so_are_recorded_and_only_on_cuda() -> None:
    net = network("fast")
    assert with_cuda_graphs(net, torch.device("cpu"), capturable=True) is net
    mixing, capturable = Mixing(), traits_of(Mixing()).capturable
    assert with_cuda_graphs(mixing, torch.device("cuda:0"), capturable=capturable) is mixing
    assert without_graphs(GraphedNetwork(net, CpuRecorder())) is net
    assert GraphedNetwork(net, CpuRecorder()).stride == net.stride


@pytest.mark.parametrize("name", LIGHT)
def test_the_engine_gives_the_same_with_recordings(name: str) -> None:
    """Through cuts, changes of size and a reset; a change of size starts anew."""
    frames = [*clip(7, 48, 64, cuts=(3,)), *clip(5, 64, 80), *clip(4, 48, 64)]
    expected = list(Deblurrer(name, device="cpu", precision="float32").run(iter(frames)))
    deblurrer = Deblurrer(name, device="cpu", precision="float32")
    recorder = CpuRecorder()
    deblurrer.device_step.steps = GraphedNetwork(deblurrer.network, recorder)
    for _ in range(2):
        found = list(deblurrer.run(iter(frames)))
        assert all(planes_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert recorder.replays > 20
    many = list(deblurrer.run_many([iter(frames[:7]), iter(frames[:7])]))
    assert all(planes_equal(a, b) for pair in many for a, b in [pair] if a is not None and b is not None)


@pytest.mark.parametrize("name", MODELS)
def test_steps_ask_the_device_for_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a device without values every question is an error; and no list of numbers is sent there."""
    net: Any = network(name)
    frames = [frame.to("meta") for frame in pictures(net, 3)]

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("numbers sent to the device")

    net = net.to("meta")
    monkeypatch.setattr(torch.Tensor, "new_tensor", refuse)
    monkeypatch.setattr(torch, "tensor", refuse)
    assert len(walked(net, frames)) == 3


# --- The real thing ---------------------------------------------------------------------------------------------------


@pytest.mark.cuda
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_cuda_graphs_give_what_plain_steps_give(name: str, precision: str, caplog: pytest.LogCaptureFixture) -> None:
    """Cuts, changes of size and a second run; sums may be made in another order, so by one code here and there."""
    frames = [*clip(9, 120, 160, cuts=(4,)), *clip(5, 64, 96), *clip(4, 120, 160)]
    expected = list(Deblurrer(name, device="cuda", precision=precision, streams=False).run(iter(frames)))
    deblurrer = Deblurrer(name, device="cuda", precision=precision)
    assert isinstance(deblurrer.device_step.steps, GraphedNetwork)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            found = list(deblurrer.run(iter(frames)))
            for one, other in zip(found, expected, strict=True):
                for a, b in zip(one.planes, other.planes, strict=True):
                    difference = np.abs(np.asarray(a).astype(int) - np.asarray(b).astype(int))
                    assert difference.max() <= 1
                    assert difference.mean() < 0.01
    assert caplog.records == []
    assert deblurrer.device_step.steps._recordings


@pytest.mark.cuda
@pytest.mark.parametrize("name", MODELS)
def test_cuda_graphs_leave_kept_states_alone(name: str) -> None:
    net = network(name).to("cuda")
    frames = [frame.cuda() for frame in pictures(net, 6, 128, 192)]
    with torch.cuda.stream(torch.cuda.Stream()):
        expected = walked(net, frames)
        recorded = with_cuda_graphs(net, torch.device("cuda:0"), capturable=traits_of(net).capturable)
        for _ in range(2):
            found = walked(recorded, frames)
    torch.cuda.synchronize()
    assert recorded._recordings
    for (residual, state), (wanted, kept) in zip(found, expected, strict=True):
        assert (residual - wanted).abs().max() < 1e-5
        for a, b in zip(flat(state), flat(kept), strict=True):
            assert torch.allclose(a, b, rtol=1e-3, atol=1e-4)
