"""Source description: container, streams and video properties, known before frames are read."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

from vdeblur.frames import Colour, FieldOrder, PixelFormat
from vdeblur.video.mpegts_programs import Programs
from vdeblur.video.spatial.arrangement import Spatial

#: What a stream is to the video that is read.
PartOfVideo = Literal["alpha", "still", "copied alpha"]
#: A chromaticity (x, y) of CIE 1931.
Chromaticity = tuple[Fraction, Fraction]


@dataclass(frozen=True)
class MasteringDisplay:
    """Colour volume of the mastering display (SMPTE ST 2086); luminances in cd/m². ``None`` = not said."""

    #: Red, green, blue.
    primaries: tuple[Chromaticity, Chromaticity, Chromaticity] | None
    white_point: Chromaticity | None
    min_luminance: Fraction | None
    max_luminance: Fraction | None


@dataclass(frozen=True)
class ContentLight:
    """Content light levels (CTA-861.3) in cd/m²: the brightest pixel and the brightest frame average."""

    max_content: int
    max_average: int


@dataclass(frozen=True)
class Crop:
    """Rows and columns that the container cuts off the decoded pictures."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True)
class Interlacing:
    """Whether frames hold two fields of different instants: as they are flagged, and as the pictures show."""

    #: Field order by which the frames are to be treated; ``None`` = as whole frames.
    order: FieldOrder | None = None
    #: Field order the first frame is flagged with.
    flagged: FieldOrder | None = None
    #: What the pictures show, where they were looked at and tell; "telecine" is film in 3:2 pulldown.
    shown: FieldOrder | Literal["progressive", "telecine"] | None = None


@dataclass(frozen=True)
class ExposureRange:
    """Exposures that the camera wrote down, from the shortest to the longest."""

    #: Where they are written, for people: "GoPro GPMF".
    source: str
    #: ``None`` where the video does not play as fast as it was taken, or only a shutter angle is written.
    seconds: tuple[float, float] | None
    #: Shares of the frame interval; ``None`` where the rate is not known.
    fractions: tuple[float, float] | None
    #: Nothing but the first frame has been looked at.
    first_frame_only: bool = False


@dataclass(frozen=True)
class StreamInfo:
    """One stream of the container."""

    index: int
    #: "video", "audio", "subtitle", "data" or "attachment".
    kind: str
    #: FFmpeg's codec name, e.g. "aac"; "unknown" if FFmpeg does not know it.
    codec: str
    language: str | None = None
    title: str | None = None
    default: bool = False
    forced: bool = False
    #: A cover picture: a video stream that is no video.
    attached_picture: bool = False
    #: QuickTime's way to store names of chapters: a track of texts, which are read as chapters.
    chapter_text: bool = False
    #: FFmpeg's names of all that is said of its role, e.g. "default", "comment", "hearing_impaired".
    dispositions: tuple[str, ...] = ()
    #: The container's own number for it, in MPEG-TS the packet identifier.
    id: int = 0
    #: It is part of the video that is read: its alpha, or a still picture of an animation; or alpha that is copied.
    part_of_video: PartOfVideo | None = None
    #: Nobody can decode it without a key.
    encrypted: bool = False
    #: Samples a second, of sound.
    sample_rate: int | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class VideoInfo:
    """The video stream that is read. Numbers from headers may lie; their names say so."""

    stream_index: int
    codec: str
    #: Size of the pictures as they are decoded and cropped, before rotation and aspect ratio.
    width: int
    height: int
    #: FFmpeg's name of the decoder's own pixel format, e.g. "yuvj420p" or "nv12".
    pixel_format: str
    #: The format frames have after they are read: planar and canonical.
    format: PixelFormat
    colour: Colour
    time_base: Fraction
    average_rate: Fraction | None
    frame_count_from_header: int | None
    #: Ticks at which the stream starts; ``start_seconds`` of a reader counts from here.
    start_pts: int
    #: Length of the video stream by its header (the container's where the stream does not say).
    duration_seconds: float | None
    #: Counter-clockwise turn the player must make, in degrees from -180 to 180 (FFmpeg's ``-display_rotation``).
    rotation_degrees: int = 0
    #: The whole display matrix, nine 16.16 and 2.30 fixed-point numbers row by row (it may also mirror).
    display_matrix: tuple[int, ...] | None = None
    sample_aspect_ratio: Fraction | None = None
    interlacing: Interlacing = Interlacing()
    #: Each field is coded as a picture of its own; frames are woven of two.
    field_pairs: bool = False
    mastering_display: MasteringDisplay | None = None
    content_light: ContentLight | None = None
    #: Projection of 360° video and arrangement of 3D video.
    spatial: Spatial | None = None
    #: FFmpeg's names of all side data of the first frame, e.g. "A53_CC" (captions) or "DOVI_METADATA".
    side_data: tuple[str, ...] = ()
    #: It says that it has alpha, in a layer that this FFmpeg does not decode.
    hidden_alpha: bool = False
    #: What the container cuts off; the size is that of what is left.
    crop: Crop | None = None


