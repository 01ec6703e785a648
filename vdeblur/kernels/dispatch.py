"""Kernel dispatch: use fused kernels (Triton on CUDA, Numba on the CPU) where available, else plain PyTorch.

Kernels have no backward pass, so they run only while gradients are off. A backend that fails once is disabled for the
rest of the process, and plain operators are the fallback.
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

#: Lowest CUDA compute capability that the kernels support: Ampere, for its tensor cores.
MIN_CAPABILITY = (8, 0)
#: Kernel module by device type, and the package that it needs.
KERNEL_MODULES = {"cuda": ("vdeblur.kernels.triton", "Triton"), "cpu": ("vdeblur.kernels.cpu", "Numba")}
_broken: set[str] = set()
_disabled = False


def try_kernels(like: Tensor, work: Callable[[Any], T]) -> T | None:
    """Call ``work`` with the kernel module for the device of ``like``; None if kernels cannot be used there.

    None also while gradients are on or a program is being traced. A failure is logged once and disables the backend; an
    out-of-memory error is raised.
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
        package = KERNEL_MODULES[like.device.type][1]
        logger.warning("%s's kernels do not work here (%s): plain operators are used, slower", package, reason)
        return None


def try_cpu_kernels(like: Tensor, work: Callable[[Any], T]) -> T | None:
    """:func:`try_kernels` for operators with a CPU kernel only; None on any other device."""
    return try_kernels(like, work) if like.device.type == "cpu" else None


def kernels_for(device: torch.device) -> Any:
    """Kernel module that works on a device; None if there is none."""
    kind = device.type
    if _disabled or kind not in KERNEL_MODULES or kind in _broken:
        return None
    if kind == "cuda" and capability(device) < MIN_CAPABILITY:
        return None
    return _module(*KERNEL_MODULES[kind])


@contextmanager
def without_kernels() -> Iterator[None]:
    """Disable all kernels within the context, to count operators or to compare with them."""
    global _disabled
    before, _disabled = _disabled, True
    try:
        yield
    finally:
        _disabled = before


def have_kernels(device: torch.device) -> bool:
    """Whether kernels are available on a device."""
    return kernels_for(device) is not None


@cache
def _module(name: str, package: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        logger.info("%s is not installed: plain operators are used, slower", package)
        return None


def stack_frames(frames: Sequence[Tensor | None]) -> Tensor:
    """Stack N frames (B, 1, H, W) as (B, N, H, W); the first one fills in for missing ones."""
    first = frames[0]
    assert first is not None
    return torch.cat([first if frame is None else frame for frame in frames], 1)
