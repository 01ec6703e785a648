"""360° and 3D video in MP4 and QuickTime: boxes ``sv3d`` and ``st3d`` of a sample entry, ``uuid`` of a track.

Source: Google's Spherical Video V2 RFC and Spherical Video RFC (V1).
"""

from __future__ import annotations

import struct
import uuid

from vdeblur.video.iso_boxes import VISUAL_FIELDS, Box, Data, boxes, children, sample_entries
from vdeblur.video.spatial.arrangement import Projection, ProjectionKind, Spatial, Stereo

_V1 = uuid.UUID("ffcc8263-f855-4a93-8814-587a02521fdd").bytes
_KINDS: dict[bytes, ProjectionKind] = {b"equi": "equirectangular", b"cbmp": "cubemap", b"mshp": "mesh"}
_BOX_OF = {name: kind for kind, name in _KINDS.items()}
_MODES = {
    0: Stereo("mono"), 1: Stereo("top and bottom"), 2: Stereo("side by side"), 4: Stereo("side by side", inverted=True)
}  # fmt: skip
#: No description is longer; meshes are the longest.
MOST_BYTES = 1 << 20


def spatial_of_track(data: Data, track: int) -> Spatial:
    """What the index (``moov``) that ``data`` begin with says of a track."""
    found = Spatial()
    for entry in sample_entries(data):
        if entry.track != track:
            continue
        projection, stereo, foreign = None, None, False
        for box in boxes(data, entry.box.body + VISUAL_FIELDS, entry.box.end):
            if box.end - box.body > MOST_BYTES:
                continue
            if box.kind == b"sv3d":
                projection = _projection(data, box)
                foreign = foreign or projection is None
            elif box.kind == b"st3d":
                mode = data[box.body + 4 : box.body + 5]
                stereo = _MODES.get(mode[0]) if mode else None
                foreign = foreign or stereo is None
            elif box.kind == b"vexu":
                foreign = True
        return Spatial(projection, stereo, _xml(data, entry.around[1]), foreign)
    return found


def _projection(data: Data, box: Box) -> Projection | None:
    header, project = children(data, box, b"svhd"), children(data, box, b"proj")
    tool = bytes(data[header[0].body + 4 : header[0].end]) if header else b""
    if not project:
        return None
    pose = (0, 0, 0)
    for inner in boxes(data, project[0].body, project[0].end):
        content = bytes(data[inner.body : inner.end])
        if inner.kind == b"prhd" and len(content) >= 16:
            pose = struct.unpack(">3i", content[4:16])
        elif inner.kind in _KINDS:
            name = tool.partition(b"\0")[0].decode("utf-8", "replace")
            return Projection(_KINDS[inner.kind], pose, content, name)
    return None


def _xml(data: Data, track: Box) -> bytes:
    for box in children(data, track, b"uuid"):
        content = bytes(data[box.body : min(box.end, box.body + MOST_BYTES)])
        if content[:16] == _V1:
            return content[16:]
    return b""


def boxes_of(spatial: Spatial) -> tuple[bytes, bytes]:
    """What to put at the end of a sample entry, and at the end of its track; empty where there is nothing to say."""
    in_entry = b""
    mode = next((mode for mode, stereo in _MODES.items() if stereo == spatial.stereo), None)
    if mode is not None:
        in_entry += _box(b"st3d", bytes((0, 0, 0, 0, mode)))
    if (projection := spatial.projection) is not None:
        inner = _box(b"prhd", struct.pack(">I3i", 0, *projection.pose))
        inner += _box(_BOX_OF[projection.kind], projection.content)
        header = _box(b"svhd", bytes(4) + projection.tool.encode() + b"\0")
        in_entry += _box(b"sv3d", header + _box(b"proj", inner))
    return in_entry, _box(b"uuid", _V1 + spatial.xml) if spatial.xml else b""


def holds(stereo: Stereo) -> bool:
    """Whether there is a number for this arrangement."""
    return stereo in _MODES.values()


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content
