"""Tap pre-training: filters along the motion fitted on single pixels, thousands of times faster than on frames.

What a pixel sees along its motion and what it should have been are drawn from many clips and kept; batches of pixels
from everywhere then teach the filters alone. The rest of the network learns with them afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.model.block_taps import SharedTaps
from vdeblur.model.deblur_net import DeblurNet
from vdeblur.model.luma_net import LumaNet
from vdeblur.model.motion_taps import MotionTaps, luma
from vdeblur.training.losses import charbonnier, wrong_luma
from vdeblur.training.pretraining.regression import fit
from vdeblur.training.synthesis.blur import Clip

log = logging.getLogger(__name__)

#: Spread of the error of the exposure fraction while learning, relative: at use it is an estimate, too.
EXPOSURE_ERROR = 0.12
#: Share of the clips that are seen with the future frame.
LOOKAHEAD = 0.65


class PixelSamples(NamedTuple):
    """Drawn pixels: what they see (N, K), float16, how long their motion is, and how their luma should change (N,)."""

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


def misread(clip: Clip, generator: torch.Generator) -> tuple[Tensor, int]:
    """The true exposure of a batch, a little wrong as at use, and whether the future is seen."""
    exposure = true_exposure(clip)
    wrong = 1 + EXPOSURE_ERROR * torch.randn(exposure.shape, generator=generator).to(exposure.device)
    return exposure * wrong, int(torch.rand(1, generator=generator) < LOOKAHEAD)


def draw_pixels(net: DeblurNet | LumaNet, clips: Iterable[Clip], *, per_frame: int, seed: int) -> PixelSamples:
    """Pixels of batches (B, T, …) at random, ``per_frame`` of each frame."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for clip in clips:
        exposure, lookahead = misread(clip, generator)
        seen, length = net.sample_taps(clip.blurry, lookahead=lookahead, exposure=exposure)
        change = luma(clip.sharp.flatten(0, 1)) - luma(clip.blurry.flatten(0, 1))
        if net.taps.scale > 1:
            change = F.avg_pool2d(change, net.taps.scale)
        count = change[0].numel()
        picked = torch.stack([torch.randperm(count, generator=generator)[:per_frame] for _ in change]).to(change.device)

        def chosen(values: Tensor, at: Tensor = picked) -> Tensor:
            flat = values.flatten(2)
            return flat.gather(2, at[:, None].expand(-1, flat.shape[1], -1)).transpose(1, 2).flatten(0, 1)

        parts.append(PixelSamples(chosen(seen).half(), chosen(length)[:, 0].half(), chosen(change)[:, 0]))
    return PixelSamples(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def told(steps: int) -> Callable[[int, Tensor], None]:
    """Says now and then how far the taps are."""

    def tell(step: int, loss: Tensor) -> None:
        if step % 1000 == 0:
            log.info("taps: step %d of %d, loss %.5f", step, steps, loss.item())

    return tell


def learn_taps(
    taps: MotionTaps | SharedTaps,
    pixels: PixelSamples,
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
        wrong = taps.correct_pixels(pixels.seen[at].float(), pixels.length[at].float()) - pixels.change[at]
        return wrong_luma(wrong), charbonnier(wrong)

    mean = fit(
        [parameter for layer in layers for parameter in layer.parameters()], losses, steps=steps, told=told(steps),
        learning_rate=learning_rate, weight_decay=1e-4, warmup_steps=100,
    )  # fmt: skip
    with torch.no_grad():
        taps.filters.weight[:, taps.filters.in_channels - taps.guides :] = 0
    return mean
