"""Resumable jobs: segment timing, terms that must match, saved snapshots, and seeking to the resume point."""

from __future__ import annotations

import hashlib
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vdeblur.atomic_files import replaced_file
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.guide.stage import GuideMemory
from vdeblur.engine.quantiser_mean import QuantiserMean
from vdeblur.engine.read_ahead import tensors_in
from vdeblur.engine.repeats import SavedTwin, Twin
from vdeblur.engine.stream_state import Snapshot
from vdeblur.errors import SourceError, TargetError, UsageError
from vdeblur.frames import Frame
from vdeblur.options import DECISIVE_OPTIONS, ReadOptions, RestoreOptions
from vdeblur.video.encode.encoder_options import EncodeOptions
from vdeblur.video.info import SourceInfo
from vdeblur.video.segments.journal import ASKED, VERSION, Position, TermsDiffer
from vdeblur.video.source.reader import Reader

#: Default seconds of work of a segment: what a crash may cost.
SEGMENT_SECONDS = 60.0
#: Least frames of a segment, for its key frame costs room.
LEAST_FRAMES = 24
#: Options that every journal records.
_ALWAYS_RECORDED = ("strength", "lookahead")
#: Terms that are options under the same name, and options of the encoder.
_OPTION_TERMS = (
    "device", "compare", "start_seconds", "duration_seconds", "interlaced", "size_change", "allow_network"
)  # fmt: skip
_ENCODING = ("codec", "crf", "preset", "pixel_format", "ffmpeg_args")
#: Options behind terms that people cannot read.
_BEHIND = {"network": ("model",), "guide": ("guide",), "encoding": _ENCODING}
#: Terms that are digests of weights.
_WEIGHTS = ("network", "guide")
#: Names of tensors beside those of the network's state, which are numbered.
_CONTRADICTIONS, _OVERLAYS, _NOISE = "contradictions", "overlays", "noise"
#: Beginning of the names of the samples of a frame that copies may follow, and of the parts of the guide's state.
_TWIN, _GUIDE = "twin ", "guide "


