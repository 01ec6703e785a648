"""Read-ahead: later frames of a shot are matched before one is restored, and its exposure is read from them, too.

A shot has one shutter, or one that changes slowly. What its later frames say of it is worth as much as what the
earlier ones say, and for its first frames it is nearly all there is. It costs delay and memory, and no work: each frame
is decoded, encoded and matched once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from vdeblur.errors import UsageError

#: Frames to read ahead in a file: later ones count little (:data:`vdeblur.model.exposure.DECAY`).
READ_AHEAD = 24
#: Most frames to read ahead.
MOST_AHEAD = 100
#: Memory for the frames that wait: planes, features and motion fields. Large frames get fewer, at least LEAST_AHEAD.
WAITING_BYTES = 256 << 20
LEAST_AHEAD = 2


def always_ready() -> bool:
    """The next frame is there already: what a run over a file or a list is told (``ready``)."""
    return True


def checked_read_ahead(frames: int) -> int:
    """Frames to read ahead, if they are within the bounds.

    Raises:
        UsageError: they are not.
    """
    if isinstance(frames, bool) or not isinstance(frames, int) or not 0 <= frames <= MOST_AHEAD:
        raise UsageError(f"read_ahead cannot be {frames!r}; it is a whole number of frames from 0 to {MOST_AHEAD}")
    return frames


def frames_that_wait(read_ahead: int, each_bytes: float) -> int:
    """How many frames may wait, of those that were asked for, if each takes so many bytes."""
    return min(read_ahead, max(LEAST_AHEAD, int(WAITING_BYTES / max(1.0, each_bytes))))


def tensor_bytes(*trees: Any) -> int:
    """Bytes of the tensors in tuples within tuples; one that is in there twice counts once."""
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors_in(trees)}.values())


def tensors_in(trees: Iterable[Any]) -> Iterator[Tensor]:
    for tree in trees:
        if isinstance(tree, Tensor):
            yield tree
        elif isinstance(tree, (tuple, list)):
            yield from tensors_in(tree)
