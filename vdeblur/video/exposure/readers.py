"""Packet readers of metadata tracks, one for each format; a track is of the first that recognises it."""

from __future__ import annotations

from collections.abc import Callable

from vdeblur.video.exposure.ctmd import CtmdReader
from vdeblur.video.exposure.dji_text import DjiTextReader
from vdeblur.video.exposure.djmd import DjmdReader
from vdeblur.video.exposure.gpmf import GpmfReader
from vdeblur.video.exposure.rtmd import RtmdReader
from vdeblur.video.exposure.written import PacketReader

#: By FFmpeg's kind of the stream.
READERS: dict[str, tuple[Callable[[], PacketReader], ...]] = {
    "data": (GpmfReader, RtmdReader, DjmdReader, CtmdReader),
    "subtitle": (DjiTextReader,),
}


def reader_for(kind: str, data: bytes) -> PacketReader | None:
    """A reader that recognises a packet of a stream of this kind; ``None`` = no format with exposure times."""
    readers = (make() for make in READERS.get(kind, ()))
    return next((reader for reader in readers if reader.recognises(data)), None)
