"""CPU kernels of overlays against plain operators."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from support.kernel_fixtures import working_kernels  # noqa: F401
from vdeblur.engine import overlays
from vdeblur.kernels.dispatch import without_kernels


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("speed", [0.0, 0.8, 5.0, 60.0])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 72), (136, 264)])
def test_counting_equals_plain_operators(height: int, width: int, speed: float, first: bool) -> None:
    """Pictures of which a part stands still, vectors that lead out of the picture, and counts up to the most."""
    picture = F.interpolate(torch.rand(1, 1, height // 4, width // 4, generator=seeded()), scale_factor=4)[0, 0]
    other = picture.roll((2, 5), (0, 1))
    other[8:24] = picture[8:24]
    flow = torch.randn(2, height // 8, width // 8, generator=seeded(1)) * speed
    times = torch.randint(0, overlays.MOST_TIMES + 1, (height // 2, width), generator=seeded(2)).float()
    with torch.no_grad():
        found, counts = overlays.count_still(picture, other, flow, times, first=first)
        with without_kernels():
            plain, plain_counts = overlays.count_still(picture, other, flow, times, first=first)
    assert torch.equal(found, plain)
    assert torch.equal(counts, plain_counts)
    assert speed < 1 or bool((found > times).any())


@pytest.mark.parametrize("share", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("speed", [0.0, 3.0, 20.0, 60.0])
def test_weighing_equals_plain_operators(speed: float, share: float) -> None:
    """Overlays in few blocks, whose reach leads to others, or everywhere."""
    rows, columns = 11, 19
    velocity = torch.randn(2, rows, columns, generator=seeded()) * speed
    times = torch.randint(0, 3, (4 * rows, 8 * columns), generator=seeded(1))
    times *= torch.rand(4 * rows, 1, generator=seeded(4)) < 0.3
    confidence = torch.rand(rows, columns, generator=seeded(2))
    confidence *= torch.rand(rows, columns, generator=seeded(3)) < share
    with torch.no_grad():
        found = overlays.weight_of_correction(times.float(), confidence, velocity)
        with without_kernels():
            plain = overlays.weight_of_correction(times.float(), confidence, velocity)
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-6)
    assert float(found.min()) < 1
