"""Errors: one tree, drawn here, with the exit code of each branch.

::

    VdeblurError                 1
    ├── UsageError               2   the caller's mistake: a path, an option, a config key
    ├── SourceError              3   the input cannot be read, is not a video, is encrypted or mostly damaged
    ├── TargetError              4   the output cannot be written or encoded
    ├── DeviceError              5   the device is missing or out of memory
    ├── NetworkError             6   the network or its checkpoint failed
    └── Interrupted            130   the person pressed Ctrl-C

Every message is one line: what, where, and what would be right.
"""

from __future__ import annotations


class VdeblurError(Exception):
    """Root of every error vdeblur raises on purpose. Raised itself for faults that fit no branch."""

    exit_code = 1

    #: Stage of the pipeline in which it happened: "read", "network", "write" …, or None before work starts.
    stage: str | None = None
    #: Time of the frame at hand in seconds from the start of the video, or None.
    time_seconds: float | None = None
    #: What of the work is kept and how to go on with it, or None.
    kept: str | None = None

    def at(self, stage: str, time_seconds: float | None = None) -> VdeblurError:
        """Return self, marked with the stage and the frame's time, unless a deeper stage already marked it."""
        if self.stage is None:
            self.stage = stage
            self.time_seconds = time_seconds
        return self

    def with_kept(self, kept: str | None) -> VdeblurError:
        """Return self with what of the work is kept."""
        self.kept = kept
        return self

    def __str__(self) -> str:
        message = super().__str__()
        if self.stage is not None:
            where = self.stage if self.time_seconds is None else f"{self.stage} at {self.time_seconds:.3f} s"
            message = f"{where}: {message}"
        return message if self.kept is None else f"{message}; {self.kept}"


class UsageError(VdeblurError, ValueError):
    """The caller asked for something that cannot be: the message shows the value and what would be right."""

    exit_code = 2


class SourceError(VdeblurError):
    """The input cannot be opened, is no video, is encrypted, broke while it was read, or is mostly damaged."""

    exit_code = 3


class TargetError(VdeblurError):
    """The output cannot be written: folder, disk, encoder or container."""

    exit_code = 4


class DeviceError(VdeblurError):
    """The compute device is missing, unusable or out of memory."""

    exit_code = 5


class NetworkError(VdeblurError):
    """The network or its checkpoint failed."""

    exit_code = 6


class Interrupted(VdeblurError, KeyboardInterrupt):
    """The person pressed Ctrl-C; everything has been closed and nothing is left half-written."""

    exit_code = 130
