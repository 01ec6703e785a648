"""The page: raw and sharp side by side in a browser, served by this machine."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable, Sequence

from vdeblur.live.page.options import PageOptions
from vdeblur.live.page.server import PageServer
from vdeblur.live.settings import LiveSettings
from vdeblur.live.sources import Source
from vdeblur.live.types import Sink

__all__ = ["PageOptions", "PageServer", "serve"]


def serve(
    source: Source | None,
    settings: LiveSettings | None = None,
    options: PageOptions | None = None,
    *,
    sinks: Sequence[Sink] = (),
    note: Callable[[str], None] | None = None,
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        source: this machine's camera or any other source, for all who look; ``None`` = browsers bring their own.
        settings: with which sessions begin.
        options: where and how it is served.
        sinks: further ones for ``source``.
        note: told the page's address and other things worth saying, in one line each.

    Raises:
        UsageError: the address or another option cannot be.
        KeyboardInterrupt: when everything has been closed.
    """
    options = options or PageOptions()
    with PageServer(source, settings or LiveSettings(), options, sinks=sinks, note=note) as server:
        if note is not None:
            for line in _lines(server):
                note(line)
        if options.open_browser:
            webbrowser.open(server.urls[0])
        server.wait()


def _lines(server: PageServer) -> list[str]:
    first, *others = server.urls
    lines = [f"the page is at {first}  (Ctrl-C ends)", *(f"or at {url}" for url in others)]
    if server.fingerprint is not None:
        lines.append(f"its certificate is self-signed, so browsers warn once; SHA-256 fingerprint {server.fingerprint}")
    return lines
