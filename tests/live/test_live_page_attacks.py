"""Attacks on the page's server: refused, alive, quick, and memory stays flat."""

from __future__ import annotations

import contextlib
import gc
import re
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets import ConnectionClosed, InvalidStatus, Origin
from websockets.sync.client import connect

from support.page_fixtures import SMALL, Browser, get, jpeg, origin_of, page, post
from support.wall_clock import patience, scaled, until
from vdeblur.live.page import PageOptions, PageServer, connections, videos, viewer
from vdeblur.live.page.options import is_loopback
from vdeblur.live.page.server import _names

TOKEN = "s3cret-token"


def upload_of(length: int | str) -> bytes:
    """Head of a request that sends a video."""
    lines = ("POST /videos HTTP/1.1", "Host: 127.0.0.1", "Origin: http://127.0.0.1", f"Content-Length: {length}")
    return "\r\n".join((*lines, "", "")).encode()


def upgrade_of(*lines: str) -> bytes:
    """A request to open the WebSocket."""
    words = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
    return "\r\n".join(
        ("GET /live HTTP/1.1", *lines, *words, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "")
    ).encode()


@pytest.fixture(scope="module")
def shared() -> Iterator[PageServer]:
    """One server for all attacks that should leave no trace."""
    with page() as server:
        yield server


def alive(server: PageServer) -> None:
    """The server answers, and at once."""
    began = time.monotonic()
    assert get(server).status_code == 200
    assert time.monotonic() - began < scaled(2)


@contextlib.contextmanager
def plain(server: PageServer) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=patience(10)) as made:
        yield made


def answer(made: socket.socket, seconds: float = 10.0) -> bytes:
    """All that comes until the server closes."""
    made.settimeout(patience(seconds))
    got = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while chunk := made.recv(65536):
            got += chunk
    return bytes(got)


def closed(made: socket.socket) -> bool:
    """Whether the server has closed it, within the socket's timeout."""
    try:
        return made.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def resident_mib() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


# --- Who asks ---------------------------------------------------------------------------------------------------------


