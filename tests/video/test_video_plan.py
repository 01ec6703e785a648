"""The choice of encoders, what they give back, and what is refused before any work."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.media.clips import clip, ffmpeg
from support.media.writing import (
    BT709,
    copy,
    leftovers,
    made_frames,
    made_info,
    read_all,
    same_samples,
    write_all,
    writer_for,
)
from vdeblur.errors import UsageError
from vdeblur.frames import Colour, Frame
from vdeblur.video.encode import trial_encode, video_plan
from vdeblur.video.encode.encoder_options import EncodeOptions, _quality_options, check_quality
from vdeblur.video.encode.encoders import find_encoder
from vdeblur.video.ffmpeg.executable import encoder_details, encoder_opens, has_option
from vdeblur.video.formats.pixel_formats import canonical_format
from vdeblur.video.info import ContentLight, MasteringDisplay
from vdeblur.video.source.reader import probe

HDR_COLOUR = Colour("bt2020nc", "tv", "bt2020", "smpte2084", "topleft")
MASTERING = MasteringDisplay(
    (
        (Fraction(34000, 50000), Fraction(16000, 50000)),
        (Fraction(13250, 50000), Fraction(34500, 50000)),
        (Fraction(7500, 50000), Fraction(3000, 50000)),
    ),
    (Fraction(15635, 50000), Fraction(16450, 50000)),
    Fraction(50, 10000),
    Fraction(1000),
)


def needs(encoder: str) -> None:
    if encoder_details(encoder) is None:
        pytest.skip(f"this FFmpeg has no {encoder}")


# The promise of invariant 3: what goes in comes out.

YUV = [f"yuv{alpha}{sampling}p{depth}" for sampling in ("420", "422", "444") for depth in ("", "10le", "12le")
       for alpha in ("", "a") if (alpha, sampling, depth) != ("a", "420", "12le")]  # fmt: skip


@pytest.mark.parametrize("value_range", ["tv", "pc"])
@pytest.mark.parametrize(
    "name", [*YUV, "yuv440p", "yuv440p10le", "yuv411p", "yuv420p16le", "yuv422p9le", "yuv444p14le"]
)
def test_ffv1_gives_yuv_back(name: str, value_range: str, tmp_path: Path) -> None:
    frames = made_frames(name, [0, 40, 80], colour=replace(BT709, range=value_range))
    writer = write_all(tmp_path / "out.mkv", frames, codec="ffv1")
    assert same_samples(read_all(tmp_path / "out.mkv"), frames)
    video = probe(tmp_path / "out.mkv").video
    assert (video.format, video.colour.range) == (frames[0].format, value_range)
    assert writer.notes == []


@pytest.mark.parametrize(
    "name", ["gray", "gray10le", "gray12le", "gray16le", "gbrp", "gbrp10le", "gbrp12le", "gbrp16le", "gbrap",
             "gbrap10le", "gbrap16le", "ya8"]
)  # fmt: skip
def test_ffv1_gives_grey_and_rgb_back(name: str, tmp_path: Path) -> None:
    frames = made_frames(name, [0, 40, 80], colour=Colour("gbr" if "gb" in name else None, "pc"))
    write_all(tmp_path / "out.mkv", frames, codec="ffv1")
    assert same_samples(read_all(tmp_path / "out.mkv"), frames)


@pytest.mark.parametrize("codec", ["ffvhuff", "huffyuv", "utvideo", "magicyuv"])
@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
def test_other_lossless_encoders_keep_full_range_or_say_so(codec: str, suffix: str, tmp_path: Path) -> None:
    needs(codec)
    frames = made_frames("yuv422p", [0, 40, 80], width=64, height=48, colour=replace(BT709, range="pc"))
    writer = write_all(tmp_path / f"out{suffix}", frames, codec=codec)
    assert same_samples(read_all(tmp_path / f"out{suffix}"), frames)
    kept = probe(tmp_path / f"out{suffix}").video.colour.range == "pc"
    assert kept == (suffix == ".mkv" and codec != "magicyuv")
    assert [note for note in writer.notes if "full range" in note] == ([] if kept else writer.notes[-1:])


@pytest.mark.parametrize("size", [(16, 16), (17, 16), (16, 17), (97, 53)])
def test_ffv1_takes_any_size(size: tuple[int, int], tmp_path: Path) -> None:
    frames = made_frames("yuv420p", [0, 40], width=size[0], height=size[1])
    write_all(tmp_path / "out.mkv", frames, codec="ffv1")
    assert same_samples(read_all(tmp_path / "out.mkv"), frames)


def test_full_range_is_marked_on_the_right_track(tmp_path: Path) -> None:
    """The video stands third, between streams of other kinds and an attachment."""
    source = tmp_path / "source.mkv"
    (tmp_path / "font.ttf").write_bytes(b"font")
    ffmpeg(
        *("-i", str(clip("h264_audio")), "-map", "0:a", "-map", "0:a", "-map", "0:v", "-map", "0:a", "-c:a", "copy"),
        *("-c:v", "ffv1", "-attach", str(tmp_path / "font.ttf"), "-metadata:s:t", "mimetype=font/ttf", str(source)),
    )
    frames = [replace(frame, colour=replace(BT709, range="pc")) for frame in read_all(source)]
    with writer_for(tmp_path / "out.mkv", frames[0], info=probe(source), codec="ffv1") as writer:
        for frame in frames:
            writer.write(frame)
    video = probe(tmp_path / "out.mkv").video
    assert (video.stream_index, video.colour.range) == (2, "pc")
    assert same_samples(read_all(tmp_path / "out.mkv"), frames)


# The default choice.


@pytest.mark.parametrize(
    ("suffix", "name", "size", "encoder", "back"),
    [
        (".mp4", "yuv420p", (64, 48), "libx264", "yuv420p"),
        (".mp4", "yuv422p", (64, 48), "libx264", "yuv422p"),
        (".mp4", "yuv444p", (63, 47), "libx264", "yuv444p"),
        (".mp4", "gray", (64, 48), "libx264", "yuv420p"),
        (".mp4", "yuv420p10le", (64, 48), "libx265", "yuv420p10le"),
        (".mp4", "yuv422p12le", (64, 48), "libx265", "yuv422p12le"),
        (".mp4", "gbrp", (64, 48), "libx264rgb", "gbrp"),
        (".mp4", "yuv420p", (63, 47), "libsvtav1", "yuv420p"),
        (".mp4", "yuv422p10le", (63, 47), "libaom-av1", "yuv422p10le"),
        (".mkv", "gray16le", (63, 47), "ffv1", "gray16le"),
        (".mkv", "yuva420p", (64, 48), "ffv1", "yuva420p"),
        (".mov", "gbrap", (64, 48), "png", "gbrap"),
        (".mov", "yuva444p10le", (64, 48), "prores_ks", "yuva444p12le"),
        (".webm", "yuv420p", (63, 47), "libvpx-vp9", "yuv420p"),
        (".webm", "yuva420p", (64, 48), "libvpx-vp9", "yuva420p"),
        (".avi", "yuv420p", (64, 48), "mpeg4", "yuv420p"),
        (".nut", "gbrp12le", (63, 47), "rawvideo", "gbrp12le"),
        (".y4m", "yuv422p10le", (63, 47), "wrapped_avframe", "yuv422p10le"),
    ],
)  # fmt: skip
def test_the_first_encoder_that_holds_the_frames(
    suffix: str, name: str, size: tuple[int, int], encoder: str, back: str, tmp_path: Path
) -> None:
    needs(encoder)
    colour = Colour("gbr", "pc") if name.startswith("gb") else BT709
    frames = made_frames(name, [0, 40, 80], width=size[0], height=size[1], colour=colour, flat=True)
    writer = write_all(tmp_path / f"out{suffix}", frames)
    video = probe(tmp_path / f"out{suffix}").video
    assert writer._plan.video.encoder.name == encoder
    assert (video.width, video.height, video.format.name) == (*size, back)
    for frame, other in zip(read_all(tmp_path / f"out{suffix}"), frames, strict=True):
        if frame.format == other.format:
            errors = [
                np.abs(a.astype(int) - b.astype(int)).max() for a, b in zip(frame.planes, other.planes, strict=True)
            ]
            assert max(errors) <= other.format.peak / 60


def test_alpha_in_webm_is_really_there(tmp_path: Path) -> None:
    frames = made_frames("yuva420p", [0, 40], width=64, height=48, flat=True)
    write_all(tmp_path / "out.webm", frames)
    decoded = ffmpeg(
        "-c:v", "libvpx-vp9", "-i", str(tmp_path / "out.webm"), "-pix_fmt", "yuva420p", "-f", "rawvideo", "-"
    )
    alpha = np.frombuffer(decoded, np.uint8)[64 * 48 * 3 // 2 :][: 64 * 48]
    assert np.abs(alpha.astype(int) - int(frames[0].planes[3][0, 0])).max() <= 3


def test_an_encoder_that_crops_is_not_taken(tmp_path: Path) -> None:
    """OpenH264 makes 63 × 47 pictures 62 × 46 and says nothing."""
    needs("libopenh264")
    frames = made_frames("yuv420p", [0], width=63, height=47)
    with pytest.raises(UsageError, match="makes the picture 62×46 instead of 63×47"):
        write_all(tmp_path / "out.mp4", frames, codec="libopenh264")


@pytest.mark.parametrize(
    ("codec", "suffix", "name"),
    [
        ("h264", ".mp4", "yuv420p"), ("h264", ".mkv", "yuv420p10le"), ("hevc", ".mp4", "yuv420p10le"),
        ("h265", ".mov", "yuv420p"), ("av1", ".mp4", "yuv420p10le"), ("av1", ".webm", "yuv420p"),
        ("vp9", ".webm", "yuv420p10le"), ("vp9", ".mkv", "yuv444p"), ("ffv1", ".mkv", "yuv420p10le"),
        ("prores", ".mov", "yuv422p10le"), ("libaom-av1", ".mkv", "yuv422p"),
    ],
)  # fmt: skip
def test_colour_tags_and_hdr_survive_in_every_codec(codec: str, suffix: str, name: str, tmp_path: Path) -> None:
    [frame] = made_frames(name, [0], width=64, height=48, colour=HDR_COLOUR, flat=True)
    info = made_info(frame.format, frame.colour, 64, 48, frame.time_base)
    light = ContentLight(1000, 400)
    video = replace(info.video, mastering_display=MASTERING, content_light=light, rotation_degrees=90,
                    sample_aspect_ratio=Fraction(16, 11))  # fmt: skip
    with writer_for(tmp_path / f"out{suffix}", frame, info=replace(info, video=video), codec=codec) as writer:
        writer.write(frame)
    after = probe(tmp_path / f"out{suffix}").video
    lost = " ".join(note for note in writer.notes if "does not keep" in note)
    if has_option("mastering_display") or codec in ("hevc", "h265"):
        assert close(after.mastering_display, MASTERING)
        assert after.content_light == light
    else:
        assert "mastering display, content light level" in lost
    assert after.rotation_degrees == 90
    told = "420" in name and "chroma location" not in lost
    place = HDR_COLOUR.chroma_location if told else after.colour.chroma_location
    assert after.colour == replace(HDR_COLOUR, chroma_location=place)
    if suffix == ".webm":
        # WebM has whole pixels for the shown size.
        assert after.sample_aspect_ratio == pytest.approx(Fraction(16, 11), rel=0.01)
        assert "pixel aspect ratio" in lost
    else:
        assert after.sample_aspect_ratio == Fraction(16, 11)
        assert "ratio" not in lost
    assert not any(word in lost for word in ("colour", "transfer", "range", "rotation", "times"))
    assert "chroma" not in lost or not has_option("mastering_display")


@pytest.mark.parametrize("colour", [Colour(), Colour("smpte170m", "tv", "smpte170m", "smpte170m"),
                                    Colour("bt470bg", "pc", "bt470m", "bt470bg"), Colour("bt709", "pc")])  # fmt: skip
def test_samples_are_never_converted_for_a_tag(colour: Colour, tmp_path: Path) -> None:
    frames = made_frames("yuv420p", [0, 40], width=64, height=48, colour=colour, flat=True)
    for codec, suffix in (("h264", ".mp4"), ("hevc", ".mkv"), ("av1", ".mp4"), ("vp9", ".webm")):
        write_all(tmp_path / f"{codec}{suffix}", frames, codec=codec)
        for frame, other in zip(read_all(tmp_path / f"{codec}{suffix}"), frames, strict=True):
            assert all(
                abs(float(a.mean()) - float(b.mean())) < 1 for a, b in zip(frame.planes, other.planes, strict=True)
            )
            assert colour.range in (None, frame.colour.range)
            assert colour.matrix in (None, frame.colour.matrix)


def test_hdr_without_the_options_of_ffmpeg_9(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Older programs are told through the encoder's own parameters."""
    monkeypatch.setattr(trial_encode, "_try", trial_encode._try.__wrapped__)  # what is remembered is of the real one
    monkeypatch.setattr("vdeblur.video.encode.raw_video.has_option", lambda name: False)
    monkeypatch.setattr("vdeblur.video.encode.encoder_options.has_option", lambda name: False)
    [frame] = made_frames("yuv420p10le", [0], width=64, height=48, colour=HDR_COLOUR, flat=True)
    info = made_info(frame.format, frame.colour, 64, 48, frame.time_base)
    video = replace(info.video, mastering_display=MASTERING, content_light=ContentLight(1000, 400))
    notes = {}
    in_words = ("hevc", "av1") if encoder_details("libsvtav1") else ("hevc",)
    for codec in (*in_words, "ffv1"):
        with writer_for(tmp_path / f"{codec}.mkv", frame, info=replace(info, video=video), codec=codec) as writer:
            writer.write(frame)
        notes[codec] = writer.notes
    for codec in in_words:
        after = probe(tmp_path / f"{codec}.mkv").video
        assert close(after.mastering_display, MASTERING)
        assert after.content_light == ContentLight(1000, 400)
        assert notes[codec] == []
    assert notes["ffv1"] == ["ffv1 in Matroska does not keep: mastering display, content light level"]


