"""Sources that change while they are read, and targets that cannot be written: a result or one line, nothing lost."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.doubles import Identity
from support.media.clips import clip, copy_of, ffmpeg
from support.media.writing import copy, leftovers, packets, read_all, writer_for
from support.wall_clock import patience
from vdeblur.errors import SourceError, TargetError, VdeblurError
from vdeblur.pipeline.deblur_video import Report, deblur_video
from vdeblur.video.encode.encoder_options import EncodeOptions
from vdeblur.video.source.reader import Reader

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a file that is open from being changed")


class Event(Identity):
    """A network in whose first frame something happens to the world."""

    def __init__(self, happens: Callable[[], object]) -> None:
        super().__init__()
        self._happens: Callable[[], object] | None = happens

    def encode(self, frame: Any) -> Any:
        if self._happens is not None:
            happens, self._happens = self._happens, None
            happens()
        return super().encode(frame)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Too long to be in any queue or buffer at once: 400 frames of noise with sound, index in front."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=size=160x96:rate=25,noise=alls=60:allf=t", "-f", "lavfi", "-i", "sine"),
        *("-frames:v", "150", "-t", "6", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p"),
        *("-c:a", "aac", "-movflags", "+faststart", str(path)),
    )
    return path


def restored(source: Any, target: Any, happens: Callable[[], object] = lambda: None, **options: Any) -> Report:
    options.setdefault("encode", EncodeOptions(codec="libx264", preset="ultrafast"))
    return deblur_video(source, target, model=Event(happens), device="cpu", precision="float32", **options)


# Sources


@POSIX
def test_a_source_deleted_while_it_is_read(long: Path, tmp_path: Path) -> None:
    """FFmpeg and PyAV hold it open once the first frame is on its way."""
    source = copy_of(long, tmp_path, "gone.mp4")
    with Reader(source) as reader:
        first = next(reader)
        source.unlink()
        assert len(list(reader)) == 149
        with pytest.raises(SourceError, match=r"gone\.mp4 has been removed since work began"):
            writer_for(tmp_path / "out.mp4", first, info=reader.info)
    source = copy_of(long, tmp_path, "late.mp4")
    with Reader(source) as reader, writer_for(tmp_path / "out.mp4", first, info=reader.info) as writer:
        for number, frame in enumerate(reader):
            writer.write(frame)
            if number == 40:
                source.unlink()
    assert len(read_all(tmp_path / "out.mp4")) == 150
    assert packets(tmp_path / "out.mp4", 1) == packets(long, 1)
    assert sorted(os.listdir(tmp_path)) == ["out.mp4"]


@POSIX
def test_another_file_in_its_place(long: Path, tmp_path: Path) -> None:
    """The sound of another file must not be joined to these frames."""
    source = copy_of(long, tmp_path, "in.mp4")

    def replace() -> None:
        other = copy_of(clip("h264_audio", frames=5), tmp_path, "other.mp4")
        other.replace(source)

    with pytest.raises(SourceError, match=r"in\.mp4 is another file since work began"):
        restored(source, tmp_path / "out.mp4", replace)
    assert sorted(os.listdir(tmp_path)) == ["in.mp4"]


@POSIX
def test_a_source_that_becomes_shorter(long: Path, tmp_path: Path) -> None:
    source = copy_of(long, tmp_path, "in.mp4")
    with pytest.raises(VdeblurError) as caught:
        restored(source, tmp_path / "out.mp4", lambda: os.truncate(source, long.stat().st_size // 3))
    assert "shorter" in str(caught.value) or "Invalid data" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["in.mp4"]


@POSIX
def test_a_source_overwritten_with_rubbish(long: Path, tmp_path: Path) -> None:
    source = copy_of(long, tmp_path, "in.mp4")

    def spoil() -> None:
        with source.open("r+b") as file:
            file.seek(long.stat().st_size // 3)
            file.write(os.urandom(long.stat().st_size // 3))

    try:
        report = restored(source, tmp_path / "out.mp4", spoil)
        assert report.frames <= 150
        assert sorted(os.listdir(tmp_path)) == ["in.mp4", "out.mp4"]
    except VdeblurError as exc:
        assert len(str(exc).splitlines()) == 1  # noqa: PT017
        assert sorted(os.listdir(tmp_path)) == ["in.mp4"]


@pytest.mark.parametrize("ending", ["mkv", "ts"])
def test_a_recording_that_goes_on(ending: str, long: Path, tmp_path: Path) -> None:
    """Everything that was there at the end of the reading is there, and a note says that there may be more."""
    whole, source = tmp_path / f"whole.{ending}", tmp_path / f"in.{ending}"
    ffmpeg("-i", str(long), "-c", "copy", *(["-f", "matroska", "-live", "1"] if ending == "mkv" else []), str(whole))
    data = whole.read_bytes()
    source.write_bytes(data[: len(data) * 2 // 3])
    before = len(read_all(source))

    def record() -> None:
        with source.open("ab") as file:
            file.write(data[len(data) * 2 // 3 : -1000])

    report = restored(source, tmp_path / "out.mkv", record)
    assert before <= report.frames <= 150
    assert len(read_all(tmp_path / "out.mkv")) == report.frames
    assert any("has grown while it was read" in note for note in report.notes), report.notes
    assert leftovers(tmp_path) == []


# Targets


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of a megabyte; only root may make one."""
    import subprocess

    folder = Path(tempfile.mkdtemp(prefix="vdeblur disk "))
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if made.returncode:
        folder.rmdir()
        pytest.skip("no leave to mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


@LINUX
@pytest.mark.parametrize("name", ["out.mkv", "out.mp4", "p%03d.png"])
def test_a_full_disk(name: str, long: Path, small_disk: Path) -> None:
    (small_disk / "old.txt").write_text("keep me")
    with pytest.raises(TargetError, match="No space left on device"):
        restored(long, small_disk / name, encode=EncodeOptions(codec="ffv1" if name == "out.mkv" else None))
    assert os.listdir(small_disk) == ["old.txt"]


@LINUX
def test_a_full_temporary_folder(small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials and covers are written there; the target has room."""
    (small_disk / "fill").write_bytes(bytes((1 << 20) - 8192))
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    with pytest.raises(VdeblurError) as caught:
        copy(clip("cover"), tmp_path / "out.mkv", codec="ffv1", limit=3)
    assert "No space left on device" in str(caught.value), caught.value
    assert "\n" not in str(caught.value)
    assert os.listdir(small_disk) == ["fill"]
    assert os.listdir(tmp_path) == []


@LINUX
def test_a_target_on_another_file_system(small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is begun beside the target is renamed there, and temporary files lie elsewhere."""
    assert small_disk.stat().st_dev != tmp_path.stat().st_dev
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("out.mkv", "out.mp4"):
        copy(clip("cover"), small_disk / name, limit=3)
        assert len(read_all(small_disk / name)) == 3
    link = tmp_path / "link.mp4"
    link.symlink_to(small_disk / "behind.mp4")
    copy(clip("h264", frames=3), link)
    assert len(read_all(small_disk / "behind.mp4")) == 3
    assert sorted(os.listdir(small_disk)) == ["behind.mp4", "out.mkv", "out.mp4"]
    assert os.listdir(tmp_path) == ["link.mp4"]


@LINUX
def test_a_disk_that_may_not_be_written(small_disk: Path, tmp_path: Path) -> None:
    """A file system mounted to be read only refuses even root."""
    import subprocess

    shutil.copy(clip("h264", frames=3), small_disk / "in.mp4")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for name in ("out.mp4", "p%03d.png", "in2.mkv"):
        with pytest.raises(TargetError, match="Read-only file system"):
            copy(small_disk / "in.mp4", small_disk / name)
    copy(small_disk / "in.mp4", tmp_path / "out.mp4")
    assert os.listdir(small_disk) == ["in.mp4"]


@LINUX
def test_no_file_may_be_large(long: Path, tmp_path: Path) -> None:
    """The limit of a shell (ulimit -f): FFmpeg is ended by a signal, or told that the file is too large."""
    import subprocess

    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000));"
        "from vdeblur.cli.app import run_command_line; sys.exit(run_command_line(sys.argv[1:]))"
    )
    options = ["--strength", "0", "--device", "cpu", "--duration", "2", "--preset", "ultrafast", "--crf", "1", "-q"]
    command = [sys.executable, "-c", code, str(long), "-o", str(tmp_path / "out.mp4"), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patience(120))
    assert done.returncode == 4, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "File too large" in done.stderr or "SIGXFSZ" in done.stderr
    assert os.listdir(tmp_path) == []
