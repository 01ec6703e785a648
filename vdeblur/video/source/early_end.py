"""Early end: the reason why a video ends before its announced length; a part must not pass for the whole."""

from __future__ import annotations

from vdeblur.video.source.demuxer import PacketSource

#: A video that ends so much earlier than it should is incomplete.
_TOLERANCE_SECONDS = 0.5


class EarlyEnd:
    """What is found out about the end of a source while it is read, for people."""

    def __init__(self) -> None:
        #: Why frames that were asked for are missing.
        self.shortfall: str | None = None
        self._early: str | None = None
        self._broken: str | None = None

    def look_in_front(self, media: PacketSource, start_pts: int, end: int | None) -> None:
        """What the file says before frames are read up to tick ``end``; ``None`` = all."""
        self.shortfall = shortfall_in_front(media, start_pts, end)

    def reached(self, media: PacketSource, start_pts: int, ended: int, end: int | None) -> None:
        """Find out whether the last frame, shown until tick ``ended``, is the last that should have come."""
        ended_seconds = float((ended - start_pts) * media.time_base)
        asked = None if end is None else float((end - start_pts) * media.time_base)
        self.shortfall = shortfall_at_end(media, ended_seconds, asked)
        self._early = early_end(media, ended_seconds) if end is None else None
        self._broken = break_off(media, ended_seconds, asked)

    def notes(self, failure: str | None) -> list[str]:
        """The one thing to say, if any; ``failure`` = why reading stopped."""
        stopped = None if failure is None else f"reading stopped early: {failure}"
        note = next(
            (words for words in (self.shortfall, self._broken, stopped, self._early) if words is not None), None
        )
        return [] if note is None else [note]


def shortfall_in_front(media: PacketSource, start_pts: int, end: int | None) -> str | None:
    """What the file itself says is missing of the frames before tick ``end`` (``None`` = all), before they are read."""
    cut, promised = media.cut, media.video_seconds
    if cut is None or not cut.certain:
        return None
    if cut.tick is None:
        return f"the file has {cut.file_bytes} of its {cut.whole_bytes} bytes: it is cut off" if end is None else None
    if end is not None and cut.tick >= end:
        return None
    seconds = max(0.0, float((cut.tick - start_pts) * media.time_base))
    whole = "" if promised is None else f" of its {promised:.2f} s"
    return f"the file ends at {seconds:.2f} s{whole}: it is cut off"


def shortfall_at_end(media: PacketSource, ended_seconds: float, asked_seconds: float | None) -> str | None:
    """Why frames are missing between the last one and the end that was asked for (``None`` = that of the video)."""
    if media.broken is not None:
        return None
    known = [seconds for seconds in (asked_seconds, media.video_seconds) if seconds is not None]
    short = bool(known) and _is_short(ended_seconds, min(known))
    if media.failure is not None and (short or not known):
        return f"reading stopped at {ended_seconds:.2f} s: {media.failure}"
    if short and media.cut is not None and media.cut.certain:
        return f"the video ends at {ended_seconds:.2f} s: the file is cut off"
    return None


def break_off(media: PacketSource, ended_seconds: float, asked_seconds: float | None) -> str | None:
    """A note on a recording that breaks off before the end that was asked for; what is there is of use."""
    if media.broken is None or (asked_seconds is not None and not _is_short(ended_seconds, asked_seconds)):
        return None
    return f"the recording breaks off at {ended_seconds:.2f} s, {media.broken}; what is there is restored"


def early_end(media: PacketSource, ended_seconds: float) -> str | None:
    """A note on a video that ends long before its header says; headers may be wrong, so this alone proves nothing."""
    if media.cut is not None and not media.cut.certain:
        return f"the file has {media.cut.file_bytes} bytes and should have {media.cut.whole_bytes}: it may be cut off"
    promised = media.video_seconds
    if promised is None or not _is_short(ended_seconds, promised):
        return None
    return f"the video ends at {ended_seconds:.2f} s but its header promises {promised:.2f} s"


def _is_short(ended_seconds: float, due_seconds: float) -> bool:
    return due_seconds - ended_seconds > max(_TOLERANCE_SECONDS, due_seconds / 100)
