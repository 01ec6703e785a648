"""ONNX: the steps for all places in a clip in one file, which chooses among them by two flags.

Sources: the ONNX operator specification (If, opset 11 on); names within a branch must not hide those outside.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vdeblur.export.step import Memory, Place, Step

#: Version of the ONNX operators and of the file's form that goes with it; ONNX Runtime 1.17 and newer have them.
OPSET, IR_VERSION = 20, 9
#: Weights begin so in every step, and are kept once for all.
_WEIGHTS = "network."


def write_onnx(
    path: Path, steps: Mapping[Place, Step], memory: Memory, inputs: Sequence[Tensor], tags: Mapping[str, str]
) -> None:
    """Write a file with inputs frame, following (with lookahead), first, last (with lookahead) and the memory.

    Args:
        inputs: an example of the frame, and with lookahead of the one after it.
        tags: go into the file's metadata.
    """
    import onnx

    frames = ["frame", "following"][: len(inputs)]
    graphs = {place: _traced(step, [*inputs, *memory.start], frames, memory) for place, step in steps.items()}
    weights = _shared_weights(list(graphs.values()))
    lookahead = len(inputs) > 1
    flags = ["first", "last"][: 1 + lookahead]
    body = _chosen(graphs, flags, 1 + len(memory.start))
    outputs = ["sharp", *(f"next_{name}" for name in memory.names)]
    node = onnx.helper.make_node("If", [flags[0]], outputs, then_branch=body[True], else_branch=body[False])
    floats, flag = onnx.TensorProto.FLOAT, onnx.TensorProto.BOOL
    shapes = [list(tensor.shape) for tensor in (*inputs, *memory.start)]
    values = [
        onnx.helper.make_tensor_value_info(name, floats, shape)
        for name, shape in zip([*frames, *memory.names], shapes, strict=True)
    ]
    values += [onnx.helper.make_tensor_value_info(name, flag, []) for name in flags]
    results = [
        onnx.helper.make_tensor_value_info(name, floats, shape)
        for name, shape in zip(outputs, [shapes[0], *shapes[len(inputs) :]], strict=True)
    ]
    graph = onnx.helper.make_graph([node], "vdeblur", values, results, list(weights.values()))
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], producer_name="vdeblur")
    model.ir_version = IR_VERSION
    onnx.helper.set_model_props(model, dict(tags))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _traced(step: Step, inputs: Sequence[Tensor], frames: Sequence[str], memory: Memory) -> Any:
    """A step as an ONNX graph; its outputs are called so that they hide no name outside."""
    names = [*frames, *memory.names]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, about itself
        program = torch.onnx.export(
            step,
            tuple(inputs),
            dynamo=True,  # the older exporter loses what is written into parts of a tensor
            optimize=False,  # what runs it does so too, and faster
            verbose=False,
            opset_version=OPSET,
            input_names=names,
            output_names=[f"inner_{number}" for number in range(1 + len(memory.start))],
        )
    assert program is not None
    graph = program.model_proto.graph
    del graph.input[:]  # the same names are inputs outside
    return graph


def _shared_weights(graphs: Sequence[Any]) -> dict[str, Any]:
    """Weights, taken out of all graphs."""
    weights: dict[str, Any] = {}
    for graph in graphs:
        own = [tensor for tensor in graph.initializer if not tensor.name.startswith(_WEIGHTS)]
        weights |= {tensor.name: tensor for tensor in graph.initializer if tensor.name.startswith(_WEIGHTS)}
        del graph.initializer[:]
        graph.initializer.extend(own)
    return weights


def _chosen(graphs: Mapping[Place, Any], flags: Sequence[str], outputs: int) -> dict[bool, Any]:
    """The graph for first frames and that for others; with two flags each chooses again by the second."""
    import onnx

    if len(flags) == 1:
        return {first: graphs[Place(first, False)] for first in (True, False)}
    branches = {}
    for first in (True, False):
        names = [f"outer_{number}" for number in range(outputs)]
        node = onnx.helper.make_node(
            "If", [flags[1]], names, then_branch=graphs[Place(first, True)], else_branch=graphs[Place(first, False)]
        )
        results = [
            onnx.helper.make_tensor_value_info(name, value.type.tensor_type.elem_type, None)
            for name, value in zip(names, graphs[Place(first, True)].output, strict=True)
        ]
        branches[first] = onnx.helper.make_graph([node], f"first {first}", [], results)
    return branches
