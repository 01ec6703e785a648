"""Count of kernels that this process has compiled, for those who measure its pace."""

from __future__ import annotations

import itertools

_numbers = itertools.count(1)
_compiled = 0


def add_compiled() -> int:
    """Count a kernel; return how many there are with it."""
    global _compiled
    _compiled = next(_numbers)
    return _compiled


def compiled_kernels() -> int:
    """How many kernels this process has compiled; those that were loaded from the cache do not count."""
    return _compiled
