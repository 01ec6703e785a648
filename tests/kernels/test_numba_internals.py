"""Numba internals: what the CPU kernels use beside Numba's public interface still exists and behaves.

``pyproject.toml`` bounds Numba from above because of these. To raise the bound, install the new release, run this file
and the rest of ``tests/kernels``, and mend what the messages name. Numba's own documentation promises none of it, but
for ``intrinsic``, whose lowering code is llvmlite's and so LLVM's.
"""

from __future__ import annotations

import importlib
import operator
import platform
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from numba import njit, types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from vdeblur.kernels.cpu import compiling
from vdeblur.kernels.cpu.compiling import OPTIONS, _compile_object
from vdeblur.kernels.cpu.jit.vectors import Vector, broadcast, fma, load, load_scalar, store, store_scalar
from vdeblur.kernels.cpu.simd import LANES

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "vdeblur" / "kernels" / "cpu"

#: Names beside Numba's and llvmlite's documented interfaces, and where they are used.
NAMES = {
    "numba.core.cgutils:get_or_insert_function": "jit/vectors, linear_layers and bilinear call LLVM's intrinsics",
    "numba.core.typing.templates:AbstractTemplate": "jit/vectors types operators of vectors",
    "numba.core.typing.templates:infer_global": "jit/vectors types operators of vectors",
    "numba.core.typing.templates:signature": "jit/vectors types operators of vectors",
    "numba.extending:lower_builtin": "jit/vectors makes code of operators of vectors",
    "numba.extending:models.PrimitiveModel": "jit/vectors keeps a vector in a register",
    "numba.extending:register_model": "jit/vectors keeps a vector in a register",
    "numba:types.IntegerLiteral": "jit/registers chooses lanes at compile time",
    "numba:types.Type": "jit/vectors has a type of its own",
    "llvmlite.binding:ObjectFileRef.from_data": "compiling loads kept machine code",
    "llvmlite.binding:address_of_symbol": "compiling asks whether a process has all that a kernel needs",
    "llvmlite.binding:create_mcjit_compiler": "compiling loads kept machine code",
    "llvmlite.binding:get_host_cpu_features": "simd chooses how wide vectors are",
    "llvmlite.ir:FloatType.as_pointer": "jit/vectors goes from addresses to numbers by typed pointers",
}


def told(what: str) -> str:
    return f"Numba {version('numba')} with llvmlite {version('llvmlite')}: {what}"


def kernel(address, index, gain):  # type: ignore[no-untyped-def]
    """Reads a vector and a number, uses every operator, writes both."""
    x = load(address, index)
    store(address, index, fma(x, broadcast(gain), x) - x * gain / gain + broadcast(load_scalar(address, index)))
    store_scalar(address, index + LANES, gain)


def test_the_bound_is_above_this_release_and_says_so_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (line,) = [each for each in project["project"]["dependencies"] if each.startswith("numba")]
    bounds = re.match(r"numba>=0\.(\d+),<0\.(\d+);", line)
    assert bounds, f"{line!r} must bound Numba on both sides: its internals are used"
    minor = int(version("numba").split(".")[1])
    assert int(bounds[1]) <= minor < int(bounds[2]), told(
        f"pyproject.toml says {line.partition(';')[0]}; run tests/kernels with it before the bound is raised"
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_name_exists(name: str) -> None:
    module, _, path = name.partition(":")
    try:
        operator.attrgetter(path)(importlib.import_module(module))
    except (ImportError, AttributeError) as exc:
        pytest.fail(told(f"{module} has no {path}; {NAMES[name]} ({exc})"))


def test_all_internal_modules_that_kernels_import_are_listed() -> None:
    used = set()
    for path in KERNELS.rglob("*.py"):
        used |= set(re.findall(r"^from (numba\.core[\w.]*) import (.+)$", path.read_text(), re.MULTILINE))
    listed = {name.partition(":")[0] for name in NAMES}
    for module, names in used:
        for each in names.split(", "):
            assert module in listed or f"{module}.{each}" in listed, f"{module}.{each} is used and not checked here"


def test_njit_takes_the_options() -> None:
    def product(a, b):  # type: ignore[no-untyped-def]
        return a * b + a

    call = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)(product)
    call.compile((types.float32, types.float32))
    (compiled,) = call.overloads.values()
    code = call.inspect_llvm(compiled.signature.args)
    line = next((line for line in code.splitlines() if " fmul " in line), "")
    flags = set(line.partition("= fmul ")[2].split(" float")[0].split())
    assert flags == OPTIONS["fastmath"], told(
        f"fastmath gives the flags {flags}, kernels rely on {OPTIONS['fastmath']}"
    )
    left = [name for name in re.findall(r"@\"?(cpython\.|cfunc\.)", code) if name]
    assert not left, told("no_cpython_wrapper and no_cfunc_wrapper leave wrappers in, which need the interpreter")


