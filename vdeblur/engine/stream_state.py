"""Stream state: the window, recurrent state and scene-cut detector of one clip, and the snapshot to resume it from."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vdeblur.engine.exposure import Neighbourhood
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


@dataclass
class StreamState:
    """State of one stream between two frames. Its parts are replaced, never written to."""

    window: SlidingWindow[EncodedFrame]
    cut_detector: SceneCutDetector = field(default_factory=SceneCutDetector)
    #: The network's recurrent state, None at the start of a shot.
    state: Any = None

    def push(self, encoded: EncodedFrame) -> Window[EncodedFrame] | None:
        """Take the next frame; return the window that is complete now, if there is one."""
        last = self.window.newest
        same_shot = (
            last is not None
            and not self.cut_detector(last.frame, encoded.frame)  # asked for each frame: it keeps a state
            and last.reduce == encoded.reduce
        )
        return self.window.push(encoded, same_shot=same_shot)

    def copy(self) -> StreamState:
        return StreamState(copy.copy(self.window), copy.copy(self.cut_detector), self.state)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """State of a stream after a frame, without frames: enough to resume it once these are read again."""

    #: The network's recurrent state.
    state: Any
    #: Frames taken beyond the last restored one: 0, or 1 with lookahead.
    ahead: int
    #: Whether the frame ahead belongs to the same shot.
    same_shot: bool
    #: State of the shot boundary detector (:meth:`vdeblur.engine.scene_cuts.SceneCutDetector.state_dict`).
    cut_detector: dict[str, Any]

    @staticmethod
    def of(stream: StreamState) -> Snapshot:
        window = stream.window
        return Snapshot(stream.state, window.lookahead, window.before is not None, stream.cut_detector.state_dict())

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


#: A stream, and a window of it whose current frame is to be restored.
RestoreJob = tuple[StreamState, Window[EncodedFrame]]


def network_arguments(job: RestoreJob) -> tuple[Any, Any, Any, Any]:
    """Features of the previous, the current and the next frame, and the state; None for those that are missing."""
    stream, window = job
    encoded = window.current
    previous = None if window.previous is encoded else window.previous.features
    following = None if window.next is encoded else window.next.features
    return previous, encoded.features, following, None if window.first else stream.state


def neighbourhood(job: RestoreJob) -> Neighbourhood:
    """The frame that is to be restored, with those beside it."""
    window = job[1]
    previous, current, following = (encoded.frame for encoded in (window.previous, window.current, window.next))
    return Neighbourhood(
        None if previous is current else previous, current, None if following is current else following
    )


def missing_arguments(job: RestoreJob) -> tuple[bool, ...]:
    """Which of the network's arguments are None; windows with the same ones can share a batch."""
    return tuple(part is None for part in network_arguments(job))
