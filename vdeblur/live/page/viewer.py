"""WebSocket session of one viewer: messages, back-pressure on pictures, and the browser's camera."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from fractions import Fraction
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from vdeblur.errors import SourceError, UsageError, VdeblurError
from vdeblur.frames import Frame
from vdeblur.live.page.admission import Admission, ServerBusy
from vdeblur.live.page.messages import (
    SNAPSHOT,
    CameraPicture,
    ProtocolError,
    TextMessage,
    pack_picture,
    pack_text,
    parse_picture,
    parse_text,
)
from vdeblur.live.page.pictures import EncodedPicture
from vdeblur.live.page.room import Room
from vdeblur.live.sources import PushSource
from vdeblur.video.realtime.jpeg import decode_jpeg

logger = logging.getLogger(__name__)

#: Pictures on their way that the page has not drawn yet.
IN_FLIGHT = 2
#: Text messages that wait; a page that takes none has gone.
_MOST_TEXTS = 64
_STATUS_SECONDS = 0.25
#: Damaged pictures a browser may send before it is not believed any more.
_MOST_BAD_PICTURES = 20
#: A JPEG of this size is decoded in 1 or 2 ms; to hand it to another thread and wait for it takes as long.
_QUICK_BYTES = 150_000
#: 4K.
_MOST_PIXELS = 3840 * 2160
#: Ticks of the browser's clock in frames from it.
_TICK = Fraction(1, 90_000)
_POLICY, _TRY_LATER = 1008, 1013


class Viewer:
    """WebSocket session of one browser, with flow control.

    At most two unacknowledged pictures are in flight; meanwhile a newer picture replaces the one that waits. So the
    latency of the drawn picture is that of network and browser alone.
    """

    def __init__(self, socket: WebSocket, admission: Admission) -> None:
        self._socket, self._admission = socket, admission
        self._room: Room | None = None
        self._camera: PushSource | None = None
        self._newest: EncodedPicture | None = None
        self._in_flight: deque[int] = deque()
        self._texts: deque[str | bytes] = deque()
        self._wake = asyncio.Event()
        self._last_pts = -1
        self._bad_pictures = 0
        #: Number of pictures dropped in favour of newer ones.
        self.skipped = 0

    async def run(self) -> None:
        """Serve the browser until it, or the server, ends."""
        await self._socket.accept()
        if not self._admission.admit(self):
            await self._say_and_close("busy", "Too many browsers look at this server.", _TRY_LATER)
            return
        try:
            self.tell("hello", self._admission.greeting())
            async with asyncio.TaskGroup() as tasks:
                work = [tasks.create_task(part()) for part in (self._listen, self._send, self._report)]
                for task in work:
                    task.add_done_callback(lambda _: [other.cancel() for other in work])
        except* (WebSocketDisconnect, RuntimeError):
            pass
        except* ProtocolError as errors:
            logger.warning("a browser was sent away: %s", errors.exceptions[0])
            await self._close(_POLICY)
        finally:
            self._admission.dismiss(self)
            await self._leave()

    # --- To the browser -----------------------------------------------------------------------------------------------

    def offer(self, picture: EncodedPicture) -> None:
        """Queue the newest picture, in place of one that waits."""
        if self._newest is not None:
            self.skipped += 1
        self._newest = picture
        self._wake.set()

    def tell(self, kind: str, fields: dict[str, Any]) -> None:
        """Queue a text message."""
        self._queue(pack_text(kind, fields))

    def _queue(self, message: str | bytes) -> None:
        if len(self._texts) >= _MOST_TEXTS:
            raise ProtocolError("it asks for more than it takes")
        self._texts.append(message)
        self._wake.set()

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._texts:
                message = self._texts.popleft()
                if isinstance(message, str):
                    await self._socket.send_text(message)
                else:
                    await self._socket.send_bytes(message)
            if self._newest is not None and len(self._in_flight) < IN_FLIGHT:
                picture, self._newest = self._newest, None
                self._in_flight.append(picture.number)
                await self._socket.send_bytes(picture.pack())
                if self._newest is not None:
                    self._wake.set()

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_STATUS_SECONDS)
            if self._room is not None and len(self._texts) < _MOST_TEXTS // 2:
                self.tell("status", {**self._room.status(), "skipped": self.skipped})

    # --- From the browser ---------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if (text := message.get("text")) is not None:
                await self._hear(parse_text(text))
            else:
                await self._take(parse_picture(message.get("bytes") or b""))

    async def _hear(self, said: TextMessage) -> None:
        try:
            await getattr(self, f"_on_{said.type}")(**said.fields)
        except ServerBusy as exc:
            self.tell("busy", {"message": str(exc)})
        except ProtocolError:
            raise
        except VdeblurError as exc:
            self.tell("problem", {"message": str(exc)})

    async def _take(self, sent: CameraPicture) -> None:
        """A picture from the browser's camera; that it is here is said at once, so that the next may come."""
        if self._camera is None:
            return  # sent before the page heard that it has left
        try:
            if len(sent.jpeg) <= _QUICK_BYTES:
                frame = self._frame_of(sent)
            else:
                frame = await asyncio.to_thread(self._frame_of, sent)
        except SourceError as exc:
            self._bad_pictures += 1
            if self._bad_pictures > _MOST_BAD_PICTURES:
                raise ProtocolError(f"{self._bad_pictures} pictures could not be read; the last: {exc}") from exc
        else:
            self._camera.push(frame, sent.number)
        self.tell("got", {"number": sent.number})

    def _frame_of(self, sent: CameraPicture) -> Frame:
        """The frame in a picture; its time is the browser's, and always later than that of the one before."""
        pts = max(self._last_pts + 1, round(sent.captured_ms * 90))
        frame = decode_jpeg(sent.jpeg, pts=pts, time_base=_TICK, most_pixels=_MOST_PIXELS)
        self._last_pts = pts
        return frame

    async def _on_start(self, source: str) -> None:
        await self._leave()
        if source == "server":
            self._room = self._admission.shared_room()
        elif source == "camera":
            self._camera = PushSource("the browser's camera")
            self._last_pts = -1
            self._room = await self._admission.open_room(self._camera)
        else:
            raise ProtocolError("no such source")
        self._room.enter(self)
        self.tell("started", {"source": source})

    async def _on_leave(self) -> None:
        await self._leave()
        self.tell("left", {})

    async def _on_ack(self, number: int) -> None:
        """The page has drawn this picture, or left it out; and so all before it."""
        if number in self._in_flight:
            while self._in_flight.popleft() != number:
                pass
            self._wake.set()

    async def _on_change(self, **fields: Any) -> None:
        self._admission.check_model(fields.get("model"))
        await self._here().change(fields)

    async def _on_record(self, on: bool) -> None:
        if on:
            self._here().start_recording()
            return
        stored = await self._here().stop_recording()
        if stored is None:
            self.tell("problem", {"message": "Nothing was recorded."})
        else:
            self.tell("recorded", {"url": f"files/{stored.id}", "name": stored.name})

    async def _on_snapshot(self) -> None:
        png = await self._here().snapshot()
        if png is None:
            self.tell("problem", {"message": "There is no picture yet."})
        else:
            self._queue(pack_picture(SNAPSHOT, 0, 0.0, png))

    async def _on_ping(self, at: float) -> None:
        self.tell("pong", {"at": at})

    def _here(self) -> Room:
        if self._room is None:
            raise UsageError("Start a camera first.")
        return self._room

    # --- Leaving ------------------------------------------------------------------------------------------------------

    async def _leave(self) -> None:
        room, camera = self._room, self._camera
        self._room = self._camera = self._newest = None
        self._in_flight.clear()
        if room is not None:
            room.leave(self)
        if room is not None and camera is not None:
            await self._admission.close_room(room)

    async def _say_and_close(self, kind: str, words: str, code: int) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self._socket.send_text(pack_text(kind, {"message": words}))
        await self._close(code)

    async def _close(self, code: int) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self._socket.close(code)
