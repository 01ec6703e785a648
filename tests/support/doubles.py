"""Stand-ins for tests: small networks with the real one's methods, and clips made by code."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vdeblur.frames import Colour, Frame, PixelFormat, dtype_for
from vdeblur.model.network import NetworkTraits, traits_of
from vdeblur.video.info import SourceInfo, StreamInfo, VideoInfo
from vdeblur.video.streams.outcomes import Outcome

YUV420 = PixelFormat("yuv420p", "yuv", 8, (1, 1))
YUV420P10 = PixelFormat("yuv420p10le", "yuv", 10, (1, 1))
YUV444 = PixelFormat("yuv444p", "yuv", 8)
#: One of each family, subsampling and depth.
FORMATS = [
    YUV420,
    PixelFormat("yuva420p", "yuv", 8, (1, 1), alpha=True),
    PixelFormat("yuv422p", "yuv", 8, (1, 0)),
    PixelFormat("yuv440p", "yuv", 8, (0, 1)),
    PixelFormat("yuv411p", "yuv", 8, (2, 0)),
    PixelFormat("yuv410p", "yuv", 8, (2, 2)),
    YUV444,
    PixelFormat("yuv420p9le", "yuv", 9, (1, 1)),
    YUV420P10,
    PixelFormat("yuv422p12le", "yuv", 12, (1, 0)),
    PixelFormat("yuva444p16le", "yuv", 16, (0, 0), alpha=True),
    PixelFormat("gray", "gray", 8),
    PixelFormat("ya8", "gray", 8, alpha=True),
    PixelFormat("gray14le", "gray", 14),
    PixelFormat("gbrp", "rgb", 8),
    PixelFormat("gbrap10le", "rgb", 10, alpha=True),
    PixelFormat("gbrp16le", "rgb", 16),
    PixelFormat("gbrpf32le", "rgb", 32),
    PixelFormat("grayf32le", "gray", 32),
]
BT709 = Colour(matrix="bt709", range="tv", primaries="bt709", transfer="bt709")


def clip(
    count: int,
    height: int = 36,
    width: int = 52,
    *,
    pixel_format: PixelFormat = YUV420,
    colour: Colour = BT709,
    cuts: tuple[int, ...] = (),
    start: int = 0,
) -> Iterator[Frame]:
    """Frames of a drifting pattern, 25 a second; at a cut it becomes another one."""
    peak = pixel_format.peak
    for n in range(count):
        planes = []
        for index in range(pixel_format.plane_count):
            rows, columns = np.mgrid[tuple(slice(0, size) for size in pixel_format.plane_shape(index, height, width))]
            wave = 0.3 + 0.15 * np.sin(rows / 3 + n / 4 + index) + 0.15 * np.cos(columns / 5 - n / 3)
            other = 0.7 + 0.25 * np.sin((rows / 7) ** 2 + (columns / 11) ** 2 + n / 9)
            shot = sum(n >= cut for cut in cuts)
            value = (other if shot % 2 else wave) * peak
            planes.append(value.astype(dtype_for(pixel_format)))
        yield Frame(tuple(planes), pixel_format, colour, start + 512 * n, Fraction(1, 12800), 512)


def planes_equal(one: Frame, other: Frame) -> bool:
    return one.format == other.format and all(
        np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(one.planes, other.planes, strict=True)
    )


class Identity(nn.Module):
    """A network that corrects nothing. Counts what it is asked for."""

    stride = 16
    minimum_size = 32

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))  # something that has a dtype
        self.encoded = 0
        self.calls: list[tuple[bool, bool, bool]] = []

    def encode(self, frame: Tensor) -> Any:
        assert frame.shape[0] == 1 or traits_of(self).takes_batches
        assert all(size % self.stride == 0 and size >= self.minimum_size for size in frame.shape[-2:])
        self.encoded += 1
        return (frame,)

    def residual(self, previous: Any, current: Any, following: Any, state: Any) -> tuple[Tensor, Any]:
        self.calls.append((previous is not None, following is not None, state is not None))
        return self.correction(previous, current, following, state)

    def correction(self, previous: Any, current: Any, following: Any, state: Any) -> tuple[Tensor, Any]:
        return torch.zeros_like(current[0]), ()


class Constant(Identity):
    """Adds the same to every value."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def correction(self, previous: Any, current: Any, following: Any, state: Any) -> tuple[Tensor, Any]:
        return torch.full_like(current[0], self.value), ()


