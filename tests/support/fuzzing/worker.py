"""One worker of the fuzz run: takes inputs on standard input, restores each as the command would, tells the outcome.

A line of JSON in (``path``, ``target``, ``piped``, ``start``, ``codec``), a line of JSON out. It looks at itself after
every input: its peak of memory, files it left in the temporary folder, child processes, threads, open files.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from support.doubles import Identity
from support.processes import children
from support.wall_clock import scaled
from vdeblur.errors import VdeblurError
from vdeblur.pipeline.deblur_video import deblur_video
from vdeblur.video.encode.encoder_options import EncodeOptions

#: An exception of Python that was only wrapped: nobody had thought of it.
_UNFORESEEN = re.compile(r"\b(\w*Error|AssertionError|StopIteration|error): |unexpected ")
_ADDRESS_SPACE_BYTES = 12 << 30


def restore(request: dict[str, Any]) -> dict[str, Any]:
    """Restore one input; ``fault`` says what should not have happened."""
    try:
        if request["piped"]:
            with open(request["path"], "rb") as file:
                _deblur(file, request)
        else:
            _deblur(request["path"], request)
    except VdeblurError as exc:
        text = str(exc)
        unforeseen = _UNFORESEEN.search(text) or (
            exc.__cause__
            and type(exc.__cause__).__module__ == "builtins"
            and not isinstance(exc.__cause__, (OSError, ValueError, EOFError))
        )
        fault = "not one line" if "\n" in text else "unforeseen" if unforeseen else None
        trace = "".join(traceback.format_exception(exc)) if fault else ""
        return {"outcome": type(exc).__name__, "message": text, "fault": fault, "traceback": trace}
    except Exception as exc:
        trace = "".join(traceback.format_exception(exc))
        return {"outcome": type(exc).__name__, "message": str(exc), "fault": "traceback", "traceback": trace}
    return {"outcome": "success", "message": "", "fault": None}


def _deblur(source: Any, request: dict[str, Any]) -> None:
    preset = {"libx264": "ultrafast"}.get(request["codec"])
    deblur_video(
        source, request["target"], model=Identity(), device="cpu", precision="float32",
        encode=EncodeOptions(codec=request["codec"], preset=preset, drop=tuple(request["drop"])),
        start_seconds=request["start"],
    )  # fmt: skip


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak_mb() -> int:
    try:
        found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    except OSError:
        return 0
    return int(found[1]) // 1024 if found else 0


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def _left(temporary: Path) -> list[str]:
    """Files, processes and threads that should be gone."""
    began = time.monotonic()
    while True:
        threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("vdeblur")]
        left = [*(f"file {entry.name}" for entry in temporary.iterdir()), *(f"thread {name}" for name in threads)]
        left += [f"process {child}" for child in children()]
        waited = time.monotonic() - began
        if not left or (waited > 2 and waited > scaled(2)):
            return left
        time.sleep(0.02)


def main() -> None:
    temporary = Path(os.environ["TMPDIR"])
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE_BYTES, _ADDRESS_SPACE_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    answers.write(json.dumps({"ready": True}) + "\n")
    answers.flush()
    for line in sys.stdin:
        request = json.loads(line)
        _reset_peak()
        files, before_mb, began = _open_files(), _peak_mb(), time.monotonic()
        result = restore(request)
        result |= {"seconds": time.monotonic() - began, "rss_mb": _peak_mb() - before_mb, "left": _left(temporary)}
        result["files_opened"] = _open_files() - files
        answers.write(json.dumps(result) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
