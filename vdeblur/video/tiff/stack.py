"""Pages of a TIFF that are its pictures: a stack of a microscope, the pages of a scanner, or one photograph.

Smaller versions and masks that stand beside a picture are none of them. ImageJ writes stacks above 4 GiB with one
directory alone and the pictures one after the other.

Source: TIFF 6.0; ImageJ's ``ij.io.TiffEncoder``; OME-TIFF, schema 2016-06.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from vdeblur.errors import SourceError
from vdeblur.video.tiff.directories import MOST_PAGES, TiffData, directories
from vdeblur.video.tiff.layout import NONE, PageLayout, layout_of

_DESCRIPTION, _SUB_DIRECTORIES, _DNG = 270, 330, 50706
#: Descriptions of OME are long; what is asked of them stands in front.
_DESCRIPTION_CHARS = 1 << 16
_IMAGEJ = re.compile(r"^(\w+)=([0-9.]+)\s*$", re.MULTILINE)
_OME_SIZE = re.compile(r'\bSize([CZT])="(\d{1,9})"')
#: Shape of smaller versions against that of the picture.
_SHAPE_TOLERANCE = 0.03
#: Rates at which ImageJ plays that can be meant as such.
_SLOWEST, _FASTEST = Fraction(1, 10), Fraction(1000)


@dataclass(frozen=True)
class Stack:
    """The pictures of a TIFF file, all of one size and format."""

    pages: tuple[PageLayout, ...]
    #: Pictures a second, where the file says it.
    rate: Fraction | None = None
    notes: tuple[str, ...] = ()


def read_stack(data: TiffData, most_px: int) -> Stack:
    """The pictures of a TIFF.

    Args:
        most_px: pixels that each may have.

    Raises:
        SourceError: it is damaged or of a kind that is not supported; in words that follow "it" or "page N: it".
    """
    order = "<" if data.read(0, 2) == b"II" else ">"
    pages: list[PageLayout] = []
    unread = 0
    description = ""
    for number, directory in enumerate(directories(data), start=1):
        if number == 1:
            description = directory.text(_DESCRIPTION)[:_DESCRIPTION_CHARS]
            _check_raw(data, directory.integer(254, 0), _DNG in directory, _SUB_DIRECTORIES in directory)
        try:
            pages.append(layout_of(directory, order, most_px, data.size))
        except SourceError as exc:
            if pages and directory.integer(254, 0) & 5:
                unread += 1  # of no use, so it need not be readable
                continue
            raise SourceError(str(exc) if number == 1 else f"page {number}: {exc}") from exc
    if not pages:
        raise SourceError("it has no page")
    kept = _pictures(pages)
    left_out = unread + len(pages) - len(kept)
    notes = [f"{left_out} page{'s' * (left_out > 1)} with a smaller version or a mask left out"] if left_out else []
    words = _imagej_words(description)
    if words is not None:
        kept = _with_hidden(kept, words, data.size)
    _check_channels(words, description, len(kept), kept[0].samples)
    return Stack(kept, _rate(words or {}), tuple(notes))


def _check_raw(data: TiffData, kind: int, is_dng: bool, has_more: bool) -> None:
    if is_dng or data.read(8, 2) == b"CR" or (kind & 1 and has_more):
        raise SourceError("it is the raw file of a camera; develop it into an ordinary TIFF first")


def _pictures(pages: list[PageLayout]) -> tuple[PageLayout, ...]:
    """The pages that are pictures.

    Raises:
        SourceError: they differ in size or format.
    """
    whole = [page for page in pages if not page.auxiliary] or pages[:1]
    first = max(whole, key=lambda page: page.width * page.height)
    kept = [page for page in whole if page.same_pictures(first)]
    smaller = [page for page in whole if page not in kept and _is_smaller_version(page, first)]
    if len(kept) + len(smaller) < len(whole):
        number, page = next(
            (number, page) for number, page in enumerate(whole, start=1) if page not in kept and page not in smaller
        )
        raise SourceError(
            f"its pages differ: {number} is {_words(page)}, others are {_words(first)}; save each kind in a file of "
            "its own"
        )
    return tuple(kept)


def _is_smaller_version(page: PageLayout, whole: PageLayout) -> bool:
    across, down = page.width / whole.width, page.height / whole.height
    return max(across, down) < 1 and abs(across / down - 1) < max(_SHAPE_TOLERANCE, 2 / min(page.width, page.height))


def _words(page: PageLayout) -> str:
    return f"{page.width}×{page.height} {page.format.name}"


def _imagej_words(description: str) -> dict[str, Fraction] | None:
    """What ImageJ says of a stack; ``None`` if it has not written the file."""
    if not description.startswith("ImageJ="):
        return None
    found = {}
    for name, value in _IMAGEJ.findall(description[:4096]):
        if value.count(".") <= 1 and value.strip("."):
            found[name] = Fraction(value)
    return found


def _with_hidden(pages: tuple[PageLayout, ...], words: dict[str, Fraction], file_bytes: int) -> tuple[PageLayout, ...]:
    """All pictures of ImageJ's stack, where its file has a directory for the first alone.

    Raises:
        SourceError: they are not all there.
    """
    said = int(words.get("images", Fraction(1)))
    if len(pages) > 1 or said <= 1:
        return pages
    page = pages[0]
    size = page.height * -(-page.width * page.samples * page.bits // 8)
    fits = page.compression == NONE and len(page.offsets) == 1 and said <= MOST_PAGES
    if not fits or page.offsets[0] + said * size > file_bytes:
        raise SourceError(f"it says that it has {said} pictures, and not all of them are there")
    return tuple(replace(page, offsets=(page.offsets[0] + number * size,), counts=(size,)) for number in range(said))


def _check_channels(words: dict[str, Fraction] | None, description: str, count: int, samples: int) -> None:
    """Refuse pages that are not one picture after the other, but the channels or the depths of each.

    Raises:
        SourceError: they are.
    """
    if count < 2:
        return
    if words is not None:
        sizes = [int(words.get(name, Fraction(1))) for name in ("channels", "slices", "frames")]
    elif "<OME" in description:
        found = dict(reversed(_OME_SIZE.findall(description)))
        sizes = [int(found.get(letter, "1")) for letter in "CZT"]
        sizes[0] //= max(1, samples)
    else:
        return
    channels, depths, frames = sizes
    if channels > 1:
        raise SourceError(
            f"its {count} pages are {channels} channels of each picture; save each channel in a file of its own"
        )
    if depths > 1 and frames > 1:
        raise SourceError(
            f"its {count} pages are {frames} pictures at {depths} depths; save each depth in a file of its own"
        )


def _rate(words: dict[str, Fraction]) -> Fraction | None:
    """Pictures a second by ImageJ."""
    rate = words.get("fps") or Fraction(0)
    if not rate and (interval := words.get("finterval")):
        rate = 1 / interval
    return rate.limit_denominator(100_000) if _SLOWEST <= rate <= _FASTEST else None
