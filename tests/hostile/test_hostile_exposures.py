"""Camera metadata that is damaged or crafted: it tells nothing, quickly, and nothing is raised."""

from __future__ import annotations

import random
import struct
import time

import pytest

from support.media.camera_metadata import MDPM, ctmd, djmd, gpmf, klv, mdpm, nest, rtmd, variable
from vdeblur.video.exposure.mdpm import exposure_time
from vdeblur.video.exposure.readers import READERS, reader_for
from vdeblur.video.exposure.written import WrittenExposure, believed

OSMO = (3, 2, 4, 1)


def rational(top: int, bottom: int) -> bytes:
    return struct.pack(">II", top, bottom)


def deep() -> bytes:
    made_packet = klv(b"SHUT", "f", 4, struct.pack(">f", 0.01))
    for _ in range(2000):
        made_packet = nest(b"STRM", made_packet)[:60000]
    return b"DEVC" + nest(b"STRM", made_packet)[4:]


HOSTILE = {
    "a count that lies": nest(b"DEVC", klv(b"SHUT", "f", 4, bytes(4), count=65535)),
    "samples of no bytes": nest(b"DEVC", klv(b"SHUT", "f", 0, b"", count=65535)),
    "samples smaller than their type": nest(b"DEVC", klv(b"SHUT", "d", 1, bytes(64))),
    "no type": nest(b"DEVC", klv(b"SHUT", "?", 4, bytes(4))),
    "an empty type": nest(b"DEVC", klv(b"TYPE", "c", 1, b""), klv(b"SHUT", "?", 4, bytes(4))),
    "a scale of nothing": nest(b"DEVC", klv(b"SCAL", "f", 4, bytes(4)), klv(b"SHUT", "f", 4, bytes(4))),
    "deep nests": deep(),
    "cut off": gpmf([0.01] * 30)[:-50],
    "a head alone": b"DEVC\0\1\xff\xff",
    "many empty keys": b"DEVC\0\1\xff\xf8" + b"AAAAL\0\0\0" * 8191,
    "Sony, cut off": rtmd((0x8109, rational(1, 50)))[:-3],
    "Sony, over nothing": rtmd((0x8109, rational(1, 0))),
    "Sony, deep": rtmd((0x8300, rtmd((0x8300, rtmd((0x8300, rtmd((0x8300, bytes(40)))[28:]))[28:]))[28:])),
    "Canon, over nothing": ctmd(1, 0),
    "Canon, a record of no bytes": bytes(64),
    "DJI, a number without end": b"\x0a\x06\x0a\x04\x0a\x02\xff\xff" + b"\xff" * 4000,
    "DJI, over nothing": djmd("dvtm_ac203.proto", (1, 0), clock_us=0, path=OSMO),
    "DJI, a length beyond the end": b"\x0a" + variable(1 << 60),
    "a text of no length": b"",
    "a text that lies": b"\xff\xff[shutter : 1/0]",
}


@pytest.mark.parametrize("packet", HOSTILE.values(), ids=HOSTILE)
def test_hostile_packets_tell_nothing(packet: bytes) -> None:
    begun = time.monotonic()
    for kind, readers in READERS.items():
        reader_for(kind, packet)
        for reader in readers:
            held = reader().read(packet)
            told = [believed(WrittenExposure("", value), 0.04) for value in held.seconds]
            assert not any(told)
    assert time.monotonic() - begun < 5


def test_damaged_packets_never_raise() -> None:
    chance = random.Random(7)
    whole = [
        gpmf([0.01] * 30, clock_us=5), rtmd((0x8106, rational(25, 1)), (0x8109, rational(1, 50))), ctmd(1, 50),
        djmd("dvtm_ac203.proto", (1, 50), clock_us=5, path=OSMO), b"\0\x11[shutter : 1/500]",
    ]  # fmt: skip
    for _ in range(3000):
        packet = bytearray(chance.choice(whole))
        for _ in range(chance.randrange(1, 6)):
            packet[chance.randrange(len(packet))] = chance.randrange(256)
        data = bytes(packet[: chance.randrange(len(packet) + 1)])
        for kind, readers in READERS.items():
            reader_for(kind, data)
            for make in readers:
                reader = make()
                reader.recognises(data)
                reader.read(data)


@pytest.mark.parametrize(
    "message",
    [
        b"", MDPM[:10], MDPM, MDPM + b"\xff", MDPM + b"\x02\x7f\xff", mdpm((0x7F, b"\xff\xff\xff\x7f")),
        mdpm((0x7F, bytes(4))), mdpm((0xA0, b"\0\1\0\0")), mdpm((0x70, b"\0\1\0\1")), b"x264 - core 164" + bytes(200),
    ],
)  # fmt: skip
def test_hostile_user_data_tells_nothing(message: bytes) -> None:
    assert exposure_time(message) is None
