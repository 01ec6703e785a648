"""Request guard: host, origin and token checks (DNS rebinding, CSRF), and the security headers of every response."""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vdeblur.live.page.options import is_loopback

#: Nothing but the page's own files; no frame around it, no form out of it.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=(), display-capture=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_SAFE_METHODS = {"GET", "HEAD"}


@dataclass(frozen=True)
class RequestRefusal:
    status: int
    words: str


@dataclass(frozen=True)
class Guard:
    """ASGI middleware that refuses cross-site requests, foreign host names and requests without the token.

    Args:
        app: the guarded application.
        local: only this machine can reach the server.
        names: allowed host names, beside addresses; any other name may point here by DNS rebinding.
        token: access token, in the address once and in a cookie from then on; ``None`` = none is needed.
        cookie: the cookie's name.
    """

    app: ASGIApp
    local: bool
    names: frozenset[str] = field(default_factory=frozenset)
    token: str | None = None
    cookie: str = "vdeblur"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        guarded = self._with_headers(scope, send)
        refusal = self._refusal(scope)
        if refusal is None:
            await self.app(scope, receive, guarded)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await PlainTextResponse(refusal.words + "\n", refusal.status)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> RequestRefusal | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._may_be_called(host) or len(headers.getlist("host")) != 1:
            return RequestRefusal(421, "This server is not called by that name.")
        scheme = "https" if scope["scheme"] in ("https", "wss") else "http"
        if origin is not None and origin.lower() != f"{scheme}://{host}".lower():
            return RequestRefusal(403, "Another web page may not use this server.")
        if origin is None and (scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS):
            return RequestRefusal(403, "The request does not say from which page it comes.")
        site, mode = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")
        if site not in (None, "same-origin", "none") and mode != "navigate":
            return RequestRefusal(403, "Another web page may not use this server.")
        if self.token is not None and not self._knows_token(scope, headers, self.token):
            return RequestRefusal(401, "Open the address that vdeblur has printed, with its token.")
        return None

    def _may_be_called(self, host: str) -> bool:
        name = _name_in(host)
        if name in self.names or is_loopback(name):
            return True
        return not self.local and _is_address(name)

    def _knows_token(self, scope: Scope, headers: Headers, token: str) -> bool:
        shown = [*_tokens_in_query(scope), *_tokens_in_cookies(headers, self.cookie)]
        return any(hmac.compare_digest(one.encode(), token.encode()) for one in shown)

    def _with_headers(self, scope: Scope, send: Send) -> Send:
        """``send`` with the headers, and with the cookie where the token came in the address."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
                if self.token is not None and message["status"] == 200 and self.token in _tokens_in_query(scope):
                    secure = "; Secure" if scope["scheme"] == "https" else ""
                    headers.append(
                        "set-cookie", f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict{secure}"
                    )
            await send(message)

        return with_headers


def _name_in(host: str) -> str:
    """The name or address in a Host header, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _tokens_in_query(scope: Scope) -> list[str]:
    try:
        return parse_qs(scope["query_string"].decode("ascii", "replace"), max_num_fields=8).get("token", [])
    except ValueError:
        return []


def _tokens_in_cookies(headers: Headers, name: str) -> list[str]:
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return []
    return [cookies[name].value] if name in cookies else []
