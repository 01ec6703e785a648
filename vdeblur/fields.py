"""Fields: interlaced frames are restored as the whole pictures their two fields belong to, and woven again.

A frame of interlaced video holds two instants, one in its even rows and one in its odd rows. Each is completed to a
whole picture (FFmpeg's ``bwdif`` keeps a field's own rows and finds those between), the pictures are restored as one
sequence of twice the rate, and of each restored picture the field's own rows go back into the frame.

Restoring the even rows of all frames as one clip of half the height and the odd rows as another costs half as much,
but gained less in every clip that was measured (0.3 to 1.3 dB): fine detail aliases in a field, and neighbours are
twice as far apart in time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from itertools import islice
from typing import Any

import numpy as np
import torch

from vdeblur.engine import Deblurrer, Restored, Snapshot
from vdeblur.frames import FieldOrder, Frame

#: Takes interlaced frames and gives two pictures for each, the earlier first: :func:`vdeblur.video.deinterlace.bob`.
Bob = Callable[[Iterable[Frame], FieldOrder], Iterator[Frame]]
#: Frames before one that decide what its fields are completed to: bwdif looks at one, and one more is its first.
RUN_UP_FRAMES = 2


def restore_fields(
    deblurrer: Deblurrer,
    bob: Bob,
    frames: Iterable[Frame],
    order: FieldOrder,
    *,
    after: Snapshot | None = None,
    known: int = 0,
) -> Generator[Restored, None, None]:
    """Restore interlaced frames: N in, N out, in order, as :meth:`Deblurrer.restorations` does whole ones. Lazy.

    Rows that the network leaves alone come back bit for bit.

    Args:
        after: what was remembered after the last of the frames that are known.
        known: frames in front that do not come out: the last one restored and up to ``RUN_UP_FRAMES`` before it.
    """
    originals: deque[Frame] = deque()

    def remembered() -> Iterator[Frame]:
        for number, frame in enumerate(frames):
            if number >= known:
                originals.append(frame)
            yield frame

    # Of the known ones the engine takes the very last picture again.
    pictures = islice(bob(remembered(), order), max(0, 2 * known - 1), None)
    with closing(deblurrer.restorations(pictures, after=after)) as restored:
        for first in restored:
            second = next(restored)
            yield Restored(weave(first.frame, second.frame, order, like=originals.popleft()), second.snapshot)


def weave(first: Frame, second: Frame, order: FieldOrder, *, like: Frame) -> Frame:
    """One frame of two pictures: the rows of its earlier field from ``first``, the others from ``second``.

    The top field, which comes first in "tff", has the even rows of every plane. Time is that of ``like``.
    """
    top, bottom = (first, second) if order == "tff" else (second, first)
    return like.with_planes([_woven(even, odd) for even, odd in zip(top.planes, bottom.planes, strict=True)])


def _woven(even: Any, odd: Any) -> Any:
    plane = torch.empty_like(even) if isinstance(even, torch.Tensor) else np.empty_like(even)
    plane[0::2], plane[1::2] = even[0::2], odd[1::2]
    return plane
