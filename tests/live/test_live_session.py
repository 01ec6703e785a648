"""The live session: the newest frame wins, nothing waits for anybody, and what is lost comes back."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from support.doubles import Constant, Failing, Identity, Mixing, Slow, clip, planes_equal
from support.live_doubles import LOST, STILL, Keeps, KeepsEvery, Rounds, Steady, Vital
from support.wall_clock import patience, scaled, until
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.errors import NetworkError, SourceError, TargetError, UsageError
from vdeblur.live.restorer import Restorer
from vdeblur.live.session import LiveSession, LiveSettings, NobodyWatches
from vdeblur.live.sources import FileSource, PushSource
from vdeblur.video.ffmpeg.executable import run_ffmpeg


def session(
    source: object, sink: object, network: object = None, settings: LiveSettings = STILL, **more: object
) -> LiveSession:
    networks = {"double": network if network is not None else Identity(), **more.pop("networks", {})}  # type: ignore[dict-item]
    return LiveSession(source, settings, [sink], networks=networks, **more)  # type: ignore[arg-type]


def live_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("vdeblur")]


# --- Frames -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lookahead", [0, 1])
def test_frames_come_out_as_the_engine_restores_them(lookahead: int) -> None:
    frames, sink = list(clip(12)), KeepsEvery()
    settings = LiveSettings(model="double", auto=False, device="cpu", precision="float32", lookahead=lookahead)
    with session(Rounds(list(frames), seconds=0.12), sink, Mixing(), settings) as running:
        assert running.wait(patience(20))
    expected = Deblurrer(Mixing(), device="cpu", precision="float32", lookahead=lookahead).run(frames)
    assert sink.numbers == list(range(1, 13))
    assert all(planes_equal(one.sharp, other) for one, other in zip(sink.shown, expected, strict=True))
    assert all(one.sharp.pts == one.taken.frame.pts for one in sink.shown)
    assert running.status().state == "ended"


def test_what_came_with_a_frame_leaves_with_it() -> None:
    source, sink = PushSource("a browser"), Keeps()
    with session(source, sink):
        for number, frame in enumerate(clip(5)):
            source.push(frame, tag=f"tag {number}")
            until(lambda n=number: len(sink.shown) > n)
    assert [one.taken.tag for one in sink.shown] == [f"tag {n}" for n in range(5)]
    assert [one.taken.frame.pts for one in sink.shown] == [512 * n for n in range(5)]


def test_a_push_never_waits_and_the_newest_wins() -> None:
    source, sink = PushSource("a browser"), Keeps()
    frames = list(clip(200, 8, 8))
    with session(source, sink, Slow(0.1)) as running:
        begun = time.monotonic()
        for frame in frames:
            source.push(frame)
        assert time.monotonic() - begun < scaled(1, below=20)
        until(lambda: sink.shown and sink.shown[-1].taken.frame.pts == frames[-1].pts)
        status = running.status()
    assert len(sink.shown) <= 4
    assert status.dropped == status.frames - len(sink.shown)


def test_a_slow_network_drops_frames_and_bounds_the_delay() -> None:
    sink = Keeps()
    with session(Steady(50), sink, Slow(0.1)) as running:
        time.sleep(2.5)
        status = running.status()
    delays = sorted(one.delay_seconds for one in sink.shown[2:])
    assert delays[len(delays) * 3 // 4] < 0.1 + 0.1 + scaled(0.06), "one frame at work, one waiting"
    assert sink.shown[-1].delay_seconds < 1, "whoever queued all frames would be 2 s behind by now"
    assert sink.numbers == sorted(set(sink.numbers))
    assert status.dropped >= 0.7 * status.frames
    assert 50 - scaled(10, below=30) < status.source_fps < 60
    assert 10 - scaled(3, below=8) < status.shown_fps < 11
    assert 80 < status.delay_ms < 100 + scaled(100)


def test_a_cut_outlives_the_frame_it_came_with() -> None:
    source, sink = PushSource("a browser"), Keeps()
    frames = list(clip(60, 8, 8))
    with session(source, sink, Slow(0.1)) as running:
        source.push(frames[0])
        until(lambda: len(sink.shown) == 1)
        source.push(frames[1])
        until(lambda: running.status().frames == 2)  # the network is at work on it for a while
        source.push(replace(frames[2], cut=True))
        until(lambda: running.status().frames == 3)
        source.push(frames[3])
        until(lambda: sink.shown[-1].taken.frame.pts == frames[3].pts)
        assert running.status().dropped == 1, "the frame with the cut gave way"
    assert [one.taken.frame.cut for one in sink.shown] == [False, False, True]


def test_a_slow_sink_delays_nobody_else() -> None:
    quick, slow = Keeps(name="quick"), Keeps(name="slow", seconds=0.3)
    with session(Steady(50, count=50), quick) as running:
        running.add_sink(slow)
        assert running.wait(patience(20))
    assert len(quick.shown) > 50 - scaled(10, below=44), "none waited for the slow one"
    assert 2 <= len(slow.shown) <= 6
    assert slow.numbers[-1] == quick.numbers[-1], "the last picture arrives everywhere"


def test_a_recording_gets_every_frame() -> None:
    sink = KeepsEvery(name="out.mp4", seconds=0.02)
    with session(Steady(100, count=40), sink) as running:
        until(lambda: running.status().recording == "out.mp4")
        assert running.wait(patience(20))
    assert len(sink.shown) == 40 - running.status().dropped
    assert running.status().recording is None


# --- Changes ----------------------------------------------------------------------------------------------------------


def test_settings_change_while_it_runs() -> None:
    sink = Keeps()
    with session(Steady(50), sink, Constant(0.1)) as running:
        until(lambda: len(sink.shown) > 3)
        running.change(strength=0)
        until(lambda: planes_equal(sink.shown[-1].sharp, sink.shown[-1].taken.frame))
        running.change(strength=1.5, reduce=2, lookahead=1)
        until(lambda: not planes_equal(sink.shown[-1].sharp, sink.shown[-1].taken.frame))
        until(lambda: running.status().settings.lookahead == 1)
        assert running.status().settings.reduce == 2
        running.change(lookahead=0)
        until(lambda: running.status().settings.lookahead == 0)
    assert sink.numbers == sorted(set(sink.numbers)), "no frame twice, none out of order"


def test_a_new_network_is_loaded_beside_the_running_one() -> None:
    sink, source = Keeps(), Steady(50)
    with session(source, sink, Identity(), networks={"other": Constant(0.2)}) as running:
        until(lambda: len(sink.shown) > 3)
        running.change(model="other")
        assert running.settings.model == "other"
        until(lambda: running.status().settings.model == "other")
        count = len(sink.shown)
        until(lambda: len(sink.shown) > count + 3)
    assert not planes_equal(sink.shown[-1].sharp, sink.shown[-1].taken.frame)
    gaps = [b.done_at - a.done_at for a, b in zip(sink.shown, sink.shown[1:], strict=False)]
    assert max(gaps) < scaled(0.3)


def test_a_network_that_cannot_be_had_leaves_the_old_one(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"nothing of use")
    sink, notes = Keeps(), []
    with session(Steady(50), sink, note=notes.append) as running:
        until(lambda: sink.shown)
        running.change(model=str(damaged))
        until(lambda: notes)
        count = len(sink.shown)
        until(lambda: len(sink.shown) > count + 2)
        assert running.settings.model == running.status().settings.model == "double"
    assert "damaged" in notes[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"strength": 9}, "0"), ({"reduce": 0}, "1"), ({"lookahead": 2}, "0"), ({"model": "nosuch"}, "fast"),
     ({"speed": 1}, "strength")],
)  # fmt: skip
def test_a_wrong_change_is_refused_and_changes_nothing(changes: dict[str, object], words: str) -> None:
    running = session(PushSource("none"), Keeps())
    with pytest.raises(UsageError, match=words):
        running.change(**changes)
    assert running.settings == STILL


# --- Pace -------------------------------------------------------------------------------------------------------------


class Heavy(Identity):
    """Takes time for every pixel it sees."""

    def __init__(self, seconds_per_pixel: float) -> None:
        super().__init__()
        self.seconds_per_pixel = seconds_per_pixel

    def correction(self, previous: Any, current: Any, following: Any, state: Any) -> tuple[Tensor, Any]:
        time.sleep(self.seconds_per_pixel * current[0].shape[-1] * current[0].shape[-2])
        return super().correction(previous, current, following, state)


def test_the_size_is_chosen_so_that_the_network_keeps_up() -> None:
    sink, notes = Keeps(), []
    auto = LiveSettings(model="double", device="cpu", precision="float32")
    network = Heavy(0.06 / (96 * 128))
    with session(Steady(25, height=96, width=128), sink, network, auto, note=notes.append) as running:
        until(lambda: running.status().settings.reduce > 1)
        until(lambda: running.status().shown_fps > 22)
        assert running.settings.reduce == 1, "what was asked for stays"
        running.change(reduce=1)
        until(lambda: running.status().settings.reduce == 1)
        assert not running.settings.auto
    assert notes[0].startswith("128×96 at 2")
    assert notes[0].endswith("is too much for double at full size: works at half size")


def test_frames_of_the_old_network_say_nothing_of_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """While another network is loaded, which keeps the machine busy, its size is not made smaller for the old one."""
    loaded, made = threading.Event(), Restorer._made

    def slowly(self: Restorer, settings: LiveSettings) -> Deblurrer:
        if settings.model == "other":
            loaded.wait(patience(20))
        return made(self, settings)

    monkeypatch.setattr(Restorer, "_made", slowly)
    sink, settings = Keeps(), LiveSettings(model="double", device="cpu", precision="float32")
    with session(Steady(25), sink, Slow(0.06), settings, networks={"other": Identity()}) as running:
        until(lambda: len(sink.shown) > 2)
        running.change(model="other")
        shown = len(sink.shown)
        until(lambda: len(sink.shown) > shown + 30)
        assert (running.status().settings.model, running.status().settings.reduce) == ("double", 1)
        loaded.set()
        until(lambda: running.status().settings.model == "other")
        assert running.status().settings.reduce == 1


# --- Loss and return --------------------------------------------------------------------------------------------------


def test_a_lost_source_is_looked_for_and_starts_anew() -> None:
    frames, sink, notes = list(clip(8)), KeepsEvery(), []
    bigger = list(clip(4, 48, 64))
    source = Rounds([*frames[:4], LOST], [LOST], [*frames[4:], LOST], list(bigger), seconds=0.12)
    with session(source, sink, Mixing(), note=notes.append) as running:
        assert running.wait(patience(20))
    assert source.opened == 4
    assert len(sink.shown) == 12
    parts = [frames[:4], frames[4:], bigger]
    alone = [
        one for part in parts for one in Deblurrer(Mixing(), device="cpu", lookahead=0, precision="float32").run(part)
    ]
    assert all(planes_equal(one.sharp, other) for one, other in zip(sink.shown, alone, strict=True))
    assert running.status().restarts == 2
    assert [words.split()[0] for words in notes] == ["lost", "a", "lost", "a"]
    assert "the plug was pulled" in notes[0]


def test_what_is_lost_is_said() -> None:
    sink = Keeps()
    source = Rounds([*clip(3), LOST], *([LOST] for _ in range(100)))
    with session(source, sink) as running:
        until(lambda: running.status().state == "lost")
        assert "the plug was pulled" in running.status().message
    assert running.status().state == "ended"


def test_with_lookahead_the_last_frame_before_a_pause_is_shown() -> None:
    source, sink = PushSource("a browser"), Keeps()
    settings = LiveSettings(model="double", auto=False, device="cpu", precision="float32", lookahead=1)
    with session(source, sink, Mixing(), settings):
        for frame in clip(3):
            source.push(frame)
            time.sleep(0.05)
        until(lambda: len(sink.shown) == 3)


def test_a_source_that_says_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vdeblur.live.session_stats.WAITING_SECONDS", 0.2)
    source, sink = PushSource("a browser"), Keeps()
    first, second = clip(2)
    with session(source, sink) as running:
        assert running.status().state == "starting"
        source.push(first)
        until(lambda: running.status().state == "running")
        until(lambda: running.status().state == "waiting")
        source.push(second)
        until(lambda: running.status().state == "running")


def test_a_source_that_was_never_there_fails() -> None:
    with session(Rounds([SourceError("no such camera")]), sink := Keeps()) as running:
        with pytest.raises(SourceError, match="no such camera"):
            running.wait(patience(20))
        assert running.status().state == "failed"
    assert sink.closed == 1


def test_a_failing_network_fails_the_session_once() -> None:
    sink = Keeps()
    with session(Steady(50), sink, Failing(3, RuntimeError("broken"))) as running:
        with pytest.raises(NetworkError, match="broken"):
            running.wait(patience(20))
        assert running.wait(0), "once"
    assert len(sink.shown) <= 3
    assert sink.closed == 1


# --- Sinks that end ---------------------------------------------------------------------------------------------------


def test_a_sink_that_fails_does_not_end_the_picture() -> None:
    good, bad, notes = Keeps(), Keeps(name="bad.mp4", failure=(2, TargetError("disk full"))), []
    with session(Steady(50), good, note=notes.append) as running:
        running.add_sink(bad)
        until(lambda: notes)
        count = len(good.shown)
        until(lambda: len(good.shown) > count + 3)
    assert notes == ["bad.mp4 has stopped: disk full"]
    assert (good.closed, bad.closed) == (1, 1)


def test_a_vital_sink_ends_the_session() -> None:
    with session(Steady(50), Vital(failure=(2, BrokenPipeError()))) as running, pytest.raises(BrokenPipeError):
        running.wait(patience(20))
    with session(Steady(50), sink := Vital(failure=(2, NobodyWatches()))) as running:
        assert running.wait(patience(20))
    assert sink.closed == 1


def test_sinks_come_and_go() -> None:
    first, second = Keeps(name="first"), Keeps(name="second")
    with session(Steady(50), first) as running:
        until(lambda: first.shown)
        running.add_sink(second)
        until(lambda: len(second.shown) > 3)
        running.remove_sink(second)
        assert second.closed == 1
        count = len(second.shown)
        until(lambda: len(first.shown) > count + 10)
        assert len(second.shown) == count
        running.remove_sink(second)


def test_closing_leaves_no_thread_and_may_be_repeated() -> None:
    sink = Keeps()
    running = session(Steady(50), sink, Slow(0.05))
    running.start()
    until(lambda: sink.shown)
    running.close()
    running.close()
    assert live_threads() == []
    assert sink.closed == 1
    assert running.wait(0)
    with pytest.raises(UsageError, match="ended"):
        running.add_sink(Keeps())


# --- Files ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("live") / "short.mkv"
    picture = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25", "-t", "0.4", "-pix_fmt", "yuv420p"]
    assert run_ffmpeg([*picture, str(path)]).returncode == 0
    return path


def test_a_file_is_played_at_its_own_pace(short_clip: Path) -> None:
    source = FileSource(short_clip)
    assert source.name.endswith("short.mkv (96×64, 25 fps)")
    times = []
    for frame in source.frames():
        times.append((time.monotonic(), frame.time_seconds))
    assert len(times) == 10
    for at, shown in times[1:]:
        assert at - times[0][0] == pytest.approx(shown - times[0][1], abs=scaled(0.08, below=0.3))


def test_a_looped_file_goes_on_with_rising_times(short_clip: Path) -> None:
    source, seen = FileSource(short_clip, loop=True), []
    for frame in source.frames():
        seen.append((frame.time_seconds, frame.cut))
        if len(seen) == 25:
            source.close()
    assert [time for time, _ in seen] == pytest.approx([n / 25 for n in range(25)], abs=0.002)
    assert [n for n, (_, cut) in enumerate(seen) if cut] == [10, 20]


def test_a_missing_file_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="nosuch"):
        FileSource("nosuch.mp4")


def test_a_machine_too_slow_for_anything_says_how_much_it_shows() -> None:
    sink, notes = Keeps(), []
    auto = LiveSettings(model="double", device="cpu", precision="float32", reduce=4)
    with session(Steady(25), sink, Slow(0.3), auto, note=notes.append):
        until(lambda: notes)
    assert notes[0].startswith("52×36 at 2")
    assert "is too much for double even at a quarter of the size: shows 3 of them a second" in notes[0]
