"""Batches: what belongs to several streams joined for one pass through the network, and taken apart again.

Features and states are tensors, or tuples of them within tuples, with the batch as their first dimension.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor


def joined(parts: Sequence[Any]) -> Any:
    """Several of one structure as one, one behind the other in the batch; None if they are None."""
    first = parts[0]
    if first is None or len(parts) == 1:
        return first
    if isinstance(first, Tensor):
        return torch.cat(tuple(parts))
    return _like(first, [joined(column) for column in zip(*parts, strict=True)])


def separated(whole: Any, count: int) -> list[Any]:
    """The inverse of :func:`joined`: ``count`` of the same structure, each with its part of the batch."""
    if count == 1:
        return [whole]
    if isinstance(whole, Tensor):
        return list(whole.view(count, -1, *whole.shape[1:]).unbind(0))  # a batch of any size, unlike ``chunk``
    columns = [separated(part, count) for part in whole]
    return [_like(whole, [column[index] for column in columns]) for index in range(count)]


def alike(keys: Sequence[Hashable]) -> list[list[int]]:
    """Indexes of equal keys, in the order in which each key comes first."""
    groups: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def _like(example: tuple[Any, ...], values: list[Any]) -> Any:
    """A tuple of the example's type, which may be a named one."""
    make = getattr(type(example), "_make", tuple)
    return make(values)
