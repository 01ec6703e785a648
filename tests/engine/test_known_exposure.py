"""Known exposure: the user's shutter, or the camera's, decides how much of the motion is taken for blur."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from support.doubles import Exposed, Mixing, clip, planes_equal
from support.engines import assert_same, by_steps, on_cpu
from support.media.recording import CpuRecorder
from vdeblur.engine.exposure import GREATEST, LEAST, KnownExposure, Neighbourhood, exposure_fraction, frame_interval
from vdeblur.errors import UsageError
from vdeblur.frames import CameraExposure, Frame
from vdeblur.kernels.dispatch import without_kernels
from vdeblur.model.checkpoint import load_network
from vdeblur.model.exposure import STEPS, read_exposure
from vdeblur.runtime.cuda_graphs import GraphedNetwork
from vdeblur.shutter import Shutter
from vdeblur.video.interlace.deinterlacer import bob

NETWORKS = ["swift", "balanced"]


def frame(pts: int, *, base: Fraction = Fraction(1, 1000), duration: int = 0, **more: Any) -> Frame:
    return replace(next(clip(1, 16, 16)), pts=pts, time_base=base, duration=duration, **more)


def at(*milliseconds: int) -> list[Frame]:
    """Small frames at these times."""
    return [replace(each, pts=pts, time_base=Fraction(1, 1000)) for each, pts in zip(clip(99), milliseconds)]  # noqa: B905


def moving(count: int, height: int = 64, width: int = 96, *, exposures: tuple[Any, ...] = (None,)) -> list[Frame]:
    """Frames of a texture that moves fast enough for its blur to be seen; ``exposures`` in turn."""
    noise = torch.rand(1, 1, height, width + 8 * count, generator=torch.Generator().manual_seed(5))
    wide = (255 * torch.nn.functional.avg_pool2d(noise, (3, 7), 1, (1, 3))[0, 0]).to(torch.uint8).numpy()
    return [
        replace(
            each,
            planes=(np.ascontiguousarray(wide[:, 8 * n : 8 * n + width]), *each.planes[1:]),
            exposure=exposures[n % len(exposures)],
        )
        for n, each in enumerate(clip(count, height, width))
    ]


def told(frames: list[Frame], **options: Any) -> list[float]:
    """What a network is told of each frame."""
    deblurrer = on_cpu(Exposed(), **options)
    assert len(list(deblurrer.run(frames))) == len(frames)
    return deblurrer.network.told  # type: ignore[attr-defined, no-any-return]


# --- Intervals and fractions ------------------------------------------------------------------------------------------


def test_the_interval_is_the_mean_of_those_that_are_there() -> None:
    before, now, after = frame(0), frame(33), frame(83)
    assert frame_interval(Neighbourhood(before, now, after)) == Fraction(83, 2000)
    assert frame_interval(Neighbourhood(before, now, None)) == Fraction(33, 1000)
    assert frame_interval(Neighbourhood(None, now, after)) == Fraction(50, 1000)


def test_a_lone_frame_has_its_duration() -> None:
    assert frame_interval(Neighbourhood(None, frame(33, duration=40), None)) == Fraction(1, 25)
    assert frame_interval(Neighbourhood(None, frame(33), None)) is None


def test_frames_of_one_instant_have_no_interval() -> None:
    now = frame(33)
    assert frame_interval(Neighbourhood(frame(33), now, frame(73))) == Fraction(1, 25)
    assert frame_interval(Neighbourhood(frame(33), now, frame(20))) is None


def test_time_is_exact() -> None:
    third = Fraction(1001, 30000)
    frames = [frame(n, base=third) for n in (10**12, 10**12 + 1, 10**12 + 2)]
    assert frame_interval(Neighbourhood(*frames)) == third


@pytest.mark.parametrize(
    ("exposure", "interval", "expected"),
    [
        (Shutter.parse(180), None, 0.5),
        (Shutter.parse("1/60"), Fraction(1, 30), 0.5),
        (Shutter.parse("1/60"), Fraction(1, 24), 0.4),
        (Shutter.parse("1/10"), Fraction(1, 30), GREATEST),
        (Shutter.parse("1/100000"), Fraction(1, 30), LEAST),
        (Shutter.parse("0.001"), Fraction(1, 30), LEAST),
        (Shutter.parse("1/60"), None, math.nan),
        (CameraExposure("a camera", seconds=1 / 120), Fraction(1, 30), 0.25),
        (CameraExposure("a camera", fraction=0.75), None, 0.75),
        (CameraExposure("a broken camera", seconds=0.0), Fraction(1, 30), math.nan),
        (CameraExposure("a broken camera", seconds=-1.0), Fraction(1, 30), math.nan),
        (CameraExposure("a broken camera", fraction=math.nan), Fraction(1, 30), math.nan),
        (CameraExposure("a broken camera"), Fraction(1, 30), math.nan),
    ],
)
def test_fractions(exposure: Any, interval: Fraction | None, expected: float) -> None:
    assert exposure_fraction(exposure, interval) == pytest.approx(expected, nan_ok=True)


def test_a_time_that_is_longer_than_the_interval_is_told_once() -> None:
    known = KnownExposure("1/10", usable=True)
    for now in (frame(33, duration=33), frame(66, duration=33)):
        assert known.fraction(Neighbourhood(None, now, None)).fraction == 1
    assert known.notes == ["shutter 1/10 s is longer than the frame interval of 1/30.3 s: taken as the whole interval"]


def test_rounded_timestamps_are_no_reason_to_tell() -> None:
    known = KnownExposure("1/60", usable=True)
    assert known.fraction(Neighbourhood(frame(0), frame(16), frame(32))).fraction == 1
    assert known.notes == []


# --- The engine -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lookahead", "expected"), [(1, [0.5, 0.5, 0.4, 1 / 3]), (0, [0.25, 0.5, 0.5, 1 / 3])])
def test_a_time_follows_each_frames_own_interval(lookahead: int, expected: list[float]) -> None:
    """Without a next frame, that from the last one counts; the first then has its duration."""
    frames = [replace(each, duration=40) for each in at(0, 20, 40, 70)]
    assert told(frames, shutter="1/100", lookahead=lookahead) == pytest.approx(expected)


def test_a_share_is_the_same_for_every_frame() -> None:
    assert told(at(0, 20, 40, 70), shutter=180) == [0.5] * 4


def test_nothing_is_known_without_shutter_and_camera() -> None:
    assert np.isnan(told(list(clip(3)))).all()


def test_an_interval_does_not_reach_into_the_next_shot() -> None:
    frames = at(0, 20, 40, 80, 120)
    frames[3] = replace(frames[3], cut=True)
    assert told(frames, shutter="1/100") == pytest.approx([0.5, 0.5, 0.5, 0.25, 0.25])


def test_the_cameras_own_exposure_is_used_and_the_users_word_is_the_last() -> None:
    camera = CameraExposure("a camera", seconds=1 / 100)
    frames = [replace(each, exposure=camera if n < 2 else None) for n, each in enumerate(at(0, 20, 40, 80))]
    assert told(frames) == pytest.approx([0.5, 0.5, math.nan, math.nan], nan_ok=True)
    assert told(frames, shutter=0.125) == [0.125] * 4


def test_of_fields_the_interval_is_the_fields() -> None:
    frames = list(clip(3, 32, 32))
    known = KnownExposure("1/100", usable=True)
    fields = list(bob(frames, "tff"))
    assert known.fraction(Neighbourhood(*fields[1:4])).fraction == pytest.approx(0.5)
    assert known.fraction(Neighbourhood(*frames)).fraction == pytest.approx(0.25)


def test_pictures_without_times_take_a_share_and_no_time() -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    for shutter in (0.5, "auto"):
        assert on_cpu(Exposed(), shutter=shutter, lookahead=0).step(picture) is not None
    with pytest.raises(
        UsageError, match=r"frame 0: shutter 1/60 s needs pictures with times, and these have none; give"
    ):
        on_cpu(Exposed(), shutter="1/60", lookahead=0).step(picture)


def test_it_may_be_set_between_frames() -> None:
    deblurrer = on_cpu(Exposed(), lookahead=0)
    for shutter, frame in zip(("auto", 180, "1/100", Fraction(1, 50), "auto"), clip(5), strict=True):
        deblurrer.shutter = shutter
        deblurrer.step(frame)
    expected = [math.nan, 0.5, 0.25, 0.5, math.nan]
    assert deblurrer.network.told == pytest.approx(expected, nan_ok=True)  # type: ignore[attr-defined]
    deblurrer.shutter = "1/100s"
    assert deblurrer.shutter == "1/100"
    with pytest.raises(UsageError, match="shutter cannot be 720; it is auto, degrees"):
        deblurrer.shutter = 720
    assert deblurrer.shutter == "1/100", "what cannot be changes nothing"


def test_a_network_that_knows_no_exposure_refuses_a_shutter() -> None:
    """Nothing that was asked for is left undone without a word."""
    for shutter in (0.5, "1/60"):
        with pytest.raises(
            UsageError, match=f"network does not use the exposure, so shutter cannot be {shutter!r}; use"
        ):
            on_cpu(Mixing(), shutter=shutter)
    deblurrer = on_cpu(Mixing(), shutter="auto")
    with pytest.raises(UsageError, match="use shutter auto"):
        deblurrer.shutter = 0.5


def test_streams_of_one_batch_have_each_their_own() -> None:
    exposures = [CameraExposure("one", fraction=0.25), CameraExposure("other", seconds=0.03), None]
    sources = [[replace(each, exposure=own) for each in clip(5)] for own in exposures]
    together = list(on_cpu(Exposed()).run_many(sources))
    for index, source in enumerate(sources):
        alone = list(on_cpu(Exposed()).run(source))
        assert_same([row[index] for row in together if row[index] is not None], alone)
    assert not planes_equal(*together[0][:2])  # type: ignore[arg-type]


# --- The networks -----------------------------------------------------------------------------------------------------


def pictures(net: Any, count: int = 5) -> Tensor:
    """A clip (1, T, C, H, W) that moves by 8 pixels a frame."""
    grey = torch.stack([torch.from_numpy(each.planes[0]) / 255 for each in moving(count)])[None, :, None]
    return grey.expand(-1, -1, net.traits.channels, -1, -1).contiguous()


def stepped(net: Any, frames: Tensor, exposures: list[Tensor | None]) -> Tensor:
    """Residuals (T, C, H, W), frame by frame with lookahead."""
    features, state, residuals = [net.encode(each) for each in frames.unbind(1)], None, []
    for current, previous, following, exposure in zip(
        features, [None, *features[:-1]], [*features[1:], None], exposures, strict=True
    ):
        residual, state = net.residual(previous, current, following, state, exposure)
        residuals.append(residual)
    return torch.cat(residuals)


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_with_a_known_exposure_equal_the_clip_with_it(name: str) -> None:
    net = load_network(name).eval()
    frames, known = pictures(net), torch.tensor([0.7, 0.9, math.nan, 0.4, math.nan]).view(-1, 1, 1, 1)
    with torch.inference_mode():
        read = net.restore_clip(frames, lookahead=1).exposure
        exposure = torch.where(known.isnan(), read, known)
        at_once = net.restore_clip(frames, lookahead=1, exposure=exposure).residual
        found = stepped(net, frames, [each[None] for each in known])
        unknown = stepped(net, frames, [torch.full((1, 1, 1, 1), math.nan)] * 5)
        without = stepped(net, frames, [None] * 5)
    torch.testing.assert_close(found, at_once, atol=1e-5, rtol=1e-4)
    assert torch.equal(unknown, without)
    assert (found - unknown)[[0, 1, 3]].abs().amax((1, 2, 3)).min() > 0.005


class Told(nn.Module):
    """An exposure reader that says always the same: that the fraction lies in one step of its distribution."""

    LOGITS = torch.zeros(1, STEPS).index_fill(1, torch.tensor(6), 50.0)

    def forward(self, profile: Tensor) -> Tensor:
        return self.LOGITS.expand(len(profile), -1)


#: What is taken of that distribution, and the time it is where frames are 1/25 s apart.
SAID = float(read_exposure(Told.LOGITS).taken)
SAID_SECONDS = f"{SAID / 25:.9f}s"


def close(found: list[Frame], expected: list[Frame]) -> bool:
    """Whether frames differ by a code value at most."""
    pairs = [
        pair for one, other in zip(found, expected, strict=True) for pair in zip(one.planes, other.planes, strict=True)
    ]
    return all(np.abs(one.astype(int) - other.astype(int)).max() <= 1 for one, other in pairs)


@pytest.mark.parametrize("options", [{}, {"tile": 64}, {"reduce": 2}, {"lookahead": 0}], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_engine_restores_with_a_shutter_as_if_it_had_been_read(name: str, options: dict[str, Any]) -> None:
    frames = moving(4, 96, 160)
    reader: Any = load_network(name).eval()
    reader.fraction = Told()
    expected = list(on_cpu(reader, **options).run(frames))
    found = list(on_cpu(name, shutter=SAID, **options).run(frames))
    assert close(found, expected)
    assert close(by_steps(on_cpu(name, shutter=SAID_SECONDS, **options), frames), expected)
    assert not close(found, list(on_cpu(name, shutter=0.9, **options).run(frames)))


@pytest.mark.parametrize("threads", [1, 2])
def test_whole_steps_and_halves_take_it(threads: int) -> None:
    frames, before = moving(4), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        deblurrer = on_cpu("swift", shutter=0.3)
        assert deblurrer.device_step._in_halves == (threads > 1)
        found = list(deblurrer.run(frames))
    finally:
        torch.set_num_threads(before)
    assert close(found, list(on_cpu("swift", shutter=0.3).run(frames)))
    assert not close(found, list(on_cpu("swift", shutter=0.9).run(frames)))


@pytest.fixture
def _operators() -> Iterator[None]:
    with without_kernels():
        yield


@pytest.mark.usefixtures("_operators")
@pytest.mark.parametrize("name", NETWORKS)
def test_recorded_steps_are_told_anew_each_time(name: str) -> None:
    """What is known changes from frame to frame; a graph that kept the first value would show."""
    frames = moving(8, exposures=(CameraExposure("a camera", fraction=0.2), None, CameraExposure("it", fraction=0.9)))
    expected = list(on_cpu(name).run(frames))
    deblurrer, recorder = on_cpu(name), CpuRecorder()
    deblurrer.device_step.steps = GraphedNetwork(deblurrer.network, recorder)
    for _ in range(2):
        assert_same(list(deblurrer.run(frames)), expected)
    assert recorder.count == 7, "one of encoding, and of matching and restoring at either end of a shot and within"
    assert not close(expected, list(on_cpu(name).run(moving(8))))


@pytest.mark.parametrize("name", ["swift"])
def test_two_cameras_of_one_batch_equal_each_alone(name: str) -> None:
    sources = [moving(4, exposures=(CameraExposure("a camera", fraction=own),)) for own in (0.2, 0.8)]
    together = list(on_cpu(name).run_many(sources))
    for index, source in enumerate(sources):
        assert close([row[index] for row in together], list(on_cpu(name).run(source)))  # type: ignore[misc]
    assert not close([row[0] for row in together], [row[1] for row in together])  # type: ignore[misc]
