"""Guide stage: the picture under noise and coding artefacts, which the network is shown in place of a frame.

Motion, exposure and correction are found in the guide; the correction is added to the source, so that by default the
noise stays and the blur goes. What the guide differs by is kept with the frame where noise is to be removed.

The guide is recurrent: a :class:`GuideMemory` goes from frame to frame of a shot. It is made of the whole frame at its
full size; where the network sees a smaller picture (``reduce``) and nothing is removed, of that smaller picture.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vdeblur.config import WEIGHTS_FOLDER
from vdeblur.engine.batching import concatenate, group_equal, split_batch
from vdeblur.engine.guide.planes import Picture, Seen, changed, changes_of, picture_of, reduced
from vdeblur.engine.quantiser_mean import QuantiserMean
from vdeblur.engine.read_ahead import tensors_in
from vdeblur.errors import UsageError
from vdeblur.frames import Frame
from vdeblur.model.checkpoint import load_network
from vdeblur.model.guide.guide_net import GuideNet, NoiseSeen, Told, read_noise, state_of_tensors
from vdeblur.options import NoiseSetting
from vdeblur.runtime.cpu_pool import single_threaded_ops
from vdeblur.runtime.device import cpu_has_bfloat16
from vdeblur.runtime.transfer import Planes

#: The guide that ships.
SHIPPED_GUIDE = WEIGHTS_FOLDER / "guides" / "noise.safetensors"
#: Quantisers for which the step of a codec's levels doubles (H.264).
_DOUBLES = 6


class GuideMemory(NamedTuple):
    """What is known of a shot after a frame.

    ``size`` (height, width) of the picture that was seen; ``quantisers`` and ``noise``: the readings so far; ``state``:
    the guide's, None where the frame was clean. Of a saved one, ``state`` are its tensors in a tuple.
    """

    size: tuple[int, int]
    quantisers: QuantiserMean
    noise: Tensor
    state: Any


@dataclass(frozen=True)
class FrameNoise:
    """Noise that a frame was restored with.

    Args:
        level: standard deviation of luma, of 255.
        used: share of the guide's change that was used to find the correction, 0 (clean) to 1.
        given: the user said the level; else it was read from the picture.
        removed: share of the noise that was removed.
        quantiser: strength of the compression, as the rate factor of H.264; None if it is not known.
    """

    level: float
    used: float
    given: bool
    removed: float
    quantiser: float | None


@dataclass(frozen=True, eq=False)
class Guided:
    """What the guide stage knows of a frame."""

    #: The memory with which its guide was made, and the one after it.
    before: GuideMemory | None
    after: GuideMemory
    #: Changes of its colour planes to those of the guide, as values in half precision; none where nothing is removed.
    changes: Planes
    #: Level of its noise in [0, 1], and the share of the guide's change that was used (2,).
    reading: Tensor
    #: The level was given.
    given: bool
    #: What was told of the compression; None: nothing is known.
    quantiser: float | None

    def waiting_parts(self) -> tuple[Any, ...]:
        """Tensors that are kept while the frame waits."""
        return self.before, self.changes


class GuideStage:
    """Makes guides of frames on a device.

    Args:
        network: placed on the device; it is not changed.
    """

    def __init__(self, network: GuideNet, device: torch.device) -> None:
        self.network = network
        self._device = device

    def __call__(
        self,
        frames: Sequence[Frame],
        planes: Sequence[Planes],
        before: Sequence[GuideMemory | None],
        *,
        reduce: int,
        noise: NoiseSetting,
        removes: bool,
    ) -> list[tuple[Seen, Guided]]:
        """Guides of frames that are of one size when they are reduced, and what the network is to be shown of each.

        Args:
            planes: colour planes on the device.
            before: memory after the frame before each, None at the start of a shot.
            noise: "auto", or the standard deviation of luma, of 255.
            removes: the changes are to be kept.
        """
        with single_threaded_ops(self._device):
            own = [
                Seen(each, frame.format, frame.colour, frame.size, reduce)
                for frame, each in zip(frames, planes, strict=True)
            ]
            sources = [each if removes else reduced(each) for each in own]
            each_step = zip(frames, sources, before, strict=True)
            steps = [
                self._read(*given, noise, reduced_by=reduce // given[1].reduce, removes=removes) for given in each_step
            ]
            guides = self._guides(steps)
            return [
                _guided(own[number], sources[number], step, guides.get(number), given=noise != "auto", removes=removes)
                for number, step in enumerate(steps)
            ]

    def on_device(self, memory: GuideMemory | None) -> GuideMemory | None:
        """A snapshot's memory, which may be on any device."""
        if memory is None:
            return None
        tensors = [each.to(self._device) for each in tensors_in([memory.state])]
        return memory._replace(
            noise=memory.noise.to(self._device), state=state_of_tensors(tensors) if tensors else None
        )

    def _read(
        self,
        frame: Frame,
        source: Seen,
        before: GuideMemory | None,
        noise: NoiseSetting,
        *,
        reduced_by: int,
        removes: bool,
    ) -> _Step:
        picture = picture_of(source, self.network.stride, self.network.minimum_size)
        before = before if before is not None and before.size == source.size else None
        quantisers = (QuantiserMean() if before is None else before.quantisers).after(frame.quantiser)
        told = self._told(quantisers.rate_factor, noise, reduced_by, removes)
        reading = read_noise(_own_rows(picture.luma, frame, source), told, None if before is None else before.noise)
        return _Step(picture, told, reading, quantisers, before, None if before is None else before.state)

    def _told(self, rate_factor: float | None, noise: NoiseSetting, reduced_by: int, removes: bool) -> Told:
        """What is known of the picture: averages over blocks lower white noise, and a codec's steps, by their side."""
        level = math.nan if isinstance(noise, str) else noise / 255 / reduced_by
        quantiser = math.nan if rate_factor is None else rate_factor - _DOUBLES * math.log2(reduced_by)
        return Told(*(torch.full((1,), value, device=self._device) for value in (quantiser, level, float(removes))))

    def _guides(self, steps: Sequence[_Step]) -> dict[int, tuple[Picture, Any]]:
        """Guide and state of each picture that is not clean, by its number; on a GPU, of all: nobody waits to see."""
        asked = [number for number, step in enumerate(steps) if self._device.type != "cpu" or step.reading.used > 0]
        guides: dict[int, tuple[Picture, Any]] = {}
        for group in group_equal(
            [(steps[number].state is None, *map(_shape, steps[number].picture)) for number in asked]
        ):
            chosen = [asked[place] for place in group]
            guides.update(zip(chosen, self._pass([steps[number] for number in chosen]), strict=True))
        return guides

    def _pass(self, steps: Sequence[_Step]) -> list[tuple[Picture, Any]]:
        """Guide and state of each of several pictures of one size, all with a state or none, in one pass."""
        picture = concatenate([step.picture for step in steps])
        luma, chroma, state = self.network.guide_planes(
            picture.luma,
            picture.chroma,
            concatenate([step.told for step in steps]),
            concatenate([step.state for step in steps]),
            concatenate([step.reading.seen for step in steps]),
        )
        guides = split_batch(Picture(luma, chroma), len(steps))
        return list(zip(guides, split_batch(state, len(steps)), strict=True))


