"""Machine description: processor, cores, instruction sets, versions, GPU and background load."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

#: Instruction sets that convolutions use, by the kernel's names; those a machine has are written down.
INSTRUCTION_SETS = (
    "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "asimd", "bf16",
    "sve", "i8mm",
)  # fmt: skip
#: From this share of the cores on, the work of others disturbs a measurement.
BUSY = 0.1


def describe_machine(device: str) -> dict[str, Any]:
    """What it runs on, as JSON can hold it; ``device`` as the network's is named ("cpu", "cuda:0")."""
    import torch

    from vdeblur.video.ffmpeg.executable import ffmpeg_version
    from vdeblur.video.versions import library_versions

    libraries = library_versions()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "system": platform.platform(),
        "processor": processor_name(),
        "cores": usable_cores(),
        "instruction_sets": instruction_sets(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "pyav": libraries["PyAV"],
        "libavcodec": libraries["libavcodec"],
        "ffmpeg": ffmpeg_version(),
        "device": device_name(device),
    }


def processor_name() -> str:
    """Name of the CPU; the kernel knows it on Linux."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def device_name(name: str) -> str:
    """A compute device in words: what PyTorch uses of a CPU, or the name and memory of a GPU."""
    import torch

    device = torch.device(name)
    if device.type == "cpu":
        return torch.backends.cpu.get_cpu_capability()
    properties = getattr(torch.get_device_module(device), "get_device_properties", None)
    if properties is None:
        return device.type
    found = properties(device)
    return f"{found.name}, {found.total_memory / 2**30:.1f} GiB"


def instruction_sets() -> list[str]:
    """Those of ``INSTRUCTION_SETS`` the CPU has; empty where the kernel does not tell."""
    flags = set((_cpuinfo("flags") or _cpuinfo("Features") or "").split())
    return [name for name in INSTRUCTION_SETS if name in flags]


def usable_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class BackgroundLoad:
    """What other processes use of the machine from now on, by the kernel's count less our own.

    A load average would still speak of what ended a minute ago.
    """

    def __init__(self) -> None:
        self._ticks, self._own = _processor_ticks(), _own_seconds()

    def share(self) -> float | None:
        """Share of all cores' time since the beginning, 0 to 1; None where the system does not tell."""
        now = _processor_ticks()
        if self._ticks is None or now is None or now[1] <= self._ticks[1]:
            return None
        idle, passed = now[0] - self._ticks[0], now[1] - self._ticks[1]
        own = (_own_seconds() - self._own) * os.sysconf("SC_CLK_TCK")
        return max(0.0, (passed - idle - own) / passed)


def _own_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    return sum(os.times()[:4])


def _processor_ticks() -> tuple[int, int] | None:
    """Idle ticks and all ticks of all cores since the start (Linux, proc(5))."""
    try:
        words = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    ticks = [int(word) for word in words]
    return ticks[3] + ticks[4], sum(ticks)  # what a hypervisor gave to others (steal) is not idle


def _cpuinfo(field: str) -> str | None:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == field:
                return value.strip()
    except OSError:
        pass
    return None
