"""360° and 3D videos: boxes put by hand into MP4s that FFmpeg has written, and what FFmpeg reads of the results."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import imageio_ffmpeg

from support.media.clips import ffmpeg

PICTURE = "-f lavfi -i testsrc2=size=64x32:rate=25 -frames:v 4"
CODECS = {
    "h264": "-c:v libx264 -preset ultrafast -pix_fmt yuv420p",
    "hevc": "-c:v libx265 -preset ultrafast -x265-params log-level=none:pools=1 -pix_fmt yuv420p -tag:v hvc1",
    "vp9": "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p",
    "av1": "-c:v libsvtav1 -preset 12 -svtav1-params lp=1 -pix_fmt yuv420p",
}
_AROUND = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
_V1 = bytes.fromhex("ffcc8263f8554a938814587a02521fdd")


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def projection(kind: bytes, content: bytes, *, pose: tuple[int, int, int] = (0, 0, 0), tool: bytes = b"made") -> bytes:
    """Box ``sv3d``; the pose in degrees."""
    angles = struct.pack(">I3i", 0, *(value << 16 for value in pose))
    return box(b"sv3d", box(b"svhd", bytes(4) + tool + b"\0") + box(b"proj", box(b"prhd", angles) + box(kind, content)))


EQUIRECTANGULAR = projection(b"equi", bytes(20), pose=(10, -20, 30))
HALF = projection(b"equi", struct.pack(">5I", 0, 0, 0, 0x3FFFFFFF, 0x3FFFFFFF))
CUBEMAP = projection(b"cbmp", struct.pack(">3I", 0, 0, 4))
MESH = projection(b"mshp", bytes(range(1, 40)))
XML = (
    b'<?xml version="1.0"?><rdf:SphericalVideo xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
    b'xmlns:GSpherical="http://ns.google.com/videos/1.0/spherical/"><GSpherical:Spherical>true</GSpherical:Spherical>'
    b"<GSpherical:Stitched>true</GSpherical:Stitched><GSpherical:StitchingSoftware>made</GSpherical:StitchingSoftware>"
    b"<GSpherical:ProjectionType>equirectangular</GSpherical:ProjectionType>"
    b"<GSpherical:StereoMode>top-bottom</GSpherical:StereoMode></rdf:SphericalVideo>"
)
V1 = box(b"uuid", _V1 + XML)


def arrangement(mode: int) -> bytes:
    """Box ``st3d``: 1 = top and bottom, 2 = left and right, 4 = right and left."""
    return box(b"st3d", bytes((0, 0, 0, 0, mode)))


def spatial_mp4(path: Path, in_entry: bytes, in_track: bytes = b"", *, codec: str = "h264") -> Path:
    """An MP4 whose sample entry and track have further boxes at their ends."""
    ffmpeg(*f"{PICTURE} {CODECS[codec]}".split(), str(path))
    data = bytearray(path.read_bytes())
    chain, low, high = [], 0, len(data)
    for kind in (*_AROUND, None):
        while True:
            size, found = struct.unpack_from(">I4s", data, low)
            if kind in (None, found):
                break
            low += size
        chain.append((low, low + size))
        low, high = low + (16 if kind == b"stsd" else 8), low + size
    end_of_entry, end_of_track = chain[-1][1], chain[1][1]
    for number, (start, end) in enumerate(chain):
        struct.pack_into(">I", data, start, end - start + len(in_entry) + (len(in_track) if number < 2 else 0))
    data[end_of_track:end_of_track] = in_track
    data[end_of_entry:end_of_entry] = in_entry
    path.write_bytes(data)
    assert high <= len(data)
    return path


def said_of_space(path: Path) -> dict[str, str]:
    """What FFmpeg prints of projection and arrangement."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stderr
    found = re.findall(r"^\s*(Spherical Mapping|Stereo 3D): (.*?)\s*$", said, re.MULTILINE)
    return {name: words.partition(" [")[0].partition(", view")[0] for name, words in found} | {
        f"{name} whole": words for name, words in found
    }
