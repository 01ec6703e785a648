"""The taps first: the filters along the motion learn on single pixels, thousands of times faster than whole frames do.

What a pixel sees along its motion and what it should have been are drawn from many clips and kept; batches of pixels
from everywhere then teach the filters alone. The rest of the network learns with them afterwards. Where each cell has a
filter of its own, whole cells are drawn: the filter is made of what all pixels of one see.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.model.celltaps import CELL, CellTaps
from vdeblur.model.kinds import Net
from vdeblur.model.lumanet import LumaNet
from vdeblur.model.mixedtaps import MixedTaps
from vdeblur.model.steering import SteeredTaps, luma
from vdeblur.training.fitting import fit
from vdeblur.training.losses import charbonnier
from vdeblur.training.synthesis import Clip

log = logging.getLogger(__name__)

#: Spread of the error of the exposure fraction while learning, relative: at use it is an estimate, too.
EXPOSURE_ERROR = 0.12
#: Share of the clips that are seen with the future frame.
LOOKAHEAD = 0.65
#: Share of the batches of cells whose exposure fraction is the one that the network reads.
READ = 0.4
#: Pixels of a cell that a step looks at.
AT_A_STEP = 8


class Pixels(NamedTuple):
    """Drawn pixels: what they see (N, K), float16, how long their motion is, and how their luma should change (N,).

    Of cells: (N, 64, K), (N,) and (N, 64).
    """

    seen: Tensor
    length: Tensor
    change: Tensor


def true_exposure(clip: Clip) -> Tensor:
    """Exposure in frame intervals (B·T, 1, 1, 1), from the true motions of a batch (B, T, …)."""
    assert clip.velocity is not None, "the clip's motion is unknown"
    assert clip.motion is not None
    velocity, motion = (tensor.flatten(0, 1).flatten(1) for tensor in (clip.velocity, clip.motion))
    fraction = (velocity * motion).sum(1) / (velocity.square().sum(1) + 1e-3)
    return fraction.clamp(0, 1.2)[:, None, None, None]


def draw_pixels(net: Net, clips: Iterable[Clip], *, per_frame: int, seed: int) -> Pixels:
    """Pixels of batches (B, T, …) at random, ``per_frame`` of each frame."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for clip in clips:
        exposure = true_exposure(clip)
        wrong = 1 + EXPOSURE_ERROR * torch.randn(exposure.shape, generator=generator).to(exposure.device)
        lookahead = int(torch.rand(1, generator=generator) < LOOKAHEAD)
        seen, length = net.sights(clip.blurry, lookahead=lookahead, exposure=exposure * wrong)
        change = luma(clip.sharp.flatten(0, 1)) - luma(clip.blurry.flatten(0, 1))
        if net.taps.scale > 1:
            change = F.avg_pool2d(change, net.taps.scale)
        count = change[0].numel()
        picked = torch.stack([torch.randperm(count, generator=generator)[:per_frame] for _ in change]).to(change.device)

        def chosen(values: Tensor, at: Tensor = picked) -> Tensor:
            flat = values.flatten(2)
            return flat.gather(2, at[:, None].expand(-1, flat.shape[1], -1)).transpose(1, 2).flatten(0, 1)

        parts.append(Pixels(chosen(seen).half(), chosen(length)[:, 0].half(), chosen(change)[:, 0]))
    return Pixels(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def draw_cells(net: LumaNet, clips: Iterable[Clip], *, per_frame: int, seed: int) -> Pixels:
    """Cells of batches (B, T, …) at random, ``per_frame`` of each frame."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for clip in clips:
        exposure = true_exposure(clip)
        wrong = 1 + EXPOSURE_ERROR * torch.randn(exposure.shape, generator=generator).to(exposure.device)
        lookahead = int(torch.rand(1, generator=generator) < LOOKAHEAD)
        exposure = exposure * wrong
        if torch.rand(1, generator=generator) < READ:
            exposure = net.read_exposures(clip.blurry, lookahead=lookahead)
        seen, motion = net.sights(clip.blurry, lookahead=lookahead, exposure=exposure)
        change = luma(clip.sharp.flatten(0, 1)) - luma(clip.blurry.flatten(0, 1))
        cells, changes = in_cells(seen), in_cells(change)
        count = cells.shape[1]
        picked = torch.stack([torch.randperm(count, generator=generator)[:per_frame] for _ in cells]).to(cells.device)
        rows = torch.arange(len(cells), device=cells.device)[:, None]
        moved = motion[:, 0, ::CELL, ::CELL].flatten(1)
        parts.append(Pixels(*(each[rows, picked].flatten(0, 1).half() for each in (cells, moved, changes[..., 0]))))
    return Pixels(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def in_cells(picture: Tensor) -> Tensor:
    """(B, K, H, W) → (B, cells, 64, K)."""
    batch, channels, height, width = picture.shape
    parts = picture.view(batch, channels, height // CELL, CELL, width // CELL, CELL).permute(0, 2, 4, 3, 5, 1)
    return parts.reshape(batch, -1, CELL * CELL, channels)


def learn_cells(
    taps: MixedTaps,
    cells: Pixels,
    *,
    steps: int,
    batch: int = 8192,
    learning_rate: float = 4e-3,
    seed: int = 0,
) -> float:
    """Teach the filters of cells, ``batch`` pixels a step, :data:`AT_A_STEP` of each cell.

    Half of the cells are seen as if the film ran backwards: the same blur, the neighbours exchanged.

    Returns:
        The mean loss of the last tenth of the steps (Charbonnier, luma in [0, 1]).
    """
    generator = torch.Generator().manual_seed(seed)
    count, device = batch // AT_A_STEP, cells.change.device
    known = torch.cat([taps.known(cells.seen[first : first + 4096]) for first in range(0, len(cells.seen), 4096)])
    order = [torch.tensor(places, device=device) for places in taps.backwards()]

    def losses() -> tuple[Tensor, Tensor]:
        at = torch.randint(len(cells.change), (count,), generator=generator).to(device)
        pixels = torch.randint(CELL * CELL, (count, AT_A_STEP), generator=generator).to(device)
        seen, guides = (
            torch.cat((part[: count // 2], part[count // 2 :][..., backwards]))
            for part, backwards in zip((cells.seen[at[:, None], pixels], known[at]), order, strict=True)
        )
        found = taps.change(seen.float(), cells.length[at].float(), guides)
        loss = charbonnier(found - cells.change[at].gather(1, pixels).float())
        return loss, loss

    return fit(
        list(taps.parameters()), losses, steps=steps, told=_told(steps), learning_rate=learning_rate,
        weight_decay=1e-4, warmup_steps=100,
    )  # fmt: skip


def _told(steps: int) -> Callable[[int, Tensor], None]:
    def told(step: int, loss: Tensor) -> None:
        if step % 1000 == 0:
            log.info("taps: step %d of %d, loss %.5f", step, steps, loss.item())

    return told


def learn_taps(
    taps: SteeredTaps | CellTaps,
    pixels: Pixels,
    *,
    steps: int,
    batch: int = 8192,
    learning_rate: float = 3e-3,
    seed: int = 0,
) -> float:
    """Teach the filters of ``taps`` what a pixel should have been; guides count as nothing meanwhile.

    Returns:
        The mean loss of the last tenth of the steps (Charbonnier, luma in [0, 1]).
    """
    layers = [taps.filters, *taps.mix, taps.correction]
    generator = torch.Generator().manual_seed(seed)

    def losses() -> tuple[Tensor, Tensor]:
        at = torch.randint(len(pixels.change), (batch,), generator=generator).to(pixels.change.device)
        loss = charbonnier(taps.change(pixels.seen[at].float(), pixels.length[at].float()) - pixels.change[at])
        return loss, loss

    mean = fit(
        [parameter for layer in layers for parameter in layer.parameters()], losses, steps=steps, told=_told(steps),
        learning_rate=learning_rate, weight_decay=1e-4, warmup_steps=100,
    )  # fmt: skip
    with torch.no_grad():
        taps.filters.weight[:, taps.filters.in_channels - taps.guides :] = 0
    return mean
