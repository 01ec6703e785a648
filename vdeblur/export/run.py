"""Export as a whole: a network into files of ONNX or PyTorch, each checked against the package."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vdeblur.errors import NetworkError, TargetError, UsageError
from vdeblur.export.check import Agreement, Stepper, agreement
from vdeblur.export.onnx_file import write_onnx
from vdeblur.export.step import Memory, Place, Step, places
from vdeblur.model.checkpoint import load_network

#: Endings of the output, and the packages each needs beside PyTorch.
FORMATS = {".onnx": ("onnx", "onnxscript", "onnxruntime"), ".pt2": ()}
#: Smaller frames have no motion to find, larger ones no reader.
LEAST_SIDE, MOST_SIDE = 32, 8192


@dataclass(frozen=True)
class Exported:
    """What was written, and how it compares with the package."""

    files: tuple[Path, ...]
    agreement: Agreement


def export_network(
    model: str | Path,
    target: Path,
    *,
    width: int,
    height: int,
    lookahead: int = 1,
    progress: Callable[[str], None] = lambda words: None,
) -> Exported:
    """Write a network for frames of one size, in float32, and restore a clip with the files as a check.

    ``NAME.onnx`` is one file for ONNX Runtime and others. ``NAME.pt2`` becomes one ``torch.export`` program for each
    place in a clip: ``NAME.first.pt2``, ``NAME.next.pt2``, with lookahead ``NAME.last.pt2`` and ``NAME.only.pt2``.

    Args:
        lookahead: 1: a step takes the frame after too; 0: it does not.

    Raises:
        UsageError: the ending, the size or the lookahead cannot be, a package is missing, or there is no such network.
        NetworkError: what was written does not restore as the package does; the files are removed.
        TargetError: a file cannot be written.
    """
    _check(target, width, height, lookahead)
    network = load_network(model).requires_grad_(False)
    memory = Memory(network, height, width, lookahead)
    steps = {place: Step(network, memory, place, lookahead).eval() for place in places(lookahead)}
    examples = [torch.zeros(1, 3, height, width) for _ in range(1 + lookahead)]
    files = [target] if target.suffix == ".onnx" else [_file_of(target, place) for place in steps]
    try:
        if target.suffix == ".onnx":
            progress(f"tracing {len(steps)} steps")
            tags = {"model": str(model), "lookahead": str(lookahead), "size": f"{width}x{height}"}
            write_onnx(target, steps, memory, examples, tags)
        else:
            _write_programs(target, steps, [*examples, *memory.start], progress)
        progress("restoring a clip with it")
        stepper = onnx_stepper(target, memory) if target.suffix == ".onnx" else program_stepper(target, steps)
        found = agreement(stepper, network, memory.start, size=(height, width), lookahead=lookahead)
        if not found.good:
            raise NetworkError(f"{target.name} does not restore as the package does: {found}")
    except BaseException as exc:
        for file in files:
            file.unlink(missing_ok=True)
        if isinstance(exc, OSError):
            raise TargetError(f"cannot write {target}: {exc.strerror or exc}") from exc
        raise
    return Exported(tuple(files), found)


def onnx_stepper(path: Path, memory: Memory) -> Stepper:
    """Steps done by ONNX Runtime, as a program without PyTorch would."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def step(place: Place, frames: Sequence[Tensor], tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        named = dict(zip(["frame", "following"], frames, strict=False)) | dict(zip(memory.names, tensors, strict=True))
        flags = {"first": torch.tensor(place.first), "last": torch.tensor(place.last)}
        wanted = {value.name for value in session.get_inputs()}
        inputs = {name: value.numpy() for name, value in (named | flags).items() if name in wanted}
        return [torch.from_numpy(result) for result in session.run(None, inputs)]

    return step


def program_stepper(target: Path, kinds: Mapping[Place, Any]) -> Stepper:
    """Steps done by the written ``torch.export`` programs."""
    programs = {place: torch.export.load(_file_of(target, place)).module() for place in kinds}

    def step(place: Place, frames: Sequence[Tensor], tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        results: Sequence[Tensor] = programs[place](*frames, *tensors)
        return results

    return step


def _write_programs(
    target: Path, steps: Mapping[Place, Step], inputs: Sequence[Tensor], progress: Callable[[str], None]
) -> None:
    for place, step in steps.items():
        progress(f"exporting the step for the {place.name} frame")
        with warnings.catch_warnings(), torch.no_grad():  # switching gradients off within a program would not be saved
            warnings.simplefilter("ignore")  # PyTorch's own, about itself
            torch.export.save(torch.export.export(step, tuple(inputs)), _file_of(target, place))


def _file_of(target: Path, place: Place) -> Path:
    return target.with_name(f"{target.stem}.{place.name}.pt2")


def _check(target: Path, width: int, height: int, lookahead: int) -> None:
    if target.suffix not in FORMATS:
        raise UsageError(f"the output cannot be {str(target)!r}: its name ends in {' or '.join(FORMATS)}")
    if not target.resolve().parent.is_dir():
        raise UsageError(f"there is no folder {target.parent} for {target.name}")
    for side in (width, height):
        if not LEAST_SIDE <= side <= MOST_SIDE:
            raise UsageError(f"size cannot be {width}x{height}; each side has {LEAST_SIDE} to {MOST_SIDE} pixels")
    if lookahead not in (0, 1):
        raise UsageError(f"lookahead cannot be {lookahead}; it is 0 or 1")
    missing = [name for name in FORMATS[target.suffix] if find_spec(name) is None]
    if missing:
        raise UsageError(f"{target.suffix} needs the package {missing[0]}: pip install 'vdeblur[export]'")
