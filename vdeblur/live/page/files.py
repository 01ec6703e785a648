"""Static files of the page: read once from the package, served from memory with ETags."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
_INDEX = "index.html"


class PageFiles:
    """Endpoints of the static files."""

    def __init__(self) -> None:
        self._answers: dict[str, tuple[bytes, str, str]] = {}
        for entry in files("vdeblur.live.page").joinpath("static").iterdir():
            ending = entry.name[entry.name.rfind(".") :]
            if ending in _TYPES:
                content = entry.read_bytes()
                self._answers[entry.name] = content, _TYPES[ending], f'"{hashlib.sha256(content).hexdigest()[:20]}"'

    async def index(self, request: Request) -> Response:
        return self._answer(request, _INDEX)

    async def file(self, request: Request) -> Response:
        return self._answer(request, request.path_params["name"])

    def _answer(self, request: Request, name: str) -> Response:
        if name not in self._answers:
            return PlainTextResponse("There is no such file.\n", 404)
        content, kind, tag = self._answers[name]
        headers = {"cache-control": "no-cache", "etag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)
