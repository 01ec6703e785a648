"""Pre-training stages: exposure reader and taps are each fitted alone before joint training."""

from __future__ import annotations

import copy
import itertools
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from vdeblur.errors import UsageError
from vdeblur.kernels.inputs import BLOCK_PX
from vdeblur.model.checkpoint import load_network
from vdeblur.model.network import RestorationNetwork, traits_of
from vdeblur.training.config import TapsPretraining, TrainConfig
from vdeblur.training.data.sources import BatchStream, closing_iterator
from vdeblur.training.pretraining.block_filters import draw_cells, learn_cells
from vdeblur.training.pretraining.exposure_reader import draw_profiles, learn_fraction
from vdeblur.training.pretraining.taps import draw_pixels, learn_taps
from vdeblur.training.synthesis.blur import Clip
from vdeblur.training.synthesis.config import SynthesisConfig

logger = logging.getLogger(__name__)


def learn_first(
    net: RestorationNetwork,
    config: TrainConfig,
    synthetic_for: Callable[[SynthesisConfig], BatchStream] | None,
    *,
    done: Sequence[str] = (),
    learned: Callable[[str], None] = lambda _: None,
) -> None:
    """Teach the parts that the config names, on synthetic clips whose true motion is known.

    Args:
        done: parts that know it already, "fraction" or "taps".
        learned: told each part when it has learned.

    Raises:
        UsageError: the network has no such parts, or there are no photographs or videos to make such clips from.
    """
    fraction, taps = config.fraction_first, config.taps_first
    if not (fraction.clips or fraction.reader_of or taps.clips):
        return
    traits, parts = traits_of(net), cast(Any, net)
    if (fraction.clips or fraction.reader_of) and not traits.reads_exposure:
        raise UsageError(f"fraction_first: the network {net.config.name!r} reads no exposure fraction")
    if taps.clips and traits.taps is None:
        raise UsageError(f"taps_first: the network {net.config.name!r} has no filters along the motion")
    if synthetic_for is None and (fraction.clips or taps.clips):
        raise UsageError("fraction_first and taps_first need stills or videos: pairs do not tell their motion")
    if "fraction" not in done and (fraction.clips or fraction.reader_of):
        _learn_fraction_first(net, config, synthetic_for)
        learned("fraction")
    if taps.clips and "taps" not in done:
        assert synthetic_for is not None
        logger.info("taps: %d pixels a frame of %d clips", taps.pixels, taps.clips)
        clips = _taken(synthetic_for(config.synthesis), taps.clips, config.batch)
        options: dict[str, Any] = {
            "steps": taps.steps, "batch": taps.batch, "learning_rate": taps.learning_rate, "seed": config.seed
        }  # fmt: skip
        if traits.taps == "blocks":
            _learn_cells_first(parts, taps, clips, options)
        elif taps.teacher:
            raise UsageError("taps_first: only filters of cells (tap_experts) have a teacher")
        else:
            learn_taps(parts.taps, draw_pixels(parts, clips, per_frame=taps.pixels, seed=config.seed), **options)
        learned("taps")


def _learn_fraction_first(
    net: Any, config: TrainConfig, synthetic_for: Callable[[SynthesisConfig], BatchStream] | None
) -> None:
    first = config.fraction_first
    if first.reader_of:
        other: Any = load_network(first.reader_of)
        if not traits_of(other).reads_exposure:
            raise UsageError(f"fraction_first: {first.reader_of} reads no exposure fraction")
        net.fraction.load_state_dict(other.fraction.state_dict())
        return
    assert synthetic_for is not None
    logger.info("exposure fraction: %d clips of %d pixels", first.clips, first.synthesis.size_px)
    profiles = draw_profiles(net, _taken(synthetic_for(first.synthesis), first.clips, config.batch), seed=config.seed)
    learn_fraction(net.fraction, profiles, steps=first.steps, seed=config.seed)


def _learn_cells_first(net: Any, first: TapsPretraining, clips: Iterator[Clip], options: dict[str, Any]) -> None:
    teacher: Any = load_network(first.teacher) if first.teacher else None
    if teacher is not None and traits_of(teacher).taps not in ("block pixels", "blocks"):
        raise UsageError(f"taps_first: {first.teacher} cannot teach filters of cells")
    # Who looks at more draws the cells, with this network's own reading of the exposure.
    drawing = net
    if teacher is not None and teacher.taps.feature_count > net.taps.feature_count:
        drawing = copy.deepcopy(teacher)
        drawing.fraction = net.fraction
    per_frame = max(1, first.pixels // BLOCK_PX**2)
    cells = draw_cells(drawing, clips, per_frame=per_frame, seed=options["seed"])
    learn_cells(net.taps, cells, seen_by=drawing.taps, teacher=None if teacher is None else teacher.taps, **options)


def _taken(data: BatchStream, clips: int, batch: int) -> Iterator[Clip]:
    """Batches with that many clips; those without known motion are passed over."""
    with closing_iterator(data.batches(0)) as batches:
        known = (clip for clip in batches if clip.motion is not None)
        yield from itertools.islice(known, math.ceil(clips / batch))
