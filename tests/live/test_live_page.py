"""The page's server: what browsers send is restored, shown, recorded and handed out, and nothing of it stays."""

from __future__ import annotations

import io
import itertools
import socket
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import vdeblur
from support.doubles import YUV420, YUV420P10, clip
from support.live_doubles import Steady
from support.media.clips import clip as clip_path
from support.page_fixtures import SMALL, Browser, get, jpeg, origin_of, page, post
from support.wall_clock import patience, scaled, until
from vdeblur.errors import Interrupted, SourceError, TargetError, UsageError
from vdeblur.frames import PixelFormat
from vdeblur.live.page import PageOptions, PageServer, jobs, store
from vdeblur.live.page.jobs import JobQueue, UploadJob, result_suffix
from vdeblur.live.page.messages import ProtocolError, parse_picture, parse_text
from vdeblur.live.page.sharpness import sharpness_of
from vdeblur.live.page.store import FileStore, add_to_stem, sanitize_name
from vdeblur.options import RestoreOptions


def size_of(picture: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(picture)).size


# --- Cameras ----------------------------------------------------------------------------------------------------------


def test_a_browser_s_camera_comes_back_sharp_under_its_own_numbers() -> None:
    with page() as server, Browser(server) as browser:
        hello = browser.hear("hello")
        assert hello["models"][0] == "fast"
        assert hello["server_source"] is None
        browser.say("start", source="camera")
        browser.hear("started")
        seen = []
        for number in (7, 8, 12):
            browser.send_picture(number, jpeg(number))
            assert browser.hear("got")["number"] == number
            kind, shown, raw, sharp = browser.see()
            seen.append((kind, shown, raw, size_of(sharp)))
            browser.say("ack", number=shown)
        assert seen == [(1, number, b"", (96, 64)) for number in (7, 8, 12)]


def test_the_server_s_camera_is_one_session_for_all_who_look() -> None:
    with page(Steady(50, height=64, width=96)) as server, Browser(server) as one, Browser(server) as other:
        assert one.hear("hello")["server_source"] == "a steady source"
        for browser in (one, other):
            browser.say("start", source="server")
            kind, _, raw, sharp = browser.see()
            assert kind == 2
            assert size_of(raw) == size_of(sharp) == (96, 64)
        one.say("change", strength=0.5)
        until(lambda: other.hear("status")["strength"] == 0.5)


def test_only_two_pictures_are_on_their_way_until_the_page_has_drawn_one() -> None:
    with page(Steady(50)) as server, Browser(server) as browser:
        browser.say("start", source="server")
        first, second = browser.see()[1], browser.see()[1]
        for _ in range(6):
            browser.hear("status")
        assert browser.pictures == []
        browser.say("ack", number=first)
        third = browser.see()[1]
        assert third > second + 10  # not the one after, but the newest
        assert browser.hear("status")["skipped"] > 5


def test_a_source_that_ends_is_said() -> None:
    with page(Steady(100, count=20)) as server, Browser(server) as browser:
        browser.say("start", source="server")
        until(lambda: browser.hear("status")["state"] == "ended")


def test_a_camera_too_many_is_told_so_and_gets_the_place_of_one_that_leaves() -> None:
    with page(cameras=1) as server, Browser(server) as one, Browser(server) as other:
        one.start_camera()
        other.say("start", source="camera")
        assert "busy" in other.hear("busy")["message"]
        one.say("leave")
        one.hear("left")
        other.start_camera()


def test_a_browser_that_goes_away_leaves_no_session() -> None:
    with page(cameras=1) as server:
        for _ in range(3):
            with Browser(server) as browser:
                until(lambda: not any(t.name == "vdeblur-restore" for t in threading.enumerate()))
                browser.start_camera()


def test_settings_are_changed_while_it_runs_and_wrong_ones_refused() -> None:
    with page() as server, Browser(server) as browser:
        browser.start_camera()
        browser.say("change", model="balanced", lookahead=1, reduce=3, auto=False)
        until(lambda: (s := browser.hear("status"))["wanted_model"] == "balanced" and s["auto"] is False)
        browser.say("change", model="/etc/passwd")
        assert "no model of that name" in browser.hear("problem")["message"]
        browser.say("change", strength=7)
        assert "0 (nothing) to 1.5" in browser.hear("problem")["message"]


