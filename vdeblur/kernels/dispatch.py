"""Fused: whether kernels take the place of many small operators, of :mod:`vdeblur.kernels.triton` or of ``native``.

The first ones are Triton's, for a CUDA device; the others are :mod:`vdeblur.kernels.cpu`, Numba's, for a CPU. They do
where those work, and no gradient is wanted. Where they fail once, all goes on without them.
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

from vdeblur.runtime.device import capability, is_out_of_memory

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Smallest compute capability whose matrix units the kernels are written for.
LEAST_CAPABILITY = (8, 0)
#: The kernels of a kind of device, and the package they need.
MODULES = {"cuda": ("vdeblur.kernels.triton", "Triton"), "cpu": ("vdeblur.kernels.cpu", "Numba")}
_broken: set[str] = set()
_off = False


def attempt(like: Tensor, work: Callable[[Any], T]) -> T | None:
    """What ``work`` makes of the kernels, on the device of ``like``; None where they cannot be used.

    The log says so once where they fail. When memory runs out, that comes through.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return None
    kernels = kernels_for(like.device)
    if kernels is None:
        return None
    try:
        return work(kernels)
    except Exception as exc:
        if is_out_of_memory(exc):
            raise
        _broken.add(like.device.type)
        reason = (str(exc).strip() or type(exc).__name__).splitlines()[0]
        package = MODULES[like.device.type][1]
        logger.warning("%s's kernels do not work here (%s): plain operators are used, slower", package, reason)
        return None


def natively(like: Tensor, work: Callable[[Any], T]) -> T | None:
    """What ``work`` makes of the kernels of a CPU, for what has none elsewhere; None where they cannot be used."""
    return attempt(like, work) if like.device.type == "cpu" else None


def kernels_for(device: torch.device) -> Any:
    """The module of kernels that work on a device; None where there are none."""
    kind = device.type
    if _off or kind not in MODULES or kind in _broken or (kind == "cuda" and capability(device) < LEAST_CAPABILITY):
        return None
    return _module(*MODULES[kind])


@contextmanager
def without_kernels() -> Iterator[None]:
    """Plain operators alone, for those who count or compare them."""
    global _off
    before, _off = _off, True
    try:
        yield
    finally:
        _off = before


def have_kernels(device: torch.device) -> bool:
    """Whether there are kernels that work on a device."""
    return kernels_for(device) is not None


@cache
def _module(name: str, package: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        logger.info("%s is not installed: plain operators are used, slower", package)
        return None


def stacked(pictures: Sequence[Tensor | None]) -> Tensor:
    """Pictures (B, 1, H, W) as (B, N, H, W), the first one in the place of those that are missing."""
    first = pictures[0]
    assert first is not None
    return torch.cat([first if picture is None else picture for picture in pictures], 1)
