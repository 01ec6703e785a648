"""Remembering: what of a clip is kept from frame to frame, and what of it is enough to go on later."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vdeblur.engine.pixels import shrunk_size
from vdeblur.engine.scene_cuts import Breaks
from vdeblur.engine.windows import SlidingWindow, Window
from vdeblur.errors import NetworkError
from vdeblur.frames import Frame
from vdeblur.runtime.transfer import Planes


@dataclass(frozen=True, eq=False)
class Item:
    """A frame and what the device holds of it: colour planes, and features that serve every window it is in."""

    frame: Frame
    planes: Planes
    features: Any
    #: By how much it was reduced for the network.
    reduce: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) as the network sees it."""
        return shrunk_size(self.frame.size, self.reduce)


@dataclass
class Memory:
    """What a Deblurrer remembers from frame to frame. Its parts are replaced, never written to."""

    window: SlidingWindow[Item]
    breaks: Breaks = field(default_factory=Breaks)
    state: Any = None

    def joins(self, item: Item) -> bool:
        """Whether the next frame belongs to the same shot as the newest one; asked once for each."""
        last = self.window.newest
        return last is not None and not self.breaks(last.frame, item.frame) and last.reduce == item.reduce

    def copy(self) -> Memory:
        return Memory(copy.copy(self.window), copy.copy(self.breaks), self.state)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What is remembered after a frame, without the frames themselves: enough to go on once they are read again."""

    #: The network's recurrent state.
    state: Any
    #: Frames taken beyond the last restored one: 0, or 1 with lookahead.
    ahead: int
    #: Whether the frame ahead belongs to the same shot.
    joined: bool
    #: What the search for cuts remembers (:meth:`vdeblur.engine.scene_cuts.Breaks.memory`).
    breaks: dict[str, Any]

    @staticmethod
    def of(memory: Memory) -> Snapshot:
        window = memory.window
        return Snapshot(memory.state, window.lookahead, window.before is not None, memory.breaks.memory())

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
class Restored:
    """A restored frame, and what was remembered when it had been restored."""

    frame: Frame
    snapshot: Snapshot


#: A memory, and the next frame for it, None at the end of its clip.
Step = tuple[Memory, Frame | None]
#: A memory, and the window in which its next frame is restored.
Job = tuple[Memory, Window[Item]]


def seen(job: Job) -> tuple[Any, Any, Any, Any]:
    """What the network sees: features before, at and after a frame, and the state; None where there is none."""
    memory, window = job
    item = window.current
    previous = None if window.previous is item else window.previous.features
    following = None if window.next is item else window.next.features
    return previous, item.features, following, None if window.first else memory.state


def missing(job: Job) -> tuple[bool, ...]:
    return tuple(part is None for part in seen(job))