def test_the_shutter_is_a_number_or_words() -> None:
    numbers = itertools.count(4)
    with page() as server, Browser(server) as browser:
        browser.start_camera()

        def shutter() -> object:
            """As it is with the next picture."""
            browser.send_picture(number := next(numbers), jpeg(number))
            return browser.hear("status")["shutter"]

        assert shutter() == "auto"
        for said, kept in ((180, 0.5), ("1/60", "1/60"), (1, 1.0), ("auto", "auto")):
            browser.say("change", shutter=said)
            until(lambda kept=kept: shutter() == kept)  # type: ignore[misc]
        browser.say("change", shutter=720)
        assert "degrees up to 360" in browser.hear("problem")["message"]


def test_a_snapshot_is_the_sharp_picture_without_loss() -> None:
    with page() as server, Browser(server) as browser:
        browser.say("snapshot")
        assert "Start a camera" in browser.hear("problem")["message"]
        browser.start_camera()
        browser.say("snapshot")
        while (picture := browser.see())[0] != 3:
            pass
        png = Image.open(io.BytesIO(picture[3]))
        assert (png.format, png.size) == ("PNG", (96, 64))


def test_a_recording_has_every_picture_and_its_time() -> None:
    with page() as server, Browser(server) as browser:
        browser.start_camera()
        browser.say("record", on=True)
        until(lambda: browser.hear("status")["recording"] is not None)
        for number in range(10, 22):
            browser.send_picture(number, jpeg(number))
            browser.hear("got")
            browser.say("ack", number=browser.see()[1])
        browser.say("record", on=False)
        told = browser.hear("recorded")
        data = get(server, f"/{told['url']}").content
    with vdeblur.Reader(io.BytesIO(data)) as reader:
        times = [frame.time_seconds for frame in reader]
        assert (reader.info.video.codec, reader.info.video.format) == ("h264", YUV420)
    assert len(times) == 12
    assert np.diff(times) == pytest.approx([0.033] * 11, abs=0.001)


def test_a_recording_of_nothing_says_so() -> None:
    with page() as server, Browser(server) as browser:
        browser.start_camera()
        browser.say("record", on=True)
        browser.say("record", on=False)
        assert "Nothing" in browser.hear("problem")["message"]


def test_a_recording_ends_where_the_size_changes_and_keeps_what_it_has() -> None:
    with page() as server, Browser(server) as browser:
        browser.start_camera()
        browser.say("record", on=True)
        until(lambda: browser.hear("status")["recording"] is not None)
        for number, width in ((10, 96), (11, 96), (12, 128), (13, 128)):
            browser.send_picture(number, jpeg(number, width=width))
            browser.hear("got")
            browser.say("ack", number=browser.see()[1])
        browser.say("record", on=False)
        told = browser.hear("recorded")
        assert len(list(vdeblur.Reader(io.BytesIO(get(server, f"/{told['url']}").content)))) == 2


# --- Videos -----------------------------------------------------------------------------------------------------------


def finished(server: PageServer, job: dict[str, Any]) -> dict[str, Any]:
    seen = [job]
    until(
        lambda: seen.append(get(server, f"/videos/{job['id']}").json()) or seen[-1]["state"] in ("done", "failed"), 60
    )
    return seen[-1]


def test_a_video_comes_back_restored_under_its_name() -> None:
    video = clip_path("h264", frames=5).read_bytes()
    with page() as server:
        answer = post(
            server, "/videos?model=fast&strength=0.5", content=video, headers={"x-name": "Gr%C3%BC%C3%9Fe.mp4"}
        )
        assert answer.status_code == 202
        job = finished(server, answer.json())
        assert job["state"] == "done"
        result = get(server, f"/files/{job['id']}")
        assert result.headers["content-disposition"] == "attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe.sharp.mp4"
        with vdeblur.Reader(io.BytesIO(result.content)) as reader:
            assert len(list(reader)) == 5
            assert reader.info.container.startswith("mov")
        folder = server._store.folder
        assert len(list(folder.iterdir())) == 1  # what was sent has gone already
    assert not folder.exists()


def test_what_is_no_video_fails_in_words_without_the_server_s_paths() -> None:
    with page() as server:
        job = finished(server, post(server, "/videos", content=b"no video" * 500, headers={"x-name": "a.mp4"}).json())
        assert job["state"] == "failed"
        assert "a.mp4" in job["message"]
        assert str(server._store.folder) not in job["message"]
        assert list(server._store.folder.iterdir()) == []


