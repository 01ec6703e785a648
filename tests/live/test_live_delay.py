"""Glass to glass: numbers drawn into the source are read back from the output, and no delay grows.

The source is Y4M through a FIFO, the output Y4M through a pipe: all of the way but the camera and the screen.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from numpy.typing import NDArray

from support.doubles import Slow
from support.live_doubles import STILL
from support.wall_clock import patience, scaled
from vdeblur.live.session import LiveSession
from vdeblur.live.sinks import PipeSink
from vdeblur.live.source_parser import open_source
from vdeblur.live.types import SessionStatus

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no FIFOs")

BITS, FPS = 20, 25.0


def drawn(number: int, height: int, width: int) -> NDArray[np.uint8]:
    """Luma with a number as a bar code: black and white columns, most significant bit first."""
    bits = (number >> np.arange(BITS)[::-1]) & 1
    row = np.repeat(np.where(bits, 235, 16).astype(np.uint8), width // BITS)
    return np.broadcast_to(np.pad(row, (0, width - len(row)), constant_values=16), (height, width))


def read(luma: NDArray[np.uint8]) -> int:
    """The number in a picture."""
    step = luma.shape[1] // BITS
    middles = luma[luma.shape[0] // 2, step // 2 : step * BITS : step] > 125
    return int(sum(1 << place for place, bit in enumerate(middles[::-1]) if bit))


def test_a_number_is_read_back() -> None:
    for number in (0, 1, 12345, (1 << BITS) - 1):
        assert read(np.asarray(drawn(number, 48, 80))) == number


class Glass:
    """Feeds a session through a FIFO for some seconds, and notes for each number how long it took to come back."""

    def __init__(self, folder: Path, height: int, width: int) -> None:
        self._fifo = folder / "camera.y4m"
        os.mkfifo(self._fifo)
        self._height, self._width = height, width
        self._sent: dict[int, float] = {}
        self.delays: list[tuple[float, float]] = []
        self.numbers: list[int] = []
        self.kib: list[int] = []
        self.status: SessionStatus | None = None

    def run(self, network: Slow, seconds: float) -> None:
        ends = os.pipe()
        feeder = threading.Thread(target=self._feed, args=(seconds,), name="vdeblur-test-feed")
        reader = threading.Thread(target=self._read, args=(ends[0],), name="vdeblur-test-read")
        source = open_source(str(self._fifo))
        with open(ends[1], "wb", buffering=0) as writing:
            feeder.start()
            reader.start()
            with LiveSession(source, STILL, [PipeSink(writing, "y4m")], networks={"double": network}) as session:
                assert session.wait(seconds + patience(60))
                self.status = session.status()
        feeder.join()
        reader.join()

    def _feed(self, seconds: float) -> None:
        chroma = np.full(self._height * self._width // 2, 128, np.uint8).tobytes()
        with open(self._fifo, "wb") as out:
            out.write(f"YUV4MPEG2 W{self._width} H{self._height} F25:1 Ip A1:1 C420mpeg2\n".encode())
            start = time.monotonic()
            for number in range(int(seconds * FPS)):
                time.sleep(max(0.0, start + number / FPS - time.monotonic()))
                luma = drawn(number, self._height, self._width).tobytes()
                self._sent[number] = time.monotonic()
                out.write(b"FRAME\n" + luma + chroma)
                out.flush()

    def _read(self, descriptor: int) -> None:
        with open(descriptor, "rb") as reading:
            reading.readline()
            while reading.readline() == b"FRAME\n":
                luma = np.frombuffer(reading.read(self._height * self._width), np.uint8)
                reading.read(self._height * self._width // 2)
                number, now = read(luma.reshape(self._height, self._width)), time.monotonic()
                self.numbers.append(number)
                self.delays.append((now, now - self._sent[number]))
                self.kib.append(resident_kib())


def resident_kib() -> int:
    """Memory this process has in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if sys.platform == "linux" else 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def check(glass: Glass, network_seconds: float, *, growth_kib: int) -> None:
    """The delay is that of a frame at work and one waiting, at the end as at the beginning."""
    delays = [delay for _, delay in glass.delays][2:]
    part = max(3, len(delays) // 4)
    first, last = median(delays[:part]), median(delays[-part:])
    most = sorted(delays)[int(0.98 * len(delays))]  # a busy machine may stand still now and then
    print(f"\n{len(delays)} frames: {first:.3f} s at first, {last:.3f} s at last, 98 % under {most:.3f} s; "
          f"memory {glass.kib[len(glass.kib) // 10]} -> {glass.kib[-1]} KiB")  # fmt: skip
    assert median(delays) < network_seconds + 2 / FPS + scaled(0.05)
    assert last - first < scaled(0.05)
    assert most < 2 * network_seconds + scaled(0.3)
    assert glass.numbers == sorted(set(glass.numbers))
    assert glass.status is not None
    assert glass.status.dropped > 0.5 * glass.status.frames
    assert glass.kib[-1] - glass.kib[len(glass.kib) // 10] < growth_kib


def test_a_network_too_slow_for_the_source_adds_no_delay(tmp_path: Path) -> None:
    glass = Glass(tmp_path, 120, 160)
    glass.run(Slow(0.2), 10)
    check(glass, 0.2, growth_kib=20_000)


def test_a_quick_network_adds_hardly_any(tmp_path: Path) -> None:
    glass = Glass(tmp_path, 120, 160)
    glass.run(Slow(0.005), 4)
    delays = [delay for _, delay in glass.delays]
    assert median(delays) < scaled(0.06)
    assert len(delays) > (1 - scaled(0.2, below=0.9)) * 4 * FPS


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_minutes_add_no_delay(tmp_path: Path) -> None:
    glass = Glass(tmp_path, 720, 1280)
    glass.run(Slow(0.15), 600)
    check(glass, 0.15, growth_kib=30_000)
