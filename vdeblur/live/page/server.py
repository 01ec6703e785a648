"""HTTP server of the page (uvicorn), in a thread of its own: socket, TLS, start and shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import uvicorn

from vdeblur.errors import TargetError, UsageError, VdeblurError
from vdeblur.live.page.admission import Admission
from vdeblur.live.page.app import application
from vdeblur.live.page.connections import LimitedH11Protocol
from vdeblur.live.page.guard import Guard
from vdeblur.live.page.jobs import JobQueue
from vdeblur.live.page.options import PageOptions, is_loopback
from vdeblur.live.page.store import FileStore
from vdeblur.live.page.tls import make_certificate, tls_context
from vdeblur.live.page.videos import VideoEndpoints
from vdeblur.live.settings import LiveSettings
from vdeblur.live.sources import Source
from vdeblur.live.types import LiveSink
from vdeblur.options import SERVER_OPTIONS

#: Ports that are tried after the one asked for.
_MORE_PORTS = 20
#: A picture of the browser's camera, at most: 4K with the finest JPEG.
_LARGEST_MESSAGE = 8 << 20
_START_SECONDS = 60.0
_GRACE_SECONDS = 3
#: Signs of life of WebSockets.
_PING_SECONDS = 10.0
_TICK_SECONDS = 0.2
#: An address that is asked for nothing; the socket only tells which of our own would be used to reach it.
_ELSEWHERE = ("192.0.2.1", 9)


class PageServer:
    """The page, served until it is closed. A context manager.

    Args:
        source: the server's own camera; ``None`` = browsers bring theirs.
        settings: initial settings of every session.
        options: address, TLS and limits.
        sinks: further sinks of the server's own camera, e.g. a recording.
        jobs: queue that restores uploaded videos.
        note: callback for messages about the server's own camera, called from any thread.

    Raises:
        UsageError: the address cannot be listened on, or the certificate is none.
    """

    def __init__(
        self,
        source: Source | None,
        settings: LiveSettings,
        options: PageOptions,
        *,
        sinks: Sequence[LiveSink] = (),
        jobs: JobQueue | None = None,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self._options = options
        self._socket = _listening(options)
        self.port: int = self._socket.getsockname()[1]
        self.token = options.token or (None if options.is_local else secrets.token_urlsafe(24))
        self._store = FileStore()
        #: SHA-256 of the certificate, if one was made.
        self.fingerprint: str | None = None
        jobs = jobs or JobQueue()
        videos = VideoEndpoints(self._store, jobs, limit=options.upload_limit, fixed=settings.values(SERVER_OPTIONS))

        def open_admission() -> Admission:
            return Admission(
                source, settings, store=self._store, cameras=options.cameras, upload_limit=options.upload_limit,
                sinks=sinks, note=note,
            )  # fmt: skip

        try:
            self._server = uvicorn.Server(self._config(open_admission, videos, jobs))
        except BaseException:
            self._socket.close()
            self._store.close()
            raise
        self._failure: BaseException | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vdeblur-page", daemon=True)

    @property
    def urls(self) -> list[str]:
        """Addresses of the page, the most useful first, with the token."""
        scheme = "https" if self._options.encrypted else "http"
        query = "" if self.token is None else f"?token={self.token}"
        return [f"{scheme}://{_in_url(name)}:{self.port}/{query}" for name in _names(self._options.host)]

    def start(self) -> None:
        """Start serving; return once the page can be opened.

        Raises:
            VdeblurError: the failure of the server.
        """
        self._thread.start()
        waited = 0.0
        while not self._server.started and not self._over.wait(_TICK_SECONDS / 10):
            waited += _TICK_SECONDS / 10
            if waited > _START_SECONDS:
                self.close()
                raise TargetError("the page's server does not start")
        if self._failure is not None:
            self.close()

    def wait(self) -> None:
        """Wait until the server ends by itself, which only a failure makes it do; Ctrl-C ends the wait."""
        while not self._over.wait(_TICK_SECONDS):
            pass

    def close(self) -> None:
        """End every session, job and connection, and empty the temporary folder.

        Raises:
            VdeblurError: the failure of the server, once.
        """
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join()
        self._socket.close()
        self._store.close()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure if isinstance(failure, VdeblurError) else TargetError(f"the page's server failed: {failure}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _config(
        self, open_admission: Callable[[], Admission], videos: VideoEndpoints, jobs: JobQueue
    ) -> uvicorn.Config:
        options = self._options
        guard = Guard(
            _Startable(application(self._store, jobs, videos, open_admission), self),
            local=options.is_local,
            names=frozenset(_host_names(options.host)),
            token=self.token,
            cookie=f"vdeblur-{self.port}",
        )
        config = uvicorn.Config(
            guard, http=LimitedH11Protocol, ws="websockets-sansio", lifespan="on", loop="asyncio", log_config=None,
            log_level="warning", access_log=False, server_header=False, proxy_headers=False, timeout_keep_alive=15,
            timeout_graceful_shutdown=_GRACE_SECONDS, ws_max_size=_LARGEST_MESSAGE, ws_ping_interval=_PING_SECONDS,
            ws_ping_timeout=_PING_SECONDS, ws_per_message_deflate=False,
        )  # fmt: skip
        config.load()
        if options.encrypted:
            config.ssl = self._tls()
        return config

    def _tls(self) -> Any:
        if self._options.tls_cert is not None and self._options.tls_key is not None:
            return tls_context(self._options.tls_cert, self._options.tls_key)
        names = [*_names(self._options.host), *_host_names(self._options.host)]
        cert, key, self.fingerprint = make_certificate(self._store.folder, dict.fromkeys(names))
        context = tls_context(cert, key)
        key.unlink()
        return context

    def _run(self) -> None:
        try:
            asyncio.run(self._server.serve(sockets=[self._socket]))
        except SystemExit:  # how uvicorn says that the application did not start
            pass
        except BaseException as exc:
            self._failure = self._failure or exc
        finally:
            self._over.set()

    def set_failure(self, exc: BaseException) -> None:
        self._failure = exc


class _Startable:
    """ASGI middleware that keeps a startup failure of the application instead of logging it."""

    def __init__(self, app: Any, server: PageServer) -> None:
        self._app, self._server = app, server

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self._app(scope, receive, send)
        except VdeblurError as exc:
            if scope["type"] == "lifespan":
                self._server.set_failure(exc)
            raise


def _listening(options: PageOptions) -> socket.socket:
    """A socket on the address, on the first free port.

    Raises:
        UsageError: there is none, or the address is not this machine's.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as exc:
        raise UsageError(f"host cannot be {options.host!r}: {exc.strerror or exc}") from exc
    failure: OSError | None = None
    for port in _ports(options.port):
        # The protocol must be said: asyncio turns Nagle's algorithm off only where it is TCP by name, and with it every
        # picture waits for the other side's delayed acknowledgement, 17 ms on the median.
        made = socket.socket(family, kind, socket.IPPROTO_TCP)
        try:
            if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
                made.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((address[0], port, *address[2:]))
            made.listen()
            return made
        except OSError as exc:
            made.close()
            failure = exc
    assert failure is not None
    raise UsageError(
        f"cannot listen on {options.host} port {options.port}: {failure.strerror or failure}; choose another"
    ) from failure


def _ports(first: int) -> Iterator[int]:
    yield first
    if first:
        yield from range(first + 1, min(first + _MORE_PORTS, 65535) + 1)


def _names(host: str) -> list[str]:
    """Names by which a browser reaches the address."""
    if host not in ("0.0.0.0", "::", ""):
        return [host]
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(_ELSEWHERE)
        return [probe.getsockname()[0], "127.0.0.1"]
    return ["127.0.0.1"]


def _host_names(host: str) -> list[str]:
    """Names of this machine that are no addresses."""
    if is_loopback(host):
        return ["localhost"]
    own = socket.gethostname().lower()
    given = host.lower()
    return list(dict.fromkeys(["localhost", own, f"{own}.local", *([given] if not _is_number(given) else [])]))


def _is_number(host: str) -> bool:
    return not host or ":" in host or host.replace(".", "").isdecimal()


def _in_url(name: str) -> str:
    return f"[{name}]" if ":" in name else name
