"""A stand-in for CUDA graphs: what is done is written down and done again in the same memory, without any of Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Recording(TorchDispatchMode):
    """Every operation with what it was given and what it made; one that a CUDA graph cannot have is refused."""

    #: Operators that give a number of the device to the host, or a size that depends on such a number; and the one
    #: that makes a tensor of numbers of the host, such as a list of indices, which is copied to the device each time.
    REFUSED = frozenset(
        {"_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal", "lift_fresh"}
    )

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.split("::")[1]
        if name in self.REFUSED:
            raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
        result = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, result))
        return result

    def replay(self) -> None:
        for func, args, kwargs, result in self.operations:
            if any(
                argument.alias_info is not None and argument.alias_info.is_write for argument in func._schema.arguments
            ):
                func(*args, **kwargs)  # in place
                continue
            again = func(*args, **kwargs)
            for new, old in zip(tree_leaves(again), tree_leaves(result), strict=True):
                if isinstance(old, Tensor) and new.data_ptr() != old.data_ptr():
                    old.copy_(new)


class CpuRecorder:
    """Records like :class:`vdeblur.runtime.cuda_graphs.CudaRecorder`, on the CPU.

    After a recording, what it wrote is spoilt, as nothing has been computed yet while a CUDA graph is recorded.
    """

    def __init__(self) -> None:
        self.count = 0
        self.replays = 0

    def record(self, work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        self.count += 1
        with Recording() as recording:
            result = work()

        def replay() -> None:
            self.replays += 1
            recording.replay()

        return replay, result


class Failing:
    """A recorder that cannot."""

    def record(self, work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        raise RuntimeError("operation not permitted when stream is capturing\nsecond line")
