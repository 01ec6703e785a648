"""Progress of an evaluation, for whoever waits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EvaluationProgress:
    """How far an evaluation is; ``now`` says what comes next; ``total`` is None where it is not known."""

    done: int
    total: int | None
    now: str