# Pictures of their own kind.


def colours(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def close(one: MasteringDisplay | None, other: MasteringDisplay) -> bool:
    """Equal but for the sixteen bits AV1 has for each number."""
    if one is None or one.primaries is None or one.white_point is None:
        return False
    pairs = [*zip((*one.primaries, one.white_point), (*other.primaries, other.white_point), strict=True)]  # type: ignore[misc]
    points = all(abs(a - b) < Fraction(1, 50000) for mine, theirs in pairs for a, b in zip(mine, theirs, strict=True))
    return (
        points
        and abs(one.min_luminance - other.min_luminance) < Fraction(1, 10000)
        and (  # type: ignore[operator]
            one.max_luminance == other.max_luminance
        )
    )


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".gif", ".bmp"])
@pytest.mark.parametrize("matrix", ["bt709", None])
def test_pictures_have_the_colours_of_the_video(suffix: str, matrix: str | None, tmp_path: Path) -> None:
    """An orange of limited-range YUV: BT.709 by its tag, BT.601 by its size when there is none."""
    y, cb, cr = {"bt709": (109, 88, 169), None: (102, 81, 184)}[matrix]
    planes = tuple(np.full(shape, value, np.uint8) for shape, value in (((48, 64), y), ((24, 32), cb), ((24, 32), cr)))
    colour = Colour(matrix, "tv")
    frame = Frame(planes, canonical_format("yuv420p"), colour, 0, Fraction(1, 25))
    write_all(tmp_path / f"out{suffix}", [frame])
    wanted = {"bt709": (183, 95, 23), None: (190, 80, 5)}[matrix]
    assert np.abs(colours(tmp_path / f"out{suffix}") - wanted).max() <= 8


