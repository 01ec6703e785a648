"""Nothing but the input is opened: no playlist, no crafted container and no strange name leads elsewhere."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from support.cli_fixtures import Call, call, media, tiny_model
from support.media.clips import clip, ffmpeg
from support.media.writing import copy, read_all
from support.paths import PACKAGE
from vdeblur.errors import SourceError, UsageError, VdeblurError
from vdeblur.pipeline.deblur_video import deblur_video
from vdeblur.video.ffmpeg.process import FFmpegProcess
from vdeblur.video.source.access import playlist_in
from vdeblur.video.source.reader import Reader, probe

__all__ = ["call", "media", "tiny_model"]

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows forbids these names")


@contextmanager
def server_of(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A web server for a folder: its address, and what it has been asked for."""
    asked: list[str] = []

    class Recording(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        do_HEAD = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Recording, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def hls(segment: str) -> str:
    return f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.6,\n{segment}\n#EXT-X-ENDLIST\n"


def dash(address: str) -> str:
    return (
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1.6S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" '
        f'bandwidth="1000"><BaseURL>{address}</BaseURL><SegmentList duration="2"><SegmentURL media="{address}"/>'
        "</SegmentList></Representation></AdaptationSet></Period></MPD>\n"
    )


SDP = (
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 50004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
)
#: Files that name another one: what is written, for an address.
PLAYLISTS = {
    "list.m3u8": hls,
    "list.ffconcat": lambda address: f"ffconcat version 1.0\nfile '{address}'\nduration 1\n",
    "unsafe.ffconcat": lambda address: f"ffconcat version 1.0\noption safe 0\nfile '{address}'\n",
    "list.mpd": dash,
    "stream.sdp": lambda address: SDP,
    "list.smil": lambda address: f'<smil><body><video src="{address}"/></body></smil>\n',
    "list.asx": lambda address: f'<asx version="3.0"><entry><ref href="{address}"/></entry></asx>\n',
    "list.pls": lambda address: f"[playlist]\nFile1={address}\nNumberOfEntries=1\n",
}


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    """A secret of this machine that a player would play."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    return Path(shutil.copy(clip("h264_ts", frames=5), folder / "secret.ts"))


@pytest.mark.parametrize("name", PLAYLISTS)
@pytest.mark.parametrize("ending", ["", ".mp4", ".png"])
def test_a_playlist_opens_no_local_file_and_asks_no_server(
    name: str, ending: str, segment: Path, tmp_path: Path
) -> None:
    with server_of(segment.parent) as (address, asked):
        for where in (str(segment), f"file:{segment}", segment.name, f"{address}/{segment.name}"):
            path = (segment.parent if where == segment.name else tmp_path) / (name + ending)
            path.write_text(PLAYLISTS[name](where), encoding="utf-8")
            with path.open("rb") as file:
                for source in (path, str(path), file):
                    for allowed in (False, True):
                        with pytest.raises(SourceError) as caught:
                            Reader(source, allow_network=allowed)
                        assert "\n" not in str(caught.value)
        assert asked == []


def test_playlists_are_named(tmp_path: Path) -> None:
    path = tmp_path / "list.m3u8"
    path.write_text(hls("segment.ts"))
    with pytest.raises(
        SourceError, match=r"list\.m3u8 is an HLS playlist; it only names other files, and vdeblur opens"
    ):
        Reader(path)
    named = {name: playlist_in(make("x").encode()) for name, make in PLAYLISTS.items()}
    assert None not in named.values(), named
    assert playlist_in(b"\xef\xbb\xbf#EXTM3U\n") == "an HLS playlist"
    for honest in ("h264", "y4m", "photo_png", "h264_raw"):
        assert playlist_in(clip(honest).read_bytes()[:1024]) is None


def test_pictures_that_are_playlists(segment: Path, tmp_path: Path) -> None:
    """A folder of "pictures" goes through another door."""
    for number in range(3):
        (tmp_path / f"frame_{number}.png").write_text(PLAYLISTS["list.ffconcat"](str(segment)))
    with pytest.raises(SourceError, match="is no picture FFmpeg can read"):
        Reader(tmp_path / "frame_%d.png")


def external_mov(folder: Path, other: str) -> Path:
    """QuickTime whose video data lie in another file: the data reference is an alias record with its name."""
    data = bytearray(clip("prores", frames=2).read_bytes())
    place = data.index(b"dref")
    entry = data.index(b"alis" if b"alis" in data[place : place + 40] else b"url ", place)
    name = other.encode()
    volume = b"x".ljust(28, b"\0")
    record = (
        bytes(10) + b"\1" + volume[1:28] + bytes(4) + bytes(2) + bytes([len(name[-60:])]) + name[-60:].ljust(63, b"\0")
    )
    record = record.ljust(150, b"\0") + (2).to_bytes(2, "big") + len(name).to_bytes(2, "big") + name
    record += b"\0" * (len(name) % 2) + b"\xff\xff\0\0"
    old = int.from_bytes(data[entry - 4 : entry], "big")
    new = (len(record) + 12).to_bytes(4, "big") + b"alis" + bytes(4) + record
    data[entry - 4 : entry - 4 + old] = new
    grown = len(new) - old
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        at = data.rindex(box, 0, entry) - 4
        data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") + grown).to_bytes(4, "big")
    path = folder / "external.mov"
    path.write_bytes(data)
    return path


def test_quicktime_that_keeps_its_data_elsewhere(segment: Path, tmp_path: Path) -> None:
    with server_of(segment.parent) as (address, asked):
        for other in (str(segment), f"{address}/secret.ts", "secrets/secret.ts"):
            crafted = external_mov(tmp_path, other)
            try:
                frames = read_all(crafted)
            except SourceError:
                continue
            assert [frame.width for frame in frames] == [160] * len(frames), "its own data, or none"
        assert asked == []


def test_matroska_that_links_to_a_neighbour(tmp_path: Path) -> None:
    """Segment linking: the file says which one follows. Only its own frames are read."""
    first = tmp_path / "first.mkv"
    ffmpeg("-i", str(clip("h264", frames=5)), "-c", "copy", str(first))
    data = first.read_bytes()
    shutil.copy(first, tmp_path / "second.mkv")
    place = data.index(b"\x73\xa4\x90")  # the segment's own name becomes that of the next, a byte shorter
    linked = data[:place] + b"\x3e\xb9\x23\x8f" + data[place + 3 : place + 18] + data[place + 19 :]
    first.write_bytes(linked[: place + 19] + data[place + 19 :])
    assert len(read_all(first)) == 5


ADDRESSES = [
    "http://{host}/secret.ts", "https://127.0.0.1:1/x.mp4", "rtsp://127.0.0.1:1/x", "udp://127.0.0.1:1", "tcp://127.0.0.1:1",
    "HTTP://{host}/secret.ts",
]  # fmt: skip
PROTOCOLS = [
    "concat:{path}|{path}", "concatf:{path}", "subfile,,start,0,end,0,,:{path}", "crypto:{path}", "cache:{path}",
    "async:{path}", "data:video/mp4;base64,AAAA", "lavfi:testsrc", "gopher://127.0.0.1:1/x", "md5:{path}", "fd:0",
    "ipfs://x", "unix:{path}", "pipe:7", "crypto+http://{host}/secret.ts", "cache:http://{host}/secret.ts",
    "async+file:{path}", "hls+http://{host}/list.m3u8",
]  # fmt: skip


@pytest.mark.parametrize("name", ADDRESSES)
def test_an_address_needs_leave(name: str, segment: Path) -> None:
    with server_of(segment.parent) as (address, asked):
        source = name.format(host=address.removeprefix("http://"))
        with pytest.raises(
            UsageError, match=r"is on the network; allow that with allow_network=True \(--allow-network\)"
        ):
            Reader(source)
        assert asked == []


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_other_protocols_are_never_opened(name: str, allowed: bool, segment: Path) -> None:
    with server_of(segment.parent) as (address, asked):
        source = name.format(host=address.removeprefix("http://"), path=segment)
        with pytest.raises(UsageError, match="no such file"):
            Reader(source, allow_network=allowed)
        assert asked == []


@POSIX
@pytest.mark.parametrize("allowed", [False, True])
def test_a_file_named_like_an_address_is_a_file(allowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (
        "concat:a|b.mkv",
        "http:x.mkv",
        "data:,x.mkv",
        "subfile,,start,1,,:x.mkv",
        "crypto:x.mkv",
        "pipe:0.mkv",
    ):
        shutil.copy(clip("cover"), name)
        with Reader(name, allow_network=allowed) as reader:
            assert reader.info.input_url == f"file:{tmp_path}/{name}"
            assert len(list(reader)) == 40
        # Covers, copies and trials open it again.
        assert len(read_all(copy(name, f"{name}.out.mkv", limit=3) and f"{name}.out.mkv")) == 3


@POSIX
def test_a_file_address_is_a_file(tmp_path: Path) -> None:
    path = shutil.copy(clip("h264", frames=3), tmp_path / "a b.mp4")
    assert probe(f"file:{path}").path == Path(path)
    with pytest.raises(UsageError, match="no such file"):
        Reader("file:/no/such.mp4")


def test_an_allowed_address_works_to_the_end(tmp_path: Path) -> None:
    """Frames and sound of a real server's file."""
    source = clip("h264_audio", frames=5)
    with server_of(source.parent) as (address, asked):
        report = deblur_video(
            f"{address}/{source.name}", tmp_path / "out.mp4", strength=0, device="cpu", allow_network=True
        )
    assert report.frames == 5
    assert asked
    assert [stream.kind for stream in probe(tmp_path / "out.mp4").streams] == ["video", "audio"]


@pytest.mark.parametrize("name", ["list.m3u8", "list.ffconcat", "unsafe.ffconcat", "list.mpd"])
def test_a_playlist_from_the_network_reads_no_local_file(name: str, segment: Path, tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    for where in (
        str(segment),
        f"file:{segment}",
        f"file://{segment}",
        f"concat:{segment}",
        f"subfile,,start,0,end,0,,:{segment}",
    ):
        (served / name).write_text(PLAYLISTS[name](where))
        with server_of(served) as (address, asked), pytest.raises(SourceError):
            Reader(f"{address}/{name}", allow_network=True)
        assert asked


def test_a_playlist_from_the_network_plays_what_lies_there(segment: Path) -> None:
    (segment.parent / "list.m3u8").write_text(hls(segment.name))
    with server_of(segment.parent) as (address, _), Reader(f"{address}/list.m3u8", allow_network=True) as reader:
        assert len(list(reader)) == 5


def test_every_ffmpeg_that_opens_the_source_is_held_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials, copies of sound and pictures: whatever names an input says what may be opened."""
    commands: list[list[str]] = []
    start = FFmpegProcess.__init__

    def recording(self: FFmpegProcess, command: Any, **options: Any) -> None:
        commands.append(list(command))
        start(self, command, **options)

    monkeypatch.setattr(FFmpegProcess, "__init__", recording)
    copy(clip("everything"), tmp_path / "out.mkv", limit=2)
    copy(clip("cover"), tmp_path / "out.mp4", limit=2)
    numbered = tmp_path / "in_%d.png"
    ffmpeg("-i", str(clip("h264", frames=3)), str(numbered))
    copy(str(numbered), tmp_path / "pictures.mkv")
    with server_of(clip("h264").parent) as (address, _), pytest.raises(VdeblurError):
        deblur_video(f"{address}/missing.mp4", tmp_path / "net.mkv", strength=0, device="cpu", allow_network=True)
    inputs = 0
    for command in commands:
        since = 0
        for place in (index for index, word in enumerate(command) if word == "-i"):
            words, url = command[since:place], command[place + 1]
            since = place + 2
            if url == "pipe:0":
                continue
            inputs += 1
            assert url.startswith("file:"), command
            assert words[words.index("-protocol_whitelist") + 1] == "file", command
            assert "concat" not in words[words.index("-format_whitelist") + 1].split(","), command
    assert inputs >= 5


def test_the_command_asks_for_leave(call: Call, tiny_model: Path, tmp_path: Path, segment: Path) -> None:
    with server_of(segment.parent) as (address, asked):
        arguments = (
            f"{address}/secret.ts",
            "-o",
            tmp_path / "out.mkv",
            "--model",
            tiny_model,
            "--strength",
            0,
            "--device",
            "cpu",
        )
        refused = call(*arguments)
        assert refused.code == 2
        assert refused.errors == refused.err.splitlines()
        assert "--allow-network" in refused.err
        assert call("info", f"{address}/secret.ts").code == 2
        assert asked == []
        assert call(*arguments, "--allow-network").code == 0
        assert call("info", f"{address}/secret.ts", "--allow-network").code == 0
        config = tmp_path / "run.yaml"
        config.write_text("allow_network: true\n")
        assert call(*arguments, "-y", "--config", config).code == 0
    assert len(read_all(tmp_path / "out.mkv")) == 5


def test_no_shell_anywhere() -> None:
    """Commands are lists; nothing is ever given to a shell, and nothing is made from text and run."""
    forbidden = re.compile(
        r"shell\s*=\s*True|os\.(system|popen|exec|spawn)|getoutput|create_subprocess_shell|(?<![.\w])(eval|exec)\(|pickle\.loads?\("
    )
    found = {}
    for path in PACKAGE.rglob("*.py"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if forbidden.search(line):
                found[f"{path.relative_to(PACKAGE)}:{number}"] = line.strip()
    assert found == {}


def test_a_process_takes_its_words_as_they_are(tmp_path: Path) -> None:
    """What a shell would run, substitute or split arrives as one word."""
    words = ["$(touch made)", "`touch made`", "; touch made", "| touch made", "a b", "*", "~", "%PATH%", "'\""]
    code = "import sys, json; json.dump(sys.argv[1:], open(sys.argv[1], 'w'))"
    target = tmp_path / "words.json"
    process = FFmpegProcess([sys.executable, "-c", code, str(target), *words], stdout=subprocess.DEVNULL)
    process.feed(b"")
    assert process.wait() == 0
    process.kill()
    import json

    assert json.loads(target.read_text())[1:] == words
    assert not list(tmp_path.glob("made"))
