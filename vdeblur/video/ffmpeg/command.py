"""FFmpeg command line of a job, built with ffmpeg-python and started here alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ffmpeg

from vdeblur.video.ffmpeg.executable import find_ffmpeg
from vdeblur.video.ffmpeg.process import COUNTING

_PIPE, _SOURCE, _COPY, _OUTPUT = "<pipe>", "<source>", "<copy>", "<output>"


@dataclass(frozen=True)
class Input:
    """Something FFmpeg opens: what follows ``-i`` and the options before it, without dashes."""

    url: str
    options: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class OutputStream:
    """One stream of the output, in the output's order."""

    #: Which stream of which input: the pipe's, that of a re-timed copy, or the source's.
    index: int
    from_pipe: bool = False
    from_copy: bool = False
    #: "video", "audio" …
    kind: str = "video"
    #: Output options of this stream, without dashes and specifier, e.g. {"c": "copy"}.
    options: Mapping[str, str] = field(default_factory=dict)
    #: Stream of the source whose tags it gets; ``None`` = its own.
    tags_of: int | None = None
    #: Further tags, "key=value"; an empty value takes a tag away.
    tags: tuple[str, ...] = ()

    @property
    def input_name(self) -> str:
        """A word for the input it comes from."""
        return _PIPE if self.from_pipe else _COPY if self.from_copy else _SOURCE


def input_numbers(streams: Sequence[OutputStream]) -> dict[str, int]:
    """FFmpeg's number of each input, by :attr:`OutputStream.input_name`: inputs count as their first streams come."""
    names = dict.fromkeys([*(stream.input_name for stream in streams), _SOURCE])
    return {name: number for number, name in enumerate(names)}


@dataclass(frozen=True)
class Output:
    """The file that is written."""

    url: str
    muxer: str
    #: Options of the whole output, without dashes.
    options: Mapping[str, str] = field(default_factory=dict)
    #: Tags of the whole file, "key=value"; an empty value takes a tag away.
    tags: tuple[str, ...] = ()
    #: Options without a value for the builder, for they occur more than once.
    words: tuple[str, ...] = ()
    #: Files to attach, each with its tags.
    attachments: tuple[tuple[str, tuple[str, ...]], ...] = ()
    #: The user's own options; they come last and have the last word.
    extra: tuple[str, ...] = ()


def build_command(
    pipe: Input,
    streams: Sequence[OutputStream],
    output: Output,
    *,
    source: Input | None = None,
    copy: Input | None = None,
    video_index: int = 0,
) -> list[str]:
    """Command that reads the video from ``pipe``, raw frames in NUT unless it says otherwise, the rest from ``source``.

    ``video_index`` is the stream of the source that the frames replace. Tags and chapters come from the source, and
    streams that say so from its re-timed ``copy``.
    """
    # The builder takes text only, and names of files may be none: it gets stand-ins.
    urls = {_PIPE: pipe.url, _OUTPUT: output.url}
    inputs = {_PIPE: ffmpeg.input(_PIPE, **{"format": "nut", **pipe.options})}
    options: dict[str, Any] = dict(output.options)
    for name, other in ((_SOURCE, source), (_COPY, copy)):
        if other is not None:
            urls[name] = other.url
            inputs[name] = ffmpeg.input(name, **other.options)
    edges = [inputs[stream.input_name][str(stream.index)] for stream in streams]
    if source is not None:
        # Mapped and taken away again: an input of which nothing is mapped would not be opened, and its tags lost.
        edges.append(inputs[_SOURCE][str(video_index)])
        number = input_numbers(streams)[_SOURCE]
        options = {"map_chapters": str(number)} | options
        options |= {"map": f"-{number}:{video_index}", "map_metadata": str(number)}
        for position, stream in enumerate(streams):
            if stream.tags_of is not None:
                options[f"map_metadata:s:{position}"] = f"{number}:s:{stream.tags_of}"
    for position, stream in enumerate(streams):
        options |= {f"{name}:{position}": value for name, value in stream.options.items()}
    built = ffmpeg.output(*edges, _OUTPUT, format=output.muxer, **options)
    # Times pass through as they are; nothing is dropped, repeated, shifted or stretched.
    compiled: list[str] = ffmpeg.compile(built, cmd=[str(find_ffmpeg()), *COUNTING, "-copyts"])
    command = [urls.get(word, word) for word in compiled]
    return [*command[:-1], *_repeated(streams, output), *output.extra, command[-1]]


def _repeated(streams: Sequence[OutputStream], output: Output) -> Iterator[str]:
    """Options that may occur more than once, which the builder has no words for."""
    for tag in output.tags:
        yield from ("-metadata", tag)
    yield from output.words
    for url, _ in output.attachments:
        yield from ("-attach", url)
    tags = [stream.tags for stream in streams] + [tags for _, tags in output.attachments]
    for position, group in enumerate(tags):
        for tag in group:
            yield from (f"-metadata:s:{position}", tag)


def file_url(path: str) -> str:
    """A path as FFmpeg takes it, whatever characters it has."""
    return f"file:{path}"
