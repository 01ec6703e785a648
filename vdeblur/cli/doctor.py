"""Diagnostics (`vdeblur doctor`): versions, devices, encoders, networks and a self-test, for bug reports."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from vdeblur import __version__
from vdeblur.cli.help import GroupedCommand, GroupedOption
from vdeblur.errors import VdeblurError

#: Encoders that are tried out, each with a pixel format it should take.
ENCODERS = {
    "libx264": "yuv420p", "libx265": "yuv420p10le", "libsvtav1": "yuv420p10le", "libvpx-vp9": "yuv420p",
    "ffv1": "yuv444p10le", "prores_ks": "yuv422p10le", "h264_nvenc": "yuv420p", "hevc_nvenc": "yuv420p",
    "av1_nvenc": "yuv420p",
}  # fmt: skip
#: Without this one, the usual output cannot be written.
NEEDED_ENCODER = "libx264"
#: How scores of a checkpoint are named that are gains in PSNR.
_GAIN = "_gain_db"
#: Of what a checkpoint says without scores, so much is shown.
_SHOWN_CHARACTERS = 80
PACKAGES = ("torch", "numpy", "kornia", "safetensors", "ffmpeg-python", "imageio-ffmpeg", "numba", "click", "rich")


@click.command("doctor", cls=GroupedCommand)
@click.option("--json", "as_json", is_flag=True, cls=GroupedOption, help="As one JSON object.")
def doctor(as_json: bool) -> int:
    """Show versions, devices, encoders and networks, and restore three small frames as a self-test.

    Paste the output into a bug report. The exit code is 1 if something needed is missing.
    """
    findings, problems = examine()
    if as_json:
        sys.stdout.write(json.dumps({**findings, "problems": problems}, indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(findings, problems)) + "\n")
    return 1 if problems else 0


def examine() -> tuple[dict[str, Any], list[str]]:
    """Examine every section, whether or not others fail; return findings by section, and problems."""
    findings: dict[str, Any] = {}
    problems: list[str] = []
    sections: dict[str, Callable[[], tuple[Any, list[str]]]] = {
        "versions": lambda: (_versions(), []),
        "platform": lambda: (_platform(), []),
        "devices": _devices,
        "FFmpeg": _ffmpeg,
        "encoders": _encoders,
        "networks": _networks,
        "self-test": _self_test,
    }
    for name, section in sections.items():
        try:
            findings[name], found = section()
        except Exception as exc:
            findings[name], found = {}, [f"{name}: {exc if isinstance(exc, VdeblurError) else repr(exc)}"]
        problems += found
    return findings, problems


def _versions() -> dict[str, str]:
    from vdeblur.video.versions import library_versions

    found = {"vdeblur": __version__, "Python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # numba may be missing
            found[name] = importlib.metadata.version(name)
    return {**found, **library_versions()}


def _platform() -> dict[str, str]:
    from vdeblur.bench.machine import processor_name

    return {
        "system": platform.platform(),
        "processor": processor_name(),
        "cores": f"{os.cpu_count()}",
        "preferred encoding": sys.getfilesystemencoding(),
    }


def _devices() -> tuple[dict[str, str], list[str]]:
    import torch

    from vdeblur.bench.machine import device_name
    from vdeblur.kernels.dispatch import kernels_for
    from vdeblur.runtime.device import available_devices, choose_dtype, find_device

    found = {"threads": str(torch.get_num_threads()), "chosen by auto": str(find_device("auto"))}
    for name in available_devices():
        dtype = str(choose_dtype("auto", find_device(name))).removeprefix("torch.")
        found[name] = f"{device_name(name)}, {dtype}"
    native = kernels_for(find_device("cpu"))
    found["kernels"] = "none without Numba: swift and fast run much slower"
    problems: list[str] = []
    if native:
        found["kernels"], problems = _kernel_cache(native.cache_folder())
    return found, problems


def _kernel_cache(folder: Path | None) -> tuple[str, list[str]]:
    """Where compiled kernels are kept, and a problem if nothing can be written there."""
    if folder is None:
        return "kept in no folder: compiled anew in each run", []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return f"kept in {folder}", []
    except OSError as exc:
        problem = (
            f"devices: compiled kernels cannot be kept in {folder} ({exc.strerror}); VDEBLUR_CACHE names another folder"
        )
        return f"not kept, compiled anew in each run: {folder} cannot be written", [problem]


def _ffmpeg() -> tuple[dict[str, str], list[str]]:
    from vdeblur.video.ffmpeg.executable import ffmpeg_version, find_ffmpeg

    return {"program": str(find_ffmpeg()), "version": ffmpeg_version()}, []


def _encoders() -> tuple[dict[str, str], list[str]]:
    from vdeblur.video.ffmpeg.executable import encoder_opens

    found = {name: "opens" if encoder_opens(name, pixels) else "does not open" for name, pixels in ENCODERS.items()}
    missing = found[NEEDED_ENCODER] != "opens"
    return found, [f"encoders: {NEEDED_ENCODER} does not open; install an FFmpeg that has it"] * missing


def _networks() -> tuple[dict[str, Any], list[str]]:
    from vdeblur.model.checkpoint import available_models, read_provenance

    found = {name: read_provenance(name) for name in available_models()}
    return found, [] if found else ["networks: no weights are installed; --model needs a file"]


def _self_test() -> tuple[dict[str, str], list[str]]:
    """Restore three small frames from Y4M into FFV1 and read them again."""
    from vdeblur.pipeline.deblur_video import deblur_video
    from vdeblur.video.sink.writer import EncodeOptions
    from vdeblur.video.source.reader import Reader

    count, width, height = 3, 64, 48
    picture = bytes(range(0, 192)) * (width * height // 192) + b"\x80" * (width * height // 2)
    y4m = f"YUV4MPEG2 W{width} H{height} F25:1 Ip C420jpeg\n".encode() + (b"FRAME\n" + picture) * count
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "test.mkv"
        report = deblur_video(io.BytesIO(y4m), target, encode=EncodeOptions(codec="ffv1"))
        with Reader(target, threads=1) as reader:
            back = sum(1 for _ in reader)
    seconds = f"{time.monotonic() - started:.1f} s"
    if (report.frames, back) == (count, count):
        return {"decode, restore, encode": f"works ({seconds})"}, []
    wrong = f"{count} frames went in, {report.frames} were restored and {back} came out"
    return {"decode, restore, encode": wrong}, [f"self-test: {wrong}"]


def _lines(findings: dict[str, Any], problems: list[str]) -> list[str]:
    lines = []
    for section, entries in findings.items():
        lines.append(section)
        lines += [f"  {name:<24} {_words(value)}" for name, value in entries.items()]
        lines.append("")
    return [*lines, *(f"problem: {problem}" for problem in problems)] if problems else [*lines, "no problem found"]


def _words(value: Any) -> str:
    """A value in one line: text as it is, of a network its steps and scores."""
    if not isinstance(value, dict):
        return str(value)
    words = [f"{steps:,} steps"] if isinstance(steps := value.get("steps"), int) else []
    scores = value.get("scores")
    if isinstance(scores, dict):
        gains = {name.removesuffix(_GAIN): gain for name, gain in scores.items() if name.endswith(_GAIN)}
        words += [f"{name.replace('_', ' ')} {gain:+.2f} dB" for name, gain in gains.items() if _is_number(gain)]
    return ", ".join(words) or _short(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _short(value: Any) -> str:
    words = json.dumps(value)
    return words if len(words) <= _SHOWN_CHARACTERS else f"{words[:_SHOWN_CHARACTERS]}…"