@dataclass(frozen=True)
class TimeScan:
    """What the times of all packets of a file have shown."""

    #: Pieces of which the source was joined: its clock starts again at each.
    pieces: int
    #: Packets with wrong times: of the video, and of all other streams.
    strays: tuple[int, int]
    #: Whether packets of other streams than the video need new times.
    moves_others: bool
    #: First second and end of each stream on the one time line, by index.
    spans: dict[int, tuple[Fraction, Fraction]] = field(default_factory=dict)
    #: Ticks at which key frames of the video are shown, in file order.
    keys: tuple[int, ...] = ()

    @property
    def moves(self) -> bool:
        """Whether any packet needs another time than the file says."""
        return self.moves_others or any(self.strays)

    @property
    def notes(self) -> list[str]:
        """What people should know, in plain words."""
        if self.pieces == 1:
            return []
        times = "once" if self.pieces == 2 else f"{self.pieces - 1} times"
        return [f"the clock of the source starts again {times}: its {self.pieces} pieces follow one another"]


@dataclass(frozen=True)
class SourceInfo:
    """A source: what it is called, how FFmpeg opens it again, and what it holds."""

    #: For people: the path as given, the URL, or "standard input".
    name: str
    #: Path of the file; ``None`` for a pipe, a file object, a URL or a folder of pictures.
    path: Path | None
    #: What FFmpeg takes after ``-i`` ("file:/home/me/a b.mp4", a URL); ``None`` = it cannot be opened twice.
    input_url: str | None
    #: What FFmpeg needs before that ``-i``, without dashes: {"framerate": "25", …}.
    input_options: dict[str, str]
    #: FFmpeg's name of the container, e.g. "mov,mp4,m4a,3gp,3g2,mj2".
    container: str
    video: VideoInfo
    streams: tuple[StreamInfo, ...]
    #: Number of chapters.
    chapters: int
    metadata: dict[str, str]
    duration_seconds: float | None
    #: Which file it was when it was opened (device and number), so that another one in its place is noticed.
    file_id: tuple[int, int] | None = None
    #: Files of a picture sequence, in the order of their frames.
    pictures: tuple[Path, ...] = ()
    #: The number in the name of each, if they have been chosen by it.
    picture_numbers: tuple[int, ...] = ()
    #: The times of its packets, of a file that may have been joined.
    scan: TimeScan | None = None
    #: How the recording breaks off, in plain words, of a file.
    broken: str | None = None
    #: Of an MPEG-TS.
    programs: Programs = field(default_factory=Programs)


def display_turn(rotation_degrees: int, matrix: tuple[int, ...] | None) -> tuple[int, bool]:
    """Rotation in degrees, counter-clockwise, and whether the picture is mirrored left to right after it.

    Args:
        rotation_degrees: of a picture that is not mirrored.
        matrix: display matrix of nine numbers, if there is one.
    """
    if matrix is None or matrix[0] * matrix[4] - matrix[1] * matrix[3] >= 0:
        return rotation_degrees, False
    # FFmpeg mirrors by negating the first column; the angle is that of the matrix before.
    return -round(math.degrees(math.atan2(matrix[1], -matrix[0] or 0))), True
