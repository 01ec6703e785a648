"""What the table of the corpus cannot say: HDR and alpha under correction, several videos, metadata that is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from support.doubles import Constant, Identity
from support.engines import QUICK
from support.media.clips import X264, ffmpeg
from support.media.corpus_pictures import corpus
from support.media.dynamic_hdr import PICTURE, dolby_vision, hdr10_plus
from support.media.survival import look, mean_difference, side_data_equal
from support.media.writing import packets, read_all
from vdeblur.errors import SourceError, VdeblurError
from vdeblur.pipeline.deblur_video import Report, deblur_video
from vdeblur.video.encode.encoder_options import EncodeOptions
from vdeblur.video.source.reader import probe


def unchanged(source: Path, target: Path, **options: Any) -> Report:
    return deblur_video(source, target, model=Identity(), strength=0, encode=EncodeOptions(**options), **QUICK)


# HDR and alpha.


def test_hdr_is_corrected_where_its_edges_are_and_nowhere_else(tmp_path: Path) -> None:
    """The shipped network on a PQ clip: a bar that moves over a flat ground. No tone mapping, no other tags."""
    source, target = tmp_path / "in.mp4", tmp_path / "out.mkv"
    bar = "color=0x405060:size=160x96:rate=25,drawbox=x=20+{n}*8:y=0:w=24:h=96:color=0xD0C0B0:t=fill,boxblur=4:1:0"
    parts = [f"[{n}:v]trim=end_frame=1[v{n}];" for n in range(4)]
    inputs = [word for n in range(4) for word in ("-f", "lavfi", "-i", bar.format(n=n))]
    joined = "".join(parts) + "".join(f"[v{n}]" for n in range(4)) + "concat=n=4,format=yuv420p10le"
    pq = (
        "-c:v libx265 -preset ultrafast -crf 8 -pix_fmt yuv420p10le -tag:v hvc1 -x265-params log-level=none:pools=1:"
        "hdr10=1:repeat-headers=1:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:range=limited:chromaloc=2:"
        "max-cll=1000,400:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    )
    ffmpeg(*inputs, "-filter_complex", joined, *pq.split(), str(source))
    deblur_video(source, target, model="fast", encode=EncodeOptions(codec="ffv1"), **QUICK)
    seen, made = look(source), look(target)
    assert (made.format, made.colour) == ("yuv420p10le", seen.colour)
    assert seen.colour["transfer"] == "smpte2084"
    assert side_data_equal(seen, made)
    near, far = 0.0, 0.0
    for number, (before, after) in enumerate(zip(read_all(source), read_all(target), strict=True)):
        change = np.abs(after.planes[0].astype(float) - before.planes[0])
        edges = [20 + 8 * number, 44 + 8 * number]
        columns = np.min([np.abs(np.arange(160) - edge) for edge in edges], axis=0)
        near, far = max(near, change[:, columns < 12].max()), max(far, change[:, columns > 24].max())
    # Levels of 1023; measured 106 and 4.
    assert near > 20
    assert far <= 8


@pytest.mark.parametrize("name", ["pixels yuva420p", "pixels bgra", "pixels ya8", "prores 4444 alpha", "qtrle alpha"])
def test_alpha_is_never_touched(name: str, tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    deblur_video(corpus(name), target, model=Constant(0.1), encode=EncodeOptions(codec="ffv1"), **QUICK)
    for before, after in zip(read_all(corpus(name)), read_all(target), strict=True):
        assert np.array_equal(before.planes[-1], after.planes[-1])
        assert not np.array_equal(before.planes[0], after.planes[0])


@pytest.mark.parametrize(("encoder", "decoder"), [("libvpx-vp9", "libvpx-vp9"), ("libvpx", "libvpx")])
def test_alpha_inside_webm_is_read_and_written(encoder: str, decoder: str, tmp_path: Path) -> None:
    """It is a second stream beside the colours, which FFmpeg's own decoders leave out in silence."""
    source, planes, target = (tmp_path / name for name in ("in.webm", "planes.mkv", "out.webm"))
    ramp = "format=yuva420p,geq=lum=p(X\\,Y):cb=cb(X\\,Y):cr=cr(X\\,Y):a=X*2"
    options = ("-c:v", encoder, "-auto-alt-ref", "0", "-b:v", "1M", "-pix_fmt", "yuva420p", "-frames:v", "4")
    ffmpeg("-f", "lavfi", "-i", PICTURE, "-vf", ramp, *options, str(source))
    unchanged(source, planes, codec="ffv1")
    expected = ffmpeg("-c:v", decoder, "-i", str(source), "-f", "rawvideo", "-pix_fmt", "yuva420p", "-")
    assert look(planes, pixel_format="yuva420p").samples == expected
    unchanged(source, target)
    assert probe(target).video.format.alpha
    alphas = [frame.planes[3].astype(int) for frame in read_all(target)]
    wanted = [frame.planes[3].astype(int) for frame in read_all(planes)]
    assert max(np.abs(a - b).mean() for a, b in zip(alphas, wanted, strict=True)) < 4
    unchanged(source, tmp_path / "opaque.webm", pixel_format="yuv420p")
    assert not any("alpha" in name.lower() for name in probe(tmp_path / "opaque.webm").streams[0].metadata)


