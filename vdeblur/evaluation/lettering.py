"""Lettering: short labels as pixels, for pictures that must explain themselves."""

from __future__ import annotations

import torch
from torch import Tensor

#: Capitals of 5 × 7 pixels: two hexadecimal digits a row, the highest of five bits on the left.
GLYPHS = {
    " ": "00000000000000",
    "A": "0e11111f111111", "B": "1e11111e11111e", "C": "0e11101010110e", "D": "1e11111111111e",
    "E": "1f10101e10101f", "F": "1f10101e101010", "G": "0e11101711110f", "H": "1111111f111111",
    "I": "0e04040404040e", "J": "0702020202120c", "K": "11121418141211", "L": "1010101010101f",
    "M": "111b1515111111", "N": "11111915131111", "O": "0e11111111110e", "P": "1e11111e101010",
    "Q": "0e11111115120d", "R": "1e11111e141211", "S": "0f10100e01011e", "T": "1f040404040404",
    "U": "1111111111110e", "V": "11111111110a04", "W": "1111111515150a", "X": "11110a040a1111",
    "Y": "1111110a040404", "Z": "1f01020408101f",
    "0": "0e11131519110e", "1": "040c040404040e", "2": "0e11010204081f", "3": "1f02040201110e",
    "4": "02060a121f0202", "5": "1f101e0101110e", "6": "0608101e11110e", "7": "1f010204080808",
    "8": "0e11110e11110e", "9": "0e11110f01020c",
    "-": "0000001f000000", "+": "0004041f040400", ".": "00000000000c0c", ",": "000000000c0408",
    ":": "000c0c000c0c00", "/": "00010204081000", "_": "0000000000001f", "(": "02040808080402",
    ")": "08040202020408", "=": "00001f001f0000", "%": "18190204081303", "?": "0e110102040004",
}  # fmt: skip

GLYPH_WIDTH, GLYPH_HEIGHT = 5, 7
#: From one letter to the next.
ADVANCE = GLYPH_WIDTH + 1


def lettered(words: str, width: int, *, scale: int = 2) -> Tensor:
    """A strip (7·scale + 2·scale, width) of 0 and 1 with the words in capitals, cut off where it ends.

    Letters that have no glyph are shown as question marks.
    """
    strip = torch.zeros(GLYPH_HEIGHT + 2, max(1, width // scale))
    for index, letter in enumerate(words.upper()[: (strip.shape[1] - 1) // ADVANCE]):
        left = 1 + index * ADVANCE
        strip[1 : 1 + GLYPH_HEIGHT, left : left + GLYPH_WIDTH] = _glyph(letter)
    strip = strip.repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    return torch.nn.functional.pad(strip, (0, width - strip.shape[1]))


def _glyph(letter: str) -> Tensor:
    rows = bytes.fromhex(GLYPHS.get(letter, GLYPHS["?"]))
    return torch.tensor([[float(row >> (GLYPH_WIDTH - 1 - bit) & 1) for bit in range(GLYPH_WIDTH)] for row in rows])
