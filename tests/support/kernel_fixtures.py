"""The processor's kernels must be at work where a test imports this."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from vdeblur.kernels import dispatch
from vdeblur.kernels.dispatch import kernels_for


@pytest.fixture(autouse=True)
def working_kernels() -> Iterator[None]:
    """Without kernels a test would compare operators with themselves; a failing kernel is given up quietly."""
    assert kernels_for(torch.device("cpu")) is not None
    yield
    assert not dispatch._broken
