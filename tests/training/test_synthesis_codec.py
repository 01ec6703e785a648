"""Recompression: colours, order, size and quality survive a video encoder as they should."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from support.synthetic import smooth
from vdeblur.errors import UsageError
from vdeblur.video.encode.codec_roundtrip import recompress

CODECS = ["h264", "hevc"]
#: R'G'B' of large flat patches.
COLOURS = [(200, 60, 30), (30, 180, 60), (40, 50, 210), (250, 250, 250), (5, 5, 5), (128, 128, 128)]


def patches(count: int = 3) -> npt.NDArray[np.uint8]:
    frame = np.zeros((32, 32 * len(COLOURS), 3), np.uint8)
    for index, colour in enumerate(COLOURS):
        frame[:, 32 * index : 32 * index + 32] = colour
    return np.repeat(frame[None], count, axis=0)


def picture(count: int, side: int = 96) -> npt.NDArray[np.uint8]:
    """A smooth picture that moves by four pixels a frame."""
    whole = smooth(1, side + 4 * count).permute(1, 2, 0).numpy()
    return np.stack([whole[:side, 4 * n : 4 * n + side] for n in range(count)])


@pytest.mark.parametrize("codec", CODECS)
def test_colours_come_back(codec: str) -> None:
    """With BT.601 instead of BT.709 on either way the red patch would be off by ten levels."""
    sent = patches()
    back = recompress(sent, codec=codec, crf=4)
    assert back.shape == sent.shape
    for index in range(len(COLOURS)):
        inner = np.s_[:, 8:24, 32 * index + 8 : 32 * index + 24]
        assert np.abs(back[inner].astype(int) - sent[inner]).max() <= 3


@pytest.mark.parametrize("codec", CODECS)
def test_frames_keep_their_number_order_and_odd_size(codec: str) -> None:
    sent = picture(5, 97)
    back = recompress(sent, codec=codec, crf=12)
    assert back.shape == sent.shape
    errors = np.array([[np.abs(a.astype(int) - b).mean() for b in sent] for a in back])
    assert errors.argmin(axis=1).tolist() == list(range(5))


@pytest.mark.parametrize("codec", CODECS)
def test_a_higher_factor_is_a_lower_quality(codec: str) -> None:
    # Grey: colour is lost to 4:2:0 at any quality.
    sent = np.repeat(picture(3)[..., :1], 3, axis=-1)
    errors = [np.square(recompress(sent, codec=codec, crf=crf).astype(float) - sent).mean() for crf in (10, 24, 38)]
    assert errors[0] < 0.5 * errors[1] < 0.25 * errors[2]


def test_a_clip_need_not_begin_with_a_key_frame() -> None:
    """The frames in front are there while it is coded: the first frame comes back as another picture than alone."""
    sent = picture(4)
    first = recompress(sent, codec="h264", crf=30)[0]
    assert not np.array_equal(first, recompress(sent, codec="h264", crf=30, lead=0)[0])
    assert recompress(sent[:1], codec="h264", crf=30).shape == sent[:1].shape


@pytest.mark.parametrize(
    ("frames", "codec", "says"),
    [
        (np.zeros((2, 16, 16, 3), np.uint8), "h265", "h264 or hevc"),
        (np.zeros((16, 16, 3), np.uint8), "h264", r"uint8 \(T, H, W, 3\)"),
        (np.zeros((2, 16, 16, 3), np.float32), "h264", "float32"),
    ],
)
def test_what_cannot_be_coded_is_refused(frames: npt.NDArray[np.uint8], codec: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        recompress(frames, codec=codec, crf=20)
