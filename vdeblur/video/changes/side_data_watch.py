"""Side data watch: kinds of side data that begin after the first frame, or change, counted on every frame."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from vdeblur.video.av_compat import side_data_items
from vdeblur.video.changes.side_data import further_name, unknown_kind
from vdeblur.video.filter_graph import FilterGraph

#: Closed captions: frames take them along, and a writer may keep them.
CAPTIONS = "A53_CC"
#: Side data of frames that no encoder here passes on, and its name for people.
LOST_SIDE_DATA = {
    CAPTIONS: "closed captions inside the pictures",
    "DOVI_METADATA": "Dolby Vision metadata",
    "DOVI_RPU_BUFFER": "Dolby Vision metadata",
    "DYNAMIC_HDR_PLUS": "HDR10+ metadata",
    "DYNAMIC_HDR_VIVID": "HDR Vivid metadata",
    "DYNAMIC_HDR_SMPTE_2094_APP5": "SMPTE 2094-50 metadata",
    "AMBIENT_VIEWING_ENVIRONMENT": "the ambient viewing environment",
    "FILM_GRAIN_PARAMS": "film grain parameters",
    "VIEW_ID": "the second view of 3D video",
    "LCEVC": "the LCEVC enhancement layer",
    "S12M_TIMECODE": "time code inside the pictures",
    "AFD": "the active format description",
}
#: Kinds that are kept for the whole stream as the first frame has them.
_OF_THE_STREAM = {
    "MASTERING_DISPLAY_METADATA": "the mastering display",
    "CONTENT_LIGHT_LEVEL": "the content light level",
    "DISPLAYMATRIX": "the rotation",
    "SPHERICAL": "the spherical projection",
    "STEREO3D": "the stereoscopic arrangement",
}
#: PNG gives its ICC profile a name, which PyAV 18 frees twice; pictures have nothing else that is watched for.
_UNWATCHED_CODECS = frozenset({"png", "apng"})


@dataclass
class _Late:
    """Frames with a kind of side data that the first frame did not have."""

    first_tick: int
    count: int = 0


class SideDataWatch:
    """Notices side data of every frame in a stretch of time.

    Args:
        codec: FFmpeg's name.
        first: the first frame's side data, by FFmpeg's names.
        time_base: of the ticks.
        begin, end: the first tick that counts, and the first that does not any more; ``None`` = all.
    """

    def __init__(
        self, codec: str, first: Collection[str], time_base: Fraction, *, begin: int | None, end: int | None
    ) -> None:
        self._known = frozenset(LOST_SIDE_DATA[name] for name in first if name in LOST_SIDE_DATA)
        self._off = codec in _UNWATCHED_CODECS or "ICC_PROFILE" in first
        self._time_base = time_base
        self._begin, self._end = begin, end
        self._late: dict[str, _Late] = {}
        self._captions: dict[int, bytes] = {}
        self._captioned: _Late | None = None
        self._values: dict[str, bytes | None] | None = None
        self._changed: dict[str, int] = {}
        self._graphs: dict[tuple[int, int, str, int], FilterGraph] = {}

    @property
    def captioned(self) -> str | None:
        """In how many frames closed captions have come, and since when; ``None`` = in none."""
        return None if self._captioned is None else self._often(self._captioned)

    def captions_of(self, tick: int) -> bytes:
        """Captions of the picture of a tick, for the first frame that is made of it; earlier ones are forgotten."""
        if not self._captions:
            return b""
        data = self._captions.pop(tick, b"")
        for old in [one for one in self._captions if one < tick]:
            del self._captions[old]
        return data

    @property
    def losses(self) -> tuple[tuple[str, str], ...]:
        """What began late and is lost: its name, and in how many frames it was."""
        return tuple((name, self._often(late)) for name, late in self._late.items())

    @property
    def notes(self) -> list[str]:
        """The same in plain words, and what changed that is kept as it was at first."""
        notes = [f"not kept: {name} {often}" for name, often in self.losses]
        for name, tick in self._changed.items():
            notes.append(f"{_OF_THE_STREAM[name]} changes at {self._seconds(tick)}; that of the first frame is kept")
        return notes

    def watch(self, picture: av.VideoFrame, tick: int) -> None:
        """Look at a decoded picture."""
        if (
            self._off
            or (self._begin is not None and tick < self._begin)
            or (self._end is not None and tick >= self._end)
        ):
            return
        found = self._found(picture)
        if (captions := found.pop(CAPTIONS, None)) is not None:
            self._captions[tick] = captions
            self._captioned = self._captioned or _Late(tick)
            self._captioned.count += 1
        for name in {LOST_SIDE_DATA[kind] for kind in found if kind in LOST_SIDE_DATA} - self._known:
            self._late.setdefault(name, _Late(tick)).count += 1
        self._compare({kind: found.get(kind) for kind in _OF_THE_STREAM}, tick)

    def _compare(self, values: dict[str, bytes | None], tick: int) -> None:
        """Notice values that differ from the first frame's; where later frames repeat none, nothing has changed."""
        if self._values is None:
            self._values = values
            return
        for kind, value in values.items():
            if value is not None and value != self._values[kind]:
                self._changed.setdefault(kind, tick)

    def _found(self, picture: av.VideoFrame) -> dict[str, bytes]:
        """Side data by FFmpeg's names; the bytes only of those that are compared."""
        found: dict[str, bytes] = {}
        while (unknown := unknown_kind(picture)) is not None and further_name(unknown) not in found:
            found[further_name(unknown)] = b""
            picture = self._without(picture, unknown)
        for item in side_data_items(picture):
            number: Any = item.type.value
            name = further_name(number) if item.type.name.startswith("UNKNOWN_") else item.type.name
            found[name] = bytes(item) if name in _OF_THE_STREAM or name == CAPTIONS else b""
        return found

    def _without(self, picture: av.VideoFrame, kind: int) -> av.VideoFrame:
        """The picture without one kind, by a filter that is made once for all pictures of a size and format."""
        key = (picture.width, picture.height, picture.format.name, kind)
        graph = self._graphs.get(key)
        if graph is None:
            graph = self._graphs[key] = FilterGraph(picture, "sidedata", f"mode=delete:type={kind}")
        graph.push(picture)
        return next(iter(graph.pull()), picture)

    def _often(self, late: _Late) -> str:
        many = "1 frame" if late.count == 1 else f"{late.count} frames"
        return f"in {many} from {self._seconds(late.first_tick)} on"

    def _seconds(self, tick: int) -> str:
        return f"{float(tick * self._time_base):.3f} s"
