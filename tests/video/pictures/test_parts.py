"""What lies beside the coded pictures: animations behind a still, alpha in streams and layers, crops, other names."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from support.doubles import Constant
from support.engines import QUICK
from support.media.clips import FOLDER, X264, clip, ffmpeg
from support.media.crops import clean_aperture, with_crop
from support.media.survival import look
from support.media.writing import read_all
from vdeblur.cli.info import info as info_command
from vdeblur.errors import SourceError, UsageError
from vdeblur.pipeline.deblur_video import Report, deblur_video
from vdeblur.video.encode.encoder_options import EncodeOptions
from vdeblur.video.info import Crop
from vdeblur.video.source.reader import Reader, probe

AV1 = ("-c:v", "libaom-av1", "-crf", "30", "-cpu-used", "8")
RAMP = "format=yuva420p,geq=lum=p(X\\,Y):cb=cb(X\\,Y):cr=cr(X\\,Y):a=X*2"
PICTURE = "testsrc2=size=96x64:rate=10"


def unchanged(source: Any, target: Path, **options: Any) -> Report:
    time = {name: options.pop(name) for name in ("start_seconds",) if name in options}
    encode = EncodeOptions(**options)
    return deblur_video(source, target, model=Constant(0.2), strength=0, encode=encode, **time, **QUICK)


# Animations


@functools.cache
def avif(animated: bool, alpha: bool) -> Path:
    """AVIF of Pillow, whose alpha is a picture or a track of its own."""
    path = FOLDER / f"{'moving' if animated else 'still'}{' alpha' if alpha else ''}.avif"
    rows, columns = np.mgrid[:48, :64]
    frames = []
    for number in range(4):
        shown = np.stack([rows * 4, columns * 3, rows + columns + 20 * number, 60 * number + rows], axis=-1)
        frames.append(Image.fromarray(shown.astype(np.uint8)).convert("RGBA" if alpha else "RGB"))
    more: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "duration": 100} if animated else {}
    frames[0].save(path, quality=90, **more)
    return path


def test_an_animation_is_restored_and_not_the_still_before_it(tmp_path: Path) -> None:
    source = tmp_path / "a.avif"
    ffmpeg("-f", "lavfi", "-i", PICTURE, "-frames:v", "5", *AV1, str(source))
    report = unchanged(source, tmp_path / "a.mkv", codec="ffv1")
    assert report.frames == 5
    assert any("still picture that is shown before the animation plays is left out" in note for note in report.notes)
    assert look(tmp_path / "a.mkv").samples == look(source, index="1").samples
    assert [stream.kind for stream in probe(tmp_path / "a.mkv").streams] == ["video"]
    with source.open("rb") as file:
        assert unchanged(io.BytesIO(file.read()), tmp_path / "b.mkv", codec="ffv1").frames == 5


@pytest.mark.skipif(Image.registered_extensions().get(".avif") != "AVIF", reason="this Pillow writes no AVIF")
@pytest.mark.parametrize("animated", [True, False])
def test_alpha_in_streams_of_its_own_comes_along(animated: bool, tmp_path: Path) -> None:
    source = avif(animated, True)
    report = unchanged(source, tmp_path / "a.mkv", codec="ffv1")
    frames = read_all(tmp_path / "a.mkv")
    assert report.frames == len(frames) == (4 if animated else 1)
    assert frames[0].format.alpha
    with Image.open(source) as image:
        for number, frame in enumerate(frames):
            image.seek(number)
            alpha = np.asarray(image.convert("RGBA"))[:, :, 3]
            assert np.array_equal(frame.planes[3], alpha)
    assert not [outcome for outcome in report.outcomes if outcome.kind == "video"], "alpha is no other video"
    deblur_video(source, tmp_path / "b.mkv", model=Constant(0.1), encode=EncodeOptions(codec="ffv1"), **QUICK)
    changed = read_all(tmp_path / "b.mkv")[0]
    assert np.array_equal(changed.planes[3], frames[0].planes[3])
    assert not np.array_equal(changed.planes[0], frames[0].planes[0])
    if animated:
        assert unchanged(source, tmp_path / "c.mkv", codec="ffv1", start_seconds=0.15).frames == 2
        (last,) = read_all(tmp_path / "c.mkv")[-1:]
        assert np.array_equal(last.planes[3], frames[3].planes[3])
    else:
        unchanged(source, tmp_path / "c.png")
        with Image.open(tmp_path / "c.png") as kept, Image.open(source) as image:
            assert np.array_equal(np.asarray(kept)[:, :, 3], np.asarray(image.convert("RGBA"))[:, :, 3])


@pytest.mark.skipif(Image.registered_extensions().get(".avif") != "AVIF", reason="this Pillow writes no AVIF")
@pytest.mark.parametrize("animated", [True, False])
def test_avif_gets_the_alpha_of_avif_and_calls_it_so(animated: bool, tmp_path: Path) -> None:
    source, target = avif(animated, True), tmp_path / "a.avif"
    report = unchanged(source, target, preset="12")
    assert [(outcome.fate, outcome.count) for outcome in report.outcomes if outcome.kind == "alpha"] == [("kept", 1)]
    assert any(note.startswith("copied: alpha ") for note in report.notes)
    before, after = ([frame.planes[3] for frame in list(Reader(path, threads=1))] for path in (source, target))
    assert len(before) == len(after) == report.frames
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True)), "copied, not encoded"
    with pytest.raises(UsageError, match="give alpha up"):  # the alpha of frames has nowhere to go
        unchanged(png_with_alpha(tmp_path), tmp_path / "b.avif")


def png_with_alpha(folder: Path) -> Path:
    Image.new("RGBA", (40, 30), (10, 200, 90, 100)).save(folder / "alpha.png")
    return folder / "alpha.png"


# Alpha in a layer


@pytest.fixture(scope="module")
def layered() -> Path:
    path = FOLDER / "layered.mov"
    options = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=1", "-tag:v", "hvc1")
    ffmpeg("-f", "lavfi", "-i", PICTURE, "-vf", RAMP, "-frames:v", "3", *options, str(path))
    return path


def decodes_layers() -> bool:
    """Whether PyAV's FFmpeg knows alpha layers."""
    with av.open(str(FOLDER / "layered.mov")) as container:
        return "a" in next(container.decode(video=0)).format.name.removeprefix("yuv")


