"""Contact sheet: crops of blurred, restored and true frames side by side, at places chosen by rule."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from kornia.io import write_image
from torch import Tensor

from vdeblur.atomic_files import replaced_file
from vdeblur.errors import TargetError, UsageError
from vdeblur.evaluation.cases import Case
from vdeblur.metrics import as_8bit, psnr
from vdeblur.plotting.canvas import Canvas
from vdeblur.video.photo.png import encode_png

#: Side of a crop, how often each of its pixels is repeated, and the gap between crops.
CROP_PX, ENLARGED, GAP_PX = 112, 2, 6
#: Grey level of the sheet, and colours of its labels.
PAPER = 24
_PAPER_COLOUR, _INK_COLOUR = "#" + f"{PAPER:02x}" * 3, "#ebebeb"
#: Height of a label, its baseline, and the height of its capitals.
LABEL_PX, _BASELINE_PX, _CAPITALS_PX = 20, 15, 10


@dataclass(frozen=True)
class Spot:
    """A place worth looking at: a frame's number and the crop's upper left corner."""

    why: str
    frame: int
    top: int
    left: int

    def crop(self, picture: Tensor) -> Tensor:
        """The crop (3, h, w), 8 bits, of R'G'B' (1, 3, H, W)."""
        cut = picture[0, :, self.top : self.top + CROP_PX, self.left : self.left + CROP_PX]
        return as_8bit(cut).to(torch.uint8)


@dataclass
class SpotSearch:
    """Finds two spots in a clip: where blur costs most, and one at random, the same every time.

    Blur costs most where the mean difference between the blurred crop and the true one is largest: much blur on much
    detail.
    """

    case: Case
    _worst: tuple[float, Spot] | None = None
    _any: Spot | None = None
    _draw: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._draw = random.Random(zlib.crc32(f"{self.case.dataset}/{self.case.name}".encode()))

    def look(self, number: int, blurry: Tensor, truth: Tensor) -> None:
        height, width = blurry.shape[-2:]
        side = [min(CROP_PX, height), min(CROP_PX, width)]
        step = max(1, CROP_PX // 4)
        costs = F.avg_pool2d((blurry - truth).abs().mean(dim=1, keepdim=True), side, stride=step)[0, 0]
        value, place = costs.flatten().max(dim=0)
        if self._worst is None or float(value) > self._worst[0]:
            row, column = divmod(int(place), costs.shape[1])
            self._worst = (float(value), Spot("most blur on detail", number, row * step, column * step))
        if self._draw.random() < 1 / (number + 1):  # every frame is as likely as any other
            top, left = (self._draw.randrange(size - cut + 1) for size, cut in zip((height, width), side, strict=True))
            self._any = Spot("at random", number, top, left)

    def spots(self) -> list[Spot]:
        return [spot for spot in (self._worst and self._worst[1], self._any) if spot is not None]


class ContactSheet:
    """Collects crops and draws them, a row a spot, a column a method.

    Args:
        path: where it will be written, checked by :func:`checked_target`.
        methods: headings between "blurred" and "truth", in order.
    """

    def __init__(self, path: Path, methods: Sequence[str]) -> None:
        self.path = path
        self.columns = ["blurred", *methods, "truth"]
        self._rows: list[tuple[str, dict[str, Tensor]]] = []
        self._spots: dict[tuple[str, str], list[tuple[Spot, dict[str, Tensor]]]] = {}

    def begin(self, case: Case, spots: Sequence[Spot]) -> None:
        """Keep rows for these spots of a case."""
        rows = []
        for spot in spots:
            crops: dict[str, Tensor] = {}
            title = f"{case.dataset}/{case.name}, frame {spot.frame} at {spot.left},{spot.top}: {spot.why}"
            self._rows.append((title, crops))
            rows.append((spot, crops))
        self._spots[case.dataset, case.name] = rows

    def add(self, case: Case, column: str, number: int, picture: Tensor) -> None:
        """Offer frame ``number`` (1, 3, H, W) of a case as that column has it; only its spots are kept."""
        for spot, crops in self._spots.get((case.dataset, case.name), []):
            if spot.frame == number:
                crops[column] = spot.crop(picture)

    def draw(self) -> Tensor:
        """The sheet (3, H, W), 8 bits; under each crop its PSNR against the truth in dB."""
        side = CROP_PX * ENLARGED
        width = len(self.columns) * (side + GAP_PX) + GAP_PX
        bands = []
        for title, crops in self._rows:
            bands.append(label(title, width))
            cells = [_cell(name, crops[name], crops["truth"], side) for name in self.columns]
            row = torch.cat([F.pad(cell, (GAP_PX, 0), value=PAPER) for cell in cells], dim=2)
            bands.append(F.pad(row, (0, width - row.shape[2], 0, GAP_PX), value=PAPER))
        return torch.cat(bands, dim=1)

    def write(self) -> None:
        """Write the sheet as PNG or JPEG, by its ending.

        Raises:
            TargetError: it cannot be written.
        """
        try:
            picture = self.draw().contiguous()
            with replaced_file(self.path) as part:
                if self.path.suffix.lower() == ".png":
                    part.write_bytes(encode_png(picture.permute(1, 2, 0).numpy()))
                else:
                    write_image(part, picture, quality=95)
        except TargetError as exc:
            raise TargetError(str(exc).replace("write", "write the contact sheet", 1)) from exc
        except Exception as exc:
            raise TargetError(f"cannot write the contact sheet {self.path}: {str(exc).splitlines()[0]}") from exc


def checked_target(path: Path, evaluated: Sequence[Case]) -> Path:
    """The path of a sheet, if it can be one.

    Raises:
        UsageError: its ending or its folder is wrong, or it is a file that is evaluated.
    """
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UsageError(f"the contact sheet cannot be {path}: end it in .png or .jpg")
    if not path.resolve().parent.is_dir():
        raise UsageError(f"there is no folder {path.parent} for the contact sheet {path.name}")
    if path.resolve() in {Path(name).resolve() for case in evaluated for name in (case.blurry_name, case.sharp_name)}:
        raise UsageError(f"the contact sheet would overwrite {path}, which is evaluated: choose another name")
    return path


def _cell(name: str, crop: Tensor, truth: Tensor, side: int) -> Tensor:
    large = crop.repeat_interleave(ENLARGED, 1).repeat_interleave(ENLARGED, 2)
    large = F.pad(large, (0, side - large.shape[2], 0, side - large.shape[1]), value=PAPER)
    words = name if name == "truth" else f"{name[:11]} {psnr(crop / 255, truth / 255):.2f}"
    return torch.cat((label(words, side), large), dim=1)


def label(words: str, width: int) -> Tensor:
    """A line of text as a strip (3, LABEL_PX, width), 8 bits, clipped at the right edge."""
    canvas = Canvas(width, LABEL_PX, scale=1, paper=_PAPER_COLOUR)
    canvas.text(2, _BASELINE_PX, words, _CAPITALS_PX, _INK_COLOUR)
    return torch.from_numpy(canvas.pixels).permute(2, 0, 1)
