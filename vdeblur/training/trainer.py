"""Training loop, read from top to bottom: data, step, log, validation, checkpoint; limited by steps or minutes."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vdeblur.errors import Interrupted, TargetError
from vdeblur.model.checkpoint import save_network
from vdeblur.training.config import TrainConfig, as_plain
from vdeblur.training.data.sources import BatchStream, DataFor, DataSources, closing_iterator, open_feeds
from vdeblur.training.distributed import ProcessTeam, gathered_team
from vdeblur.training.learner import Learner, MatchedClip
from vdeblur.training.log import append_row, cut_log
from vdeblur.training.lr_schedule import Schedule, frames_at, learning_rate
from vdeblur.training.plot import write_plot
from vdeblur.training.pretraining.stages import Watch, learn_first
from vdeblur.training.run_state import (
    RunProgress,
    forget_first,
    load_first,
    load_state,
    save_first,
    save_state,
    write_pieces,
)
from vdeblur.training.signals import Interruption, children_deaf_to_ctrl_c, deferred_interruption
from vdeblur.training.synthesis.blur import Clip
from vdeblur.training.synthesis.config import SynthesisConfig
from vdeblur.training.validation import better, validate

__all__ = ["TrainConfig", "TrainingProgress", "train"]

logger = logging.getLogger(__name__)

_GUIDE_CLASSES = (("raw", "gain_raw_db"), ("coded", "gain_coded_db"))


@dataclass(frozen=True)
class TrainingProgress:
    """Where a run stands after a step.

    ``done`` is the share of the schedule; ``means`` and ``scores`` are the log's latest lines, so far as there are any.
    """

    step: int
    done: float
    seconds: float
    means: dict[str, float]
    scores: dict[str, float]


def train(
    config: TrainConfig,
    folder: Path,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    device: str = "auto",
    pieces: bool = False,
    accept_changes: bool = False,
    progress: Callable[[TrainingProgress], None] | None = None,
    data_for: DataFor | None = None,
) -> Path:
    """Train a network in ``folder``, which keeps state, log, plot and weights; an earlier state there is continued.

    By steps, a run that is stopped and goes on is the run that was never stopped: same losses, same weights. By
    minutes, what is left of the schedule is spread over each call's minutes, so its steps depend on the clock.

    Args:
        minutes: the schedule ends with this call's time, validation and saving included.
        steps: length of the schedule in place of the config's.
        device: "auto", "cpu", "cuda" … as for the engine; under torchrun each process takes its own GPU.
        pieces: also keep state and weights in pieces of at most 16 MiB, from which a run goes on as well.
        accept_changes: go on although the config differs from that of the state.
        progress: called after each step, in the process that leads.
        data_for: makes this process's data for a clip length, in place of the config's folders; these are then used
            for validation alone.

    Returns:
        Path of the best weights.

    Raises:
        UsageError: the data, the config or the folder's state cannot be used.
        NetworkError: a loss is not finite; the last good state stays.
        Interrupted: Ctrl-C; the state is kept.
    """
    config = dataclasses.replace(config, steps=config.steps if steps is None else steps)
    course = Schedule(config.steps, minutes)
    with gathered_team(device) as team:
        feeds = open_feeds(config, team)
        feeds = dataclasses.replace(feeds, data_for=data_for or feeds.data_for)
        run = TrainingRun(config, folder, team, feeds, course, pieces)
        with deferred_interruption() as interruption:
            ready = run.go_on(accept_changes, interruption)
            if ready:
                run.learn(interruption, progress or (lambda _: None))
            if interruption.asked or not ready:
                when = f"after step {run.learner.step}" if ready else "before the first step"
                try:
                    interruption.obey()
                except KeyboardInterrupt as exc:
                    raise Interrupted(
                        f"interrupted {when}; its state is in {folder}: the same command goes on"
                    ) from exc
        return run.weights


class TrainingRun:
    """A run in its folder: what :func:`train` does, step by step."""

    def __init__(
        self, config: TrainConfig, folder: Path, team: ProcessTeam, feeds: DataSources, course: Schedule, pieces: bool
    ) -> None:
        self.config, self.folder, self.team, self.feeds, self.pieces = config, folder, team, feeds, pieces
        self.learner = Learner(config, team)
        self.journey = RunProgress()
        self.course = course
        self.means: dict[str, float] = {}
        self.scores: dict[str, float] = {}

    @property
    def weights(self) -> Path:
        """Where the best weights are."""
        return self.folder / f"{self.learner.net.config.name}.safetensors"

    def go_on(self, accept_changes: bool, interruption: Interruption) -> bool:
        """Continue the state in the folder; without one, begin the log with the scores of the first weights.

        Returns:
            Whether the first step may come; False if someone asked to end before.
        """
        _make_folder(self.folder)
        found = load_state(self.folder, self.config, accept_changes=accept_changes)
        if found is not None:
            state, self.journey = found
            self.learner.load(state)
            self.course.go_on(self.learner.step, self.journey.done, self.journey.anchor, self.journey.minutes)
            self.course.reserve_seconds = 2 * self.journey.validation_seconds
            step = self.learner.step
            if self.course.done(step) >= 1:
                logger.warning("the schedule has ended at step %d: give --steps above it, or --minutes", step)
            else:
                logger.info("going on from step %d", step)
        if found is None and not self._learn_first(interruption):
            return False
        if self.team.leads:
            cut_log(self.folder, self.learner.step if found is not None else -1)
            if found is None:
                self._validate()
        self.course.begin()
        return True

    def _learn_first(self, interruption: Interruption) -> bool:
        """The parts that learn by themselves; rank 0 does it for all. Returns False if someone asked to end."""
        if self.team.leads:
            net, folder, makes_clips = self.learner.net, self.folder, self.feeds.synthetic_for
            if makes_clips is not None and self.config.workers:
                makes_clips = partial(_DeafStream, makes_clips)
            done, paused = load_first(folder, self.config, net, str(self.team.device))
            if done or paused:
                logger.info("going on with what is learned first: %s", ", ".join([*done, *paused]))

            def learned(part: str) -> None:
                done.append(part)
                save_first(folder, self.config, net, done)

            def keep(part: str, state: dict[str, Any]) -> None:
                logger.info("keeping what has been drawn and learned so far")
                save_first(folder, self.config, net, done, {part: state})

            watch = Watch(
                self.course.first_seconds,
                stopped=lambda: interruption.asked,
                kept=paused,
                keep=keep,
            )
            learn_first(net, self.config, makes_clips, done=tuple(done), learned=learned, watch=watch)
        self.team.share(self.learner.net.parameters())
        self.learner.begin_average()
        return not self.team.agree(0.0, interruption.asked)[1]

    def learn(self, interruption: Interruption, progress: Callable[[TrainingProgress], None]) -> None:
        """All steps to the end of the schedule, or until someone asks to end."""
        learner, config = self.learner, self.config
        first_step = learner.step
        with ExitStack() as stack:
            batches: Iterator[Clip] = iter(())
            waiting: deque[MatchedClip] = deque()
            frames = 0
            while True:
                done, asked = self.team.agree(self.course.done(learner.step), interruption.asked)
                if done >= 1 or asked:
                    break
                if waiting:
                    self._step(waiting.popleft(), done, frames, progress)
                    continue
                if frames != (wanted := frames_at(config, done)):
                    stack.close()
                    frames = wanted
                    stream = self.feeds.data_for(frames).batches(learner.step)
                    batches = stack.enter_context(closing_iterator(stream))
                    with children_deaf_to_ctrl_c() if config.workers else nullcontext():
                        clip = _next(batches, interruption)
                else:
                    clip = _next(batches, interruption)
                if clip is None:
                    continue
                if config.matched_together > 1:
                    more = [_next(batches, interruption) for _ in range(learner.together - 1)]
                    waiting.extend(learner.match([each for each in (clip, *more) if each is not None]))
                else:
                    self._step(clip, done, frames, progress)
        self._finish(new=learner.step > first_step and not asked)

    def _step(
        self, clip: Clip | MatchedClip, done: float, frames: int, progress: Callable[[TrainingProgress], None]
    ) -> None:
        learner = self.learner
        learner.learn(clip, learning_rate(self.config, learner.step, done))
        self._after_step(done, frames)
        if self.team.leads:
            seconds = self.course.seconds
            progress(TrainingProgress(learner.step, self.course.done(learner.step), seconds, self.means, self.scores))

    def _after_step(self, done: float, frames: int) -> None:
        """Log, validate and save where it is time to."""
        learner, config = self.learner, self.config
        validates, saves, logs = (
            learner.step % every == 0 for every in (config.validate_every, config.save_every, config.log_every)
        )
        if validates or saves or logs or self.team.device.type == "cpu":
            learner.check()
        if logs or validates:
            self.means = learner.means()
            learner.forget()
            rate = learning_rate(config, learner.step - 1, done)
            row = {"learning_rate": rate, "frames": float(frames), **self.means}
            if self.team.leads and validates:
                self._validate(row)
            elif self.team.leads:
                self._log(row)
        if saves or validates:
            self._save()

    def _validate(self, row: dict[str, float] | None = None) -> None:
        """Score the average and the network itself; keep the better one if it is the best so far."""
        began, learner = time.monotonic(), self.learner
        found = {}
        for name, net in (("average", learner.average), ("raw", learner.net)):
            found[name] = validate(
                net,
                self.feeds.validation,
                batch=self.config.batch,
                device=self.team.device,
                autocast=learner.autocast,
            )
        raw, average = found["raw"], found["average"]
        least = self.config.least_kept_db
        chosen = "raw" if better(raw, average, least_kept_db=least) else "average"
        best: dict[str, Any] = {"step": learner.step, "weights": chosen, **found[chosen]}
        self.scores = {**average, "raw_gain_db": raw["gain_db"]}
        if better(best, self.journey.best, least_kept_db=least):
            self.journey.best = best
            self._write_weights(best, chosen)
        self.journey.validation_seconds = time.monotonic() - began
        # Never less than before: a quicker validation must not make a schedule that has ended go on.
        self.course.reserve_seconds = max(self.course.reserve_seconds, 2 * self.journey.validation_seconds)
        self._log({**(row or {}), **self.scores})
        write_plot(self.folder, f"{learner.net.config.name}: {learner.step} steps")
        logger.info("%s", _sentence(learner.step, self.scores, self.journey.best))

    def _write_weights(self, scores: dict[str, Any], chosen: str) -> None:
        net = self.learner.net if chosen == "raw" else self.learner.average
        provenance = {"steps": self.learner.step, "training": as_plain(self.config), "scores": scores}
        save_network(net, self.weights, provenance)

    def _save(self) -> None:
        if not self.team.leads:
            return
        minutes = self.journey.minutes + self.course.seconds / 60
        step = self.learner.step
        journey = dataclasses.replace(
            self.journey, anchor=self.course.anchor_at(step), done=self.course.done(step), minutes=minutes
        )
        save_state(self.folder, self.config, self.learner.state(), journey)
        forget_first(self.folder)
        if self.pieces:
            write_pieces(self.folder, ["state.pt", self.weights.name])

    def _finish(self, new: bool) -> None:
        """The last state; at the end of the schedule also the last scores."""
        self.learner.check()
        if new and self.learner.step % self.config.validate_every:
            means = self.learner.means()
            if self.team.leads:
                self._validate(means)
            self.learner.forget()
        self._save()

    def _log(self, row: dict[str, float]) -> None:
        minutes = self.journey.minutes + self.course.seconds / 60
        append_row(self.folder, {"step": self.learner.step, "minutes": minutes, **row})


class _DeafStream:
    """Synthetic clips whose makers, processes of their own, never hear Ctrl-C."""

    def __init__(self, makes_clips: Callable[[SynthesisConfig], BatchStream], synthesis: SynthesisConfig) -> None:
        self._stream = makes_clips(synthesis)

    def batches(self, first_step: int) -> Iterator[Clip]:
        with closing_iterator(self._stream.batches(first_step)) as batches:
            with children_deaf_to_ctrl_c():
                first = next(batches)
            yield first
            yield from batches


def _next(batches: Iterator[Clip], interruption: Interruption) -> Clip | None:
    """The next batch; None if the signal that ends this process has ended those that make clips."""
    try:
        return next(batches)
    except Exception:
        if interruption.asked:
            return None
        raise


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise TargetError(f"cannot make the folder {folder}: {exc.strerror or exc}") from exc


def _sentence(step: int, scores: dict[str, float], best: dict[str, Any] | None) -> str:
    """What a validation found, for people."""
    words = [f"step {step}: gain {scores['gain_db']:+.2f} dB (last weights {scores['raw_gain_db']:+.2f}"]
    words[0] += f", worst clip {scores['worst_gain_db']:+.2f})"
    of_guide = [f"{name} {scores[key]:+.2f}" for name, key in _GUIDE_CLASSES if key in scores]
    if of_guide:
        words.append(f"{', '.join(of_guide)} dB")
    if "kept_db" in scores:
        words.append(f"{'clean' if of_guide else 'near-sharp'} kept at {scores['kept_db']:.1f} dB")
    if "velocity_error_px" in scores:
        words.append(f"motion errors {scores['velocity_error_px']:.2f} and {scores['exposure_error_px']:.2f} px")
    if best is not None:
        words.append(f"best {best['gain_db']:+.2f} dB at step {best['step']} ({best['weights']} weights)")
    return "; ".join(words)
