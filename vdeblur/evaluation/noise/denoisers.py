"""Denoisers to compare with: OpenCV's, FFmpeg's and BM3D, each at several settings.

The best setting is chosen by the truth, on all clips of a stratum together. Nobody who has no truth can do that: it
flatters the denoiser.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vdeblur.errors import UsageError
from vdeblur.metrics import as_8bit
from vdeblur.video.ffmpeg.picture_filters import filter_pictures

#: Restores a clip (T, 3, H, W), R'G'B' in [0, 1], by a setting of the denoiser.
Denoise = Callable[[Tensor, str], Tensor]
OPENCV = "opencv-python-headless"


@dataclass(frozen=True)
class Denoiser:
    """A denoiser and the settings that are tried, from weak to strong."""

    name: str
    settings: tuple[str, ...]
    denoise: Denoise
    #: Module that it needs, and the package that has it; empty where FFmpeg is enough.
    module: str = ""
    package: str = ""
    #: Named with all the others by "all".
    usual: bool = True


@dataclass(frozen=True)
class Denoised:
    """A clip (T, 3, H, W) that a denoiser has made, float32 in [0, 1], and seconds a frame."""

    pictures: Tensor
    seconds: float


def run_denoiser(denoiser: Denoiser, pictures: Tensor, setting: str) -> Denoised:
    """Denoise a clip (T, 3, H, W), R'G'B' in [0, 1], which is rounded to 8 bits first.

    Raises:
        UsageError: a package is missing.
        TargetError: FFmpeg cannot run the filter.
    """
    began = time.perf_counter()
    found = denoiser.denoise(as_8bit(pictures) / 255, setting)
    return Denoised(found, (time.perf_counter() - began) / len(pictures))


def denoiser_names(words: str) -> Sequence[str]:
    """Names in "all" (without BM3D, which takes a minute for a frame), "none" or a list with commas.

    Raises:
        UsageError: one is unknown, or its package is not installed.
    """
    if words in ("all", "none"):
        names = [each.name for each in DENOISERS.values() if each.usual and words == "all"]
    else:
        names = [name.strip() for name in words.split(",") if name.strip()]
    for name in names:
        if name not in DENOISERS:
            raise UsageError(f"no denoiser {name!r}: choose all, none, or some of {', '.join(DENOISERS)}")
        _check_installed(DENOISERS[name])
    return list(dict.fromkeys(names))


def _check_installed(denoiser: Denoiser) -> None:
    if denoiser.module:
        _module(denoiser.module, denoiser)


def _module(name: str, denoiser: Denoiser) -> Any:
    try:
        return import_module(name)
    except ImportError as exc:
        raise UsageError(
            f"the denoiser {denoiser.name} needs {denoiser.module}: pip install {denoiser.package}, or leave it out"
        ) from exc


def _each(picture_of: Callable[[Any], Any], pictures: Tensor) -> Tensor:
    """A function of 8-bit pictures (H, W, 3), on each picture (T, 3, H, W)."""
    levels = (pictures.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    found = [np.asarray(picture_of(np.ascontiguousarray(level)), np.float32) / 255 for level in levels]
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)


def _bilateral(pictures: Tensor, setting: str) -> Tensor:
    side, colour, space = map(float, setting.split(":"))
    cv2 = import_module("cv2")
    return _each(lambda level: cv2.bilateralFilter(level, int(side), colour, space), pictures)


def _nlmeans(pictures: Tensor, setting: str) -> Tensor:
    luma, chroma, patch, search = map(int, setting.split(":"))
    cv2 = import_module("cv2")

    def denoised(level: Any) -> Any:
        return cv2.fastNlMeansDenoisingColored(level, None, luma, chroma, patch, search)

    return _each(denoised, pictures)


def _bm3d(pictures: Tensor, setting: str) -> Tensor:
    bm3d_rgb = import_module("bm3d").bm3d_rgb
    sigma = float(setting) / 255
    return _each(lambda level: 255 * np.clip(bm3d_rgb(level / 255, sigma), 0, 1), pictures)


def _by_ffmpeg(name: str) -> Denoise:
    def denoise(pictures: Tensor, setting: str) -> Tensor:
        levels = (pictures * 255).round().to(torch.uint8).numpy()
        return torch.from_numpy(filter_pictures(levels, f"{name}={setting}", threads=torch.get_num_threads()))

    return denoise


#: By the names they have in tables and on the command line. OpenCV's settings: side, range (levels) and reach
#: (pixels) of the bilateral filter; strength for luma and chroma, patch and search window of non-local means. BM3D's:
#: the noise's standard deviation. Others as in FFmpeg.
DENOISERS: dict[str, Denoiser] = {
    each.name: each
    for each in (
        Denoiser(
            "bilateral",
            ("5:12:1.5", "5:20:2", "7:30:2", "7:45:2.5", "9:70:3"),
            _bilateral, module="cv2", package=OPENCV,
        ),
        Denoiser(
            "nlmeans",
            ("2:3:5:11", "3:5:5:15", "5:8:5:15", "8:12:5:15", "13:18:5:15"),
            _nlmeans, module="cv2", package=OPENCV,
        ),
        Denoiser(
            "hqdn3d",
            ("2:2:3:3", "4:3:6:6", "8:8:8:8", "14:14:10:10", "22:22:12:12", "32:32:16:16"),
            _by_ffmpeg("hqdn3d"),
        ),
        Denoiser(
            "ffmpeg-nlmeans",
            ("s=1.5:p=5:r=11", "s=3:p=5:r=11", "s=5:p=5:r=11", "s=8:p=5:r=11", "s=13:p=5:r=11"),
            _by_ffmpeg("nlmeans"),
        ),
        Denoiser(
            "vaguedenoiser",
            tuple(f"threshold={level}" for level in (1, 2.5, 5, 9, 14, 20)),
            _by_ffmpeg("vaguedenoiser"),
        ),
        Denoiser(
            "atadenoise",
            tuple(f"0a={a}:0b={b}:1a={a}:1b={b}:2a={a}:2b={b}:s=5" for a, b in ((.02, .04), (.05, .2), (.1, .4))),
            _by_ffmpeg("atadenoise"),
        ),
        Denoiser("bm3d", ("5", "8", "10", "15", "20"), _bm3d, module="bm3d", package="bm3d scipy", usual=False),
    )
}  # fmt: skip
