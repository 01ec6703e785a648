"""Block-filter pre-training: per-block dynamic filters fitted on drawn blocks, optionally distilled from other taps.

The filter is made of what all pixels of a cell see, so cells are drawn and not pixels. Another network's taps may
teach, too: what they give says more about a pixel than its noisy truth does (Hinton et al. 2015).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from vdeblur.errors import UsageError
from vdeblur.kernels.inputs import BLOCK_PX
from vdeblur.model.block_taps import BlockTaps, SharedTaps
from vdeblur.model.luma_net import LumaNet
from vdeblur.model.mixture_taps import MixtureTaps
from vdeblur.training.pretraining.pace import Pace
from vdeblur.training.pretraining.regression import fit
from vdeblur.training.pretraining.taps import drawing_state, misread, recalled_parts, wanted_change, weighed_luma
from vdeblur.training.synthesis.blur import Clip

#: Pixels of a cell that a step looks at.
AT_A_STEP = 8
#: Share of the loss that is the difference to what a teacher gives.
TAUGHT = 0.5
#: Blocks whose sizes are found at a time.
_AT_A_TIME = 4096


class BlockSamples(NamedTuple):
    """Drawn cells: what their pixels see (N, 64, K), how long their motion is (N,), how luma should change (N, 64).

    float16; and their weights (N,), float32, of mean 1.
    """

    seen: Tensor
    length: Tensor
    change: Tensor
    weight: Tensor


def draw_cells(
    net: LumaNet, clips: Iterable[Clip], *, per_frame: int, seed: int, pace: Pace | None = None
) -> BlockSamples:
    """Blocks of batches (B, T, …) at random, ``per_frame`` of each frame, as ``net`` sees them.

    Raises:
        Paused: the pace was asked to stop.
    """
    generator, pace = torch.Generator().manual_seed(seed), pace or Pace("taps")
    parts = recalled_parts(pace, generator)
    for clip in clips:
        exposure, lookahead = misread(clip, generator)
        seen, motion = net.sample_taps(clip.blurry, lookahead=lookahead, exposure=exposure)
        change, weight = wanted_change(clip)
        cells, changes = in_cells(seen), in_cells(change)
        count = cells.shape[1]
        picked = torch.stack([torch.randperm(count, generator=generator)[:per_frame] for _ in cells]).to(cells.device)
        rows = torch.arange(len(cells), device=cells.device)[:, None]
        moved = motion[:, 0, ::BLOCK_PX, ::BLOCK_PX].flatten(1)
        chosen = (each[rows, picked].flatten(0, 1).half() for each in (cells, moved, changes[..., 0]))
        parts.append((*chosen, weight.repeat_interleave(picked.shape[1])))
        pace.pause_if_asked(lambda: drawing_state(pace, generator, parts))
    drawn = BlockSamples(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
    return drawn._replace(weight=drawn.weight / drawn.weight.mean())


def in_cells(picture: Tensor) -> Tensor:
    """(B, K, H, W) → (B, cells, 64, K)."""
    batch, channels, height, width = picture.shape
    parts = picture.view(batch, channels, height // BLOCK_PX, BLOCK_PX, width // BLOCK_PX, BLOCK_PX).permute(
        0, 2, 4, 3, 5, 1
    )
    return parts.reshape(batch, -1, BLOCK_PX * BLOCK_PX, channels)


def rows_in(part: BlockTaps, whole: BlockTaps) -> list[int]:
    """Where what ``part`` sees stands in what ``whole`` sees.

    Raises:
        UsageError: it sees something else.
    """
    there = whole.feature_specs
    missing = [column for column in part.feature_specs if column not in there]
    if missing:
        raise UsageError(f"a network that looks at {missing[0]} cannot learn with one that does not")
    return [there.index(column) for column in part.feature_specs]


def learn_cells(
    taps: MixtureTaps,
    cells: BlockSamples,
    *,
    steps: int,
    batch: int = 8192,
    learning_rate: float = 4e-3,
    seed: int = 0,
    seen_by: BlockTaps | None = None,
    teacher: MixtureTaps | SharedTaps | None = None,
    pace: Pace | None = None,
) -> float:
    """Teach the filters of cells, ``batch`` pixels a step, :data:`AT_A_STEP` of each cell.

    Half of the cells are seen as if the film ran backwards: the same blur, the neighbours exchanged.

    Args:
        seen_by: whose look the cells were drawn with, which has all that ``taps`` and ``teacher`` look at; without it
            ``taps`` itself.
        teacher: whose output counts besides the truth.

    Returns:
        The mean loss against the truth over the last tenth of the steps.

    Raises:
        UsageError: what ``taps`` or ``teacher`` look at was not drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    count, device = batch // AT_A_STEP, cells.change.device
    whole = taps if seen_by is None else seen_by
    there = whole.feature_specs
    backwards = torch.tensor([there.index(column.time_reversed()) for column in there], device=device)
    pupil = _Pupil(taps, cells.seen, rows_in(taps, whole), backwards)
    master = None if teacher is None else _Pupil(teacher, cells.seen, rows_in(teacher, whole), backwards)

    def losses() -> tuple[Tensor, Tensor]:
        at = torch.randint(len(cells.change), (count,), generator=generator).to(device)
        pixels = torch.randint(BLOCK_PX * BLOCK_PX, (count, AT_A_STEP), generator=generator).to(device)
        seen, length = cells.seen[at[:, None], pixels], cells.length[at].float()
        found = pupil.change(at, seen, length)
        weight = cells.weight[at]
        loss = weighed_luma(found - cells.change[at[:, None], pixels].float(), weight)
        if master is None:
            return loss, loss
        with torch.no_grad():
            shown = master.change(at, seen, length)
        return (1 - TAUGHT) * loss + TAUGHT * weighed_luma(found - shown, weight), loss

    return fit(
        list(taps.parameters()), losses, steps=steps, generator=generator, pace=pace or Pace("taps"),
        learning_rate=learning_rate, weight_decay=1e-4, warmup_steps=100,
    )  # fmt: skip


class _Pupil:
    """Taps and their part of what was drawn, the second half of each batch backwards in time."""

    def __init__(self, taps: MixtureTaps | SharedTaps, seen: Tensor, rows: list[int], backwards: Tensor) -> None:
        self._taps = taps
        self._forth = torch.tensor(rows, device=seen.device)
        self._back = backwards[self._forth]
        self._known: tuple[Tensor, ...] = ()
        if isinstance(taps, MixtureTaps):
            with torch.no_grad():
                self._known = tuple(
                    torch.cat([
                        taps.block_statistics(seen[first : first + _AT_A_TIME][..., rows])
                        for first in range(0, len(seen), _AT_A_TIME)
                    ])
                    for rows in (self._forth, self._back)
                )  # fmt: skip

    def change(self, at: Tensor, seen: Tensor, length: Tensor) -> Tensor:
        """Correction (N, P) of pixels that see (N, P, K), of the cells ``at`` (N,)."""
        half = len(at) // 2
        rows = torch.cat((seen[:half][..., self._forth], seen[half:][..., self._back])).float()
        if isinstance(self._taps, MixtureTaps):
            forth, back = self._known
            return self._taps.correct_pixels(rows, length, torch.cat((forth[at[:half]], back[at[half:]])))
        each = self._taps.correct_pixels(rows.flatten(0, 1), length.repeat_interleave(rows.shape[1]))
        return each.view(rows.shape[:2])