# Metadata that cannot be kept is named.


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
def test_the_arrangement_of_3d_video_is_kept_or_named(suffix: str, tmp_path: Path) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / f"out{suffix}"
    options = (*X264.split(), "-pix_fmt", "yuv420p", "-frames:v", "2", "-metadata:s:v:0", "stereo_mode=left_right")
    ffmpeg("-f", "lavfi", "-i", PICTURE, *options, str(source))
    report = unchanged(source, target)
    kept = "STEREO3D" in probe(target).video.side_data
    assert kept == (suffix != ".ts")
    assert kept != any("stereoscopic arrangement" in note for note in report.notes)
    assert kept != ("stereoscopic arrangement" in report.summary)


@pytest.mark.parametrize(("make", "words"), [(hdr10_plus, "HDR10+ metadata"), (dolby_vision, "Dolby Vision metadata")])
def test_dynamic_metadata_is_named_before_work_starts(make: Any, words: str, tmp_path: Path) -> None:
    told: list[str] = []
    deblur_video(make(tmp_path), tmp_path / "out.mp4", model=Identity(), strength=0, note=told.append, **QUICK)
    assert any(note.startswith("not kept:") and words in note for note in told), told


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_side_data_of_a_kind_unknown_to_pyav_hides_no_other(suffix: str, tmp_path: Path) -> None:
    """Exif is such a kind; the mirrored orientation stands beside it."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 5, "Maker"
    Image.new("RGB", (32, 16), (200, 60, 30)).save(tmp_path / f"photo{suffix}", exif=exif)
    video = probe(tmp_path / f"photo{suffix}").video
    assert video.side_data == ("DISPLAYMATRIX", "EXIF")
    assert video.display_matrix is not None
    assert video.display_matrix[:5] == (0, 65536, 0, 65536, 0)


# Containers and encoders that cannot say everything.


def test_full_range_is_converted_where_it_cannot_be_said(tmp_path: Path) -> None:
    """Else black and white would be clipped by every player."""
    source, target = corpus("bt709 full"), tmp_path / "out.mpg"
    report = unchanged(source, target)
    assert "full range is converted to limited range" in report.notes
    assert not any("does not keep: full range" in note for note in report.notes)
    seen, made = look(source, pixel_format="rgb24"), look(target, pixel_format="rgb24")
    assert made.colour["range"] == "tv"
    assert mean_difference(seen, made, "rgb24") < 0.02


def test_full_range_in_avi_gets_an_encoder_that_knows_it(tmp_path: Path) -> None:
    report = unchanged(corpus("mjpeg"), tmp_path / "out.avi")
    assert look(tmp_path / "out.avi").colour["range"] == "pc"
    assert any("for mpeg4 does not say that the range is full" in note for note in report.notes)


@pytest.mark.parametrize(("lines", "matrix"), [(64, "smpte170m"), (720, "bt709")])
def test_rgb_that_becomes_yuv_says_by_which_matrix(lines: int, matrix: str, tmp_path: Path) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / "out.mp4"
    picture = f"color=0xC83C1E:size=96x{lines}:rate=25,format=gbrp"
    ffmpeg("-f", "lavfi", "-i", picture, "-frames:v", "2", "-c:v", "ffv1", str(source))
    unchanged(source, target, pixel_format="yuv420p")
    seen = look(target)
    assert (seen.colour["matrix"], seen.colour["range"]) in [
        (matrix, "tv"),
        ("bt470bg" if lines < 720 else matrix, "tv"),
    ]
    frame = read_all(target)[0]
    expected = {"smpte170m": (100, 94, 192), "bt709": (91, 101, 191)}[matrix]
    assert all(abs(float(plane.mean()) - value) < 2.5 for plane, value in zip(frame.planes, expected, strict=True))


def test_deep_rgb_in_quicktime_keeps_every_sample(tmp_path: Path) -> None:
    source, target = corpus("png in mov"), tmp_path / "out.mov"
    unchanged(source, target)
    assert look(target, pixel_format="gbrp16le").samples == look(source, pixel_format="gbrp16le").samples


@pytest.mark.parametrize("suffix", [".y4m", ".avi"])
def test_a_container_with_one_rate_says_by_how_much_it_misses(suffix: str, tmp_path: Path) -> None:
    """Frames of 30 a second, but for one pause: Y4M counts them, AVI skips places."""
    source = tmp_path / "in.mkv"
    times = "settb=1/1000,setpts=40*N+15*gte(N\\,3)"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25", "-vf", times, "-fps_mode", "passthrough"),
        *("-enc_time_base", "1:1000", "-frames:v", "6", *X264.split(), "-pix_fmt", "yuv420p", str(source)),
    )
    report = unchanged(source, tmp_path / f"out{suffix}")
    assert report.frames == 6 == len(look(tmp_path / f"out{suffix}").ticks)
    assert any("has one frame rate: frames are shown up to" in note for note in report.notes), report.notes


@pytest.mark.parametrize("suffix", [".y4m", ".avi", ".gif", ".apng"])
def test_a_container_that_begins_at_zero_says_so(suffix: str, tmp_path: Path) -> None:
    report = unchanged(corpus("late mp4"), tmp_path / f"out{suffix}")
    assert any("begins at 0: the first frame is shown then, and not at 5 s" in note for note in report.notes)
    assert not any("begins at 0" in note for note in unchanged(corpus("h264"), tmp_path / f"other{suffix}").notes)


# Which video, and what stands beside it.


def two_videos(path: Path, *dispositions: str) -> Path:
    """A small video and a large one in one file."""
    flags = [word for n, name in enumerate(dispositions) for word in (f"-disposition:v:{n}", name)]
    second = ("-f", "lavfi", "-i", "testsrc=size=128x96:rate=25")
    encoder = (*X264.split(), "-pix_fmt", "yuv420p", "-frames:v", "6", *flags)
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25", *second, "-map", "0", "-map", "1", *encoder, str(path))
    return path


@pytest.mark.parametrize(("dispositions", "chosen"), [(("default", "0"), 0), (("0", "default"), 1), (("0", "0"), 1)])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
def test_one_of_two_videos_is_restored_and_the_other_copied(
    suffix: str, dispositions: tuple[str, ...], chosen: int, tmp_path: Path
) -> None:
    source, target = two_videos(tmp_path / f"in{suffix}", *dispositions), tmp_path / f"out{suffix}"
    if suffix == ".ts":
        chosen = 1  # it has no word for a default, so the larger is taken
    elif suffix == ".mp4" and "default" not in dispositions:
        chosen = 0  # one must be shown, and that is the first
    deblur_video(source, target, model=Constant(0.2), **QUICK)
    other = 1 - chosen
    assert packets(target, other) == packets(source, other)
    for index in (0, 1):
        seen, made = look(source, index=str(index)), look(target, index=str(index))
        assert (made.width, made.height, made.seconds) == (seen.width, seen.height, seen.seconds)
        assert (made.samples == seen.samples) == (index == other)


@pytest.mark.parametrize("suffix", [".mov", ".mp4"])
def test_a_time_code_stays(suffix: str, tmp_path: Path) -> None:
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    picture = ("-f", "lavfi", "-i", PICTURE, "-frames:v", "6")
    ffmpeg(*picture, *X264.split(), "-pix_fmt", "yuv420p", "-timecode", "01:02:03:04", str(source))
    unchanged(source, target)
    with av.open(str(target)) as container:
        codes = [stream.metadata.get("timecode") for stream in container.streams]
    assert "01:02:03:04" in codes


# Files that are broken.


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts", ".webm", ".y4m"])
def test_a_file_without_a_frame_is_refused_in_one_line(suffix: str, tmp_path: Path) -> None:
    source = tmp_path / f"in{suffix}"
    ffmpeg("-f", "lavfi", "-i", PICTURE, "-vf", "trim=end_frame=0", str(source))
    with pytest.raises(SourceError) as caught:
        unchanged(source, tmp_path / "out.mkv")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.mkv").exists()


def damaged(source: Path, target: Path, kind: str, seed: int) -> Path:
    """A copy that ends early, or with some bits flipped behind its first sixteenth, or there."""
    data, random = bytearray(source.read_bytes()), np.random.default_rng(seed)
    if kind == "cut":
        del data[int(len(data) * (0.25 + 0.2 * seed)) :]
    else:
        low, high = (0, len(data) // 16) if kind == "head" else (len(data) // 16, len(data))
        for place in random.integers(low, high, 6):
            data[place] ^= 1 << int(random.integers(8))
    target.write_bytes(data)
    return target


@pytest.mark.parametrize("kind", ["cut", "bits", "head"])
@pytest.mark.parametrize(
    "name",
    ["h264", "hevc open gop", "vp9", "av1", "mpeg2 ts", "mpeg4", "mjpeg", "ffv1", "gif", "apng", "prores", "y4m"],
)
def test_damage_is_an_error_or_a_note_and_never_a_silent_loss(name: str, kind: str, tmp_path: Path) -> None:
    source = corpus("pixels yuv420p" if name == "ffv1" else name)
    count = len(look(source).ticks)
    for seed in range(3):
        broken = damaged(source, tmp_path / f"{seed}{source.suffix}", kind, seed)
        target = tmp_path / f"{seed} out.mkv"
        try:
            report = unchanged(broken, target, codec="ffv1")
        except VdeblurError as exc:
            said = str(exc)
        else:
            said = ""
        if said:
            assert "\n" not in said
            assert not target.exists()
            continue
        assert report.frames == len(look(target).ticks)
        assert report.frames >= count or report.skipped_packets or report.notes