@pytest.mark.parametrize("suffix", [".mov", ".mkv", ".ts"])
def test_a_layer_of_alpha_is_not_lost_in_silence(suffix: str, layered: Path, tmp_path: Path) -> None:
    source = tmp_path / f"a{suffix}"
    ffmpeg("-i", str(layered), "-c", "copy", str(source))
    if decodes_layers():
        assert probe(source).video.format.alpha
        return
    assert probe(source).video.hidden_alpha
    shown = CliRunner().invoke(info_command, [str(source)]).output
    assert "alpha        in a layer that is not decoded here" in shown
    with pytest.raises(UsageError, match=r"has its alpha in a layer of HEVC.*prores_ks.*--pix-fmt yuv420p"):
        unchanged(source, tmp_path / "out.mov")
    assert not (tmp_path / "out.mov").exists()
    unchanged(source, tmp_path / "opaque.mkv", pixel_format="yuv420p")
    assert not probe(tmp_path / "opaque.mkv").video.hidden_alpha


def test_a_layer_that_the_packets_alone_name(layered: Path, tmp_path: Path) -> None:
    """The message is moved out of the header, behind its length in the first packet."""
    data = layered.read_bytes()
    message = data[data.index(b"\x4e\x01\xa5") :][:10]
    assert data.count(message) == 1
    free = bytes([0, 0, 0, len(message)]) + message
    source = tmp_path / "a.mov"
    source.write_bytes(data.replace(message, message[:2] + b"\x05" + message[3:]) + free)
    assert probe(source).video.hidden_alpha or decodes_layers()
    source.write_bytes(data.replace(message, message[:2] + b"\x05" + message[3:]))
    assert not probe(source).video.hidden_alpha


def test_the_way_out_of_a_layer_works(layered: Path, tmp_path: Path) -> None:
    """The remedy as it is written; then alpha is there."""
    way_out = ("-c:v", "prores_ks", "-pix_fmt", "yuva444p10le", "-c:a", "copy")
    ffmpeg("-i", str(layered), *way_out, str(tmp_path / "a.mov"))
    assert probe(tmp_path / "a.mov").video.format.alpha
    report = unchanged(tmp_path / "a.mov", tmp_path / "b.mov", codec="hevc")
    assert any("alpha in HEVC is a layer" in note for note in report.notes)
    if not decodes_layers():
        assert probe(tmp_path / "b.mov").video.hidden_alpha, "so nobody restores it without a word"
    report = unchanged(tmp_path / "a.mov", tmp_path / "c.mov", codec="hevc", pixel_format="yuv420p10le")
    assert not any("alpha in HEVC" in note for note in report.notes)


def test_ordinary_hevc_has_no_layer() -> None:
    assert not probe(clip("hevc10_hdr")).video.hidden_alpha


# Crops


CROP = Crop(top=12, bottom=4, left=4, right=12)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_what_the_container_cuts_off_is_cut_off(suffix: str, tmp_path: Path) -> None:
    whole = tmp_path / "whole.mp4"
    ffmpeg("-f", "lavfi", "-i", PICTURE, "-frames:v", "3", *X264.split(), "-pix_fmt", "yuv420p", str(whole))
    source = with_crop(whole, tmp_path / f"a{suffix}", clean_aperture(80, 48, -8, 8))
    video = probe(source).video
    assert (video.width, video.height, video.crop) == (80, 48, CROP)
    shown = CliRunner().invoke(info_command, [str(source)]).output
    assert "12 at the top, 4 at the bottom, 4 at the left, 12 at the right, by the container; applied" in shown
    unchanged(source, tmp_path / "planes.mkv", codec="ffv1")
    assert look(tmp_path / "planes.mkv").samples == look(source).samples, "as FFmpeg crops it"
    assert probe(tmp_path / "planes.mkv").video.crop is None
    report = unchanged(source, tmp_path / "late.mkv", codec="ffv1", start_seconds=0.15)
    assert report.frames == 1
    assert probe(whole).video.crop is None


