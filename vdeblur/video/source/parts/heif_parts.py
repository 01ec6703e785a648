"""Parts of HEIF and AVIF: FFmpeg shows the picture, its animation and the alpha of each as streams of their own.

Source: ISO/IEC 23008-12 (HEIF), 23000-22 (MIAF); AVIF 1.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from av.stream import Disposition
from av.video.format import VideoFormat
from av.video.stream import VideoStream

from vdeblur.errors import SourceError
from vdeblur.video.av_compat import tags_of
from vdeblur.video.formats.pixel_formats import canonical_format
from vdeblur.video.info import PartOfVideo

#: Brands of files that hold pictures or their animation, by ``ftyp``.
_BRANDS = frozenset({
    "avif", "avis", "heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs", "mif1", "mif2", "msf1", "miaf",
})  # fmt: skip
#: FFmpeg's title of an item that is alpha.
_ALPHA_TITLE = "Alpha"


@dataclass(frozen=True)
class HeifParts:
    """What the streams of a file of pictures are to each other."""

    #: The pictures that are restored.
    colours: VideoStream
    #: Their alpha, of the same size and depth.
    alpha: VideoStream | None
    #: Still pictures beside an animation, with their alpha: what is shown before it plays.
    stills: tuple[VideoStream, ...]
    #: Alpha that does not fit into the frames, by its size or depth.
    loose: tuple[VideoStream, ...] = ()

    @property
    def roles(self) -> dict[int, PartOfVideo]:
        """What each stream is to the video, by its index."""
        found: dict[int, PartOfVideo] = {still.index: "still" for still in self.stills}
        found |= {stream.index: "copied alpha" for stream in self.loose}
        return found if self.alpha is None else {**found, self.alpha.index: "alpha"}


def heif_parts(streams: Sequence[VideoStream], chosen: VideoStream, tags: Mapping[str, str]) -> HeifParts | None:
    """The parts of a file by its video streams and its tags; ``None`` if it is no HEIF.

    Args:
        chosen: the stream that is restored where there is no animation.

    Raises:
        SourceError: the picture is one of tiles, which FFmpeg gives one by one, beside a small version of the whole.
    """
    if tags.get("major_brand", "").strip() not in _BRANDS:
        return None
    stills = [stream for stream in streams if stream.duration is None]
    moving = [stream for stream in streams if stream.duration is not None]
    if not moving and any(stream.disposition & Disposition.dependent for stream in stills):
        raise SourceError("it is a picture in tiles, which is not supported; convert it to PNG or JPEG first")
    group = moving or stills
    colours = next((stream for stream in moving if not _is_grey(stream)), moving[0]) if moving else chosen
    alphas = [stream for stream in group if stream is not colours and _fits(colours, stream)]
    alpha = alphas[0] if len(alphas) == 1 else None
    others = (stream for stream in group if stream is not colours and stream is not alpha)
    loose = tuple(stream for stream in others if tags_of(stream).get("title") == _ALPHA_TITLE)
    return HeifParts(colours, alpha, tuple(stills) if moving else (), loose)


def format_with_alpha(colours: str, alpha: str) -> str | None:
    """FFmpeg's name of a planar format with the samples of two formats; ``None`` if there is none."""
    try:
        whole, grey = canonical_format(colours), canonical_format(alpha)
        if whole.alpha or grey.family != "gray" or whole.bits != grey.bits or whole.family == "gray":
            return None
        first, rest = ("gbrap", whole.name[4:]) if whole.family == "rgb" else ("yuva", whole.name[3:])
        return canonical_format(_known(first + rest)).name
    except (SourceError, ValueError):
        return None


def _known(name: str) -> str:
    """The name of a format, if this FFmpeg has it.

    Raises:
        ValueError: it does not.
    """
    VideoFormat(name)
    return name


def _is_grey(stream: VideoStream) -> bool:
    return (stream.codec_context.pix_fmt or "").startswith("gray")


def _fits(colours: VideoStream, alpha: VideoStream) -> bool:
    one, other = colours.codec_context, alpha.codec_context
    same = (one.width, one.height) == (other.width, other.height)
    return same and _is_grey(alpha) and format_with_alpha(one.pix_fmt or "", other.pix_fmt or "") is not None
