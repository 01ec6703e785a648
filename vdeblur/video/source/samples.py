"""Sampled frames: a few from places spread over a source, for what can be said of it without reading it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice

from vdeblur.frames import Colour, Frame
from vdeblur.video.formats.colour_tags import frame_colour
from vdeblur.video.formats.pixel_formats import planes_of
from vdeblur.video.info import VideoInfo
from vdeblur.video.quantiser.lookup import QuantiserLookup
from vdeblur.video.source.decode_session import DecodeSession

#: Where in the source, as shares of its length.
_PLACES = (0.1, 0.35, 0.6, 0.85)
#: Frames at each place: as many as the frames of different quantisers follow each other, fewer of large ones.
_FRAMES, _PIXELS = 8, 8 * 1280 * 720


def sampled_frames(open_session: Callable[..., DecodeSession], video: VideoInfo, header: Colour) -> Iterator[Frame]:
    """Frames from key frames on, with their quantisers, in a session of its own."""
    quantisers = QuantiserLookup()
    count = max(1, min(_FRAMES, _PIXELS // max(1, video.width * video.height)))
    with open_session(threads=1, quantisers=quantisers) as session:
        for tick in _ticks(video):
            pictures = session.pictures() if tick is None else session.pictures_from(tick)
            for picture in islice(pictures, count):
                planes, pixel_format = planes_of(picture)
                colour, quantiser = frame_colour(picture, header), quantisers.of_picture(picture)
                yield Frame(planes, pixel_format, colour, picture.pts or 0, video.time_base, quantiser=quantiser)


def _ticks(video: VideoInfo) -> list[int | None]:
    """Where to look; ``None`` = at the start."""
    if not video.duration_seconds:
        return [None]
    length = int(Fraction(video.duration_seconds) / video.time_base)
    frames = video.duration_seconds * float(video.average_rate or 25)
    places = _PLACES if frames > len(_PLACES) * _FRAMES else (0.0,)
    return [video.start_pts + int(share * length) for share in places]
