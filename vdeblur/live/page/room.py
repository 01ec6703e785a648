"""Room: one live session and the viewers that subscribe to it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from vdeblur.live.page.pictures import EncodedPicture, PictureSink
from vdeblur.live.page.recordings import Recording
from vdeblur.live.page.store import FileStore, StoredFile
from vdeblur.live.session import LiveSession
from vdeblur.live.settings import LiveSettings
from vdeblur.live.sources import Source
from vdeblur.live.types import LiveSink
from vdeblur.options import PAGE_OPTIONS


class PictureReceiver(Protocol):
    """Subscriber to the pictures of a room."""

    def offer(self, picture: EncodedPicture) -> None: ...


class Room:
    """A session, its JPEG sink, and the subscribed viewers; for the event loop's thread.

    Args:
        source: closed with the room.
        own: the source is a browser's own camera: that browser has the raw pictures, and is the only viewer.
        sinks: further sinks, beside the page.
        store: holds the recordings.
        note: message callback, called from any thread.
    """

    def __init__(
        self,
        source: Source,
        settings: LiveSettings,
        *,
        own: bool,
        store: FileStore,
        sinks: Sequence[LiveSink] = (),
        note: Callable[[str], None] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._store = store
        self._lookers: set[PictureReceiver] = set()
        self._pictures = PictureSink(self._from_thread, with_raw=not own)
        self._recording: tuple[Recording, StoredFile] | None = None
        self._session = LiveSession(source, settings, [self._pictures, *sinks], note=note)

    async def open(self) -> None:
        """Start the session in a worker thread, for loading a network takes a moment."""
        await asyncio.to_thread(self._session.start)

    async def close(self) -> None:
        await self.stop_recording()
        await asyncio.to_thread(self._session.close)

    def enter(self, looker: PictureReceiver) -> None:
        self._lookers.add(looker)

    def leave(self, looker: PictureReceiver) -> None:
        self._lookers.discard(looker)

    async def change(self, fields: dict[str, Any]) -> None:
        """Change settings of the session; all viewers see them in its status.

        Raises:
            UsageError: a value cannot be.
        """
        await asyncio.to_thread(self._session.change, **fields)

    def status(self) -> dict[str, Any]:
        """Status message of the session for the page."""
        status, settings = self._session.status(), self._session.settings
        before, after = self._pictures.sharpness or (None, None)
        return {
            "state": status.state,
            "message": status.message,
            "source": status.source,
            "width": status.width,
            "height": status.height,
            "source_fps": round(status.source_fps, 1),
            "shown_fps": round(status.shown_fps, 1),
            "delay_ms": round(status.delay_ms, 1),
            "encode_ms": round(self._pictures.encode_ms, 1),
            "dropped": status.dropped,
            "frames": status.frames,
            **status.settings.values(PAGE_OPTIONS),
            "auto": settings.auto,
            "wanted_model": settings.model,
            "restarts": status.restarts,
            "recording": None if self._recording is None else round(self._recording[0].seconds, 1),
            "sharpness_before": before,
            "sharpness_after": after,
        }

    async def snapshot(self) -> bytes | None:
        return await asyncio.to_thread(self._pictures.snapshot)

    def start_recording(self) -> None:
        """Start a recording.

        Raises:
            TargetError: there is no room on the disk.
        """
        if self._recording is None:
            stored = self._store.new(".mp4", time.strftime("vdeblur %Y-%m-%d %H-%M-%S.sharp.mp4"))
            stored.busy = True
            recording = Recording(stored.path)
            self._session.add_sink(recording)
            self._recording = recording, stored

    async def stop_recording(self) -> StoredFile | None:
        """Finish the recording and return it; None if there is none, or if it has no frames.

        Raises:
            TargetError: it could not be written.
        """
        if self._recording is None:
            return None
        (recording, stored), self._recording = self._recording, None
        try:
            await asyncio.to_thread(self._session.remove_sink, recording)
            recording.check()
        except BaseException:
            self._store.remove(stored)
            raise
        finally:
            stored.busy = False
            stored.touch()
        if not stored.path.exists():
            self._store.remove(stored)
            return None
        return stored

    def _from_thread(self, picture: EncodedPicture) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody looks any more
            self._loop.call_soon_threadsafe(self._deliver, picture)

    def _deliver(self, picture: EncodedPicture) -> None:
        for looker in self._lookers:
            looker.offer(picture)
