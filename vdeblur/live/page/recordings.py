"""Recording sink of the page: writes every restored frame to an MP4, with the capture timestamps."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from vdeblur.errors import TargetError, VdeblurError
from vdeblur.frames import Frame
from vdeblur.live.types import LiveFrame
from vdeblur.video.encode.encoder_options import EncodeOptions
from vdeblur.video.realtime.uniform_frames import described
from vdeblur.video.sink.writer import Writer

#: The network needs the machine more; at this quality the eye sees no loss.
_CODEC, _QUALITY, _PRESET = "h264", 18.0, "veryfast"
#: The one format that every browser and phone plays; it has no odd sizes.
_PLAYABLE = "yuv420p"
_TICK = Fraction(1, 90_000)
#: A longer step between two frames is a pause, or another clock.
_LONGEST_STEP_SECONDS = 2.0
#: A recording that nobody ends.
_LONGEST_SECONDS = 2 * 3600.0


class Recording:
    """A sink that writes every frame it is shown to a file.

    The recording ends at a change of size or format, or after two hours.
    """

    name = "recording"
    every = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Writer | None = None
        self._first: Frame | None = None
        self._before: LiveFrame | None = None
        self._failure: VdeblurError | None = None
        self._full = False
        #: Length so far.
        self.seconds = 0.0

    def show(self, shown: LiveFrame) -> None:
        frame = shown.sharp
        if self._writer is None and not self._full:
            self._first, self._writer = frame, _writer_for(self._path, frame)
        if self._writer is None or self._first is None:
            return
        if not frame.same_layout(self._first) or self.seconds > _LONGEST_SECONDS:
            self._finish()
            return
        self.seconds += self._step_to(shown)
        self._before = shown
        pts = round(self.seconds / _TICK)
        self._writer.write(replace(frame, pts=pts, time_base=_TICK, duration=0))

    def close(self) -> None:
        self._finish()

    def check(self) -> None:
        """Raise TargetError if the file could not be written."""
        if self._failure is not None:
            raise TargetError(f"the recording could not be written: {self._failure}") from self._failure

    def _step_to(self, shown: LiveFrame) -> float:
        """Seconds from the frame before; by the frames' own times where these make sense."""
        if self._before is None:
            return 0.0
        step = shown.sharp.time_seconds - self._before.sharp.time_seconds
        if not 0 < step < _LONGEST_STEP_SECONDS:
            step = min(max(0.001, shown.taken.at - self._before.taken.at), _LONGEST_STEP_SECONDS)
        return step

    def _finish(self) -> None:
        writer, self._writer, self._full = self._writer, None, True
        if writer is not None:
            try:
                writer.close()
            except VdeblurError as exc:
                self._failure = exc
                with contextlib.suppress(VdeblurError):
                    writer.abort()


def _writer_for(path: Path, frame: Frame) -> Writer:
    playable = frame.width % 2 == 0 and frame.height % 2 == 0
    options = EncodeOptions(codec=_CODEC, crf=_QUALITY, preset=_PRESET, pixel_format=_PLAYABLE if playable else None)
    return Writer(
        path,
        info=described(replace(frame, pts=0, time_base=_TICK), None, "the live picture"),
        frame_format=frame.format,
        colour=frame.colour,
        width=frame.width,
        height=frame.height,
        time_base=_TICK,
        options=options,
    )
