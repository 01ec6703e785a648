"""Training configuration: the recipe of a run, and the keys that may change when it resumes."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass, field
from typing import Literal

from vdeblur.errors import UsageError
from vdeblur.training.synthesis.config import SynthesisConfig
from vdeblur.training.synthesis.noise_config import NoiseConfig

#: Keys that may differ when a run goes on: they move the end of the schedule or say how and when, never what is learnt.
FREE_KEYS = frozenset({"steps", "workers", "log_every", "validate_every", "save_every", "compile"})


@dataclass(frozen=True, kw_only=True)
class TapsPretraining:
    """The taps learn first, on single pixels of clips with known motion (:mod:`vdeblur.training.pretraining.taps`)."""

    #: Clips the pixels come from; 0 leaves this out.
    clips: int = 0
    #: Pixels drawn from each frame.
    pixels: int = 1500
    steps: int = 6000
    #: Pixels a step.
    batch: int = 8192
    learning_rate: float = 3e-3
    #: Name or path of a network that teaches filters of cells, besides the truth: one that looks at the same or less,
    #: or at all that is looked at here and more.
    teacher: str = ""


@dataclass(frozen=True, kw_only=True)
class ExposurePretraining:
    """The exposure reader learns first, on larger clips (see :mod:`vdeblur.training.pretraining.exposure_reader`)."""

    #: Clips the profiles come from; 0 leaves this out.
    clips: int = 0
    steps: int = 4000
    #: How these clips look: larger than those of the steps, for a profile sums over all of a frame.
    synthesis: SynthesisConfig = field(default_factory=lambda: SynthesisConfig(size_px=256, frames=5))
    #: Name or path of a network whose reader is taken over instead, without learning.
    reader_of: str = ""


@dataclass(frozen=True, kw_only=True)
class OwnConfig:
    """How the guide is adapted to one clip.

    Raises:
        UsageError: a number is out of its range.
    """

    #: Longest schedule, steps; a limit in minutes may end it earlier.
    steps: int = 240
    #: Minutes that it takes at most, where the call gives no limit of its own.
    minutes: float = 8.0
    learning_rate: float = 3e-4
    #: Crops a step, and synthetic ones beside them, so that nothing is forgotten; their side in pixels, and frames.
    batch: int = 4
    rehearsed: int = 2
    size_px: int = 96
    frames: int = 4
    #: How often the weights are measured on what they do not learn from.
    checks: int = 6
    #: How far the gain on synthetic clips may fall behind that of the first weights, dB.
    margin_db: float = 0.3

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "checks"):
            if getattr(self, name) < 1:
                raise UsageError(f"own: {name} cannot be {getattr(self, name)}; it is 1 or more")
        for name in ("minutes", "learning_rate"):
            if not getattr(self, name) > 0:
                raise UsageError(f"own: {name} cannot be {getattr(self, name)}; it is above 0")
        if not 32 <= self.size_px <= 96 or self.size_px % 8:
            raise UsageError(f"own: size_px cannot be {self.size_px}; it is a multiple of 8 from 32 to 96")
        if not 2 <= self.frames <= 5:
            raise UsageError(f"own: frames cannot be {self.frames}; it is 2 to 5")
        if self.rehearsed < 0:
            raise UsageError(f"own: rehearsed cannot be {self.rehearsed}; it is 0 or more")
        if not self.margin_db >= 0:
            raise UsageError(f"own: margin_db cannot be {self.margin_db}; it is 0 or more")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run; a YAML file states only what differs from these values.

    Raises:
        UsageError: a value is out of its range.
    """

    #: Name or path of a network config.
    network: str
    #: Folders of sharp photographs from which blurred clips are made.
    stills: tuple[str, ...] = ()
    #: Folders of sharp videos: further pictures to blur, and those of a high rate are averaged.
    videos: tuple[str, ...] = ()
    #: Folders of blurred and sharp frames; see :mod:`vdeblur.training.data.dataset_layouts`.
    pairs: tuple[str, ...] = ()
    #: Where there are pairs and others: share of the steps that learn from pairs.
    pairs_share: float = 0.5
    #: Folders to validate on, which training must not see. With none, a tenth of the training data is kept back.
    validation_stills: tuple[str, ...] = ()
    validation_pairs: tuple[str, ...] = ()
    #: Blur synthesis; its ``size_px`` is also the side of the crops from pairs.
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    #: The noise of a guide's clips, whose truth is the blurred frames (``truth`` of the synthesis). None: the network
    #: is no guide.
    noise: NoiseConfig | None = None
    #: How a guide is adapted to one clip; None: as :class:`OwnConfig` says.
    own: OwnConfig | None = None
    #: Frames a clip, growing: [[0, 6], [0.5, 8]] is 6 frames, and 8 from half of the schedule on.
    #: With none, ``frames`` of the synthesis.
    frames: tuple[tuple[float, int], ...] = ()
    #: What is learned before the first step, where the run does not start from weights that know it.
    taps_first: TapsPretraining = field(default_factory=TapsPretraining)
    fraction_first: ExposurePretraining = field(default_factory=ExposurePretraining)
    seed: int = 1
    #: Clips a step, in each process.
    batch: int = 4
    #: Length of the whole schedule, steps; a limit in minutes takes its place. With 0 only what learns first learns.
    steps: int = 20_000
    learning_rate: float = 5e-4
    final_learning_rate: float = 1e-5
    warmup_steps: int = 200
    weight_decay: float = 1e-4
    #: Longest gradient, L2 norm over all parameters.
    gradient_clip: float = 0.5
    #: Share of the average kept at a step, once the run is long enough.
    ema_decay: float = 0.999
    #: How far pixels are from the truth: their mean distance (Charbonnier), or the logarithm of each frame's mean
    #: squared error, which is PSNR but for a factor, and minds little blur as much as strong blur; or that of luma
    #: and, for little, of chroma, as guides have it.
    measure: Literal["charbonnier", "decibels", "luma decibels"] = "charbonnier"
    #: Weight of the frequency loss.
    frequency_weight: float = 0.05
    #: Weight of the motion loss, per pixel of error.
    motion_weight: float = 0.01
    #: Share of steps without the future frame.
    lookahead_dropped: float = 0.3
    #: Share of steps in which the true exposure fraction takes the place of the one read from the blur.
    exposure_told: float = 0.5
    #: Parts of the network, by the names of its modules, that stay as they are; ``fraction`` where there is one.
    frozen: tuple[str, ...] = ("fraction",)
    #: How often a synthetic clip is used, every time in another guise.
    reuse: int = 4
    #: Above 0, steps draw at random from so many of the clips made last, however fast they are made, and ``reuse`` does
    #: not count: for a GPU, which no processor keeps up with. No two runs are then the same.
    growing: int = 0
    #: Steps whose clips are matched in one go; they see the next frame all together, or do not. A run that is stopped
    #: between those goes on with the same groups, but for the rounding of sums.
    matched_together: int = 1
    #: How often a stretch of frames read from a pair is used, every time cropped elsewhere.
    pairs_reuse: int = 16
    #: Worker processes that make clips, and threads that read pairs.
    workers: int = 1
    #: Precision of the forward pass; the weights stay float32.
    precision: Literal["auto", "bfloat16", "float32"] = "bfloat16"
    #: Compile the network with torch.compile: slow to start, faster on a GPU.
    compile: bool = False
    validation_clips: int = 24
    #: Weights that change near-sharp clips more than this (PSNR of output against input, dB, mean) are not the best.
    least_kept_db: float = 40.0
    log_every: int = 50
    validate_every: int = 500
    save_every: int = 250
    #: A checkpoint (name or path) to start from: every tensor that fits by name and shape is taken over.
    start: str | None = None

    def __post_init__(self) -> None:
        counts = (
            "batch",
            "reuse",
            "pairs_reuse",
            "matched_together",
            "validation_clips",
            "log_every",
            "validate_every",
            "save_every",
        )
        for name in counts:
            _demand(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        for name in ("steps", "warmup_steps", "workers", "seed", "growing"):
            _demand(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("pairs_share", "lookahead_dropped", "exposure_told"):
            _demand(0 <= getattr(self, name) <= 1, name, getattr(self, name), "a share from 0 to 1")
        for name in ("learning_rate", "gradient_clip"):
            _demand(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        _demand(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "a share from 0 to less than 1")
        _check_frames(self.frames)
        if (self.noise is None) != (self.synthesis.truth == "sharp"):
            needed = "blurred" if self.synthesis.truth == "sharp" else "sharp"
            has = "no noise" if self.noise is None else "noise"
            raise UsageError(f"truth of the synthesis cannot be {self.synthesis.truth!r} with {has}; it is {needed!r}")

    @property
    def frame_stages(self) -> tuple[tuple[float, int], ...]:
        """(share of the schedule, frames a clip) in rising order; the first share is 0."""
        return self.frames or ((0.0, self.synthesis.frames),)


def changed_keys(before: dict[str, object], now: TrainConfig) -> list[str]:
    """What differs between the config a run was started with and the one it is to go on with, in words."""
    given = dataclasses.asdict(now)
    return list(_differences(before, _plain(given), ""))


def as_plain(config: TrainConfig) -> dict[str, object]:
    """The config as dictionaries, lists, numbers and strings, as JSON and a state file keep it."""
    plain = _plain(dataclasses.asdict(config))
    assert isinstance(plain, dict)
    return plain


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _differences(before: object, now: object, name: str) -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [key for key in {**before, **now} if name or key not in FREE_KEYS]
        return [
            words
            for key in keys
            for words in _differences(before.get(key), now.get(key), f"{name}.{key}" if name else key)
        ]
    return [] if before == now else [f"{name} was {before!r} and is {now!r}"]


def _demand(holds: bool, name: str, value: object, right: str) -> None:
    if not holds:
        raise UsageError(f"{name} cannot be {value!r}; it is {right}")


def _check_frames(stages: tuple[tuple[float, int], ...]) -> None:
    shares = [share for share, _ in stages]
    rising = all(a < b for a, b in itertools.pairwise(shares))
    if stages and (shares[0] != 0 or not rising or shares[-1] >= 1 or min(count for _, count in stages) < 1):
        raise UsageError(
            f"frames cannot be {[list(stage) for stage in stages]}; it is a list like [[0, 6], [0.5, 8]]: "
            "rising shares of the schedule from 0 to less than 1, each with 1 or more frames"
        )
