"""The page's server for tests, and a browser of few words that speaks to it."""

from __future__ import annotations

import contextlib
import io
import json
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
from PIL import Image
from websockets import Origin
from websockets.sync.client import ClientConnection, connect

from support.wall_clock import patience
from vdeblur.live.page import PageOptions, PageServer
from vdeblur.live.settings import LiveSettings
from vdeblur.live.sources import Source

#: The network sees little, so that two cores are enough for everything.
SMALL = LiveSettings(auto=False, reduce=4)
SECONDS = 20.0


@contextlib.contextmanager
def page(source: Source | None = None, settings: LiveSettings = SMALL, **options: Any) -> Iterator[PageServer]:
    """A running page on a free port."""
    with PageServer(source, settings, PageOptions(port=0, open_browser=False, **options)) as server:
        yield server


def origin_of(server: PageServer) -> str:
    return server.urls[0].partition("/?")[0].rstrip("/")


def get(server: PageServer, path: str = "/", **settings: Any) -> httpx.Response:
    return httpx.get(origin_of(server) + path, timeout=patience(SECONDS), **settings)


def post(server: PageServer, path: str, **settings: Any) -> httpx.Response:
    headers = {"origin": origin_of(server), **settings.pop("headers", {})}
    return httpx.post(origin_of(server) + path, headers=headers, timeout=patience(SECONDS), **settings)


def jpeg(number: int = 0, width: int = 96, height: int = 64, quality: int = 90) -> bytes:
    """A picture of stripes that move with the number."""
    rows, columns = np.mgrid[0:height, 0:width]
    picture = 128 + 90 * np.sin((columns + 3 * number) / 4) * np.cos(rows / 7)
    out = io.BytesIO()
    Image.fromarray(np.repeat(picture[..., None], 3, axis=2).astype(np.uint8)).save(out, "JPEG", quality=quality)
    return out.getvalue()


class Browser:
    """What the page does, over a WebSocket. Texts that nobody has asked for yet are kept."""

    def __init__(self, server: PageServer, **headers: str) -> None:
        origin = origin_of(server)
        self._stack = contextlib.ExitStack()
        address = origin.replace("http", "ws", 1) + "/live"
        self.socket: ClientConnection = self._stack.enter_context(
            connect(address, origin=Origin(origin), additional_headers=headers, max_size=1 << 25, close_timeout=1)
        )
        self.pictures: list[tuple[int, int, bytes, bytes]] = []
        self.texts: list[dict[str, Any]] = []

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def say(self, kind: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **fields}))

    def send_picture(self, number: int, data: bytes, captured_ms: float | None = None) -> None:
        self.socket.send(struct.pack("<Id", number, number * 33.0 if captured_ms is None else captured_ms) + data)

    def receive(self, seconds: float = SECONDS) -> None:
        message = self.socket.recv(patience(seconds))
        if isinstance(message, str):
            self.texts.append(json.loads(message))
            return
        kind, number, _, raw_bytes = struct.unpack_from("<B3xIfI", message)
        self.pictures.append((kind, number, message[16 : 16 + raw_bytes], message[16 + raw_bytes :]))

    def hear(self, kind: str) -> dict[str, Any]:
        """The next text of this type."""
        while True:
            for place, text in enumerate(self.texts):
                if text["type"] == kind:
                    return self.texts.pop(place)
            self.receive()

    def see(self) -> tuple[int, int, bytes, bytes]:
        """The next picture: kind, number, raw and sharp."""
        while not self.pictures:
            self.receive()
        return self.pictures.pop(0)

    def start_camera(self, count: int = 3) -> None:
        """Start with the camera, send pictures and see the last of them come back."""
        self.say("start", source="camera")
        self.hear("started")
        for number in range(1, count + 1):
            self.send_picture(number, jpeg(number))
            self.hear("got")
        shown = 0
        while shown != count:
            shown = self.see()[1]
            self.say("ack", number=shown)
