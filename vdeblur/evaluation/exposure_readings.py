"""Exposure readings: the exposure fraction a network read from each frame, beside the true one where it is known."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.read_ahead import READ_AHEAD, always_ready
from vdeblur.evaluation.cases import Case
from vdeblur.evaluation.scoring import mean
from vdeblur.frames import Frame

#: Readings of the frames before this one do not count: the first is read from one side, the second from two profiles.
FIRST_COUNTED = 2


@dataclass(frozen=True)
class ExposureScore:
    """Exposure fractions of a clip, means from the third frame on; None where nobody knows."""

    #: What it was. Known of ladders and synthetic clips, and of pairs where the user says so.
    true: float | None
    #: What the network read, None for a method that reads none or a clip of fewer than three frames.
    read: float | None
    #: Mean absolute difference of the two, frame by frame.
    error: float | None


def restored_and_read(
    deblurrer: Deblurrer, frames: Iterable[Frame], readings: list[float]
) -> Generator[Frame, None, None]:
    """Restore a clip as a file is (:data:`READ_AHEAD`); what the blur of each frame says is added to a list.

    It is the median of what the network's reader said (:class:`vdeblur.model.exposure.Reading`).
    """
    with closing(deblurrer.restorations(frames, read_ahead=READ_AHEAD, ready=always_ready)) as restorations:
        for restored in restorations:
            if restored.shutter is not None:
                readings.append(restored.shutter.middle)
            yield restored.frame


def exposure_score(case: Case, readings: Sequence[float]) -> ExposureScore:
    """Compare the readings of a clip, one a frame or none at all, with its true exposures."""
    true = true_exposures(case, len(readings))
    counted = readings[FIRST_COUNTED:]
    if not counted:
        return ExposureScore(mean(true) if true else None, None, None)
    if true is None:
        return ExposureScore(None, mean(counted), None)
    right = true[FIRST_COUNTED:]
    error = mean(abs(one - other) for one, other in zip(counted, right, strict=True))
    return ExposureScore(mean(right), mean(counted), error)


def true_exposures(case: Case, frames: int) -> list[float] | None:
    """True exposure fraction of each frame, or None.

    In a synthetic clip it is the ratio, by least squares, of the motion during the exposure to that during the frame
    interval, over the pixels where both are known.
    """
    if case.exposure is not None:
        return [case.exposure] * max(1, frames)
    if case.truth is None:
        return None
    velocity, motion = (part.flatten(1) for part in (case.truth.velocity, case.truth.motion))
    ratios = (velocity * motion).nansum(dim=1) / velocity.square().nansum(dim=1).clamp_min(1e-6)
    return [float(ratio) for ratio in ratios]