def headers_of(server: PageServer, case: str) -> dict[str, str]:
    own = origin_of(server)
    return {
        "rebound name": {"host": f"evil.example:{server.port}", "origin": f"http://evil.example:{server.port}"},
        "address elsewhere": {"host": f"192.168.1.9:{server.port}", "origin": f"http://192.168.1.9:{server.port}"},
        "another origin": {"origin": "https://evil.example"},
        "null origin": {"origin": "null"},
        "another port": {"origin": "http://127.0.0.1:1"},
        "another scheme": {"origin": own.replace("http", "https")},
        "longer origin": {"origin": f"{own}.evil.example"},
        "no origin": {},
        "another site by its own word": {"origin": own, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    }[case]


CASES = ["rebound name", "address elsewhere", "another origin", "null origin", "another port", "another scheme",
         "longer origin", "no origin", "another site by its own word"]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_requests_from_elsewhere_are_refused(shared: PageServer, case: str) -> None:
    headers = headers_of(shared, case)
    sent = httpx.post(origin_of(shared) + "/videos", content=b"x", headers=headers)
    assert sent.status_code in (403, 421)
    if case != "no origin":
        assert get(shared, headers=headers).status_code in (403, 421)
    host = () if "host" in headers else (f"Host: 127.0.0.1:{shared.port}",)
    with plain(shared) as made:
        made.sendall(upgrade_of(*host, *(f"{name}: {value}" for name, value in headers.items())))
        assert answer(made).startswith(b"HTTP/1.1 403")
    assert list(shared._store.folder.iterdir()) == []
    alive(shared)


def test_a_link_from_elsewhere_may_open_the_page() -> None:
    with page() as server:
        headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
        assert get(server, headers=headers).status_code == 200


def test_a_port_that_is_forwarded_is_no_attack() -> None:
    with page() as server:
        assert get(server, headers={"host": "localhost:9999"}).status_code == 200


def test_without_the_token_nothing_is_served() -> None:
    with page(token=TOKEN) as server:
        for shown in ("", "?token=", "?token=wrong", f"?token={TOKEN}x", "?token=%00%ff", "?" + "a&" * 50):
            for path in ("/", "/static/main.js", "/videos/x", "/files/x"):
                assert get(server, path + shown).status_code == 401
                assert get(server, path, headers={"cookie": f"vdeblur-{server.port}={shown}"}).status_code == 401
            assert post(server, f"/videos{shown}", content=b"x").status_code == 401
        with pytest.raises(InvalidStatus):
            Browser(server)
        assert "set-cookie" not in get(server).headers


def test_the_token_becomes_a_cookie_that_scripts_and_other_sites_do_not_have() -> None:
    with page(token=TOKEN) as server:
        answered = get(server, f"/?token={TOKEN}")
        assert answered.status_code == 200
        assert answered.headers["set-cookie"] == f"vdeblur-{server.port}={TOKEN}; Path=/; HttpOnly; SameSite=Strict"
        cookie = f"vdeblur-{server.port}={TOKEN}"
        assert get(server, "/static/main.js", headers={"cookie": cookie}).status_code == 200
        with Browser(server, cookie=cookie) as browser:
            assert browser.hear("hello")["models"]


def test_another_address_is_encrypted_and_has_a_token_that_nobody_can_guess() -> None:
    with page(host="0.0.0.0") as server:
        assert re.fullmatch(r"https://[\d.]+:\d+/\?token=[\w-]{32}", server.urls[0])
        assert server.fingerprint is not None
        name = _names("0.0.0.0")[0]
        pem = ssl.get_server_certificate(("127.0.0.1", server.port))
        trusting = ssl.create_default_context(cadata=pem)
        address = f"https://127.0.0.1:{server.port}/"
        with httpx.Client(verify=trusting) as client:
            assert client.get(address).status_code == 401
            answered = client.get(f"{address}?token={server.token}")
            assert answered.status_code == 200
            assert "Secure" in answered.headers["set-cookie"]
            assert client.get(address, headers={"host": "evil.example"}).status_code == 421
            assert client.get(address, headers={"host": name}).status_code == 200  # by the cookie
        with contextlib.ExitStack() as stack:
            socket_ = stack.enter_context(
                connect(
                    f"wss://127.0.0.1:{server.port}/live", ssl=trusting, origin=Origin(address.rstrip("/")),
                    additional_headers={"cookie": f"vdeblur-{server.port}={server.token}"},
                )
            )  # fmt: skip
            assert "hello" in str(socket_.recv(patience(10)))
        with plain(server) as made:  # no TLS
            made.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200" not in answer(made)


def test_two_servers_have_two_tokens() -> None:
    with page(host="0.0.0.0") as one, page(host="0.0.0.0") as other:
        assert one.token != other.token


@pytest.mark.parametrize(("host", "own"), [("127.0.0.1", True), ("::1", True), ("LOCALHOST", True), ("0.0.0.0", False),
                                           ("localhost.evil.example", False), ("192.168.1.2", False)])  # fmt: skip
def test_which_addresses_are_this_machine_s(host: str, own: bool) -> None:
    assert is_loopback(host) is own
    assert PageOptions(host=host).encrypted is not own


def test_every_answer_carries_its_headers(shared: PageServer) -> None:
    for path in ("/", "/static/main.js", "/nothing", "/videos/x"):
        headers = get(shared, path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers


# --- What is asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/static/../server.py", "/static/..%2fserver.py", "/static/%2e%2e/%2e%2e/server.py", "/static/....//server.py",
     "/static//etc/passwd", "/static/%2fetc%2fpasswd", "/static/index.html%00.css", "/files/../../etc/passwd",
     "/files/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/videos/..%5c..%5cwindows", "/static/" + "a" * 5000],
)  # fmt: skip
def test_no_path_leads_out(shared: PageServer, path: str) -> None:
    with plain(shared) as made:
        made.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answered = answer(made)
        assert answered.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400"))
        assert b"root:" not in answered
        assert b"import" not in answered


@pytest.mark.parametrize("name", ["../../../../tmp/evil.mp4", "..%2f..%2fevil.mp4", "/etc/evil", "%00", "a%0d%0aX: 1",
                                  "%ff%fe", "con.mp4", "x" * 3000])  # fmt: skip
def test_no_name_from_a_browser_reaches_the_file_system(shared: PageServer, name: str) -> None:
    job = post(shared, "/videos", content=b"no video", headers={"x-name": name}).json()
    assert "/" not in job["name"]
    assert not any(ord(letter) < 32 for letter in job["name"])
    until(lambda: get(shared, f"/videos/{job['id']}").json()["state"] == "failed")
    assert all(re.fullmatch(r"[0-9a-f]{24}\.\w+", path.name) for path in shared._store.folder.rglob("*"))
    assert get(shared, f"/files/{job['id']}").status_code == 404
    own = origin_of(shared)
    assert httpx.delete(f"{own}/videos/{job['id']}", headers={"origin": own}).status_code == 204


@pytest.mark.parametrize("claim", ["10737418240", "9" * 19])
def test_a_claim_of_10_gigabytes_is_refused_before_a_byte_is_taken(claim: str) -> None:
    with page() as server:
        began = time.monotonic()
        with plain(server) as made:
            made.sendall(upload_of(claim))
            made.settimeout(patience(5))
            assert made.recv(4096).startswith(b"HTTP/1.1 413")
        assert time.monotonic() - began < scaled(2)
        assert list(server._store.folder.iterdir()) == []
        alive(server)


