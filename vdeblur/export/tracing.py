"""Tracing: a step as a ``torch.export`` program, for static or dynamic frame sizes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vdeblur.export.step import ExportableStep, Size

#: Sides of the frames that a program for any size takes; smaller ones have fewer levels to be matched.
LEAST_SIDE, MOST_SIDE = 80, 8192
MOST_CLIPS = 64
#: Multiples of the stride to trace with where a size stays open: odd, halved twice too, so that no two sides of the
#: levels that are matched agree by chance.
_TRACED_ROWS, _TRACED_COLUMNS = 37, 61
#: What the tracer notes about the source of each operation; without it programs are half as large.
_ORIGINS = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")

#: A shape with words for the sizes that are open.
Shape = tuple[int | str, ...]


def traced(step: ExportableStep, size: Size | None) -> torch.export.ExportedProgram:
    """A program of a step, for inputs of a size, or None for any batch, height and width."""
    examples = step.examples(size or _some_size(step))
    with warnings.catch_warnings(), torch.no_grad():  # switching gradients off within a program would not be saved
        warnings.simplefilter("ignore")  # PyTorch's own, about itself
        program = torch.export.export(step, tuple(examples), dynamic_shapes=None if size else _open(step, examples))
    for node in program.graph.nodes:
        for key in _ORIGINS:
            node.meta.pop(key, None)
    program.example_inputs = None  # pictures would be most of what is saved
    return program


def shapes(step: ExportableStep, size: Size | None) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """Names and shapes of what a step takes and gives."""
    some = size or _some_size(step)
    names, examples = step.inputs(), step.examples(some)
    found = [tuple(tensor.shape) if size else _words(tensor.shape, some) for tensor in examples]
    inputs = dict(zip(names, found, strict=True))
    memory = {f"next_{name}": inputs[name] for name in step.memory_names()}
    return inputs, {"sharp": inputs["frame"], **memory}


def _some_size(step: ExportableStep) -> Size:
    return Size(2, _TRACED_ROWS * step.network.stride, _TRACED_COLUMNS * step.network.stride)


def _words(shape: Sequence[int], size: Size) -> Shape:
    """A shape of which batch, height and width are open."""
    rest = shape[1:]
    if len(rest) < 3:
        return ("batch", *rest)
    factor = size.height // rest[1]
    share = "" if factor == 1 else f"/{factor}"
    return ("batch", rest[0], f"height{share}", f"width{share}")


def _open(step: ExportableStep, examples: list[Tensor]) -> Any:
    """What ``torch.export`` is told of the shapes; height and width are multiples of the network's stride."""
    stride = step.network.stride
    least, most = -(-LEAST_SIDE // stride), MOST_SIDE // stride
    batch = torch.export.Dim("batch", min=1, max=MOST_CLIPS)
    rows, columns = (torch.export.Dim(name, min=least, max=most) for name in ("rows", "columns"))
    found: list[dict[int, Any]] = []
    for tensor in examples:
        open_sizes: dict[int, Any] = {0: batch}
        if tensor.dim() == 4:
            share = tensor.shape[2] // _TRACED_ROWS
            open_sizes |= {2: share * rows, 3: share * columns}
        found.append(open_sizes)
    return found[0], tuple(found[1:])
