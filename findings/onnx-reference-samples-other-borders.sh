#!/usr/bin/env bash
# ONNX's own reference and ONNX Runtime disagree on cubic sampling beyond the border.
#
# Expected: the reference evaluator of the onnx package is the yardstick for exported models: a runtime that follows
#   the standard gives its numbers up to rounding.
# What happens: for GridSample with mode "cubic" and padding_mode "border", places outside the picture differ by up to
#   a tenth of the picture's range. The reference moves the place to the border and then interpolates; ONNX Runtime
#   (and PyTorch, from whose grid_sample the operator comes) interpolates where it is and takes border samples for
#   those that are missing. The standard's text, border values "for out-of-bound grid locations", fits both. Linear,
#   nearest, zeros and reflection agree.
# Versions: onnx==1.23.2, onnxruntime==1.32.0, numpy==2.4.6, with protobuf==7.36.2, ml-dtypes==0.6.0 and
#   flatbuffers==25.12.19 (onnxruntime 1.20 to 1.25 give the same; PyTorch 2.13's grid_sample equals ONNX Runtime to
#   1e-6); Linux x86-64.
# Output seen (largest difference for samples between 0 and 1):
#   linear  zeros       0.0000    cubic  zeros       0.0000
#   linear  border      0.0000    cubic  border      0.0925
#   linear  reflection  0.0000    cubic  reflection  0.0000
#   cubic, border, grid clamped before: 0.0000
#   a straight ramp of 0 to 1, sampled 0.3 pixels outside: reference 0.0000, ONNX Runtime -0.0184
# Why it matters: networks that warp frames along motion sample beyond the border in every pan. A model that passes its
#   check in one evaluator fails in the other, only at edges, only where things move.
# Workaround: clamp the grid to the borders yourself before GridSample: then both agree. Or sample linearly.
# Upstream: microsoft/onnxruntime issues 10607 and 28090 discuss the rule; nothing found on onnx's reference.
set -euo pipefail
unset PYTHONPATH IMAGEIO_FFMPEG_EXE

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-compile \
  onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 protobuf==7.36.2 ml-dtypes==0.6.0 flatbuffers==25.12.19

cat > check.py <<'PY'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

onnxruntime.set_default_logger_severity(3)


def both(picture, grid, mode, padding):
    """Result of the reference evaluator, and that of ONNX Runtime."""
    node = helper.make_node("GridSample", ["x", "grid"], ["y"], mode=mode, padding_mode=padding, align_corners=1)
    declared = [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape)
                for name, value in (("x", picture), ("grid", grid))]
    graph = helper.make_graph([node], "sample", declared, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    fed = {"x": picture, "grid": grid}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return ReferenceEvaluator(model).run(None, fed)[0], session.run(None, fed)[0]


rng = np.random.default_rng(0)
picture = rng.random((1, 1, 6, 7), dtype=np.float32)
grid = rng.random((1, 5, 5, 2), dtype=np.float32) * 3 - 1.5
differences = {}
for padding in ("zeros", "border", "reflection"):
    for mode in ("linear", "cubic"):
        reference, runtime = both(picture, grid, mode, padding)
        differences[mode, padding] = float(np.abs(reference - runtime).max())
    print(f"linear  {padding:10}  {differences['linear', padding]:.4f}    "
          f"cubic  {padding:10}  {differences['cubic', padding]:.4f}")
clamped = np.clip(grid, -1, 1)
reference, runtime = both(picture, clamped, "cubic", "border")
same = float(np.abs(reference - runtime).max())
print(f"cubic, border, grid clamped before: {same:.4f}")
ramp = np.tile(np.linspace(0, 1, 7, dtype=np.float32), (6, 1))[None, None]
place = np.array([[[[-1 - 0.3 * 2 / 6, 0]]]], np.float32)
values = [float(value.item()) for value in both(ramp, place, "cubic", "border")]
print(f"a straight ramp of 0 to 1, sampled 0.3 pixels outside: reference {values[0]:.4f}, ONNX Runtime {values[1]:.4f}")
if differences.pop(("cubic", "border")) < 0.02 or abs(values[0] - values[1]) < 0.005:
    sys.exit("changed: the evaluators agree beyond the border")
if max(*differences.values(), same) > 1e-4:
    sys.exit("changed: the evaluators differ elsewhere, too")
PY
venv/bin/python check.py
