"""360° and 3D video keeps projection and arrangement, in whatever container has a place for them; else it is said."""

from __future__ import annotations

import json
import random
import struct
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from support.cli_fixtures import Call, call
from support.doubles import Identity
from support.engines import QUICK
from support.media.clips import ffmpeg
from support.media.spatial import (
    CUBEMAP,
    EQUIRECTANGULAR,
    HALF,
    MESH,
    V1,
    XML,
    arrangement,
    box,
    said_of_space,
    spatial_mp4,
)
from support.media.writing import packets, read_all
from vdeblur.pipeline.deblur_video import Report, deblur_video
from vdeblur.video.encode.encoder_options import EncodeOptions
from vdeblur.video.iso_boxes import read_movie
from vdeblur.video.sink.iso_patch import insert_boxes
from vdeblur.video.source.reader import probe
from vdeblur.video.spatial.arrangement import Projection, Spatial, Stereo, projection_of, stereo_of
from vdeblur.video.spatial.lookup import spatial_of
from vdeblur.video.spatial.matroska import projection_element, projection_of_video
from vdeblur.video.spatial.mp4 import spatial_of_track

__all__ = ["call"]

#: Boxes in the sample entry and in the track, and what FFmpeg must say of the result.
KINDS: dict[str, tuple[bytes, bytes, dict[str, str]]] = {
    "turned sphere, top and bottom": (EQUIRECTANGULAR + arrangement(1), b"", {
        "Spherical Mapping": "equirectangular (10.000000/-20.000000/30.000000)", "Stereo 3D": "top and bottom"}),
    "half a sphere, side by side": (HALF + arrangement(2), b"", {
        "Spherical Mapping": "tiled equirectangular", "Stereo 3D": "side by side"}),
    "cubemap": (CUBEMAP, b"", {"Spherical Mapping": "cubemap"}),
    "one eye": (EQUIRECTANGULAR + arrangement(0), b"", {
        "Spherical Mapping": "equirectangular (10.000000/-20.000000/30.000000)", "Stereo 3D": "2D"}),
    "sphere, old form": (b"", V1, {"Spherical Mapping": "equirectangular", "Stereo 3D": "top and bottom"}),
    "flat, side by side": (arrangement(2), b"", {"Stereo 3D": "side by side"}),
}  # fmt: skip


def restored(source: Path, target: Path, **options: Any) -> Report:
    return deblur_video(source, target, model=Identity(), strength=0, **QUICK, **options)


def seen(path: Path) -> dict[str, str]:
    return {name: words for name, words in said_of_space(path).items() if "whole" not in name}


@pytest.mark.parametrize("name", KINDS)
def test_kept_through_every_container(name: str, tmp_path: Path) -> None:
    """From MP4 to QuickTime, to Matroska, and back."""
    in_entry, in_track, words = KINDS[name]
    path = spatial_mp4(tmp_path / "in.mp4", in_entry, in_track)
    assert seen(path) == words
    exact = said_of_space(path)
    for number, suffix in enumerate((".mov", ".mkv", ".mkv", ".mp4", ".webm")):
        target = tmp_path / f"out{number}{suffix}"
        report = restored(path, target)
        assert said_of_space(target) == exact
        assert report.summary == ""
        assert not any("kept" in note or "place" in note for note in report.notes), report.notes
        path = target
    assert len(read_all(path)) == 4


def test_old_form_and_meshes_byte_for_byte(tmp_path: Path) -> None:
    source = spatial_mp4(tmp_path / "in.mp4", MESH + arrangement(4), V1)
    restored(source, tmp_path / "out.mp4")
    movie = read_movie(tmp_path / "out.mp4")
    assert movie is not None
    assert MESH in movie.data
    assert arrangement(4) in movie.data
    assert V1 in movie.data
    restored(source, tmp_path / "out.mkv")
    spatial = probe(tmp_path / "out.mkv").video.spatial
    assert spatial is not None
    assert spatial.projection == Projection("mesh", content=bytes(range(1, 40)))
    assert spatial.stereo == Stereo("side by side", inverted=True)