def test_deep_video_makes_deep_pictures(tmp_path: Path) -> None:
    frames = made_frames("yuv444p10le", [0], colour=Colour("bt709", "tv"))
    write_all(tmp_path / "out.png", frames)
    assert read_all(tmp_path / "out.png")[0].format.name == "gbrp16le"


def test_pictures_with_alpha(tmp_path: Path) -> None:
    frames = made_frames("gbrap", [0], colour=Colour("gbr", "pc"))
    frames[0].planes[3][...] |= 1
    for suffix in (".png", ".tif", ".webp"):
        writer = write_all(tmp_path / f"out{suffix}", frames)
        assert writer.notes == (["WebP does not keep the colours of wholly transparent pixels"] * (suffix == ".webp"))
        assert same_samples(read_all(tmp_path / f"out{suffix}"), frames)
    with pytest.raises(UsageError, match=r"write to \.mkv or \.mov, or give alpha up with pixel_format='yuv420p'"):
        write_all(tmp_path / "out.jpg", frames)


# What was asked for.


def test_options_reach_the_encoder(tmp_path: Path) -> None:
    sizes = {}
    for crf in (10, 40):
        copy(clip("h264"), tmp_path / f"{crf}.mp4", crf=crf, preset="veryfast", limit=10)
        sizes[crf] = (tmp_path / f"{crf}.mp4").stat().st_size
    assert sizes[10] > 2 * sizes[40]
    copy(clip("h264"), tmp_path / "bframes.mp4", ffmpeg_args=("-x264-params", "bframes=0:keyint=3"), limit=10)
    text = ffmpeg("-i", str(tmp_path / "bframes.mp4"), "-c", "copy", "-f", "framecrc", "-").decode()
    lines = [line.split(",") for line in text.splitlines() if not line.startswith("#")]
    assert all(line[1] == line[2] for line in lines)
    writer = copy(clip("h264"), tmp_path / "deep.mp4", pixel_format="yuv422p10le", limit=3)
    assert probe(tmp_path / "deep.mp4").video.pixel_format == "yuv422p10le"
    assert "yuv420p frames are converted to yuv422p10le" in writer.notes


