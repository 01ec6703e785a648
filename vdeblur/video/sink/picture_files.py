"""Picture files: names and metadata (Exif, ICC, XMP) of the images of a job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from vdeblur.video.encode.containers import Container
from vdeblur.video.encode.encoders import Encoder
from vdeblur.video.info import SourceInfo
from vdeblur.video.photo.exif import orientation_of
from vdeblur.video.photo.metadata_copy import PictureTags, holds_tags, lost_tags, read_tags, write_tags
from vdeblur.video.sink.picture_names import is_folder, names_in_folder, numbered_names, numbers_of
from vdeblur.video.sink.targets import SequenceTarget, Target, is_pattern

#: The user's own numbers have the last word.
_NUMBERING = "-start_number"


class PictureFiles:
    """Names and metadata of the pictures that a job writes.

    Args:
        target: as it was given.
        asked: container by the user's word, where the names' endings do not say it.
    """

    def __init__(self, target: str | Path | BinaryIO, info: SourceInfo, *, asked: str | None) -> None:
        self._info = info
        self._asked = asked
        self._pattern = Path(str(target)).name if is_pattern(target) else None
        self._shown: list[int] = []
        #: The target is a folder, for pictures under their own names.
        self.into_folder = is_folder(target, info)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all pictures that may come, by the number of their frame; empty if FFmpeg's counting names them."""
        if self.into_folder:
            return names_in_folder(self._info, self._asked)
        numbers = self._info.picture_numbers or numbers_of(self._info.pictures)
        return numbered_names(self._pattern, numbers) if self._pattern is not None else ()

    def add(self, pts: int) -> None:
        """Count a written frame."""
        if self._info.pictures:
            self._shown.append(pts)

    def complete(self, target: Target, encoder: Encoder, extra: Sequence[str]) -> None:
        """Name the finished files and write the metadata of their sources into them.

        Raises:
            TargetError: the disk failed.
        """
        names = self.names
        if isinstance(target, SequenceTarget) and names and _NUMBERING not in extra:
            target.names = [names[number] for number in self._shown if number < len(names)]
        if holds_tags(encoder.picture_file):
            for place, file in enumerate(target.pictures()):
                write_tags(file, self._tags(place))

    def _tags(self, place: int) -> PictureTags:
        if self._info.pictures:
            number = min(self._shown[min(place, len(self._shown) - 1)], len(self._info.pictures) - 1)
            return read_tags(self._info.pictures[number])
        return source_tags(self._info)


def source_tags(info: SourceInfo) -> PictureTags:
    """Metadata of the source, or of the first of its pictures."""
    if info.pictures:
        return read_tags(info.pictures[0])
    return read_tags(info.path, orientation=orientation_of(info.video.display_matrix))


def lost_tags_of(info: SourceInfo, container: Container, encoder: Encoder, *, changeable: bool) -> list[str]:
    """Metadata of the source's pictures that the output will lose, in words."""
    # What the source itself has: a turned video gets an orientation only where Exif is its place.
    tags = read_tags(info.pictures[0] if info.pictures else info.path)
    lost = lost_tags(tags, encoder.picture_file if container.only_pictures and changeable else None)
    if "EXIF" in info.video.side_data and tags.exif is None:
        lost.append("Exif data")
    if "ICC_PROFILE" in info.video.side_data and tags.icc is None:
        lost.append("the ICC colour profile")
    return lost


def expected_pictures(info: SourceInfo, start_seconds: float | None, duration_seconds: float | None) -> int:
    """Number of pictures by the source's header for the time range; 0 = unknown."""
    video = info.video
    if duration_seconds is not None and video.average_rate is not None:
        return max(1, round(duration_seconds * video.average_rate))
    return (video.frame_count_from_header or 0) if start_seconds is None else 0


def one_picture_only(target: object, why: str) -> str:
    """Error message for a target of one picture that would get several frames."""
    path = Path(str(target))
    return f"{target} is one picture but {why}; write to a pattern like {path.stem}_%05d{path.suffix}"
