"""Tap pre-training: filters along the motion fitted on single pixels, thousands of times faster than on frames.

What a pixel sees along its motion and what it should have been are drawn from many clips and kept; batches of pixels
from everywhere then teach the filters alone. The rest of the network learns with them afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.model.block_taps import SharedTaps
from vdeblur.model.deblur_net import DeblurNet
from vdeblur.model.luma_net import LumaNet
from vdeblur.model.motion_taps import MotionTaps, luma
from vdeblur.training.losses import SQUARES, charbonnier
from vdeblur.training.pretraining.pace import Pace
from vdeblur.training.pretraining.regression import fit
from vdeblur.training.synthesis.blur import Clip

#: The exposure fraction while learning, as it is at use: on average so many times the true one, for doubt makes it
#: smaller; and its spread, relative and absolute. Measured on clips of known exposure that nothing was learned from.
TAKEN_SHARE = 0.96
EXPOSURE_ERRORS = (0.07, 0.03)
#: True motion during the exposure, pixels, up to which nothing is to be changed, and from which on all: what is not
#: blurred has noise and the traces of a codec, which are to stay.
UNTOUCHED_PX = (0.5, 1.5)
#: Exponent of a frame's mean squared error in the weight of its pixels: 0 minds strong blur most, 1 all frames alike.
FRAME_EXPONENT = -0.5
#: Mean squared error, of luma in [0, 1], below which all frames count the same: 37 dB.
_LEAST_ERROR = 2e-4
#: Share of the clips that are seen with the future frame.
LOOKAHEAD = 0.65


class PixelSamples(NamedTuple):
    """Drawn pixels: what they see (N, K), float16, and (N,): how long their motion is, luma's change, weights."""

    seen: Tensor
    length: Tensor
    change: Tensor
    weight: Tensor


def true_exposure(clip: Clip) -> Tensor:
    """Exposure in frame intervals (B·T, 1, 1, 1), from the true motions of a batch (B, T, …)."""
    assert clip.velocity is not None, "the clip's motion is unknown"
    assert clip.motion is not None
    velocity, motion = (tensor.flatten(0, 1).flatten(1) for tensor in (clip.velocity, clip.motion))
    fraction = (velocity * motion).sum(1) / (velocity.square().sum(1) + 1e-3)
    return fraction.clamp(0, 1.2)[:, None, None, None]


def misread(clip: Clip, generator: torch.Generator) -> tuple[Tensor, int]:
    """The exposure of a batch, as wrong as at use, alike in all frames of a clip; and whether the future is seen."""
    exposure = true_exposure(clip).view(*clip.blurry.shape[:2], 1, 1, 1)
    relative, absolute = (
        spread * torch.randn(len(exposure), 1, 1, 1, 1, generator=generator).to(exposure.device)
        for spread in EXPOSURE_ERRORS
    )
    taken = (exposure * (TAKEN_SHARE + relative) + absolute).clamp(0.01, 1.0).flatten(0, 1)
    return taken, int(torch.rand(1, generator=generator) < LOOKAHEAD)


def wanted_change(clip: Clip) -> tuple[Tensor, Tensor]:
    """How luma of a batch (B, T, …) should change (B·T, 1, H, W), and the weights of its frames (B·T,).

    Where the true motion leaves no blur, nothing should.
    """
    assert clip.motion is not None, "the clip's motion is unknown"
    change = luma(clip.sharp.flatten(0, 1)) - luma(clip.blurry.flatten(0, 1))
    weight = (change.square().mean((1, 2, 3)) + _LEAST_ERROR) ** FRAME_EXPONENT
    least, most = UNTOUCHED_PX
    length = clip.motion.flatten(0, 1).norm(dim=1, keepdim=True)
    if length.shape[-2:] != change.shape[-2:]:  # known for cells only
        length = F.interpolate(length, change.shape[-2:], mode="nearest")
    blurred = (length - least) / (most - least)
    return change * blurred.clamp(0, 1), weight


def weighed_luma(difference: Tensor, weight: Tensor) -> Tensor:
    """What is wrong with luma in [0, 1], for taps: its size, and :data:`SQUARES` times its weighed square.

    Sizes alone leave edges soft, which few pixels have.

    Args:
        difference: (N, …); ``weight`` (N,), of mean 1.
    """
    return charbonnier(difference) + SQUARES * (difference.square().flatten(1).mean(1) * weight).mean()


def draw_pixels(
    net: DeblurNet | LumaNet, clips: Iterable[Clip], *, per_frame: int, seed: int, pace: Pace | None = None
) -> PixelSamples:
    """Pixels of batches (B, T, …) at random, ``per_frame`` of each frame.

    Raises:
        Paused: the pace was asked to stop.
    """
    generator, pace = torch.Generator().manual_seed(seed), pace or Pace("taps")
    parts = recalled_parts(pace, generator)
    for clip in clips:
        exposure, lookahead = misread(clip, generator)
        seen, length = net.sample_taps(clip.blurry, lookahead=lookahead, exposure=exposure)
        change, weight = wanted_change(clip)
        if net.taps.scale > 1:
            change = F.avg_pool2d(change, net.taps.scale)
        count = change[0].numel()
        picked = torch.stack([torch.randperm(count, generator=generator)[:per_frame] for _ in change]).to(change.device)

        def chosen(values: Tensor, at: Tensor = picked) -> Tensor:
            flat = values.flatten(2)
            return flat.gather(2, at[:, None].expand(-1, flat.shape[1], -1)).transpose(1, 2).flatten(0, 1)

        each = weight.repeat_interleave(per_frame)
        parts.append(PixelSamples(chosen(seen).half(), chosen(length)[:, 0].half(), chosen(change)[:, 0], each))
        pace.pause_if_asked(lambda: drawing_state(pace, generator, parts))
    drawn = PixelSamples(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
    return drawn._replace(weight=drawn.weight / drawn.weight.mean())


def drawing_state(pace: Pace, generator: torch.Generator, parts: Sequence[Sequence[Tensor]]) -> dict[str, Any]:
    """What an interrupted drawing goes on from."""
    return {
        "drawing": {
            "parts": [tuple(part) for part in parts],
            "generator": generator.get_state(),
            "taken": (pace.batches, pace.clips),
        }
    }


def recalled_parts(pace: Pace, generator: torch.Generator) -> list[tuple[Tensor, ...]]:
    """What an interrupted drawing has drawn; its generator goes on where that one's was."""
    kept = pace.kept.get("drawing")
    if kept is None:
        return []
    generator.set_state(kept["generator"].cpu())
    return list(kept["parts"])


def learn_taps(
    taps: MotionTaps | SharedTaps,
    pixels: PixelSamples,
    *,
    steps: int,
    batch: int = 8192,
    learning_rate: float = 3e-3,
    seed: int = 0,
    pace: Pace | None = None,
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
        return weighed_luma(wrong[:, None], pixels.weight[at]), charbonnier(wrong)

    mean = fit(
        [parameter for layer in layers for parameter in layer.parameters()], losses, steps=steps, generator=generator,
        pace=pace or Pace("taps"), learning_rate=learning_rate, weight_decay=1e-4, warmup_steps=100,
    )  # fmt: skip
    with torch.no_grad():
        taps.filters.weight[:, taps.filters.in_channels - taps.guides :] = 0
    return mean