def test_a_claim_that_lies_is_cut_off_at_the_limit() -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(400):
            yield bytes(1 << 16)

    with page(upload_limit=1 << 20) as server:
        before = resident_mib()
        for _ in range(3):
            with contextlib.suppress(httpx.WriteError, httpx.ReadError):
                assert post(server, "/videos", content=endless()).status_code == 413
        assert list(server._store.folder.iterdir()) == []
        assert resident_mib() - before < 30
        alive(server)


def test_a_body_that_breaks_off_leaves_nothing() -> None:
    with page() as server:
        for _ in range(5):
            with plain(server) as made:
                made.sendall(upload_of(90000) + b"x" * 70000)
        until(lambda: not list(server._store.folder.iterdir()), 5)
        alive(server)


# --- Slowness ---------------------------------------------------------------------------------------------------------


def test_slow_headers_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.6)
    with page() as server, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(plain(server)) for _ in range(40)]
        for number, made in enumerate(slow):
            if number % 2:
                made.sendall(b"GET / HTTP/1.1\r\nHost: 127")
        alive(server)
        began = time.monotonic()
        for _ in range(4):  # a byte now and then does not help
            time.sleep(0.15)
            for made in slow[1::2]:
                with contextlib.suppress(OSError):
                    made.sendall(b".")
        assert all(closed(made) for made in slow)
        assert time.monotonic() - began < scaled(3, below=10)
        alive(server)


def test_a_second_request_on_a_connection_may_not_dawdle_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.5)
    with page() as server, plain(server) as made:
        made.sendall(b"GET /static/icon.svg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET / HT")
        began = time.monotonic()
        assert answer(made).count(b"HTTP/1.1 200") == 1
        assert time.monotonic() - began < scaled(3, below=10)


def test_a_flood_of_silent_connections_shuts_nobody_out() -> None:
    with page() as server, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(plain(server)) for _ in range(2 * connections.MOST_CONNECTIONS)]
        alive(server)
        for made in silent:
            made.settimeout(0.01)
        still_open = sum(not closed(made) for made in silent)
        assert connections.MOST_CONNECTIONS - 8 <= still_open <= connections.MOST_CONNECTIONS


def test_a_viewer_outlives_the_time_for_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.3)
    with page() as server, Browser(server) as browser:
        browser.hear("hello")
        time.sleep(0.8)
        browser.say("ping", at=1.5)
        assert browser.hear("pong")["at"] == 1.5


def test_a_body_that_stops_coming_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "_SILENCE_SECONDS", 0.4)
    with page() as server, plain(server) as made:
        made.sendall(upload_of(90000) + b"xx")
        assert answer(made).startswith(b"HTTP/1.1 408")
        assert list(server._store.folder.iterdir()) == []
        alive(server)


def test_a_body_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "_GRACE_SECONDS", 0.3)
    with page() as server, plain(server) as made:
        made.sendall(upload_of(90000))
        with contextlib.suppress(OSError):
            for _ in range(20):
                made.sendall(b"x")
                time.sleep(0.05)
        assert answer(made).startswith(b"HTTP/1.1 408")
        alive(server)


def test_uploads_that_hang_leave_no_place_for_more_than_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "_SILENCE_SECONDS", scaled(1.5, below=9))
    with page() as server, plain(server) as one, plain(server) as other:
        one.sendall(upload_of(90000) + b"xx")
        other.sendall(upload_of(90000) + b"xx")
        time.sleep(patience(0.3))
        assert post(server, "/videos", content=b"x").status_code == 503
        alive(server)
        for made in (one, other):
            answer(made)
        assert post(server, "/videos", content=b"x").status_code == 202


# --- Garbage ----------------------------------------------------------------------------------------------------------

SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nm=video 99999 RTP/SAVPF " + "96 " * 900
GARBAGE = {
    "no JSON": "hello?",
    "SDP": SDP,
    "deep JSON": "[" * 4000,
    "long text": '{"type":"ack","number":' + "9" * 5000 + "}",
    "unknown type": '{"type":"__init__"}',
    "private method": '{"type":"_leave"}',
    "wrong source": '{"type":"start","source":"/dev/video0"}',
    "short picture": b"\x01",
    "time is no number": struct.pack("<Id", 1, float("nan")) + jpeg(),
}


@pytest.mark.parametrize("case", GARBAGE)
def test_garbage_closes_only_the_socket_it_came_by(shared: PageServer, case: str) -> None:
    with Browser(shared) as good, Browser(shared) as bad:
        good.start_camera()
        bad.hear("hello")
        bad.socket.send(GARBAGE[case])
        assert close_code(bad) == 1008
        good.send_picture(50, jpeg(50))
        assert good.see()[1] == 50


