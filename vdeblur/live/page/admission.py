"""Admission control of the page: limits on viewers and sessions, and the rooms that are open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from vdeblur.errors import UsageError, VdeblurError
from vdeblur.live.page.room import Room
from vdeblur.live.page.store import FileStore
from vdeblur.live.page.videos import model_names
from vdeblur.live.settings import LiveSettings
from vdeblur.live.sources import PushSource, Source
from vdeblur.live.types import LiveSink
from vdeblur.options import OPTIONS, PAGE_OPTIONS

#: Browsers at a time, those that only look included.
MOST_VIEWERS = 16


class ServerBusy(VdeblurError):
    """All sessions are in use by others."""


class Admission:
    """Registry of rooms and viewers, with their limits; for the event loop's thread.

    Args:
        source: the server's own camera, shared by all viewers; ``None`` = there is none.
        settings: initial settings of every session.
        sinks: further sinks of the server's own camera.
        cameras: most browsers' cameras at a time.
        upload_limit: in bytes, for the greeting.
        store: holds the recordings.
        note: callback for messages about the server's own camera.
    """

    def __init__(
        self,
        source: Source | None,
        settings: LiveSettings,
        *,
        store: FileStore,
        cameras: int,
        upload_limit: int,
        sinks: Sequence[LiveSink] = (),
        note: Callable[[str], None] | None = None,
    ) -> None:
        self._source, self._settings, self._sinks = source, settings, sinks
        self._store, self._cameras, self._upload_limit = store, cameras, upload_limit
        self._note = note
        self._shared: Room | None = None
        self._own: set[Room] = set()
        self._opening = 0
        self._guests: set[object] = set()

    async def open(self) -> None:
        """Start the server's own camera, if there is one."""
        if self._source is not None:
            self._shared = Room(
                self._source, self._settings, own=False, store=self._store, sinks=self._sinks, note=self._note
            )
            await self._shared.open()

    async def close(self) -> None:
        """Close every session; after the server has closed the connections."""
        rooms = [*self._own, *([self._shared] if self._shared is not None else [])]
        await asyncio.gather(*(room.close() for room in rooms))

    def admit(self, guest: object) -> bool:
        """Admit a viewer if there is room for one more; return whether it was admitted."""
        if len(self._guests) >= MOST_VIEWERS:
            return False
        self._guests.add(guest)
        return True

    def dismiss(self, guest: object) -> None:
        self._guests.discard(guest)

    def greeting(self) -> dict[str, Any]:
        """First message to a page: models, initial settings, bounds of options, limits."""
        return {
            "models": model_names(),
            "server_source": None if self._source is None else self._source.name,
            **self._settings.values(PAGE_OPTIONS),
            "auto": self._settings.auto,
            "limits": {name: OPTIONS[name].limits for name in PAGE_OPTIONS},
            "upload_limit": self._upload_limit,
        }

    def shared_room(self) -> Room:
        """Return the room of the server's own camera.

        Raises:
            UsageError: there is none.
        """
        if self._shared is None:
            raise UsageError("This server has no camera of its own; start it with one, or use the browser's.")
        return self._shared

    async def open_room(self, camera: PushSource) -> Room:
        """Open a room for a browser's camera.

        Raises:
            ServerBusy: the limit is reached.
        """
        if len(self._own) + self._opening >= self._cameras:
            others = "another browser is" if self._cameras == 1 else f"{self._cameras} browsers are"
            raise ServerBusy(f"The server is busy: {others} using it with a camera. Try again later.")
        self._opening += 1
        try:
            room = Room(camera, self._settings, own=True, store=self._store)
            await room.open()
            self._own.add(room)
        finally:
            self._opening -= 1
        return room

    async def close_room(self, room: Room) -> None:
        self._own.discard(room)
        await room.close()

    def check_model(self, name: str | None) -> None:
        """Refuse a model that is not shipped: a browser may not name files.

        Raises:
            UsageError: it is none.
        """
        if name is not None and name != self._settings.model and name not in model_names():
            raise UsageError(f"There is no model of that name; there are {', '.join(model_names())}.")
