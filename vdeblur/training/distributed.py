"""Distributed training: the processes that ``torchrun`` starts, one for each GPU, or one alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn

from vdeblur.errors import UsageError
from vdeblur.runtime.device import find_device

#: Variables that torchrun sets.
_RANK, _SIZE, _LOCAL_RANK = "RANK", "WORLD_SIZE", "LOCAL_RANK"


class ProcessTeam:
    """This process's place among those that train together.

    Args:
        rank: number of this process; 0 writes, logs and validates.
        size: how many there are.
        device: where this process computes.
    """

    def __init__(self, device: torch.device, *, rank: int = 0, size: int = 1) -> None:
        self.device, self.rank, self.size = device, rank, size

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the team, all of them in one message."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        message = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(message)
        message /= self.size
        parts = torch.split(message, [gradient.numel() for gradient in gradients])
        torch._foreach_copy_(gradients, [p.view_as(g) for p, g in zip(parts, gradients, strict=True)])

    def share(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the values that rank 0 has."""
        if self.size == 1:
            return
        for parameter in parameters:
            distributed.broadcast(parameter.data, src=0)

    def mean(self, values: Tensor) -> Tensor:
        """Mean of a tensor over the team; the tensor itself stays as it is."""
        if self.size == 1:
            return values
        total = values.clone()
        distributed.all_reduce(total)
        return total / self.size

    def agree(self, done: float, asked: bool) -> tuple[float, bool]:
        """The share that rank 0 says is done, and whether any process was asked to end.

        Goes through the processors' memory, so that no GPU has to wait.
        """
        if self.size == 1:
            return done, asked
        message = torch.tensor([done if self.leads else 0.0, float(asked)], dtype=torch.float64)
        distributed.all_reduce(message)
        return float(message[0]), bool(message[1] > 0)


@contextmanager
def gathered_team(device: str) -> Iterator[ProcessTeam]:
    """The team that torchrun's variables speak of, or this process alone; parted again at the end.

    Args:
        device: as for :func:`vdeblur.runtime.device.find_device`; "cuda" means the GPU of this process's number.

    Raises:
        UsageError: ``device`` names one GPU for all processes.
        DeviceError: the device is not there.
    """
    size = int(os.environ.get(_SIZE, "1"))
    if size == 1:
        yield ProcessTeam(find_device(device))
        return
    if ":" in device:
        raise UsageError(f"device cannot be {device!r} with {size} processes: say cuda, and each takes its own GPU")
    found = find_device(device)
    if found.type != "cpu":
        found = find_device(f"{found.type}:{os.environ.get(_LOCAL_RANK, '0')}")
        torch.accelerator.set_device_index(found.index)
    backend = "cpu:gloo,cuda:nccl" if found.type == "cuda" else "gloo"
    distributed.init_process_group(backend)
    try:
        yield ProcessTeam(found, rank=int(os.environ[_RANK]), size=size)
    finally:
        distributed.destroy_process_group()
