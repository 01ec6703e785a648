"""Stream state: window, waiting frames, recurrent state, scene-cut and repeat detectors of one clip; its snapshot."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from torch import Tensor

from vdeblur.engine.exposure import FrameShutter, Neighbourhood
from vdeblur.engine.guide.stage import FrameNoise, Guided, GuideMemory
from vdeblur.engine.pixels import reduced_size
from vdeblur.engine.repeats import MOST_COPIES, Arrival, RepeatFinder, SavedTwin, Twin, is_still
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
    #: What the guide stage knows of it; None without a guide.
    guided: Guided | None = None
    #: How it came, and itself for its copies; None until a stream has taken it.
    arrival: Arrival | None = None
    twin: Twin | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) as the network sees it."""
        return reduced_size(self.frame.size, self.reduce)


@dataclass(frozen=True, eq=False)
class WaitingWindow:
    """A complete window whose current frame is to be restored."""

    window: Window[EncodedFrame]
    #: Frames taken beyond the current one when the window was complete, for certain: 0, or 1 with lookahead.
    taken: int
    #: What ``match_motion`` returned; None where nothing is read ahead.
    matched: Any = None


@dataclass(frozen=True, eq=False)
class WaitingCopy:
    """A copy of a frame that has been restored, or waits before it."""

    arrival: Arrival
    twin: Twin


@dataclass
class StreamState:
    """State of one stream between two frames. Its parts are replaced, never written to."""

    window: SlidingWindow[EncodedFrame]
    cut_detector: SceneCutDetector = field(default_factory=SceneCutDetector)
    repeats: RepeatFinder = field(default_factory=RepeatFinder)
    #: The newest frame that has come, copies included.
    newest: Frame | None = None
    #: The options that may be set between frames, as they were at that frame.
    settings: tuple[Any, ...] = ()
    #: The network's recurrent state, None at the start of a shot.
    state: Any = None
    #: Frames of a shot to match before one is restored, and how many of them may wait.
    read_ahead: int = 0
    may_wait: int = 0
    #: Windows that are complete, and copies, oldest first.
    waiting: tuple[WaitingWindow | WaitingCopy, ...] = ()
    #: Copies of the newest frame of the window, which is open.
    copies: tuple[Arrival, ...] = ()
    #: For how many frames the blur has contradicted the camera (1,), on the device; None: no camera has said anything.
    contradictions: Tensor | None = None
    #: How often in a row samples stood still over a moving picture (:mod:`vdeblur.engine.overlays`); None: not known.
    overlays: Tensor | None = None
    #: What the guide remembers of the shot after the newest frame of the window, and before the newest restored one.
    guide: GuideMemory | None = None
    guide_before: GuideMemory | None = None

    @property
    def looks_on(self) -> bool:
        """Whether a frame may wait for more than its lookahead, to find a neighbour that is none of its copies."""
        return self.read_ahead >= MOST_COPIES

    def arrive(self, frame: Frame, settings: tuple[Any, ...]) -> list[Arrival]:
        """Take the next frame; return those that are decided now, in order: new ones are to be pushed."""
        last, same_settings = self.newest, self.settings == settings
        same_shot = last is not None and not self.cut_detector(last, frame)  # asked for each frame: it keeps a state
        self.newest, self.settings = frame, settings
        return self.repeats.push(
            frame,
            self.cut_detector.state_dict(),
            same_shot=same_shot,
            may_be_copy=same_settings,
            hold=self.looks_on,
            waits=self.looks_on and self.window.lookahead > 0,
        )

    def finish(self) -> list[Arrival]:
        """End the stream; return the frames that are decided now, the last ones. Then the window is to be finished."""
        self.newest = None
        return self.repeats.finish()

    def push(self, encoded: EncodedFrame, arrival: Arrival) -> Window[EncodedFrame] | None:
        """Push a new frame into the window; return that of the frame before, or its own, if it is complete now."""
        last = self.window.newest
        same_shot = arrival.same_shot and last is not None and last.reduce == encoded.reduce
        self.guide = None if encoded.guided is None else encoded.guided.after
        encoded = replace(encoded, arrival=arrival, twin=Twin(encoded.frame))
        return self.window.push(encoded, same_shot=same_shot)

    def guide_for(self, arrival: Arrival) -> GuideMemory | None:
        """What the guide of a new frame is made with: the memory after the one before it; None where a shot starts."""
        return self.guide if arrival.same_shot else None

    def push_copy(self, arrival: Arrival) -> Window[EncodedFrame] | None:
        """Push a copy of the newest frame; return that one's window if it waits no longer."""
        encoded = self.window.newest
        assert encoded is not None
        if self.window.open:
            self.copies = (*self.copies, arrival)
            return None if self.looks_on and not is_still(arrival.repeats) else self._complete_still(encoded)
        if is_still(arrival.repeats):  # what follows moves from its last copy on
            self.window.newest = replace(encoded, frame=arrival.frame)
        assert encoded.twin is not None
        self.waiting = (*self.waiting, WaitingCopy(arrival, encoded.twin))
        return None

    def _complete_still(self, encoded: EncodedFrame) -> Window[EncodedFrame] | None:
        """The window of the newest frame, with its copy beside it where no motion is known, or that has ended."""
        still = replace(encoded)
        if self.looks_on:
            self.window.before = None if self.window.before is None else still
            return self.window.complete(still)
        return self.window.complete(still if self.window.before is None else None)

    def wait(self, window: Window[EncodedFrame], matched: Any = None, *, may_wait: int = 0) -> None:
        """Let a window wait that has just become complete, and the copies of its frame behind it.

        Args:
            matched: what ``match_motion`` returned for it, if others may wait for it.
            may_wait: how many windows may wait for later ones from here on.
        """
        twin, copies = window.current.twin, self.copies
        assert twin is not None
        taken = int(self.window.newest is not None and self.window.open)
        behind = [WaitingCopy(each, twin) for each in copies]
        self.waiting = (*self.waiting, WaitingWindow(window, taken, matched), *behind)
        self.copies, self.may_wait = (), may_wait

    def next_job(self) -> RestoreJob | WaitingCopy | None:
        """Take the oldest window or copy if enough wait behind it or the stream has ended.

        A window comes with the later ones of its shot. It waits for windows of the next shot, too: restored all at once
        where a shot ends, its frames would find no other work to go on beside them.
        """
        ended = self.window.newest is None
        inside = int(self.window.open) + len(self.copies) + len(self.repeats.held)
        enough = len(self.waiting) + inside > self.may_wait + self.window.lookahead
        if not self.waiting or not (ended or enough):
            return None
        oldest, *others = self.waiting
        self.waiting = tuple(others)
        if isinstance(oldest, WaitingCopy):
            return oldest
        windows = (one for one in others if isinstance(one, WaitingWindow))
        later = takewhile(lambda one: not one.window.first and one.matched is not None, windows)
        return RestoreJob(self, oldest, tuple(one.matched.profile for one in later))

    def restore(self, snapshot: Snapshot, last: Frame, encoded: EncodedFrame) -> None:
        """Bring a new stream to where a snapshot was taken, but for the network's state.

        Args:
            last: the frame after which it was taken.
            encoded: the same, or the one that it is a copy of; its ``twin`` is that of the snapshot, if it has one.
        """
        self.newest = last
        self.cut_detector.load_state_dict(snapshot.cut_detector)
        self.repeats.load_state_dict(snapshot.repeats, encoded.frame)
        if is_still(snapshot.repeats):
            encoded = replace(encoded, frame=replace(encoded.frame, pts=last.pts))
        self.window.newest, self.window.open = encoded, False
        if encoded.guided is not None:
            self.guide_before, self.guide = encoded.guided.before, encoded.guided.after

    def copy(self) -> StreamState:
        return replace(
            self,
            window=copy.copy(self.window),
            cut_detector=copy.copy(self.cut_detector),
            repeats=copy.copy(self.repeats),
        )

    def copies_may_follow(self, twin: Twin) -> bool:
        """Whether the next frame to be restored may be a copy of this one."""
        if self.waiting:
            return isinstance(self.waiting[0], WaitingCopy)
        newest = self.window.newest
        return newest is not None and newest.twin is twin


