"""Compute device: selection by name, its fastest precision, its memory and threads."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch.nn import functional

from vdeblur.errors import DeviceError, UsageError
from vdeblur.options import OPTIONS
from vdeblur.runtime.host_memory import available_bytes, return_freed_blocks

logger = logging.getLogger(__name__)

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

#: How PyTorch's allocators say that there is no memory left, where they do not raise OutOfMemoryError.
#: The last three come from C++ and from oneDNN, which says no more.
NO_MEMORY = (
    "out of memory",
    "not enough memory",
    "allocate memory",
    "bad_alloc",
    "could not create a primitive",
    "could not create a memory object",
)

#: bfloat16 is taken on a CPU only if a convolution is faster by at least this much.
WORTHWHILE_SPEEDUP = 1.2


def available_devices() -> list[str]:
    """Names of the devices this machine offers, the CPU last."""
    found = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, "cpu"]


def find_device(name: str) -> torch.device:
    """Device by name: "cpu", "cuda", "cuda:1", "mps", or "auto": the first CUDA device that works, else the CPU.

    Apple's "mps" is used only when asked for by name.

    Raises:
        UsageError: the name is none of these.
        DeviceError: the device is not there or does not work; the message lists those that are.
    """
    if name == "auto":
        problem = _problem("cuda:0") if torch.cuda.is_available() else "none"
        if problem not in (None, "none"):
            logger.warning("the CUDA device does not work with this build of PyTorch (%s): using the CPU", problem)
        return torch.device("cpu" if problem else "cuda:0")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as exc:
        raise OPTIONS["device"].refusal(name) from exc
    if device.type not in ("cpu", "cuda", "mps"):
        raise OPTIONS["device"].refusal(name)
    if device.type == "cpu":
        return torch.device("cpu")
    full = f"cuda:{device.index or 0}" if device.type == "cuda" else "mps"
    if full not in available_devices():
        raise DeviceError(f"there is no device {name!r} here; this machine has {', '.join(available_devices())}")
    problem = _problem(full)
    if problem:
        raise DeviceError(f'device {name!r} does not work: {problem}; use device="cpu"')
    return torch.device(full)


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Dtype for inference on a device.

    "auto" is bfloat16 on GPUs that have it in hardware, float16 on those with only that, bfloat16 on CPUs where it is
    measurably faster, and float32 elsewhere. float16 on a CPU is refused: it is 20 to 100 times slower than float32.

    Raises:
        UsageError: no such precision, or float16 on a CPU.
    """
    if precision == "auto":
        if device.type == "cuda":
            return _fast_cuda_dtype(torch.cuda.get_device_capability(device))
        return _fast_cpu_dtype() if device.type == "cpu" else torch.float32
    if precision not in PRECISIONS:
        raise OPTIONS["precision"].refusal(precision)
    if precision == "float16" and device.type == "cpu":
        raise UsageError("precision float16 is many times slower than float32 on a CPU; use auto, bfloat16 or float32")
    return PRECISIONS[precision]


def free_bytes(device: torch.device) -> int | None:
    """Free memory of a device in bytes; None if unknown."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return available_bytes() if device.type == "cpu" else None


def peak_allocated_bytes(device: torch.device, work: Callable[[], object]) -> int:
    """Peak bytes of a CUDA device that ``work`` allocates, beyond those allocated before."""
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work()
    return int(torch.cuda.max_memory_allocated(device) - before)


def peak_reserved_bytes(device: torch.device, work: Callable[[], object]) -> int:
    """Peak bytes of a CUDA device that PyTorch's caching allocator reserves for ``work``."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_reserved(device)
    work()
    return int(torch.cuda.max_memory_reserved(device) - before)


def capability(device: torch.device) -> tuple[int, int]:
    """Compute capability of a CUDA device: (8, 0) is Ampere, (9, 0) Hopper."""
    return torch.cuda.get_device_capability(device)


@contextmanager
def single_thread() -> Iterator[None]:
    """Turn PyTorch's intra-op threads off within."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def synchronize(device: torch.device) -> None:
    """Wait for all work queued on a device; a CPU has none."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def release(device: torch.device) -> None:
    """Empty the allocator's cache of a device; on a CPU, freed blocks are returned to the system from now on."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "cpu":
        return_freed_blocks()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of PyTorch, Python or a network means that memory ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in NO_MEMORY)


def _problem(name: str) -> str | None:
    """Error message of a device that does not work, in one line; None if it works."""
    try:
        (torch.ones(1, device=name) + 1).item()
    except RuntimeError as exc:
        return str(exc).strip().splitlines()[0]
    return None


def _fast_cuda_dtype(capability: tuple[int, int]) -> torch.dtype:
    """Ampere (8.0) brought bfloat16, Volta (7.0) tensor cores for float16; Pascal runs float16 at 1/64 of the speed."""
    if capability >= (8, 0):
        return torch.bfloat16
    return torch.float16 if capability >= (7, 0) else torch.float32


@cache
def _fast_cpu_dtype() -> torch.dtype:
    """bfloat16 where oneDNN supports it and a 3×3 convolution really runs faster in it; measured once, some 50 ms."""
    if not cpu_has_bfloat16():
        return torch.float32
    with single_thread():  # one thread's own time is the same on a busy machine
        seconds = {dtype: _convolution_seconds(dtype) for dtype in (torch.float32, torch.bfloat16)}
    return torch.bfloat16 if seconds[torch.float32] > WORTHWHILE_SPEEDUP * seconds[torch.bfloat16] else torch.float32


def cpu_has_bfloat16() -> bool:
    """Whether oneDNN has bfloat16 on this processor."""
    return bool(torch._C._has_mkldnn and torch.ops.mkldnn._is_mkldnn_bf16_supported())


@torch.inference_mode()
def _convolution_seconds(dtype: torch.dtype) -> float:
    """Processor time of a convolution of the network's kind, the best of a few."""
    x = torch.zeros(1, 48, 90, 160, dtype=dtype).contiguous(memory_format=torch.channels_last)
    weight = torch.zeros(48, 48, 3, 3, dtype=dtype).contiguous(memory_format=torch.channels_last)
    clock = time.perf_counter if sys.platform == "win32" else time.thread_time  # Windows counts threads in 16 ms steps
    best = float("inf")
    for _ in range(4):
        start = clock()
        functional.conv2d(x, weight, padding=1)
        best = min(best, clock() - start)
    return best
