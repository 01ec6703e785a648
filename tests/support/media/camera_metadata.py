"""Metadata as cameras write it: a track of made packets inside an MP4, and the packets of each format."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

MDPM = bytes.fromhex("17ee8c60f84d11d98cd60800200c9a66") + b"MDPM"


def box(name: bytes, *contents: bytes) -> bytes:
    """A box of ISO base media (ISO/IEC 14496-12)."""
    body = b"".join(contents)
    return struct.pack(">I4s", 8 + len(body), name) + body


def with_track(video: Path, target: Path, packets: Sequence[bytes], *, kind: bytes, each_ms: int = 1000) -> Path:
    """A copy of an MP4 with a further track of these packets, each for ``each_ms``; ``kind`` is its sample entry."""
    parts = list(boxes(video.read_bytes()))
    moov = next(body for name, body in parts if name == b"moov")
    kept = b"".join(box(name, body) for name, body in parts if name != b"moov")
    places, place = [], len(kept) + 8
    for packet in packets:
        places.append(place)
        place += len(packet)
    track = _track(packets, places, kind, each_ms)
    target.write_bytes(kept + box(b"mdat", *packets) + box(b"moov", moov, track))
    return target


def boxes(data: bytes) -> Iterable[tuple[bytes, bytes]]:
    place = 0
    while place < len(data):
        size, name = struct.unpack_from(">I4s", data, place)
        yield name, data[place + 8 : place + size]
        place += size


def _track(packets: Sequence[bytes], places: Sequence[int], kind: bytes, each_ms: int) -> bytes:
    length, count = len(packets) * each_ms, len(packets)
    unity = struct.pack(">9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    header = box(b"tkhd", struct.pack(">6I16x", 7, 0, 0, 99, 0, length), unity, bytes(8))
    media = box(b"mdhd", struct.pack(">5IHH", 0, 0, 0, 1000, length, 0x55C4, 0))
    handler = box(b"hdlr", struct.pack(">II4s12x", 0, 0, b"meta"), b"Camera metadata\0")
    data = box(b"dinf", box(b"dref", struct.pack(">II", 0, 1), box(b"url ", struct.pack(">I", 1))))
    table = box(
        b"stbl",
        box(b"stsd", struct.pack(">II", 0, 1), box(kind, struct.pack(">6xH", 1))),
        box(b"stts", struct.pack(">IIII", 0, 1, count, each_ms)),
        box(b"stsc", struct.pack(">IIIII", 0, 1, 1, 1, 1)),
        box(b"stsz", struct.pack(">III", 0, 0, count), *(struct.pack(">I", len(packet)) for packet in packets)),
        box(b"stco", struct.pack(">II", 0, count), *(struct.pack(">I", place) for place in places)),
    )
    information = box(b"minf", box(b"nmhd", bytes(4)), data, table)
    return box(b"trak", header, box(b"mdia", media, handler, information))


def klv(key: bytes, kind: str, size: int, data: bytes, *, count: int | None = None) -> bytes:
    """A key of GoPro's GPMF."""
    count = len(data) // size if count is None else count
    head = struct.pack(">4scBH", key, kind.encode("latin-1"), size, count)
    return head + data + bytes(-len(data) % 4)


def nest(key: bytes, *items: bytes) -> bytes:
    return klv(key, "\0", 1, b"".join(items))


def gpmf(seconds: Sequence[float], *, clock_us: int | None = None) -> bytes:
    """A packet as HERO cameras write it, between streams of other sensors."""
    clock = b"" if clock_us is None else klv(b"STMP", "J", 8, struct.pack(">Q", clock_us))
    times = klv(b"SHUT", "f", 4, struct.pack(f">{len(seconds)}f", *seconds))
    sensor = nest(b"STRM", klv(b"SCAL", "s", 2, b"\x01\xa2"), klv(b"ACCL", "s", 6, bytes(range(12))))
    shutter = nest(b"STRM", clock, klv(b"STNM", "c", 1, b"Exposure time (shutter speed)"), times)
    return nest(b"DEVC", klv(b"DVID", "L", 4, struct.pack(">I", 1)), klv(b"DVNM", "c", 1, b"Camera"), sensor, shutter)


def rtmd(*tags: tuple[int, bytes]) -> bytes:
    """A packet of Sony's: 28 bytes of header, then a set of tags behind its label and length."""
    body = b"".join(struct.pack(">HH", tag, len(value)) + value for tag, value in tags)
    label = bytes.fromhex("060e2b34025301010c02010102010000")
    return b"\0\x1c" + bytes(26) + label + struct.pack(">HH", 0x8300, len(body)) + body


def ctmd(top: int, bottom: int) -> bytes:
    """A packet of Canon's with a time stamp, a focal length and an exposure."""
    records = ((1, bytes(12)), (4, struct.pack("<HH", 50, 1)), (5, struct.pack("<HHHHI", 28, 10, top, bottom, 100)))
    return b"".join(struct.pack("<IH6x", 12 + len(body), kind) + body for kind, body in records)


def field(number: int, value: int | bytes) -> bytes:
    """A field of a protobuf message."""
    if isinstance(value, int):
        return variable(number << 3) + variable(value)
    return variable(number << 3 | 2) + variable(len(value)) + value


def variable(value: int) -> bytes:
    low, high = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + variable(high) if high else bytes([low])


def djmd(protocol: str | None, exposure: tuple[int, int], *, clock_us: int, path: tuple[int, int, int, int]) -> bytes:
    """A packet of DJI's; the first one names the protocol."""
    value = b"".join(map(variable, exposure))
    for number in reversed(path[1:]):
        value = field(number, value)
    clip = b"" if protocol is None else field(1, field(1, field(1, protocol.encode())))
    clock = field(1, field(1, 7) + field(2, clock_us))
    return clip + field(path[0], clock + value)


def mdpm(*tags: tuple[int, bytes]) -> bytes:
    """User data of AVCHD: tags of one byte with values of four."""
    return MDPM + bytes([len(tags)]) + b"".join(bytes([tag]) + value for tag, value in tags)


def with_user_data(stream: bytes, messages: Sequence[bytes | None]) -> bytes:
    """An H.264 stream with one slice a picture, and before each slice a message of user data (ITU-T H.264, D.1.6)."""
    made, slices = b"", 0
    for unit in stream.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]:
        if unit[0] & 0x1F in (1, 5):
            message = messages[slices] if slices < len(messages) else None
            slices += 1
            if message is not None:
                made += b"\0\0\0\1" + _user_data_unit(message)
        made += b"\0\0\0\1" + unit
    assert slices == len(messages), f"{slices} slices"
    return made


def _user_data_unit(message: bytes) -> bytes:
    raw = bytes([5]) + b"\xff" * (len(message) // 255) + bytes([len(message) % 255]) + message + b"\x80"
    made, zeros = b"\x06", 0
    for byte in raw:
        if zeros == 2 and byte <= 3:
            made, zeros = made + b"\x03", 0
        made += bytes([byte])
        zeros = zeros + 1 if byte == 0 else 0
    return made
