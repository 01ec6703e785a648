"""Every kind of video file: its pictures, their times and all that is said about them survive.

One row of the table in ``corpus_pictures.py`` is one test. Each file goes through the whole of ``deblur_video`` twice:
into FFV1, where every sample must be the one the FFmpeg program decodes from the source, and into its own kind.
"""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from support.doubles import Constant
from support.engines import QUICK
from support.media.corpus_pictures import KINDS, Kind, corpus
from support.media.survival import Look, look, mean_difference, plain, side_data_equal, times_differ
from vdeblur.pipeline.deblur_video import Report, deblur_video
from vdeblur.video.encode.encoder_options import EncodeOptions
from vdeblur.video.formats.pixel_formats import canonical_format

_TOLERANCE = {"exact": Fraction(0), "milliseconds": Fraction(1, 2000), "even": Fraction(1, 1000)}
#: Seconds are floats inside FFmpeg here and there.
_HAIR = Fraction(1, 1_000_000)


def unchanged(source: Path, target: Path, codec: str | None = None) -> Report:
    """Strength 0 with a network that would change every sample."""
    encode = EncodeOptions(codec=codec)
    return deblur_video(source, target, model=Constant(0.2), strength=0, encode=encode, **QUICK)


@pytest.mark.parametrize("name", KINDS)
def test_what_must_survive(name: str, tmp_path: Path) -> None:
    kind, source = KINDS[name], corpus(name)
    before = look(source, turned=kind.turned)
    check_truth(kind, before)
    layout = plain(before.format)
    if layout != before.format.replace("yuvj", "yuv"):
        before = look(source, pixel_format=layout)

    report = unchanged(source, tmp_path / "planes.mkv", codec="ffv1")
    planes = look(tmp_path / "planes.mkv", pixel_format=layout, turned=kind.turned)
    assert report.frames == len(planes.ticks) == len(before.ticks)
    assert planes.samples == before.samples, "every sample is the one the FFmpeg program decodes"
    assert planes.shown == before.shown
    check(before, planes, "milliseconds", report, kind.unkept)

    target = tmp_path / f"out{kind.target or kind.suffix}"
    report = unchanged(source, target, codec=kind.codec)
    after = look(target, pixel_format=layout, turned=kind.turned)
    assert report.frames == len(after.ticks)
    check(before, after, kind.times, report, kind.unkept)
    assert mean_difference(before, after, layout) < kind.closeness


def check_truth(kind: Kind, seen: Look) -> None:
    """The recipe has made what it says."""
    assert len(seen.ticks) == (kind.frames if kind.shown is None else kind.shown)
    facts: dict[str, object] = {
        "format": seen.format, "width": seen.width, "height": seen.height, "tick": str(seen.time_base),
        "sar": str(seen.sample_aspect_ratio), "start": float(round(seen.seconds[0], 3)), **seen.colour,
        **{name: len(numbers) for name, numbers in seen.side_data.items()},
    }  # fmt: skip
    assert {name: facts.get(name) for name in kind.truth} == dict(kind.truth)


def colours_differ(before: Look, after: Look) -> dict[str, bool]:
    """What is said of the colours in one but not in the other; YUV that says no range is limited."""
    family, shift = canonical_format(before.format).family, canonical_format(before.format).chroma_shift
    one, other = dict(before.colour), dict(after.colour)
    if family != "yuv" or shift == (0, 0):
        one["chroma location"] = "unknown"
    elif shift[1] == 0:  # every row has its chroma: only columns matter
        for colour in (one, other):
            colour["chroma location"] = colour["chroma location"].removeprefix("top")
    if family == "yuv":
        for colour in (one, other):
            colour["range"] = colour["range"].replace("unknown", "tv")
    return {word: value != "unknown" and other[word] != value for word, value in one.items()}


def check(before: Look, after: Look, times: str, report: Report, unkept: Any) -> None:
    """All but the samples; what is not kept must be in the notes, unless it is better so (an empty pattern)."""
    differences = {
        "start": after.seconds[0] - before.seconds[0]
        if abs(after.seconds[0] - before.seconds[0]) > Fraction(1, 1000)
        else 0,
        "size": (before.width, before.height) != (after.width, after.height),
        "pixel aspect ratio": (before.sample_aspect_ratio or 1) != (after.sample_aspect_ratio or 1),
        "side data": not side_data_equal(before, after),
        **colours_differ(before, after),
    }
    lost = {name for name, differs in differences.items() if differs}
    told = {name: (before.colour.get(name), after.colour.get(name)) for name in lost}
    assert lost <= set(unkept), f"{told} {[*map(float, before.seconds)]} {[*map(float, after.seconds)]} {report.notes}"
    for name in filter(unkept.get, lost):
        assert any(re.search(unkept[name], note) for note in report.notes), report.notes
    assert len(before.ticks) == len(after.ticks)
    if "start" in unkept:
        first = after.seconds[0] - before.seconds[0]
        moved = max(abs(a - b - first) for a, b in zip(after.seconds, before.seconds, strict=True))
        held = max(abs(a - b) for a, b in zip(after.seconds[1:], before.seconds[1:], strict=True))
        assert min(moved, held) <= _TOLERANCE[times] + _HAIR, "all moved by the same, or the first is shown longer"
    else:
        assert times_differ(before, after) <= _TOLERANCE[times] + (_HAIR if times != "exact" else 0)
        if times == "exact":
            assert after.time_base == before.time_base
