"""Optical flow: accuracy on known shifts, at any size and in both directions, and behaviour at the borders."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.model import exposure
from vdeblur.model.motion import combine_flows, match_clip
from vdeblur.model.optical_flow import Flow, build_pyramid, estimate_flow


def texture(height: int, width: int, seed: int = 4) -> Tensor:
    """Soft blobs of many sizes, (1, 3, H, W) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(1, 3, height, width)
    for cell in (12, 24, 48):
        noise = torch.rand(1, 3, height // cell + 2, width // cell + 2, generator=generator)
        total = total + F.interpolate(noise, (height, width), mode="bicubic", align_corners=False)
    return total / 3


def shifted(x: float, y: float, height: int = 160, width: int = 192, blur: int = 1) -> tuple[Tensor, Tensor]:
    """A picture, and the same with its content moved by (x, y) pixels, both blurred over ``blur`` pixels across."""
    margin = 48
    wide = texture(height + 2 * margin, width + 2 * margin)
    whole_x, whole_y = round(x), round(y)
    assert (x, y) == (whole_x, whole_y) or blur == 1
    matrix = torch.tensor([[[1.0, 0, -2 * x / (width + 2 * margin)], [0, 1.0, -2 * y / (height + 2 * margin)]]])
    moved = F.grid_sample(wide, F.affine_grid(matrix, list(wide.shape), align_corners=False), align_corners=False)
    if blur > 1:
        wide, moved = (F.avg_pool2d(picture, (1, blur), stride=1) for picture in (wide, moved))
    inner = (..., slice(margin, margin + height), slice(margin, margin + width))
    return wide[inner], moved[inner]


def error(found: Flow, x: float, y: float) -> float:
    """Mean distance from the true shift in pixels, away from the border."""
    inner = found.displacement[..., 5:-5, 5:-5]
    return float((inner - torch.tensor([x, y]).view(1, 2, 1, 1)).norm(dim=1).mean())


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (0.4, -0.3), (3.0, 2.0), (-9.0, 5.0), (24.0, -10.0)])
@pytest.mark.parametrize("finest", [2, 4])
def test_finds_a_shift(x: float, y: float, finest: int) -> None:
    here, there = shifted(x, y)
    found = estimate_flow(build_pyramid(here, finest), build_pyramid(there, finest), finest)
    assert found.displacement.shape == (1, 2, 20, 24)
    assert error(found, x, y) < 0.1 + 0.07 * finest


def test_finds_the_shift_of_blurred_frames() -> None:
    here, there = shifted(8, 3, blur=7)
    assert error(estimate_flow(build_pyramid(here, 4), build_pyramid(there, 4), 4), 8, 3) < 0.4


def test_the_way_back_is_the_opposite() -> None:
    here, there = (build_pyramid(picture, 4) for picture in shifted(6, -4))
    total = estimate_flow(there, here, 4).displacement + estimate_flow(here, there, 4).displacement
    assert total[..., 6:-6, 6:-6].norm(dim=1).mean() < 0.4


@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 80), (176, 208), (720 // 4, 336)])
def test_any_size_will_do(height: int, width: int) -> None:
    height = height // 8 * 8
    here, there = shifted(2, 1, height, width)
    found = estimate_flow(build_pyramid(here, 4), build_pyramid(there, 4), 4)
    assert found.displacement.shape == (1, 2, height // 8, width // 8)
    assert found.mismatch.shape == (1, 1, height // 8, width // 8)
    mean = found.displacement.mean((0, 2, 3))
    torch.testing.assert_close(mean, torch.tensor([2.0, 1.0]), atol=0.5, rtol=0)


def test_what_leaves_the_frame_is_a_mismatch() -> None:
    here, there = shifted(20, 0)
    mismatch = estimate_flow(build_pyramid(here, 4), build_pyramid(there, 4), 4).mismatch[0, 0]
    assert (mismatch[:, -1] > 0.9).all()
    assert mismatch[:, 4:-6].mean() < 0.02


def test_flat_pictures_do_not_move() -> None:
    flat = build_pyramid(torch.full((1, 3, 64, 64), 0.5), 4)
    found = estimate_flow(flat, flat, 4)
    assert torch.equal(found.displacement, torch.zeros_like(found.displacement))


def test_a_batch_is_its_members() -> None:
    pairs = [shifted(3, 1), shifted(-5, 2)]
    heres, theres = (torch.cat(side) for side in zip(*pairs, strict=True))
    together = estimate_flow(build_pyramid(heres, 4), build_pyramid(theres, 4), 4)
    for index, (here, there) in enumerate(pairs):
        alone = estimate_flow(build_pyramid(here, 4), build_pyramid(there, 4), 4)
        torch.testing.assert_close(together.displacement[index : index + 1], alone.displacement, atol=1e-5, rtol=0)


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("length", [1, 2, 4])
def test_clip_motion_equals_frame_by_frame(length: int, lookahead: int) -> None:
    frames = torch.cat([shifted(2.0 * t, -1.0 * t)[1] for t in range(length)])
    levels, like = build_pyramid(frames, 4), frames[..., ::8, ::8]
    packed = match_clip(levels, 4, length=length, lookahead=lookahead, like=like)
    single = [build_pyramid(frames[t : t + 1], 4) for t in range(length)]
    for t in range(length):
        back = estimate_flow(single[t], single[t - 1], 4) if t else None
        ahead = estimate_flow(single[t], single[t + 1], 4) if lookahead and t + 1 < length else None
        for one, other in zip(combine_flows(back, ahead, like[:1]), packed, strict=True):
            torch.testing.assert_close(one, other[t : t + 1], atol=1e-4, rtol=1e-4)
    if length > 1 + (lookahead == 0):
        inner = packed.velocity[length - 1 :, :, 5:-5, 5:-5].mean((0, 2, 3))
        torch.testing.assert_close(inner, torch.tensor([2.0, -1.0]), atol=0.1, rtol=0)


def test_subsampled_blocks_of_a_large_frame_give_the_same_exposure() -> None:
    """Of many blocks only every n-th is used: correlations and energies, in units of the blocks, are the same."""
    noise = torch.rand(1, 1, 640, 1060, generator=torch.Generator().manual_seed(5))
    picture = F.avg_pool2d(noise, 9, stride=1, padding=4)
    blurred = torch.stack([picture[..., shift : shift + 1024] for shift in range(9)]).mean(0)
    velocity = torch.zeros(1, 2, 80, 128)
    velocity[:, 0] = 18.0
    part, whole = exposure.motion_profile(blurred, velocity), exposure._profile(blurred, velocity)
    assert part.shape == whole.shape
    assert part[0, -1] == pytest.approx(float(whole[0, -1]) / 2, rel=0.02), "so many were looked at"
    used, all_used = (each[0, :-1].view(exposure.CLASSES, -1) for each in (part, whole))
    busiest = int(all_used[:, -1].argmax())
    one, other = (each[busiest] / each[busiest, -1] for each in (used, all_used))
    assert used[:, -1].argmax() == busiest
    sums = 2 * exposure.LAGS
    assert (one - other)[: sums + 2].abs().max() < 0.03 * other[sums : sums + 2].sum()
