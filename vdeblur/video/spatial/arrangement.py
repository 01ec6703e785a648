"""Projection (360° video) and arrangement of both eyes (3D video), independent of a container.

Source: Google's Spherical Video V2 RFC, whose boxes MP4 holds and whose contents Matroska holds (RFC 9559, Projection);
FFmpeg's ``AVSphericalMapping`` and ``AVStereo3D`` (libavutil/spherical.h, stereo3d.h).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

ProjectionKind = Literal["equirectangular", "cubemap", "mesh"]
#: A quarter of a picture's width, as a share of 2³²: what a half of the sphere leaves out on each side.
_QUARTER = 0x3FFFFFFF
#: ``AVSphericalProjection``.
_EQUIRECTANGULAR, _CUBEMAP, _TILE, _HALF = 0, 1, 2, 3
#: ``AVStereo3DType``; one that is packed into a picture has both eyes in it.
_ARRANGEMENTS = {
    0: "mono", 1: "side by side", 2: "top and bottom", 3: "frames in turn", 4: "checkerboard", 6: "rows in turn",
    7: "columns in turn",
}  # fmt: skip
_INVERTED = 1


@dataclass(frozen=True)
class Projection:
    """How the sphere lies in the picture.

    Args:
        kind: "mesh" is any other, given by triangles.
        pose: yaw, pitch and roll in degrees, as 16.16 fixed-point numbers.
        content: of the box ``equi``, ``cbmp`` or ``mshp``, version and flags first; Matroska's ProjectionPrivate.
        tool: what wrote it, as MP4 says.
    """

    kind: ProjectionKind
    pose: tuple[int, int, int] = (0, 0, 0)
    content: bytes = bytes(20)
    tool: str = ""


@dataclass(frozen=True)
class Stereo:
    """How both eyes are arranged in the picture, e.g. "side by side"; the left one first unless inverted."""

    arrangement: str
    inverted: bool = False


@dataclass(frozen=True)
class Spatial:
    """What is said of the space that a video shows."""

    projection: Projection | None = None
    stereo: Stereo | None = None
    #: XML of Spherical Video V1, as it stands in an MP4.
    xml: bytes = b""
    #: There is more, of a kind that nothing here writes.
    foreign: bool = False

    @property
    def is_empty(self) -> bool:
        return self == Spatial()


def projection_of(data: bytes) -> Projection | None:
    """The projection in FFmpeg's side data SPHERICAL; ``None`` for kinds that containers have no place for."""
    if len(data) < 36:
        return None
    kind, yaw, pitch, roll, left, top, right, bottom, padding = struct.unpack("=4i5I", data[:36])
    pose = (yaw, pitch, roll)
    if kind == _CUBEMAP:
        return Projection("cubemap", pose, struct.pack(">3I", 0, 0, padding))
    if kind == _HALF:
        left = right = _QUARTER
        top = bottom = 0
    elif kind == _EQUIRECTANGULAR:
        left = top = right = bottom = 0
    elif kind != _TILE:
        return None
    return Projection("equirectangular", pose, struct.pack(">5I", 0, top, bottom, left, right))


def stereo_of(data: bytes) -> Stereo | None:
    """The arrangement in FFmpeg's side data STEREO3D; ``None`` where the picture does not hold both eyes."""
    if len(data) < 12:
        return None
    kind, flags, view = struct.unpack("=3i", data[:12])
    name = _ARRANGEMENTS.get(kind)
    return None if name is None or view else Stereo(name, bool(flags & _INVERTED))
