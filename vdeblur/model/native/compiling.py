"""How kernels are compiled: once for a machine's processor, and kept on its disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

#: Sums may be reordered and products joined with sums; nan and infinity stay what they are.
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "arcp", "reassoc"}}

#: A part of kernels, compiled with each of them; Python cannot call it, which saves a third of the time it takes.
part: Callable[[Any], Any] = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)


def kernel(function: Any) -> Any:
    """A function that Python calls, without the interpreter's lock; kept on disk where there is a place for it.

    That is beside this package, or else in the user's cache folder (``NUMBA_CACHE_DIR`` names another one).
    """
    try:
        return njit(cache=True, no_cfunc_wrapper=True, **_OPTIONS)(function)
    except RuntimeError:  # neither can be written to
        return njit(no_cfunc_wrapper=True, **_OPTIONS)(function)