def test_a_compiled_function_is_called_as_before() -> None:
    """Numba's own calling convention: int32 f(result*, problem**, …), 0 or -2 where nothing went wrong."""
    dispatcher = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)(kernel)
    dispatcher.compile((types.int64, types.int64, types.float32))
    (compiled,) = dispatcher.overloads.values()
    symbol = compiled.fndesc.llvm_func_name
    module = llvm.parse_assembly(dispatcher.inspect_llvm(compiled.signature.args))
    function = module.get_function(symbol)
    kinds = [str(each.type) for each in function.arguments]
    kinds = ["pointer" if "*" in kind or kind == "ptr" else kind for kind in kinds]
    assert kinds == ["pointer", "pointer", "i64", "i64", "float"], told(
        f"{symbol} takes {kinds}; compiling calls it with two pointers, two int64 and a float32"
    )
    convention = importlib.import_module("numba.core.callconv")
    fine = tuple(code.constant for code in (convention.RETCODE_OK, convention.RETCODE_NONE))
    assert fine == compiling._SUCCESS, told(
        f"functions where nothing went wrong return {fine}, not {compiling._SUCCESS}"
    )


def test_the_object_file_needs_nothing_and_runs() -> None:
    code = _compile_object(kernel, [False, False, True])
    assert code is not None, told("a kernel needs symbols that a process without Numba lacks")
    call = compiling.Kernel("vectors", "none")._link(code, [False, False, True])
    numbers = np.arange(2 * LANES + 1, dtype=np.float32)
    before = numbers.copy()
    call(numbers.ctypes.data, 0, 3.0)
    wanted = before.copy()
    wanted[:LANES] = 3 * before[:LANES] + before[0]
    wanted[LANES] = 3
    assert np.allclose(numbers, wanted), told("a kernel gives other numbers than it should")


def test_an_intrinsic_that_refuses_is_a_typing_error() -> None:
    @intrinsic
    def picky(typing: Any, value: Any) -> Any:
        if not isinstance(value, types.IntegerLiteral):
            return None
        literal = value.literal_value

        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return context.get_constant(types.int64, 2 * literal)

        return types.int64(value), code

    @njit
    def constant():  # type: ignore[no-untyped-def]
        return picky(21)

    @njit
    def variable(x):  # type: ignore[no-untyped-def]
        return picky(x)

    assert constant() == 42, told("a literal does not reach an intrinsic as IntegerLiteral")
    with pytest.raises(TypingError):
        variable(21)


def test_types_of_equal_names_are_equal() -> None:
    assert Vector(4) == Vector(4) != Vector(8), told("vectors of equal lengths are types of their own, and do not join")


#: Functions that use each of the x86 instructions LLVM knows by a name of its own, which a release may take away.
_CROSS = """
import os, sys
cpu, features = sys.argv[1], sys.argv[2].split(",")
os.environ |= {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": ""}
import llvmlite.binding as llvm

class Features(dict):
    def flatten(self):
        return ""

llvm.get_host_cpu_name = lambda: cpu
llvm.get_host_cpu_features = lambda: Features.fromkeys(features, True)
from vdeblur.kernels.cpu.compiling import _compile_object
from vdeblur.kernels.cpu.jit import bilinear, linear_layers, vectors
from vdeblur.kernels.cpu.simd import BF16_DOT

def window(picture, note, to):
    vectors.store(to, 0, bilinear.permute_window(picture, 0, note, 0, 0))

def layer(x, weights, biases, inputs, y):
    linear_layers.linear_leaky(x, weights, biases, inputs, y)

def pairs(x, weights, biases, inputs, y):
    linear_layers.linear_leaky_bf16(x, weights, biases, inputs, y)
    linear_layers.store_bf16(y, 0, vectors.load(x, 0))

for function, count in [(window, 3), (layer, 5)] + [(pairs, 5)] * BF16_DOT:
    code = _compile_object(function, [False] * count)
    named = code is None or b"llvm." in code
    print(function.__name__, "leaves a call to an instruction LLVM has no more" if named else "is whole")
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86 instructions")
@pytest.mark.parametrize(
    ("cpu", "features", "functions"),
    [
        ("haswell", "avx2", ["window", "layer"]),
        ("skylake-avx512", "avx2,avx512f", ["window", "layer"]),
        ("sapphirerapids", "avx2,avx512f,avx512bf16", ["window", "layer", "pairs"]),
    ],
)
def test_llvm_knows_the_instructions_of_other_processors(cpu: str, features: str, functions: list[str]) -> None:
    """In a process of its own: LLVM ends one in which it cannot choose an instruction."""
    done = subprocess.run([sys.executable, "-c", _CROSS, cpu, features], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, told(f"cannot make code for {cpu}:\n{done.stderr[-2000:]}")
    assert done.stdout.split("\n")[:-1] == [f"{name} is whole" for name in functions], told(f"for {cpu}: {done.stdout}")
