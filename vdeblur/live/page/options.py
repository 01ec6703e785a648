"""Server options of the page: address, TLS and limits."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from vdeblur.errors import UsageError

DEFAULT_PORT = 8000
_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """Address, TLS files and limits of the page's server.

    Args:
        host: address to listen on. Any but this machine's own (127.0.0.1, ::1, localhost) is served over HTTPS and
            asks for a token.
        port: the next free one is taken if this one is not; 0 = any.
        token: access token; ``None`` = one is generated where the address needs it.
        tls_cert, tls_key: PEM files; ``None`` = a certificate is made where the address needs one.
        upload_limit: most bytes of an uploaded video.
        cameras: browsers that may send their own camera at the same time; each has a session of its own.
        open_browser: open the page in this machine's browser.

    Raises:
        UsageError: a value cannot be.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    token: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    upload_limit: int = 2048 * _MIB
    cameras: int = 2
    open_browser: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise UsageError(f"port cannot be {self.port}; it is 1 to 65535, or 0 for any")
        if self.upload_limit < _MIB:
            raise UsageError(f"upload limit cannot be {self.upload_limit} bytes; it is at least 1 MiB")
        if self.cameras < 1:
            raise UsageError(f"cameras cannot be {self.cameras}; it is at least 1")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("a TLS certificate and its key belong together; give both or none")
        for path in filter(None, (self.tls_cert, self.tls_key)):
            if not path.is_file():
                raise UsageError(f"no such file: {path}")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the address."""
        return is_loopback(self.host)

    @property
    def encrypted(self) -> bool:
        return self.tls_cert is not None or not self.is_local


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
