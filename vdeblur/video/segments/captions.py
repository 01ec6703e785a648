"""Closed captions: CEA-608 and CEA-708 data of each picture, put back into the packets of H.264 and HEVC.

Raw frames do not carry them to the encoder. They wait beside their segment, and enter the coded pictures when the
segments are joined.

Source: ATSC A/53 part 4, 6.2.3 (cc_data); ITU-T H.264 and H.265, annex D (user data registered by ITU-T T.35), and
their 7.4.1 and 7.4.2 (emulation prevention).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av

#: United States, ATSC, and the kind of user data that captions are.
_HEADER = bytes((0xB5, 0x00, 0x31)) + b"GA94\x03"
#: Pairs of bytes of one picture, as five bits count them.
_MOST_PAIRS = 31
_REGISTERED = 4
_LENGTH_BYTES = 4


def save_captions(captions: Mapping[int, bytes], segment: Path) -> None:
    """Save the captions of a segment beside it, if there are any, safely on the disk.

    Raises:
        OSError: the disk failed.
    """
    if not captions:
        return
    with _beside(segment).open("w", encoding="ascii") as file:
        json.dump({str(tick): data.hex() for tick, data in captions.items()}, file)
        file.flush()
        os.fsync(file.fileno())


def load_captions(segment: Path) -> dict[int, bytes]:
    """Captions of a segment by the tick of their frame.

    Raises:
        OSError, ValueError: they are there and cannot be read.
    """
    try:
        text = _beside(segment).read_text(encoding="ascii")
    except FileNotFoundError:
        return {}
    return {int(tick): bytes.fromhex(data) for tick, data in json.loads(text).items()}


def _beside(segment: Path) -> Path:
    return segment.with_name(f"{segment.name}.captions")


def captioned(packet: av.Packet[Any], codec: str, captions: bytes) -> av.Packet[Any]:
    """A packet with the captions of its picture in front of its first slice.

    Args:
        packet: of units with four bytes of length each, as MP4 has them.
        codec: "h264" or "hevc"; of others the packet stays as it is.
        captions: cc_data, three bytes a pair.
    """
    unit = _unit(codec, captions)
    if unit is None:
        return packet
    data = bytes(packet)
    place = _first_slice(data, codec)
    data = data[:place] + len(unit).to_bytes(_LENGTH_BYTES, "big") + unit + data[place:]
    # Memory of FFmpeg's own, which is freed without Python.
    made: av.Packet[Any] = av.Packet(len(data))
    made.update(data)
    made.pts, made.dts, made.duration = packet.pts, packet.dts, packet.duration
    made.time_base, made.is_keyframe = packet.time_base, packet.is_keyframe
    return made


def _unit(codec: str, captions: bytes) -> bytes | None:
    """Unit of supplemental information (SEI) in front of a picture."""
    names = {"h264": b"\x06", "hevc": bytes((39 << 1, 1))}
    if codec not in names:
        return None
    pairs = min(len(captions) // 3, _MOST_PAIRS)
    message = _HEADER + bytes((0x40 | pairs, 0xFF)) + captions[: 3 * pairs] + b"\xff"
    return names[codec] + _protected(bytes((_REGISTERED, len(message))) + message + b"\x80")


def _first_slice(data: bytes, codec: str) -> int:
    """Where the first unit with a part of the picture begins."""
    place = 0
    while place + _LENGTH_BYTES < len(data):
        kind = data[place + _LENGTH_BYTES]
        if (1 <= kind & 31 <= 5) if codec == "h264" else (kind >> 1 & 63) < 32:
            return place
        place += _LENGTH_BYTES + int.from_bytes(data[place : place + _LENGTH_BYTES], "big")
    return 0


def _protected(data: bytes) -> bytes:
    """The bytes with nothing in them that looks like the beginning of a unit."""
    made, zeros = bytearray(), 0
    for byte in data:
        if zeros >= 2 and byte <= 3:
            made.append(3)
            zeros = 0
        made.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(made)
