"""A restored picture comes out before the next one is asked for: triggered cameras, reused buffers, feedback loops."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from queue import Empty, Queue
from typing import Any

import numpy as np
import pytest
import torch

from support.doubles import clip
from support.drifting_pictures import QUICK, pictures
from vdeblur import Deblurrer, EncodeOptions, adeblur_frames, deblur_frames, deblur_streams, deblur_video

MODELS = ["swift", "fast", "balanced"]
COUNT, HEIGHT, WIDTH = 5, 40, 56


def logged(log: list[str], frames: list[Any]) -> Iterator[Any]:
    for n, frame in enumerate(frames):
        log.append(f"in {n}")
        yield frame


def expected(lookahead: int) -> list[str]:
    steps = []
    for n in range(COUNT + lookahead):
        steps += [f"in {n}"] * (n < COUNT) + [f"out {n - lookahead}"] * (n >= lookahead)
    return steps


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("model", MODELS)
def test_each_comes_out_before_the_next_goes_in(model: str, lookahead: int) -> None:
    """With lookahead 1, the one before it does. In a generator, an event loop, and with several streams."""
    frames = pictures(COUNT, (HEIGHT, WIDTH, 3))
    options: Any = {"model": model, "lookahead": lookahead, **QUICK}

    log: list[str] = []
    for n, _ in enumerate(deblur_frames(logged(log, frames), **options)):
        log.append(f"out {n}")
    assert log == expected(lookahead)

    async def in_a_loop() -> list[str]:
        log: list[str] = []
        n = 0
        async for _ in adeblur_frames(logged(log, frames), **options):
            log.append(f"out {n}")
            n += 1
        return log

    assert asyncio.run(in_a_loop()) == expected(lookahead)

    log = []
    for n, _ in enumerate(deblur_streams([logged(log, frames), iter(frames)], **options)):
        log.append(f"out {n}")
    assert log == expected(lookahead)


def test_what_is_there_already_need_not_wait() -> None:
    """A list of pictures is restored as a generator of them."""
    frames = pictures(COUNT, (HEIGHT, WIDTH, 3))
    as_list = list(deblur_frames(frames, model="fast", **QUICK))
    as_generator = list(deblur_frames(iter(frames), model="fast", **QUICK))
    assert all(np.array_equal(a, b) for a, b in zip(as_list, as_generator, strict=True))


@pytest.mark.parametrize("kind", ["arrays", "float arrays", "tensors", "planes of frames"])
@pytest.mark.parametrize("lookahead", [0, 1])
def test_a_camera_may_write_every_picture_into_one_buffer(lookahead: int, kind: str) -> None:
    fresh: list[Any] = pictures(COUNT, (HEIGHT, WIDTH, 3), np.float32 if kind == "float arrays" else np.uint8)
    if kind == "tensors":
        fresh = [torch.from_numpy(picture).permute(2, 0, 1).contiguous() for picture in fresh]
    if kind == "planes of frames":
        fresh = list(clip(COUNT, HEIGHT, WIDTH))
    deblurrer = Deblurrer("fast", lookahead=lookahead, **QUICK)

    def reused() -> Iterator[Any]:
        buffer: Any = None
        for picture in fresh:
            if kind == "planes of frames":
                buffer = buffer or [np.empty_like(plane) for plane in picture.planes]
                for plane, samples in zip(buffer, picture.planes, strict=True):
                    plane[:] = samples
                yield picture.with_planes(buffer)
            else:
                buffer = (picture.clone() if kind == "tensors" else picture.copy()) if buffer is None else buffer
                buffer[...] = picture
                yield buffer

    def samples(pictures: Any) -> list[np.ndarray]:
        return [np.asarray(p.planes[0] if kind == "planes of frames" else p) for p in pictures]

    wanted = samples(deblur_frames(iter(fresh), model="fast", lookahead=lookahead, **QUICK))
    steps = [sharp for picture in reused() if (sharp := deblurrer.step(picture)) is not None]
    steps += [last for last in (deblurrer.flush(),) if last is not None]
    for found in (samples(deblur_frames(reused(), model="fast", lookahead=lookahead, **QUICK)), samples(steps)):
        assert len(found) == COUNT
        assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
        assert not np.array_equal(found[2], found[3])


def test_what_comes_out_may_be_written_to() -> None:
    """Also where a copy of it is still to come."""
    frames = [picture for picture in pictures(3, (HEIGHT, WIDTH, 3)) for _ in range(2)]
    wanted = [picture.copy() for picture in deblur_frames(iter(frames), model="fast", **QUICK)]
    found = []
    for picture in deblur_frames(iter(frames), model="fast", **QUICK):
        found.append(picture.copy())
        picture[:] = 0
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


# --- Pipes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lookahead", [0, 1])
def test_a_pipe_gives_each_picture_before_it_gets_the_next(lookahead: int) -> None:
    """Whoever sends pictures may wait for each to come back. (FFmpeg's NUT muxer keeps one of them.)"""
    (source, sending), (receiving, target) = os.pipe(), os.pipe()
    came: Queue[int] = Queue()
    options = EncodeOptions(container="yuv4mpegpipe")

    def work() -> None:
        with open(source, "rb") as pipe, open(target, "wb") as out:
            deblur_video(pipe, out, model="swift", lookahead=lookahead, encode=options, **QUICK)

    def read() -> None:
        while data := os.read(receiving, 1 << 20):
            came.put(len(data))

    threads = [threading.Thread(target=work), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    size = WIDTH * HEIGHT * 3 // 2
    got = 0
    os.write(sending, b"YUV4MPEG2 W%d H%d F25:1 Ip A1:1 C420jpeg\n" % (WIDTH, HEIGHT))
    try:
        for n, picture in enumerate(pictures(COUNT, (HEIGHT, WIDTH))):
            os.write(sending, b"FRAME\n" + picture.tobytes() + bytes([128]) * (size - picture.size))
            while got < size * (n + 1 - lookahead):
                got += came.get(timeout=30)
    except Empty:
        pytest.fail(f"picture {n - lookahead} did not come back")
    finally:
        os.close(sending)
        for thread in threads:
            thread.join()
        os.close(receiving)
