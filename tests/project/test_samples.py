"""The sample clips are what their recipes say, and the recipes give the same frames again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from support.paths import SAMPLES

LUMA = np.array([0.2126, 0.7152, 0.0722])

sys.path.insert(0, str(SAMPLES))
try:
    import make
    from recipes import CLIPS
    from sound import RATE_HZ, street_sound
finally:
    sys.path.remove(str(SAMPLES))

Picture = np.ndarray[Any, Any]


def decoded(path: Path) -> list[Picture]:
    """Every frame as 8-bit R'G'B' with the matrix the clip is tagged with."""
    with av.open(str(path)) as container:
        return [
            frame.to_ndarray(format="rgb24", src_colorspace="ITU709", dst_color_range="JPEG")
            for frame in container.decode(video=0)
        ]


def luma_psnr(one: Picture, other: Picture) -> float:
    error = ((one.astype(np.float64) - other) @ LUMA) ** 2
    return float(10 * np.log10(255**2 / error.mean()))


def detail(picture: Picture) -> float:
    """Mean absolute difference of horizontal neighbours in luma."""
    return float(np.abs(np.diff(picture @ LUMA, axis=1)).mean())


@pytest.mark.parametrize(
    ("name", "indices"),
    [("handheld", (0, 22, 51)), ("passing", (30, 71)), ("cut", (35, 36))],
    ids=lambda value: str(value),
)
def test_the_committed_clip_is_its_recipe(name: str, indices: tuple[int, ...]) -> None:
    path, clip = SAMPLES / f"{name}.mp4", CLIPS[name]
    assert path.stat().st_size < 500_000
    frames = decoded(path)
    assert len(frames) == clip.frames
    for index in indices:
        assert luma_psnr(frames[index], clip.picture(index)) >= 30
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        assert (video.width, video.height, video.average_rate) == (640, 360, clip.rate)
        assert int(video.codec_context.colorspace) == int(video.codec_context.color_primaries) == 1
        kinds = [stream.type for stream in container.streams]
    assert kinds == (["video", "audio", "subtitle"] if clip.sound else ["video"])


def test_the_shake_blurs_the_picture() -> None:
    clip = CLIPS["handheld"]
    moving = clip.picture(10)
    sharp = clip.picture(10, sharp=True)
    assert detail(sharp) > 1.3 * detail(moving)


def test_only_the_van_is_blurred() -> None:
    clip = CLIPS["passing"]
    filmed, sharp = clip.picture(40), clip.picture(40, sharp=True)
    wall, lettering = np.s_[0:120, 60:600], np.s_[160:300, 340:560]
    assert detail(sharp[lettering]) > 1.5 * detail(filmed[lettering])
    assert luma_psnr(filmed[wall], sharp[wall]) > 36


def test_a_frame_comes_out_the_same_twice() -> None:
    clip = CLIPS["cut"]
    assert np.array_equal(clip.picture(36), clip.picture(36))
    assert not np.array_equal(clip.picture(36), clip.picture(37))
    with pytest.raises(IndexError, match="72 frames"):
        clip.picture(72)


def test_the_sound_is_stereo_and_the_same_twice() -> None:
    sound = street_sound(0.5, 1)
    assert sound.shape == (RATE_HZ // 2, 2)
    assert np.array_equal(sound, street_sound(0.5, 1))
    assert 0.1 < np.abs(sound).max() <= 1
    assert not np.allclose(sound[:, 0], sound[:, 1])


def test_make_writes_a_clip_and_its_truth(tmp_path: Path) -> None:
    assert make.main(["handheld", "--frames", "3", "--out", str(tmp_path), "--truth", str(tmp_path / "truth")]) == 0
    frames = decoded(tmp_path / "handheld.mp4")
    assert len(frames) == 3
    assert luma_psnr(frames[1], decoded(SAMPLES / "handheld.mp4")[1]) > 30
    assert (tmp_path / "truth" / "handheld.blur.mp4").read_bytes() == (tmp_path / "handheld.mp4").read_bytes()
    truth = decoded(tmp_path / "truth" / "handheld.sharp.mkv")
    assert len(truth) == 3
    assert np.array_equal(truth[2], CLIPS["handheld"].picture(2, sharp=True))


def test_make_names_the_clips_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make.main(["handheldd"])
    assert "there are handheld, passing, cut" in capsys.readouterr().err