class SegmentTimer:
    """Ends a segment after so many seconds of work."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        """Begin a new segment."""
        self._frames, self._began = 0, time.monotonic()

    def due(self) -> bool:
        """Count a frame; return whether the segment should end with it."""
        self._frames += 1
        return self._frames >= LEAST_FRAMES and time.monotonic() - self._began >= self._seconds


def job_terms(
    info: SourceInfo, deblurrer: Deblurrer, read: ReadOptions, compare: str | None, read_ahead: int
) -> dict[str, Any]:
    """Fingerprint of a job beside its encoder: source files with mtimes, network, restoration and read options."""
    return {
        "version": VERSION,
        "source": _digest_of_files(info.pictures or ((info.path,) if info.path is not None else ())),
        "name": None if info.path is not None or info.pictures else info.name,
        "network": _digest_of_network(deblurrer.network),
        "device": deblurrer.device.type,
        "precision": str(deblurrer.dtype),
        **_decisive(deblurrer),
        **_guide_terms(deblurrer),
        "read_ahead": read_ahead,
        "compare": compare,
        "start_seconds": read.start_seconds,
        "duration_seconds": read.duration_seconds,
        "frame_rate": str(read.frame_rate),
        "interlaced": read.interlaced,
        "size_change": read.size_change,
        "allow_network": read.allow_network,
        **({} if read.video is None else {"video": read.video}),
    }


def asked_terms(model: object, guide: object, encode: EncodeOptions | None) -> dict[str, Any]:
    """The options as they were given, to name what is behind the networks' digests and FFmpeg's options."""
    given = EncodeOptions() if encode is None else encode
    networks = {
        name: str(each if isinstance(each, (str, Path)) else type(each).__name__)
        for name, each in (("model", model), ("guide", guide))
    }
    return {ASKED: {**networks, **{name: getattr(given, name) for name in _ENCODING}}}


@contextmanager
def told_by_options() -> Iterator[None]:
    """Context that says of differing terms which option they are, both values, and how the old one is given again."""
    try:
        yield
    except TermsDiffer as exc:
        found = _differing_option(exc)
        if found is None and exc.name in _WEIGHTS:
            raise UsageError(
                f"cannot go on with {exc.target}: the weights of its {exc.name} have changed since the job began, "
                "with an update or in their file; begin anew with overwrite=True (-y)"
            ) from exc
        if found is None:
            raise
        name, was, new = found
        again = f"leave out {name}={new!r}" if was is None else f"give {name}={was!r} again"
        raise UsageError(
            f"cannot go on with {exc.target}: {name} was {_shown(was)} when the job began and is {_shown(new)} now; "
            f"{again}, or begin anew with overwrite=True (-y)"
        ) from exc


def _differing_option(exc: TermsDiffer) -> tuple[str, Any, Any] | None:
    """Name, old and new value of the option behind a term; None where it is none, as of a source that has changed."""
    name = exc.name
    if name in _BEHIND:
        asked = [dict(terms.get(ASKED) or {}) for terms in (exc.begun, exc.now)]
        for option in _BEHIND[name]:
            was, new = (_plain(values.get(option)) for values in asked)
            if all(asked) and was != new:
                return option, was, new
        # The weights are those of the precision they are used in.
        changed = [each for each in ("precision", "device") if exc.begun.get(each) != exc.now.get(each)]
        if name == "encoding" or not changed:
            return None
        name = changed[0]
    was, new = exc.begun.get(name), exc.now.get(name)
    if name in DECISIVE_OPTIONS:
        default = getattr(RestoreOptions, name)
        return name, default if was is None else was, default if new is None else new
    if name == "precision":
        return name, str(was).removeprefix("torch."), str(new).removeprefix("torch.")
    if name == "frame_rate":
        return name, None if was == "None" else was, None if new == "None" else new
    return (name, was, new) if name in _OPTION_TERMS else None


def _plain(value: Any) -> Any:
    """Lists, which JSON made, as the tuples that they were."""
    return tuple(value) or None if isinstance(value, (list, tuple)) else value


def _shown(value: Any) -> str:
    return "not given" if value is None else " ".join(value) if isinstance(value, tuple) else str(value)


def _decisive(deblurrer: Deblurrer) -> dict[str, Any]:
    """Options that decide the result; newer ones only where they differ from their default, as older journals do."""
    values = {name: getattr(deblurrer, name) for name in DECISIVE_OPTIONS}
    if deblurrer.keep != RestoreOptions.keep:
        values["keep"] = deblurrer.device_step.kept.terms  # a mask may have changed under its name
    return {
        name: value
        for name, value in values.items()
        if name in _ALWAYS_RECORDED or value != getattr(RestoreOptions, name)
    }


def _guide_terms(deblurrer: Deblurrer) -> dict[str, Any]:
    """The guide's digest; a job without one has no such term."""
    guide = deblurrer.device_step.guide
    return {} if guide is None else {"guide": _digest_of_network(guide.network)}


