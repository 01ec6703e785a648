"""Tracing: a step as a ``torch.export`` program, for frames of one size or of any."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from vdeblur.export.step import Size, Step

#: Sides of the frames that a program for any size takes; smaller ones have fewer levels to be matched.
LEAST_SIDE, MOST_SIDE = 80, 8192
MOST_CLIPS = 64
#: A size to trace with where it stays open: in no way special.
_TRACED = Size(2, 560, 904)
#: What the tracer notes about the source of each operation; without it programs are half as large.
_ORIGINS = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")

#: A shape with words for the sizes that are open.
Shape = tuple[int | str, ...]


def traced(step: Step, size: Size | None) -> torch.export.ExportedProgram:
    """A program of a step, for inputs of a size, or None for any batch, height and width."""
    examples = step.examples(size or _TRACED)
    with warnings.catch_warnings(), torch.no_grad():  # switching gradients off within a program would not be saved
        warnings.simplefilter("ignore")  # PyTorch's own, about itself
        program = torch.export.export(step, tuple(examples), dynamic_shapes=None if size else _open(step, examples))
    for node in program.graph.nodes:
        for key in _ORIGINS:
            node.meta.pop(key, None)
    return program


def shapes(step: Step, size: Size | None) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """Names and shapes of what a step takes and gives."""
    examples = step.examples(size or _TRACED)
    names = step.inputs()
    found = [
        tuple(tensor.shape) if size else _words(name, tensor) for name, tensor in zip(names, examples, strict=True)
    ]
    inputs = dict(zip(names, found, strict=True))
    memory = {f"next_{name}": inputs[name] for name in step.memory_names()}
    return inputs, {"sharp": inputs["frame"], **memory}


def _words(name: str, tensor: Tensor) -> Shape:
    """A shape of which batch, height and width are open; those of a state that has rows and columns are its own."""
    batch, *rest = tensor.shape
    if len(rest) < 3:
        return ("batch", *rest)
    own = ("height", "width") if tuple(rest[1:]) == _TRACED[1:] else (f"{name}_rows", f"{name}_columns")
    return ("batch", rest[0], *own)


def _open(step: Step, examples: list[Tensor]) -> Any:
    """What ``torch.export`` is told of the shapes: a dimension for each word."""
    known = {
        "batch": torch.export.Dim("batch", min=1, max=MOST_CLIPS),
        "height": torch.export.Dim("height", min=LEAST_SIDE, max=MOST_SIDE),
        "width": torch.export.Dim("width", min=LEAST_SIDE, max=MOST_SIDE),
    }
    found = []
    for shape in shapes(step, None)[0].values():
        words = {place: word for place, word in enumerate(shape) if isinstance(word, str)}
        for word in words.values():
            known.setdefault(word, torch.export.Dim(word, min=1, max=MOST_SIDE))
        found.append({place: known[word] for place, word in words.items()})
    return found[0], tuple(found[1:])
