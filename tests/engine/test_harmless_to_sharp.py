"""The shipped networks sharpen what is blurred, and leave alone what is not."""

from __future__ import annotations

import sys
from typing import Any

import av
import numpy as np
import pytest
import torch

from support.paths import SAMPLES
from vdeblur.library.generators import deblur_frames
from vdeblur.metrics import psnr
from vdeblur.model.checkpoint import available_models

sys.path.insert(0, str(SAMPLES))
try:
    from recipes import CLIPS
finally:
    sys.path.remove(str(SAMPLES))

Picture = np.ndarray[Any, Any]

#: Frames of each sample: the camera shakes, the van passes, the shot changes.
STRETCHES = {"handheld": range(8, 13), "passing": range(36, 41), "cut": range(33, 38)}

#: The part that a network for GPUs sees, rows and columns; others see the whole.
MIDDLE = {"quality": (slice(112, 240), slice(224, 416))}

pytestmark = pytest.mark.parametrize("model", available_models())


def restored(pictures: list[Picture], model: str) -> list[Picture]:
    return list(deblur_frames(pictures, model=model, device="cpu", precision="float32"))


def seen(pictures: list[Picture], model: str) -> list[Picture]:
    rows, columns = MIDDLE.get(model, (slice(None), slice(None)))
    return [picture[rows, columns] for picture in pictures]


def truth(name: str) -> list[Picture]:
    return [CLIPS[name].picture(index, sharp=True) for index in STRETCHES[name]]


def filmed(name: str) -> list[Picture]:
    """The committed clip, as it was filmed and compressed."""
    with av.open(str(SAMPLES / f"{name}.mp4")) as container:
        frames = list(container.decode(video=0))
    colours = {"src_colorspace": "ITU709", "dst_color_range": "JPEG"}
    return [frames[index].to_ndarray(format="rgb24", **colours) for index in STRETCHES[name]]


def likeness(some: list[Picture], others: list[Picture]) -> float:
    """Mean PSNR in dB; two pictures that are the same count as 99."""
    pairs = [(torch.from_numpy(a) / 255, torch.from_numpy(b) / 255) for a, b in zip(some, others, strict=True)]
    return sum(min(99.0, psnr(a, b)) for a, b in pairs) / len(pairs)


@pytest.mark.parametrize("name", STRETCHES)
def test_blurred_samples_come_nearer_to_the_truth(name: str, model: str) -> None:
    blurred, sharp = seen(filmed(name), model), seen(truth(name), model)
    assert likeness(restored(blurred, model), sharp) > likeness(blurred, sharp) + 0.1


@pytest.mark.parametrize("name", STRETCHES)
def test_a_sharp_video_stays_sharp(name: str, model: str) -> None:
    sharp = seen(truth(name), model)
    assert likeness(restored(sharp, model), sharp) > 34


def test_a_still_picture_stays_as_it_is(model: str) -> None:
    still = seen([CLIPS["handheld"].picture(8, sharp=True)] * 4, model)
    assert likeness(restored(still, model), still) > 50
