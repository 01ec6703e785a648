"""Network interface: the protocol of the engine, the traits that a network declares, the base of registered ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from vdeblur.errors import UsageError
from vdeblur.model.motion import Motion
from vdeblur.model.motion_taps import luma

#: Upper bound of every integer in a network's config.
LARGEST_NUMBER = 1024


class Network(Protocol):
    """Interface of a restoration network; :class:`vdeblur.model.deblur_net.DeblurNet` implements it.

    Frames are R'G'B' (1, 3, H, W) in [0, 1]; H and W are multiples of ``stride`` and at least ``minimum_size``.
    ``encode`` returns the features of one frame, ``residual`` the correction (1, 3, H, W) of the current frame and the
    new recurrent state. Features of neighbours that do not exist and the state at the start of a shot are None.

    Further capabilities are declared in an attribute ``traits``, a :class:`NetworkTraits`; a network without it has the
    default ones.
    """

    stride: int
    minimum_size: int

    def encode(self, frame: Tensor, /) -> Any: ...

    def residual(self, previous: Any, current: Any, following: Any, state: Any, /) -> tuple[Tensor, Any]: ...


@dataclass(frozen=True, kw_only=True)
class TileTraits:
    """Tiled processing: ``encode`` and ``residual`` (and ``correct``) take ``side=``, a tile's side in pixels or None.

    The results do not depend on it, up to rounding.
    """

    #: Least useful side of a tile, pixels.
    smallest: int
    #: Pixels around a tile that are computed with it.
    overlap: int = 0
    #: On a CPU, pixels taken at a time where that makes no other difference. A network with such strips has a method
    #: ``set_strip_pixels(pixels)``, which sets another number; None sets this one again.
    strip_pixels: int | None = None


@dataclass(frozen=True, kw_only=True)
class NetworkTraits:
    """Capabilities of a network, declared in its attribute ``traits``. The defaults hold for any :class:`Network`."""

    #: Channels of the frames it is given and of its residual: 3, R'G'B', or 1, luma.
    channels: Literal[1, 3] = 3
    #: Frames of several streams may share a pass. Features and states are tensors, or tuples of them within tuples,
    #: with the batch as their first dimension.
    takes_batches: bool = False
    #: Its steps may be recorded as CUDA graphs: they ask nothing of the device's results, and depend on their
    #: arguments and parameters alone.
    capturable: bool = False
    #: Compiled kernels do its work on a CPU, in float32.
    compiled: bool = False
    #: ``residual(…)`` is ``match(…)``, which returns an intermediate result and the state, followed by
    #: ``correct(matched)``: on a CPU the correction of a frame overlaps the matching of the next one.
    halves: bool = False
    #: None: it is given whole frames only.
    tiles: TileTraits | None = None
    #: Makes a recurrent state of its tensors, in their order, as a snapshot keeps them.
    state_from: Callable[[Sequence[Tensor]], Any] = tuple
    #: ``restore_clip`` estimates motion, and takes ``exposure`` and ``motion``; ``clip_motion`` finds motion alone.
    estimates_motion: bool = False
    #: It estimates motion, and has ``fraction``, a :class:`vdeblur.model.exposure.ExposureReader`,
    #: which can be trained before all else. ``residual`` (and ``match``) take ``exposure`` behind the state: known
    #: exposure fractions (B, 1, 1, 1), float32, NaN where the fraction is to be read from the blur; None: everywhere.
    #: Behind it they take what ``match_motion`` returned for the frame, and the profiles of later frames; both may be
    #: None. What has been matched needs no more of its features than ``without_levels`` leaves. The state has
    #: ``profile`` and ``reading`` (:class:`vdeblur.model.exposure.Reading`, packed). If its features have
    #: ``picture``, luma or R'G'B' in [0, 1], overlays are found by its motion.
    reads_exposure: bool = False
    #: Filters along the motion in ``taps`` that can be trained before all else: of pixels, of pixels with the motion of
    #: their block, or of whole blocks, as in :class:`vdeblur.model.deblur_net.DeblurNet` and
    #: :class:`vdeblur.model.luma_net.LumaNet` without and with ``tap_experts``. None: it has none.
    taps: Literal["pixels", "block pixels", "blocks"] | None = None
    #: In place of a noisy or coded picture it is shown a guide (:class:`vdeblur.model.guide.guide_net.GuideNet`), also
    #: where nobody names one.
    guided: bool = False
    #: ``residual`` takes a :class:`vdeblur.model.guide.guide_net.Told` behind the state: of the noise it takes out.
    takes_told: bool = False
    #: Why it cannot be exported, as the end of a sentence; None if its step can be traced
    #: (:class:`vdeblur.export.step.Step`).
    not_exported_because: str | None = "its step cannot be traced"


def traits_of(network: object) -> NetworkTraits:
    """Traits that a network declares, or the defaults.

    Raises:
        UsageError: its ``traits`` are none.
    """
    traits = getattr(network, "traits", None)
    if traits is None:
        return NetworkTraits()
    if not isinstance(traits, NetworkTraits):
        raise UsageError(f"a network's traits must be NetworkTraits, not {type(traits).__name__}")
    return traits


class NetworkSettings(Protocol):
    """Config of a registered network: a frozen dataclass, read from YAML and kept in the checkpoint."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def name(self) -> str: ...

    def least_weights(self) -> int:
        """A lower bound of the network's weights: a checkpoint with fewer bytes is refused before a layer is made.

        Raises:
            ValueError: a number cannot be.
        """