def test_an_odd_crop_and_one_that_leaves_nothing(tmp_path: Path) -> None:
    whole = tmp_path / "whole.mp4"
    ffmpeg("-f", "lavfi", "-i", PICTURE, "-frames:v", "2", *X264.split(), "-pix_fmt", "yuv444p", str(whole))
    odd = with_crop(whole, tmp_path / "odd.mp4", clean_aperture(91, 61, -1, 1))
    unchanged(odd, tmp_path / "odd.mkv", codec="ffv1")
    assert look(tmp_path / "odd.mkv").samples == look(odd).samples
    nothing = with_crop(whole, tmp_path / "nothing.mp4", clean_aperture(1, 1, 4000, 4000))
    assert probe(nothing).video.width in (1, 96)
    assert len(read_all(nothing)) == 2


@pytest.mark.parametrize(("codec", "bitstream"), [("libx264", "h264_metadata"), ("libx265", "hevc_metadata")])
def test_what_the_codec_cuts_off_is_cut_off_once(codec: str, bitstream: str, tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    quiet = ("-x265-params", "log-level=none:pools=1") if codec == "libx265" else ()
    crops = f"{bitstream}=crop_left=8:crop_right=6:crop_top=2:crop_bottom=4"
    ffmpeg("-f", "lavfi", "-i", PICTURE, "-frames:v", "2", "-c:v", codec, "-preset", "ultrafast", *quiet, "-pix_fmt",
           "yuv420p", "-bsf:v", crops, str(source))  # fmt: skip
    video = probe(source).video
    assert (video.width, video.height, video.crop) == (82, 58, None)
    unchanged(source, tmp_path / "planes.mkv", codec="ffv1")
    assert look(tmp_path / "planes.mkv").samples == look(source).samples


# Other kinds of picture


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_targa_is_written_and_read(mode: str, tmp_path: Path) -> None:
    image = Image.effect_noise((60, 40), 60).convert(mode)
    image.save(tmp_path / "a.png")
    unchanged(tmp_path / "a.png", tmp_path / "b.tga")
    with Image.open(tmp_path / "b.tga") as found:
        assert np.array_equal(np.asarray(found.convert(mode)), np.asarray(image))
    unchanged(tmp_path / "b.tga", tmp_path / "c.png")
    with Image.open(tmp_path / "c.png") as found:
        assert np.array_equal(np.asarray(found.convert(mode)), np.asarray(image))
    for number in (1, 2):
        (tmp_path / f"f_{number}.tga").write_bytes((tmp_path / "b.tga").read_bytes())
    assert unchanged(str(tmp_path / "f_%d.tga"), tmp_path / "g_%d.tga").frames == 2


def test_jpeg_xl_is_not_offered(tmp_path: Path) -> None:
    """Nobody here can read it again."""
    with pytest.raises(UsageError, match=r"no container for 'a\.jxl'"):
        unchanged(clip("photo_png"), tmp_path / "a.jxl")


def test_xyz_of_digital_cinema_is_not_rgb(tmp_path: Path) -> None:
    source = tmp_path / "a.jp2"
    ffmpeg("-f", "lavfi", "-i", PICTURE, "-frames:v", "1", "-pix_fmt", "rgb48be", "-c:v", "jpeg2000", str(source))
    assert probe(source).video.format.family == "rgb"
    data = source.read_bytes()
    siz = data.index(b"\xff\x4f\xff\x51")
    source.write_bytes(data[: siz + 6] + b"\0\3" + data[siz + 8 :])
    with pytest.raises(SourceError, match="JPEG 2000 in CIE XYZ"):
        probe(source)
    colr = data.index(b"colr")
    source.write_bytes(data[: colr + 7] + (14).to_bytes(4, "big") + data[colr + 11 :])
    with pytest.raises(SourceError, match=r"JPEG 2000 in CIE L\*a\*b\*; convert it to RGB first"):
        probe(source)


def test_a_tag_about_the_old_coding_of_alpha_is_no_loss(tmp_path: Path) -> None:
    source = tmp_path / "a.webm"
    ffmpeg("-f", "lavfi", "-i", PICTURE, "-vf", RAMP, "-frames:v", "3", "-c:v", "libvpx-vp9", "-deadline", "realtime",
           "-cpu-used", "8", "-auto-alt-ref", "0", str(source))  # fmt: skip
    for target in ("a.mkv", "a.mov", "b.webm"):
        report = unchanged(source, tmp_path / target)
        assert probe(tmp_path / target).video.format.alpha
        words = [*report.notes, *(f"{outcome.fate} {outcome.what}" for outcome in report.outcomes)]
        assert not any("alpha_mode" in word for word in words), words
