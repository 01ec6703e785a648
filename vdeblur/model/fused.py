"""Fused: whether kernels take the place of many small operators.

They do where no gradient is wanted: those of :mod:`vdeblur.model.kernels` on a CUDA device where Triton works, those of
:mod:`vdeblur.model.native` on a CPU where Numba works. Where they fail once, all goes on without them.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor

from vdeblur.compute import capability, is_out_of_memory

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Smallest compute capability whose matrix units the kernels are written for.
LEAST_CAPABILITY = (8, 0)
_broken = False
_off = False


def attempt(like: Tensor, work: Callable[[Any], T]) -> T | None:
    """What ``work`` makes of the kernels, on the device of ``like``; None where they cannot be used.

    The log says so once where they fail. When memory runs out, that comes through.
    """
    global _broken
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.compiler.is_exporting() or _broken or _off:
        return None
    if like.device.type == "cpu":
        kernels = _native() if like.dtype == torch.float32 else None
    elif like.device.type == "cuda":
        kernels = _kernels() if capability(like.device) >= LEAST_CAPABILITY else None
    else:
        return None
    if kernels is None:
        return None
    try:
        return work(kernels)
    except Exception as exc:
        if is_out_of_memory(exc):
            raise
        _broken = True
        reason = (str(exc).strip() or type(exc).__name__).splitlines()[0]
        logger.warning("Triton's kernels do not work here (%s): plain operators are used, slower", reason)
        return None


def natively(like: Tensor, work: Callable[[Any], T]) -> T | None:
    """What ``work`` makes of the kernels of a CPU, for what has none elsewhere; None where they cannot be used."""
    return attempt(like, work) if like.device.type == "cpu" else None


@contextmanager
def without_kernels() -> Iterator[None]:
    """Plain operators alone, for those who count or compare them."""
    global _off
    before, _off = _off, True
    try:
        yield
    finally:
        _off = before


@cache
def _kernels() -> ModuleType | None:
    try:
        return importlib.import_module("vdeblur.model.kernels")
    except ImportError:
        logger.info("Triton is not installed: plain operators are used, slower")
        return None


@cache
def _native() -> ModuleType | None:
    try:
        return importlib.import_module("vdeblur.model.native")
    except ImportError:
        logger.info("Numba is not installed: plain operators are used, slower")
        return None


def stacked(pictures: Sequence[Tensor | None]) -> Tensor:
    """Pictures (B, 1, H, W) as (B, N, H, W), the first one in the place of those that are missing."""
    first = pictures[0]
    assert first is not None
    return torch.cat([first if picture is None else picture for picture in pictures], 1)
