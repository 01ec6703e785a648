"""vdeblur export: a clip comes out of what was written as the package restores it, and the README's example works."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_fixtures import Call, call, tiny_model  # noqa: F401

from vdeblur.errors import NetworkError, UsageError
from vdeblur.export import run as export_run
from vdeblur.export.check import Stepper, agreement, check_clip
from vdeblur.export.run import export_network, onnx_stepper
from vdeblur.export.step import Size, Step
from vdeblur.library import deblur_frames
from vdeblur.model.checkpoint import load_network

README = Path(__file__).parents[1] / "README.md"
Tensors = Sequence[torch.Tensor]


@pytest.fixture(scope="module", autouse=True)
def short_flow() -> Iterator[None]:
    """The optical flow repeats itself some hundred times in a graph; a few times are enough to be the same or not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vdeblur.model.flow.WARPS", 1, raising=False)
        patch.setattr("vdeblur.model.flow.SWEEPS", 2, raising=False)
        yield


def made(path: Path, lookahead: int) -> Step:
    return Step(load_network(path).requires_grad_(False), lookahead).eval()


def eager(step: Step) -> Stepper:
    """Steps done by the package's own operators."""

    def stepper(inputs: Tensors) -> Tensors:
        with torch.no_grad():
            result: Tensors = step(*inputs)
            return result

    return stepper


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("size", [(48, 64), (49, 65), (32, 33)])
def test_steps_are_the_package(tiny_model: Path, lookahead: int, size: tuple[int, int]) -> None:  # noqa: F811
    step = made(tiny_model, lookahead)
    found = agreement(eager(step), step, size=size, lookahead=lookahead)
    assert found.max_error < 1e-5
    assert found.psnr > 100
    assert found.good


def test_a_memory_that_is_not_handed_on_is_found(tiny_model: Path) -> None:  # noqa: F811
    step = made(tiny_model, 1)
    right = eager(step)

    def forgetful(inputs: Tensors) -> Tensors:
        return [right(inputs)[0], *step.memory(Size(1, 48, 64))]

    assert agreement(forgetful, step, size=(48, 64), lookahead=1).max_error > 1e-3


def test_doing_nothing_is_no_restoration(tiny_model: Path) -> None:  # noqa: F811
    """A correction of a thousandth, left out, would still have 60 dB."""
    step = made(tiny_model, 1)
    for layer in (step.network.head, step.network.taps.correction):
        torch.nn.init.normal_(layer.weight, std=1e-5)
        torch.nn.init.zeros_(layer.bias)

    def idle(inputs: Tensors) -> Tensors:
        return [inputs[0], *step.memory(Size(1, 48, 64))]

    found = agreement(idle, step, size=(48, 64), lookahead=1)
    assert found.psnr > 50
    assert found.of_correction == pytest.approx(1)
    assert not found.good


@pytest.mark.parametrize("lookahead", [0, 1])
def test_clips_of_a_batch_may_begin_and_end_at_different_frames(tiny_model: Path, lookahead: int) -> None:  # noqa: F811
    """A clip of two frames beside the first two of a longer one: each comes out as alone."""
    step, frames = made(tiny_model, lookahead), check_clip(48, 64)
    one, other = frames[:2], frames[2:4]
    stepper = eager(step)
    start = step.memory(Size(1, 48, 64))
    no, yes = ([[torch.tensor([value])] for value in (False, True)]) if lookahead else ([], [])
    ahead = [one[1]] if lookahead else []
    alone = stepper([one[1], *ahead, *yes, *stepper([one[0], *ahead, *no, *start])[1:]])[0]
    beside = stepper([other[0], *([other[1]] if lookahead else []), *no, *start])[0]
    begun = stepper([one[0], *ahead, *no, *start])[1:]
    memory = [torch.cat((mine, new)) for mine, new in zip(begun, start, strict=True)]
    following = [torch.cat((one[1], other[1])), torch.tensor([True, False])] if lookahead else []
    both = stepper([torch.cat((one[1], other[0])), *following, *memory])[0]
    assert (both[0] - alone[0]).abs().max() < 1e-5
    assert (both[1] - beside[0]).abs().max() < 1e-5


