"""What is learned before the first step, each part by itself: the exposure fraction's reader, and the taps."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from vdeblur.errors import UsageError
from vdeblur.model.celltaps import CELL
from vdeblur.model.kinds import Net
from vdeblur.model.lumanet import LumaNet
from vdeblur.model.mixedtaps import MixedTaps
from vdeblur.training.feeds import Data, closing_iterator
from vdeblur.training.fraction import draw_profiles, learn_fraction
from vdeblur.training.recipe import TrainConfig
from vdeblur.training.settings import SynthesisConfig
from vdeblur.training.synthesis import Clip
from vdeblur.training.taps import draw_cells, draw_pixels, learn_cells, learn_taps

logger = logging.getLogger(__name__)


def learn_first(net: Net, config: TrainConfig, synthetic_for: Callable[[SynthesisConfig], Data] | None) -> None:
    """Teach the parts that the config names, on synthetic clips whose true motion is known.

    Raises:
        UsageError: there are no photographs or videos to make such clips from.
    """
    fraction, taps = config.fraction_first, config.taps_first
    if not (fraction.clips or taps.clips):
        return
    if synthetic_for is None:
        raise UsageError("fraction_first and taps_first need stills or videos: pairs do not tell their motion")
    if fraction.clips:
        larger = replace(config.synthesis, size_px=fraction.size_px, frames=fraction.frames, exposure=fraction.exposure)
        logger.info("exposure fraction: %d clips of %d pixels", fraction.clips, fraction.size_px)
        profiles = draw_profiles(net, _taken(synthetic_for(larger), fraction.clips, config.batch), seed=config.seed)
        learn_fraction(net.fraction, profiles, steps=fraction.steps, seed=config.seed)
    if taps.clips:
        logger.info("taps: %d pixels a frame of %d clips", taps.pixels, taps.clips)
        clips = _taken(synthetic_for(config.synthesis), taps.clips, config.batch)
        options: dict[str, Any] = {
            "steps": taps.steps, "batch": taps.batch, "learning_rate": taps.learning_rate, "seed": config.seed
        }  # fmt: skip
        if isinstance(net, LumaNet) and isinstance(net.taps, MixedTaps):
            per_frame = max(1, taps.pixels // CELL**2)
            learn_cells(net.taps, draw_cells(net, clips, per_frame=per_frame, seed=config.seed), **options)
        else:
            assert not isinstance(net.taps, MixedTaps)
            learn_taps(net.taps, draw_pixels(net, clips, per_frame=taps.pixels, seed=config.seed), **options)


def _taken(data: Data, clips: int, batch: int) -> Iterator[Clip]:
    """Batches with that many clips; those without known motion are passed over."""
    with closing_iterator(data.batches(0)) as batches:
        known = (clip for clip in batches if clip.motion is not None)
        yield from itertools.islice(known, math.ceil(clips / batch))
