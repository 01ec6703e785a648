"""The PNG encoder: every sample is what it was."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from vdeblur.video.photo.png import encode_png


@pytest.mark.parametrize("shape", [(7, 5, 3), (1, 1, 3), (64, 130, 3)])
def test_a_png_is_what_it_was(shape: tuple[int, int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for given in (picture, picture[::-1, ::-1]):
        with Image.open(io.BytesIO(encode_png(given))) as image:
            assert image.format == "PNG"
            assert np.array_equal(np.asarray(image), given)
