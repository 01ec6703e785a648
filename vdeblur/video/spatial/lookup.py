"""Spatial lookup: what a source says of the space that its video shows, by its container and by its first frame."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vdeblur.video.iso_boxes import read_movie
from vdeblur.video.spatial.arrangement import Spatial, projection_of, stereo_of
from vdeblur.video.spatial.matroska import projection_of_video
from vdeblur.video.spatial.mp4 import spatial_of_track

_log = logging.getLogger(__name__)

#: Tracks stand in front.
_HEAD_BYTES = 1 << 20


def spatial_of(
    side_data: Mapping[str, bytes], path: Path | None, container: str, *, track: int, place: int
) -> Spatial | None:
    """What is known; ``None`` where nothing is said.

    Args:
        side_data: of the first frame, by FFmpeg's names.
        path: the file; ``None`` = there is none.
        container: FFmpeg's name of it.
        track: the container's own number of the video.
        place: of the video among all videos of the file.
    """
    said = Spatial()
    try:
        if path is not None and container.startswith("mov,"):
            movie = read_movie(path)
            said = said if movie is None else spatial_of_track(movie.data, track)
        elif path is not None and container.startswith("matroska"):
            with path.open("rb") as file:
                projection, foreign = projection_of_video(file.read(_HEAD_BYTES), place)
            said = Spatial(projection, foreign=foreign)
    except OSError as exc:
        _log.debug("cannot look for a projection: %s", exc)
    if "SPHERICAL" in side_data and said.projection is None and not said.xml:
        projection = projection_of(side_data["SPHERICAL"])
        said = replace(said, projection=projection, foreign=said.foreign or projection is None)
    elif said.xml and said.projection is None and "SPHERICAL" in side_data:
        # For containers that know nothing of V1.
        said = replace(said, projection=projection_of(side_data["SPHERICAL"]))
    if "STEREO3D" in side_data and said.stereo is None:
        stereo = stereo_of(side_data["STEREO3D"])
        said = replace(said, stereo=stereo, foreign=said.foreign or stereo is None)
    return None if said.is_empty else said