@pytest.mark.parametrize("codec", ["hevc", "vp9", "av1"])
def test_kept_with_every_codec_in_pieces(codec: str, tmp_path: Path) -> None:
    encoder = {"hevc": "libx265", "vp9": "libvpx-vp9", "av1": "libsvtav1"}[codec]
    source = spatial_mp4(tmp_path / "in.mp4", EQUIRECTANGULAR + arrangement(2), codec=codec)
    for suffix in (".mp4", ".mkv"):
        target = tmp_path / f"out{suffix}"
        restored(source, target, encode=EncodeOptions(codec=encoder), segment_seconds=0)
        assert seen(target) == seen(source)
        assert len(seen(source)) == 2


def test_sound_and_titles_stay_in_their_place(tmp_path: Path) -> None:
    """Boxes in front of the data move all of it; the room for an element is no title."""
    source, sounding = spatial_mp4(tmp_path / "in.mp4", EQUIRECTANGULAR), tmp_path / "sound.mkv"
    tone = "-f lavfi -i sine=frequency=440 -map 0 -map 1 -c:v copy -c:a aac -t 0.16 -metadata:s:v title=Rundum"
    ffmpeg("-i", str(source), *tone.split(), str(sounding))
    assert seen(sounding)
    for suffix in (".mkv", ".mp4"):
        target = tmp_path / f"out{suffix}"
        report = restored(sounding, target)
        assert seen(target) == seen(sounding)
        assert packets(target, 1) == packets(sounding, 1)
        assert probe(target).streams[0].title == "Rundum"
        assert report.summary == "kept: 1 audio"
        assert len(read_all(target)) == 4


@pytest.mark.parametrize("suffix", [".avi", ".ts"])
def test_said_where_there_is_no_place(suffix: str, tmp_path: Path) -> None:
    source = spatial_mp4(tmp_path / "in.mp4", EQUIRECTANGULAR + arrangement(2))
    report = restored(source, tmp_path / f"out{suffix}")
    assert "left out: spherical projection (360° video)" in report.summary
    assert "stereoscopic arrangement (3D video)" in report.summary


def test_a_comparison_is_no_sphere(tmp_path: Path) -> None:
    source = spatial_mp4(tmp_path / "in.mp4", EQUIRECTANGULAR)
    report = restored(source, tmp_path / "out.mp4", compare="side")
    assert seen(tmp_path / "out.mp4") == {}
    assert "left out: spherical projection" in report.summary


def test_fragments_asked_for_are_not_changed(tmp_path: Path) -> None:
    source = spatial_mp4(tmp_path / "in.mp4", EQUIRECTANGULAR)
    words = ("-movflags", "+frag_keyframe+empty_moov")
    report = restored(source, tmp_path / "out.mp4", encode=EncodeOptions(ffmpeg_args=words))
    assert "360° or 3D video" in report.summary
    assert len(read_all(tmp_path / "out.mp4")) == 4


def test_info_tells_it(call: Call, tmp_path: Path) -> None:
    source = spatial_mp4(tmp_path / "in.mp4", EQUIRECTANGULAR + arrangement(4))
    assert "equirectangular (yaw 10°, pitch -20°, roll 30°), side by side, right eye first" in call("info", source).out
    said = json.loads(call("info", source, "--json").out)["video"]["spatial"]
    assert said["projection"]["kind"] == "equirectangular"
    assert bytes.fromhex(said["projection"]["content"]) == bytes(20)


# The parts.