class Estimate(NamedTuple):
    """Residual and the intermediate estimates that training supervises.

    ``residual`` (B, C, H, W); ``velocity`` (B, 2, H/8, W/8) in pixels per frame interval, from optical flow; ``motion``
    (B, 2, H/8, W/8): displacement during the exposure in pixels; ``exposure`` (B, 1, 1, 1): exposure fraction.
    """

    residual: Tensor
    velocity: Tensor
    motion: Tensor
    exposure: Tensor


class RestorationNetwork(nn.Module):
    """Base of registered networks: a :class:`Network` with a config, which can be saved, loaded, trained and scored.

    A subclass takes its config and implements ``encode`` and ``residual``, for training with batches (B, C, H, W).
    """

    stride: int
    minimum_size: int
    traits: NetworkTraits = NetworkTraits()
    config: NetworkSettings
    #: With ``traits.estimates_motion``: motions of all frames of a clip (B, T, C, H, W), packed, for training.
    clip_motion: Callable[..., Motion]

    def encode(self, frame: Tensor, /) -> Any:
        raise NotImplementedError

    def residual(self, previous: Any, current: Any, following: Any, state: Any, /) -> tuple[Tensor, Any]:
        raise NotImplementedError

    def restore_clip(
        self, clip: Tensor, *, lookahead: int, exposure: Tensor | None = None, motion: Motion | None = None
    ) -> Estimate:
        """Restore a clip (B, T, 3, H, W), frame by frame; for training. The results have B·T in the batch.

        This one estimates no motion: velocity, motion and exposure are zeros, ``exposure`` and ``motion`` are ignored.
        """
        return self._clip_restored(clip, lookahead, ())

    def restore_told_clip(self, clip: Tensor, told: Any) -> Estimate:
        """As :meth:`restore_clip`, without lookahead, of a network with ``traits.takes_told``."""
        return self._clip_restored(clip, 0, (told,))

    def _clip_restored(self, clip: Tensor, lookahead: int, told: tuple[Any, ...]) -> Estimate:
        frames = [luma(frame) if self.traits.channels == 1 else frame for frame in clip.unbind(1)]
        features = [self.encode(frame) for frame in frames]
        before, after = [None, *features[:-1]], [*features[1:], None]
        residuals, state = [], None
        for previous, current, following in zip(before, features, after, strict=True):
            residual, state = self.residual(previous, current, following if lookahead else None, state, *told)
            residuals.append(residual)
        whole = torch.stack(residuals, 1).flatten(0, 1)
        still = whole.new_zeros(len(whole), 2, max(1, whole.shape[-2] // 8), max(1, whole.shape[-1] // 8))
        return Estimate(whole, still, still, whole.new_zeros(len(whole), 1, 1, 1))
