"""CPU kernels of pyramid, optical flow and motion profile against plain operators."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from support.kernel_fixtures import working_kernels  # noqa: F401
from vdeblur.kernels import cpu as cpu_kernels
from vdeblur.kernels.dispatch import without_kernels
from vdeblur.model import exposure, optical_flow
from vdeblur.model.exposure import motion_profile
from vdeblur.model.optical_flow import Flow, Level, build_pyramid, estimate_flows

#: Odd numbers of blocks and of rows and columns of coarse levels, images narrower than a vector, and larger ones.
SIZES = [(24, 24, 2), (72, 136, 2), (200, 96, 2), (56, 328, 4), (264, 392, 2)]


def scene(height: int, width: int, batch: int = 1, seed: int = 0) -> list[Tensor]:
    """Three frames (B, 1, H, W) whose content moves by (5, 3) pixels from one to the next."""
    wide = torch.rand(batch, 1, height + 30, width + 34, generator=torch.Generator().manual_seed(seed))
    wide = (F.avg_pool2d(wide, 15, 1) - 0.5) * 6 + 0.5
    return [wide[..., 3 * n : 3 * n + height, 5 * n : 5 * n + width].contiguous() for n in range(3)]


def smooth(*shape: int, scale: float, seed: int = 0) -> Tensor:
    """Vectors that change slowly: (B, 2, h, w)."""
    few = torch.randn(shape[0], shape[1], 4, 5, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(few, shape[2:], mode="bilinear") * scale


def settings(scale: int) -> dict[str, float | int]:
    return {
        "scale": scale, "block_px": max(1, optical_flow.BLOCK_PX // scale), "robust": optical_flow.ROBUST_SCALE,
        "smoothness": optical_flow.SMOOTHNESS,
        "sweeps": optical_flow.SWEEPS, "relaxation": optical_flow.RELAXATION,
    }  # fmt: skip


def refine_fused(level: Level, others: list[Tensor], found: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    """One warp of a level by the kernel."""
    return cpu_kernels.refine_level(level.luma, level.gradient, others, found, warps=1, **settings(scale))


def refine_plain(level: Level, others: list[Tensor], found: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    """One warp of a level by plain operators."""
    cell = max(1, optical_flow.BLOCK_PX // scale)
    views, place = (
        [optical_flow.shifted_views(other, cell) for other in others],
        optical_flow.block_grid(*found.shape[-2:], cell, found.device),
    )
    with torch.no_grad():
        return optical_flow._refine(optical_flow._block_terms(level, cell), views, place, found, scale)


@pytest.mark.parametrize(("height", "width", "finest"), SIZES)
@pytest.mark.parametrize("batch", [1, 2])
def test_pyramids_and_flows_equal_plain_operators(height: int, width: int, finest: int, batch: int) -> None:
    frames = scene(height, width, batch)

    def found() -> tuple[list[tuple[Level, ...]], list[Flow]]:
        levels = [build_pyramid(frame, finest) for frame in frames]
        return levels, estimate_flows(levels[1], (levels[0], levels[2]), finest)

    levels, ours = found()
    with without_kernels():
        plain_levels, plain = found()
    for some, others in zip(levels, plain_levels, strict=True):
        for one, other in zip(some, others, strict=True):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    for mine, theirs in zip(ours, plain, strict=True):
        assert theirs.displacement.abs().max() > 2
        assert (mine.displacement - theirs.displacement).abs().max() < 1e-3
        assert (mine.displacement - theirs.displacement).abs().mean() < (1e-5 if height > 32 else 5e-4)
        assert (mine.mismatch - theirs.mismatch).abs().max() < 1e-4


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_a_warp_from_far_outside_equals_plain_operators(scale: int) -> None:
    cell = optical_flow.BLOCK_PX // scale
    frames = scene(6 * 8 // scale, 11 * 8 // scale, 2)
    level, others = optical_flow._make_level(frames[1]), [frames[0], frames[2]]
    found = smooth(4, 2, 6, 11, scale=12).view(2, 2, 2, 6, 11)
    found[0, 1, :, 2, 3], found[1, 0, :, 4, 5] = 150.0, -150.0
    ours, mismatch = refine_fused(level, others, found, scale)
    wanted, plain = refine_plain(level, others, found, scale)
    assert cell * 6 == level.luma.shape[-2]
    torch.testing.assert_close(ours, wanted, atol=2e-4, rtol=1e-6)
    torch.testing.assert_close(mismatch, plain, atol=2e-6, rtol=0)
    assert (mismatch == 1).any()
    assert (mismatch < 1).any()


def test_an_image_that_is_not_contiguous_is_read_as_it_is() -> None:
    frames = [frame.transpose(-1, -2) for frame in scene(96, 64)]
    levels = [build_pyramid(frame, 2) for frame in frames]
    with without_kernels():
        plain = [build_pyramid(frame.contiguous(), 2) for frame in frames]
    for one, other in zip(levels[0], plain[0], strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


@pytest.mark.parametrize("what", ["here", "there", "found"])
def test_nan_comes_through_the_flow(what: str) -> None:
    frames = scene(32, 48)
    level, there, found = optical_flow._make_level(frames[1]), frames[2].clone(), torch.zeros(1, 2, 16, 24)
    {"here": level.luma, "there": there, "found": found}[what][0, 0, 9, 9] = float("nan")
    ours, mismatch = refine_fused(level, [there], found[None], 4)
    wanted, plain = refine_plain(level, [there], found[None], 4)
    assert ours.isnan().any()
    assert not (ours.isnan() & ~wanted.isnan()).any()
    assert ours.isnan()[..., 6:9, 6:9].all() if what != "found" else ours.isnan()[..., 9, 9].all()
    assert torch.equal(mismatch.isnan(), plain.isnan())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e38, -1e38])
def test_no_flow_leads_out_of_memory(value: float) -> None:
    """Reads stay within the image whatever the initial flow."""
    frames = scene(64, 96)
    level = optical_flow._make_level(frames[1])
    for scale in (2, 4, 8):
        cell = optical_flow.BLOCK_PX // scale
        found = torch.full((1, 2, 64 // cell, 96 // cell), value)
        result, _ = refine_fused(level, [frames[2]], found[None], scale)
        assert result.shape == found[None].shape
    profile = motion_profile(frames[0], torch.full((1, 2, 8, 12), value))
    assert profile.shape == (1, exposure.PROFILE_SIZE)


def test_sizes_that_do_not_fit_are_refused() -> None:
    level = optical_flow._make_level(scene(32, 48)[0])
    with pytest.raises(ValueError, match="do not make 32 × 48 pixels"):
        refine_fused(level, [level.luma], torch.zeros(1, 1, 2, 8, 12), 8)


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (9, 17), (72, 96), (90, 160)])
def test_motion_profiles_equal_plain_operators(rows: int, columns: int) -> None:
    frame, velocity = scene(8 * rows, 8 * columns, 2)[0], smooth(2, 2, rows, columns, scale=12)
    velocity[1] *= 0.1
    ours = motion_profile(frame, velocity)
    with without_kernels():
        plain = motion_profile(frame, velocity)
    one, other = (each[:, :-1].view(2, exposure.CLASSES, exposure.CLASS_SIZE) for each in (ours, plain))
    blocks = 4 * rows * columns if rows * columns < exposure.MIN_BLOCKS else ours[0, -1]
    assert (ours[:, -1] == plain[:, -1]).all()
    assert ours[0, -1] == blocks
    assert other[0, :, -1].sum() > 0.2 * blocks, "of some blocks the motion tells something"
    assert (one[..., -1] - other[..., -1]).abs().max() <= 1, "a block on the border of two classes"
    energy = other[..., 2 * exposure.LAGS : 2 * exposure.LAGS + 2].sum(-1, keepdim=True)
    same = (one[..., -1] == other[..., -1])[..., None]
    sums = 2 * exposure.LAGS + 2
    assert ((one - other)[..., :sums].abs() <= 2e-3 * energy + 1e-5)[same.expand(-1, -1, sums)].all()
    assert ((one - other)[..., sums].abs() <= 1e-4 * other[..., -1] + 1e-4)[same[..., 0]].all()


def test_nan_comes_through_the_profile() -> None:
    frame, velocity = scene(64, 96)[0], torch.full((1, 2, 8, 12), 4.0)
    velocity[0, 1, 3, 4] = float("nan")
    assert motion_profile(frame, velocity).isnan().any()
    frame[0, 0, 30, 41] = float("nan")
    classes = motion_profile(frame, torch.full((1, 2, 8, 12), 4.0))[0, :-1].view(exposure.CLASSES, -1)
    assert classes[:, : 2 * exposure.LAGS].isnan().any(), "of the one class that sees it"


def test_threads_find_the_same_side_by_side() -> None:
    frames = scene(136, 200)
    levels = [build_pyramid(frame, 2) for frame in frames]

    def work(_: int) -> Tensor:
        return estimate_flows(levels[1], (levels[0], levels[2]), 2)[0].displacement

    alone = work(0)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(work, range(12)):
            assert torch.equal(found, alone)