def _own_rows(luma: Tensor, frame: Frame, source: Seen) -> Tensor:
    """The rows that tell of noise: what was made of others has less of it."""
    return luma if frame.own_rows is None or source.size != frame.size else luma[:, :, frame.own_rows :: 2]


def _shape(image: Tensor) -> torch.Size:
    return image.shape


class _Step(NamedTuple):
    """A picture whose guide is to be made, and what is known of it."""

    picture: Picture
    told: Told
    reading: NoiseSeen
    quantisers: QuantiserMean
    before: GuideMemory | None
    state: Any


def load_guide(setting: Any, device: torch.device, dtype: torch.dtype) -> GuideStage:
    """The guide of a setting: "auto" is the one that ships; else a path, or a network that makes guides.

    Raises:
        UsageError: it is none.
        NetworkError: the checkpoint is damaged.
    """
    network = setting
    if isinstance(setting, (str, Path)):
        path = SHIPPED_GUIDE if setting == "auto" else Path(setting)
        if not path.is_file():
            raise UsageError(f"guide cannot be {str(setting)!r}: there is no such file")
        network = load_network(path)
        if not isinstance(network, GuideNet):
            name = network.config.name
            raise UsageError(
                f"guide cannot be {str(setting)!r}: that is a network that takes blur away ({name}); "
                f"use model={str(setting)!r} for it, and leave guide out"
            )
    else:
        network = copy.deepcopy(network)
    network = network.eval().to(device=device, dtype=dtype)
    network.to(memory_format=torch.channels_last)
    return GuideStage(network, device)


def guide_dtype(precision: str, device: torch.device, network_dtype: torch.dtype) -> torch.dtype:
    """Dtype of a guide: bfloat16 where a CPU has it, elsewhere that of the restoration network."""
    if device.type != "cpu" or precision != "auto":
        return network_dtype
    return torch.bfloat16 if cpu_has_bfloat16() else torch.float32


def refuse_guide_as_model(network: Any, model: Any) -> None:
    """Refuse a guide that was named where a restoration network belongs.

    Raises:
        UsageError: it is one.
    """
    if isinstance(network, GuideNet):
        raise UsageError(
            f"model cannot be {str(model)!r}: that is a guide, which takes noise away and leaves the blur; "
            f"use guide={str(model)!r}, and a model such as fast"
        )


def _guided(
    own: Seen, source: Seen, step: _Step, made: tuple[Picture, Any] | None, *, given: bool, removes: bool
) -> tuple[Seen, Guided]:
    """What the network is shown, and what is known of the frame; ``made`` is None where it is clean."""
    guide, state = (None, None) if made is None else made
    after = GuideMemory(source.size, step.quantisers, step.reading.seen, state)
    told = given, step.quantisers.rate_factor
    reading = torch.cat((step.reading.level, step.reading.used.flatten()))
    if guide is None:
        return own, Guided(step.before, after, (), reading, *told)
    changes = changes_of(Picture(guide.luma - step.picture.luma, guide.chroma - step.picture.chroma), source)
    kept = tuple(change.half() for change in changes) if removes else ()
    return changed(source, changes), Guided(step.before, after, kept, reading, *told)
