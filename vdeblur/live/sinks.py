"""Live sinks: window (ffplay), raw pipe, virtual camera, recording, and before/after comparison."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np

from vdeblur.errors import TargetError, UsageError
from vdeblur.frames import Frame
from vdeblur.live.types import LiveFrame, LiveSink, NobodyWatches
from vdeblur.pipeline.comparison import CompareMode, Comparison
from vdeblur.video.encode.encoder_options import EncodeOptions
from vdeblur.video.ffmpeg.process import CREATION_FLAGS, NEW_SESSION, write_all
from vdeblur.video.realtime.raw_pipe import TICKS, PipeFormat, RawPipe
from vdeblur.video.realtime.uniform_frames import YUV420, UniformFrames, described
from vdeblur.video.sink.writer import Writer
from vdeblur.video.sink.written_video import written_video

#: ffplay shows each picture when it comes, and gathers none.
_FFPLAY = (
    "-hide_banner -loglevel error -f nut -probesize 32 -analyzeduration 0 -fflags nobuffer -flags low_delay -framedrop "
    "-vf setpts=0"
)
#: How long a window may take to close by itself.
_CLOSING_SECONDS = 2.0
#: What ffplay ends with when its window is closed or q is pressed, in some versions.
_QUIT = 123


class PipeSink:
    """Raw video on a byte stream such as standard output. The session ends with its reader (broken pipe)."""

    vital = True

    def __init__(
        self,
        out: IO[bytes],
        kind: PipeFormat = "nut",
        *,
        name: str = "standard output",
        rate: Callable[[], Fraction | None] = lambda: None,
    ) -> None:
        self.name = name
        self._pipe = RawPipe(lambda data: write_all(out, data), kind, rate=rate)
        self._began: float | None = None

    def show(self, shown: LiveFrame) -> None:
        if self._began is None:
            self._began = shown.taken.at
        self._pipe.write(shown.sharp, shown.taken.at - self._began)

    def close(self) -> None:
        self._pipe.close()


class WindowSink:
    """A window of ``ffplay``. Closing the window ends the session.

    Raises:
        UsageError: there is no ``ffplay``.
    """

    name = "window"
    vital = True

    def __init__(self, title: str = "vdeblur", *, program: str = "ffplay") -> None:
        path = shutil.which(program)
        if path is None:
            raise UsageError(f"a window needs {program}, which comes with FFmpeg; install it, or open the page instead")
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the window)
        command = [path, *_FFPLAY.split(), "-window_title", title, "-i", "pipe:0"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._messages,
            bufsize=0,
            creationflags=CREATION_FLAGS,
            start_new_session=NEW_SESSION,
        )
        assert self._process.stdin is not None
        self._stdin: IO[bytes] = self._process.stdin
        self._sink = PipeSink(self._stdin, name=self.name)

    def show(self, shown: LiveFrame) -> None:
        try:
            self._sink.show(shown)
        except OSError as exc:
            self._ended(exc)

    def close(self) -> None:
        self._sink.close()
        self._stop()

    def _ended(self, exc: OSError) -> None:
        """Say why there is no window any more.

        Raises:
            Unwatched: it has been closed.
            TargetError: it could not be opened.
        """
        status = self._process.wait(_CLOSING_SECONDS)
        self._messages.seek(0)
        words = self._messages.read().decode(errors="replace").strip().splitlines()
        if status in (0, _QUIT) or not words:
            raise NobodyWatches from exc
        raise TargetError(f"ffplay cannot open a window: {words[-1]}") from exc

    def _stop(self) -> None:
        process = self._process
        with contextlib.suppress(OSError):
            self._stdin.close()
        process.terminate()
        try:
            process.wait(_CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._messages.close()


class VirtualCameraSink:
    """A camera that other programs see: v4l2loopback on Linux, that of OBS elsewhere.

    Args:
        device: of v4l2loopback, e.g. "/dev/video2"; ``None`` = the first there is.

    Raises:
        UsageError: pyvirtualcam is not installed.
    """

    vital = False

    def __init__(self, device: str | None = None, *, fps: float = 30.0) -> None:
        try:
            self._library: Any = importlib.import_module("pyvirtualcam")
        except ImportError as exc:
            raise UsageError("a virtual camera needs pyvirtualcam: pip install 'vdeblur[camera]'") from exc
        self.name = f"virtual camera{f' {device}' if device else ''}"
        self._device, self._fps = device, fps
        self._plain = UniformFrames(YUV420)
        self._camera: Any = None

    def show(self, shown: LiveFrame) -> None:
        frame = self._plain(shown.sharp)
        if self._camera is None:
            self._camera = self._opened(frame)
        # Programs on the other side take even sizes only.
        height, width = frame.height & ~1, frame.width & ~1
        shapes = [frame.format.plane_shape(index, height, width) for index in range(3)]
        parts = zip(frame.planes, shapes, strict=True)
        self._camera.send(np.concatenate([plane[:rows, :columns].reshape(-1) for plane, (rows, columns) in parts]))

    def _opened(self, frame: Frame) -> Any:
        try:
            return self._library.Camera(
                width=frame.width & ~1,
                height=frame.height & ~1,
                fps=self._fps,
                fmt=self._library.PixelFormat.I420,
                device=self._device,
            )
        except (RuntimeError, ValueError, OSError) as exc:
            hint = "sudo modprobe v4l2loopback" if sys.platform == "linux" else "start the virtual camera of OBS once"
            raise TargetError(f"there is no {self.name}: {str(exc).splitlines()[0]}; {hint}") from exc

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()


class RecordingSink:
    """A file of every restored frame, with the times at which they came; the picture never waits for it.

    Another size begins another file: out.mp4, out-2.mp4. A file appears under its name when it is finished.

    Args:
        note: callback for messages about conversions.

    Raises:
        UsageError: the file is there, or its folder is not.
    """

    every = True
    vital = False

    def __init__(
        self,
        path: str | Path,
        *,
        encode: EncodeOptions | None = None,
        overwrite: bool = False,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self._path = Path(path)
        self.name = str(path)
        self._encode, self._overwrite, self._note = encode, overwrite, note
        self._numbers = itertools.count(1)
        self._writer: Writer | None = None
        self._layout: Frame | None = None
        self._began = 0.0
        self._last = -1
        if self._path.exists() and not overwrite:
            raise UsageError(f"{path} exists; -y replaces it")
        if not self._path.absolute().parent.is_dir():
            raise UsageError(f"there is no folder {self._path.absolute().parent}; create it first")

    def show(self, shown: LiveFrame) -> None:
        if self._layout is not None and not shown.sharp.same_layout(self._layout):
            self.close()
        if self._writer is None:
            self._begin(shown)
        assert self._writer is not None
        self._last = max(self._last + 1, round((shown.taken.at - self._began) * TICKS))
        self._writer.write(_at(shown.sharp, self._last))

    def _begin(self, shown: LiveFrame) -> None:
        self._layout, self._began, self._last = shown.sharp, shown.taken.at, -1
        number, first = next(self._numbers), _at(shown.sharp, 0)
        path = self._path if number == 1 else self._path.with_stem(f"{self._path.stem}-{number}")
        self._writer = Writer(
            path,
            info=described(first, None, "the live picture"),
            frame_format=first.format,
            colour=first.colour,
            width=first.width,
            height=first.height,
            time_base=first.time_base,
            options=self._encode,
            overwrite=self._overwrite,
        )
        self.name = str(path)
        if self._note is not None:
            for words in self._writer.notes:
                self._note(f"{path}: {words}")

    def close(self) -> None:
        """Finish the file, and put it into place."""
        writer, self._writer, self._layout = self._writer, None, None
        if writer is not None:
            writer.close()
            if self._note is not None and (video := written_video(Path(self.name))) is not None:
                self._note(f"{self.name}: recorded, {video.words}")


class ComparisonSink:
    """Wraps a sink to show before and after in one picture."""

    def __init__(self, sink: LiveSink, mode: CompareMode) -> None:
        self._sink, self._mode = sink, mode
        self.every, self.vital = getattr(sink, "every", False), getattr(sink, "vital", False)
        self._comparison: Comparison | None = None
        self._format: object = None

    @property
    def name(self) -> str:
        return self._sink.name

    def show(self, shown: LiveFrame) -> None:
        before = shown.taken.frame
        if self._comparison is None or before.format != self._format:
            self._comparison, self._format = Comparison(self._mode, before.format), before.format
        self._sink.show(replace(shown, sharp=self._comparison.draw(before, shown.sharp)))

    def close(self) -> None:
        self._sink.close()


def _at(frame: Frame, tick: int) -> Frame:
    return replace(frame, pts=tick, time_base=Fraction(1, TICKS), duration=0)
