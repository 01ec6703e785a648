"""Jobs that are stopped after some frames."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.doubles import Mixing
from vdeblur.errors import Interrupted
from vdeblur.pipeline.deblur_video import deblur_video
from vdeblur.video.sink.writer import EncodeOptions

QUICK: dict[str, Any] = {"device": "cpu", "precision": "float32", "model": Mixing()}


LOSSLESS = EncodeOptions(codec="ffv1")


def after(frames: int) -> Callable[[], bool]:
    """Stop when so many frames have been restored."""
    count = itertools.count(1)
    return lambda: next(count) >= frames


def restore(source: Path, target: Path, **options: Any) -> Any:
    return deblur_video(source, target, **{"segment_seconds": 0, "encode": LOSSLESS, **QUICK, **options})


def stopped(source: Path, target: Path, frames: int, **options: Any) -> Interrupted:
    with pytest.raises(Interrupted) as caught:
        restore(source, target, stop=after(frames), **options)
    return caught.value