def test_side_data_of_ffmpeg() -> None:
    half = struct.pack("=4i5I", 3, 65536, 0, 0, 0, 0, 0, 0, 0)
    found = projection_of(half)
    assert found is not None
    assert found.pose == (65536, 0, 0)
    assert found.content[12:] == struct.pack(">2I", 0x3FFFFFFF, 0x3FFFFFFF)
    assert projection_of(struct.pack("=4i5I", 5, *(0,) * 8)) is None
    assert projection_of(b"short") is None
    assert stereo_of(struct.pack("=3i", 1, 1, 0)) == Stereo("side by side", inverted=True)
    assert stereo_of(struct.pack("=3i", 1, 0, 1)) is None
    assert stereo_of(struct.pack("=3i", 8, 0, 0)) is None


def test_what_nothing_writes_is_known_as_such(tmp_path: Path) -> None:
    side_data = {"SPHERICAL": bytes((5,)) + bytes(35)}
    assert spatial_of(side_data, None, "mov,mp4", track=1, place=0) == Spatial(foreign=True)
    assert spatial_of({}, tmp_path / "none.mp4", "mov,mp4", track=1, place=0) is None
    path = spatial_mp4(tmp_path / "in.mp4", box(b"vexu", box(b"eyes", box(b"stri", b"\0\0\0\0\3"))))
    report = restored(path, tmp_path / "out.mp4")
    assert "left out: further description of 360° or 3D video" in report.summary


def test_a_projection_of_matroska_is_read_as_it_was_written() -> None:
    projection = Projection("cubemap", (65536, -65536, 1 << 20), bytes(12))
    track = b"\x83\x81\x01" + b"\xe0" + bytes((0x80 | len(projection_element(projection)),))
    track += projection_element(projection)
    entry = b"\xae" + bytes((0x80 | len(track),)) + track
    data = b"\x18\x53\x80\x67\xff" + b"\x16\x54\xae\x6b" + bytes((0x80 | len(entry),)) + entry
    assert projection_of_video(data, 0) == (projection, False)
    assert projection_of_video(data, 1) == (None, False)


def test_parsers_bear_any_bytes(tmp_path: Path) -> None:
    mp4 = spatial_mp4(tmp_path / "in.mp4", EQUIRECTANGULAR + arrangement(1) + MESH, V1)
    restored(mp4, tmp_path / "out.mkv")
    movie = read_movie(mp4)
    assert movie is not None
    assert spatial_of_track(movie.data, 1).xml == XML
    chance, outcomes = random.Random(3), Counter[str]()
    for whole in (movie.data, (tmp_path / "out.mkv").read_bytes()[:3000]):
        for _ in range(300):
            data = bytearray(whole[: chance.randrange(1, len(whole))] if chance.random() < 0.2 else whole)
            for _ in range(chance.choice((1, 3, 30))):
                data[chance.randrange(len(data))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
            found = spatial_of_track(bytes(data), 1), projection_of_video(bytes(data), 0)
            outcomes["found" if found != (Spatial(), (None, False)) else "nothing"] += 1
    assert min(outcomes.values()) > 20, outcomes


def test_every_chunk_is_where_its_offset_says(tmp_path: Path) -> None:
    """Long enough for several chunks of picture and sound in turn."""
    flat = tmp_path / "flat.mp4"
    sources = "-f lavfi -i testsrc2=size=64x32:rate=25 -f lavfi -i sine=frequency=440 -t 2"
    coding = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac -movflags +faststart"
    ffmpeg(*f"{sources} {coding}".split(), str(flat))
    patched = tmp_path / "patched.mp4"
    patched.write_bytes(flat.read_bytes())
    assert insert_boxes(patched, 0, EQUIRECTANGULAR, V1)
    assert patched.stat().st_size == flat.stat().st_size + len(EQUIRECTANGULAR) + len(V1)
    assert [packets(patched, index) for index in (0, 1)] == [packets(flat, index) for index in (0, 1)]
    assert seen(patched)["Spherical Mapping"].startswith("equirectangular")
    assert not insert_boxes(patched, 1, EQUIRECTANGULAR, b"")
    assert all(a < b for a, b in pairwise(frame.pts for frame in read_all(patched)))
