"""Pre-training stages: exposure reader and taps are each fitted alone before joint training."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor

from vdeblur.errors import UsageError
from vdeblur.kernels.inputs import BLOCK_PX
from vdeblur.model.checkpoint import load_network
from vdeblur.model.network import RestorationNetwork, traits_of
from vdeblur.training.config import TapsPretraining, TrainConfig
from vdeblur.training.data.sources import BatchStream, closing_iterator
from vdeblur.training.pretraining.block_filters import BlockSamples, draw_cells, learn_cells
from vdeblur.training.pretraining.exposure_reader import ProfileSamples, draw_profiles, learn_fraction
from vdeblur.training.pretraining.pace import Pace, Paused
from vdeblur.training.pretraining.taps import PixelSamples, draw_pixels, learn_taps
from vdeblur.training.synthesis.blur import Clip
from vdeblur.training.synthesis.config import SynthesisConfig

logger = logging.getLogger(__name__)

MakesClips = Callable[[SynthesisConfig], BatchStream]
Samples = TypeVar("Samples", ProfileSamples, PixelSamples, BlockSamples)
#: The parts, in the order in which they learn.
_NAMES = {"fraction": "exposure fraction", "taps": "taps"}


@dataclass(frozen=True)
class Watch:
    """What a caller has to say to the stages: their time, whether to stop, and what interrupted ones have left."""

    #: Seconds for all stages together; None = as long as their clips and steps take.
    seconds: float | None = None
    stopped: Callable[[], bool] = lambda: False
    #: States of interrupted stages, by part.
    kept: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: Told the part and its state when it stops in the middle.
    keep: Callable[[str, dict[str, Any]], None] = lambda part, state: None


def learn_first(
    net: RestorationNetwork,
    config: TrainConfig,
    synthetic_for: Callable[[SynthesisConfig], BatchStream] | None,
    *,
    done: Sequence[str] = (),
    learned: Callable[[str], None] = lambda _: None,
    watch: Watch | None = None,
) -> None:
    """Teach the parts that the config names, on synthetic clips whose true motion is known.

    Args:
        done: parts that know it already, "fraction" or "taps".
        learned: told each part when it has learned.
        watch: limits the stages by the clock, and stops them; a part that was stopped keeps its state and goes on from
            it, as if it had never been stopped.

    Raises:
        UsageError: the network has no such parts, or there are no photographs or videos to make such clips from.
    """
    fraction, taps = config.fraction_first, config.taps_first
    if not (fraction.clips or fraction.reader_of or taps.clips):
        return
    traits, watch = traits_of(net), watch or Watch()
    if (fraction.clips or fraction.reader_of) and not traits.reads_exposure:
        raise UsageError(f"fraction_first: the network {net.config.name!r} reads no exposure fraction")
    if taps.clips and traits.taps is None:
        raise UsageError(f"taps_first: the network {net.config.name!r} has no filters along the motion")
    if synthetic_for is None and (fraction.clips or taps.clips):
        raise UsageError("fraction_first and taps_first need stills or videos: pairs do not tell their motion")
    wanted = {"fraction": bool(fraction.clips or fraction.reader_of), "taps": bool(taps.clips)}
    parts = [part for part, wish in wanted.items() if wish and part not in done]
    ends = None if watch.seconds is None else time.monotonic() + watch.seconds
    for number, part in enumerate(parts):
        seconds = None if ends is None else (ends - time.monotonic()) / (len(parts) - number)
        pace = Pace(_NAMES[part], seconds=seconds, stopped=watch.stopped, kept=watch.kept.get(part))
        stage = _learn_fraction_first if part == "fraction" else _learn_taps_first
        try:
            stage(net, config, synthetic_for, pace)
        except Paused as exc:
            watch.keep(part, exc.kept)
            return
        learned(part)


def _learn_fraction_first(net: Any, config: TrainConfig, synthetic_for: MakesClips | None, pace: Pace) -> None:
    first = config.fraction_first
    if first.reader_of:
        other: Any = load_network(first.reader_of)
        if not traits_of(other).reads_exposure:
            raise UsageError(f"fraction_first: {first.reader_of} reads no exposure fraction")
        net.fraction.load_state_dict(other.fraction.state_dict())
        return
    assert synthetic_for is not None
    logger.info("exposure fraction: %d clips of %d pixels", first.clips, first.synthesis.size_px)

    def drawn() -> ProfileSamples:
        clips = _taken(synthetic_for(first.synthesis), first.clips, config, pace)
        return draw_profiles(net, clips, seed=config.seed, pace=pace)

    samples = _samples(ProfileSamples, drawn, pace)
    with _kept_with(samples):
        learn_fraction(net.fraction, samples, steps=first.steps, seed=config.seed, pace=pace)


def _learn_taps_first(net: Any, config: TrainConfig, synthetic_for: MakesClips | None, pace: Pace) -> None:
    assert synthetic_for is not None
    first = config.taps_first
    logger.info("taps: %d pixels a frame of %d clips", first.pixels, first.clips)
    clips = _taken(synthetic_for(config.synthesis), first.clips, config, pace)
    options: dict[str, Any] = {
        "steps": first.steps, "batch": first.batch, "learning_rate": first.learning_rate, "seed": config.seed,
        "pace": pace,
    }  # fmt: skip
    if traits_of(net).taps == "blocks":
        _learn_cells_first(net, first, clips, options)
        return
    if first.teacher:
        raise UsageError("taps_first: only filters of cells (tap_experts) have a teacher")

    def drawn() -> PixelSamples:
        return draw_pixels(net, clips, per_frame=first.pixels, seed=config.seed, pace=pace)

    samples = _samples(PixelSamples, drawn, pace)
    with _kept_with(samples):
        learn_taps(net.taps, samples, **options)


def _learn_cells_first(net: Any, first: TapsPretraining, clips: Iterator[Clip], options: dict[str, Any]) -> None:
    teacher: Any = load_network(first.teacher) if first.teacher else None
    if teacher is not None and traits_of(teacher).taps not in ("block pixels", "blocks"):
        raise UsageError(f"taps_first: {first.teacher} cannot teach filters of cells")
    # Who looks at more draws the cells, with this network's own reading of the exposure.
    drawing = net
    if teacher is not None and teacher.taps.feature_count > net.taps.feature_count:
        drawing = copy.deepcopy(teacher)
        drawing.fraction = net.fraction
    per_frame, pace = max(1, first.pixels // BLOCK_PX**2), options["pace"]

    def drawn() -> BlockSamples:
        return draw_cells(drawing, clips, per_frame=per_frame, seed=options["seed"], pace=pace)

    samples = _samples(BlockSamples, drawn, pace)
    with _kept_with(samples):
        learn_cells(
            net.taps, samples, seen_by=drawing.taps, teacher=None if teacher is None else teacher.taps, **options
        )


def _samples(kind: Callable[..., Samples], drawn: Callable[[], Samples], pace: Pace) -> Samples:
    """Samples of an interrupted fit, else newly drawn ones."""
    kept = pace.kept.get("samples")
    return drawn() if kept is None else kind(*kept)


@contextmanager
def _kept_with(samples: Sequence[Tensor]) -> Iterator[None]:
    """Within the block a fit that is stopped keeps its samples too."""
    try:
        yield
    except Paused as exc:
        raise Paused({"fit": exc.kept, "samples": tuple(samples)}) from None


def _taken(data: BatchStream, clips: int, config: TrainConfig, pace: Pace) -> Iterator[Clip]:
    """Batches with that many clips, or as many as there is time for, one at least; those of unknown motion are left."""
    wanted = math.ceil(clips / config.batch)
    with closing_iterator(data.batches(pace.batches)) as batches:
        while pace.clips < wanted and not (pace.clips and pace.drawing_is_over):
            clip = next(batches)
            pace.batches += 1
            if clip.motion is not None:
                pace.clips += 1
                yield clip
            pace.tell(lambda: f"{min(clips, pace.clips * config.batch)} of {clips} clips drawn")
    if pace.clips < wanted:
        logger.info("%s: %d of %d clips fit into the time", pace.what, pace.clips * config.batch, clips)
