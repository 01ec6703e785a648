"""Words for what must survive of a video's pictures, all of them as the FFmpeg program sees source and result.

``look(path)`` decodes a file with the program and notes what its ``showinfo`` filter says of every frame; the checks
compare two such looks. Nothing here goes through our own reader, so a fault of the reader cannot hide itself.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from vdeblur.frames import dtype_for
from vdeblur.video.formats.pixel_formats import canonical_format

_TIME_BASE = re.compile(r"config in time_base: (\d+)/(\d+)")
_FRAME = re.compile(
    r"\] n: *\d+ pts: *(?P<pts>-?\d+|NOPTS) .*? fmt:(?P<format>\S+) (?:cl:(?P<location>\S+) )?"
    r"sar:(?P<sar>\d+/\d+) s:(?P<width>\d+)x(?P<height>\d+) i:(?P<fields>\S)"
)
_COLOUR = re.compile(r"color_range:(\S+) color_space:(\S+) color_primaries:(\S+) color_trc:(\S+)")
_NUMBER = re.compile(r"-?\d+\.\d+|-?\d+")
#: Side data that says how the pictures are meant to be shown; the words are those of ``showinfo``.
_SHOWN = {"Mastering display": "mastering display", "Content light level": "content light level"}


@dataclass(frozen=True)
class Look:
    """A video as the FFmpeg program decodes it."""

    ticks: tuple[int, ...]
    time_base: Fraction
    format: str
    width: int
    height: int
    #: Range, matrix, primaries, transfer and chroma location; "unknown" where nothing is said.
    colour: dict[str, str]
    sample_aspect_ratio: Fraction
    interlaced: bool
    #: Numbers of what is said beside the first frame, by its name.
    side_data: dict[str, tuple[float, ...]]
    #: Samples of all frames, plane by plane.
    samples: bytes
    #: Samples of all frames as a player shows them: turned and mirrored.
    shown: bytes
    #: All that the program said.
    said: str

    @property
    def seconds(self) -> tuple[Fraction, ...]:
        return tuple(tick * self.time_base for tick in self.ticks)


def look(path: Path, *, index: str = "V:0", pixel_format: str | None = None, turned: bool = False) -> Look:
    """Decode one stream of a file, by default its first video that is no cover.

    ``pixel_format`` is what the samples are repacked to; ``turned`` asks for the pictures as they are shown, too.
    """
    output = ["-map", f"0:{index}", "-fps_mode", "passthrough", *(["-pix_fmt", pixel_format] if pixel_format else [])]
    raw = [*output, "-f", "rawvideo", "-"]
    samples, said = _run("-noautorotate", "-copyts", "-i", str(path), "-vf", "showinfo", *raw)
    shown = _run("-copyts", "-i", str(path), *raw)[0] if turned else b""
    frames = list(_FRAME.finditer(said))
    base = _TIME_BASE.search(said)
    assert frames, f"nothing in {path} can be decoded:\n{said}"
    assert base is not None
    first = frames[0]
    return Look(
        tuple(int(frame["pts"]) for frame in frames), Fraction(int(base[1]), int(base[2])), first["format"],
        int(first["width"]), int(first["height"]), _colour(said, first["location"]),
        Fraction(*map(int, first["sar"].split("/"))) if not first["sar"].endswith("/0") else Fraction(0),
        first["fields"] != "P", _side_data(said), samples, shown, said,
    )  # fmt: skip


def _run(*arguments: str) -> tuple[bytes, str]:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostats", "-nostdin", *arguments]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    return done.stdout, done.stderr.decode(errors="replace")


def _colour(said: str, location: str | None) -> dict[str, str]:
    found = _COLOUR.search(said)
    words = found.groups() if found else ("unknown",) * 4
    location = "unknown" if location in (None, "unspecified") else str(location)
    names = ("range", "matrix", "primaries", "transfer", "chroma location")
    return dict(zip(names, (*words, location), strict=True))


def _side_data(said: str) -> dict[str, tuple[float, ...]]:
    found: dict[str, tuple[float, ...]] = {}
    for line in said.splitlines():
        for words, name in _SHOWN.items():
            if "side data - " in line and words in line and name not in found:
                numbers = _NUMBER.findall(line.split("side data - ")[1].split(words)[1])
                found[name] = tuple(map(float, numbers))
    return found


def plain(name: str) -> str:
    """Format of our frames for FFmpeg's name: what two looks must be repacked to for their samples to compare."""
    return canonical_format(name).name


def mean_difference(one: Look, other: Look, pixel_format: str) -> float:
    """Mean difference of the samples of two looks in ``pixel_format``, as a share of the largest value."""
    layout = canonical_format(pixel_format)
    first, second = (np.frombuffer(seen.samples, dtype_for(layout)).astype(np.float64) for seen in (one, other))
    assert first.size == second.size
    return float(np.abs(first - second).mean() / layout.peak)


def times_differ(one: Look, other: Look) -> Fraction:
    """Largest distance of the frames' times, in seconds."""
    return max(abs(a - b) for a, b in zip(one.seconds, other.seconds, strict=True))


def side_data_equal(one: Look, other: Look) -> bool:
    """Whether the same is said beside the pictures, as finely as AV1 keeps it (sixteen bits, eighteen for light)."""
    if one.side_data.keys() != other.side_data.keys():
        return False
    return all(
        len(numbers) == len(other.side_data[name])
        and all(abs(a - b) < 1e-3 for a, b in zip(numbers, other.side_data[name], strict=True))
        for name, numbers in one.side_data.items()
    )
