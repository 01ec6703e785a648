"""MPEG-TS programs: numbers, names and packet identifiers, which FFmpeg does not copy by itself.

Sources: ISO/IEC 13818-1 (program association and map tables), ETSI EN 300 468 (service description table; annex A for
its texts).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

_SYNC, _PACKET = 0x47, 188
#: Distances of packets: plain, with a time in front (Blu-ray, AVCHD), with a checksum behind.
_SIZES = (188, 192, 204)
#: Packets in a row that make a rhythm, and how many do at the end of a file.
_BEATS, _FEWEST_BEATS = 5, 3
#: Bits of a packet's second and fourth byte.
_DAMAGED, _STARTS, _SCRAMBLED = 0x80, 0x40, 0xC0
#: Tables, and the identifiers on which two of them always are.
_ASSOCIATION, _PROGRAM_MAP, _SERVICES, _SERVICE_DESCRIPTOR = 0x00, 0x02, 0x42, 0x48
_ASSOCIATION_PID, _SERVICES_PID = 0x00, 0x11
_STUFFING, _LONGEST_SECTION = 0xFF, 4096
#: Tables are repeated several times a second; in so many bytes each has come.
_HEAD_BYTES = 4 << 20
#: No transport stream has as many; a crafted one may say so.
_MOST_PROGRAMS = 100
#: What FFmpeg calls a program without a name.
_NO_NAMES = frozenset({"", "Service01"})
#: Tables of character codes by the first byte of a text; 5 is the first of ISO 8859 that has one.
_CODES = {0x10: "latin-1", 0x11: "utf-16-be", 0x15: "utf-8"} | {byte: f"iso8859-{byte + 4}" for byte in range(1, 12)}


@dataclass(frozen=True)
class Identifiers:
    """Packet identifiers (PIDs) in one kind of transport stream, as FFmpeg's muxer gives them out."""

    #: Where it puts the first program map; those of further programs follow.
    first_map: int = 0x1000
    #: Those that streams may have.
    streams: tuple[range, ...] = (range(0x20, 0x1F00),)

    def words(self, pids: Sequence[int], programs: int) -> Iterator[str]:
        """Options that give streams the same identifiers as in the source, if all of them may be used."""
        taken = range(self.first_map, self.first_map + programs)
        free = all(any(pid in allowed for allowed in self.streams) and pid not in taken for pid in pids)
        if free and len(set(pids)) == len(pids):
            for position, pid in enumerate(pids):
                yield from ("-streamid", f"{position}:{pid}")


#: Blu-ray discs and AVCHD cameras: video, sound, subtitles, menus, texts, and second sounds and videos.
BLU_RAY_IDENTIFIERS = Identifiers(
    0x100, tuple(range(start, start + 0x20) for start in (0x1011, 0x1100, 0x1200, 0x1400, 0x1800, 0x1A00, 0x1B00))
)


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

    def words(self, pids: Sequence[int], identifiers: Identifiers) -> tuple[str, ...]:
        """Further options, which occur more than once; ``pids`` are those of the output's streams, in order."""
        return (*identifiers.words(pids, len(self.programs)), *self._described(pids))

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


