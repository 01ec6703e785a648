"""The guide: clean pictures stay, kernels and strips change nothing but rounding, the state is the caller's."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.kernels.dispatch import have_kernels, without_kernels
from vdeblur.model.guide import guide_net, inputs
from vdeblur.model.guide.guide_net import (
    GuideConfig,
    GuideNet,
    GuideState,
    Told,
    nothing_told,
    rgb_from_ycc,
    ycc_from_rgb,
)


class Picture(NamedTuple):
    """Luma (1, 1, H, W), and chroma (1, 2, H, W) or half as large."""

    luma: Tensor
    chroma: Tensor


@pytest.fixture(autouse=True)
def _inference() -> object:
    with torch.inference_mode():
        yield


@pytest.fixture
def net() -> GuideNet:
    torch.manual_seed(2)
    made = GuideNet(GuideConfig(kind="guide", name="test")).eval()
    for parameter in made.parameters():
        parameter.normal_(0, 0.08)
    return made


def pan(frames: int, *, noise: float, height: int = 160, width: int = 192, half: bool = True) -> list[Picture]:
    """A pan over a smooth picture, with white noise."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, 3, height // 8 + 6, width // 8 + 8, generator=generator)
    scene = F.interpolate(coarse, (height + 40, width + 56), mode="bicubic").clamp(0.1, 0.9)
    result = []
    for t in range(frames):
        seen = scene[..., 4 + t : 4 + t + height, 6 + 2 * t : 6 + 2 * t + width]
        seen = seen + noise * torch.randn(seen.shape, generator=generator)
        chroma = (seen[:, 1:] - 0.5) * 0.4
        result.append(Picture(seen[:, :1].contiguous(), F.avg_pool2d(chroma, 2) if half else chroma))
    return result


def guides(net: GuideNet, pictures: list[Picture], told: Told | None = None) -> list[Tensor]:
    """Luma and chroma of each guide, in one vector."""
    state, result = None, []
    for picture in pictures:
        luma, chroma, state = net.guide_planes(*picture, told, state)
        assert (luma.shape, chroma.shape) == (picture.luma.shape, picture.chroma.shape)
        result.append(torch.cat((luma.flatten(), chroma.flatten())))
    return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kernels_of_inputs_and_changes_in_the_networks_dtype(dtype: torch.dtype) -> None:
    """Flow that leads out of the picture, and certainty that is 0 in places, too."""
    if not have_kernels(torch.device("cpu")):
        pytest.skip("Numba's kernels are not installed")
    torch.manual_seed(5)
    hidden = torch.randn(1, 16, 20, 28).contiguous(memory_format=torch.channels_last).half()
    flow, certainty = 40 * torch.randn(1, 2, 10, 14), (torch.rand(1, 1, 10, 14) > 0.4).float()
    luma, chroma = torch.rand(1, 1, 80, 112), torch.rand(1, 2, 40, 56) - 0.5
    past = inputs.Past(torch.rand_like(luma), 0.9 * chroma, flow, certainty)
    told, one = torch.full((1,), 0.4), torch.ones(1, 1, 1, 1)

    def made() -> list[Tensor]:
        seen = inputs.guide_inputs(luma, chroma, None, past, torch.full((1, 6), 0.1), told, slice(4, 20), dtype)
        before = inputs.hidden_before(hidden, past, dtype)
        return [seen, before, *inputs.apply_change(luma, chroma, seen[:, :8], one, slice(4, 20), 4)]

    with without_kernels():
        plain = made()
    nearly = 2**-7 if dtype == torch.bfloat16 else 1e-3
    for found, expected, place in zip(made(), plain, range(4), strict=True):
        assert found.dtype == (dtype if place < 2 else torch.float32)
        assert torch.allclose(found.float(), expected.float(), rtol=nearly, atol=2e-3)


