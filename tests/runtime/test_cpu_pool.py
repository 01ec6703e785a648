"""Cores: pieces of work side by side, and frames that are corrected while the next one is matched."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from support.doubles import clip
from support.wall_clock import patience
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.read_ahead import always_ready
from vdeblur.errors import NetworkError
from vdeblur.frames import Frame
from vdeblur.kernels.dispatch import kernels_for, try_kernels
from vdeblur.model.luma_net import LumaConfig, LumaNet
from vdeblur.runtime.cpu_pool import available_threads, run_in_background, run_parallel, single_threaded_ops

CPU = torch.device("cpu")
SMALL = LumaConfig(
    kind="luma", name="small", flow_finest=2, taps=5, reach=1.0, tap_hidden=8, tap_depth=1, tap_neighbours=1
)


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def small() -> LumaNet:
    torch.manual_seed(0)
    net = LumaNet(SMALL).eval()
    torch.nn.init.normal_(net.taps.correction.weight)
    return net


# --- Pieces of work ---------------------------------------------------------------------------------------------------


def test_results_come_in_order_from_as_many_threads_as_may_be_used() -> None:
    met = threading.Barrier(2)  # would never open if one thread did all

    def job(number: int) -> tuple[int, str, int]:
        if number < 2:
            met.wait(patience(20))
        return number, threading.current_thread().name, torch.get_num_threads()

    with torch.inference_mode():
        results = run_parallel([lambda n=n: job(n) for n in range(6)], CPU)  # type: ignore[misc]
    assert [number for number, _, _ in results] == list(range(6))
    assert len({name for _, name, _ in results}) == 2
    assert {threads for _, _, threads in results} == {1}, "no operation is split in there"
    assert torch.get_num_threads() == 2


def test_operations_in_a_piece_stay_in_its_thread() -> None:
    """What a thread is told before its first operation is forgotten by it; so it is told after one."""
    big = torch.rand(4_000_000)
    with torch.inference_mode():
        threads = run_parallel([lambda: (big.add(1), torch.get_num_threads())[1] for _ in range(4)], CPU)
    assert threads == [1, 1, 1, 1]


def test_what_a_piece_raises_comes_through_when_all_have_ended() -> None:
    done = []

    def fails() -> None:
        raise ValueError("this one")

    def works() -> None:
        time.sleep(0.1)
        done.append(1)

    with torch.inference_mode(), pytest.raises(ValueError, match="this one"):
        run_parallel([fails, works, works], CPU)
    assert done == [1, 1]


def test_with_gradients_all_is_done_here() -> None:
    assert available_threads(CPU) == 1
    names = run_parallel([lambda: threading.current_thread().name] * 3, CPU)
    assert set(names) == {threading.current_thread().name}


def test_one_thread_for_operations_and_all_for_pieces() -> None:
    with torch.inference_mode():
        with single_threaded_ops(CPU):
            assert torch.get_num_threads() == 1
            assert available_threads(CPU) == 2
            with single_threaded_ops(CPU):
                assert available_threads(CPU) == 2
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2


def test_who_waits_for_what_is_done_later_helps() -> None:
    met = threading.Barrier(2)  # would never open if nobody helped

    def piece() -> tuple[str, int]:
        met.wait(patience(20))
        return threading.current_thread().name, torch.get_num_threads()

    with torch.inference_mode(), single_threaded_ops(CPU):
        work = run_in_background(lambda: run_parallel([piece] * 2, CPU), CPU)
        found = work.result()
        assert work.result() is found, "it may be asked for again"
    here, there = sorted(found, key=lambda each: "background" in each[0])
    assert here == (threading.current_thread().name, 1)
    assert "background" in there[0]
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_what_a_piece_raises_here_comes_through(failure: type[BaseException]) -> None:
    met = threading.Barrier(2)

    def piece() -> None:
        met.wait(patience(20))
        if "background" not in threading.current_thread().name:
            raise failure("here")

    with torch.inference_mode(), single_threaded_ops(CPU):
        work = run_in_background(lambda: run_parallel([piece] * 2, CPU), CPU)
        with pytest.raises(failure, match="here"):
            work.result()
        with pytest.raises(Exception, match="here"):  # nobody waits for a piece that was given up
            work.result()
    assert run_in_background(lambda: 7, CPU).result() == 7


def test_ctrl_c_in_a_piece_is_no_failure_of_kernels() -> None:
    met = threading.Barrier(2)

    def piece() -> None:
        met.wait(patience(20))
        if "background" not in threading.current_thread().name:
            raise KeyboardInterrupt

    with torch.inference_mode():
        work = run_in_background(lambda: try_kernels(torch.zeros(1), lambda _: run_parallel([piece] * 2, CPU)), CPU)
        with pytest.raises(KeyboardInterrupt):
            work.result()
        with pytest.raises(RuntimeError, match="interrupted"):
            work.result()
    assert kernels_for(CPU) is not None


# --- Frames in halves -------------------------------------------------------------------------------------------------


def restored(net: Any, frames: list[Frame], *, threads: int) -> list[np.ndarray[Any, Any]]:
    torch.set_num_threads(threads)
    deblurrer = Deblurrer(net, device="cpu", precision="float32")
    return [np.asarray(frame.planes[0]) for frame in deblurrer.run(iter(frames))]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_halves_give_what_whole_steps_give(count: int) -> None:
    frames = list(clip(count, 64, 96))
    whole, halves = restored(small(), frames, threads=1), restored(small(), frames, threads=2)
    assert len(halves) == count
    for one, other in zip(whole, halves, strict=True):
        assert np.abs(one.astype(int) - other.astype(int)).max() <= 1
    if count > 1:  # a lone frame has no motion
        assert any((np.asarray(frame.planes[0]) != plane).any() for frame, plane in zip(frames, halves, strict=True))


class Watched(LumaNet):
    """Its second halves wait for the next first half, and are counted when they begin and end."""

    def __init__(self) -> None:
        super().__init__(SMALL)
        self.matched, self.begun, self.ended = 0, 0, 0

    def match(self, *arguments: Any) -> Any:
        self.matched += 1
        return super().match(*arguments)

    def correct(self, matched: Any, *, side: int | None = None) -> Tensor:
        self.begun += 1
        latest = time.monotonic() + patience(20)
        while self.matched < 2:
            assert time.monotonic() < latest, "the next frame is not matched meanwhile"
            time.sleep(0.01)
        result = super().correct(matched, side=side)
        self.ended += 1
        return result


def test_the_next_frame_is_matched_while_one_is_corrected() -> None:
    deblurrer = Deblurrer(Watched(), device="cpu", precision="float32")
    assert len(list(deblurrer.run(clip(4, 64, 96), ready=always_ready))) == 4
    assert deblurrer.network.ended == 4  # type: ignore[attr-defined]


class Broken(LumaNet):
    def correct(self, matched: Any, *, side: int | None = None) -> Tensor:
        raise RuntimeError("no filters today")


def test_a_failure_in_the_second_half_names_the_frame() -> None:
    deblurrer = Deblurrer(Broken(SMALL), device="cpu", precision="float32")
    with pytest.raises(NetworkError, match="no filters today"):
        list(deblurrer.run(clip(3, 64, 96)))
    deblurrer.step(next(clip(1, 64, 96)))
    with pytest.raises(NetworkError, match="no filters today"):
        deblurrer.flush()


class Short(LumaNet):
    """Has no memory for its first match."""

    tries = 0

    def match(self, *arguments: Any) -> Any:
        Short.tries += 1
        if Short.tries == 1:
            raise torch.OutOfMemoryError("out of memory")
        return super().match(*arguments)


def test_memory_that_runs_out_while_matching_is_met_with_tiles() -> None:
    deblurrer = Deblurrer(Short(SMALL), device="cpu", precision="float32")
    assert len(list(deblurrer.run(clip(3, 160, 192)))) == 3
    assert "memory ran out" in deblurrer.notes[0]


def test_an_abandoned_run_waits_for_what_it_began() -> None:
    deblurrer = Deblurrer(Watched(), device="cpu", precision="float32")
    run = deblurrer.run(clip(8, 64, 96), ready=always_ready)
    next(run)
    run.close()
    assert deblurrer.network.begun == deblurrer.network.ended  # type: ignore[attr-defined]
    assert len(list(deblurrer.run(clip(2, 64, 96), ready=always_ready))) == 2
