"""A second corpus of what stands beside the video: carriers of cameras, discs and broadcasters, and strange streams.

Rows are as in ``corpus_streams.py``. Files that FFmpeg does not write are made of its own by changing a few bytes.
"""

from __future__ import annotations

import functools
import shlex
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from support.media.clips import FOLDER, ffmpeg
from support.media.corpus_streams import END, H264, MPEG4, VIDEO, Fate, Kind, ingredients, kept, lacking, tone
from support.media.corpus_streams import source as stream_source
from support.media.transport import ProgramMap, with_tables

TONE = tone(440)
#: A time stamp of a packet, and what is in it.
Timed = tuple[int, bytes]
#: Closed captions say "Hello" in pop-on style (CTA-608-E), two bytes a frame.
_CAPTIONS = bytes.fromhex("942094ae9440c8e5ececef80942f8080")


def _left_out(container: str, **more: Any) -> Fate:
    return Fate(f"left out: data 1 (GoPro MET): no place in {container}", order=(0,), **more)


IN_TS = _left_out("MPEG-TS", without=lacking("roles"))


def _lpcm(codec: str) -> Fate:
    return Fate(refused=rf"audio 1 \(pcm_bluray\); write to \.m2ts, or .*-c:a {codec}")


KINDS: dict[str, Kind] = {
    # Transport streams of cameras and discs.
    "m2ts_camera": Kind(
        ".m2ts", f"{VIDEO} {TONE} {H264} -c:a ac3 -mpegts_m2ts_mode 1 {END}",
        {".m2ts": kept("1 audio"), ".mts": kept("1 audio"), ".ts": kept("1 audio"), ".mkv": kept("1 audio")},
    ),
    "m2ts_lpcm": Kind(
        ".m2ts", f"{VIDEO} {TONE} {H264} -ac 2 -c:a pcm_bluray {END}",
        {".m2ts": kept("1 audio"), ".mkv": _lpcm("pcm_s24le"), ".mp4": _lpcm("pcm_s24le"), ".ts": _lpcm("aac")},
    ),
    "m2ts_disc": Kind(
        ".m2ts", f"{VIDEO} {TONE} {TONE} -i {{sup}} -map 0 -map 1 -map 2 -map 3 {H264} -c:a:0 dca -c:a:1 truehd "
        f"-strict -2 -c:s copy {END}",
        # FFmpeg sees a core of AC-3 in any TrueHD, also where there is none.
        {".mkv": kept("2 audio, 1 subtitle · left out: audio 3 (ac3): there is nothing in it", order=(0, 1, 2, 4)),
         ".ts": Fate(refused=r"MPEG-TS cannot hold audio 2 \(truehd\), subtitle 4 \(pgssub\); write to .mkv")},
    ),
    "ts_plain_aac": Kind(
        ".ts", f"{VIDEO} {TONE} {H264} -c:a aac {END}",
        {".ts": kept("1 audio"), ".m2ts": Fate(refused=r"M2TS cannot hold audio 1 \(aac\); .*-c:a ac3")},
    ),
    "ts_low_identifiers": Kind(
        ".ts", f"{VIDEO} {TONE} {H264} -c:a ac3 -streamid 0:0x100 -streamid 1:0x101 {END}",
        {".m2ts": kept("1 audio"), ".ts": kept("1 audio")},
    ),
    "ts_teletext": Kind(
        ".ts", "tables:teletext",
        {".ts": kept("1 subtitle", without=lacking("times")),
         ".mkv": Fate(refused=r"subtitle 1 \(unknown\); write to \.ts, or leave it out")},
    ),
    # Tracks that FFmpeg has no name for: iPhone, Sony, DJI, Google, Canon.
    "mov_mebx": Kind(".mov", "track:mebx", {
        ".mov": _left_out("QuickTime"), ".mp4": _left_out("MP4"), ".mkv": _left_out("Matroska"), ".ts": IN_TS}),
    "mov_rtmd": Kind(".mov", "track:rtmd", {".mov": _left_out("QuickTime")}),
    "mov_djmd": Kind(".mov", "track:djmd", {".mov": _left_out("QuickTime")}),
    "mov_camm": Kind(".mov", "track:camm", {".mov": _left_out("QuickTime"), ".nut": _left_out("NUT")}),
    "mov_ctmd": Kind(".mov", "track:CTMD", {".mov": _left_out("QuickTime")}),
    "mov_gpmd": Kind(".mov", "track:gpmd", {".mov": kept("1 data"), ".mp4": kept("1 data"), ".nut": _left_out("NUT")}),
    "mov_captions": Kind(
        ".mov", "track:c608",
        {".mov": kept("1 subtitle"), ".mkv": Fate(refused=r"subtitle 1 \(cc_dec\); write to \.mov, or .*-c:s subrip"),
         ".mp4": Fate(refused=r"subtitle 1 \(cc_dec\); write to \.mov, or .*-c:s mov_text")},
    ),
    "mp4_foreign_sound": Kind(
        ".mp4", "foreign sound",
        {suffix: Fate(refused=r"cannot hold audio 1 \(unknown\); leave it out with .*--drop 1\)$")
         for suffix in (".mkv", ".mov")},
    ),
    "wmv_sound": Kind(
        ".wmv", f"{VIDEO} {TONE} -c:v wmv2 -c:a wmav2 {END}",
        {".wmv": kept("1 audio"), **{suffix: Fate(refused=r"audio 1 \(wmav2\); write to .mkv, or .*-c:a")
                                     for suffix in (".mov", ".nut", ".flv")}},
    ),
    # Tapes, broadcasters, phones.
    "dv": Kind(
        ".dv", f"{VIDEO.replace('64x48', '720x576')} {TONE} -ac 2 -c:v dvvideo -pix_fmt yuv420p -c:a pcm_s16le -t 0.2",
        {".dv": kept("1 audio"), ".mkv": kept("1 audio"),
         ".mxf": kept("1 audio", without=lacking("roles", "packets", "file tags"))},
    ),
    "mxf": Kind(
        ".mxf", f"{VIDEO} {TONE} -c:v mpeg2video -c:a pcm_s16le {END}",
        {".mxf": kept("1 audio", without=lacking("file tags", "tags", "packets")),
         ".mkv": kept("1 audio", without=lacking("file tags", "tags", "packets"))},
    ),
    "3gp": Kind(
        ".3gp", f"{VIDEO} {TONE} -i {{srt}} -map 0 -map 1 -map 2 {MPEG4} -ar 8000 -c:a libopencore_amrnb "
        f"-c:s mov_text {END}",
        {".3gp": kept("1 audio, 1 subtitle"), ".mp4": Fate(refused=r"audio 1 \(amrnb\); write to .mkv, or .*-c:a aac")},
    ),
    "avi_divx": Kind(
        ".avi", f"-i {{mkv_dvd}} {MPEG4} -c:s xsub",
        {".avi": kept("1 subtitle", without=lacking("times")),
         ".mkv": Fate(refused=r"subtitle 1 \(xsub\); write to \.avi, or leave it out")},
    ),
    # Dates, and the software of cameras.
    "avi_dated": Kind(".avi", "dated", {suffix: Fate() for suffix in (".avi", ".mp4", ".mov", ".mkv", ".nut")} | {
        ".ts": Fate("left out: tags of the file creation_time (2012-09-10 20:52:00), software (CAMERA-01)",
                    without=lacking("file tags"))}),
    "mov_dated": Kind(
        ".mov", f"{VIDEO} {H264} -metadata creation_time=2012-09-10T20:52:00Z -metadata com.x.lens=Glas "
        f"-movflags use_metadata_tags {END}",
        {".mov": Fate(), ".mp4": Fate(), ".mkv": Fate(),
         ".avi": Fate("left out: tags of the file com.x.lens", without=lacking("file tags", "roles"))},
    ),
}  # fmt: skip

