"""Learning-rate schedule: progress by steps or wall clock, and the rate, clip length and EMA decay it implies."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

from vdeblur.training.config import TrainConfig

#: A limit in minutes covers the last validation and saving too; they may take this share of it at most.
LARGEST_RESERVE = 0.3
#: Share of a limit in minutes by which the parts that learn before the first step must have learned.
FIRST_SHARE = 0.5


class ScheduleAnchor(NamedTuple):
    """A point of the schedule from which the rest is counted: step and share done."""

    step: int
    done: float


#: From the first step on.
BEGINNING = ScheduleAnchor(0, 0.0)


class Schedule:
    """Share of the schedule that is done, by steps, or by the clock under a limit in minutes.

    By steps it depends on the step alone, so a run that goes on sees what it would have seen. By the clock, what is
    left of the schedule when the call begins is spread over the call's minutes. A schedule that has ended is stretched
    when it is given more: 10 minutes more after 30 begin at three quarters of it.

    Args:
        steps: the whole schedule's length.
        minutes: limit of this call; None = by steps.
    """

    def __init__(self, steps: int, minutes: float | None) -> None:
        self.steps, self.minutes, self.anchor = steps, minutes, BEGINNING
        #: Seconds kept free for what follows the last step.
        self.reserve_seconds = 0.0
        self._started = time.monotonic()
        #: Seconds of the call before the first step, which are none of the schedule.
        self._before_seconds = 0.0

    @property
    def first_seconds(self) -> float | None:
        """Seconds that are left for what learns before the first step; None without a limit in minutes."""
        return None if self.minutes is None else max(0.0, FIRST_SHARE * 60 * self.minutes - self.seconds)

    def begin(self) -> None:
        """Begin the schedule: what was done so far in this call came before the first step."""
        self._before_seconds = self.seconds

    def go_on(self, step: int, done: float, anchor: ScheduleAnchor, minutes_so_far: float) -> None:
        """Continue from a state: its step, the share that was done, its anchor, and minutes trained."""
        if self.minutes is None:
            self.anchor = anchor if anchor.done < 1 else BEGINNING
        elif done < 1:
            self.anchor = ScheduleAnchor(step, done)
        else:
            self.anchor = ScheduleAnchor(step, minutes_so_far / (minutes_so_far + self.minutes))

    @property
    def seconds(self) -> float:
        """Seconds since this call began."""
        return time.monotonic() - self._started

    def done(self, step: int) -> float:
        """Share of the schedule done before ``step``; 1 or more at its end."""
        left = 1 - self.anchor.done
        if self.minutes is not None:
            limit = 60 * self.minutes
            limit -= min(self.reserve_seconds, LARGEST_RESERVE * limit)
            span = limit - self._before_seconds
            return 1.0 if span <= 0 else self.anchor.done + left * (self.seconds - self._before_seconds) / span
        if self.steps <= self.anchor.step:
            return 1.0
        return self.anchor.done + left * ((step - self.anchor.step) / (self.steps - self.anchor.step))

    def anchor_at(self, step: int) -> ScheduleAnchor:
        """What a state keeps, so that the schedule goes on from it by steps."""
        return self.anchor if self.minutes is None else ScheduleAnchor(step, min(1.0, self.done(step)))


def learning_rate(config: TrainConfig, step: int, done: float) -> float:
    """Linear warm-up, then a cosine from the first to the final rate over the share that is done."""
    span = config.learning_rate - config.final_learning_rate
    rate = config.final_learning_rate + span * 0.5 * (1 + math.cos(math.pi * min(done, 1)))
    return rate * min(1.0, (step + 1) / max(1, config.warmup_steps))


def frames_at(config: TrainConfig, done: float) -> int:
    """Frames a clip at a share of the schedule."""
    return [count for share, count in config.frame_stages if share <= done][-1]


def average_decay(config: TrainConfig, step: int) -> float:
    """Share of the average kept at a step: it grows with the run, so that short runs are not held back."""
    return min(config.ema_decay, (1 + step) / (10 + step))
