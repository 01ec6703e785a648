"""Opening of containers and pictures: failures in one line, and the choice of the video stream."""

from __future__ import annotations

import errno
import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.codec.context import CodecContext
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from vdeblur.errors import SourceError, UsageError
from vdeblur.video.av_compat import open_input
from vdeblur.video.info import SourceInfo
from vdeblur.video.source.access import opening_options, playlist_in
from vdeblur.video.source.limits import claim_options, refused_claim
from vdeblur.video.source.location import SourceLocation

#: A server that says nothing for so long has gone.
NETWORK_TIMEOUT_SECONDS = 30.0
#: Containers without timestamps of their own, which FFmpeg asks for a rate ("…_pipe" formats do too).
_RATELESS = frozenset(
    {"image2", "image2pipe", "h264", "hevc", "vvc", "m4v", "mjpeg", "mpegvideo", "obu", "av1", "dirac"}
)
#: FFmpeg draws text files as pictures; nobody wants that.
_TEXT = frozenset({"tty", "bin", "xbin", "adf", "idf"})
#: Enough to know a playlist.
_HEAD_BYTES = 1024
#: Pictures that nothing in them makes known.
_KNOWN_BY_NAME = frozenset({".tga"})
_NO_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails


def open_container(place: SourceLocation, frame_rate: Fraction | None) -> InputContainer:
    try:
        return _open(place, frame_rate)
    except (av.error.FFmpegError, ValueError) as exc:
        if place.pipe is not None and place.pipe.failure is not None:
            raise_pipe_failure(place.name, place.pipe.failure)
        raise _cannot_open(place, frame_rate, exc) from exc


def _open(place: SourceLocation, frame_rate: Fraction | None) -> InputContainer:
    options = {
        "pattern_type": "none",
        **opening_options(network=place.network, file=place.pipe is None),
        **claim_options(place.file_bytes),
    }
    if frame_rate is not None:
        options["framerate"] = str(frame_rate)
    source: Any = place.pipe if place.pipe is not None else place.url
    timeout = NETWORK_TIMEOUT_SECONDS if place.network else None
    return open_input(source, options=options, timeout=timeout)


def _cannot_open(place: SourceLocation, frame_rate: Fraction | None, exc: Exception) -> SourceError | UsageError:
    if place.pipe is not None and not place.pipe.count:
        return SourceError(f"{place.name} is empty")
    if isinstance(exc, av.error.ProtocolNotFoundError):
        return UsageError(f"this FFmpeg does not know the protocol of {place.name}")
    if (kind := playlist_in(_head(place))) is not None:
        return SourceError(
            f"{place.name} is {kind}; it only names other files, and vdeblur opens no file but the input"
        )
    claim = None
    if place.path is not None:
        claim = refused_claim(lambda: _open(place, frame_rate).close(), place.file_bytes)
    return SourceError(f"cannot read {place.name} as a video: {claim or place.hint or reason_of(exc)}")


def _head(place: SourceLocation) -> bytes:
    """The first bytes of a source, as far as they can be had again."""
    if place.pipe is not None:
        return place.pipe.head
    if place.path is None:
        return b""
    try:
        with place.path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""


def reason_of(exc: Exception) -> str:
    reason = getattr(exc, "strerror", None) or str(exc)
    if getattr(exc, "errno", None) == errno.ETIMEDOUT or isinstance(exc, av.error.ExitError):
        return f"no answer within {NETWORK_TIMEOUT_SECONDS:g} s"
    return str(reason)


def raise_pipe_failure(name: str, failure: BaseException) -> None:
    if isinstance(failure, Exception):
        raise SourceError(f"cannot read {name}: {failure}") from failure
    raise failure


