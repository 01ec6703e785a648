"""Temporary folders for trial runs and for files handed to FFmpeg."""

from __future__ import annotations

import tempfile

from vdeblur.errors import TargetError


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A new temporary folder, removed with all that is in it when its context ends.

    Raises:
        TargetError: there is no place for one.
    """
    try:
        return tempfile.TemporaryDirectory(prefix="vdeblur-", ignore_cleanup_errors=True)
    except OSError as exc:
        raise TargetError(
            f"cannot make a temporary folder: {exc.strerror or exc}; set TMPDIR to one with room"
        ) from exc