FRAMES = {
    "reserved bits": b"\xf3\x80\x00\x00\x00\x00",
    "no mask": b"\x81\x05hello",
    "huge ping": b"\x89\xff" + b"\xff" * 8,
    "zeros": b"\0" * 64,
    "no UTF-8": b"\x81\x84\0\0\0\0\xff\xfe\xfd\xfc",
    "a terabyte": b"\x82\xff" + struct.pack(">Q", 1 << 40) + bytes(4),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_frames_that_break_the_protocol_close_the_socket(shared: PageServer, frame: bytes) -> None:
    with plain(shared) as made:
        made.sendall(upgrade_of("Host: 127.0.0.1", "Origin: http://127.0.0.1"))
        assert made.recv(4096).startswith(b"HTTP/1.1 101")
        made.sendall(frame)
        answer(made, 5)
        alive(shared)


def close_code(browser: Browser) -> int | None:
    """With which code the server closes the socket."""
    try:
        while True:
            browser.receive(5.0)
    except ConnectionClosed as exc:
        return None if exc.rcvd is None else exc.rcvd.code


def bomb() -> bytes:
    whole = jpeg()
    place = whole.index(b"\xff\xc0")
    return whole[: place + 5] + struct.pack(">HH", 65500, 65500) + whole[place + 9 :]


def test_pictures_that_are_none_are_borne_for_a_while_and_decode_to_nothing() -> None:
    with page() as server, Browser(server) as browser:
        browser.start_camera()
        before = resident_mib()
        bad = [bomb(), b"JFIF" * 100, jpeg()[:200], b"\xff\xd8\xff\xda" + bytes(100)]
        began = time.monotonic()
        for number in range(viewer._MOST_BAD_PICTURES):
            browser.send_picture(number, bad[number % 4])
            assert browser.hear("got")["number"] == number
        browser.send_picture(99, bad[0])
        assert close_code(browser) == 1008
        assert time.monotonic() - began < scaled(5)
        assert resident_mib() - before < 40
        alive(server)


def test_a_good_picture_after_a_bad_one_is_shown() -> None:
    with page() as server, Browser(server) as browser:
        browser.start_camera()
        browser.send_picture(60, bomb())
        browser.hear("got")
        browser.send_picture(61, jpeg(61))
        assert browser.see()[1] == 61


def test_time_that_runs_backwards_is_no_harm() -> None:
    with page() as server, Browser(server) as browser:
        browser.start_camera()
        for number, captured in ((50, 1e14), (51, 0.0), (52, 5.0)):
            browser.send_picture(number, jpeg(number), captured)
            browser.hear("got")
            shown = browser.see()[1]
            browser.say("ack", number=shown)
        assert shown == 52


def test_memory_stays_flat_under_garbage() -> None:
    def attack(server: PageServer) -> None:
        for case in GARBAGE.values():
            with contextlib.suppress(ConnectionClosed), Browser(server) as browser:
                browser.socket.send(case)
                browser.receive(5.0)
        with plain(server) as made:
            made.sendall(b"\x16\x03\x01" + bytes(2000))
        with plain(server) as made, contextlib.suppress(OSError):
            made.sendall(b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * (1 << 18))
            answer(made, 5)

    with page() as server:
        attack(server)
        before = resident_mib()
        for _ in range(15):
            attack(server)
        assert resident_mib() - before < 15
        alive(server)


def test_a_page_that_takes_nothing_holds_nothing_back() -> None:
    with page() as server, Browser(server) as deaf:
        deaf.start_camera()
        before = resident_mib()
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            for number in range(100, 400):
                deaf.send_picture(number, jpeg(number))
                deaf.say("snapshot")
        assert resident_mib() - before < 60
        alive(server)


def test_viewers_are_limited() -> None:
    with page() as server, contextlib.ExitStack() as stack:
        browsers = [stack.enter_context(Browser(server)) for _ in range(17)]
        assert [browser.hear("hello")["type"] for browser in browsers[:16]] == ["hello"] * 16
        assert "Too many" in browsers[16].hear("busy")["message"]
        alive(server)


def test_the_server_ends_although_browsers_look_and_send(tmp_path: Path) -> None:
    server = PageServer(None, SMALL, PageOptions(port=0, open_browser=False))
    server.start()
    folder: Any = server._store.folder
    with Browser(server) as browser, plain(server) as made:
        browser.start_camera()
        made.sendall(upload_of(90000) + b"xx")
        began = time.monotonic()
        server.close()
        assert time.monotonic() - began < scaled(8)
    assert not folder.exists()
