"""Words of the live session: a frame when it was taken and when it is shown, who shows it, and how things stand."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

from vdeblur.frames import Frame
from vdeblur.live.settings import LiveSettings
from vdeblur.options import PAGE_OPTIONS

#: "waiting": the source is there, and no frame comes. "lost": it is gone, and is looked for.
State = Literal["starting", "running", "waiting", "lost", "ended", "failed"]


class Unwatched(Exception):
    """Raised by a sink when nobody watches any more: a window has been closed."""


@dataclass(frozen=True, eq=False)
class Taken:
    """A frame as it came from the source."""

    frame: Frame
    #: Counts all frames the source gave, dropped ones too.
    number: int
    #: ``time.monotonic()`` when it reached us.
    at: float
    #: Whatever came with it (:meth:`vdeblur.live.sources.PushSource.push`).
    tag: Any = None


@dataclass(frozen=True, eq=False)
class Shown:
    """A restored frame beside the one that was taken."""

    taken: Taken
    sharp: Frame
    #: ``time.monotonic()`` when it was ready.
    done_at: float

    @property
    def delay_seconds(self) -> float:
        """From being taken to being ready."""
        return self.done_at - self.taken.at


class Sink(Protocol):
    """Where restored frames go.

    ``show`` is called in a thread of the sink's own; between the session and it the newest frame wins. A sink with an
    attribute ``every`` that is true is given each frame instead, in order, as long as it is not seconds behind.
    What ``show`` raises ends the sink, and the session too if the sink has an attribute ``vital`` that is true:
    quietly where it is :class:`Unwatched`, as a failure where it is anything else.
    """

    @property
    def name(self) -> str: ...

    def show(self, shown: Shown) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Status:
    """How a session stands; numbers are of the last two seconds where nothing else is said."""

    state: State
    #: The last thing worth saying, in one line; may be empty.
    message: str
    source: str
    #: Size of the source's last frame, 0 before the first.
    width: int
    height: int
    source_fps: float
    shown_fps: float
    #: Median time from a frame's being taken to its being ready.
    delay_ms: float
    #: Frames since the start: given by the source, and those of them left out because a newer one was there.
    frames: int
    dropped: int
    #: What is at work now; with ``auto`` not always what was asked for.
    settings: LiveSettings
    #: How often the source was lost and came back.
    restarts: int
    #: Name of the file that is being recorded.
    recording: str | None

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON takes it, with those of the settings that may change meanwhile."""
        own = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "settings"}
        return {**own, **self.settings.values(PAGE_OPTIONS)}
