"""Notes on kernels: that they are being compiled, which the first run waits for, and that they cannot be kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: The logger of the module that compiles, which is imported late.
LOGGER = "vdeblur.kernels.cpu.compiling"


@contextmanager
def kernel_notes(note: Callable[[str], None]) -> Iterator[None]:
    """Within the block, what the compiler says goes to ``note``, which may be called from any thread."""
    logger, handler = logging.getLogger(LOGGER), _Notes(note)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


class _Notes(logging.Handler):
    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        self._note(record.getMessage())
