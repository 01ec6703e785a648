"""WebSocket protocol of the page: parsing and packing of messages.

Text messages are JSON objects with a ``type``. Binary messages are pictures: a header, little-endian, then JPEGs.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vdeblur.errors import VdeblurError
from vdeblur.options import OPTIONS, PAGE_OPTIONS

#: Kinds of binary messages to the page.
SHARP, BOTH, SNAPSHOT = 1, 2, 3
#: Kind, number of the picture, milliseconds since its capture, bytes of the raw JPEG (0: the page has it).
_OUT = struct.Struct("<B3xIfI")
#: Number of the picture, milliseconds of the browser's clock when it was taken.
_IN = struct.Struct("<Id")
_LONGEST_TEXT = 4096
_LARGEST_NUMBER = 2**32 - 1

#: Messages of the page: each type with its fields and their types.
_FIELDS: dict[str, dict[str, tuple[type, ...]]] = {
    "start": {"source": (str,)},
    "leave": {},
    "ack": {"number": (int,)},
    "change": {**{name: OPTIONS[name].json_types for name in PAGE_OPTIONS}, "auto": (bool,)},
    "record": {"on": (bool,)},
    "snapshot": {},
    "ping": {"at": (int, float)},
}
#: Types whose fields are all needed; of a change, any.
_NEEDS_ALL = {"start", "ack", "record", "ping"}


class ProtocolError(VdeblurError):
    """A message that violates the protocol."""


@dataclass(frozen=True)
class TextMessage:
    """A text message from the page."""

    type: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class CameraPicture:
    """A picture from the browser's camera."""

    number: int
    captured_ms: float
    jpeg: bytes


def parse_text(text: str) -> TextMessage:
    """Parse and validate a text message.

    Raises:
        ProtocolError: it is invalid.
    """
    if len(text) > _LONGEST_TEXT:
        raise ProtocolError(f"a message of {len(text)} characters is too long")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ProtocolError("a message is no JSON") from exc
    if not isinstance(data, dict) or not isinstance(data.get("type"), str) or data["type"] not in _FIELDS:
        raise ProtocolError("a message has no known type")
    kind = data.pop("type")
    known = _FIELDS[kind]
    for name, value in data.items():
        if name not in known or not _fits(value, known[name]):
            raise ProtocolError(f"a message of type {kind} has a wrong field")
    if kind in _NEEDS_ALL and len(data) != len(known):
        raise ProtocolError(f"a message of type {kind} lacks a field")
    return TextMessage(kind, data)


def parse_picture(data: bytes) -> CameraPicture:
    """Parse a binary message; the JPEG itself is not validated.

    Raises:
        ProtocolError: the header is invalid.
    """
    if len(data) <= _IN.size:
        raise ProtocolError(f"a picture of {len(data)} bytes is too short")
    number, captured_ms = _IN.unpack_from(data)
    if not math.isfinite(captured_ms) or not 0 <= captured_ms < 1e15:
        raise ProtocolError(f"a picture was taken at {captured_ms}")
    return CameraPicture(number, captured_ms, data[_IN.size :])


def pack_picture(kind: int, number: int, here_ms: float, jpeg: bytes, raw: bytes = b"") -> bytes:
    """Pack a picture for the page: header, raw JPEG if there is one, JPEG of the sharp picture."""
    return _OUT.pack(kind, number & _LARGEST_NUMBER, here_ms, len(raw)) + raw + jpeg


def pack_text(kind: str, fields: Mapping[str, Any]) -> str:
    """Pack a text message for the page."""
    return json.dumps({"type": kind, **fields}, ensure_ascii=False, separators=(",", ":"))


def _fits(value: Any, types: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in types
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(value, types)