class Mixing(Identity):
    """Its residual depends on both neighbours and on every earlier frame of the shot."""

    def correction(self, previous: Any, current: Any, following: Any, state: Any) -> tuple[Tensor, Any]:
        now = current[0]
        before = now if previous is None else previous[0]
        after = now if following is None else following[0]
        memory = torch.zeros_like(now) if state is None else state[0]
        residual = 0.5 * (before - now).roll(1, -1) - 0.25 * (after - now) + 0.125 * memory
        return residual, (0.75 * memory + 0.25 * now,)


class Batching(Mixing):
    """Takes several frames at a time, and counts how many."""

    traits = NetworkTraits(takes_batches=True)

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def correction(self, previous: Any, current: Any, following: Any, state: Any) -> tuple[Tensor, Any]:
        self.sizes.append(len(current[0]))
        return super().correction(previous, current, following, state)


class ExposedState(NamedTuple):
    profile: Tensor
    reading: Tensor


class Matched(NamedTuple):
    profile: Tensor


class Exposed(Identity):
    """Is told the exposure; its residual is a tenth of it, and of what it would read from the blur where it is NaN.

    Args:
        doubt: how far apart a reading's low and high lie.
    """

    READ = 0.25
    traits = NetworkTraits(takes_batches=True, reads_exposure=True, state_from=ExposedState._make)

    def __init__(self, doubt: float = 0.1) -> None:
        super().__init__()
        self.doubt = doubt
        #: Of each frame, in the order of the steps.
        self.told: list[float] = []
        self.matched = 0

    def match_motion(self, previous: Any, current: Any, following: Any) -> Matched:
        self.matched += 1
        return Matched(self.profile(current))

    def without_levels(self, features: Any) -> Any:
        return features

    def profile(self, current: Any) -> Tensor:
        return current[0].mean((1, 2, 3))[:, None]

    def read(self, known: Tensor) -> Tensor:
        """Fraction (B,) read from all profiles together (B, 1)."""
        return torch.full_like(known[:, 0], self.READ)

    def residual(
        self,
        previous: Any,
        current: Any,
        following: Any,
        state: Any,
        exposure: Tensor | None = None,
        matched: Matched | None = None,
        ahead: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        assert exposure is not None
        assert exposure.shape == (len(current[0]), 1, 1, 1)
        assert exposure.dtype == torch.float32
        self.told += exposure.flatten().tolist()
        own = self.profile(current) if matched is None else matched.profile
        profile = own if state is None else own + 0.5 * state.profile
        read = self.read(profile if ahead is None else profile + ahead)
        reading = torch.stack((read, read, read - self.doubt / 2, read + self.doubt / 2), 1)
        used = torch.where(exposure.isnan(), read.view(-1, 1, 1, 1), exposure)
        return 0.1 * used.expand_as(current[0]), ExposedState(profile, reading)


class Failing(Mixing):
    """Raises an error, or returns a value, at the n-th residual it is asked for."""

    def __init__(self, at: int, outcome: BaseException | float) -> None:
        super().__init__()
        self.at = at
        self.outcome = outcome

    def correction(self, previous: Any, current: Any, following: Any, state: Any) -> tuple[Tensor, Any]:
        residual, state = super().correction(previous, current, following, state)
        if len(self.calls) == self.at + 1:
            if isinstance(self.outcome, BaseException):
                raise self.outcome
            residual[0, 2, 3, 5] = self.outcome
        return residual, state


class Slow(Identity):
    """Takes a known time for a frame."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def correction(self, previous: Any, current: Any, following: Any, state: Any) -> tuple[Tensor, Any]:
        time.sleep(self.seconds)
        return super().correction(previous, current, following, state)


def source_info(first: Frame, *, count: int | None = None, rotation_degrees: int = 0) -> SourceInfo:
    """What a reader would say of a bare video that begins with ``first`` and cannot be opened twice."""
    video = VideoInfo(
        stream_index=0,
        codec="rawvideo",
        width=first.width,
        height=first.height,
        pixel_format=first.format.name,
        format=first.format,
        colour=first.colour,
        time_base=first.time_base,
        average_rate=Fraction(25),
        frame_count_from_header=count,
        start_pts=first.pts,
        duration_seconds=None if count is None else count / 25,
        rotation_degrees=rotation_degrees,
    )
    return SourceInfo(
        name="test double",
        path=None,
        input_url=None,
        input_options={},
        container="nut",
        video=video,
        streams=(StreamInfo(0, "video", "rawvideo"),),
        chapters=0,
        metadata={},
        duration_seconds=video.duration_seconds,
    )


class FakeReader:
    """Hands out frames it was given; sleeps before each, or fails at the n-th."""

    skipped_packets = 2
    notes: tuple[str, ...] = ("a note of the reader",)
    shortfall: str | None = None
    captioned: str | None = None
    late_losses: tuple[tuple[str, str], ...] = ()

    def __init__(
        self,
        frames: Iterable[Frame],
        *,
        seconds: float = 0.0,
        failure: tuple[int, BaseException] | None = None,
        count: int | None = None,
        rotation_degrees: int = 0,
    ) -> None:
        iterator = iter(frames)
        first = next(iterator)
        self.info = source_info(first, count=count, rotation_degrees=rotation_degrees)
        self._frames = itertools.chain([first], iterator)
        self._seconds = seconds
        self._failure = failure
        self._given = 0
        self.closed = False

    def __enter__(self) -> FakeReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> FakeReader:
        return self

    def __next__(self) -> Frame:
        assert not self.closed
        time.sleep(self._seconds)
        if self._failure is not None and self._given == self._failure[0]:
            raise self._failure[1]
        self._given += 1
        return next(self._frames)

    def close(self) -> None:
        self.closed = True


class FakeWriter:
    """Keeps what it is given, or forgets it; sleeps for each, or fails at the n-th or at the end (-1)."""

    segmented = False
    keeps_captions = False
    position = None

    def __init__(
        self, *, seconds: float = 0.0, failure: tuple[int, BaseException] | None = None, forget: bool = False
    ) -> None:
        self.notes = ["a note of the writer"]
        self.outcomes: list[Outcome] = []
        self.frames: list[Frame] = []
        self.written = 0
        self.closed = self.aborted = False
        self.options: dict[str, Any] = {}
        self._seconds = seconds
        self._failure = failure
        self._forget = forget

    def __enter__(self) -> FakeWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def write(self, frame: Frame) -> None:
        assert not self.closed
        time.sleep(self._seconds)
        if self._failure is not None and self.written == self._failure[0]:
            raise self._failure[1]
        self.written += 1
        if not self._forget:
            self.frames.append(frame)

    def close(self) -> None:
        if self._failure is not None and self._failure[0] == -1 and not self.aborted:
            raise self._failure[1]
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


def assert_all_learn(net: nn.Module, estimate: Any, *, unused: str | None = None) -> None:
    """Every parameter gets a finite gradient that is not zero from what was estimated, but those of an unused part."""
    loss = estimate.residual.square().sum() + estimate.motion.square().sum()
    loss.backward()
    for name, parameter in net.named_parameters():
        if unused is not None and name.startswith(unused):
            continue
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name