def test_a_codec_asked_for_may_convert(tmp_path: Path) -> None:
    frames = made_frames("yuv444p12le", [0], width=64, height=48)
    writer = write_all(tmp_path / "out.mp4", frames, codec="h264")
    assert writer.notes == ["yuv444p12le frames are converted to yuv444p10le"]
    assert probe(tmp_path / "out.mp4").video.pixel_format == "yuv444p10le"


def test_sound_may_be_converted_by_the_users_own_words(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"WebM cannot hold audio 1 \(aac\); .*ffmpeg_args=\('-c:a', 'libopus'\)"):
        copy(clip("h264_audio"), tmp_path / "out.webm")
    copy(clip("h264_audio"), tmp_path / "out.webm", ffmpeg_args=("-c:a", "libopus"), limit=5)
    assert [stream.codec for stream in probe(tmp_path / "out.webm").streams] == ["vp9", "opus"]


@pytest.mark.parametrize(
    ("suffix", "options", "words"),
    [
        (".mp4", {"codec": "h265x"}, "no video encoder 'h265x'; did you mean 'h265'"),
        (".mp4", {"codec": "zzzz"}, "no video encoder 'zzzz'; for example h264"),
        (".mp4", {"codec": "aac"}, "no video encoder 'aac'"),
        (".webm", {"codec": "h264"}, "cannot encode .* with codec 'h264' into WebM: .*; for WebM choose one of libvpx"),
        (".mp4", {"crf": 52}, "crf 52 is out of range for libx264; it takes 0 to 51"),
        (".mp4", {"crf": -1}, "crf -1 is out of range"),
        (".mp4", {"preset": "quick"}, "libx264 has no preset 'quick'; choose one of ultrafast, .*placebo"),
        (".mkv", {"codec": "ffv1", "crf": 20}, "ffv1 is lossless and takes no crf"),
        (".mkv", {"codec": "ffv1", "preset": "slow"}, "ffv1 has no presets"),
        (".mp4", {"codec": "av1", "preset": "slow"}, "lib.*av1 has no preset 'slow'; choose one of 0, 1"),
        (".mp4", {"pixel_format": "yuv999p"}, "no pixel format 'yuv999p'"),
        (".mp4", {"codec": "h264", "pixel_format": "yuv440p"}, "cannot encode"),
        (".mp4", {"ffmpeg_args": ("-nonsense", "1")}, "cannot encode .*Unrecognized option 'nonsense'"),
        (".mp4", {"ffmpeg_args": ("-b:v",)}, "cannot encode"),
        (".mp4", {"container": "nothing"}, "no container for 'nothing'"),
        (".mp4", {"drop": ("sound",)}, "drop='sound' is no kind or index"),
        (".mp4", {"drop": ("0",)}, "drop='0' is no kind or index"),
        (".mpx", {}, r"no container for 'out\.mpx'; did you mean \.mp"),
        ("", {}, "no container for 'out'; known endings: mp4"),
        (".wav", {}, "cannot encode .* into WAV"),
        (".yuv", {}, r"no container for 'out\.yuv': bare samples say no size and no times; use y4m or nut"),
        (".rgb", {}, r"no container for 'out\.rgb': bare samples"),
        (".mkv", {"container": "rawvideo"}, "no container for 'rawvideo': bare samples"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_before_work(
    suffix: str, options: dict[str, object], words: str, tmp_path: Path
) -> None:
    target = tmp_path / f"out{suffix}"
    with pytest.raises(UsageError, match=words) as caught:
        copy(clip("h264_audio"), target, **options)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_alpha_is_never_given_up_silently(tmp_path: Path) -> None:
    frames = made_frames("yuva420p", [0], width=64, height=48)
    for codec in (None, "h264", "av1"):
        with pytest.raises(UsageError, match="give alpha up with pixel_format='yuv420p'"):
            write_all(tmp_path / "out.mp4", frames, codec=codec)
    writer = write_all(tmp_path / "out.mp4", frames, pixel_format="yuv420p")
    assert writer.notes == ["yuva420p frames are converted to yuv420p"]
    assert leftovers(tmp_path) == []


def test_nvenc_is_used_only_where_it_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if encoder_opens("h264_nvenc", "yuv420p"):
        writer = copy(clip("h264"), tmp_path / "out.mp4", codec="auto-gpu", limit=3)
        assert writer._plan.video.encoder.name == "h264_nvenc"
        return
    writer = copy(clip("h264"), tmp_path / "out.mp4", codec="auto-gpu", limit=3)
    assert writer._plan.video.encoder.name == "libx264"
    with pytest.raises(UsageError, match="NVENC does not open on this machine; 'auto-gpu' uses it where it does"):
        copy(clip("h264"), tmp_path / "gpu.mp4", codec="nvenc")
    needs("h264_nvenc")
    with pytest.raises(UsageError, match=r"cannot encode .* with codec 'h264_nvenc'"):
        copy(clip("h264"), tmp_path / "gpu.mp4", codec="h264_nvenc")
    monkeypatch.setattr(video_plan, "_nvenc_that_opens", lambda: ("h264_nvenc",))
    writer = copy(clip("h264"), tmp_path / "tried.mp4", codec="auto-gpu", limit=3)
    assert writer._plan.video.encoder.name == "libx264"
    assert any("encoded with libx264, for h264_nvenc refuses" in note for note in writer.notes)


def test_nvenc_settings() -> None:
    """Its words for quality and speed, whether or not it opens here."""
    chosen = _quality_options(find_encoder("hevc_nvenc"), EncodeOptions(crf=21, preset="p7"))
    assert chosen == {"cq": "21", "preset": "p7"}
    with pytest.raises(UsageError, match="hevc_nvenc has no preset 'veryslow'; choose one of p1, p2"):
        check_quality(find_encoder("hevc_nvenc"), EncodeOptions(preset="veryslow"))


def test_a_trial_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = made_frames("yuv420p", [0], width=66, height=50)
    write_all(io.BytesIO(), frames, container="mkv", codec="ffv1")

    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("tried again")

    monkeypatch.setattr("vdeblur.video.encode.trial_encode.run_ffmpeg", never)
    write_all(io.BytesIO(), frames, container="mkv", codec="ffv1")
    with pytest.raises(AssertionError, match="tried again"):
        write_all(io.BytesIO(), frames, container="mkv", codec="h264")


def test_a_trial_that_a_signal_ended_is_made_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A kill or a full memory says nothing of the encoder, whatever was asked before."""
    trial_encode._try.cache_clear()
    [frame] = made_frames("yuv420p", [0], width=64, height=48, flat=True)
    real = trial_encode.run_ffmpeg
    killed = replace(real(["-version"]), returncode=-9, reason="FFmpeg was ended by SIGKILL")
    monkeypatch.setattr(trial_encode, "run_ffmpeg", lambda *words, **more: killed)
    with pytest.raises(UsageError, match="SIGKILL"):
        writer_for(tmp_path / "a.mkv", frame)
    monkeypatch.setattr(trial_encode, "run_ffmpeg", real)
    with writer_for(tmp_path / "a.mkv", frame) as writer:
        writer.write(frame)
    assert probe(tmp_path / "a.mkv").video.width == 64
