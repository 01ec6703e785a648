"""vdeblur export: a clip comes out of what was written as the package restores it, and the README's example works."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from support.cli_fixtures import Call, call, tiny_model  # noqa: F401
from support.documents import fenced, text_of
from support.media import clips
from support.paths import SAMPLES
from vdeblur.errors import NetworkError, UsageError
from vdeblur.export import run as export_run
from vdeblur.export.check import Stepper, agreement, check_clip, stepwise
from vdeblur.export.onnx_file import write_onnx
from vdeblur.export.run import export_network, onnx_stepper, program_stepper, sizes_tried
from vdeblur.export.step import ExportableStep, Size
from vdeblur.export.tracing import shapes, traced
from vdeblur.library.generators import deblur_frames
from vdeblur.model.checkpoint import load_network, save_network
from vdeblur.model.luma_net import LumaConfig, LumaNet
from vdeblur.model.optical_flow import WARPS

REAL_SAMPLINGS = dict(WARPS)
SAMPLE = SAMPLES / "handheld.mp4"


@pytest.fixture(scope="module", autouse=True)
def short_flow() -> Iterator[None]:
    """The optical flow repeats itself some hundred times in a graph; a few times are enough to be the same or not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vdeblur.model.optical_flow.WARPS", dict.fromkeys((32, 16, 8, 4, 2), 1))
        patch.setattr("vdeblur.model.optical_flow.SWEEPS", 2)
        patch.setattr("vdeblur.model.optical_flow.COARSEST_SCALE", 16)
        yield


