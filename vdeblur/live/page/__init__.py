"""Live page: web server and browser interface with raw and restored video side by side."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable, Sequence

from vdeblur.live.page.options import PageOptions
from vdeblur.live.page.server import PageServer
from vdeblur.live.settings import LiveSettings
from vdeblur.live.sources import Source
from vdeblur.live.types import LiveSink

__all__ = ["PageOptions", "PageServer", "serve"]


def serve(
    source: Source | None,
    settings: LiveSettings | None = None,
    options: PageOptions | None = None,
    *,
    sinks: Sequence[LiveSink] = (),
    note: Callable[[str], None] | None = None,
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        source: this machine's camera or any other source, shared by all viewers; ``None`` = browsers bring their own.
        settings: initial settings of every session.
        options: address, TLS and limits.
        sinks: further sinks of ``source``.
        note: callback for messages of one line each, the page's address among them.

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
