"""Connection limits of the HTTP server: number of connections and a header timeout (slowloris protection)."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

#: From the first byte, or from the connection's start, to the end of the request's headers.
HEADER_SECONDS = 10.0
#: Connections that speak HTTP at the same time; a browser opens six.
MOST_CONNECTIONS = 64


class LimitedH11Protocol(H11Protocol):
    """HTTP/1.1 protocol with a timeout for a request's headers and a limit on connections.

    Beyond the limit, the connection that has been idle longest is closed: a client that opens connections without
    requests shuts out only itself.
    """

    _deadline: asyncio.TimerHandle | None = None
    _idle_since = 0.0
    _upgraded = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_request()
        _make_room(self.connections)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.is_idle:
            self._wait_for_request()
        else:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.is_idle:
            self._wait_for_request()

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._upgraded = True  # its own protocol asks for signs of life
        self._stop_waiting()
        super().handle_websocket_upgrade(event)

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return not self._upgraded and (self.cycle is None or self.cycle.response_complete)

    @property
    def idle_since(self) -> float:
        return self._idle_since

    def abort(self) -> None:
        self.transport.abort()

    def _wait_for_request(self) -> None:
        if self._deadline is None and not self.transport.is_closing():
            self._idle_since = time.monotonic()
            self._deadline = self.loop.call_later(HEADER_SECONDS, self.abort)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _make_room(connections: set[Any]) -> None:
    there = [one for one in connections if not one.transport.is_closing()]
    waiting = [one for one in there if isinstance(one, LimitedH11Protocol) and one.is_idle]
    if len(there) > MOST_CONNECTIONS and waiting:
        min(waiting, key=lambda one: one.idle_since).abort()
