"""TIFF files of every build, written by hand: bits, colours, strips and tiles, compressions, byte orders, pages.

The array that goes in is the truth for what must be read. LZW is written as literals alone, which every reader takes.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

WIDTH, HEIGHT = 45, 37
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 12: 8}
_LETTERS = {1: "B", 2: "B", 3: "H", 4: "I", 12: "d", 16: "Q"}
COMPRESSIONS = {"none": 1, "lzw": 5, "deflate": 8, "old deflate": 32946, "packbits": 32773, "lzma": 34925}


@dataclass(frozen=True)
class TiffPage:
    """One page: samples (rows, columns, channels) as they are in the file, and how they are written."""

    samples: np.ndarray[Any, Any]
    bits: int = 8
    photometric: int = 1
    compression: str = "none"
    tile: tuple[int, int] | None = None
    rows_per_strip: int = 11
    planar: bool = False
    differences: bool = False
    bits_reversed: bool = False
    kind: int = 0
    #: More tags: type, values.
    tags: Mapping[int, tuple[int, Sequence[Any]]] = field(default_factory=dict)


def tiff_bytes(pages: Sequence[TiffPage], *, order: str = "<", big: bool = False) -> bytes:
    """A whole file."""
    out = bytearray((b"II" if order == "<" else b"MM") + struct.pack(order + "HHH" if big else order + "H", 43, 8, 0)
                    if big else (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 42))  # fmt: skip
    where = len(out)
    out += bytes(8 if big else 4)
    for page in pages:
        where = _append(out, page, where, order, big)
    return bytes(out)


def _append(out: bytearray, page: TiffPage, where: int, order: str, big: bool) -> int:
    """Write a page behind the others; the place of the pointer to the next."""
    pointer = order + ("Q" if big else "I")
    places, lengths = [], []
    for block in _blocks(page):
        data = _compressed(_packed(block, page, order), page.compression)
        if page.bits_reversed:
            data = np.packbits(np.unpackbits(np.frombuffer(data, np.uint8)[:, None], axis=1)[:, ::-1]).tobytes()
        out += b"\0" * (len(out) % 2)
        places.append(len(out))
        lengths.append(len(data))
        out += data
    height, width, channels = page.samples.shape
    tags: dict[int, tuple[int, Sequence[Any]]] = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [page.bits] * channels), 277: (3, [channels]),
        259: (3, [COMPRESSIONS[page.compression]]), 262: (3, [page.photometric]),
    }  # fmt: skip
    long = 16 if big else 4
    if page.tile is None:
        tags |= {273: (long, places), 278: (4, [page.rows_per_strip]), 279: (long, lengths)}
    else:
        tags |= {322: (4, [page.tile[1]]), 323: (4, [page.tile[0]]), 324: (long, places), 325: (long, lengths)}
    tags |= {284: (3, [2])} if page.planar else {}
    tags |= {317: (3, [2])} if page.differences else {}
    tags |= {266: (3, [2])} if page.bits_reversed else {}
    tags |= {254: (4, [page.kind])} if page.kind else {}
    tags |= page.tags
    entries = b""
    room = 8 if big else 4
    for tag in sorted(tags):
        kind, values = tags[tag]
        data = struct.pack(f"{order}{len(values)}{_LETTERS[kind]}", *values)
        if len(data) > room:
            out += b"\0" * (len(out) % 2)
            place = len(out)
            out += data
            data = struct.pack(pointer, place)
        entries += struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, len(values)) + data.ljust(room, b"\0")
    out += b"\0" * (len(out) % 2)
    struct.pack_into(pointer, out, where, len(out))
    out += struct.pack(order + ("Q" if big else "H"), len(tags)) + entries
    out += bytes(room)
    return len(out) - room


def _blocks(page: TiffPage) -> list[np.ndarray[Any, Any]]:
    """Strips or tiles, channel by channel if they are apart."""
    height, width, channels = page.samples.shape
    rows, columns = page.tile or (page.rows_per_strip, width)
    parts = [page.samples[:, :, c : c + 1] for c in range(channels)] if page.planar else [page.samples]
    blocks = []
    for part in parts:
        for top in range(0, height, rows):
            for left in range(0, width, columns):
                block = part[top : top + rows, left : left + columns]
                if page.tile is not None:
                    missing = (0, rows - block.shape[0]), (0, columns - block.shape[1]), (0, 0)
                    block = np.pad(block, missing, mode="edge")
                blocks.append(block)
    return blocks


def _packed(block: np.ndarray[Any, Any], page: TiffPage, order: str) -> bytes:
    if page.differences:
        block = np.diff(block, axis=1, prepend=block.dtype.type(0))
    rows = block.reshape(block.shape[0], -1)
    if page.bits == 8:
        return rows.astype(np.uint8).tobytes()
    if page.bits in (16, 32, 64):
        return rows.astype(rows.dtype.newbyteorder(order)).tobytes()
    bits = (rows[:, :, None] >> np.arange(page.bits)[::-1]) & 1
    return np.packbits(bits.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


def _compressed(data: bytes, compression: str) -> bytes:
    if "deflate" in compression:
        return zlib.compress(data)
    if compression == "lzma":
        return lzma.compress(data)
    if compression == "packbits":
        return b"".join(bytes([len(part) - 1]) + part for part in _cut(data, 128))
    return _lzw(data) if compression == "lzw" else data


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[place : place + size] for place in range(0, len(data), size)]


def _lzw(data: bytes) -> bytes:
    """Codes of nine bits: a clear code before the table would need ten."""
    codes = [code for part in _cut(data, 200) for code in (256, *part)] + [257]
    bits = "".join(f"{code:09b}" for code in codes)
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


def picture(channels: int, bits: int = 8, *, height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> Any:
    """Smooth waves with some noise, (rows, columns, channels)."""
    rows, columns = np.mgrid[:height, :width]
    waves = [(np.sin(rows / (6 + c) + seed) + np.cos(columns / (5 + c) + seed) + 2.2) / 4.5 for c in range(channels)]
    noise = np.random.default_rng(seed).random((height, width, channels)) * 0.02
    peak = (1 << bits) - 1
    return ((np.stack(waves, axis=-1) + noise).clip(0, 1) * peak).astype(np.uint8 if bits <= 8 else np.uint16)
