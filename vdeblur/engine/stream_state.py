"""Stream state: window, waiting frames, recurrent state and scene-cut detector of one clip, and its snapshot."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from torch import Tensor

from vdeblur.engine.exposure import FrameShutter, Neighbourhood
from vdeblur.engine.pixels import reduced_size
from vdeblur.engine.scene_cuts import SceneCutDetector
from vdeblur.engine.windows import SlidingWindow, Window
from vdeblur.errors import NetworkError
from vdeblur.frames import Frame
from vdeblur.runtime.transfer import Planes


@dataclass(frozen=True, eq=False)
class EncodedFrame:
    """A frame with its colour planes and features on the device; the features serve every window it is in."""

    frame: Frame
    planes: Planes
    features: Any
    #: Factor by which it was reduced for the network.
    reduce: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) as the network sees it."""
        return reduced_size(self.frame.size, self.reduce)


@dataclass(frozen=True, eq=False)
class WaitingWindow:
    """A complete window whose current frame is to be restored, and what a snapshot after it keeps of the stream."""

    window: Window[EncodedFrame]
    #: Frames taken beyond the current one when the window was complete: 0, or 1 with lookahead.
    taken: int
    #: Whether that frame belongs to the same shot.
    same_shot: bool
    #: State of the shot boundary detector when the window was complete.
    cut_detector: dict[str, Any]
    #: What ``match_motion`` returned; None where nothing is read ahead.
    matched: Any = None


@dataclass
class StreamState:
    """State of one stream between two frames. Its parts are replaced, never written to."""

    window: SlidingWindow[EncodedFrame]
    cut_detector: SceneCutDetector = field(default_factory=SceneCutDetector)
    #: The network's recurrent state, None at the start of a shot.
    state: Any = None
    #: Frames of a shot to match before one is restored, and how many of them may wait.
    read_ahead: int = 0
    may_wait: int = 0
    #: Windows that are complete, oldest first.
    waiting: tuple[WaitingWindow, ...] = ()
    #: For how many frames the blur has contradicted the camera (1,), on the device; None: no camera has said anything.
    contradictions: Tensor | None = None
    #: How often in a row samples stood still over a moving picture (:mod:`vdeblur.engine.overlays`); None: not known.
    overlays: Tensor | None = None

    def push(self, encoded: EncodedFrame) -> Window[EncodedFrame] | None:
        """Take the next frame; return the window that is complete now, if there is one."""
        last = self.window.newest
        same_shot = (
            last is not None
            and not self.cut_detector(last.frame, encoded.frame)  # asked for each frame: it keeps a state
            and last.reduce == encoded.reduce
        )
        return self.window.push(encoded, same_shot=same_shot)

    def wait(self, window: Window[EncodedFrame], matched: Any = None, *, may_wait: int = 0) -> None:
        """Let a window wait that has just become complete.

        Args:
            matched: what ``match_motion`` returned for it, if others may wait for it.
            may_wait: how many windows may wait for later ones from here on.
        """
        own = self.window
        same_shot = own.before is not None
        added = WaitingWindow(window, own.lookahead, same_shot, self.cut_detector.state_dict(), matched)
        self.waiting, self.may_wait = (*self.waiting, added), may_wait

    def next_job(self) -> RestoreJob | None:
        """Take the oldest window if enough wait behind it or the stream has ended, with the later ones of its shot.

        It waits for windows of the next shot, too: restored all at once where a shot ends, its frames would find no
        other work to go on beside them.
        """
        ended = self.window.newest is None
        if not self.waiting or not (ended or len(self.waiting) > self.may_wait):
            return None
        oldest, *others = self.waiting
        self.waiting = tuple(others)
        later = takewhile(lambda one: not one.window.first and one.matched is not None, others)
        return RestoreJob(self, oldest, tuple(one.matched.profile for one in later))

    def copy(self) -> StreamState:
        return replace(self, window=copy.copy(self.window), cut_detector=copy.copy(self.cut_detector))


@dataclass(frozen=True, eq=False)
class Snapshot:
    """State of a stream after a frame, without frames: enough to resume it once these are read again."""

    #: The network's recurrent state.
    state: Any
    #: Frames taken beyond the last restored one: 0, or 1 with lookahead. Those that are read ahead do not count.
    ahead: int
    #: Whether the frame ahead belongs to the same shot.
    same_shot: bool
    #: State of the shot boundary detector (:meth:`vdeblur.engine.scene_cuts.SceneCutDetector.state_dict`).
    cut_detector: dict[str, Any]
    #: For how many frames the blur has contradicted the camera (1,), if one has said anything.
    contradictions: Tensor | None = None
    #: What is known of overlays (H/2, W/2).
    overlays: Tensor | None = None

    @staticmethod
    def of(job: RestoreJob) -> Snapshot:
        """After the job's frame, the newest that has been restored of its stream."""
        stream, waited = job.stream, job.waited
        return Snapshot(
            stream.state, waited.taken, waited.same_shot, waited.cut_detector, stream.contradictions, stream.overlays
        )

    def tensors(self) -> tuple[Tensor, ...]:
        """The state's tensors, on the CPU.

        Raises:
            NetworkError: the state of this network is no tuple of tensors.
        """
        parts = () if self.state is None else self.state
        if not isinstance(parts, tuple) or not all(isinstance(part, Tensor) for part in parts):
            raise NetworkError("the network's state is no tuple of tensors; a job with it cannot be kept for later")
        return tuple(part.cpu() for part in parts)


@dataclass(frozen=True, eq=False)
class RestoredFrame:
    """A restored frame and the snapshot of its stream after it."""

    frame: Frame
    snapshot: Snapshot
    #: Exposure it was restored with; None of a network that reads none.
    shutter: FrameShutter | None = None


@dataclass(frozen=True, eq=False)
class RestoreJob:
    """A window of a stream whose current frame is to be restored."""

    stream: StreamState
    waited: WaitingWindow
    #: Motion profiles (1, PROFILE_SIZE) of later frames of the shot, the next frame's first.
    later: tuple[Tensor, ...] = ()

    @property
    def window(self) -> Window[EncodedFrame]:
        return self.waited.window


def seen_features(window: Window[EncodedFrame]) -> tuple[Any, Any, Any]:
    """Features of the previous, the current and the next frame; None for those that are missing."""
    encoded = window.current
    previous = None if window.previous is encoded else window.previous.features
    following = None if window.next is encoded else window.next.features
    return previous, encoded.features, following


def network_arguments(job: RestoreJob) -> tuple[Any, Any, Any, Any]:
    """Features of the previous, the current and the next frame, and the state; None for those that are missing."""
    return *seen_features(job.window), None if job.window.first else job.stream.state


def neighbourhood(job: RestoreJob) -> Neighbourhood:
    """The frame that is to be restored, with those beside it."""
    window = job.window
    previous, current, following = (encoded.frame for encoded in (window.previous, window.current, window.next))
    return Neighbourhood(
        None if previous is current else previous, current, None if following is current else following
    )


def missing_arguments(job: RestoreJob) -> tuple[bool, ...]:
    """Which of the network's arguments are None; windows with the same ones can share a batch."""
    return tuple(part is None for part in network_arguments(job))


def with_features(window: Window[EncodedFrame], change: Callable[[Any], Any]) -> Window[EncodedFrame]:
    """The same window with other features; a missing neighbour stays one."""
    current = replace(window.current, features=change(window.current.features))
    previous, following = (
        current if side is window.current else replace(side, features=change(side.features))
        for side in (window.previous, window.next)
    )
    return Window(previous, current, following, window.first)
