"""Types of a live session: captured and restored frames, the sink protocol, and the session's status."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

from vdeblur.frames import Frame
from vdeblur.live.settings import LiveSettings
from vdeblur.options import PAGE_OPTIONS

#: "waiting": the source is there, and no frame comes. "lost": it is gone, and is looked for.
State = Literal["starting", "running", "waiting", "lost", "ended", "failed"]


class NobodyWatches(Exception):
    """Raised by a sink whose viewer has gone: a window has been closed."""


@dataclass(frozen=True, eq=False)
class CapturedFrame:
    """A frame from the source, with its number and capture time."""

    frame: Frame
    #: Counts all frames of the source, dropped ones too.
    number: int
    #: Capture time by ``time.monotonic()``.
    at: float
    #: Tag of :meth:`vdeblur.live.sources.PushSource.push`.
    tag: Any = None


@dataclass(frozen=True, eq=False)
class LiveFrame:
    """A restored frame together with the captured one."""

    taken: CapturedFrame
    sharp: Frame
    #: ``time.monotonic()`` when it was ready.
    done_at: float

    @property
    def delay_seconds(self) -> float:
        """Latency from capture to the restored frame."""
        return self.done_at - self.taken.at


class LiveSink(Protocol):
    """Protocol of a sink of restored frames.

    ``show`` is called in a thread of the sink's own, behind a latest-value queue. A sink with a true attribute
    ``every`` gets each frame instead, in order, unless it is seconds behind. An exception of ``show`` ends the sink,
    and the session too if the sink has a true attribute ``vital``:
    quietly where it is :class:`NobodyWatches`, as a failure where it is anything else.
    """

    @property
    def name(self) -> str: ...

    def show(self, shown: LiveFrame) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class SessionStatus:
    """State and measurements of a session; rates and latency are of the last two seconds."""

    state: State
    #: The last message, in one line; may be empty.
    message: str
    source: str
    #: Size of the source's last frame, 0 before the first.
    width: int
    height: int
    source_fps: float
    shown_fps: float
    #: Median latency from capture to the restored frame.
    delay_ms: float
    #: Frames of the source since the start, and how many of them were dropped in favour of newer ones.
    frames: int
    dropped: int
    #: The active settings; with ``auto`` not always the requested ones.
    settings: LiveSettings
    #: How often the source was lost and came back.
    restarts: int
    #: Name of the file that is being recorded.
    recording: str | None

    def as_dict(self) -> dict[str, Any]:
        """JSON form, with the page's options in place of ``settings``."""
        own = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "settings"}
        return {**own, **self.settings.values(PAGE_OPTIONS)}
