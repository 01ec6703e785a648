"""The pace, with a clock that is only counted: quick to go down, slow to go up, and no to and fro."""

from __future__ import annotations

import itertools
import random

import pytest

from vdeblur.live.quality_controller import (
    ENOUGH_FPS,
    HELD_SECONDS,
    PATIENCE,
    OperatingPoint,
    QualityController,
    operating_points,
)


class Machine:
    """Takes frames as a session does: each takes ``seconds(rung)``, and none begins before it has come."""

    def __init__(self, model: str = "swift", *, fps: float = 30.0, jitter: float = 0.1, **more: int) -> None:
        self.now, self.fps = 0.0, fps
        self.pace = QualityController(operating_points(model, **more), self.now)
        self.slowness = 1.0
        self.full_seconds = 0.02
        self.fixed = 0.22
        self.changes: list[tuple[float, OperatingPoint]] = []
        self._random = random.Random(7)
        self._jitter = jitter

    def seconds(self, point: OperatingPoint) -> float:
        model = {"swift": 1.0, "fast": 1.25, "balanced": 6.25, "quality": 12.5}[point.model]
        work = model * (self.fixed + (1 - self.fixed) / point.reduce**2)
        return self.slowness * self.full_seconds * work * (1 + self._random.uniform(-self._jitter, self._jitter))

    def run(self, seconds: float) -> OperatingPoint:
        end = self.now + seconds
        while self.now < end:
            took = self.seconds(self.pace.point)
            self.now += max(took, 1 / self.fps)
            point = self.pace.observe(self.now, took, self.fps)
            if point is not None:
                self.changes.append((self.now, point))
        return self.pace.point


def test_what_is_quick_enough_stays() -> None:
    machine = Machine()
    assert machine.run(600).reduce == 1
    assert machine.changes == []


@pytest.mark.parametrize(
    ("full_seconds", "reduce"), [(0.030, 1), (0.045, 2), (0.07, 2), (0.08, 3), (0.11, 4), (0.5, 4)]
)
def test_the_largest_size_that_keeps_up_is_found_soon_and_kept(full_seconds: float, reduce: int) -> None:
    machine = Machine()
    machine.full_seconds = full_seconds
    assert machine.run(2.5).reduce == reduce
    machine.run(600)
    assert machine.pace.point.reduce == reduce
    assert len(machine.changes) <= 2


def test_a_very_slow_network_is_judged_by_few_frames() -> None:
    machine = Machine()
    machine.full_seconds = 1.2
    machine.run(8)
    assert machine.pace.lowest
    assert machine.pace.overloaded
    machine.full_seconds = 0.1
    machine.run(5)
    assert not machine.pace.overloaded


@pytest.mark.parametrize("fixed", [0.0, 0.3, 0.5])
def test_other_shares_of_work_are_learned(fixed: float) -> None:
    machine = Machine()
    machine.full_seconds, machine.fixed = 0.06, fixed
    machine.run(900)
    late = [change for change in machine.changes if change[0] > 300]
    assert len(late) <= 4, "no to and fro"
    assert machine.seconds(machine.pace.point) < 1.15 / 30 or machine.pace.lowest


def test_when_there_is_time_again_it_goes_up_after_a_while() -> None:
    machine = Machine()
    machine.full_seconds, machine.slowness = 0.02, 4.0
    assert machine.run(20).reduce > 1
    machine.slowness, begun = 1.0, machine.now
    assert machine.run(60).reduce == 1
    rises = [at for at, _ in machine.changes if at > begun]
    assert all(b - a >= PATIENCE - 0.1 for a, b in itertools.pairwise(rises))


def test_a_hiccup_of_a_few_frames_changes_nothing() -> None:
    machine = Machine()
    machine.run(10)
    for _ in range(20):
        machine.slowness = 6.0
        machine.run(0.3)
        machine.slowness = 1.0
        machine.run(5)
    assert machine.changes == []


def test_at_the_edge_it_does_not_flap() -> None:
    """A load that comes and goes every 20 s and makes full size just too slow: the waits between attempts grow."""
    machine = Machine()
    machine.full_seconds = 0.025
    for _ in range(60):
        machine.slowness = 1.5
        machine.run(10)
        machine.slowness = 0.9
        machine.run(10)
    per_minute = [sum(1 for at, _ in machine.changes if 60 * n <= at < 60 * (n + 1)) for n in range(20)]
    assert max(per_minute) <= 6
    assert sum(per_minute[10:]) <= 20


