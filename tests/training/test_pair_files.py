"""Pairs' promises: every layout is found, what is wrong is named before work starts, and crops belong together."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from kornia.io import write_image

from support.training_fixtures import pairs, texture, tiny_run, write_frames
from vdeblur.errors import SourceError, UsageError
from vdeblur.training.data.dataset_layouts import find_sequences
from vdeblur.training.data.pair_files import FramePair, open_footage
from vdeblur.training.data.pairs import PairData, _forth_and_back, fixed_pair_clips
from vdeblur.training.trainer import train
from vdeblur.video.ffmpeg.executable import run_ffmpeg

__all__ = ["pairs"]


def opened(folder: Path, least_px: int = 32) -> list[FramePair]:
    return open_footage([folder], least_px=least_px, threads=2)


def stream(footage: list[FramePair], **changes: int) -> PairData:
    settings = {"size_px": 32, "frames": 3, "seed": 1, "batch": 2, "reuse": 4, "workers": 2, **changes}
    return PairData(footage, **settings)


def first_batches(data: PairData, count: int, first_step: int = 0) -> list[torch.Tensor]:
    batches = data.batches(first_step)
    made = [next(batches) for _ in range(count)]
    batches.close()
    assert all(clip.velocity is None and clip.motion is None for clip in made)
    return [torch.stack((clip.blurry, clip.sharp)) for clip in made]


def test_gopro_layout(pairs: Path) -> None:
    found = find_sequences(pairs)
    assert [(pair.name, len(pair.blurry)) for pair in found] == [("one/blur", 4), ("two/blur", 2)]
    assert found[0].sharp[3] == pairs / "one" / "sharp" / "000003.png"
    shutil.copytree(pairs / "one" / "blur", pairs / "one" / "blur_gamma")
    assert find_sequences(pairs) == found


def test_reds_layout(tmp_path: Path) -> None:
    for half in ("train_blur", "train_sharp"):
        for name in ("000", "001"):
            write_frames(tmp_path / "REDS" / half / name, 2)
    found = find_sequences(tmp_path)
    assert [pair.name for pair in found] == ["REDS/train_blur/000", "REDS/train_blur/001"]
    assert found[1].sharp[0] == tmp_path / "REDS" / "train_sharp" / "001" / "000000.png"


def test_bsd_layout(tmp_path: Path) -> None:
    for half in ("Blur", "Sharp"):
        write_frames(tmp_path / "005" / half / "RGB", 3)
    (found,) = find_sequences(tmp_path)
    assert found.name == "005/Blur/RGB"
    assert found.sharp[2] == tmp_path / "005" / "Sharp" / "RGB" / "000002.png"


def test_our_own_layout(tmp_path: Path) -> None:
    for name in ("a.blur.png", "a.sharp.jpg", "b.c.blur.mkv", "b.c.sharp.mkv"):
        (tmp_path / name).write_bytes(b"")
    photo, video = find_sequences(tmp_path)
    assert (photo.name, photo.sharp[0].name, photo.is_video) == ("a", "a.sharp.jpg", False)
    assert (video.name, video.blurry[0].name, video.is_video) == ("b.c", "b.c.blur.mkv", True)


def test_what_is_no_pair_is_named(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no folder .*nowhere"):
        find_sequences(tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    with pytest.raises(UsageError, match=r"no pairs below .*bare: they are blur/ beside sharp/ \(GoPro\)"):
        find_sequences(tmp_path / "bare")
    write_image(pairs / "one" / "blur" / "000004.png", texture(1, 48, 64))
    with pytest.raises(UsageError, match=r"one.blur has 5 pictures and .*one.sharp has 4"):
        find_sequences(pairs)
    (pairs / "one" / "blur" / "000002.png").unlink()
    with pytest.raises(UsageError, match=r"000003\.png stands where .*000002\.png does"):
        find_sequences(pairs)
    shutil.rmtree(pairs / "one" / "blur")
    with pytest.raises(UsageError, match=r"one.sharp has no blurred partner: put .*one.blur beside it"):
        find_sequences(pairs)
    (pairs / "one" / "blur").mkdir()
    with pytest.raises(UsageError, match=r"one.blur is empty"):
        find_sequences(pairs)
    shutil.rmtree(pairs / "one")
    shutil.rmtree(pairs / "two" / "sharp")
    with pytest.raises(UsageError, match=r"two.blur has no sharp partner: put .*two.sharp beside it"):
        find_sequences(pairs)


def test_a_half_of_reds_is_named(tmp_path: Path) -> None:
    write_frames(tmp_path / "train_blur" / "000", 2)
    (tmp_path / "train_sharp" / "001").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"train_blur.000 has no partner: there is no .*train_sharp.000"):
        find_sequences(tmp_path)


def test_a_half_of_a_named_pair_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.sharp.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"a\.sharp\.png has no partner: put a\.blur\.png beside it"):
        find_sequences(tmp_path)


def test_frames_of_other_sizes_are_named(pairs: Path) -> None:
    write_image(pairs / "one" / "sharp" / "000002.png", texture(1, 48, 72))
    with pytest.raises(UsageError, match=r"000002\.png is 72×48 and .*000000\.png is 64×48: give frames of one size"):
        opened(pairs)


def test_small_frames_are_named(pairs: Path) -> None:
    with pytest.raises(UsageError, match=r"000000\.png is 64×48: frames of at least 64×64 can be used"):
        opened(pairs, least_px=64)


def test_unreadable_frames_are_named(pairs: Path) -> None:
    (pairs / "two" / "blur" / "000001.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"cannot read the picture .*000001\.png"):
        opened(pairs)


def test_a_run_says_what_is_wrong_before_it_begins(pairs: Path, tmp_path: Path) -> None:
    (pairs / "two" / "blur" / "000001.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"000001\.png"):
        train(tiny_run(tmp_path, pairs=[str(pairs)]), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="nothing to learn from: give stills"):
        train(tiny_run(tmp_path), tmp_path / "run", device="cpu")
    shutil.rmtree(pairs / "two")
    with pytest.raises(UsageError, match="nothing to validate on: give validation_pairs"):
        train(tiny_run(tmp_path, pairs=[str(pairs)]), tmp_path / "run", device="cpu")


def test_blurred_and_sharp_crops_belong_together(pairs: Path) -> None:
    """The fixture's blurred half is half as bright, so its crops are, in every guise; frames move to a side."""
    seen = first_batches(stream(opened(pairs)), 6)
    for batch in seen:
        assert batch.shape == (2, 2, 3, 3, 32, 32)
        blurry, sharp = (batch * 255).round().int()
        assert torch.equal(blurry, sharp // 2)
        assert not torch.equal(batch[0, 0, 0], batch[0, 0, 1])
    assert not torch.equal(seen[0], seen[1])


def test_what_a_step_gets_depends_on_its_number_alone(pairs: Path) -> None:
    footage = opened(pairs)
    straight = first_batches(stream(footage), 9)
    for first_step in (3, 4):
        later = first_batches(stream(footage, workers=1), 9 - first_step, first_step)
        assert all(torch.equal(a, b) for a, b in zip(straight[first_step:], later, strict=True))
    assert not torch.equal(first_batches(stream(footage, seed=2), 1)[0], straight[0])


def test_ranks_together_get_what_one_process_gets(pairs: Path) -> None:
    footage = opened(pairs)
    whole = first_batches(stream(footage, batch=4), 5)
    halves = [first_batches(stream(footage, rank=rank, world_size=2), 5) for rank in range(2)]
    for step, batch in enumerate(whole):
        assert torch.equal(batch, torch.cat([half[step] for half in halves], 1))


def test_a_stretch_is_read_once_and_used_often(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    whole = FramePair.read

    def counted(self: FramePair, first: int, count: int) -> torch.Tensor:
        read.append(first)
        return whole(self, first, count)

    monkeypatch.setattr(FramePair, "read", counted)
    first_batches(stream(opened(pairs), reuse=64, batch=2), 12)
    assert len(read) == 2


def test_frames_keep_their_order(tmp_path: Path) -> None:
    """Grey levels that rise with time come out rising, or falling where the clip is reversed."""
    for half in ("blur", "sharp"):
        (tmp_path / half).mkdir()
        for index in range(6):
            write_image(tmp_path / half / f"{index}.png", torch.full((3, 32, 32), 20 * index, dtype=torch.uint8))
    for batch in first_batches(stream(opened(tmp_path), reuse=1), 8):
        levels = (batch.mean(dim=(3, 4, 5)) * 255 / 20).round()
        assert torch.equal(levels[0], levels[1])
        assert set(levels.diff(dim=-1).abs().flatten().tolist()) == {1.0}


def test_videos_give_the_frames_they_hold(tmp_path: Path) -> None:
    for half in ("blur", "sharp"):
        picture = "mandelbrot=size=64x48:rate=30000/1001,format=bgr0" + ",hflip" * (half == "blur")
        code = ["-f", "lavfi", "-i", picture, "-frames:v", "15", "-c:v", "ffv1", str(tmp_path / f"clip.{half}.mkv")]
        assert run_ffmpeg(code).returncode == 0
    (footage,) = opened(tmp_path)
    assert (footage.frames, footage.size) == (15, (48, 64))
    whole = footage.read(0, 15)
    assert torch.equal(whole[0], whole[1].flip(-1))
    for first in (1, 7, 12):
        assert torch.equal(footage.read(first, 3), whole[:, first : first + 3])
    assert len({tuple(frame.flatten().tolist()) for frame in whole[1]}) == 15
    assert run_ffmpeg(
        ["-i", str(tmp_path / "clip.blur.mkv"), "-frames:v", "9", "-c:v", "ffv1", str(tmp_path / "b.blur.mkv")]
    ).returncode == 0  # fmt: skip
    shutil.copy(tmp_path / "clip.sharp.mkv", tmp_path / "b.sharp.mkv")
    with pytest.raises(UsageError, match=r"b\.blur\.mkv has 9 frames and .*b\.sharp\.mkv has 15"):
        opened(tmp_path)


def test_photos_stand_still_and_short_sequences_swing(pairs: Path, tmp_path: Path) -> None:
    assert _forth_and_back(4, 4) == [0, 1, 2, 3]
    assert _forth_and_back(3, 7) == [0, 1, 2, 1, 0, 1, 2]
    assert _forth_and_back(2, 4) == [0, 1, 0, 1]
    assert _forth_and_back(1, 3) == [0, 0, 0]
    photos = tmp_path / "photos"
    photos.mkdir()
    for half in ("blur", "sharp"):
        write_image(photos / f"a.{half}.png", texture(5, 48, 64))
    assert first_batches(stream(opened(photos)), 1)[0].shape == (2, 2, 1, 3, 32, 32)
    assert first_batches(stream([*opened(photos), *opened(pairs)]), 1)[0].shape[2] == 3


def test_validation_clips_are_the_same_every_time(pairs: Path) -> None:
    one, other = (fixed_pair_clips(opened(pairs), size_px=32, frames=2, count=3) for _ in range(2))
    assert len(one) == 3
    assert one[0].blurry.shape == (2, 3, 32, 32)
    assert all(torch.equal(a.blurry, b.blurry) for a, b in zip(one, other, strict=True))


def test_a_network_is_fine_tuned_on_pairs(pairs: Path, tmp_path: Path) -> None:
    first = train(tiny_run(tmp_path, pairs=[str(pairs)]), tmp_path / "first", device="cpu")
    tuned = train(tiny_run(tmp_path, pairs=[str(pairs)], start=str(first), steps=3), tmp_path / "tuned", device="cpu")
    assert tuned.is_file()