@dataclass(frozen=True, eq=False)
class Snapshot:
    """State of a stream after a frame, without frames but for copies: enough to resume it once these are read again."""

    #: The network's recurrent state.
    state: Any
    #: Frames taken beyond the last restored one, for certain: 0, or 1 with lookahead.
    ahead: int
    #: State of the shot boundary detector (:meth:`vdeblur.engine.scene_cuts.SceneCutDetector.state_dict`).
    cut_detector: dict[str, Any]
    #: For how many frames the blur has contradicted the camera (1,), if one has said anything.
    contradictions: Tensor | None = None
    #: What is known of overlays (H/2, W/2).
    overlays: Tensor | None = None
    #: State of the repeat finder (:meth:`vdeblur.engine.repeats.RepeatFinder.state_dict`).
    repeats: dict[str, Any] = field(default_factory=lambda: RepeatFinder().state_dict())
    #: The frame that it was a copy of, or that copies may follow, restored; None: no copy can follow.
    twin: Twin | SavedTwin | None = None
    #: What the guide remembered before the frame, or before the one that it was a copy of, which is seen again.
    guide: GuideMemory | None = None

    @staticmethod
    def of(job: RestoreJob) -> Snapshot:
        """After the job's frame, the newest that has been restored of its stream."""
        stream, encoded = job.stream, job.window.current
        arrival, twin = encoded.arrival, encoded.twin
        assert arrival is not None
        assert twin is not None
        snapshot = Snapshot.after_arrival(stream, arrival, twin if stream.copies_may_follow(twin) else None)
        return replace(snapshot, ahead=job.waited.taken)

    @staticmethod
    def after_arrival(stream: StreamState, arrival: Arrival, twin: Twin | None) -> Snapshot:
        """After a frame, or a copy, whose stream has this state now."""
        return Snapshot(
            stream.state, 0, arrival.cut_detector, stream.contradictions, stream.overlays, arrival.repeats, twin,
            stream.guide_before,
        )  # fmt: skip

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
    #: Noise it was restored with; None without a guide.
    noise: FrameNoise | None = None


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
