"""Files that say that they are encrypted: by FFmpeg's own Common Encryption, and marked by hand."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from pathlib import Path

from support.media.clips import ffmpeg

_PICTURE = "-f lavfi -i testsrc2=size=64x48:rate=25"
_SOUND = "-f lavfi -i sine=frequency=440:sample_rate=16000"
_H264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p"
_VP9 = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p"
_KEY = "-encryption_scheme cenc-aes-ctr -encryption_key 76a6c65c5ea762046bd749a2e632ccbb"
_KEY_ID = "-encryption_kid a7e61c373e219033c21091fa607bf3b8"


def _made(path: Path, words: str) -> bytearray:
    ffmpeg(*words.split(), str(path))
    return bytearray(path.read_bytes())


def cenc(path: Path, more: str = "") -> None:
    _made(path, f"{_PICTURE} {_SOUND} -t 0.4 {_H264} -c:a aac {_KEY} {_KEY_ID} {more}")


def fragmented(path: Path) -> None:
    cenc(path, "-movflags +frag_keyframe+empty_moov")


def cbcs(path: Path) -> None:
    cenc(path)
    path.write_bytes(path.read_bytes().replace(b"cenc\0\1\0\0", b"cbcs\0\1\0\0"))
    assert b"cbcs" in path.read_bytes()


def fairplay(path: Path) -> None:
    data = _made(path, f"{_PICTURE} -t 0.4 {_H264}")
    path.write_bytes(data.replace(b"avc1\0\0\0\0\0\0\0\1", b"drmi\0\0\0\0\0\0\0\1"))
    assert b"drmi" in path.read_bytes()


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def marked_entry(data: bytearray, kind: bytes, new: bytes, *, protected: bool = True) -> bytes:
    """An MP4, its index behind its data, whose sample entry of a kind is renamed and has protection information."""
    tenc = _box(b"tenc", bytes(6) + bytes((int(protected), 8)) + bytes(16))
    info = _box(b"frma", kind) + _box(b"schm", bytes(4) + b"cenc" + struct.pack(">I", 0x10000)) + _box(b"schi", tenc)
    more = _box(b"sinf", info)
    entry = data.index(b"stsd") + 12
    while data[entry + 4 : entry + 8] != kind:
        entry = data.index(b"stsd", entry) + 12
    names = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
    places = [data.rindex(name, 0, entry) - 4 for name in names] + [entry]
    end = entry + struct.unpack_from(">I", data, entry)[0]
    for place in places:
        struct.pack_into(">I", data, place, struct.unpack_from(">I", data, place)[0] + len(more))
    data[entry + 4 : entry + 8] = new
    data[end:end] = more
    return bytes(data)


def sound_only(path: Path) -> None:
    data = _made(path, f"{_PICTURE} {_SOUND} -t 0.4 {_H264} -c:a aac")
    path.write_bytes(marked_entry(data, b"mp4a", b"enca"))


def unprotected(path: Path) -> None:
    """A protected sample entry whose samples are in the clear."""
    data = _made(path, f"{_PICTURE} -t 0.4 {_H264}")
    path.write_bytes(marked_entry(data, b"avc1", b"encv", protected=False))


def _element(kind: bytes, content: bytes) -> bytes:
    return kind + bytes((0x80 | len(content),)) + content


def _matroska(path: Path, codec: str) -> None:
    """A title gives its room to the element ContentEncodings."""
    room = "x" * 80
    data = _made(path, f"{_PICTURE} -t 0.4 {codec} -metadata:s:v title={room}")
    algorithm = _element(b"\x47\xe1", b"\5") + _element(b"\x47\xe2", bytes(range(16)))
    encoding = _element(b"\x50\x33", b"\1") + _element(b"\x50\x35", algorithm)
    encodings = _element(b"\x6d\x80", _element(b"\x62\x40", encoding))
    name = _element(b"\x53\x6e", room.encode())
    left = len(name) - len(encodings)
    path.write_bytes(data.replace(name, encodings + _element(b"\xec", bytes(left - 2))))
    assert encodings in path.read_bytes()


def matroska(path: Path) -> None:
    _matroska(path, _H264)


def webm(path: Path) -> None:
    _matroska(path, _VP9)


def _scrambled(path: Path, *, size: int, offset: int, pid: int) -> None:
    data = _made(path, f"{_PICTURE} {_SOUND} -t 0.4 {_H264} -c:a aac -bsf:v null")
    for place in range(offset, len(data), size):
        if (data[place + 1] & 0x1F) << 8 | data[place + 2] == pid and data[place + 3] & 0x10:
            data[place + 3] |= 0x80
            for byte in range(place + 60, place + 188):
                data[byte] ^= 0x5A
    path.write_bytes(data)


def transport(path: Path) -> None:
    _scrambled(path, size=188, offset=0, pid=0x100)


def blu_ray(path: Path) -> None:
    _scrambled(path, size=192, offset=4, pid=0x1011)


def disc(path: Path) -> None:
    """A program stream with the bits that DVDs set."""
    data = _made(path, f"{_PICTURE} -t 0.4 -c:v mpeg2video -f vob")
    place = data.find(b"\0\0\1\xe0")
    while place >= 0:
        data[place + 6] |= 0x10
        place = data.find(b"\0\0\1\xe0", place + 4)
    path.write_bytes(data)


def windows_media(path: Path) -> None:
    data = _made(path, f"{_PICTURE} -t 0.4 -c:v wmv2")
    guid = uuid.UUID("2211B3FB-BD23-11D2-B4B7-00A0C955FC6E").bytes_le
    words = b"".join(struct.pack("<I", len(word)) + word for word in (b"secret", b"DRM\0", b"key\0", b"url\0"))
    added = guid + struct.pack("<Q", 24 + len(words)) + words
    size, count = struct.unpack_from("<QI", data, 16)
    struct.pack_into("<QI", data, 16, size + len(added), count + 1)
    data[30:30] = added
    path.write_bytes(data)


#: Name of the file, how it is made, and the scheme that must be named.
ENCRYPTED: dict[str, tuple[Callable[[Path], None], str]] = {
    "cenc.mp4": (cenc, "Common Encryption, cenc"),
    "fragments.mp4": (fragmented, "Common Encryption, cenc"),
    "cbcs.mov": (cbcs, "Common Encryption, cbcs"),
    "fairplay.m4v": (fairplay, "FairPlay"),
    "matroska.mkv": (matroska, "content encryption"),
    "vp9.webm": (webm, "content encryption"),
    "transport.ts": (transport, "MPEG scrambling"),
    "disc.m2ts": (blu_ray, "MPEG scrambling"),
    "disc.vob": (disc, "MPEG scrambling"),
    "media.wmv": (windows_media, "Windows Media DRM"),
}
