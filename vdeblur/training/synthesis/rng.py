"""Random number generator: every draw of a synthetic clip comes from one seeded generator."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import numpy.typing as npt
import torch


def seed_of(*words: object) -> int:
    """A seed of 32 bits made of any words and numbers, the same on every machine (BLAKE2)."""
    text = "/".join(str(word) for word in words)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little")


class Draw:
    """Random numbers from one generator on the CPU, in the shapes that configs speak of."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    @classmethod
    def of(cls, *words: object) -> Draw:
        """A fresh one for these words and numbers."""
        return cls(torch.Generator().manual_seed(seed_of(*words)))

    def uniform(self, *shape: int) -> npt.NDArray[np.float64]:
        """Numbers in [0, 1)."""
        numbers: npt.NDArray[np.float64] = torch.rand(*shape, generator=self.generator, dtype=torch.float64).numpy()
        return numbers

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self._one()

    def log_between(self, low: float, high: float) -> float:
        return math.exp(self.between(math.log(low), math.log(high)))

    def chance(self, probability: float) -> bool:
        return self._one() < probability

    def integer(self, below: int) -> int:
        return int(torch.randint(max(1, below), (1,), generator=self.generator))

    def sign(self) -> float:
        return 1.0 if self.chance(0.5) else -1.0

    def order(self, count: int) -> list[int]:
        """The numbers from 0 to ``count`` - 1, shuffled."""
        shuffled: list[int] = torch.randperm(count, generator=self.generator).tolist()
        return shuffled

    def _one(self) -> float:
        return torch.rand(1, generator=self.generator, dtype=torch.float64).item()
