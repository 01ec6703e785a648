"""Files are replaced in one move: whatever stops a writer, the old file is whole and nothing else lies beside it."""

from __future__ import annotations

import ast
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.networks import luma_nets
from support.paths import ROOT
from vdeblur.atomic_files import hidden_name, replaced_file, write_atomically
from vdeblur.cli import bench, evaluate
from vdeblur.engine.stream_state import Snapshot
from vdeblur.errors import TargetError, VdeblurError
from vdeblur.evaluation.contact_sheet import ContactSheet
from vdeblur.export import run as export_run
from vdeblur.frames import Colour, Frame, PixelFormat
from vdeblur.live.sinks import RecordingSink
from vdeblur.live.types import CapturedFrame, LiveFrame
from vdeblur.model.checkpoint import save_network
from vdeblur.pipeline.resume import save_snapshot
from vdeblur.pipeline.sharpness import SharpnessPlot
from vdeblur.training.ablation.results import Result, append_result
from vdeblur.training.config import TrainConfig
from vdeblur.training.log import append_row, cut_log
from vdeblur.training.pair_preview import write_pair
from vdeblur.training.plot import write_plot
from vdeblur.training.run_state import RunProgress, join_pieces, save_first, save_state, write_pieces
from vdeblur.training.synthesis.blur import ByteClip
from vdeblur.video.segments.journal import Journal, Position

#: Largest file that a process may write while its disk is "full": less than any of the files below.
_FULL_BYTES = 16
_OLD = b"what was there before\n"

Write = Callable[[Path], Any]


@contextmanager
def full_disk() -> Iterator[None]:
    """Every file of this process and its children ends after a few bytes, as on a full disk."""
    import resource

    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FULL_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def plot(path: Path) -> None:
    chart = SharpnessPlot(path, "clip", overwrite=True)
    frame = Frame((np.eye(16, dtype=np.uint8),), PixelFormat("gray", "gray", 8), Colour(), 0, Fraction(1, 25), 1)
    chart.add(frame, frame)
    chart.write()


def recording(path: Path) -> None:
    sink = RecordingSink(path, overwrite=True)
    noise = np.random.default_rng(1)
    shape = PixelFormat("gray", "gray", 8)
    for number in range(3):
        picture = noise.integers(0, 255, (64, 64), dtype=np.uint8)
        frame = Frame((picture,), shape, Colour(), number, Fraction(1, 25), 1)
        sink.show(LiveFrame(CapturedFrame(frame, number, number / 25), frame, 0.01))
    sink.close()


def pair(path: Path) -> None:
    frames = torch.randint(0, 255, (2, 3, 3, 64, 64), dtype=torch.uint8)
    write_pair(ByteClip(frames, None), (path, path.with_name(f"other-{path.name}")), overwrite=True)


def state(path: Path) -> None:
    save_state(path.parent, TrainConfig(network="tiny"), {"step": torch.zeros(64)}, RunProgress())


def first(path: Path) -> None:
    save_first(path.parent, TrainConfig(network="tiny"), torch.nn.Linear(8, 8), ["taps"])


def export(path: Path) -> None:
    export_run.export_network("fast", path, size=(64, 64))


#: Every writer, by the name of the file that it replaces.
WRITERS: dict[str, Write] = {
    "any.txt": lambda path: write_atomically(path, "x" * 500),
    "plot.svg": plot,
    "plot.png": plot,
    "sheet.png": lambda path: ContactSheet(path, ["fast"]).write(),
    "sheet.jpg": lambda path: ContactSheet(path, ["fast"]).write(),
    "net.safetensors": lambda path: save_network(luma_nets.tiny(), path, {}),
    "memory.safetensors": lambda path: save_snapshot(Snapshot((torch.zeros(64),), 1, {}), path),
    "bench.json": lambda path: bench._write_json({"rows": ["x" * 500]}, path),
    "scores.json": lambda path: evaluate._write_json(Scores(), path),  # type: ignore[arg-type]
    "log.svg": lambda path: write_plot(path.parent, "run"),
    "log.csv": lambda path: append_row(path.parent, {"step": 1, "loss": 1.0}),
    "results.csv": lambda path: append_result(path, Result("base", 1, "x" * 99, *range(8))),
    "state.pt": state,
    "first.pt": first,
    "program.pt2": export,
    "program.onnx": export,
    "live.mkv": recording,
    "synth.mkv": pair,
}  # fmt: skip


