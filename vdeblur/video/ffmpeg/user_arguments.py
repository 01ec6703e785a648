"""User's FFmpeg options, sorted into those of the video encoder and all others.

A video made in pieces is encoded by one command and put together by another; each must get its own options only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

#: Options of video encoders that mean the same for a piece as for the whole.
_VIDEO = frozenset({
    "tune", "profile", "level", "x264-params", "x265-params", "x264opts", "svtav1-params", "aom-params", "g",
    "keyint_min", "bf", "refs", "b", "maxrate", "bufsize", "qmin", "qmax", "aq-mode", "aq-strength", "pix_fmt",
    "threads", "row-mt", "tiles", "tile-columns", "cpu-used", "deadline", "rc-lookahead", "psy-rd", "deblock", "coder",
    "context", "slices", "slicecrc", "qp", "q", "qscale",
})  # fmt: skip
#: Options of the whole file, and of sound where no stream is named.
_OTHERS = frozenset({"ac", "ar", "metadata", "movflags", "brand", "write_tmcd", "cluster_size_limit"})


class UserArguments(NamedTuple):
    """Options with their values, as FFmpeg takes them."""

    #: For the video's encoder.
    video: tuple[str, ...]
    #: For other streams and the file.
    others: tuple[str, ...]
    #: An option that may be about the whole of the video, so that it cannot be made in pieces.
    unknown: str | None


def sort_arguments(arguments: Sequence[str]) -> UserArguments:
    """Sort "-name value" pairs; what is not known to be for one or the other is ``unknown``."""
    video: list[str] = []
    others: list[str] = []
    words = list(arguments)
    while words:
        option = words.pop(0)
        name, _, specifier = option.removeprefix("-").partition(":")
        if not option.startswith("-") or not words:
            return UserArguments((), (), option)
        if specifier[:1] in ("a", "s", "t", "d") or (name in _OTHERS and not specifier):
            others += [option, words.pop(0)]
        elif name in _VIDEO and specifier in ("", "v", "v:0"):
            video += [option, words.pop(0)]
        else:
            return UserArguments((), (), option)
    return UserArguments(tuple(video), tuple(others), None)
