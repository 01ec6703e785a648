"""Kernels: machine code that Numba makes for the processor at hand, kept on disk, and called without Numba.

Compiling takes seconds and loading Numba a third of one, so both happen only where nothing fits on disk: after an
installation or an update, and on another processor. What is kept is an object file that LLVM loads in milliseconds.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import importlib.metadata
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np

logger = logging.getLogger(__name__)

#: Sums may be reordered and products joined with sums; nan and infinity stay what they are.
OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "arcp", "reassoc"}}
#: Names the folder for what is kept; otherwise it is the user's cache folder.
FOLDER_VARIABLE = "VDEBLUR_CACHE"
#: What Numba's functions return where nothing went wrong: a value, or none.
_FINE = (0, -2)

_lock = threading.RLock()
_engines: list[Any] = []


class Kernel:
    """A function of :mod:`vdeblur.kernels.cpu.jit` that Python calls, without the interpreter's lock.

    It takes whole numbers, which may be addresses, and numbers with a fraction, which it sees as float32. Which is
    which shows the first call. Who calls keeps what lies at the addresses.

    Args:
        module: the last part of the module's name.
        name: of the function.
    """

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = f"vdeblur.kernels.cpu.jit.{module}", name
        self._call: Callable[..., Any] | None = None

    def __call__(self, *args: int | float | np.floating[Any]) -> None:
        """
        Raises:
            RuntimeError: the kernel failed, or cannot be compiled.
        """
        if self._call is None:
            with _lock:
                if self._call is None:
                    self._call = self._made([isinstance(arg, (float, np.floating)) for arg in args])
        self._call(*args)

    def _made(self, fractions: Sequence[bool]) -> Callable[..., Any]:
        label = f"{self._module.rpartition('.')[2]}-{self._name}"
        place = folder()
        path = None if place is None else place / f"{label}-{_key()}.bin"
        code = None if path is None else _read(path)
        if code is None:
            logger.info("compiling %s for this processor, once", label)
            function = getattr(importlib.import_module(self._module), self._name)
            code = _object_of(function, fractions)
            if code is None:  # it needs what only Numba provides
                return _by_numba(function, fractions)
            if path is not None:
                _write(path, code)
        return self._loaded(code, fractions)

    def _loaded(self, code: bytes, fractions: Sequence[bool]) -> Callable[..., Any]:
        symbol, _, data = code.partition(b"\0")
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
        engine.add_object_file(llvm.ObjectFileRef.from_data(data))
        engine.finalize_object()
        _engines.append(engine)  # the machine code is in its memory
        kinds = [ctypes.c_float if part else ctypes.c_int64 for part in fractions]
        form = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *kinds)
        entry = form(engine.get_function_address(symbol.decode()))

        def call(*args: Any) -> None:
            result, problem = ctypes.c_void_p(), ctypes.c_void_p()
            status = entry(ctypes.addressof(result), ctypes.addressof(problem), *args)
            if status not in _FINE:
                raise RuntimeError(f"the kernel {self._name} failed ({status})")

        return call


def _by_numba(function: Any, fractions: Sequence[bool]) -> Callable[..., Any]:
    """The function as Numba itself compiles it for this run."""
    call = importlib.import_module("numba").njit(**OPTIONS)(function)

    def exactly(*args: Any) -> None:
        call(*(np.float32(arg) if part else arg for arg, part in zip(args, fractions, strict=True)))

    return exactly


def _object_of(function: Any, fractions: Sequence[bool]) -> bytes | None:
    """A symbol, a zero byte and the object file that has it; None where the process lacks what it needs."""
    numba = importlib.import_module("numba")
    kinds = tuple(numba.types.float32 if part else numba.types.int64 for part in fractions)
    dispatcher = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)(function)
    dispatcher.compile(kinds)
    (compiled,) = dispatcher.overloads.values()
    module = llvm.parse_assembly(dispatcher.inspect_llvm(compiled.signature.args))
    for each in module.functions:
        if each.is_declaration and not each.name.startswith("llvm.") and not llvm.address_of_symbol(each.name):
            return None
    symbol: str = compiled.fndesc.llvm_func_name
    return symbol.encode() + b"\0" + bytes(_machine().emit_object(module))


def _machine() -> llvm.TargetMachine:
    """A new one each time: an engine takes its own with it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3,
        reloc="pic", codemodel="jitdefault", jit=True,
    )  # fmt: skip


@cache
def _key() -> str:
    """Changes with whatever the machine code depends on."""
    parts = [sys.version, llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()]
    parts += [importlib.metadata.version(package) for package in ("numba", "llvmlite")]
    digest = hashlib.sha256("\n".join(parts).encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:24]


def folder() -> Path | None:
    """Where the system keeps what can be made again; None where nobody has a home."""
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
    """What :func:`_write` has kept; None where there is none, or not as it was written."""
    try:
        digest, code = (data := path.read_bytes())[:32], data[32:]
    except OSError:
        return None
    return code if hashlib.sha256(code).digest() == digest else None


def _write(path: Path, code: bytes) -> None:
    """Keep it, at once as a whole; where nothing can be written, the next run compiles again."""
    part = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem, delete=False) as file:
            part = file.name
            file.write(hashlib.sha256(code).digest() + code)
        os.replace(part, path)
    except OSError as exc:
        logger.info("compiled kernels cannot be kept in %s: %s", path.parent, exc.strerror or exc)
        if part:
            Path(part).unlink(missing_ok=True)
