"""Exposure lookup: what the camera wrote about the shutter, for each frame of a source."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
from av.container import InputContainer
from av.stream import Stream

from vdeblur.frames import CameraExposure
from vdeblur.video.exposure.container_tags import tagged_exposure
from vdeblur.video.exposure.dji_text import SidecarTexts, sidecar_of
from vdeblur.video.exposure.mdpm import MdpmWatch
from vdeblur.video.exposure.picture_exif import PictureExposures
from vdeblur.video.exposure.track import ExposureTrack, may_hold_exposures, open_track
from vdeblur.video.exposure.written import WrittenExposure, believed
from vdeblur.video.info import ExposureRange, Interlacing, SourceInfo

_log = logging.getLogger(__name__)

#: Packets or pictures that a summary looks at: an hour of GoPro's.
_MOST_IN_RANGE = 3600
#: Containers of cameras with metadata tracks, by FFmpeg's name.
_MOV = "mov,"


class ExposureSource(Protocol):
    """One place where exposures are written."""

    def at(self, tick: int, seconds: float) -> WrittenExposure | None:
        """The value of the frame of a tick, which is shown at a time in seconds; ticks rise."""

    def close(self) -> None: ...


class ExposureLookup:
    """Exposures of one source's frames. It never fails: what cannot be read is not known.

    Decoded pictures are shown to it with :meth:`watch` from the first on; what lies beside them is looked for with
    :meth:`begin`, when the source has been described.
    """

    def __init__(self, codec: str, time_base: Fraction) -> None:
        self._time_base = time_base
        self._watched = MdpmWatch(codec, float(time_base))
        self._beside: tuple[ExposureSource, ...] = ()
        self._interval: float | None = None
        self._fields = False

    def begin(self, info: SourceInfo, streams: Iterable[Stream], open_again: Callable[[], InputContainer]) -> None:
        """Look for exposures beside the pictures.

        Args:
            info: the source; its rate is that of its own frames.
            streams: all streams of the container.
            open_again: opens it once more; not called unless a stream may hold exposures.
        """
        rate = info.video.average_rate
        self._interval = float(1 / rate) if rate and not _is_photo(info) else None
        self._beside = tuple(self._sources(info, streams, open_again))

    def treated_as(self, found: Interlacing) -> None:
        """Whether frames hold two fields: nobody says which interval a shutter angle then means."""
        self._fields = found.flagged is not None if found.shown is None else found.shown != "progressive"

    def watch(self, picture: av.VideoFrame, tick: int) -> None:
        """A decoded picture, before its frame is asked for."""
        self._watched.watch(picture, tick)

    def of_frame(self, tick: int) -> CameraExposure | None:
        """Exposure of the frame that has come from the picture of a tick."""
        seconds = float(tick * self._time_base)
        for source in (*self._beside, self._watched):
            written = source.at(tick, seconds)
            if written is not None and (found := self._believed(written)) is not None:
                return found
        return None

    def range(self, first: CameraExposure | None) -> ExposureRange | None:
        """Shortest and longest exposure, as far as they are known without decoding; for people.

        Args:
            first: that of the first frame, which stands for all where nothing else is known.
        """
        known = list(self._all()) or ([first] if first is not None else [])
        if not known:
            return None
        interval = self._interval
        times = [one.seconds for one in known if one.seconds is not None]
        shares = [one.seconds / interval if one.seconds is not None and interval else one.fraction for one in known]
        found = [share for share in shares if share is not None]
        return ExposureRange(
            source=known[0].source,
            seconds=(min(times), max(times)) if len(times) == len(known) else None,
            fractions=(min(found), max(found)) if found else None,
            first_frame_only=not self._beside,
        )

    def close(self) -> None:
        for source in self._beside:
            source.close()
        self._beside = ()

    def _all(self) -> Iterator[CameraExposure]:
        for source in self._beside[:1]:
            if isinstance(source, ExposureTrack):
                written: Iterable[WrittenExposure | None] = source.everything(_MOST_IN_RANGE)
            elif isinstance(source, PictureExposures):
                written = (source.at(tick, 0) for tick in range(min(source.count, _MOST_IN_RANGE)))
            else:
                return
            yield from filter(None, (self._believed(one) for one in written if one is not None))

    def _believed(self, written: WrittenExposure) -> CameraExposure | None:
        found = believed(written, self._interval)
        return None if found is not None and found.fraction is not None and self._fields else found

    def _sources(
        self, info: SourceInfo, streams: Iterable[Stream], open_again: Callable[[], InputContainer]
    ) -> Iterator[ExposureSource]:
        """Places beside the pictures, the most exact first."""
        if info.pictures:
            yield PictureExposures(info.pictures, self._interval)
        elif info.path is not None and _is_photo(info):
            yield PictureExposures((info.path,), None)
        if not info.container.startswith(_MOV):
            return
        if info.path is not None and info.input_url is not None and any(map(may_hold_exposures, streams)):
            track = open_track(open_again, self._interval)
            if track is not None:
                yield track
        if info.path is not None and (texts := _sidecar(info.path)) is not None:
            yield texts
        if (tagged := tagged_exposure(info.metadata)) is not None:
            yield tagged


def _is_photo(info: SourceInfo) -> bool:
    """Whether a source is a single picture, which has no frame interval."""
    return not info.pictures and (info.container == "image2" or info.container.endswith("_pipe"))


def _sidecar(path: Path) -> SidecarTexts | None:
    try:
        found = sidecar_of(path)
        return None if found is None else SidecarTexts(found)
    except (OSError, ValueError) as exc:
        _log.debug("no exposure times in the subtitles beside the video: %s", exc)
        return None