def open_again(info: SourceInfo, **further: str) -> InputContainer:
    """Open a source once more, for what lies beside its video.

    Args:
        further: options of FFmpeg's, e.g. ``probesize="32"``.

    Raises:
        SourceError: it cannot be read any more.
    """
    options = {**info.input_options, **further}
    name, timeout = options.pop("f", None), NETWORK_TIMEOUT_SECONDS
    try:
        return open_input(str(info.input_url), name, options=options, timeout=timeout)
    except (av.error.FFmpegError, ValueError) as exc:
        raise SourceError(f"cannot read {info.name} once more: {reason_of(exc)}") from exc


def check_container(container: InputContainer, place: SourceLocation, frame_rate: Fraction | None) -> None:
    name = container.format.name
    if name in _TEXT:
        raise SourceError(f"{place.name} is text, not video")
    if frame_rate is not None and name not in _RATELESS and not name.endswith("_pipe"):
        raise UsageError(
            f"{place.name} has timestamps of its own; a frame rate is for picture sequences and raw streams"
        )


def choose_video(container: InputContainer, place: SourceLocation, number: int | None = None) -> VideoStream:
    """The default video, else the largest, else the first; never a cover picture.

    Args:
        number: index of the stream to take instead.

    Raises:
        SourceError: there is no video, or FFmpeg has no decoder for it.
        UsageError: the stream of that number is no video.
    """
    videos = [stream for stream in container.streams.video if not stream.disposition & _NO_VIDEO]
    if not videos:
        kinds = sorted({_kind(stream) for stream in container.streams}) or ["nothing"]
        raise SourceError(f"{place.name} holds no video, only {' and '.join(kinds)}")
    if all(stream.disposition & Disposition.dependent for stream in videos):
        raise SourceError(
            f"{place.name} is a picture in tiles, which is not supported; convert it to PNG or JPEG first"
        )
    if number is None:
        chosen = max(videos, key=lambda stream: (_is_default(stream), _area(stream), -stream.index))
    else:
        chosen = _numbered(container, videos, place, number)
    if chosen.codec_context is None:
        raise SourceError(f"FFmpeg has no decoder for the video in {place.name}")
    return chosen


def _numbered(container: InputContainer, videos: list[VideoStream], place: SourceLocation, number: int) -> VideoStream:
    """The video stream of a number.

    Raises:
        UsageError: there is none; the message names those there are.
    """
    for stream in videos:
        if stream.index == number:
            return stream
    other = next((stream for stream in container.streams if stream.index == number), None)
    what = "there is no stream" if other is None else f"stream {number} is {_kind(other)}, not"
    named = " and ".join(f"{stream.index} ({_size(stream)})" for stream in videos)
    wrong = f"{what} {number}" if other is None else f"{what} a video"
    raise UsageError(f"video cannot be {number}: {wrong}; {place.name} has video {named}")


def _size(stream: VideoStream) -> str:
    context: CodecContext | None = stream.codec_context
    if not isinstance(context, VideoCodecContext):
        return "without a decoder"
    return f"{context.name}, {context.width}×{context.height}"


def _is_default(stream: Stream) -> bool:
    return bool(stream.disposition & Disposition.default)


def _area(stream: VideoStream) -> int:
    context: CodecContext | None = stream.codec_context
    return context.width * context.height if isinstance(context, VideoCodecContext) else -1


def _kind(stream: Stream) -> str:
    """The stream's kind for people; a cover is not a video."""
    return "a cover picture" if stream.disposition & Disposition.attached_pic else str(stream.type)


def read_picture(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise SourceError(f"cannot read {path}: {exc.strerror or exc}") from exc


def open_picture(path: Path) -> InputContainer:
    """Open a picture by what it holds, whatever its name."""
    data = read_picture(path)
    if not data:
        raise SourceError(f"{path} is empty")
    try:
        options = opening_options(network=False, file=False) | claim_options(len(data))
        return open_input(io.BytesIO(data), options=options)
    except (av.error.FFmpegError, ValueError) as exc:
        if path.suffix.lower() in _KNOWN_BY_NAME:
            return open_container(SourceLocation(str(path), path=path, url=f"file:{path.absolute()}"), None)
        raise SourceError(f"{path} is no picture FFmpeg can read: {reason_of(exc)}") from exc
