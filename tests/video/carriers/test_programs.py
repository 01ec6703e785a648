"""Programs of a transport stream: which tables are believed."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from support.media.clips import ffmpeg
from support.media.transport import PACKET, association, packets, program_map, section
from support.media.writing import copy
from vdeblur.video.mpegts_programs import BLU_RAY_IDENTIFIERS, Identifiers, Program, Programs, read_programs

PAT, SDT = 0, 0x11
#: Video that means nothing.
FILLER = packets(0x100, b"\0\0\1\xe0" + bytes(300))


def programs_in(folder: Path, *parts: bytes) -> dict[int, set[int]]:
    path = folder / "x.ts"
    path.write_bytes(b"".join(parts) + FILLER * 3)
    return {program.number: set(program.pids) for program in read_programs(path).programs}


def test_maps_are_read_where_the_association_says(tmp_path: Path) -> None:
    stray = packets(0x300, program_map(7, [0x301]))
    told, table = packets(PAT, association({1: 0x1000})), packets(0x1000, program_map(1, [0x100, 0x101]))
    assert programs_in(tmp_path, told, stray, table) == {1: {0x100, 0x101}}
    assert programs_in(tmp_path, table, stray, told) == {1: {0x100, 0x101}}, "a recording begins anywhere"
    assert programs_in(tmp_path, stray, table) == {}, "nothing says where the maps are"
    other = packets(0x1000, program_map(9, [0x109]))
    assert programs_in(tmp_path, told, other) == {}, "another program's map does not belong there"
    assert programs_in(tmp_path, packets(PAT, association({0: 0x10, 1: 0x1000})), table) == {1: {0x100, 0x101}}


def test_a_wrong_checksum_and_a_table_of_the_future_are_passed_over(tmp_path: Path) -> None:
    told, table = association({1: 0x1000}), program_map(1, [0x100])
    broken = bytearray(table)
    broken[14] ^= 1
    assert programs_in(tmp_path, packets(PAT, told), packets(0x1000, bytes(broken))) == {}
    coming = program_map(1, [0x105], in_force=False)
    assert programs_in(tmp_path, packets(PAT, told), packets(0x1000, coming)) == {}
    assert programs_in(tmp_path, packets(PAT, told), packets(0x1000, bytes(broken)), packets(0x1000, table, first=1))


def test_tables_over_several_packets(tmp_path: Path) -> None:
    told = packets(PAT, association({1: 0x1000}))
    table = packets(0x1000, program_map(1, [0x100, 0x101], filler=606))
    assert len(table) == 4 * PACKET
    between = b"".join(table[at : at + PACKET] + FILLER for at in range(0, len(table), PACKET))
    assert programs_in(tmp_path, told, between) == {1: {0x100, 0x101}}
    twice = b"".join(2 * table[at : at + PACKET] for at in range(0, len(table), PACKET))
    assert programs_in(tmp_path, told, twice) == {1: {0x100, 0x101}}, "packets may be sent twice"
    holed = table[:PACKET] + table[2 * PACKET :]
    assert programs_in(tmp_path, told, holed) == {}
    assert programs_in(tmp_path, told, holed, table) == {1: {0x100, 0x101}}


def test_sections_that_begin_in_the_middle_of_a_packet(tmp_path: Path) -> None:
    """The end of one and the beginning of the next lie in one packet; a pointer says where."""
    told = packets(PAT, association({1: 0x1000, 2: 0x1000}))
    first, second = program_map(1, [0x100], filler=300), program_map(2, [0x200])
    room = PACKET - 4
    end = first[room - 1 :]
    head = struct.pack(">BHB", 0x47, 0x4000 | 0x1000, 0x11)
    follow = (head + bytes([len(end)]) + end + second).ljust(PACKET, b"\xff")
    assert programs_in(tmp_path, told, packets(0x1000, first)[:PACKET], follow) == {1: {0x100}, 2: {0x200}}
    assert programs_in(tmp_path, told, packets(0x1000, program_map(1, [0x100]) + second)) == {1: {0x100}, 2: {0x200}}


def test_tables_that_change(tmp_path: Path) -> None:
    """At a change of programme a broadcaster sends new versions; streams of both are those of the programme."""
    before = packets(PAT, association({1: 0x1000})) + packets(0x1000, program_map(1, [0x100]))
    after = packets(PAT, association({1: 0x1000, 2: 0x1100}, version=1), first=1)
    maps = packets(0x1000, program_map(1, [0x102], version=1), first=1) + packets(0x1100, program_map(2, [0x200]))
    assert programs_in(tmp_path, before, FILLER, after, maps) == {1: {0x100, 0x102}, 2: {0x200}}


@pytest.mark.parametrize("shape", ["192", "204", "cut", "gap"])
def test_packets_of_every_shape(shape: str, tmp_path: Path) -> None:
    plain = packets(PAT, association({5: 0x1000})) + packets(0x1000, program_map(5, [0x100])) + FILLER * 4
    cut = [plain[at : at + PACKET] for at in range(0, len(plain), PACKET)]
    if shape == "192":
        data = b"".join(b"\x12\x34\x56\x78" + packet for packet in cut)
    elif shape == "204":
        data = b"".join(packet + bytes(16) for packet in cut)
    elif shape == "cut":
        data = FILLER[100:] + plain
    else:
        data = FILLER * 5 + bytes(50) + plain
    (tmp_path / "x.ts").write_bytes(data)
    assert [program.number for program in read_programs(tmp_path / "x.ts").programs] == [5]


def test_bytes_that_only_look_like_a_stream(tmp_path: Path) -> None:
    chance = random.Random(2)
    path = tmp_path / "x.ts"
    for data in (b"", b"\x47" * 5000, bytes(5000), (b"\x47" + bytes(187)) * 30, chance.randbytes(1 << 16)):
        path.write_bytes(data)
        assert read_programs(path) == Programs()
    crowd = dict.fromkeys(range(1, 200), 0x1000)
    many = b"".join(program_map(number, [0x100]) for number in crowd)
    assert len(programs_in(tmp_path, packets(PAT, association(crowd)), packets(0x1000, many))) <= 100


def test_noise_makes_no_programs(tmp_path: Path) -> None:
    """Packets of a video that begin with the bytes of a table."""
    told, table = packets(PAT, association({1: 0x1000})), packets(0x1000, program_map(1, [0x100]))
    phantom = b"".join(
        packets(0x100, section(2, number, bytes(8))[:-1] + b"x", first=number) for number in range(2, 12)
    )
    assert programs_in(tmp_path, told, table, phantom) == {1: {0x100}}


def test_identifiers_keep_clear_of_the_muxers_own() -> None:
    found = Programs((Program(1, frozenset({0x100, 0x101})),))
    assert "-streamid" in found.words([0x100, 0x101], Identifiers())
    assert "-streamid" not in found.words([0x100, 0x101], BLU_RAY_IDENTIFIERS)
    assert "-streamid" in found.words([0x1011, 0x1100], BLU_RAY_IDENTIFIERS)
    assert "-streamid" not in found.words([0x1000, 0x101], Identifiers())


def test_one_program_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "in.ts"
    noise = ("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25", "-vf", "noise=alls=60:allf=t", "-t", "0.4")
    ffmpeg(*noise, "-c:v", "libx264", "-preset", "ultrafast", "-crf", "10", "-pix_fmt", "yuv420p", str(path))
    copy(path, tmp_path / "out.ts")
    assert len(read_programs(path).programs) == len(read_programs(tmp_path / "out.ts").programs) == 1
