"""Times that are no times: AVI's places, repeated ones, ones too fine for the container."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from support.media.clips import ffmpeg
from support.media.clock.joined import marks, shown
from support.media.writing import copy
from vdeblur.frames import Frame
from vdeblur.pipeline.deblur_video import EncodeOptions, deblur_video
from vdeblur.video.source.reader import Reader
from vdeblur.video.source.timestamps import TimestampRepair

PICTURES = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25")
MARKED = (
    "-f", "lavfi", "-i", "color=black:size=64x48:rate=25,drawbox=t=fill:color=white:enable='between(t,0.39,0.5)'",
    "-f", "lavfi", "-i", "sine=1000:sample_rate=48000,volume='between(t,0.4,0.5)':eval=frame",
)  # fmt: skip
AVI = {
    "h264": "-c:v libx264 -bf 3 -pix_fmt yuv420p",
    "h264 open": "-c:v libx264 -bf 3 -pix_fmt yuv420p -x264-params open-gop=1:keyint=8:scenecut=0",
    "h264 no pyramid": "-c:v libx264 -bf 2 -pix_fmt yuv420p -x264-params b-pyramid=none",
    "mpeg4": "-c:v mpeg4 -bf 2",
    "mpeg4 closed": "-c:v mpeg4 -bf 1 -flags +cgop -sc_threshold 1000000000 -g 6",
}


@pytest.mark.parametrize("kind", AVI)
def test_frames_of_avi_are_even_and_in_sync(kind: str, tmp_path: Path) -> None:
    source = tmp_path / "in.avi"
    ffmpeg(*MARKED, "-t", "1.2", *AVI[kind].split(), "-threads", "1", "-c:a", "pcm_s16le", str(source))
    for ending in ("mkv", "mp4", "avi") if kind in ("h264", "mpeg4") else ("mkv",):
        out = tmp_path / f"out.{ending}"
        copy(source, out, ffmpeg_args=("-c:a", "flac") if ending == "mp4" else ())
        times = shown(out)
        assert len(times) == 30
        assert np.diff(times) == pytest.approx([0.04] * 29, abs=0.002)
        [flash], [beep] = marks(out)
        assert abs(flash - beep) < 0.02
    with Reader(source, start_seconds=0.4) as late, Reader(source) as whole:
        assert [frame.pts for frame in late] == [frame.pts for frame in whole][10:]


def vop(data: bytes) -> str:
    """The kind of an MPEG-4 picture (ISO/IEC 14496-2)."""
    return "IPBS"[data[data.find(b"\0\0\1\xb6") + 4] >> 6]


def test_packed_b_frames(tmp_path: Path) -> None:
    """As DivX wrote them: a picture and the one shown before it in one packet, then an empty one."""
    plain, packed = tmp_path / "plain.avi", tmp_path / "packed.avi"
    ffmpeg(*PICTURES, "-t", "1", "-c:v", "mpeg4", "-bf", "1", "-b_strategy", "0", "-threads", "1", str(plain))
    with av.open(str(plain)) as source, av.open(str(packed), "w") as target:
        video = source.streams.video[0]
        data = [bytes(packet) for packet in source.demux(video) if packet.size]
        stream, place, packets = target.add_stream_from_template(video), 0, list[bytes]()
        while place < len(data):
            pair = place + 1 < len(data) and vop(data[place]) != "B" and vop(data[place + 1]) == "B"
            packets += [data[place] + data[place + 1], b"\0\0\1\xb6\x50\0\0"] if pair else [data[place]]
            place += 2 if pair else 1
        head = packets[0].find(b"\0\0\1\xb6")
        packets[0] = packets[0][:head] + b"\0\0\1\xb2DivX503b1393p\0" + packets[0][head:]
        for number, content in enumerate(packets):
            packet = av.Packet(content)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 25)
            packet.is_keyframe = vop(content) == "I"
            target.mux(packet)
    with Reader(packed) as reader:
        assert np.diff([frame.pts for frame in reader]).tolist() == [1] * 24
        assert not any("mended" in note for note in reader.notes)


def repeated(path: Path, *, ticks: int = 90_000) -> Path:
    """An MP4 in which frames 9, 10 and 11 are shown at one instant."""
    plain = path.with_name("plain.mp4")
    ffmpeg(*PICTURES, "-t", "1", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-pix_fmt", "yuv420p",
           "-video_track_timescale", str(ticks), str(plain))  # fmt: skip
    with av.open(str(plain)) as source, av.open(str(path), "w") as target:
        stream, step = target.add_stream_from_template(source.streams.video[0]), ticks // 25
        for number, packet in enumerate(packet for packet in source.demux(video=0) if packet.dts is not None):
            packet.dts, packet.pts = number * step, ((9 if number in (10, 11) else number) + 2) * step
            packet.stream = stream
            target.mux(packet)
    return path


@pytest.mark.parametrize(
    ("codec", "segments"), [(None, None), (None, 0.0), ("ffv1", None), ("libx265", 0.0), ("mpeg4", 0.0)]
)
def test_repeated_times_into_matroska(codec: str | None, segments: float | None, tmp_path: Path) -> None:
    source, out = repeated(tmp_path / "in.mp4"), tmp_path / "out.mkv"
    report = deblur_video(
        source, out, strength=0, device="cpu", encode=EncodeOptions(codec=codec), segment_seconds=segments
    )
    assert report.frames == 25
    assert np.diff(shown(out)) == pytest.approx([0.04] * 24, abs=0.0011)
    assert any("2 timestamps were missing or did not rise" in note for note in report.notes)


@pytest.mark.parametrize(
    ("ending", "segments"), [("mkv", None), ("mkv", 0.0), ("webm", 0.0), ("flv", None), ("mp4", 0.0)]
)
def test_frames_closer_than_a_millisecond_have_instants_of_their_own(
    ending: str, segments: float | None, tmp_path: Path
) -> None:
    """Good times, too fine for Matroska: twins 0.2 ms apart, as some phones write them."""
    source, out = tmp_path / "in.mp4", tmp_path / f"out.{ending}"
    twins = "settb=1/90000,setpts='3600*floor(N/2)+18*mod(N\\,2)'"
    words = "-t 1 -fps_mode passthrough -enc_time_base 1:90000 -c:v libx264 -preset ultrafast -pix_fmt yuv420p"
    ffmpeg(*PICTURES, "-vf", twins, *words.split(), "-video_track_timescale", "90000", str(source))
    report = deblur_video(source, out, strength=0, device="cpu", segment_seconds=segments)
    times = shown(out)
    assert report.frames == len(times) == len({round(seconds, 5) for seconds in times})
    assert np.diff(times).min() >= (0.0009 if ending != "mp4" else 0.0001)
    assert max(abs(seconds - 0.04 * (place // 2)) for place, seconds in enumerate(times)) < 0.0025


@pytest.mark.parametrize(("codec", "ending"), [("mpeg4", "m4v"), ("libx264", "h264"), ("mpeg2video", "m2v")])
def test_raw_streams_into_matroska(codec: str, ending: str, tmp_path: Path) -> None:
    source, out = tmp_path / f"in.{ending}", tmp_path / "out.mkv"
    ffmpeg(*PICTURES, "-t", "1", "-c:v", codec, "-bf", "2", "-pix_fmt", "yuv420p", "-threads", "1", str(source))
    copy(source, out)
    assert np.diff(shown(out)) == pytest.approx([0.04] * 24, abs=0.0011)


class Given(Frame):
    """What a decoder says of a frame."""

    def __init__(self, pts: int | None) -> None:
        object.__setattr__(self, "pts", pts)
        object.__setattr__(self, "dts", None)
        object.__setattr__(self, "duration", 40)


@pytest.mark.parametrize(
    ("given", "stamped"),
    [
        ([0, 40, 40, 40, 160], [0, 40, 80, 120, 160]),
        ([0, None, None, 120], [0, 40, 80, 120]),
        ([0, 40, 100_000, 120, 160], [0, 40, 80, 120, 160]),
        ([0, 40, 80, 0, 40, 80], [0, 40, 80, 120, 160, 200]),
        ([400, 440, 480, 460, 500, 540], [400, 440, 480, 490, 500, 540]),
        ([0, 40, 5000, 5040], [0, 40, 5000, 5040]),
        ([0, 40, 5000], [0, 40, 5000]),
        ([0, 1, 1, 1, 2, 40], [0, 1, 2, 15, 27, 40]),
        ([None, None, 80], [0, 40, 80]),
    ],
)
def test_frames_between_good_ones_are_spread(given: list[int | None], stamped: list[int]) -> None:
    clock = TimestampRepair(Fraction(1, 1000), Fraction(25))
    assert [tick for _, tick in clock.stamped(map(Given, given))] == stamped


def test_ffmpeg_takes_the_same_frames_for_even(tmp_path: Path) -> None:
    """The program's own reading of the AVI that it has written itself: even, though late."""
    source = tmp_path / "in.avi"
    ffmpeg(*PICTURES, "-t", "1", *AVI["h264"].split(), str(source))
    said = ffmpeg("-i", str(source), "-fps_mode", "passthrough", "-f", "framecrc", "-").decode()
    theirs = [int(line.split(",")[2]) for line in said.splitlines() if not line.startswith("#")]
    with Reader(source) as reader:
        ours = [frame.pts for frame in reader]
    assert np.diff(ours).tolist() == np.diff(theirs).tolist() == [1] * 24
