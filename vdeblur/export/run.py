"""Export run: a network into an ONNX or PyTorch file, verified against the package."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from vdeblur.atomic_files import replaced_file
from vdeblur.errors import NetworkError, UsageError
from vdeblur.export.check import Agreement, Stepper, agreement
from vdeblur.export.onnx_file import write_onnx
from vdeblur.export.step import ExportableStep, Size
from vdeblur.export.tracing import MOST_SIDE, shapes, traced
from vdeblur.model.checkpoint import load_network
from vdeblur.model.network import traits_of
from vdeblur.options import OPTIONS

#: Endings of the output, and the packages each needs beside PyTorch.
FORMATS = {".onnx": ("onnx", "onnxscript", "onnxruntime"), ".pt2": ()}
#: Smaller frames have no motion to find.
LEAST_SIDE = 32
#: Where any size is taken, these (height, width) are tried, in multiples of the network's stride: wide and upright.
TRIED = ((23, 40), (17, 10))


@dataclass(frozen=True)
class Exported:
    """What was written, and how it compares with the package at each size (height, width) that was tried."""

    file: Path
    agreements: dict[tuple[int, int], Agreement]


def export_network(
    model: str | Path,
    target: Path,
    *,
    size: tuple[int, int] | None = None,
    lookahead: int = 1,
    progress: Callable[[str], None] = lambda words: None,
) -> Exported:
    """Write a network's step, in float32, and restore clips with the file as a check.

    ``NAME.onnx`` is for ONNX Runtime and others, ``NAME.pt2`` a ``torch.export`` program;
    :class:`vdeblur.export.step.ExportableStep` tells what goes in and out.

    Args:
        size: (width, height) of the frames, of one clip at a time; None for any size from 80×80 on, and any number of
            clips at a time.
        lookahead: 1: a step takes the frame after too; 0: it does not.

    Raises:
        UsageError: the ending, the size or the lookahead cannot be, a package is missing, or there is no such network.
        NetworkError: what was written does not restore as the package does; an older file is untouched.
        TargetError: the file cannot be written.
    """
    _check(target, size, lookahead)
    network = load_network(model).requires_grad_(False)
    if (reason := traits_of(network).not_exported_because) is not None:
        raise UsageError(f"{model} cannot be exported: {reason}")
    step = ExportableStep(network, lookahead).eval()
    sizes = sizes_tried(network.stride) if size is None else ((size[1], size[0]),)
    progress("tracing a step" if size else "tracing a step for any size; this takes minutes")
    fixed = None if size is None else Size(1, size[1], size[0])
    program = traced(step, fixed)
    with replaced_file(target) as part:
        progress(f"writing {target.name}")
        if target.suffix == ".onnx":
            tags = {"model": str(model), "lookahead": str(lookahead), "size": f"{size[0]}x{size[1]}" if size else "any"}
            write_onnx(part, program, *shapes(step, fixed), tags)
        else:
            # Through memory: on a full disk, PyTorch's own writer ends the whole process.
            buffer = io.BytesIO()
            torch.export.save(program, buffer)
            part.write_bytes(buffer.getbuffer())
        progress("restoring a clip with it")
        stepper = onnx_stepper(part) if target.suffix == ".onnx" else program_stepper(part)
        found = {each: agreement(stepper, step, size=each, lookahead=lookahead) for each in sizes}
        for (height, width), one in found.items():
            if not one.good:
                raise NetworkError(f"{target.name} does not restore {width}x{height} as the package does: {one}")
    return Exported(target, found)


def sizes_tried(stride: int) -> tuple[tuple[int, int], ...]:
    """Sizes (height, width) at which a file for any size is compared with the package."""
    return tuple((rows * stride, columns * stride) for rows, columns in TRIED)


def onnx_stepper(path: Path) -> Stepper:
    """Steps done by ONNX Runtime, as a program without PyTorch would."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]

    def step(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        named = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        return [torch.from_numpy(result) for result in session.run(None, named)]

    return step


def program_stepper(path: Path) -> Stepper:
    """Steps done by a written ``torch.export`` program."""
    program = torch.export.load(path).module()

    def step(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        results: Sequence[Tensor] = program(*inputs)
        return results

    return step


def _check(target: Path, size: tuple[int, int] | None, lookahead: int) -> None:
    if target.suffix not in FORMATS:
        raise UsageError(f"the output cannot be {str(target)!r}: its name ends in {' or '.join(FORMATS)}")
    if not target.resolve().parent.is_dir():
        raise UsageError(f"there is no folder {target.parent} for {target.name}")
    for side in size or ():
        if not LEAST_SIDE <= side <= MOST_SIDE:
            raise UsageError(
                f"size cannot be {'x'.join(map(str, size or ()))}; each side has {LEAST_SIDE} to {MOST_SIDE} pixels"
            )
    OPTIONS["lookahead"].checked(lookahead)
    missing = [name for name in FORMATS[target.suffix] if find_spec(name) is None]
    if missing:
        raise UsageError(f"{target.suffix} needs the package {missing[0]}: pip install 'vdeblur[export]'")
