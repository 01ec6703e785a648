"""Error reporting: one line on standard error, exit codes, and a traceback on request (``VDEBLUR_DEBUG``)."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback

from vdeblur.errors import Interrupted, VdeblurError

#: Set to 1, every failure shows its traceback.
DEBUG_VARIABLE = "VDEBLUR_DEBUG"
EXIT_UNEXPECTED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


def debug_is_on() -> bool:
    """Whether ``VDEBLUR_DEBUG`` is set."""
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


def write_error_line(message: str) -> None:
    """Write the one line of an error to standard error."""
    sys.stderr.write(f"vdeblur: error: {' '.join(message.split())}\n")
    sys.stderr.flush()


def to_vdeblur_error(exc: BaseException) -> VdeblurError:
    """Convert any exception into a VdeblurError; the traceback of an unexpected one goes to a file that is named."""
    if isinstance(exc, VdeblurError):
        return exc
    if isinstance(exc, KeyboardInterrupt):
        return Interrupted("interrupted")
    where = f"; its traceback is in {path}" if (path := _keep_traceback(exc)) else f"; {DEBUG_VARIABLE}=1 shows where"
    reason = str(exc).strip().splitlines()
    what = f"{type(exc).__name__}: {reason[0]}" if reason else type(exc).__name__
    return VdeblurError(
        f"unexpected {what}; this is a fault of vdeblur, please report it with the output of `vdeblur doctor`{where}"
    )


def show_traceback(exc: BaseException) -> None:
    """Write the traceback to standard error in debug mode."""
    if debug_is_on():
        sys.stderr.write("".join(traceback.format_exception(exc)))


def is_broken_pipe(exc: BaseException) -> bool:
    """Whether an exception stems from a closed reader of standard output (EPIPE)."""
    seen: BaseException | None = exc
    while seen is not None:
        if isinstance(seen, BrokenPipeError):
            return True
        seen = seen.__cause__ or seen.__context__
    return isinstance(exc, VdeblurError) and "broken pipe" in str(exc).lower()


def silence_standard_output() -> None:
    """Redirect standard output to the null device, so that the interpreter's final flush does not fail."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)


def _keep_traceback(exc: BaseException) -> str | None:
    """Path of a file with the traceback; None if it cannot be written or is shown anyway."""
    if debug_is_on():
        return None
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", prefix="vdeblur-", suffix=".traceback.txt", delete=False
        ) as file:
            file.write("".join(traceback.format_exception(exc)))
            return file.name
    except OSError:
        return None