def test_options_of_a_video_are_checked() -> None:
    with page() as server:
        for query in ("model=/etc/passwd", "strength=9", "strength=nan", "strength=x"):
            assert post(server, f"/videos?{query}", content=b"x").status_code == 400
        assert post(server, "/videos", content=b"").status_code == 400


class Patient:
    """A restoration that goes on until it is stopped."""

    def __init__(self) -> None:
        self.began = threading.Event()

    def __call__(self, source: Path, target: Path, *, progress: Any, stop: Any, **options: Any) -> Any:
        self.began.set()
        while not stop():
            time.sleep(0.01)
        raise Interrupted("stopped")


def test_a_video_is_stopped_and_its_files_go() -> None:
    patient = Patient()
    with PageServer(None, SMALL, PageOptions(port=0, open_browser=False), jobs=JobQueue(patient)) as server:
        first = post(server, "/videos", content=b"x" * 100).json()
        second = post(server, "/videos", content=b"x" * 100).json()
        assert patient.began.wait(patience(5))
        assert get(server, f"/files/{first['id']}").status_code == 404
        for job in (second, first):
            assert httpx.delete(
                f"{origin_of(server)}/videos/{job['id']}", headers={"origin": origin_of(server)}
            ).status_code == 204  # fmt: skip
            assert get(server, f"/videos/{job['id']}").status_code == 404
        assert list(server._store.folder.iterdir()) == []


def test_the_server_s_end_stops_a_video() -> None:
    patient = Patient()
    with PageServer(None, SMALL, PageOptions(port=0, open_browser=False), jobs=JobQueue(patient)) as server:
        post(server, "/videos", content=b"x" * 100)
        assert patient.began.wait(patience(5))
        began = time.monotonic()
    assert time.monotonic() - began < scaled(5)


def test_videos_beyond_what_is_kept_are_told_to_come_later() -> None:
    with PageServer(None, SMALL, PageOptions(port=0, open_browser=False), jobs=JobQueue(Patient())) as server:
        codes = [post(server, "/videos", content=b"x").status_code for _ in range(10)]
    assert codes == [202] * 8 + [503] * 2


def test_a_fault_of_ours_is_told_in_general_words(caplog: pytest.LogCaptureFixture) -> None:
    def faulty(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    with FileStore() as kept:
        source, target = kept.new(".source", "a"), kept.new(".mp4", "b")
        queue = JobQueue(faulty)
        queue.start()
        job = UploadJob(source, target, RestoreOptions())
        queue.add(job)
        until(lambda: job.ended)
        queue.close()
    assert job.message == "this failed unexpectedly; the server's log says how"
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(("name", "suffix"), [("a.MP4", ".mp4"), ("a.mov", ".mov"), ("a.avi", ".mkv"), ("a", ".mkv")])
def test_a_result_s_container(name: str, suffix: str) -> None:
    assert result_suffix(name) == suffix
    assert jobs.OTHER_SUFFIX == ".mkv"


# --- The store --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "becomes"),
    [
        ("holiday.mp4", "holiday.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\system32\\a.mp4", "a.mp4"),
        ("a\r\nSet-Cookie: x=1.mp4", "aSet-Cookie_ x=1.mp4"),
        ("\u202egpj.exe", "gpj.exe"),
        ("", "video"),
        ("...", "video"),
        ("x" * 500 + ".mp4", "x" * 96 + ".mp4"),
        ('a"b;c%d.mp4', "a_b_c_d.mp4"),
    ],
)
def test_names_from_browsers_are_made_harmless(name: str, becomes: str) -> None:
    assert sanitize_name(name) == becomes


def test_files_have_names_of_the_server_s_own() -> None:
    with FileStore() as kept:
        stored = kept.new(".mp4", "../../../tmp/evil")
        assert stored.path.parent == kept.folder
        assert "evil" not in stored.path.name
        assert add_to_stem(stored.name, ".sharp", ".mkv") == "evil.sharp.mkv"


def test_what_nobody_asks_for_is_swept_away() -> None:
    with FileStore() as kept:
        old, fetched, busy, fresh = (kept.new(".mp4", name) for name in "abcd")
        for stored in (old, fetched, busy, fresh):
            stored.path.touch()
        old.touched_at -= store.IDLE_SECONDS + 1
        fetched.touched_at -= store.FETCHED_SECONDS + 1
        fetched.fetched_at = fetched.touched_at
        busy.touched_at, busy.busy = old.touched_at, True
        assert set(kept.sweep()) == {old, fetched}
        assert {path.name for path in kept.folder.iterdir()} == {busy.path.name, fresh.path.name}


