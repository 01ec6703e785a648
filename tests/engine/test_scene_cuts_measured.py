"""Cuts measured: precision and recall over every kind of cut, and of everything that looks like one and is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction

import av
import pytest

from support.media import shots
from support.media.shots import CUTS, OTHERS, Strip
from vdeblur.engine.scene_cuts import SceneCutDetector
from vdeblur.frames import Colour, Frame, PixelFormat

#: Least share of the cuts that are found, over all kinds and in each, and of what is found that are cuts.
RECALL, RECALL_OF_A_KIND, PRECISION = 0.98, 0.95, 0.98
#: Most cuts seen in a hundred other pairs of any one kind.
FALSE_IN_A_HUNDRED = 2.0

KINDS = {kind.__name__: kind for kind in (*CUTS, *OTHERS)}


@dataclass
class Count:
    found: int = 0
    missed: int = 0
    false: int = 0
    others: int = 0

    def add(self, strip: Strip, broken: set[int]) -> None:
        self.found += len(broken & strip.cuts)
        self.missed += len(strip.cuts - broken)
        self.false += len(broken - strip.cuts - strip.either)
        self.others += len(strip.pictures) - 1 - len(strip.cuts | strip.either)

    @property
    def recall(self) -> float:
        return self.found / max(1, self.found + self.missed)

    @property
    def precision(self) -> float:
        return self.found / max(1, self.found + self.false)


def ours(frames: list[Frame]) -> set[int]:
    breaks = SceneCutDetector()
    return {n for n in range(1, len(frames)) if breaks(frames[n - 1], frames[n])}


def scdet(frames: list[Frame]) -> set[int]:
    """Cuts by FFmpeg's filter of that name, at its default threshold."""
    graph = av.filter.Graph()
    first = frames[0]
    source = graph.add_buffer(width=first.width, height=first.height, format="gray", time_base=first.time_base)
    filter_, sink = graph.add("scdet"), graph.add("buffersink")
    source.link_to(filter_)
    filter_.link_to(sink)
    graph.configure()
    found = set()
    for number, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(frame.planes[0], format="gray")
        picture.pts, picture.time_base = number, Fraction(1, 25)
        graph.push(picture)
        if "lavfi.scd.time" in graph.pull().metadata:
            found.add(number)
    return found


def measure(
    kinds: Iterable[Callable[[int], Strip]], seeds: range, detect: Callable[[list[Frame]], set[int]] = ours
) -> dict[str, Count]:
    counts = {kind.__name__: Count() for kind in kinds}
    for name, count in counts.items():
        for seed in seeds:
            strip = KINDS[name](seed)
            count.add(strip, detect(shots.frames(strip.pictures)))
    return counts


def total(counts: dict[str, Count]) -> Count:
    parts = counts.values()
    return Count(*(sum(getattr(part, name) for part in parts) for name in ("found", "missed", "false", "others")))


def table(counts: dict[str, Count]) -> str:
    rows = [f"{'':16}{'found':>7}{'missed':>8}{'false':>7}{'others':>8}{'recall':>8}{'precision':>11}"]
    for name, c in {**counts, "all": total(counts)}.items():
        rows.append(f"{name:16}{c.found:7}{c.missed:8}{c.false:7}{c.others:8}{c.recall:8.3f}{c.precision:11.3f}")
    return "\n".join(rows)


def check(counts: dict[str, Count]) -> None:
    everything = total(counts)
    assert everything.recall >= RECALL, "\n" + table(counts)
    assert everything.precision >= PRECISION, "\n" + table(counts)
    for name, count in counts.items():
        if count.found + count.missed:
            assert count.recall >= RECALL_OF_A_KIND, f"{name}\n{table(counts)}"
        assert 100 * count.false <= FALSE_IN_A_HUNDRED * count.others, f"{name}\n{table(counts)}"


def test_precision_and_recall() -> None:
    check({**measure(CUTS, range(6)), **measure(OTHERS, range(4))})


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_precision_and_recall_at_length() -> None:
    counts = {**measure(CUTS, range(100, 200)), **measure(OTHERS, range(100, 150))}
    print("\n" + table(counts))
    check(counts)


def test_finds_more_and_errs_less_than_scdet() -> None:
    kinds = (shots.different, shots.dark, shots.pale, shots.insert, shots.flash, shots.local_flash, shots.strobe)
    mine, theirs = (measure(kinds, range(2), detect) for detect in (ours, scdet))
    words = f"\nvdeblur\n{table(mine)}\nscdet\n{table(theirs)}"
    assert total(mine).missed == total(mine).false == 0, words
    assert total(theirs).missed >= 8, words
    assert total(theirs).false >= 5, words


FORMATS = {
    "grey": (shots.GREY, Colour()),
    "grey 16": (PixelFormat("gray16le", "gray", 16), Colour()),
    "limited": (PixelFormat("yuv420p", "yuv", 8, (1, 1)), Colour("bt709", "tv", "bt709", "bt709")),
    "full": (PixelFormat("yuv444p", "yuv", 8), Colour("bt709", "pc", "bt709", "bt709")),
    "10 bit": (PixelFormat("yuv420p10le", "yuv", 10, (1, 1)), Colour("bt709", "tv", "bt709", "bt709")),
    "HDR PQ": (PixelFormat("yuv420p10le", "yuv", 10, (1, 1)), Colour("bt2020nc", "tv", "bt2020", "smpte2084")),
    "RGB": (PixelFormat("gbrp", "rgb", 8), Colour("gbr", "pc", "bt709", "iec61966-2-1")),
    "float": (PixelFormat("gbrpf32le", "rgb", 32), Colour()),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_depth_range_and_transfer(name: str) -> None:
    for kind in (shots.similar, shots.dark, shots.insert, shots.flash, shots.dissolve, shots.pan, shots.night):
        strip = kind(3)
        assert ours(shots.frames(strip.pictures, *FORMATS[name])) == strip.cuts, kind.__name__


def test_the_measure_sees_what_is_wrong() -> None:
    """A detector that finds nothing, and one that finds too much, fail the same check."""
    for detect in (lambda frames: set(), lambda frames: set(range(1, len(frames)))):
        with pytest.raises(AssertionError, match="recall"):
            check(measure((shots.similar, shots.still), range(1), detect))
