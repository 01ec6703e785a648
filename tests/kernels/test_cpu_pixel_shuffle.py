"""CPU kernels of pixel shuffle and unshuffle against plain operators."""

from __future__ import annotations

import pytest
import torch

from support.kernel_fixtures import working_kernels  # noqa: F401
from support.tap_scenes import noise
from vdeblur.kernels import cpu as cpu_kernels
from vdeblur.kernels.dispatch import without_kernels
from vdeblur.model.checkpoint import load_network
from vdeblur.model.deblur_net import shuffle_and_add, unshuffle_frame

SIZES = [(1, 3, 32, 32), (2, 3, 48, 80), (1, 1, 64, 400)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_unshuffle_equals_plain_operators(size: tuple[int, ...], dtype: torch.dtype) -> None:
    whole = noise(*size)
    for picture in (whole, whole[..., 16:32, 8:]):  # a tile is a part of a picture
        with torch.inference_mode():
            found = unshuffle_frame(picture, dtype)
            with without_kernels():
                wanted = unshuffle_frame(picture, dtype)
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert found.dtype == dtype
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_shuffle_and_add_equals_plain_operators(size: tuple[int, ...], last: bool, dtype: torch.dtype) -> None:
    batch, channels, height, width = size
    squares = noise(batch, 16 * channels, height // 4, width // 4).to(dtype)
    if last:
        squares = squares.contiguous(memory_format=torch.channels_last)
    correction = noise(batch, 1, height, width, seed=1)
    correction[..., 0, 0] = float("nan")
    with torch.inference_mode():
        found = shuffle_and_add(squares, correction)
        with without_kernels():
            wanted = shuffle_and_add(squares, correction)
    assert found.dtype == torch.float32
    assert torch.equal(found.nan_to_num(9), wanted.nan_to_num(9))


def test_a_processor_without_bfloat16_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_kernels.pixel_shuffle, "BF16_DOT", False)
    picture = noise(1, 3, 32, 64)
    with torch.inference_mode():
        assert torch.equal(
            unshuffle_frame(picture, torch.bfloat16), (torch.pixel_unshuffle(picture, 4) * 4 - 2).to(torch.bfloat16)
        )


def test_other_sizes_are_refused_and_networks_use_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="not squares of 32 × 32"):
        cpu_kernels.shuffle_and_add(noise(1, 48, 8, 9), noise(1, 1, 32, 32))
    asked: list[str] = []
    for name in ("unshuffle", "shuffle_and_add"):
        kernel = getattr(cpu_kernels, name)
        monkeypatch.setattr(cpu_kernels, name, lambda *args, k=kernel, n=name: (asked.append(n), k(*args))[1])
    with torch.inference_mode():
        load_network("balanced").eval()((None, noise(1, 3, 32, 32, scale=0.2) + 0.5, None))
    assert asked == ["unshuffle", "shuffle_and_add"]