def _digest_of_files(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        status = path.stat()
        digest.update(f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _digest_of_network(network: object) -> str:
    """Fingerprint of a network: its class and, if it has any, its weights."""
    digest = hashlib.sha256(type(network).__qualname__.encode())
    if isinstance(network, nn.Module):
        for name, tensor in network.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def checksum(frame: Frame) -> int:
    """CRC-32 of a frame's samples."""
    value = 0
    for plane in frame.planes:
        array = plane.cpu().numpy() if isinstance(plane, Tensor) else plane
        value = zlib.crc32(np.ascontiguousarray(array).tobytes(), value)
    return value


def save_snapshot(snapshot: Snapshot, path: Path) -> dict[str, Any]:
    """Save the tensors of a snapshot (safetensors); return the rest of it as plain values.

    Raises:
        NetworkError: the network's state is no tuple of tensors.
        TargetError: the disk failed.
    """
    tensors = {str(number): tensor.contiguous() for number, tensor in enumerate(snapshot.tensors())}
    if snapshot.contradictions is not None:
        tensors[_CONTRADICTIONS] = snapshot.contradictions.cpu()
    if snapshot.overlays is not None:
        tensors[_OVERLAYS] = snapshot.overlays.to("cpu", torch.uint8)
    plain: dict[str, Any] = {"ahead": snapshot.ahead, "breaks": snapshot.cut_detector, "repeats": snapshot.repeats}
    if snapshot.guide is not None:
        plain["guide"] = [*snapshot.guide.size, *snapshot.guide.quantisers]
        tensors[_NOISE] = snapshot.guide.noise.cpu()
        parts = tensors_in([snapshot.guide.state])
        tensors |= {f"{_GUIDE}{number}": part.to("cpu", copy=True).contiguous() for number, part in enumerate(parts)}
    if isinstance(snapshot.twin, Twin):
        samples, plain["twin"] = snapshot.twin.saved()
        tensors |= {f"{_TWIN}{number}": plane for number, plane in enumerate(samples)}
    try:
        with replaced_file(path) as part:
            save_file(tensors, part)
    except SafetensorError as exc:
        raise TargetError(f"cannot write {path}: {exc}") from exc
    return plain


def load_snapshot(memory: Mapping[str, Any], path: Path) -> Snapshot:
    """Load a snapshot of :func:`save_snapshot`.

    Raises:
        TargetError: the file is missing or damaged.
    """
    try:
        tensors = load_file(path)
        contradictions, overlays = tensors.pop(_CONTRADICTIONS, None), tensors.pop(_OVERLAYS, None)
        overlays = None if overlays is None else overlays.float()
        samples, parts = (_taken(tensors, name) for name in (_TWIN, _GUIDE))
        guide = None
        if "guide" in memory:
            height, width, mean, count = memory["guide"]
            seen = QuantiserMean(float(mean), int(count))
            guide = GuideMemory((int(height), int(width)), seen, tensors.pop(_NOISE), tuple(parts))
        state = tuple(tensors[str(number)] for number in range(len(tensors))) or None
        twin = SavedTwin.load(samples, memory["twin"]) if "twin" in memory else None
        breaks, repeats = dict(memory["breaks"]), dict(memory["repeats"])
        return Snapshot(state, int(memory["ahead"]), breaks, contradictions, overlays, repeats, twin, guide)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as exc:
        raise TargetError(f"cannot read {path}: {exc}; overwrite=True begins anew") from exc


def _taken(tensors: dict[str, Tensor], beginning: str) -> list[Tensor]:
    """Take the tensors whose names have a beginning, and a number behind it, in their order."""
    return [
        tensors.pop(f"{beginning}{number}") for number in range(sum(name.startswith(beginning) for name in tensors))
    ]


def seek_to_position(
    position: Position, reader: Reader, again: Callable[[], Reader], stack: ExitStack
) -> tuple[Reader, tuple[Frame, ...]]:
    """Seek to the last restored frame; return the reader, and that frame behind the one before it if that is needed.

    By way of a key frame where that gives the identical frame, else from the start. ``again`` reopens the source, on
    ``stack``.

    Raises:
        SourceError: the source has other frames than when the job began.
    """
    first = position.pts if position.run_up_pts is None else position.run_up_pts
    count = 1 if position.run_up_pts is None else 2
    if reader.can_jump and reader.skip_to(first):
        frames = tuple(islice(reader, count))
        if _is_at(position, frames):
            return reader, frames
    reader.close()
    reader = stack.enter_context(again())
    frames = tuple(deque(islice(reader, position.frames), maxlen=count))
    if _is_at(position, frames):
        return reader, frames
    raise SourceError(f"{reader.info.name} has other frames than when the job began; overwrite=True begins anew")


def _is_at(position: Position, frames: Sequence[Frame]) -> bool:
    """Whether the last of the frames is the last one that has been restored."""
    return bool(frames) and frames[-1].pts == position.pts and checksum(frames[-1]) == position.checksum
