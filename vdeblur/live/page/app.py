"""The application: which address answers with what."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from vdeblur.live.page.desk import Desk
from vdeblur.live.page.files import PageFiles
from vdeblur.live.page.jobs import Jobs
from vdeblur.live.page.store import Store
from vdeblur.live.page.videos import Videos
from vdeblur.live.page.viewer import Viewer


def application(store: Store, jobs: Jobs, videos: Videos, open_desk: Callable[[], Desk]) -> Starlette:
    """The page as an ASGI application; store, jobs and desk live as long as it runs.

    Args:
        open_desk: called in the event loop when the application starts.
    """
    pages = PageFiles()

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        desk = app.state.desk = open_desk()
        jobs.start()
        sweeping = asyncio.create_task(videos.sweep())
        try:
            await desk.open()
            yield
        finally:
            sweeping.cancel()
            await desk.close()
            await asyncio.to_thread(jobs.close)
            store.close()

    async def live(socket: WebSocket) -> None:
        await Viewer(socket, socket.app.state.desk).run()

    routes = [
        Route("/", pages.index),
        Route("/static/{name}", pages.file),
        WebSocketRoute("/live", live),
        Route("/videos", videos.send, methods=["POST"]),
        Route("/videos/{id}", videos.look, methods=["GET"]),
        Route("/videos/{id}", videos.drop, methods=["DELETE"]),
        Route("/files/{id}", videos.fetch, methods=["GET"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)
