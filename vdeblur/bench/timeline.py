"""GPU timeline: when uploads, kernels and downloads of a run were in flight, and how far they overlapped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch

from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.read_ahead import always_ready
from vdeblur.errors import UsageError
from vdeblur.frames import Frame
from vdeblur.runtime.transfer import CudaTransfer

#: What the network's stream does of a frame.
NETWORK = ("encode", "match", "restore")
#: What the other two streams do.
TRANSFERS = ("upload", "download")
Interval = tuple[float, float]


@dataclass(frozen=True)
class Span:
    """A piece of work on the GPU, in milliseconds since the run began; frames are counted from 0."""

    stage: str
    frame: int
    start_ms: float
    end_ms: float


class Events:
    """Watches a :class:`vdeblur.runtime.transfer.CudaTransfer` with an event before and after each piece of work.

    Args:
        make: makes an event that keeps the time, ``torch.cuda.Event(enable_timing=True)``.
        stream: where the clock starts.
    """

    def __init__(self, make: Callable[[], Any], stream: Any) -> None:
        self._make = make
        self._start = self._recorded(stream)
        self._pieces: list[tuple[str, Any, Any]] = []

    @contextmanager
    def __call__(self, stage: str, stream: Any, /) -> Iterator[None]:
        start = self._recorded(stream)
        yield
        self._pieces.append((stage, start, self._recorded(stream)))

    def spans(self) -> list[Span]:
        """All pieces, once they are done; each stage meets the frames in their order."""
        count: Counter[str] = Counter()
        found = []
        for stage, *ends in self._pieces:
            times = []
            for event in ends:
                event.synchronize()
                times.append(float(self._start.elapsed_time(event)))
            found.append(Span(stage, count[stage], *times))
            count[stage] += 1
        return found

    def _recorded(self, stream: Any) -> Any:
        event = self._make()
        event.record(stream)
        return event


@dataclass(frozen=True)
class Overlap:
    """What a timeline says, in milliseconds and shares.

    Attributes:
        wall_ms: from the beginning of the first piece to the end of the last.
        network_ms, upload_ms, download_ms: how long at least one such piece was under way.
        network_share: of the wall in which the network worked; with 1 nothing held it up.
        hidden_share: of the time of transfers in which the network worked, too.
        both_ways_ms: how long an upload and a download were under way at a time.
    """

    frames: int
    wall_ms: float
    network_ms: float
    upload_ms: float
    download_ms: float
    network_share: float
    hidden_share: float
    both_ways_ms: float

    @property
    def frames_per_second(self) -> float:
        return 1000 * self.frames / self.wall_ms

    def as_dict(self) -> dict[str, Any]:
        numbers = {name: round(value, 4) for name, value in asdict(self).items()}
        return {**numbers, "fps": round(self.frames_per_second, 2)}

    @property
    def words(self) -> str:
        """In one line."""
        return (
            f"{self.frames} frames in {self.wall_ms:.1f} ms ({self.frames_per_second:.1f} a second); "
            f"network at work {self.network_share:.0%} of the time; "
            f"{self.hidden_share:.0%} of the transfers lie beside it"
        )


def overlap_of(spans: Sequence[Span]) -> Overlap:
    """How far the pieces of a run lay side by side."""
    network, moving = _union(_of(spans, NETWORK)), _union(_of(spans, TRANSFERS))
    up, down = (_union(_of(spans, (stage,))) for stage in TRANSFERS)
    wall = max(span.end_ms for span in spans) - min(span.start_ms for span in spans)
    hidden = _length(_common(network, moving)) / _length(moving) if moving else 0.0
    return Overlap(
        frames=sum(span.stage == "restore" for span in spans),
        wall_ms=wall,
        network_ms=_length(network),
        upload_ms=_length(up),
        download_ms=_length(down),
        network_share=_length(network) / wall,
        hidden_share=hidden,
        both_ways_ms=_length(_common(up, down)),
    )


def watch_run(deblurrer: Deblurrer, frames: Iterable[Frame], events: Events | None = None) -> list[Span]:
    """Restore frames and watch: one span for each upload, encoding, restoration and download.

    Args:
        events: what watches, the device's own if None.

    Raises:
        UsageError: the device has no streams.
    """
    transfer = deblurrer.device_step.transfer
    if not isinstance(transfer, CudaTransfer):
        raise UsageError(f"a timeline needs a CUDA device; this is {deblurrer.device}")
    transfer.watch = events = events or _events(deblurrer.device)
    try:
        for _ in deblurrer.run(frames, ready=always_ready):
            pass
    finally:
        transfer.watch = None
    return events.spans()


def _events(device: torch.device) -> Events:
    module = torch.get_device_module(device)
    return Events(lambda: module.Event(enable_timing=True), module.current_stream(device))


def _of(spans: Iterable[Span], stages: Sequence[str]) -> list[Interval]:
    return [(span.start_ms, span.end_ms) for span in spans if span.stage in stages]


def _union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same time in intervals that do not touch, in their order."""
    joined: list[Interval] = []
    for start, end in sorted(intervals):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        elif end > start:
            joined.append((start, end))
    return joined


def _common(one: Iterable[Interval], other: Sequence[Interval]) -> list[Interval]:
    """The time that is in both."""
    both = [(max(a, c), min(b, d)) for a, b in one for c, d in other]
    return [(start, end) for start, end in both if end > start]


def _length(intervals: Iterable[Interval]) -> float:
    return sum(end - start for start, end in intervals)
