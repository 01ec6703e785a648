"""PyAV compatibility: rationals, metadata, side data and opening, alike under PyAV 18 and 19.

PyAV 19 gives every rational as its own ``AVRational``, 0 where nothing is known; 18 gives a ``Fraction`` or ``None``.
It also keeps bytes of metadata that are not UTF-8 as lone surrogates, where 18 replaced them on request, iterates side
data by kind instead of by item, and its filter graphs do not end by themselves. Everything in ``video/`` reads such
values of PyAV through here; PyAV's setters take a ``Fraction`` in both.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from fractions import Fraction
from itertools import count
from typing import Any, Protocol, cast

import av
from av.container import Container, InputContainer
from av.filter import Graph
from av.sidedata.sidedata import SideData, SideDataContainer
from av.stream import Stream

_MAJOR = int(av.__version__.partition(".")[0])
#: PyAV 18 raises on metadata that is not UTF-8 unless it is told otherwise; 19 has no such argument.
_REPLACING = {"metadata_errors": "replace"} if _MAJOR < 19 else {}


class Rational(Protocol):
    """PyAV 19's ``AVRational`` and Python's ``Fraction``, for type checkers."""

    @property
    def numerator(self) -> int: ...

    @property
    def denominator(self) -> int: ...


def fraction_or_none(value: Rational | None) -> Fraction | None:
    """A rational of PyAV as a ``Fraction``; ``None`` where it is unset: ``None``, 0/1, 1/0 or 0/0."""
    if value is None or not value.numerator or not value.denominator:
        return None
    return Fraction(value.numerator, value.denominator)


def open_input(
    source: Any,
    format: str | None = None,
    *,
    options: dict[str, str] | None = None,
    timeout: float | tuple[float, float] | None = None,
) -> InputContainer:
    """Open a container for reading, whatever the encoding of its metadata; read that with :func:`tags_of`.

    Args:
        source: URL, path or file object.
        format: FFmpeg's name of the demuxer; ``None`` = it finds out.
        timeout: seconds without an answer, or (while opening, while reading).

    Raises:
        av.error.FFmpegError: FFmpeg cannot open it.
        ValueError: PyAV cannot.
    """
    opened: Any = av.open
    return cast(InputContainer, opened(source, "r", format, options=options, timeout=timeout, **_REPLACING))


def tags_of(holder: Container | Stream) -> dict[str, str]:
    """Metadata of a container or stream; bytes that are not UTF-8 become U+FFFD."""
    return {_readable(name): _readable(value) for name, value in holder.metadata.items()}


def _readable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def stored_bytes(container: InputContainer) -> int | None:
    """Length of an opened source in bytes; ``None`` where FFmpeg cannot tell, as of a pipe."""
    size: int | None = container.size  # negative in PyAV 18
    return size if size is not None and size >= 0 else None


def side_data_container(frame: av.VideoFrame) -> Any:
    """All side data of a frame, which the frame itself does not remember.

    What ``frame.side_data`` returns and the frame hold each other, so that each picture would stay in memory until the
    garbage collector looks.

    Raises:
        ValueError: PyAV 18 does not know the kind of one of them.
    """
    return cast(Any, SideDataContainer)(frame)


def side_data_items(frame: av.VideoFrame) -> Iterator[SideData]:
    """Each item of a frame's side data, in the frame's order.

    Raises:
        ValueError: PyAV 18 does not know the kind of one of them.
    """
    items = side_data_container(frame)
    for index in count():  # PyAV 18 counts items, 19 kinds
        try:
            yield items[index]
        except IndexError:
            return


def release_graph(graph: Graph) -> None:
    """Let go of a filter graph that nobody else uses, with its threads and the frames in it.

    In PyAV 19 a graph and its filters hold each other, and it would stay until the garbage collector looks.
    """
    for held in gc.get_referents(graph):
        if isinstance(held, dict):  # of its filters
            held.clear()
