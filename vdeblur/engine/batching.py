"""Batching: concatenate the nested tensors of several streams for one pass and split them again.

Features and states are tensors, or tuples of them within tuples, with the batch as their first dimension.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor


def concatenate(parts: Sequence[Any]) -> Any:
    """Concatenate nested tensors of one structure along the batch; None if they are None."""
    first = parts[0]
    if first is None or len(parts) == 1:
        return first
    if isinstance(first, Tensor):
        return torch.cat(tuple(parts))
    return _like(first, [concatenate(column) for column in zip(*parts, strict=True)])


def split_batch(whole: Any, count: int) -> list[Any]:
    """Split nested tensors into ``count`` equal parts of the batch; the inverse of :func:`concatenate`."""
    if count == 1:
        return [whole]
    if isinstance(whole, Tensor):
        return list(whole.view(count, -1, *whole.shape[1:]).unbind(0))  # a batch of any size, unlike ``chunk``
    columns = [split_batch(part, count) for part in whole]
    return [_like(whole, [column[index] for column in columns]) for index in range(count)]


def group_equal(keys: Sequence[Hashable]) -> list[list[int]]:
    """Group the indexes of equal keys, in the order in which each key comes first."""
    groups: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def _like(example: tuple[Any, ...], values: list[Any]) -> Any:
    """A tuple of the example's type, which may be a named one."""
    make = getattr(type(example), "_make", tuple)
    return make(values)
