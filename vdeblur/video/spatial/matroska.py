"""360° and 3D video in Matroska and WebM: element Projection, and the name of the mode in FFmpeg's tag ``stereo_mode``.

Source: RFC 9559, 5.1.4.1.28.7 (StereoMode), 5.1.4.1.28.41 (Projection); names in FFmpeg's libavformat/matroska.c.
"""

from __future__ import annotations

import struct

from vdeblur.video.ebml import VIDEO, Data, child, element, elements, float64, number, tracks_of, unsigned
from vdeblur.video.spatial.arrangement import Projection, ProjectionKind, Stereo

_PROJECTION, _TYPE, _PRIVATE, _YAW, _PITCH, _ROLL = 0x7670, 0x7671, 0x7672, 0x7673, 0x7674, 0x7675
_TRACK_TYPE, _IS_VIDEO = 0x83, 1
_KINDS: dict[int, ProjectionKind] = {1: "equirectangular", 2: "cubemap", 3: "mesh"}
_TAGS = {
    "mono": Stereo("mono"), "left_right": Stereo("side by side"), "right_left": Stereo("side by side", inverted=True),
    "top_bottom": Stereo("top and bottom"), "bottom_top": Stereo("top and bottom", inverted=True),
    "checkerboard_lr": Stereo("checkerboard"), "checkerboard_rl": Stereo("checkerboard", inverted=True),
    "row_interleaved_lr": Stereo("rows in turn"), "row_interleaved_rl": Stereo("rows in turn", inverted=True),
    "col_interleaved_lr": Stereo("columns in turn"), "col_interleaved_rl": Stereo("columns in turn", inverted=True),
    "block_lr": Stereo("frames in turn"), "block_rl": Stereo("frames in turn", inverted=True),
}  # fmt: skip
#: The only ones of WebM.
_COMMON_TAGS = frozenset({"mono", "left_right", "right_left", "top_bottom", "bottom_top"})
#: No description is longer that is kept: it takes the place of a text that FFmpeg is told.
MOST_BYTES = 4096


def stereo_tag(stereo: Stereo, *, common_only: bool) -> str | None:
    """Value of FFmpeg's tag ``stereo_mode`` for an arrangement; ``None`` where there is none."""
    for name, meant in _TAGS.items():
        if meant == stereo and (not common_only or name in _COMMON_TAGS):
            return name
    return None


def video_entries(data: Data) -> list[tuple[int, int]]:
    """Where the content of each video's TrackEntry begins and ends, by a file's first bytes."""
    tracks, found = tracks_of(data), []
    for entry in () if tracks is None else tracks[1]:
        kind = child(data, entry.body, entry.end, _TRACK_TYPE)
        if kind is not None and number(data, kind) == _IS_VIDEO:
            found.append((entry.body, entry.end))
    return found


def projection_of_video(data: Data, place: int) -> tuple[Projection | None, bool]:
    """Projection of the video at a place among all of them, and whether there is one that is not known."""
    videos = video_entries(data)
    if place >= len(videos):
        return None, False
    video = child(data, *videos[place], VIDEO)
    found = None if video is None else child(data, video.body, video.end, _PROJECTION)
    if found is None:
        return None, False
    kind, private, pose = 0, b"", {_YAW: 0, _PITCH: 0, _ROLL: 0}
    for part in elements(data, found.body, found.end):
        if part.kind == _TYPE:
            kind = number(data, part)
        elif part.kind == _PRIVATE:
            private = bytes(data[part.body : part.end])
        elif part.kind in pose:
            pose[part.kind] = _fixed(bytes(data[part.body : part.end]))
    if kind not in _KINDS:
        return None, kind != 0
    content = private or bytes(20 if _KINDS[kind] == "equirectangular" else 12)
    return Projection(_KINDS[kind], (pose[_YAW], pose[_PITCH], pose[_ROLL]), content), False


def _fixed(data: bytes) -> int:
    """A floating-point number of degrees as 16.16."""
    if len(data) not in (4, 8):
        return 0
    (value,) = struct.unpack(">f" if len(data) == 4 else ">d", data)
    return round(value * 65536) if abs(value) <= 360 else 0


def projection_element(projection: Projection) -> bytes:
    """Element Projection."""
    kind = next(number for number, name in _KINDS.items() if name == projection.kind)
    yaw, pitch, roll = (value / 65536 for value in projection.pose)
    content = unsigned(_TYPE, kind) + element(_PRIVATE, projection.content)
    content += float64(_YAW, yaw) + float64(_PITCH, pitch) + float64(_ROLL, roll)
    return element(_PROJECTION, content)
