"""Repeated frames: 24 frames in 30, 30 in 60, dropped frames that were filled up, a screen that nothing changes on.

A copy shows no new instant: between a frame and its copy nothing moves, and the next frame seems to move twice as far.
So a copy is taken out of the stream before the network sees it, which then finds the neighbours that differ, and the
copy gets what its frame was corrected by.

Equal samples are a copy. A codec leaves its noise in them, and then they are nearly equal: a copy if no block
of the picture changes by more than a fraction of what changes to the frames before and behind. That alone would take a
scene that comes to rest for copies of its first still frame, which may be blurred yet. So nearly equal frames must be
followed by motion again, after :data:`MOST_COPIES` at most. Where later frames may be waited for, they are; elsewhere
runs of copies are believed up to the length of those that were followed by motion before. A frame with more than
:data:`MOST_COPIES` equal copies stands still, and is restored as one that does not move.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vdeblur.engine.exposure import FrameShutter, KnownFraction
from vdeblur.engine.guide.stage import FrameNoise
from vdeblur.frames import Frame

#: Nearly equal frames in a row that can be copies, and copies for which the frame itself may wait: 10 in 60 has 5.
MOST_COPIES = 6
#: Memory for nearly equal frames until one is seen to move, and how many may wait at least.
HELD_BYTES = 256 << 20
LEAST_HELD = 2

#: Change of a copy, in parts of that of frames which move. Measured: up to 0.1 at CRF 28, from 0.5 on for slow motion.
_NEAR = 0.25
#: Change below which nothing moves, in parts of the range.
_STILL = 3 / 255
#: Change up to which frames may be copies before anything has moved.
_FAINT = 4 / 255
#: Samples are taken about so far apart that there are so many each way; a cell has so many of them each way.
_SAMPLES, _CELL = 192, 4
#: Pixels each way of the blocks in which whole pictures are compared.
_BLOCK_PX = 8


@dataclass(frozen=True, eq=False)
class Arrival:
    """A frame of a stream in its turn, and what the stream remembers after it."""

    frame: Frame
    same_shot: bool
    #: It is a copy of the newest frame that was none.
    is_copy: bool
    #: State of the shot boundary detector, and of the :class:`RepeatFinder`.
    cut_detector: dict[str, Any]
    repeats: dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Item:
    """A frame that has come, and what is asked of it."""

    frame: Frame
    samples: NDArray[Any]
    same_shot: bool
    may_be_copy: bool
    waited_for: bool
    cut_detector: dict[str, Any]


class RepeatFinder:
    """Finds copies among the frames of a stream. ``copy.copy`` gives one that goes on on its own.

    Attributes:
        run: how many copies of the newest frame there have been.
    """

    def __init__(self) -> None:
        self.run = 0
        #: Frames that are nearly equal to the newest one, until one is seen to move.
        self.held: tuple[_Item, ...] = ()
        self._newest: Frame | None = None
        self._samples: NDArray[Any] | None = None
        #: Change at the last motion; None: nothing has moved in this shot.
        self._moved: float | None = None
        #: Nearly equal frames since then, and the most of them after which something moved again.
        self._near = self._longest = 0

    def push(
        self,
        frame: Frame,
        cut_detector: dict[str, Any],
        *,
        same_shot: bool,
        may_be_copy: bool,
        hold: bool = False,
        waits: bool = False,
    ) -> list[Arrival]:
        """Take the next frame; return those that are decided now, in order: its own, or none, or some held ones too.

        Args:
            cut_detector: state of the shot boundary detector after it.
            same_shot: it belongs to the shot of the frame before.
            may_be_copy: nothing has changed since in how frames are restored.
            hold: nearly equal frames may wait for later ones.
            waits: the newest frame itself waits for one that is no copy, for MOST_COPIES.
        """
        item = _Item(frame, _samples(frame), same_shot, may_be_copy, waits, cut_detector)
        return self._decide(deque([item]), hold=hold)

    def finish(self) -> list[Arrival]:
        """Decide on the frames that are held, at the end of the stream."""
        decided = []
        while self.held:
            waiting: deque[_Item] = deque()
            decided += self._settle(waiting)
            decided += self._decide(waiting, hold=False)
        return decided

    def state_dict(self) -> dict[str, Any]:
        """State beside the newest frame, and without held ones, as plain JSON values."""
        return {"run": self.run, "moved": self._moved, "near": self._near, "longest": self._longest}

    def load_state_dict(self, state: Mapping[str, Any], newest: Frame) -> None:
        """Load the state of :meth:`state_dict` with the frame that was the newest then.

        Raises:
            ValueError, TypeError, KeyError: that is no such state.
        """
        moved = state["moved"]
        self.run, self._near, self._longest = (int(state[name]) for name in ("run", "near", "longest"))
        self._moved = None if moved is None else float(moved)
        self._newest, self._samples, self.held = newest, _samples(newest), ()

    def _decide(self, waiting: deque[_Item], *, hold: bool) -> list[Arrival]:
        decided = []
        while waiting:
            decided += self._judge(waiting.popleft(), waiting, hold=hold)
        return decided

    def _judge(self, item: _Item, waiting: deque[_Item], *, hold: bool) -> list[Arrival]:
        """Decide on a frame, or on held ones before it, which then waits."""
        newest = self._newest
        if newest is None or not item.same_shot:
            if self.held:
                waiting.appendleft(item)
                return self._settle(waiting)
            self._near = 0
            return [self._new(item, None)]
        change = self._change(item)
        if item.may_be_copy:
            equal = change == 0 and _equal(newest, item.frame)
            if equal and not self.held:
                # Where its frame did not wait for what follows, it shows only now that the scene has come to rest.
                rests = not item.waited_for and self.run == MOST_COPIES and self._moved != 0
                return [self._new(item, change) if rests else self._copy(item, shared=True)]
            if equal or self._is_near(newest, item, change, hold=hold):
                return self._take_near(item, change, waiting, hold=hold)
        if self.held:
            waiting.appendleft(item)
            followed = all(self._change(one) <= _NEAR * change for one in self.held)
            return self._as_copies() if followed else self._release(waiting)
        confirmed = max(self._near, self.run)
        if confirmed <= MOST_COPIES:
            self._longest = max(self._longest, confirmed)
        self._near = 0
        return [self._new(item, change)]

    def _take_near(self, item: _Item, change: float, waiting: deque[_Item], *, hold: bool) -> list[Arrival]:
        """Decide on a frame that is nearly equal to the newest one, or hold it."""
        if hold:
            if self._near + len(self.held) < _most_held(item.frame):
                self.held = (*self.held, item)
                return []
            waiting.appendleft(item)  # the scene has come to rest
            return self._release(waiting)
        self._near += 1
        if self._near <= self._longest:
            return [self._copy(item)]
        if self._near > MOST_COPIES:
            self._near = 0
            return [self._new(item, change)]
        return [self._new(item, self._moved)]

    def _settle(self, waiting: deque[_Item]) -> list[Arrival]:
        """Decide on held frames that no motion follows: by what has been seen before."""
        return self._as_copies() if self._near + len(self.held) <= self._longest else self._release(waiting)

    def _as_copies(self) -> list[Arrival]:
        held, self.held = self.held, ()
        copies = []
        for one in held:
            self._near += 1
            copies.append(self._copy(one))
        return copies

    def _release(self, waiting: deque[_Item]) -> list[Arrival]:
        """Let the first held frame be none of the copies; the others wait to be compared with it."""
        (first, *others), self.held = self.held, ()
        waiting.extendleft(reversed(others))
        self._near = 0
        return [self._new(first, self._change(first))]

    def _copy(self, item: _Item, *, shared: bool = False) -> Arrival:
        """A copy; with equal samples it shares those of the newest frame, and takes no memory."""
        self.run += 1
        frame, newest = item.frame, self._newest
        if shared and newest is not None:
            colours = frame.format.colour_planes
            frame = frame.with_planes((*newest.planes[:colours], *frame.planes[colours:]))
        return Arrival(frame, True, True, item.cut_detector, self.state_dict())

    def _new(self, item: _Item, moved: float | None) -> Arrival:
        self.run, self._moved = 0, moved
        self._newest, self._samples = item.frame, item.samples
        return Arrival(item.frame, item.same_shot, False, item.cut_detector, self.state_dict())

    def _change(self, item: _Item) -> float:
        """Largest mean change of a cell from the newest frame, in parts of the range."""
        assert self._samples is not None
        apart = np.abs(np.subtract(item.samples, self._samples, dtype=np.float32))
        rows, columns = (min(size, _CELL) for size in apart.shape)
        apart = apart[: apart.shape[0] // rows * rows, : apart.shape[1] // columns * columns]
        cells = apart.reshape(apart.shape[0] // rows, rows, -1, columns).mean((1, 3))
        return float(cells.max()) / item.frame.format.peak

    def _is_near(self, newest: Frame, item: _Item, change: float, *, hold: bool) -> bool:
        """Whether a frame differs from the newest one by no more than a codec's noise, anywhere."""
        if self._moved is None:
            most = _FAINT if hold else 0.0
        else:
            most = _NEAR * self._moved if self._moved >= _STILL else 0.0
        return 0 < most >= change and _block_change(newest, item.frame) <= most