def read_programs(path: Path) -> Programs:
    """The programs of a transport stream, by the tables at its beginning; none if there are no tables.

    Program maps are read on the identifiers alone that the program association table names, and tables whose checksum
    is wrong are passed over: the bytes of a video look like a table now and then.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return Programs()
    # The first map may come before the first association, so the tables are gone through twice.
    wanted: dict[int, set[int]] = defaultdict(set)
    for _, section in _sections(head, {_ASSOCIATION_PID: _ASSOCIATION}):
        for number, pid in _associations(section):
            if len(wanted) < _MOST_PROGRAMS:
                wanted[pid].add(number)
    maps: dict[int, Program] = {}
    found = Programs()
    services: dict[int, Program] = {}
    tables = dict.fromkeys(wanted, _PROGRAM_MAP) | {_SERVICES_PID: _SERVICES}
    for pid, section in _sections(head, tables):
        if section[0] == _PROGRAM_MAP:
            program = _program_map(section)
            if program.number in wanted[pid] and (program.number in maps or len(maps) < _MOST_PROGRAMS):
                # A later version may have other streams; those of both are the program's.
                before = maps.get(program.number, program)
                maps[program.number] = replace(before, pids=before.pids | program.pids)
        elif len(section) > 15:
            found = found if services else Programs((), _number(section, 3), _number(section, 8))
            for program in _services(section):
                services.setdefault(program.number, program)
    programs = (replace(services.get(number, Program(number)), pids=program.pids) for number, program in maps.items())
    return replace(found, programs=tuple(programs))


def _sections(data: bytes, tables: Mapping[int, int]) -> Iterator[tuple[int, bytes]]:
    """Complete and valid sections with the identifier they came on; ``tables`` has the kind wanted of each."""
    assemblies = {pid: _SectionAssembly() for pid in tables}
    for packet in _packets(data):
        pid, control = _number(packet, 1) & 0x1FFF, packet[3] >> 4 & 3
        if pid not in assemblies or packet[1] & _DAMAGED or packet[3] & _SCRAMBLED:
            continue
        body = packet[4:] if control == 1 else packet[5 + packet[4] :] if control == 3 else b""
        if not body:
            continue
        for section in assemblies[pid].add(body, starts=bool(packet[1] & _STARTS), counter=packet[3] & 0xF):
            if section[0] == tables[pid] and _is_valid(section):
                yield pid, section


class _SectionAssembly:
    """Puts the sections of one identifier together (ISO/IEC 13818-1, 2.4.4)."""

    def __init__(self) -> None:
        self._waiting: bytes | None = None
        self._counter: int | None = None

    def add(self, body: bytes, *, starts: bool, counter: int) -> Iterator[bytes]:
        """Take the body of the next packet; give the sections that are whole with it."""
        if counter == self._counter:
            return  # sent twice, as is allowed
        if self._counter is not None and counter != (self._counter + 1) % 16:
            self._waiting = None  # a packet is missing
        self._counter = counter
        if starts:
            old, new = body[1 : 1 + body[0]], body[1 + body[0] :]
            if self._waiting is not None:
                yield from self._take(self._waiting + old)
            yield from self._take(new)
        elif self._waiting is not None:
            yield from self._take(self._waiting + body)

    def _take(self, data: bytes) -> Iterator[bytes]:
        """Give whole sections; what is behind the last one waits, unless it is stuffing."""
        while data and data[0] != _STUFFING:
            length = 3 + (_number(data, 1) & 0xFFF) if len(data) >= 3 else _LONGEST_SECTION
            if length > _LONGEST_SECTION:
                break
            if len(data) < length:
                self._waiting = data
                return
            yield data[:length]
            data = data[length:]
        self._waiting = None


def _is_valid(section: bytes) -> bool:
    """Whether a section has the long form, is in force, and has the checksum that it says."""
    return len(section) >= 12 and bool(section[1] & 0x80) and bool(section[5] & 1) and _crc32(section) == 0


def _crc_step(value: int) -> int:
    for _ in range(8):
        value = value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)
    return value & 0xFFFFFFFF


_CRC_TABLE = tuple(_crc_step(byte << 24) for byte in range(256))


def _crc32(data: bytes) -> int:
    """CRC-32/MPEG-2; 0 over data that ends with its own (ISO/IEC 13818-1, annex A)."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value << 8 & 0xFFFFFFFF ^ _CRC_TABLE[value >> 24 ^ byte]
    return value


def _packets(data: bytes) -> Iterator[bytes]:
    """Packets of 188 bytes; where the rhythm is lost, it is looked for again."""
    at = 0
    while (found := _rhythm(data, at)) is not None:
        at, size = found
        while at + _PACKET <= len(data) and data[at] == _SYNC:
            yield data[at : at + _PACKET]
            at += size


def _rhythm(data: bytes, start: int) -> tuple[int, int] | None:
    """Where the next packets begin, and how far they are apart; a file may have been cut in the middle of one."""
    at = data.find(_SYNC, start)
    while at >= 0:
        for size in _SIZES:
            beats = range(at, min(at + _BEATS * size, len(data) - _PACKET + 1), size)
            if len(beats) >= _FEWEST_BEATS and all(data[beat] == _SYNC for beat in beats):
                return at, size
        at = data.find(_SYNC, at + 1)
    return None


def _associations(section: bytes) -> Iterator[tuple[int, int]]:
    """Numbers of programs, and the identifiers on which their maps are; number 0 is the network's own table."""
    for position in range(8, len(section) - 7, 4):
        number, pid = _number(section, position), _number(section, position + 2) & 0x1FFF
        if number:
            yield number, pid


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