@pytest.mark.parametrize("half", [True, False])
def test_kernels_and_strips_change_nothing_but_rounding(
    net: GuideNet, half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = pan(4, noise=0.04, half=half, height=320)
    monkeypatch.setattr(guide_net, "STRIP_ROWS", 10_000)
    with without_kernels():
        plain = guides(net, pictures)
    monkeypatch.setattr(guide_net, "STRIP_ROWS", 32)
    for one, other, picture in zip(guides(net, pictures), plain, pictures, strict=True):
        assert (one - other).abs().max() < 1e-3
        assert (one - torch.cat((picture.luma.flatten(), picture.chroma.flatten()))).abs().max() > 0.05, "a real change"


def test_the_guide_of_a_clean_picture_is_the_picture(net: GuideNet) -> None:
    for half in (True, False):
        for picture in pan(2, noise=0, half=half):
            luma, chroma, state = net.guide_planes(*picture)
            assert torch.equal(luma, picture.luma)
            assert torch.equal(chroma, picture.chroma)
            assert state.used.item() == 0


def test_what_is_told_overrules_the_reading(net: GuideNet) -> None:
    clean, noisy = pan(1, noise=0)[0], pan(1, noise=0.05)[0]
    unknown = torch.full((1,), torch.nan)
    coded, told_noisy, told_clean = (
        Told(torch.tensor([quantiser]), torch.tensor([noise]))
        for quantiser, noise in ((32.0, torch.nan), (torch.nan, 0.04), (torch.nan, 0.0))
    )
    for picture, told, used in (
        (clean, coded, 1), (clean, told_noisy, 1), (noisy, Told(unknown, unknown), 1), (noisy, told_clean, 0),
    ):  # fmt: skip
        assert net.guide_planes(*picture, told)[2].used.item() == used


def test_artefacts_alone_are_a_reason_where_they_are_to_go(net: GuideNet) -> None:
    (clean,), (noisy,) = pan(1, noise=0), pan(1, noise=0.003)
    for picture, quantiser, artefacts, least, most in (
        (clean, 23, 1, 1, 1), (clean, 23, 0, 0, 0), (clean, 40, 0, 1, 1), (noisy, 23, 0, 0.2, 1), (noisy, 10, 0, 0, 0),
    ):  # fmt: skip
        told = Told(torch.tensor([float(quantiser)]), torch.tensor([torch.nan]), torch.tensor([float(artefacts)]))
        assert least <= net.guide_planes(*picture, told)[2].used.item() <= most


def test_chroma_of_half_the_size_is_chroma_repeated(net: GuideNet) -> None:
    (picture,) = pan(1, noise=0.05)
    repeated = picture.chroma.repeat_interleave(2, -1).repeat_interleave(2, -2)
    luma, chroma, _ = net.guide_planes(*picture)
    other_luma, other_chroma, _ = net.guide_planes(picture.luma, repeated)
    assert (luma - other_luma).abs().max() < 3e-3  # the deviation within four pixels is 0 but for a rounding
    assert (chroma - other_chroma[..., ::2, ::2]).abs().max() < 3e-3


def test_the_state_is_an_argument_and_a_result(net: GuideNet) -> None:
    pictures = pan(3, noise=0.04)
    first = guides(net, pictures)
    assert all(torch.equal(one, other) for one, other in zip(first, guides(net, pictures), strict=True))
    fresh = guides(net, pictures[2:])[0]
    assert (fresh - first[2]).abs().max() > 1e-3, "what came before is used"


def test_after_a_clean_frame_nothing_of_it_is_used(net: GuideNet) -> None:
    noisy, clean = pan(2, noise=0.04)[1], pan(1, noise=0)[0]
    told = nothing_told(clean.luma)
    state = net.guide_planes(*clean, told)[2]
    forgotten = GuideState(*(torch.full_like(part, 0.3) for part in state[:3]), *state[3:])
    one = net.guide_planes(*noisy, told, state)[0]
    assert torch.equal(one, net.guide_planes(*noisy, told, forgotten)[0])


def test_batches_equal_single_pictures(net: GuideNet) -> None:
    one, two = pan(2, noise=0.04), pan(2, noise=0.02)
    batches = [Picture(*(torch.cat(parts) for parts in zip(*pair, strict=True))) for pair in zip(one, two, strict=True)]
    state = None
    for number, batch in enumerate(batches):
        luma, _, state = net.guide_planes(*batch, None, state)
        for index, own in enumerate((one, two)):
            alone = guides(net, own)[number][: own[0].luma.numel()]
            assert (luma[index].flatten() - alone).abs().max() < 1e-3


def test_the_residual_is_the_guides_in_rgb(net: GuideNet) -> None:
    rgb = torch.rand(1, 3, 64, 96)
    assert (rgb_from_ycc(ycc_from_rgb(rgb)) - rgb).abs().max() < 1e-6
    residual, _ = net.residual(None, net.encode(rgb), None, None)
    guide, _ = net.guide(net.encode(rgb))
    assert (rgb + residual - rgb_from_ycc(guide)).abs().max() < 1e-5


def test_it_learns_under_autocast(net: GuideNet) -> None:
    pictures = pan(3, noise=0.04, height=64, width=64)
    with torch.inference_mode(False), torch.enable_grad():
        trained = GuideNet(net.config)
        with torch.autocast("cpu", torch.bfloat16):
            state, total = None, torch.zeros(())
            for picture in pictures:
                luma, chroma, state = trained.guide_planes(picture.luma.clone(), picture.chroma.clone(), None, state)
                total = total + luma.square().mean() + chroma.square().mean()
        total.backward()  # type: ignore[no-untyped-call]
        assert all(each.grad is not None and each.grad.isfinite().all() for each in trained.leave.parameters())
        assert trained.leave.weight.grad.abs().max() > 0