CASES = [(name, suffix) for name, kind in KINDS.items() for suffix in kind.to]


@functools.cache
def source(name: str) -> Path:
    """The file of a kind, made on first use."""
    kind = KINDS[name]
    path = FOLDER / f"carrier_{name}{kind.suffix}"
    maker, _, word = kind.recipe.partition(":")
    if (make := _MAKERS.get(maker)) is not None:
        make(path, word)
        return path
    files = {**ingredients(), "mkv_dvd": stream_source("mkv_dvd")}
    ffmpeg(*(part.format(**files) for part in shlex.split(kind.recipe)), str(path))
    return path


def _track(path: Path, code: str) -> None:
    """The silent clip with a track of this four-character code, a packet for each frame."""
    plain = path.with_suffix(".plain.mp4")
    captions = code == "c608"
    with av.open(str(stream_source("mp4_silent"))) as before, av.open(str(plain), "w") as after:
        video = after.add_stream_from_template(before.streams.video[0])
        data = after.add_data_stream("bin_data")
        tick = data.time_base = Fraction(1, 1000)
        for number, packet in enumerate(p for p in before.demux(before.streams.video[0]) if p.size):
            words = _CAPTIONS[2 * number : 2 * number + 2]
            content = struct.pack(">I4s", 10, b"cdat") + words if captions else b"DEVC" + bytes([number]) * 20
            told: Any = av.Packet(content)
            told.stream, told.time_base = data, tick
            told.pts = told.dts = 40 * number
            told.duration = 40
            after.mux(told)
            packet.stream = video
            after.mux(packet)
    changed = plain.read_bytes().replace(b"gpmd", code.encode())
    if captions:
        handler = b"hdlr" + bytes(8)
        changed = changed.replace(handler + b"meta", handler + b"clcp")
    path.write_bytes(changed)


def _foreign_sound(path: Path, word: str) -> None:
    """AAC under the name of a codec that nobody knows."""
    data = stream_source("mp4_late").read_bytes()
    path.write_bytes(data.replace(b"mp4a", b"zq9x").replace(b"esds", b"zzzz"))


def _tables(path: Path, word: str) -> None:
    """DVB subtitles under the descriptor of teletext (ETSI EN 300 468, 6.2.43)."""
    data = stream_source("ts_dvb").read_bytes()
    path.write_bytes(with_tables(data, ProgramMap.of(data).replacing(b"\x59\x08", b"\x56\x08")))


def _dated(path: Path, word: str) -> None:
    """AVI as a camera writes it: the date as a chunk of the header, and its own name as the software."""
    ffmpeg(*shlex.split(f"{VIDEO} {MPEG4} {END}"), str(path))
    data = path.read_bytes()
    (size,) = struct.unpack("<I", data[16:20])
    date = b"MON SEP 10 20:52:00 2012\n\0"
    chunk = struct.pack("<4sI", b"IDIT", len(date)) + date
    data = data[:16] + struct.pack("<I", size + len(chunk)) + data[20 : 20 + size] + chunk + data[20 + size :]
    at = data.index(b"Lavf")
    data = data[:at] + b"CAMERA-01".ljust(data.index(b"\0", at) - at, b"\0") + data[data.index(b"\0", at) :]
    path.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])


_MAKERS: dict[str, Callable[[Path, str], None]] = {
    "track": _track, "foreign sound": _foreign_sound, "tables": _tables, "dated": _dated,
}  # fmt: skip