def test_a_smaller_model_is_chosen_where_a_smaller_size_is_not_enough() -> None:
    machine = Machine("balanced")
    machine.full_seconds = 0.2
    point = machine.run(12)
    assert point == operating_points("balanced")[-1]
    assert (point.model, point.reduce) == ("swift", 4)


#: Seconds of a frame of each model at full size, on machines of many kinds.
MACHINES = {
    "two cores": {"swift": 0.009, "fast": 0.014, "balanced": 0.118, "quality": 1.2},
    "two slow cores": {"swift": 0.030, "fast": 0.045, "balanced": 0.4, "quality": 4.0},
    "swift just fits": {"swift": 0.030, "fast": 0.034, "balanced": 0.2, "quality": 0.4},
    "a slow graphics card": {"swift": 0.020, "fast": 0.022, "balanced": 0.028, "quality": 0.09},
    "a quick one": {"swift": 0.001, "fast": 0.001, "balanced": 0.003, "quality": 0.02},
    "one old core": {"swift": 0.09, "fast": 0.15, "balanced": 1.3, "quality": 9.0},
}


@pytest.mark.parametrize("busy", [False, True], ids=["free", "busy at first"])
@pytest.mark.parametrize("model", ["fast", "balanced", "quality"])
@pytest.mark.parametrize("name", MACHINES)
def test_automatic_never_ends_below_a_choice_that_keeps_up(name: str, model: str, busy: bool) -> None:
    """The best operating point that the machine keeps up with is where it ends, also after a moment of other work."""
    machine = Machine(model, jitter=0.04)
    points = operating_points(model)

    def seconds(point: OperatingPoint) -> float:
        share = machine.fixed + (1 - machine.fixed) / point.reduce**2
        return MACHINES[name][point.model] * share * machine.slowness

    machine.seconds = lambda point: seconds(point) * (1 + machine._random.uniform(-0.04, 0.04))  # type: ignore[method-assign]
    machine.slowness = 6.0 if busy else 1.0
    machine.run(40)
    machine.slowness = 1.0
    machine.run(900)
    best = next((point for point in points if seconds(point) <= 0.91 / machine.fps), points[-1])
    assert machine.pace.point == best


def test_a_slow_model_gives_way_to_the_next_one_in_seconds() -> None:
    """From a model that takes over a second it comes to one that keeps up, without a detour by a smaller size."""
    machine = Machine("quality", jitter=0.04)
    machine.seconds = lambda point: MACHINES["two cores"][point.model] / point.reduce**1.5  # type: ignore[method-assign]
    assert machine.run(12) == operating_points("fast")[0]
    assert [point.reduce for _, point in machine.changes] == [1, 1]


def test_a_quick_camera_needs_no_more_than_enough() -> None:
    machine = Machine(fps=120.0)
    machine.full_seconds = 0.9 / ENOUGH_FPS
    assert machine.run(100).reduce == 1
    assert machine.changes == []


def test_a_slow_camera_leaves_time() -> None:
    machine = Machine(fps=10.0)
    machine.full_seconds = 0.09
    assert machine.run(100).reduce == 1


def test_rungs_go_down_from_what_was_asked_for() -> None:
    assert [point.reduce for point in operating_points("swift")] == [1, 2, 3, 4]
    assert [point.reduce for point in operating_points("swift", 3)] == [3, 4]
    assert [point.reduce for point in operating_points("mine.safetensors", 6)] == [6]
    assert [(point.model, point.reduce) for point in operating_points("balanced")] == [
        ("balanced", 1), ("fast", 1), ("swift", 1), ("swift", 2), ("swift", 3), ("swift", 4),
    ]  # fmt: skip
    assert [(point.model, point.reduce) for point in operating_points("fast", 2)] == [
        ("fast", 2), ("swift", 2), ("swift", 3), ("swift", 4),
    ]  # fmt: skip
    for model in ("swift", "fast", "balanced", "quality"):
        work = [point.work for point in operating_points(model)]
        assert work == sorted(work, reverse=True)
        assert operating_points(model)[0] == OperatingPoint(model, 1, work[0])
    assert HELD_SECONDS > PATIENCE
