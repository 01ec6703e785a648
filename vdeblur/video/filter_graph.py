"""FFmpeg filter graph: a chain of filters for video frames of one size and pixel format."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import av
import av.filter

from vdeblur.video.av_compat import release_graph


class FilterGraph:
    """A chain of filters; it and its threads end with the last reference to it.

    Args:
        like: a frame of the size and pixel format that will be pushed.
        filters: names of filters and their arguments in turn.
        time_base: of the frames that will be pushed.

    Raises:
        av.error.FFmpegError, ValueError: FFmpeg has no such filter, or it refuses these frames.
    """

    def __init__(self, like: av.VideoFrame, *filters: str, time_base: Fraction = Fraction(1, 1000)) -> None:
        self._graph: Any = av.filter.Graph()
        nodes = [
            self._graph.add_buffer(width=like.width, height=like.height, format=like.format, time_base=time_base),
            *(self._graph.add(name, words) for name, words in zip(filters[0::2], filters[1::2], strict=True)),
            self._graph.add("buffersink"),
        ]
        for one, other in pairwise(nodes):
            one.link_to(other)
        self._graph.configure()

    def __del__(self) -> None:
        release_graph(self._graph)

    def push(self, picture: av.VideoFrame | None) -> None:
        """Give the next frame; ``None`` is the end of them."""
        self._graph.push(picture)

    def pull(self) -> list[av.VideoFrame]:
        """All frames that are ready."""
        pictures = []
        while True:
            try:
                pictures.append(self._graph.pull())
            except (av.error.BlockingIOError, av.error.EOFError):
                return pictures
