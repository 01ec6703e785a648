"""Sharp videos as training data, and `vdeblur synth`: what is averaged leaves no ghosts, and pairs can be scored."""

from __future__ import annotations

import itertools
import logging
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from kornia.io import write_image
from torch import Tensor

from support.cli_fixtures import Call, call
from support.synthetic import CLEAN, decibels, smooth, tiles
from vdeblur.errors import UsageError
from vdeblur.evaluation import find_pairs
from vdeblur.training.data.clip_cache import SyntheticData
from vdeblur.training.pair_preview import write_pair
from vdeblur.training.synthesis.blur import ByteClip
from vdeblur.training.synthesis.config import SynthesisConfig
from vdeblur.training.synthesis.image_files import picture_of
from vdeblur.training.synthesis.rng import Draw
from vdeblur.training.synthesis.videos import (
    DenseFrames,
    block_steps,
    cut_piece,
    farthest_step,
    find_videos,
    make_averaged,
    read_video,
)
from vdeblur.video.source.reader import Reader

#: Fixtures.
__all__ = ["call"]

FAST = replace(CLEAN, size_px=32, frames=2, averaged_frames=(3, 5), averaged_pieces=2, video_frames=4)


def moving(count: int, step_px: int, side: int = 96) -> Tensor:
    """Frames (N, 3, side, side) uint8 of tiles that move to the left by ``step_px`` a frame."""
    whole = tiles(1, 5 * ((side + count * step_px) // 5 + 1))
    return torch.stack([whole[:, :side, step_px * n : step_px * n + side] for n in range(count)])


def filmed(folder: Path, frames: Tensor, rate: int) -> Path:
    """A lossless video of these frames."""
    pair = (folder / "film.blur.mkv", folder / "film.mkv")
    write_pair(ByteClip(torch.stack((frames, frames)), None), pair, rate=Fraction(rate))
    pair[0].unlink()
    return pair[1]


def read(path: Path) -> Tensor:
    with Reader(path) as reader:
        return torch.stack([picture_of(frame) for frame in reader])


@pytest.mark.parametrize("shift", [(0, 0), (3, 0), (-4, 2)])
def test_blocks_tell_how_far_content_moves(shift: tuple[int, int]) -> None:
    dx, dy = shift
    whole = smooth(1, 160)[0].float() / 255 + 0.3 * torch.rand(160, 160, generator=torch.Generator().manual_seed(1))
    steps = block_steps(whole[20:116, 20:116], whole[20 - dy : 116 - dy, 20 - dx : 116 - dx])
    assert len(steps)
    assert float(steps.median()) == pytest.approx((dx * dx + dy * dy) ** 0.5)


def test_a_video_gives_pictures_and_dense_pieces(tmp_path: Path) -> None:
    film = filmed(tmp_path, moving(24, 1), 240)
    pictures, pieces = read_video(film, FAST, seed=1)
    assert [tuple(picture.shape) for picture in pictures] == [(3, 96, 96)] * 4
    assert [tuple(piece.frames.shape) for piece in pieces] == [(10, 3, 48, 48)] * 2
    assert all(farthest_step(piece.frames) <= FAST.step_px for piece in pieces)


def test_a_slow_video_is_never_averaged(tmp_path: Path) -> None:
    film = filmed(tmp_path, moving(24, 1), 30)
    pictures, pieces = read_video(film, FAST, seed=1)
    assert len(pictures) == 4
    assert pieces == []


def test_what_would_leave_ghosts_is_reduced_or_left_out(caplog: pytest.LogCaptureFixture) -> None:
    config = replace(FAST, size_px=32)
    dense = cut_piece(list(moving(8, 2, 200)), config, Draw.of(1), name="film")
    assert len(dense) == 1
    assert farthest_step(dense[0].frames) <= config.step_px
    with caplog.at_level(logging.INFO, logger="vdeblur.training.synthesis.videos"):
        assert cut_piece(list(moving(8, 16, 200)), config, Draw.of(1), name="film") == []
    assert "film: a piece moves too fast" in caplog.text


def test_averaged_frames_are_the_mean_and_their_middle_the_truth() -> None:
    piece = DenseFrames(moving(30, 1, 48))
    config = replace(FAST, averaged_frames=(5, 5))
    made = make_averaged([piece], config, seed=1, number=0, device=torch.device("cpu"))
    assert made.vectors is None
    assert made.pictures.shape == (2, 2, 3, 32, 32)
    blurry, sharp = made.pictures[:, 0].float()
    found = []
    for start, top, left in itertools.product(range(21), range(17), range(17)):
        window = piece.frames[start : start + 5, :, top : top + 32, left : left + 32].float()
        if float((window[2] - sharp).abs().mean()) < 0.6:
            found.append(float((window.mean(dim=0) - blurry).abs().mean()))
    assert min(found) < 0.6


def test_videos_train_in_steps_of_their_own(tmp_path: Path) -> None:
    film = filmed(tmp_path, moving(24, 1), 240)
    still = tmp_path / "still.png"
    write_image(still, tiles(2))
    config = replace(FAST, averaged_share=0.5)
    data = SyntheticData(config, stills=[still], videos=[film], seed=1, batch=2, reuse=2, workers=0, device="cpu")
    with closing(data.batches(0)) as batches:  # type: ignore[type-var]
        clips = list(itertools.islice(batches, 6))
    assert [clip.motion is None for clip in clips] == [False, True] * 3
    for clip in clips:
        assert clip.blurry.shape == (2, 2, 3, 32, 32)
    assert 10 < decibels(clips[1].blurry, clips[1].sharp) < 45


def test_a_folder_without_videos_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no videos"):
        find_videos([tmp_path])


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    write_image(path, tiles(1, 200))
    return path


def test_a_pair_is_made_that_eval_finds(call: Call, photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pairs"
    folder.mkdir()
    result = call("synth", photo, "-o", folder / "one", "--frames", 4, "--size", "97x64", "--seed", 5)
    assert (result.code, result.err) == (0, "")
    assert "4 frames of 97×64" in result.out
    (name, blurry, sharp), *others = find_pairs(folder)
    assert (name, others) == ("one", [])
    pictures = [read(path) for path in (blurry, sharp)]
    assert [tuple(clip.shape) for clip in pictures] == [(4, 3, 64, 97)] * 2
    assert not torch.equal(*pictures)
    again = call("synth", photo, "-o", folder / "two", "--frames", 4, "--size", "97x64", "--seed", 5)
    assert again.code == 0
    assert torch.equal(read(folder / "two.blur.mkv"), pictures[0])


def test_knobs_come_from_a_yaml_file(call: Call, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "still.yaml").write_text(
        "synthesis: {static_share: 1.0, layer_share: 0.0, compressed_share: 0.0, frames: 2,"
        " read_noise: [1.0e-9, 1.0e-9], shot_noise: [1.0e-9, 1.0e-9], gain: [1.0, 1.0],"
        " highlight_share: 0.0, mosaic_share: 0.0}\n"
    )
    assert call("synth", photo, "-o", tmp_path / "still", "--config", tmp_path / "still.yaml").code == 0
    blurry, sharp = (read(tmp_path / f"still.{side}.mkv") for side in ("blur", "sharp"))
    assert blurry.shape == (2, 3, 150, 150)
    assert int((blurry.int() - sharp.int()).abs().max()) <= 1


def test_the_colours_of_an_mp4_are_right(call: Call, photo: Path, tmp_path: Path) -> None:
    for target in ("lossless.mkv", "coded.mp4"):
        result = call("synth", photo, "-o", tmp_path / target, "--frames", 2, "--seed", 2, "--size", "64x64")
        assert result.code == 0, result.err
    exact, coded = read(tmp_path / "lossless.sharp.mkv"), read(tmp_path / "coded.sharp.mp4")
    assert decibels(exact / 255, coded / 255) > 30
    assert float((exact.float().mean(dim=(0, 2, 3)) - coded.float().mean(dim=(0, 2, 3))).abs().max()) < 2


def test_a_high_rate_video_is_averaged(call: Call, tmp_path: Path) -> None:
    film = filmed(tmp_path, moving(60, 1), 240)
    result = call("synth", film, "-o", tmp_path / "real", "--frames", 3)
    assert result.code == 0, result.err
    assert "averaged from 240 frames/s" in result.out
    blurry, sharp = (read(tmp_path / f"real.{side}.mkv") for side in ("blur", "sharp"))
    assert blurry.shape == sharp.shape == (3, 3, 96, 96)
    assert 10 < decibels(blurry / 255, sharp / 255) < 40
    (tmp_path / "fast").mkdir()
    fast = filmed(tmp_path / "fast", moving(40, 4), 240)
    result = call("synth", fast, "-o", tmp_path / "ghost")
    assert result.code == 2
    assert "ghosts" in result.errors[0]
    assert "--size" in result.errors[0]


def test_frames_of_a_slow_video_are_moved(call: Call, tmp_path: Path) -> None:
    film = filmed(tmp_path, moving(6, 1), 25)
    result = call("synth", film, "-o", tmp_path / "slow", "--frames", 2)
    assert result.code == 0, result.err
    assert "moved over 6 pictures" in result.out


BAD_CALLS = {
    "no output": ("{p}", "-o photo"),
    "no such file": ("{t}/none.png -o {t}/out", "no such file"),
    "no folder": ("{p} -o {t}/none/none/out", "no folder"),
    "a file for a folder": ("{p} -o {t}/there.blur.mkv/out", "no folder"),
    "codec, and a new folder": ("{p} -o {t}/none/out --codec h266x --size 32x32 --frames 1", "h266x"),
    "size": ("{p} -o {t}/out --size 64", "WIDTHxHEIGHT"),
    "size too small": ("{p} -o {t}/out --size 8x64", "at least 16"),
    "frames": ("{p} -o {t}/out --frames 0", "--frames"),
    "config": ("{p} -o {t}/out --config {t}/wrong.yaml", "did you mean 'speed_px'"),
    "knob": ("{p} -o {t}/out --config {t}/bad.yaml", "exposure"),
    "codec": ("{p} -o {t}/out --codec h266x --size 32x32 --frames 1", "h266x"),
    "there already": ("{p} -o {t}/there", "-y replaces"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_a_bad_call_is_refused_in_one_line(name: str, call: Call, photo: Path, tmp_path: Path) -> None:
    words, says = BAD_CALLS[name]
    (tmp_path / "wrong.yaml").write_text("speed_pxs: [1, 2]\n")
    (tmp_path / "bad.yaml").write_text("exposure: [0.5, 3]\n")
    (tmp_path / "there.blur.mkv").write_bytes(b"")
    before = sorted(tmp_path.iterdir())
    result = call("synth", *(word.format(p=photo, t=tmp_path) for word in words.split()))
    assert result.code == 2, result.err
    assert len(result.errors) == 1
    assert says in result.errors[0]
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "there.blur.mkv").read_bytes() == b""


def test_a_missing_folder_is_created(call: Call, photo: Path, tmp_path: Path) -> None:
    result = call("synth", photo, "-o", tmp_path / "pairs" / "photo", "--frames", 1, "--size", "32x32")
    assert result.code == 0, result.err
    assert sorted(path.name for path in (tmp_path / "pairs").iterdir()) == ["photo.blur.mkv", "photo.sharp.mkv"]


def test_overwrite_replaces(call: Call, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "there.blur.mkv").write_bytes(b"")
    assert call("synth", photo, "-o", tmp_path / "there", "-y", "--frames", 1, "--size", "32x32").code == 0
    assert read(tmp_path / "there.blur.mkv").shape == (1, 3, 32, 32)


def test_the_help_page_names_the_knobs(call: Call) -> None:
    out = call("synth", "--help").out
    assert "INPUT" in out
    assert "--size WxH" in out
    assert SynthesisConfig().averaged_rate == 100
    assert "100 frames a second" in " ".join(out.split())
