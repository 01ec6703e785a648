"""MPEG-TS programs: numbers, names and packet identifiers, which FFmpeg does not copy by itself.

Source: ISO/IEC 13818-1 (program map table), ETSI EN 300 468 (service description table; annex A for its texts).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

_SYNC = 0x47
#: Bytes of a packet and where in them it begins: plain, with a time in front (Blu-ray, AVCHD), with a checksum behind.
_SHAPES = ((188, 0), (192, 4), (204, 0))
_PROGRAM_MAP, _SERVICES, _SERVICE_DESCRIPTOR = 0x02, 0x42, 0x48
#: Tables are repeated several times a second; in so many bytes each has come.
_HEAD_BYTES = 4 << 20
#: No transport stream has as many; a crafted one may say so.
_MOST_PROGRAMS = 100
#: What FFmpeg calls a program without a name.
_NO_NAMES = frozenset({"", "Service01"})
#: Tables of character codes by the first byte of a text; 5 is the first of ISO 8859 that has one.
_CODES = {0x10: "latin-1", 0x11: "utf-16-be", 0x15: "utf-8"} | {byte: f"iso8859-{byte + 4}" for byte in range(1, 12)}
#: Identifiers FFmpeg lets streams have, and where it puts the program maps.
_FREE_PIDS, _MAP_PIDS = range(0x20, 0x1F00), 0x1000


@dataclass(frozen=True)
class Program:
    """One program, with the identifiers (PIDs) of its streams."""

    number: int
    pids: frozenset[int] = frozenset()
    name: str = ""
    provider: str = ""
    kind: int = 1


@dataclass(frozen=True)
class Programs:
    """All programs of a transport stream."""

    programs: tuple[Program, ...] = ()
    stream_id: int = 0
    network_id: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Names that people have given."""
        return tuple(program.name for program in self.programs if program.name not in _NO_NAMES)

    def options(self) -> dict[str, str]:
        """FFmpeg output options that give a new transport stream the same numbers."""
        options = {"mpegts_transport_stream_id": self.stream_id, "mpegts_original_network_id": self.network_id}
        if len(self.programs) == 1:
            options |= {"mpegts_service_id": self.programs[0].number, "mpegts_service_type": self.programs[0].kind}
        return {name: str(value) for name, value in options.items() if value}

    def words(self, pids: Sequence[int]) -> tuple[str, ...]:
        """Further options, which occur more than once; ``pids`` are those of the output's streams, in order."""
        return (*_identifiers(pids, len(self.programs)), *self._described(pids))

    def _described(self, pids: Sequence[int]) -> Iterator[str]:
        for number, program in enumerate(self.programs):
            if len(self.programs) > 1:
                # What belongs to none would be in no program map and so be found by nobody.
                strays = [pid for pid in pids if not any(pid in other.pids for other in self.programs)]
                own = program.pids if number else program.pids.union(strays)
                members = [f":st={position}" for position, pid in enumerate(pids) if pid in own]
                yield from ("-program", f"program_num={program.number}{''.join(members)}")
            option = "-metadata" if len(self.programs) == 1 else f"-metadata:p:{number}"
            yield from (option, f"service_name={program.name}", option, f"service_provider={program.provider}")


def _identifiers(pids: Sequence[int], programs: int) -> Iterator[str]:
    """The same identifiers as in the source, if all of them may be used."""
    taken = range(_MAP_PIDS, _MAP_PIDS + programs)
    if len(set(pids)) == len(pids) and all(pid in _FREE_PIDS and pid not in taken for pid in pids):
        for position, pid in enumerate(pids):
            yield from ("-streamid", f"{position}:{pid}")


def read_programs(path: Path) -> Programs:
    """The programs of a transport stream, by the tables at its beginning; none if there are no tables."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return Programs()
    maps: dict[int, Program] = {}
    found = Programs()
    services: dict[int, Program] = {}
    for section in _sections(head):
        if section[0] == _PROGRAM_MAP and len(section) > 16 and len(maps) < _MOST_PROGRAMS:
            program = _program_map(section)
            maps.setdefault(program.number, program)
        elif section[0] == _SERVICES and len(section) > 15 and not services:
            found = Programs((), _number(section, 3), _number(section, 8))
            services = {program.number: program for program in _services(section)}
    programs = (replace(services.get(number, Program(number)), pids=program.pids) for number, program in maps.items())
    return replace(found, programs=tuple(programs))


def _sections(data: bytes) -> Iterator[bytes]:
    """Complete sections of every identifier, in order."""
    waiting: dict[int, bytes] = defaultdict(bytes)
    for packet in _packets(data):
        pid, control = _number(packet, 1) & 0x1FFF, packet[3] >> 4 & 3
        body = packet[4:] if control == 1 else packet[5 + packet[4] :] if control == 3 else b""
        starts = bool(packet[1] & 0x40)
        if starts and body:
            # A video's packet looks no different; its first bytes are 0, 0, 1 and make an empty section.
            waiting[pid] = body[1 + body[0] :]
        elif pid in waiting:
            waiting[pid] += body
        while len(waiting[pid]) > 3 and waiting[pid][0] != 0xFF:
            length = 3 + (_number(waiting[pid], 1) & 0xFFF)
            if waiting[pid][0] not in (_PROGRAM_MAP, _SERVICES) or length > 4096:
                del waiting[pid]
                break
            if len(waiting[pid]) < length:
                break
            yield waiting[pid][:length]
            waiting[pid] = waiting[pid][length:]


def _packets(data: bytes) -> Iterable[bytes]:
    """Packets of 188 bytes."""
    for size, offset in _SHAPES:
        if all(at < len(data) and data[at] == _SYNC for at in range(offset, offset + 3 * size, size)):
            return (data[at : at + 188] for at in range(offset, len(data) - 187, size) if data[at] == _SYNC)
    return ()


def _program_map(section: bytes) -> Program:
    position, pids = 12 + (_number(section, 10) & 0xFFF), set()
    while position + 5 <= len(section) - 4:
        pids.add(_number(section, position + 1) & 0x1FFF)
        position += 5 + (_number(section, position + 3) & 0xFFF)
    return Program(_number(section, 3), frozenset(pids))


def _services(section: bytes) -> Iterator[Program]:
    position = 11
    while position + 5 <= len(section) - 4:
        number, size = _number(section, position), _number(section, position + 3) & 0xFFF
        descriptors = section[position + 5 : position + 5 + size]
        position += 5 + size
        while len(descriptors) >= 2:
            content, rest = descriptors[2 : 2 + descriptors[1]], descriptors[2 + descriptors[1] :]
            if descriptors[0] == _SERVICE_DESCRIPTOR and len(content) > 2:
                provider = content[2 : 2 + content[1]]
                yield Program(number, name=_text(content[3 + content[1] :]), provider=_text(provider), kind=content[0])
            descriptors = rest


def _text(data: bytes) -> str:
    if not data:
        return ""
    code = _CODES.get(data[0])
    if data[0] == 0x10:
        code, data = f"iso8859-{_number(data, 1)}" if len(data) > 2 else "latin-1", data[2:]
    try:
        text = (data[1:] if code else data).decode(code or "latin-1", errors="replace")
    except LookupError:
        text = data[1:].decode("latin-1")
    return text.replace("\0", "")


def _number(data: bytes, position: int) -> int:
    return int.from_bytes(data[position : position + 2], "big")
