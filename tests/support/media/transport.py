"""Transport streams made by hand: tables with their checksums, cut into packets (ISO/IEC 13818-1)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

_POLYNOMIAL = 0x04C11DB7
PACKET = 188


def checksum(data: bytes) -> bytes:
    """CRC-32/MPEG-2, bit by bit."""
    value = 0xFFFFFFFF
    for byte in data:
        for bit in range(7, -1, -1):
            top = value >> 31 ^ byte >> bit & 1
            value = (value << 1 & 0xFFFFFFFF) ^ (_POLYNOMIAL if top else 0)
    return value.to_bytes(4, "big")


def section(table: int, number: int, content: bytes, *, version: int = 0, in_force: bool = True) -> bytes:
    """A section of the long form."""
    head = struct.pack(">BHHBBB", table, 0xB000 | len(content) + 9, number, 0xC0 | version << 1 | in_force, 0, 0)
    return head + content + checksum(head + content)


def association(programs: dict[int, int], **facts: int) -> bytes:
    """A program association table: numbers of programs, and where their maps are."""
    return section(0, 1, b"".join(struct.pack(">HH", n, 0xE000 | pid) for n, pid in programs.items()), **facts)


def program_map(number: int, pids: Sequence[int], *, filler: int = 0, **facts: int) -> bytes:
    """A program map; ``filler`` bytes of private descriptors make it long."""
    described = b"".join(b"\x80\xc8" + bytes(200) for _ in range(filler // 202))
    streams = b"".join(struct.pack(">BHH", 0x1B, 0xE000 | pid, 0xF000) for pid in pids)
    content = struct.pack(">HH", 0xE000 | pids[0], 0xF000 | len(described)) + described + streams
    return section(2, number, content, **facts)


def packets(pid: int, payload: bytes, *, first: int = 0) -> bytes:
    """Packets with sections that begin in the first of them."""
    payload, made = b"\0" + payload, []
    for place in range(0, len(payload), PACKET - 4):
        part = payload[place : place + PACKET - 4]
        head = struct.pack(">BHB", 0x47, (0x4000 if place == 0 else 0) | pid, 0x10 | (first + len(made)) & 0xF)
        made.append(head + part.ljust(PACKET - 4, b"\xff"))
    return b"".join(made)


@dataclass(frozen=True)
class ProgramMap:
    """The program map of a stream with one program."""

    content: bytes
    pid: int

    @staticmethod
    def of(data: bytes) -> ProgramMap:
        for at in range(0, len(data), PACKET):
            pid = int.from_bytes(data[at + 1 : at + 3], "big") & 0x1FFF
            if data[at + 1] & 0x40 and data[at + 3] & 0x30 == 0x10 and data[at + 4 : at + 6] == b"\0\2":
                length = 3 + (int.from_bytes(data[at + 6 : at + 8], "big") & 0xFFF)
                return ProgramMap(data[at + 5 : at + 5 + length], pid)
        raise AssertionError("no program map")

    def replacing(self, old: bytes, new: bytes) -> ProgramMap:
        assert old in self.content
        content = self.content[:-4].replace(old, new)
        return replace(self, content=content + checksum(content))


def with_tables(data: bytes, table: ProgramMap) -> bytes:
    """The same stream with another program map, no longer than the old one."""
    changed = bytearray(data)
    for at in range(0, len(data), PACKET):
        pid = int.from_bytes(data[at + 1 : at + 3], "big") & 0x1FFF
        if pid == table.pid and data[at + 1] & 0x40:
            changed[at + 5 : at + 5 + len(table.content)] = table.content
    return bytes(changed)
