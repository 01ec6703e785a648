"""Tail recovery: frames after a decode error near the end that frame-threaded decoders drop; decoded on one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import av

from vdeblur.video.source.decode_session import DecodeSession
from vdeblur.video.source.decoder import Decoder


class TailRecovery:
    """Adds the pictures behind an error at the end, where a threaded decoder cannot go on: one thread decodes them.

    Args:
        open_session: opens the source once more; ``None`` where it can be read only once.
    """

    def __init__(self, open_session: Callable[..., DecodeSession] | None) -> None:
        self._open_session = open_session
        #: Packets there that could not be decoded.
        self.lost = 0

    def added(self, pictures: Iterator[av.VideoFrame], session: DecodeSession) -> Iterator[av.VideoFrame]:
        """Pictures of a session, and then the tail."""
        last = None
        for picture in pictures:
            if picture.pts is not None:
                last = picture.pts if last is None else max(last, picture.pts)
            yield picture
        if session.decoder.may_lack_frames:
            yield from self._behind(last, session.decoder)

    def _behind(self, last: int | None, decoder: Decoder) -> Iterator[av.VideoFrame]:
        if self._open_session is None or (last is None and decoder.received):
            self.lost = int(decoder.flush_failed)
            return
        with self._open_session(threads=1) as session:
            for picture in session.pictures() if last is None else session.pictures_from(last):
                if last is None or (picture.pts is not None and picture.pts > last):
                    yield picture
            skipped = sum(last is None or pts > last for pts in session.decoder.skipped_pts)
        self.lost = max(0, skipped - decoder.skipped_since_frame)
