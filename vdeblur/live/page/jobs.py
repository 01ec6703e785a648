"""Job queue of uploaded videos: restored one after the other in a worker thread."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vdeblur.errors import Interrupted, VdeblurError
from vdeblur.live.page.store import StoredFile
from vdeblur.options import RestoreOptions
from vdeblur.pipeline.deblur_video import deblur_video

logger = logging.getLogger(__name__)

JobState = Literal["waiting", "working", "done", "failed", "cancelled"]

#: Container of the result, by the source's; whatever is not here becomes Matroska, which holds everything.
_RESULTS = {".mp4": ".mp4", ".m4v": ".mp4", ".mov": ".mov", ".mkv": ".mkv", ".webm": ".webm"}
OTHER_SUFFIX = ".mkv"


@dataclass(eq=False)
class UploadJob:
    """An uploaded video and its progress; written by the worker thread, read by any."""

    source: StoredFile
    target: StoredFile
    options: RestoreOptions
    state: JobState = "waiting"
    #: Completed fraction, 0 to 1; ``None`` if the length of the video is unknown.
    done: float | None = 0.0
    fps: float = 0.0
    eta_seconds: float | None = None
    message: str = ""
    notes: list[str] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def id(self) -> str:
        return self.target.id

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed", "cancelled")

    def as_dict(self) -> dict[str, Any]:
        """JSON form for the page."""
        return {
            "id": self.id,
            "name": self.target.name,
            "state": self.state,
            "done": self.done,
            "fps": round(self.fps, 2),
            "eta_seconds": self.eta_seconds,
            "message": self.message,
            "notes": list(self.notes),
            "bytes": self.target.path.stat().st_size if self.state == "done" and self.target.path.exists() else 0,
        }


class JobQueue:
    """The queue and its worker; a context manager.

    Args:
        restore: function with the signature of :func:`vdeblur.pipeline.deblur_video.deblur_video`.
    """

    def __init__(self, restore: Callable[..., Any] = deblur_video) -> None:
        self._restore = restore
        self._queue: deque[UploadJob] = deque()
        self._current: UploadJob | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="vdeblur-page-jobs", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, job: UploadJob) -> None:
        with self._changed:
            self._queue.append(job)
            self._changed.notify_all()

    def cancel(self, job: UploadJob) -> None:
        """Cancel a job, at its next frame if it is running."""
        job.cancelled.set()
        with self._changed:
            if job in self._queue:
                self._queue.remove(job)
                job.state = "cancelled"

    def close(self) -> None:
        with self._changed:
            self._closed = True
            for job in self._queue:
                job.state = "cancelled"
            self._queue.clear()
            if self._current is not None:
                self._current.cancelled.set()
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            self._run(job)

    def _next(self) -> UploadJob | None:
        with self._changed:
            self._current = None
            while not self._queue and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            self._current = self._queue.popleft()
            self._current.state = "working"
            return self._current

    def _run(self, job: UploadJob) -> None:
        try:
            report = self._restore(
                job.source.path, job.target.path,
                progress=lambda progress: _tell(job, progress), stop=job.cancelled.is_set,
                model=job.options.model, **job.options.arguments,
            )  # fmt: skip
            job.notes = list(report.notes)
            job.done, job.state = 1.0, "done"
        except Interrupted:
            job.state = "cancelled"
        except VdeblurError as exc:
            job.message, job.state = _without_paths(str(exc), job), "failed"
        except Exception:
            logger.exception("a job of the page failed")
            job.message, job.state = "this failed unexpectedly; the server's log says how", "failed"
        finally:
            job.source.path.unlink(missing_ok=True)
            job.source.busy = job.target.busy = False
            job.target.touch()


def result_suffix(name: str) -> str:
    """File name suffix of the result of a video of that name."""
    return _RESULTS.get(Path(name).suffix.lower(), OTHER_SUFFIX)


def _tell(job: UploadJob, progress: Any) -> None:
    total = progress.frames_total
    job.done = min(1.0, progress.frames / total) if total else None
    job.fps, job.eta_seconds = progress.frames_per_second, progress.eta_seconds


def _without_paths(words: str, job: UploadJob) -> str:
    """A message with the names that the browser knows, not those of the server's folder."""
    for stored in (job.source, job.target):
        words = words.replace(str(stored.path), stored.name).replace(stored.path.name, stored.name)
    return words
