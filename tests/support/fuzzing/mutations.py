"""Damage to files, the same for the same seed: flipped bits, cuts, copies, swaps, header numbers, splices."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

#: Numbers that break arithmetic: none, one, the limits of signed and unsigned words, and their neighbours.
_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 1 << 62)
#: Numbers of headers mostly stand in front, and in MP4 at the end.
_HEAD_BYTES = 600
#: No input grows beyond this.
LARGEST_BYTES = 1 << 20

Mutation = Callable[[bytearray, random.Random, bytes], None]


def _position(data: bytearray, rng: random.Random) -> int:
    """A place in the file: often in its head or tail, where the headers are."""
    kind = rng.random()
    if kind < 0.5:
        return rng.randrange(min(len(data), _HEAD_BYTES))
    if kind < 0.7:
        return max(0, len(data) - 1 - rng.randrange(min(len(data), 2 * _HEAD_BYTES)))
    return rng.randrange(len(data))


def _span(data: bytearray, rng: random.Random) -> tuple[int, int]:
    start = _position(data, rng)
    return start, min(len(data), start + int(2 ** rng.uniform(0, 10)))


def _flip_bits(data: bytearray, rng: random.Random, other: bytes) -> None:
    for _ in range(int(2 ** rng.uniform(0, 6))):
        data[_position(data, rng)] ^= 1 << rng.randrange(8)


def _random_bytes(data: bytearray, rng: random.Random, other: bytes) -> None:
    start, end = _span(data, rng)
    data[start:end] = rng.randbytes(end - start)


def _one_byte(data: bytearray, rng: random.Random, other: bytes) -> None:
    start, end = _span(data, rng)
    data[start:end] = bytes([rng.choice((0, 0xFF, 0x41))]) * (end - start)


def _truncate(data: bytearray, rng: random.Random, other: bytes) -> None:
    del data[rng.randrange(len(data)) :]


def _remove(data: bytearray, rng: random.Random, other: bytes) -> None:
    start, end = _span(data, rng)
    del data[start:end]


def _duplicate(data: bytearray, rng: random.Random, other: bytes) -> None:
    start, end = _span(data, rng)
    data[end:end] = bytes(data[start:end]) * rng.choice((1, 1, 2, 30))


def _swap(data: bytearray, rng: random.Random, other: bytes) -> None:
    (first, end), (second, last) = sorted((_span(data, rng), _span(data, rng)))
    size = min(end - first, last - second, second - first)
    data[first : first + size], data[second : second + size] = (
        data[second : second + size],
        data[first : first + size],
    )


def _number(data: bytearray, rng: random.Random, other: bytes) -> None:
    """A size, count or duration that is not so."""
    width = rng.choice((1, 2, 4, 4, 4, 8))
    value = rng.choice(_NUMBERS) & ((1 << 8 * width) - 1)
    start = _position(data, rng)
    data[start : start + width] = value.to_bytes(width, rng.choice(("big", "little")))


def _digits(data: bytearray, rng: random.Random, other: bytes) -> None:
    """The same for headers of text (Y4M, playlists, subtitles)."""
    places = [place for place, byte in enumerate(data[: 2 * _HEAD_BYTES]) if 0x30 <= byte <= 0x39]
    if places:
        place = rng.choice(places)
        data[place : place + 1] = rng.choice((b"0", b"-1", b"65535", b"2147483647", b"99999999999999999999", b"1e9"))


def _splice(data: bytearray, rng: random.Random, other: bytes) -> None:
    """The head of this file and the rest of another, or a piece of the other inside this one."""
    if rng.random() < 0.5:
        data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]
    else:
        start, end = _span(data, rng)
        first = rng.randrange(len(other))
        data[start:end] = other[first : first + int(2 ** rng.uniform(4, 12))]


_MUTATIONS: tuple[Mutation, ...] = (
    _flip_bits, _random_bytes, _one_byte, _truncate, _remove, _duplicate, _swap,
    _number, _number, _number, _digits, _splice,
)  # fmt: skip


def mutate(seeds: Sequence[bytes], seed: int, number: int) -> tuple[int, bytes]:
    """The ``number``-th input of a run: which of ``seeds`` it was made of, and its bytes."""
    rng = random.Random(f"{seed}:{number}")
    index = rng.randrange(len(seeds))
    data = bytearray(seeds[index])
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        if data:
            rng.choice(_MUTATIONS)(data, rng, rng.choice(seeds))
    return index, bytes(data[:LARGEST_BYTES])
