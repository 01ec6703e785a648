"""Versions of PyAV, its libraries and the FFmpeg program, for bug reports."""

from __future__ import annotations

import av


def library_versions() -> dict[str, str]:
    """Versions of PyAV and of the FFmpeg libraries in it, e.g. {"PyAV": "18.1.0", "libavcodec": "62.3.100"}."""
    libraries = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
    return {"PyAV": av.__version__, **libraries}
