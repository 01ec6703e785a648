"""Spatial marks: projection and arrangement of 360° and 3D video, written into the finished file.

Raw video does not carry them to FFmpeg. MP4 gets its boxes, and what lies behind them moves; Matroska gets the
arrangement as a tag that FFmpeg knows, and the projection in the room of a title that FFmpeg has been told to write.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vdeblur.errors import TargetError
from vdeblur.video.encode.containers import Container
from vdeblur.video.sink.iso_patch import insert_boxes
from vdeblur.video.sink.matroska_patch import put_into_video
from vdeblur.video.spatial import matroska, mp4
from vdeblur.video.spatial.arrangement import Spatial

PROJECTION_WORDS, STEREO_WORDS = "spherical projection (360° video)", "stereoscopic arrangement (3D video)"
#: Letters of the title that keeps room for a projection.
_ROOM = "\N{FULL BLOCK}"
#: Bytes that elements around a projection grow by at most.
_SLACK_BYTES = 24


@dataclass(frozen=True)
class SpatialMarks:
    """What becomes of the spatial description of a source in one target.

    Args:
        entry_boxes, track_boxes: of MP4, at the end of the sample entry and of the track.
        element: Matroska's element Projection.
        tags: further tags of the video, for FFmpeg.
        lost: what the target has no place for, in words.
    """

    entry_boxes: bytes = b""
    track_boxes: bytes = b""
    element: bytes = b""
    tags: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    @property
    def room(self) -> str:
        """Title that keeps the room for the element; empty if none is needed."""
        return _ROOM * (-(-(len(self.element) + _SLACK_BYTES) // len(_ROOM.encode()))) if self.element else ""

    @property
    def is_for_later(self) -> bool:
        """Whether the finished file must be changed."""
        return bool(self.entry_boxes or self.track_boxes or self.element)

    def write(self, path: Path, place: int, title: str | None) -> bool:
        """Write the marks into a finished file; whether they have found their place.

        Args:
            place: of the video among all videos of the file.
            title: the video's own.

        Raises:
            TargetError: the disk failed.
        """
        try:
            if self.element:
                return put_into_video(path, place, self.element, room=self.room, title=title)
            return insert_boxes(path, place, self.entry_boxes, self.track_boxes)
        except OSError as exc:
            raise TargetError(f"cannot write the projection into {path}: {exc.strerror or exc}") from exc


def marks_for(spatial: Spatial | None, container: Container, *, changeable: bool, same_picture: bool) -> SpatialMarks:
    """What can be kept.

    Args:
        changeable: the target is one file that can be changed when it is finished.
        same_picture: the frames show what the source shows, and nothing beside it.
    """
    if spatial is None:
        return SpatialMarks()
    projection, stereo = spatial.projection, spatial.stereo
    shown = [PROJECTION_WORDS] * (projection is not None or bool(spatial.xml))
    shown += [STEREO_WORDS] * (stereo is not None)
    unknown = ["further description of 360° or 3D video"] * spatial.foreign
    if not same_picture:
        return SpatialMarks(lost=(*shown, *unknown))
    if container.iso_base_media and changeable:
        homeless = [STEREO_WORDS] if stereo is not None and not mp4.holds(stereo) else []
        return SpatialMarks(*mp4.boxes_of(spatial), lost=(*homeless, *unknown))
    lost: list[str] = []
    tags: tuple[str, ...] = ()
    element = b""
    if stereo is not None:
        tag = matroska.stereo_tag(stereo, common_only=container.common_stereo_modes_only)
        if container.keeps_stereo_mode and tag is not None:
            tags = (f"stereo_mode={tag}",)
        else:
            lost.append(STEREO_WORDS)
    if projection is not None or spatial.xml:
        if projection is not None and container.keeps_projection and changeable:
            element = matroska.projection_element(projection)
        if not element or len(element) > matroska.MOST_BYTES:
            element = b""
            lost.insert(0, PROJECTION_WORDS)
    return SpatialMarks(element=element, tags=tags, lost=(*lost, *unknown))
