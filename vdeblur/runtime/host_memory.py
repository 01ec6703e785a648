"""Host memory: available bytes under all limits, and the C library's policy for freed blocks."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

#: Blocks from this size on are given back when they are freed, once :func:`return_freed_blocks` has been called.
LARGE_BLOCK = 1 << 20
#: Once :func:`keep_freed_blocks` has been called, so much freed memory stays for the next frame, and blocks up to that
#: size with it (glibc allows no larger ones).
KEPT, KEPT_BLOCK = 256 << 20, 32 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h

#: A version 1 control group without a limit reports a number near 2^63.
_NO_LIMIT = 1 << 60


def available_bytes() -> int | None:
    """Bytes this process can still allocate without paging, under the limits of machine, control groups and process.

    None if the system does not tell.
    """
    known = [number for number in (_of_the_machine(), *_of_the_groups(), *_of_the_process()) if number is not None]
    return max(0, min(known)) if known else None


def keep_freed_blocks() -> None:
    """Let the C library (glibc) keep freed blocks for reuse: every frame needs the same ones.

    Otherwise most are given back and asked for again dozens of times a frame, and clearing fresh pages takes as long
    as computing what goes into them.
    """
    _set(_M_MMAP_THRESHOLD, KEPT_BLOCK)
    _set(_M_TRIM_THRESHOLD, KEPT)


def return_freed_blocks() -> None:
    """Let the C library (glibc) return large blocks when they are freed, and those it keeps now.

    Otherwise it keeps blocks of up to 32 MiB for later, and holes between them. This costs time, see
    :func:`keep_freed_blocks`.
    """
    _set(_M_MMAP_THRESHOLD, LARGE_BLOCK)
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)


def _set(option: int, value: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).mallopt(option, value)


def _of_the_machine() -> int | None:
    if sys.platform == "linux":
        return _field(Path("/proc/meminfo"), "MemAvailable:")
    if sys.platform == "win32":
        return _windows_available()
    try:  # macOS tells its total; what others use can be paged out
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError):
        return None


def _windows_available() -> int | None:
    """``ullAvailPhys`` of MEMORYSTATUSEX (GlobalMemoryStatusEx, kernel32)."""
    buffer = ctypes.create_string_buffer(64)
    fields = ctypes.cast(buffer, ctypes.POINTER(ctypes.c_uint32))
    fields[0] = 64
    if not getattr(ctypes, "windll").kernel32.GlobalMemoryStatusEx(buffer):  # noqa: B009
        return None
    return int(ctypes.cast(buffer, ctypes.POINTER(ctypes.c_uint64))[2])


def _of_the_groups() -> Iterator[int | None]:
    """Bytes left in the control groups (versions 2 and 1) of this process and those above; Linux."""
    for line in _text(Path("/proc/self/cgroup")).splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            yield from _group(Path("/sys/fs/cgroup"), name, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root = Path("/sys/fs/cgroup/memory")
            yield from _group(root, name, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _group(root: Path, name: str, limit: str, used: str, cache: str) -> Iterator[int | None]:
    """Bytes left in each group up to the root; cached files count as free, for they would be evicted."""
    folder = root / name.lstrip("/")
    for place in (folder, *folder.parents):
        most, now = _number(place / limit), _number(place / used)
        if most is not None and now is not None and most < _NO_LIMIT:
            yield most - now + (_field(place / "memory.stat", cache, unit=1) or 0)
        if place == root:
            return


def _of_the_process() -> Iterator[int | None]:
    """Bytes left under ``ulimit -v`` and ``ulimit -d``; on Linux, where a process can know its use."""
    if sys.platform != "linux":
        return
    import resource

    for limit, used in ((resource.RLIMIT_AS, "VmSize:"), (resource.RLIMIT_DATA, "VmData:")):
        most, now = resource.getrlimit(limit)[0], _field(Path("/proc/self/status"), used)
        if most != resource.RLIM_INFINITY and now is not None:
            yield most - now


def _field(path: Path, name: str, *, unit: int = 1024) -> int | None:
    """The number after a name in a file of the kernel, given there in ``unit`` bytes."""
    for line in _text(path).splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == name and words[1].isdigit():
            return int(words[1]) * unit
    return None


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
