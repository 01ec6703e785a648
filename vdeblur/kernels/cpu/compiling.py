"""Kernel compilation: Numba compiles ahead to object files in an on-disk cache, which LLVM loads without Numba.

Compiling takes seconds and importing Numba a third of one, so both happen only on a cache miss: after an installation
or an update, and on another CPU. LLVM's MCJIT loads a cached object file in milliseconds.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import importlib.metadata
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from vdeblur.atomic_files import write_atomically
from vdeblur.errors import TargetError
from vdeblur.kernels.compilation_count import add_compiled

logger = logging.getLogger(__name__)

#: Fast-math flags: sums may be reassociated and contracted to FMA; nan and infinity are preserved.
OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "arcp", "reassoc"}}
#: Environment variable that overrides the cache folder.
FOLDER_VARIABLE = "VDEBLUR_CACHE"
#: Status codes of success in Numba's calling convention: a value, or None.
_SUCCESS = (0, -2)

_lock = threading.RLock()
_engines: list[Any] = []


class Kernel:
    """Compiled function of :mod:`vdeblur.kernels.cpu.jit`, called through ctypes without the GIL.

    Arguments are int64, addresses among them, or float32; the types are fixed by the first call. The caller keeps the
    memory at the addresses alive. Compilation is lazy and thread-safe.

    Args:
        module: last component of the module's name.
        name: of the function.
    """

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = f"vdeblur.kernels.cpu.jit.{module}", name
        self._call: Callable[..., Any] | None = None

    def __call__(self, *args: int | float | np.floating[Any]) -> None:
        """Run the kernel; compile or load it first if need be.

        Raises:
            RuntimeError: the kernel failed, or cannot be compiled.
        """
        if self._call is None:
            with _lock:
                if self._call is None:
                    self._call = self._load([isinstance(arg, (float, np.floating)) for arg in args])
        self._call(*args)

    def _load(self, floats: Sequence[bool]) -> Callable[..., Any]:
        label = f"{self._module.rpartition('.')[2]}-{self._name}"
        folder = cache_folder()
        path = None if folder is None else folder / f"{label}-{_key()}.bin"
        code = None if path is None else _read(path)
        if code is None:
            _tell_compiling()
            logger.debug("compiling %s", label)
            function = getattr(importlib.import_module(self._module), self._name)
            code = _compile_object(function, floats)
            add_compiled()
            if code is None:  # it calls into Numba's runtime
                return _compile_in_process(function, floats)
            if path is not None:
                _write(path, code)
        return self._link(code, floats)

    def _link(self, code: bytes, floats: Sequence[bool]) -> Callable[..., Any]:
        symbol, _, data = code.partition(b"\0")
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
        engine.add_object_file(llvm.ObjectFileRef.from_data(data))
        engine.finalize_object()
        _engines.append(engine)  # owns the machine code
        types = [ctypes.c_float if is_float else ctypes.c_int64 for is_float in floats]
        prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *types)
        entry = prototype(engine.get_function_address(symbol.decode()))

        def call(*args: Any) -> None:
            result, problem = ctypes.c_void_p(), ctypes.c_void_p()
            status = entry(ctypes.addressof(result), ctypes.addressof(problem), *args)
            if status not in _SUCCESS:
                raise RuntimeError(f"the kernel {self._name} failed ({status})")

        return call


def _compile_in_process(function: Any, floats: Sequence[bool]) -> Callable[..., Any]:
    """Fallback without a cached object file: the function as Numba's own dispatcher, for this process alone."""
    call = importlib.import_module("numba").njit(**OPTIONS)(function)

    def exactly(*args: Any) -> None:
        call(*(np.float32(arg) if is_float else arg for arg, is_float in zip(args, floats, strict=True)))

    return exactly


def _compile_object(function: Any, floats: Sequence[bool]) -> bytes | None:
    """Symbol name, a zero byte and the object file; None where it needs symbols that this process does not have."""
    numba = importlib.import_module("numba")
    types = tuple(numba.types.float32 if is_float else numba.types.int64 for is_float in floats)
    dispatcher = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)(function)
    dispatcher.compile(types)
    (compiled,) = dispatcher.overloads.values()
    module = llvm.parse_assembly(dispatcher.inspect_llvm(compiled.signature.args))
    for each in module.functions:
        if each.is_declaration and not each.name.startswith("llvm.") and not llvm.address_of_symbol(each.name):
            return None
    symbol: str = compiled.fndesc.llvm_func_name
    return symbol.encode() + b"\0" + bytes(_machine().emit_object(module))


def _machine() -> llvm.TargetMachine:
    """A new target machine for the host CPU; an execution engine takes ownership of its own."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3,
        reloc="pic", codemodel="jitdefault", jit=True,
    )  # fmt: skip


@cache
def _key() -> str:
    """Cache key: digest of the Python, Numba, LLVM and CPU versions and of the kernels' sources."""
    parts = [sys.version, llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()]
    parts += [importlib.metadata.version(package) for package in ("numba", "llvmlite")]
    digest = hashlib.sha256("\n".join(parts).encode())
    for path in [*sorted(Path(__file__).parent.rglob("*.py")), Path(__file__).parents[1] / "inputs.py"]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:24]


def cache_folder() -> Path | None:
    """The platform's user cache folder, or ``VDEBLUR_CACHE``; None without a home directory."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    try:
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "vdeblur" / "cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "vdeblur"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vdeblur"
    except RuntimeError:
        return None


def _read(path: Path) -> bytes | None:
    """Cached code that :func:`_write` stored; None if it is missing or its checksum is wrong."""
    try:
        digest, code = (data := path.read_bytes())[:32], data[32:]
    except OSError:
        return None
    return code if hashlib.sha256(code).digest() == digest else None


def _write(path: Path, code: bytes) -> None:
    """Store code atomically, with its checksum; if the folder is not writable, the next run compiles again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, hashlib.sha256(code).digest() + code)
    except (OSError, TargetError) as exc:
        cause = exc if isinstance(exc, OSError) else exc.__cause__
        _tell_uncached(path.parent, getattr(cause, "strerror", None) or str(exc))


@cache
def _tell_compiling() -> None:
    """Say once in a process that it compiles; programs that show :mod:`logging` at INFO, as ours does, show it."""
    logger.info("compiling kernels for this processor, once; the first frames wait some seconds for it")


@cache
def _tell_uncached(folder: Path, reason: str) -> None:
    """Say once in a process that every run will compile."""
    logger.warning(
        "compiled kernels cannot be kept in %s (%s), so every run compiles them anew; %s names another folder",
        folder, reason, FOLDER_VARIABLE,
    )  # fmt: skip
