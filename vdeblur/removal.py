"""Removal: how people say what is to be taken out of the picture beside the blur, and how much of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

#: "none", or stages with their shares, in text; or a sequence of such.
RemoveSetting = str | Sequence[str]
#: Nothing.
NONE = "none"
#: What can be removed.
STAGES = ("noise",)
#: How messages end.
BOUNDS = "none, noise, or noise with = and a share of it from 0 to 1"

_STAGE = re.compile(r"([a-z]+)(?:=(\d*\.?\d+))?")


def remove_setting(value: Any) -> str:
    """The usual form of a setting: "none", "noise" or "noise=0.5".

    Raises:
        ValueError: it is none.
    """
    if value in (NONE, None, ()):
        return NONE
    if isinstance(value, Mapping):
        raise ValueError(f"{value!r} is no list of stages")
    words = value.split(",") if isinstance(value, str) else list(value)
    shares: dict[str, float] = {}
    for word in words:
        found = _STAGE.fullmatch(word.strip())
        if found is None or found[1] not in STAGES or found[1] in shares:
            raise ValueError(f"{word!r} cannot be removed")
        shares[found[1]] = 1.0 if found[2] is None else float(found[2])
        if not 0 <= shares[found[1]] <= 1:
            raise ValueError(f"{word!r} is no share")
    return ",".join(name if share == 1 else f"{name}={share:g}" for name, share in shares.items() if share) or NONE


def removed_share(setting: str, stage: str) -> float:
    """How much of a stage a setting in its usual form removes, 0 to 1."""
    for word in setting.split(","):
        name, _, share = word.partition("=")
        if name == stage:
            return float(share or 1)
    return 0.0
