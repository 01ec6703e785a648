"""Benchmark results: measurements of each case, their ratios, and JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vdeblur.bench.network import NetworkSpeed
from vdeblur.bench.settings import BenchCase
from vdeblur.bench.timing import Timing
from vdeblur.bench.whole import CommandTiming
from vdeblur.errors import UsageError

#: Number of the JSON's form; another one cannot be compared with.
FORM = 1


@dataclass(frozen=True)
class Row:
    """One case. ``stages`` have seconds a frame, each stage alone; their names are in the order of a frame's way."""

    case: BenchCase
    #: What the network computes in.
    dtype: str
    stages: dict[str, Timing]
    network: NetworkSpeed
    #: FLOP/s of the machine's convolutions in that dtype.
    peak_flops_a_second: float
    whole: CommandTiming
    cores: int
    #: Most memory of a GPU, None on a CPU.
    device_peak_bytes: int | None = None

    @property
    def share_of_peak(self) -> float:
        return self.network.flops_a_second / self.peak_flops_a_second

    @property
    def share_of_slowest(self) -> float:
        """Speed of the whole by that of its slowest stage alone, with the machine for itself."""
        return self.whole.frames_per_second * max(stage.seconds for stage in self.stages.values())

    @property
    def share_of_cores(self) -> float:
        """Speed of the whole by what the cores allow: the stages' processor time divided among them."""
        return self.whole.frames_per_second * sum(stage.cpu_seconds for stage in self.stages.values()) / self.cores

    def as_dict(self) -> dict[str, Any]:
        pixels = self.case.width * self.case.height
        return {
            **asdict(self.case),
            "width": self.case.width,
            "height": self.case.height,
            "dtype": self.dtype,
            "stages": {
                name: {"fps": _fps(stage), "ms": _ms(stage.seconds), "cpu_ms": _ms(stage.cpu_seconds)}
                for name, stage in self.stages.items()
            },
            "network": {
                "ms": _ms(self.network.timing.seconds),
                "kmacs_a_pixel": round(self.network.macs / pixels / 1000, 2),
                "gflops": round(self.network.flops_a_second / 1e9, 1),
                "peak_gflops": round(self.peak_flops_a_second / 1e9, 1),
                "share_of_peak": round(self.share_of_peak, 3),
                "convolution_share": _rounded(self.network.convolution_share),
            },
            "whole": {
                "frames": self.whole.frames,
                "fps": round(self.whole.frames_per_second, 2),
                "first_frame_seconds": round(self.whole.first_frame_seconds, 2),
                "seconds": round(self.whole.seconds, 2),
                "peak_mib": _mib(self.whole.peak_bytes),
                "device_peak_mib": _mib(self.device_peak_bytes),
                "share_of_slowest_stage": round(self.share_of_slowest, 3),
                "share_of_cores": round(self.share_of_cores, 3),
            },
        }


@dataclass(frozen=True)
class Results:
    """All rows, what they ran on and how they were measured."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    #: Share of all cores that others used meanwhile, None where it is not known.
    others_share: float | None
    rows: tuple[Row, ...]

    def as_dict(self) -> dict[str, Any]:
        others = None if self.others_share is None else round(self.others_share, 3)
        rows = [row.as_dict() for row in self.rows]
        return {
            "form": FORM,
            "machine": self.machine,
            "settings": self.settings,
            "others_share": others,
            "rows": rows,
        }


def read_results(path: Path) -> dict[str, Any]:
    """Results written earlier, as a mapping.

    Raises:
        UsageError: the file cannot be read, or holds none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except ValueError as exc:
        raise UsageError(f"{path} is no JSON: {exc}") from exc
    if not isinstance(found, dict) or found.get("form") != FORM or not isinstance(found.get("rows"), list):
        raise UsageError(f"{path} holds no results of `vdeblur bench --json` that this version can compare with")
    return found


def _fps(stage: Timing) -> float | None:
    """None for what takes no time at all."""
    return round(stage.frames_per_second, 1) if stage.seconds > 1e-5 else None


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)


def _mib(count: int | None) -> float | None:
    return None if count is None else round(count / 2**20, 1)


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 3)
