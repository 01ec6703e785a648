"""Bit reader of codec headers: fixed lengths, Exp-Golomb codes, and AV1's non-symmetric numbers."""

from __future__ import annotations


class OutOfBitsError(ValueError):
    """The data end before the header does, or no header is like this."""


class BitReader:
    """Bits of a short header, the most significant first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def bits(self, count: int) -> int:
        """A number of so many bits.

        Raises:
            OutOfBitsError: there are not so many.
        """
        if count > self._left:
            raise OutOfBitsError(f"{count} bits are wanted, {self._left} are there")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def flag(self) -> bool:
        return bool(self.bits(1))

    def unsigned(self) -> int:
        """ue(v): an Exp-Golomb code (ITU-T H.265, 9.2)."""
        zeros = 0
        while not self.bits(1):
            zeros += 1
            if zeros > 32:
                raise OutOfBitsError("a number has more than 32 bits")
        return (1 << zeros) - 1 + self.bits(zeros)

    def signed(self) -> int:
        """se(v)."""
        code = self.unsigned()
        return (code + 1) // 2 if code % 2 else -(code // 2)

    def below(self, count: int) -> int:
        """ns(n): a number below ``count`` (AV1 specification, 4.10.7)."""
        width = count.bit_length()
        short = (1 << width) - count
        value = self.bits(width - 1)
        return value if value < short else (value << 1) - short + self.bits(1)


def without_emulation(data: bytes) -> bytes:
    """Payload of a NAL unit without the bytes that keep start codes from appearing in it."""
    return data.replace(b"\x00\x00\x03", b"\x00\x00")