def is_still(state: Mapping[str, Any]) -> bool:
    """Whether the newest frame, by the state of :meth:`RepeatFinder.state_dict`, has come to rest."""
    return bool(state["run"] > MOST_COPIES or state["moved"] == 0)


def _samples(frame: Frame) -> NDArray[Any]:
    """Samples of luma, or of green, evenly spread; in memory of their own."""
    plane = frame.planes[0]
    rows, columns = (max(1, round(size / _SAMPLES)) for size in plane.shape)
    part = plane[rows // 2 :: rows, columns // 2 :: columns]
    samples: NDArray[Any] = part.cpu().numpy() if isinstance(part, Tensor) else part
    return samples.copy()


def _equal(one: Frame, other: Frame) -> bool:
    """Whether all colour samples are equal."""
    return all(_same(a, b) for a, b in _pairs(one, other))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.device == other.device and torch.equal(one, other)
    return isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and np.array_equal(one, other)


def _block_change(one: Frame, other: Frame) -> float:
    """Largest mean change of a block of any colour plane, in parts of the range."""
    return max(_plane_change(a, b) for a, b in _pairs(one, other)) / one.format.peak


def _plane_change(one: Any, other: Any) -> float:
    a, b = (torch.from_numpy(np.ascontiguousarray(p)) if isinstance(p, np.ndarray) else p for p in (one, other))
    if a.device != b.device:
        return float("inf")
    apart = (a.float() - b.float()).abs_()[None, None]
    sides = [min(_BLOCK_PX, size) for size in apart.shape[-2:]]
    return float(F.avg_pool2d(apart, sides, ceil_mode=True, count_include_pad=False).max())


def _pairs(one: Frame, other: Frame) -> list[tuple[Any, Any]]:
    count = one.format.colour_planes
    return list(zip(one.planes[:count], other.planes[:count], strict=True))


def _most_held(frame: Frame) -> int:
    each_bytes = sum(plane.nbytes for plane in frame.planes)
    return min(MOST_COPIES, max(LEAST_HELD, int(HELD_BYTES // max(1, each_bytes))))


class Twin:
    """A frame whose copies get what it was corrected by.

    Args:
        source: the frame as it came.
        restored: the same, restored; None as long as it is not.
        shutter: the exposure that it was restored with.
        noise: likewise its noise.
    """

    def __init__(
        self,
        source: Frame,
        restored: Frame | None = None,
        shutter: FrameShutter | None = None,
        noise: FrameNoise | None = None,
    ) -> None:
        self.source = source
        self.restored = restored
        self.shutter = shutter
        self.noise = noise

    def correct(self, copy: Frame) -> Frame:
        """Correct a copy of the frame, in its own samples; equal planes are those of the restored frame."""
        assert self.restored is not None
        count = copy.format.colour_planes
        sources, restored = self.source.planes[:count], self.restored.planes[:count]
        planes = [
            after if plane is before else _corrected(plane, before, after, copy)
            for plane, before, after in zip(copy.planes[:count], sources, restored, strict=True)
        ]
        return copy.with_planes((*planes, *copy.planes[count:]))

    def like(self, last: Frame) -> Twin:
        """Itself; as :meth:`SavedTwin.like`."""
        return self

    def saved(self) -> tuple[list[Tensor], dict[str, Any]]:
        """Samples of the colour planes, before and after, as bytes (rows, bytes); and the rest as plain JSON values.

        :meth:`SavedTwin.load` makes a :class:`SavedTwin` of them.
        """
        assert self.restored is not None
        count, shutter = self.source.format.colour_planes, self.shutter
        planes = (*self.source.planes[:count], *self.restored.planes[:count])
        said = None
        if shutter is not None:
            numbers = [shutter.used, shutter.middle, shutter.low, shutter.high]
            said = {"known": list(shutter.known), "numbers": numbers, "overruled": shutter.overruled}
        noise = None if self.noise is None else asdict(self.noise)
        plain = {"pts": self.source.pts, "quantiser": self.source.quantiser, "shutter": said, "noise": noise}
        return [_as_bytes(plane) for plane in planes], plain


class SavedTwin:
    """A :class:`Twin` that was kept on a disk.

    Args:
        samples: of its colour planes, before and after, as bytes.
        pts: its tick.
        quantiser: of its codec.
    """

    def __init__(
        self,
        samples: Sequence[Tensor],
        pts: int,
        quantiser: float | None,
        shutter: FrameShutter | None,
        noise: FrameNoise | None,
    ) -> None:
        self._samples = [samples[: len(samples) // 2], samples[len(samples) // 2 :]]
        self._pts, self._quantiser = pts, quantiser
        self._shutter, self._noise = shutter, noise

    @staticmethod
    def load(samples: Sequence[Tensor], plain: Mapping[str, Any]) -> SavedTwin:
        """From what :meth:`Twin.saved` returned.

        Raises:
            ValueError, TypeError, KeyError: that is not it.
        """
        said, shutter = plain["shutter"], None
        if said is not None:
            used, middle, low, high = map(float, said["numbers"])
            shutter = FrameShutter(used, KnownFraction(*said["known"]), middle, low, high, bool(said["overruled"]))
        quantiser = None if plain["quantiser"] is None else float(plain["quantiser"])
        noise = None if plain["noise"] is None else FrameNoise(**plain["noise"])
        return SavedTwin(samples, int(plain["pts"]), quantiser, shutter, noise)

    def like(self, last: Frame) -> Twin:
        """The twin of a frame, which is the same or a copy of it.

        Raises:
            ValueError: its samples are of another format or size.
        """
        count = last.format.colour_planes
        source, restored = (
            last.with_planes((*map(_from_bytes, samples, last.planes[:count]), *last.planes[count:]))
            for samples in self._samples
        )
        before, after = (replace(each, pts=self._pts, quantiser=self._quantiser) for each in (source, restored))
        return Twin(before, after, self._shutter, self._noise)


def _as_bytes(plane: Any) -> Tensor:
    samples = plane.cpu().numpy() if isinstance(plane, Tensor) else plane
    return torch.from_numpy(np.ascontiguousarray(samples).view(np.uint8).copy())


def _from_bytes(samples: Tensor, plane: Any) -> Any:
    """A plane of another one's kind."""
    like = plane.cpu().numpy() if isinstance(plane, Tensor) else plane
    made = samples.numpy().view(like.dtype).reshape(like.shape)
    return torch.from_numpy(made).to(plane.device) if isinstance(plane, Tensor) else made


def _corrected(plane: Any, before: Any, after: Any, frame: Frame) -> Any:
    """A plane with what another one was changed by; integers are clipped to their range."""
    planes: Sequence[Tensor] = [torch.from_numpy(p) if isinstance(p, np.ndarray) else p for p in (plane, before, after)]
    if frame.format.is_float:
        corrected = planes[0] + (planes[2] - planes[1])
    else:
        wide = [each.to(torch.int32) for each in planes]
        corrected = (wide[0] + wide[2] - wide[1]).clamp_(0, int(frame.format.peak)).to(planes[0].dtype)
    return corrected.numpy() if isinstance(plane, np.ndarray) else corrected
