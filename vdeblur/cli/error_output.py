"""Error reporting: one line on standard error, exit codes, and a traceback on request (``VDEBLUR_DEBUG``)."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import traceback

from vdeblur.errors import Interrupted, VdeblurError
from vdeblur.options import OPTIONS

#: Set to 1, every failure shows its traceback.
DEBUG_VARIABLE = "VDEBLUR_DEBUG"
EXIT_UNEXPECTED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

#: Options whose names in Python are those on the command line, but for the line between words.
_NAMES = (
    *OPTIONS, "codec", "compare", "crf", "duration", "ffmpeg_args", "frame rate", "interlaced", "preset", "segments",
    "size change", "start",
)  # fmt: skip
#: Arguments in Python whose flags have other names.
_FLAGS = {"overwrite=True": "-y", "resume=True": "--resume", "segment_seconds=None": "--segments off"}
_BOTH = re.compile(r"\b[a-z_]+=(?:\([^)]*\)|\S+) \((--[^()]*)\)")
_ARGUMENT = re.compile(rf"\b({'|'.join(_NAMES)})=(\"[^\"]*\"|'[^']*'|[\w.…/]+)")
_REFUSED = re.compile(rf"^({'|'.join(_NAMES)}) cannot be")
_QUOTES = "\"'"


def debug_is_on() -> bool:
    """Whether ``VDEBLUR_DEBUG`` is set."""
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


def in_flags(message: str) -> str:
    """A message of the library in the command line's words.

    ``precision="float32"`` becomes ``--precision float32``; of ``drop=('4',) (--drop 4)`` the flag remains; and what
    cannot be is named by its flag, unless a file of options is to blame.
    """
    message = _BOTH.sub(r"\1", message)
    for words, flag in _FLAGS.items():
        message = message.replace(words, flag)
    message = _ARGUMENT.sub(lambda found: f"{_flag(found[1])} {found[2].strip(_QUOTES)}".removesuffix(" …"), message)
    return _REFUSED.sub(lambda found: f"{_flag(found[1])} cannot be", message)


def write_error_line(message: str) -> None:
    """Write the one line of an error to standard error."""
    sys.stderr.write(f"vdeblur: error: {' '.join(in_flags(message).split())}\n")
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


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-').replace(' ', '-')}"


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