class Scores:
    def as_dict(self) -> dict[str, Any]:
        return {"clips": ["x" * 500]}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sheets have something on them, and an export needs no minutes."""
    monkeypatch.setattr(ContactSheet, "draw", lambda self: torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8))

    def write_onnx(path: Path, *rest: object) -> None:
        path.write_bytes(b"x" * 500)

    program = torch.export.export(torch.nn.Linear(64, 64), (torch.zeros(1, 64),))
    monkeypatch.setattr(export_run, "traced", lambda *given: program)
    monkeypatch.setattr(export_run, "shapes", lambda *given: ({}, {}))
    monkeypatch.setattr(export_run, "write_onnx", write_onnx)
    monkeypatch.setattr(export_run, "onnx_stepper", lambda path: None)
    monkeypatch.setattr(export_run, "agreement", lambda *given, **more: Good())


class Good:
    good = True


@pytest.fixture
def target(request: pytest.FixtureRequest, tmp_path: Path, quick: None) -> Path:
    """A folder of its own with an old file in it."""
    path: Path = tmp_path / request.param
    path.write_bytes(_OLD)
    return path


def test_every_writer_writes(quick: None, tmp_path: Path) -> None:
    for name, write in WRITERS.items():
        path = tmp_path / name
        write(path)
        assert path.stat().st_size > _FULL_BYTES, name
    assert not [path.name for path in tmp_path.iterdir() if ".part" in path.name]


@pytest.mark.skipif(sys.platform == "win32", reason="sets a limit that Windows does not have")
@pytest.mark.parametrize("target", WRITERS, indirect=True)
def test_a_full_disk_leaves_the_old_file(target: Path) -> None:
    with pytest.raises(VdeblurError), full_disk():
        WRITERS[target.name](target)
    assert target.read_bytes() == _OLD
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("target", WRITERS, indirect=True)
def test_ctrl_c_at_the_last_moment_leaves_the_old_file(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*names: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        WRITERS[target.name](target)
    monkeypatch.undo()
    assert target.read_bytes() == _OLD
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_pieces_and_their_index_stay_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "state.pt").write_bytes(b"1" * 500)
    write_pieces(tmp_path, ["state.pt"])
    before = {path.name: path.read_bytes() for path in (tmp_path / "pieces").iterdir()}
    (tmp_path / "state.pt").write_bytes(b"2" * 500)
    with pytest.raises(TargetError), full_disk():
        write_pieces(tmp_path, ["state.pt"])
    assert {path.name: path.read_bytes() for path in (tmp_path / "pieces").iterdir()} == before
    (tmp_path / "state.pt").unlink()
    with pytest.raises(VdeblurError), full_disk():
        join_pieces(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["pieces"]
    assert join_pieces(tmp_path)
    assert (tmp_path / "state.pt").read_bytes() == b"1" * 500


def test_a_log_is_cut_in_one_move(tmp_path: Path) -> None:
    for step in range(1, 9):
        append_row(tmp_path, {"step": step, "loss": 1.0})
    before = (tmp_path / "log.csv").read_bytes()
    with pytest.raises(TargetError), full_disk():
        cut_log(tmp_path, 4)
    assert (tmp_path / "log.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_a_journal_keeps_its_last_position(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out.mp4")
    journal.begin({"strength": 1.0})
    position = Position(frames=24, first_pts=0, pts=23, checksum=1, memory={}, memory_file="")
    journal.commit(position)
    with pytest.raises(TargetError), full_disk():
        journal.commit(Position(frames=48, first_pts=0, pts=47, checksum=2, memory={}, memory_file=""))
    assert Journal(tmp_path / "out.mp4").unfinished == position
    assert sorted(path.name for path in journal.folder.iterdir()) == ["job.json", "lock"]
    journal.release()


def test_a_link_and_permissions_outlive_the_move(tmp_path: Path) -> None:
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_atomically(link, "new\r\n")
    assert link.is_symlink()
    assert real.read_bytes() == b"new\r\n"
    assert real.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs a device")
def test_a_device_is_written_to_as_it_is() -> None:
    with replaced_file(Path("/dev/null")) as part:
        assert part == Path("/dev/null")
    assert not Path("/dev/null").is_file()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"cannot write .*nowhere/a\.txt: No such file"):
        write_atomically(tmp_path / "nowhere" / "a.txt", "x")


def test_hidden_names_fit_every_file_system() -> None:
    name = hidden_name("ä" * 250 + ".mp4", ".mp4")
    assert len(os.fsencode(name)) <= 255
    assert name.startswith(".ä")
    assert name.endswith(".part.mp4")


#: Modules that write without a move, and why nobody can lose anything by it.
_WRITE_AT_ONCE = {
    "atomic_files.py": "the move itself",
    "evaluation/contact_sheet.py": "into the hidden file",
    "export/run.py": "into the hidden file",
    "export/onnx_file.py": "into the hidden file",
    "training/ablation/clips.py": "into the hidden file",
    "training/run_state.py": "into the hidden file",
    "training/data/shared_stills.py": "a temporary folder",
    "live/page/tls.py": "a temporary folder",
    "live/page/videos.py": "a new file of the page's own folder",
    "video/sink/stack_target.py": "into the hidden file",
    "video/photo/metadata_copy.py": "pictures in a hidden folder",
    "video/streams/attachments.py": "a temporary folder",
    "video/segments/captions.py": "beside a segment, before the journal names it",
}


def test_no_other_module_writes_files_in_place() -> None:
    found = set()
    for path in (ROOT / "vdeblur").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _writes_in_place(node):
                found.add(path.relative_to(ROOT / "vdeblur").as_posix())
    assert found == set(_WRITE_AT_ONCE)


def _writes_in_place(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in ("write_text", "write_bytes"):
        return True
    modes = [each.value for each in call.args[:2] if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return name == "open" and any(mode[:1] in ("w", "a", "x") and len(mode) <= 3 for mode in modes) and not _of_av(call)


def _of_av(call: ast.Call) -> bool:
    """PyAV's containers: they are given file objects."""
    return isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "av"
