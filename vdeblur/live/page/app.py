"""ASGI application of the page: routes, WebSocket endpoint and lifespan."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from vdeblur.live.page.admission import Admission
from vdeblur.live.page.files import PageFiles
from vdeblur.live.page.jobs import JobQueue
from vdeblur.live.page.store import FileStore
from vdeblur.live.page.videos import VideoEndpoints
from vdeblur.live.page.viewer import Viewer


def application(
    store: FileStore, jobs: JobQueue, videos: VideoEndpoints, open_admission: Callable[[], Admission]
) -> Starlette:
    """The page as an ASGI application; store, jobs and admission live as long as it runs.

    Args:
        open_admission: called in the event loop when the application starts.
    """
    pages = PageFiles()

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        admission = app.state.admission = open_admission()
        jobs.start()
        sweeping = asyncio.create_task(videos.sweep())
        try:
            await admission.open()
            yield
        finally:
            sweeping.cancel()
            await admission.close()
            await asyncio.to_thread(jobs.close)
            store.close()

    async def live(socket: WebSocket) -> None:
        await Viewer(socket, socket.app.state.admission).run()

    routes = [
        Route("/", pages.index),
        Route("/static/{name}", pages.file),
        WebSocketRoute("/live", live),
        Route("/videos", videos.upload, methods=["POST"]),
        Route("/videos/{id}", videos.job_status, methods=["GET"]),
        Route("/videos/{id}", videos.delete, methods=["DELETE"]),
        Route("/files/{id}", videos.download, methods=["GET"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)
