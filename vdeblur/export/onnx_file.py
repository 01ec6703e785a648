"""ONNX file: a traced step for ONNX Runtime and other runtimes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

#: Version of the ONNX operators and of the file's form that goes with it; ONNX Runtime 1.17 and newer have them.
OPSET, IR_VERSION = 20, 9


def write_onnx(
    path: Path,
    program: torch.export.ExportedProgram,
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Mapping[str, Sequence[int | str]],
    tags: Mapping[str, str],
) -> None:
    """Write a traced step.

    Args:
        inputs, outputs: their names, in order, and their shapes; a word stands for a size that is open.
        tags: go into the file's metadata.
    """
    import onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, about itself
        translated = torch.onnx.export(
            program,
            dynamo=True,
            optimize=False,  # what runs it does so too, and faster
            verbose=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
        )
    assert translated is not None
    model = translated.model_proto
    _name_sizes(model.graph, {**inputs, **outputs})
    _forget_origins(model)
    model.ir_version, model.producer_name = IR_VERSION, "vdeblur"
    onnx.helper.set_model_props(model, dict(tags))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _name_sizes(graph: Any, shapes: Mapping[str, Sequence[int | str]]) -> None:
    """Call what is open in the shapes of inputs and outputs by our words instead of the tracer's."""
    for value in (*graph.input, *graph.output):
        for size, ours in zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=True):
            if isinstance(ours, str):
                size.dim_param = ours


def _forget_origins(model: Any) -> None:
    """Leave out which line of which source every operation came from: that is most of the file."""
    del model.graph.value_info[:]
    for graph in (model.graph, *model.functions):
        for node in graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]
