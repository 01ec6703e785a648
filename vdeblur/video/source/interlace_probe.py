"""Interlace probe: places in a source that are examined for interlacing, or only its start where it cannot seek."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain, islice

import av

from vdeblur.video.info import VideoInfo
from vdeblur.video.interlace.detection import PICTURES, PLACES, InterlaceDetector
from vdeblur.video.interlace.field_pairs import woven_pictures
from vdeblur.video.source.decode_session import DecodeSession
from vdeblur.video.time_range import TimeRange

#: Pictures with their ticks.
TimedPictures = Iterator[tuple[av.VideoFrame, int]]


def look_ahead(pictures: TimedPictures) -> tuple[InterlaceDetector, TimedPictures]:
    """A look at the next pictures, and the same pictures again."""
    look, ahead = InterlaceDetector(), list(islice(pictures, PICTURES))
    look.at(picture for picture, _ in ahead)
    return look, chain(ahead, pictures)


def look_in_places(open_session: Callable[[], DecodeSession], video: VideoInfo, wanted: TimeRange) -> InterlaceDetector:
    """A look at pictures from the wanted stretch, in a session of its own."""
    look = InterlaceDetector()
    begin, end = wanted.ticks(video.start_pts, video.time_base)
    first = video.start_pts if begin is None else begin
    if end is None and video.duration_seconds is not None:
        end = video.start_pts + int(Fraction(video.duration_seconds) / video.time_base)
    # In a short video the places would be the same pictures again.
    shortest = len(PLACES) * PICTURES / ((video.average_rate or 25) * video.time_base)
    places = PLACES if end is not None and end - first > shortest else PLACES[:1]
    with open_session() as session:
        for share in places:
            tick = first if end is None else first + int(share * (end - first))
            pictures = session.pictures_from(tick) if share or begin is not None else session.pictures()
            look.at(islice(woven_pictures(pictures) if video.field_pairs else pictures, PICTURES))
            if look.is_enough:
                break
    return look
