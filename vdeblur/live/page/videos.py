"""HTTP endpoints of videos: upload, job status, cancellation, and download of results and recordings."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

from vdeblur.config import WEIGHTS_FOLDER
from vdeblur.errors import TargetError, UsageError, VdeblurError
from vdeblur.live.page.jobs import JobQueue, UploadJob, result_suffix
from vdeblur.live.page.store import FileStore, StoredFile, add_to_stem
from vdeblur.options import PAGE_OPTIONS, RestoreOptions

#: Without a byte for so long, or slower than this on the whole, whoever sends has gone or means harm.
_SILENCE_SECONDS = 15.0
_LEAST_BYTES_A_SECOND = 8 << 10
_GRACE_SECONDS = 30.0
#: Uploads at a time, and jobs whose result is here or to come.
_MOST_UPLOADS = 2
_MOST_JOBS = 8
_BLOCK_BYTES = 1 << 20
_SWEEP_SECONDS = 10.0
_MIB = 1 << 20


class RequestRefused(VdeblurError):
    """A request that cannot be served, with the HTTP status of the response."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class VideoEndpoints:
    """The endpoints of videos.

    Args:
        store: holds uploads and results.
        jobs: queue that restores uploads.
        limit: most bytes of an upload.
        fixed: the server's own restoration options, by their names.
    """

    def __init__(self, store: FileStore, jobs: JobQueue, *, limit: int, fixed: Mapping[str, Any]) -> None:
        self._store, self._queue, self._limit, self._fixed = store, jobs, limit, fixed
        self._jobs: dict[str, UploadJob] = {}
        self._uploads = 0

    async def upload(self, request: Request) -> Response:
        """POST: the video as the body, its name in ``X-Name``, options in the query; responds with the job."""
        try:
            options = _options(request, self._fixed)
            with self._place_for_upload():
                job = await self._received(request, options)
        except RequestRefused as exc:
            return _told(exc.status, str(exc))
        except TargetError as exc:
            return _told(507, str(exc))
        except ClientDisconnect:
            return Response(status_code=400)
        self._jobs[job.id] = job
        self._queue.add(job)
        return JSONResponse(job.as_dict(), 202)

    async def job_status(self, request: Request) -> Response:
        """GET: status of a job."""
        job = self._jobs.get(request.path_params["id"])
        if job is None:
            return _told(404, "This video is no longer here.")
        self._store.find(job.id)
        return JSONResponse(job.as_dict())

    async def delete(self, request: Request) -> Response:
        """DELETE: cancel a job, or delete its result."""
        job = self._jobs.pop(request.path_params["id"], None)
        if job is None:
            return _told(404, "This video is no longer here.")
        self._queue.cancel(job)
        if job.state == "working":
            await asyncio.to_thread(_wait_for, job)
        self._forget(job)
        return Response(status_code=204)

    async def download(self, request: Request) -> Response:
        """GET: a result or a recording, as a download."""
        stored = self._store.find(request.path_params["id"])
        if stored is None or stored.busy or not stored.path.is_file():
            return _told(404, "This file is no longer here.")
        return StoredFileResponse(stored)

    async def sweep(self) -> None:
        """Remove expired files periodically; runs until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            for stored in self._store.sweep():
                self._jobs.pop(stored.id, None)

    @contextlib.contextmanager
    def _place_for_upload(self) -> Any:
        if self._uploads >= _MOST_UPLOADS or len(self._jobs) >= _MOST_JOBS:
            raise RequestRefused(503, "The server is busy with other videos; try again later.")
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1

    async def _received(self, request: Request, options: RestoreOptions) -> UploadJob:
        """Receive the body of a request; return its job."""
        size = _announced(request)
        if size is not None and size > self._limit:
            raise RequestRefused(413, f"The video is larger than this server takes ({self._limit / _MIB:.0f} MiB).")
        self._store.check_room(size or 0)
        name = unquote(request.headers.get("x-name", ""), errors="replace")
        source = self._store.new(".source", name)
        try:
            await self._write(request, source.path)
            suffix = result_suffix(source.name)
            target = self._store.new(suffix, add_to_stem(source.name, ".sharp", suffix))
        except BaseException:
            self._store.remove(source)
            raise
        source.busy = target.busy = True
        return UploadJob(source, target, options)

    async def _write(self, request: Request, path: Path) -> None:
        received, started = 0, time.monotonic()
        with path.open("xb", buffering=0) as file:
            block = bytearray()
            async for chunk in _with_timeout(request.stream()):
                received += len(chunk)
                block += chunk
                if received > self._limit:
                    raise RequestRefused(
                        413, f"The video is larger than this server takes ({self._limit / _MIB:.0f} MiB)."
                    )
                if received < _LEAST_BYTES_A_SECOND * (time.monotonic() - started - _GRACE_SECONDS):
                    raise RequestRefused(408, "The video comes too slowly.")
                if len(block) >= _BLOCK_BYTES:
                    await self._save(file, block)
            await self._save(file, block)
        if received == 0:
            raise RequestRefused(400, "The file is empty.")

    async def _save(self, file: IO[bytes], block: bytearray) -> None:
        self._store.check_room(len(block))
        try:
            await asyncio.to_thread(file.write, bytes(block))
        except OSError as exc:
            raise TargetError(f"the server cannot keep this file: {exc.strerror}") from exc
        block.clear()

    def _forget(self, job: UploadJob) -> None:
        for stored in (job.source, job.target):
            self._store.remove(stored)


class StoredFileResponse(FileResponse):
    """File response under the download name; the file expires soon after."""

    def __init__(self, stored: StoredFile) -> None:
        super().__init__(stored.path, filename=stored.name, headers={"cache-control": "no-store"})
        self._stored = stored

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._stored.busy = True
        try:
            await super().__call__(scope, receive, send)
            if scope["method"] == "GET":
                self._stored.mark_fetched()
        finally:
            self._stored.busy = False
            self._stored.touch()


def _options(request: Request, fixed: Mapping[str, Any]) -> RestoreOptions:
    """The restoration options in a query, with those that are the server's own."""
    query: dict[str, Any] = {name: value for name, value in request.query_params.items() if name in PAGE_OPTIONS}
    if query.get("model", RestoreOptions.model) not in model_names():
        raise RequestRefused(400, f"There is no model of that name; there are {', '.join(model_names())}.")
    try:
        return RestoreOptions(**query, **fixed)
    except UsageError as exc:
        raise RequestRefused(400, str(exc)) from exc


def model_names() -> list[str]:
    """Names of the shipped networks, the default one first."""
    return sorted((path.stem for path in WEIGHTS_FOLDER.glob("*.safetensors")), key=lambda name: (name != "fast", name))


def _announced(request: Request) -> int | None:
    """Content length of the request; None if it is missing or malformed."""
    words = request.headers.get("content-length")
    return int(words) if words is not None and words.isdecimal() and len(words) < 20 else None


async def _with_timeout(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(_SILENCE_SECONDS):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise RequestRefused(408, "Nothing more of the video has come.") from None
        if chunk is None:
            return
        yield chunk


def _wait_for(job: UploadJob) -> None:
    """Wait until a stopped job has ended, for a few frames at most."""
    deadline = time.monotonic() + 60
    while not job.ended and time.monotonic() < deadline:
        time.sleep(0.02)


def _told(status: int, words: str) -> Response:
    return JSONResponse({"message": words}, status, headers={"connection": "close"} if status in (408, 413) else None)
