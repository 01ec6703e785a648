"""What an export rests on: the networks' form for programs, and neighbours that some frames of a batch lack."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
import torch
from torch import Tensor

from support.networks import deblur_nets, luma_nets
from vdeblur.model.block_sampling import shifted_views
from vdeblur.model.motion import combine_flows
from vdeblur.model.network import RestorationNetwork
from vdeblur.model.optical_flow import build_pyramid, estimate_flow

KINDS = ("luma", "deblur")
#: Whether a frame has one before and one after it: all there is.
PLACES = list(product((False, True), repeat=2))


def network(kind: str) -> RestorationNetwork:
    return luma_nets.tiny() if kind == "luma" else deblur_nets.tiny(tap_neighbours=3)


def pictures(net: RestorationNetwork, count: int, batch: int) -> list[Tensor]:
    """Frames (B, C, 96, 128) of moving textures, another one for each of the batch."""
    torch.manual_seed(5)
    wide = torch.nn.functional.avg_pool2d(torch.rand(batch, net.traits.channels, 140, 180), 5, 1)
    return [wide[..., 2 * t : 96 + 2 * t, 3 * t : 128 + 3 * t] for t in range(count)]


@pytest.fixture
def exporting(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    with monkeypatch.context() as patch:
        yield patch


@pytest.mark.parametrize("cell", [2, 4])
def test_shifts_are_the_same_in_a_program(cell: int, exporting: pytest.MonkeyPatch) -> None:
    picture = torch.rand(3, 1, 16, 24)
    ours = shifted_views(picture, cell)
    exporting.setattr("torch.compiler.is_exporting", lambda: True)
    assert torch.equal(shifted_views(picture, cell), ours)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_form_for_programs_is_the_network(kind: str, exporting: pytest.MonkeyPatch) -> None:
    net = network(kind)
    features = [net.encode(frame) for frame in pictures(net, 4, batch=2)]

    def run() -> tuple[Tensor, Tensor, Tensor]:
        first, state = net.residual(None, features[0], features[1], None)
        second, state = net.residual(features[0], features[1], features[2], state)
        third, state = net.residual(features[1], features[2], None, state)
        return first, second, third

    ours = run()
    exporting.setattr("torch.compiler.is_exporting", lambda: True)
    for one, other in zip(ours, run(), strict=True):
        assert float(one.abs().max()) > 1e-3
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


def test_motions_of_a_batch_that_lacks_different_neighbours() -> None:
    before, here, after = (build_pyramid(deblur_nets.clip(3, batch=len(PLACES))[:, t], 4) for t in range(3))
    back, ahead = estimate_flow(here, before, 4), estimate_flow(here, after, 4)
    like = back.displacement
    has = [torch.tensor(side).view(-1, 1, 1, 1) for side in zip(*PLACES, strict=True)]
    packed = combine_flows(back, ahead, like, (has[0], has[1]))
    for number, (known, follows) in enumerate(PLACES):
        one = slice(number, number + 1)
        sides = [type(back)(*(part[one] for part in found)) for found in (back, ahead)]
        alone = combine_flows(sides[0] if known else None, sides[1] if follows else None, like[one])
        for ours, theirs in zip(packed, alone, strict=True):
            assert torch.equal(ours[one], theirs)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_batch_may_lack_different_neighbours(kind: str) -> None:
    """What stands in the place of a missing neighbour does not matter, and a state of zeros starts."""
    net = network(kind)
    before, here, after = (net.encode(frame) for frame in pictures(net, 3, batch=len(PLACES)))
    has = [torch.tensor(side).view(-1, 1, 1, 1) for side in zip(*PLACES, strict=True)]
    _, started = net.residual(None, before, here, None)
    state = net.traits.state_from([torch.where(has[0].view(-1, *[1] * (part.dim() - 1)), part, 0) for part in started])
    packed, _ = net.residual(before, here, after, state, present=(has[0], has[1]))
    for number, (known, follows) in enumerate(PLACES):
        sides = [taken(side, number) if there else None for side, there in ((before, known), (after, follows))]
        own = taken(started, number) if known else None
        alone, _ = net.residual(sides[0], taken(here, number), sides[1], own)
        torch.testing.assert_close(packed[number : number + 1], alone, atol=1e-5, rtol=1e-4)


def taken(whole: object, number: int) -> object:
    """One of a batch of tensors, or of tuples of them."""
    if isinstance(whole, Tensor):
        return whole[number : number + 1]
    assert isinstance(whole, tuple)
    return getattr(type(whole), "_make", tuple)(taken(part, number) for part in whole)
