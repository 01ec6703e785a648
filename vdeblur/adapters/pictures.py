"""Picture adapters: dispatch by type (NumPy, torch, Pillow, PyAV, Frame) from pictures to frames and back."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from torch import Tensor

from vdeblur.adapters.arrays import ArrayAdapter, Channels, join_sequence, own_memory, split_sequence
from vdeblur.adapters.pillow import frame_of_image, image_of, is_image
from vdeblur.errors import UsageError
from vdeblur.frames import Frame

if TYPE_CHECKING:
    from PIL.Image import Image

    from vdeblur.video.formats.av_frames import VideoFrame

#: Any picture; what comes out has the type of what went in.
P = TypeVar("P", bound="np.ndarray[Any, Any] | Tensor | Frame | Image | VideoFrame")

#: Kinds, in the words of messages.
ARRAYS, TENSORS, IMAGES, VIDEO_FRAMES, FRAMES = (
    "NumPy arrays", "torch tensors", "PIL images", "av.VideoFrames", "vdeblur.Frames",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class PictureOrigin:
    """The picture that a frame was converted from."""

    picture: Any
    kind: str
    channels: Channels
    #: It has no time of its own, so its frame has a number instead.
    numbered: bool


def frame_of(picture: Any, *, before: Frame | None = None, channels: Channels = "rgb") -> Frame:
    """Convert a picture to a frame in memory of its own: its owner may write the next picture over it.

    Args:
        before: the frame before it in the same stream, which must be of the same kind; None at the first.
        channels: order of the colours in arrays and tensors.

    Raises:
        UsageError: it is no picture, of another kind than those before it, or cannot be given back as it is.
    """
    number = 0 if before is None else before.pts + 1
    kind = kind_of(picture)
    if kind is None:
        raise UsageError(
            f"frame {number} is a {type(picture).__name__}; give {ARRAYS}, {TENSORS}, {IMAGES}, {VIDEO_FRAMES} "
            f"or {FRAMES}"
        )
    if before is not None and kind != (known := _kind_of_frame(before)):
        raise UsageError(f"pictures of one stream are of one kind; these began as {known}, now there are {kind}")
    if isinstance(picture, Frame):
        return replace(picture, planes=tuple(map(own_memory, picture.planes)), origin=None)
    if kind in (ARRAYS, TENSORS):
        picture = own_memory(picture)
    frame = _made(picture, kind, number, channels)
    numbered = kind != VIDEO_FRAMES or not _has_time(picture)
    return replace(frame, origin=PictureOrigin(picture, kind, channels, numbered))


def picture_of(frame: Frame) -> Any:
    """Convert a restored frame to a new picture of its origin's type, with the origin's metadata."""
    origin: PictureOrigin | None = frame.origin
    if origin is None:
        return frame.with_planes([own_memory(plane) for plane in frame.planes])  # copies may follow it
    if origin.kind == IMAGES:
        return image_of(frame, origin.picture)
    if origin.kind == VIDEO_FRAMES:
        from vdeblur.video.formats.av_frames import video_frame_of

        return video_frame_of(frame, origin.picture)
    return ArrayAdapter(origin.channels).picture(frame, origin.picture)


def kind_of(picture: Any) -> str | None:
    """Name of a picture's type for messages; None if it is no picture."""
    if isinstance(picture, np.ndarray):
        return ARRAYS
    if isinstance(picture, Tensor):
        return TENSORS
    if isinstance(picture, Frame):
        return FRAMES
    if is_image(picture):
        return IMAGES
    return VIDEO_FRAMES if _is_video_frame(picture) else None


def split(item: Any) -> Sequence[Any]:
    """Split an item of a stream, which may be a sequence (T, H, W, C) or (T, C, H, W), into its pictures."""
    return split_sequence(item) if isinstance(item, (np.ndarray, Tensor)) else [item]


def join(pictures: Sequence[Any]) -> Any:
    """Inverse of :func:`split`."""
    return pictures[0] if len(pictures) == 1 else join_sequence(pictures)


def number_of(frame: Frame) -> int | None:
    """Number of a frame in its stream, if it has that instead of a timestamp; else None."""
    return frame.pts if frame.origin is not None and frame.origin.numbered else None


def _kind_of_frame(frame: Frame) -> str:
    return FRAMES if frame.origin is None else str(frame.origin.kind)


def _is_video_frame(picture: Any) -> bool:
    """Without loading PyAV for those who have not."""
    if "av" not in sys.modules:
        return False
    from vdeblur.video.formats.av_frames import is_video_frame

    return is_video_frame(picture)


def _has_time(picture: Any) -> bool:
    from vdeblur.video.formats.av_frames import has_time

    return has_time(picture)


def _made(picture: Any, kind: str, number: int, channels: Channels) -> Frame:
    if kind == IMAGES:
        return frame_of_image(picture, number)
    if kind == VIDEO_FRAMES:
        from vdeblur.video.formats.av_frames import frame_of_video_frame

        return frame_of_video_frame(picture, number)
    return ArrayAdapter(channels).frame(picture, number)