@pytest.fixture(scope="module")
def onnx_file(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    exported = export_network(tiny_model, path, size=(64, 48), lookahead=1)
    found = exported.agreements[48, 64]
    assert found.psnr > 100
    assert found.max_error < 1e-4
    return path


def test_the_example_of_the_readme_restores_as_the_package(
    onnx_file: Path,
    tiny_model: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    section = README.read_text(encoding="utf-8").split("## Export")[1].split("\n## ")[0]
    example = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert example is not None
    code = example.group(1)
    assert len(code.splitlines()) <= 20
    frames = check_clip(48, 64)
    kept: list[np.ndarray] = []
    monkeypatch.chdir(onnx_file.parent)
    onnx_file.with_name("fast.onnx").write_bytes(onnx_file.read_bytes())
    exec(code, {"frames": [frame.numpy() for frame in frames], "save": kept.append})
    theirs = deblur_frames(frames, model=tiny_model, device="cpu", precision="float32")
    for ours, other in zip(kept, theirs, strict=True):
        assert np.abs(ours - other.clamp(0, 1).numpy()).max() < 1e-4


def test_a_single_frame_is_restored_as_the_package_does(onnx_file: Path, tiny_model: Path) -> None:  # noqa: F811
    frame = check_clip(48, 64)[0]
    start = made(tiny_model, 1).memory(Size(1, 48, 64))
    ours = onnx_stepper(onnx_file)([frame, frame, torch.tensor([True]), *start])[0]
    theirs = next(iter(deblur_frames([frame], model=tiny_model, device="cpu", precision="float32")))
    assert (ours - theirs.clamp(0, 1)).abs().max() < 1e-4


def test_weights_are_kept_once(onnx_file: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(onnx_file))
    names = {tensor.name for tensor in model.graph.initializer}
    assert "network.head.weight" in names
    assert {entry.key: entry.value for entry in model.metadata_props}["size"] == "64x48"


def test_programs_of_torch_export(tiny_model: Path, tmp_path: Path) -> None:  # noqa: F811
    exported = export_network(tiny_model, tmp_path / "tiny.pt2", size=(64, 48), lookahead=0)
    assert exported.file == tmp_path / "tiny.pt2"
    assert exported.agreements[48, 64].psnr > 100


def test_what_does_not_restore_as_the_package_is_not_left_behind(
    tiny_model: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def wrong(path: Path, *_: object) -> None:
        path.write_bytes(b"wrong")

    memory = made(tiny_model, 1).memory(Size(1, 48, 64))
    monkeypatch.setattr(export_run, "traced", lambda *_: None)
    monkeypatch.setattr(export_run, "write_onnx", wrong)
    monkeypatch.setattr(export_run, "onnx_stepper", lambda *_: lambda inputs: [inputs[0] * 0.5, *memory])
    with pytest.raises(NetworkError, match="does not restore 64x48 as the package"):
        export_network(tiny_model, tmp_path / "a.onnx", size=(64, 48))
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_looks_at_colours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="quality cannot be exported"):
        export_network("quality", tmp_path / "a.onnx", size=(64, 48))


def test_a_missing_package_is_named(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(export_run, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"onnx.*vdeblur\[export\]"):
        export_network(tiny_model, tmp_path / "a.onnx", size=(64, 48))


@pytest.mark.parametrize(
    "arguments",
    [
        ["fast", "-o", "fast.txt"],
        ["fast", "-o", "no such folder/fast.onnx"],
        ["fast", "-o", "fast.onnx", "--size", "1280"],
        ["fast", "-o", "fast.onnx", "--size", "8x8"],
        ["fast", "-o", "fast.onnx", "--lookahead", "2"],
        ["nothing", "-o", "fast.onnx"],
    ],
)
def test_a_wrong_call_is_one_line(call: Call, arguments: list[str], tmp_path: Path) -> None:  # noqa: F811
    result = call("export", *arguments)
    assert (result.code, len(result.errors)) == (2, 1)


def test_an_existing_file_is_not_replaced_unasked(call: Call, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "a.onnx").write_text("mine")
    assert call("export", "fast", "-o", tmp_path / "a.onnx").code == 2
    assert (tmp_path / "a.onnx").read_text() == "mine"
