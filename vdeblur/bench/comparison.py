"""Regression check: new benchmark results against old ones, slower or larger figures named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: What is compared: its name, where it is in a row, and whether more of it is better.
NUMBERS = (
    ("whole, fps", ("whole", "fps"), True),
    ("network, ms", ("network", "ms"), False),
    ("first frame, s", ("whole", "first_frame_seconds"), False),
    ("memory, MiB", ("whole", "peak_mib"), False),
)
#: What makes a row the same case.
KEYS = ("size", "model", "precision", "lookahead")


@dataclass(frozen=True)
class MetricChange:
    """One number of one case, before and now."""

    case: str
    number: str
    before: float
    now: float
    #: By how much it is better, as a share of before; negative = worse.
    gain: float

    def worse(self, tolerance: float) -> bool:
        return self.gain < -tolerance


def changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[MetricChange]:
    """Numbers of all cases that both have; both as :meth:`vdeblur.bench.results.Results.as_dict` gives them."""
    before = {_key(row): row for row in old["rows"]}
    for row in new["rows"]:
        earlier = before.get(_key(row))
        if earlier is None:
            continue
        for name, (part, number), more_is_better in NUMBERS:
            then, now = earlier[part][number], row[part][number]
            if then and now is not None:
                gain = now / then - 1 if more_is_better else 1 - now / then
                yield MetricChange(" ".join(str(word) for word in _key(row)), name, then, now, gain)


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What makes the two incomparable, in words: other hardware, other versions, another preset."""
    words = []
    for name in ("processor", "cores", "device", "torch", "ffmpeg", "torch_threads"):
        then, now = old["machine"].get(name), new["machine"].get(name)
        if then != now:
            words.append(f"{name} was {then}, is {now}")
    if old["settings"].get("preset") != new["settings"].get("preset"):
        words.append(f"preset was {old['settings'].get('preset')}, is {new['settings'].get('preset')}")
    return words


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEYS)
