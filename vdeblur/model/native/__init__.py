"""Native: what a CPU does best in one go, compiled by Numba; twins of plain operators, as the kernels of a GPU are."""

from __future__ import annotations

from vdeblur.model.native.flow import improve, improve_level
from vdeblur.model.native.profile import correlated
from vdeblur.model.native.pyramid import halved, level, pooled

__all__ = ["correlated", "halved", "improve", "improve_level", "level", "pooled"]
