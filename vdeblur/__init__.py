"""vdeblur takes the motion blur out of video, streaming, and keeps everything else as it was.

Three ways in::

    vdeblur.deblur_video("shaky.mp4", "sharp.mp4")       # a file, with its sound and all else
    vdeblur.deblur_frames(pictures)                       # any iterable of arrays, tensors, images, frames
    vdeblur.Deblurrer("fast").step(picture)               # one by one, state kept

For several streams there is ``deblur_streams``, for event loops ``adeblur_frames``.

Importing the package is quick: PyTorch is loaded with the first name that needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vdeblur.errors import (
    DeviceError,
    Interrupted,
    NetworkError,
    SourceError,
    TargetError,
    UsageError,
    VdeblurError,
)

if TYPE_CHECKING:
    from vdeblur.engine.deblurrer import Deblurrer
    from vdeblur.frames import Colour, Frame, PixelFormat
    from vdeblur.library.async_generators import adeblur_frames
    from vdeblur.library.generators import FrameOptions, deblur_frames, deblur_streams
    from vdeblur.pipeline.deblur_video import Progress, Report, deblur_video
    from vdeblur.video.encode.encoder_options import EncodeOptions
    from vdeblur.video.info import SourceInfo
    from vdeblur.video.sink.writer import Writer
    from vdeblur.video.source.reader import Reader, probe

__version__ = "0.1.0"

__all__ = [
    "Colour",
    "Deblurrer",
    "DeviceError",
    "EncodeOptions",
    "Frame",
    "FrameOptions",
    "Interrupted",
    "NetworkError",
    "PixelFormat",
    "Progress",
    "Reader",
    "Report",
    "SourceError",
    "SourceInfo",
    "TargetError",
    "UsageError",
    "VdeblurError",
    "Writer",
    "adeblur_frames",
    "deblur_frames",
    "deblur_streams",
    "deblur_video",
    "probe",
]

#: Where each name lives that is loaded when it is first used.
_HOMES = {
    "Colour": "vdeblur.frames",
    "Deblurrer": "vdeblur.engine.deblurrer",
    "EncodeOptions": "vdeblur.video.encode.encoder_options",
    "Frame": "vdeblur.frames",
    "FrameOptions": "vdeblur.library.generators",
    "PixelFormat": "vdeblur.frames",
    "Progress": "vdeblur.pipeline.deblur_video",
    "Reader": "vdeblur.video.source.reader",
    "Report": "vdeblur.pipeline.deblur_video",
    "SourceInfo": "vdeblur.video.info",
    "Writer": "vdeblur.video.sink.writer",
    "adeblur_frames": "vdeblur.library.async_generators",
    "deblur_frames": "vdeblur.library.generators",
    "deblur_streams": "vdeblur.library.generators",
    "deblur_video": "vdeblur.pipeline.deblur_video",
    "probe": "vdeblur.video.source.reader",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vdeblur' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