@pytest.fixture(scope="module")
def luma_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of the kind of ``fast``, with weights that change every picture."""
    torch.manual_seed(3)
    net = LumaNet(
        LumaConfig(
            kind="luma",
            name="tiny",
            flow_finest=8,
            taps=5,
            reach=1.0,
            tap_hidden=8,
            tap_depth=0,
            tap_neighbours=1,
            tap_experts=2,
            tap_code=8,
        )
    )
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    path = tmp_path_factory.mktemp("luma") / "luma.safetensors"
    save_network(net, path, {"data": "none: made for tests"})
    return path


@pytest.fixture(params=["luma", "deblur"])
def model(request: pytest.FixtureRequest, luma_model: Path, tiny_model: Path) -> Path:  # noqa: F811
    return luma_model if request.param == "luma" else tiny_model


def step_of(model: Path, lookahead: int = 1) -> ExportableStep:
    return ExportableStep(load_network(model).requires_grad_(False), lookahead).eval()


def eager(step: ExportableStep) -> Stepper:
    """Steps done by the package's own network."""

    def run(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        with torch.no_grad():
            result: Sequence[Tensor] = step(*inputs)
            return result

    return run


# --- A step -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("size", [(48, 64), (49, 65), (32, 33), (720, 480)])
def test_steps_are_the_package(model: Path, lookahead: int, size: tuple[int, int]) -> None:
    step = step_of(model, lookahead)
    found = agreement(eager(step), step, size=size, lookahead=lookahead)
    assert found.max_error < 1e-5
    assert found.psnr > 100
    assert found.good


def test_a_memory_that_is_not_handed_on_is_found(model: Path) -> None:
    step = step_of(model)
    right, start = eager(step), step.memory(Size(1, 48, 64))

    def forgetful(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        return [*right(inputs)[:1], *start]

    assert agreement(forgetful, step, size=(48, 64), lookahead=1).max_error > 1e-3


def test_doing_nothing_is_no_restoration(tiny_model: Path) -> None:  # noqa: F811
    """A correction of a thousandth, left out, would still have 60 dB."""
    step = step_of(tiny_model)
    for layer in (step.network.head, step.network.taps.correction):
        torch.nn.init.normal_(layer.weight, std=1e-5)
        torch.nn.init.zeros_(layer.bias)
    start = step.memory(Size(1, 48, 64))
    found = agreement(lambda inputs: [inputs[0], *start], step, size=(48, 64), lookahead=1)
    assert found.psnr > 50
    assert found.of_correction == pytest.approx(1)
    assert not found.good


@pytest.mark.parametrize("lookahead", [0, 1])
def test_what_goes_in_and_out_has_names_and_shapes(model: Path, lookahead: int) -> None:
    step = step_of(model, lookahead)
    inputs, outputs = shapes(step, Size(1, 48, 64))
    with torch.no_grad():
        results = step(*step.examples(Size(1, 48, 64)))
    assert list(inputs)[: 1 + 2 * lookahead] == ["frame", "following", "last"][: 1 + 2 * lookahead]
    assert list(outputs.values()) == [tuple(result.shape) for result in results]
    open_inputs, _ = shapes(step, None)
    assert open_inputs["frame"] == ("batch", 3, "height", "width")
    assert open_inputs["memory_0"] == ("batch", step.network.stride**2, *(f"{side}/{step.network.stride}" for side in ("height", "width")))  # fmt: skip  # noqa: E501


# --- One file for any size --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def any_size(luma_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both kinds of file, for any size, of one trace: that takes a minute."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder, step = tmp_path_factory.mktemp("any"), step_of(luma_model)
    program = traced(step, None)
    torch.export.save(program, folder / "luma.pt2")
    write_onnx(folder / "luma.onnx", program, *shapes(step, None), {"size": "any"})
    return {ending: folder / f"luma.{ending}" for ending in ("onnx", "pt2")}


@pytest.fixture(scope="module")
def steppers(any_size: dict[str, Path]) -> dict[str, Stepper]:
    return {"onnx": onnx_stepper(any_size["onnx"]), "pt2": program_stepper(any_size["pt2"])}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("ending", ["onnx", "pt2"])
@pytest.mark.parametrize("size", [(80, 80), (88, 104), (360, 640), (544, 512), (720, 480)])
def test_one_file_restores_any_size(
    steppers: dict[str, Stepper], luma_model: Path, ending: str, size: tuple[int, int]
) -> None:
    """Odd numbers of cells, few and many of them, and more and less than 720 lines: all that is seen of a size."""
    found = agreement(steppers[ending], step_of(luma_model), size=size, lookahead=1)
    assert found.psnr > 100
    assert found.max_error < 1e-4


@pytest.mark.timeout(900)
@pytest.mark.parametrize("ending", ["onnx", "pt2"])
def test_clips_side_by_side_have_ends_of_their_own(steppers: dict[str, Stepper], luma_model: Path, ending: str) -> None:
    """A batch of two clips, of which one begins where the other goes on, is two clips."""
    stepper, step, size = steppers[ending], step_of(luma_model), Size(1, 96, 128)
    frames = check_clip(*size[1:])
    alone = stepwise(stepper, frames, step.memory(size), 1)
    short = stepwise(stepper, frames[3:], step.memory(size), 1)
    memory, sharp = step.memory(size._replace(batch=2)), []
    for number, frame in enumerate(frames):
        other = frames[3 + number % 2]
        following = torch.cat((frames[min(number + 1, 4)], frames[4]))
        if number % 2 == 0:
            for part in memory:
                part[1] = 0
        inputs = [torch.cat((frame, other)), following, torch.tensor([number == 4, number % 2 == 1]), *memory]
        result, *memory = stepper(inputs)
        memory = [part.clone() for part in memory]
        sharp.append(result)
    for number, result in enumerate(sharp):
        torch.testing.assert_close(result[:1], alone[number], atol=1e-5, rtol=0)
        torch.testing.assert_close(result[1:], short[number % 2], atol=1e-5, rtol=0)


@pytest.mark.timeout(900)
def test_the_example_of_the_readme_restores_a_video_as_the_package(
    any_size: dict[str, Path], luma_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = fenced(text_of("vdeblur/export/README.md"), "python")
    assert len(example.splitlines()) <= 20
    monkeypatch.chdir(tmp_path)
    Path("fast.onnx").write_bytes(any_size["onnx"].read_bytes())
    clips.ffmpeg("-i", str(SAMPLE), "-map", "0:v", "-frames:v", "4", "-c", "copy", "blurry.mp4")
    exec(example, {})
    with av.open("blurry.mp4") as video:
        frames = [frame.to_ndarray(format="rgb24").astype(np.float32) / 255 for frame in video.decode(video=0)]
    theirs = list(deblur_frames(frames, model=luma_model, device="cpu", precision="float32", overlays="off"))
    assert len(theirs) == 4
    for number, (other, frame) in enumerate(zip(theirs, frames, strict=True)):
        with av.open(f"sharp{number:04}.png") as picture:
            ours = next(picture.decode(video=0)).to_ndarray(format="rgb24")
        assert np.abs(ours / 255 - other.clip(0, 1)).max() < 0.51 / 255 + 3e-4
        assert np.abs(ours / 255 - frame).max() > 0.05


# --- Files ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def onnx_file(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    exported = export_network(tiny_model, path, size=(64, 48))
    assert list(exported.agreements) == [(48, 64)]
    assert exported.agreements[48, 64].psnr > 100
    assert exported.agreements[48, 64].max_error < 1e-4
    return path


def test_a_single_frame_is_restored_as_the_package_does(onnx_file: Path, tiny_model: Path) -> None:  # noqa: F811
    frame = check_clip(48, 64)[0]
    memory = step_of(tiny_model).memory(Size(1, 48, 64))
    ours = onnx_stepper(onnx_file)([frame, torch.rand_like(frame), torch.tensor([True]), *memory])[0]
    theirs = next(iter(deblur_frames([frame], model=tiny_model, device="cpu", precision="float32", guide="off")))
    assert (ours - theirs.clamp(0, 1)).abs().max() < 1e-4


def test_a_file_holds_weights_and_what_it_is_and_no_more(onnx_file: Path, tiny_model: Path) -> None:  # noqa: F811
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(onnx_file))
    assert "network.head.weight" in {tensor.name for tensor in model.graph.initializer}
    assert {entry.key: entry.value for entry in model.metadata_props}["size"] == "64x48"
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert onnx_file.stat().st_size < 1_000_000


def test_a_program_of_torch_export(model: Path, tmp_path: Path) -> None:
    exported = export_network(model, tmp_path / "tiny.pt2", size=(64, 48), lookahead=0)
    assert exported.file == tmp_path / "tiny.pt2"
    assert exported.agreements[48, 64].psnr > 100


def test_any_size_is_tried_at_several(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trace is left out: what comes instead is the package itself, and one of the sizes is wrong."""
    step = step_of(model)
    monkeypatch.setattr(export_run, "traced", lambda *_: None)
    monkeypatch.setattr(torch.export, "save", lambda program, file: file.write(b"program"))
    monkeypatch.setattr(export_run, "program_stepper", lambda path: eager(step))
    exported = export_network(model, tmp_path / "a.pt2")
    sizes = sizes_tried(step.network.stride)
    assert tuple(exported.agreements) == sizes

    def wrong(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        sharp, *memory = eager(step)(inputs)
        return [sharp if sharp.shape[2:] == sizes[0] else sharp * 0.5, *memory]

    monkeypatch.setattr(export_run, "program_stepper", lambda path: wrong)
    with pytest.raises(NetworkError, match=f"does not restore {sizes[1][1]}x{sizes[1][0]} as the package does"):
        export_network(model, tmp_path / "b.pt2")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt2"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["swift", "fast", "balanced"])
@pytest.mark.parametrize("ending", ["onnx", "pt2"])
def test_what_is_shipped_is_exported_for_any_size(name: str, ending: str, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vdeblur.model.optical_flow.WARPS", REAL_SAMPLINGS)
        patch.setattr("vdeblur.model.optical_flow.SWEEPS", 9)
        exported = export_network(name, tmp_path / f"{name}.{ending}")
    assert all(one.psnr > 100 for one in exported.agreements.values())


# --- Mistakes ---------------------------------------------------------------------------------------------------------


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
def test_a_wrong_call_is_one_line(call: Call, arguments: list[Any]) -> None:  # noqa: F811
    result = call("export", *arguments)
    assert (result.code, len(result.errors)) == (2, 1)


def test_a_call_tells_what_was_written(call: Call, luma_model: Path, tmp_path: Path) -> None:  # noqa: F811
    result = call("export", luma_model, "-o", tmp_path / "a.pt2", "--size", "64x48", "--lookahead", "0")
    assert result.code == 0, result.err
    assert re.search(r"a\.pt2 \(\d+\.\d MiB\)\nagainst the package at 64x48: .*PSNR 1\d\d\.\d dB", result.out)


def test_an_existing_file_is_not_replaced_unasked(call: Call, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "a.onnx").write_text("mine")
    assert call("export", "fast", "-o", tmp_path / "a.onnx").code == 2
    assert (tmp_path / "a.onnx").read_text() == "mine"