def test_a_full_disk_is_said_before_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_FREE_BYTES", 1 << 60)
    with FileStore() as kept, pytest.raises(TargetError, match="no room"):
        kept.new(".mp4", "a")


# --- Options, addresses and messages ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"port": 70000}, "port cannot be 70000"),
        ({"upload_limit": 5}, "at least 1 MiB"),
        ({"cameras": 0}, "at least 1"),
        ({"tls_cert": Path("a.pem")}, "belong together"),
        ({"tls_cert": Path("a.pem"), "tls_key": Path("b.pem")}, "no such file: a.pem"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        PageOptions(**options)


def test_the_next_free_port_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with PageServer(None, SMALL, PageOptions(port=port, open_browser=False)) as server:
            assert port < server.port <= port + 20
            assert get(server).status_code == 200


def test_nothing_waits_for_an_acknowledgement_before_it_is_sent() -> None:
    with page() as server, Browser(server) as browser:
        browser.hear("hello")
        sockets = [one.transport.get_extra_info("socket") for one in server._server.server_state.connections]
        assert len(sockets) == 1
        assert sockets[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot listen on"):
        PageServer(None, SMALL, PageOptions(host="192.0.2.7", open_browser=False))
    with pytest.raises(UsageError, match="host cannot be"):
        PageServer(None, SMALL, PageOptions(host="no.such.host.invalid", open_browser=False))


def test_a_wrong_certificate_is_refused_before_anything_starts(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("no certificate")
    options = PageOptions(tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem", port=0, open_browser=False)
    with pytest.raises(UsageError, match="no TLS certificate and key"):
        PageServer(None, SMALL, options)


def test_a_camera_that_cannot_be_had_is_said_on_the_page() -> None:
    class Missing(Steady):
        def frames(self) -> Any:
            raise SourceError("there is no camera")

    with page(Missing()) as server, Browser(server) as browser:
        browser.say("start", source="server")
        until(lambda: (s := browser.hear("status"))["state"] == "failed" and "no camera" in s["message"])


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"type":1}', '{"type":"shout"}', '{"type":"ack"}', '{"type":"ack","number":"1"}',
     '{"type":"ack","number":true}', '{"type":"change","strength":NaN}', '{"type":"change","device":"cuda"}',
     "[" * 4000, '{"type":"ping","at":1e999}', "x" * 5000],
)  # fmt: skip
def test_messages_of_no_page_of_ours(text: str) -> None:
    with pytest.raises(ProtocolError):
        parse_text(text)


def test_pictures_of_no_page_of_ours() -> None:
    for data in (b"", b"x" * 12, b"\0" * 4 + b"\xff" * 8 + b"x", b"\0" * 4 + b"\0" * 6 + b"\xf0\xbf" + b"x"):
        with pytest.raises(ProtocolError):
            parse_picture(data)


# --- Sharpness --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pixel_format", [YUV420P10, PixelFormat("yuv420p16le", "yuv", 16, (1, 1))], ids=lambda f: f.name
)
def test_a_flat_picture_is_not_sharp_and_depth_does_not_matter(pixel_format: PixelFormat) -> None:
    frame, like_8_bits = next(clip(1, 600, 800, pixel_format=pixel_format)), next(clip(1, 600, 800))
    assert sharpness_of(frame.with_planes([np.full_like(plane, plane.mean()) for plane in frame.planes])) == 0
    assert sharpness_of(frame) == pytest.approx(sharpness_of(like_8_bits), rel=0.1)
    assert sharpness_of(next(clip(1, 2, 2))) == 0


def test_a_blurred_picture_is_less_sharp() -> None:
    frame = next(clip(1, 200, 300))
    luma = np.random.default_rng(5).integers(0, 256, (200, 300), dtype=np.uint8)
    frame = frame.with_planes([luma, *frame.planes[1:]])
    blurred = np.mean([np.roll(luma.astype(np.float32), shift, axis=1) for shift in range(-4, 5)], axis=0).astype(
        np.uint8
    )
    assert sharpness_of(frame.with_planes([blurred, *frame.planes[1:]])) < 0.7 * sharpness_of(frame)
