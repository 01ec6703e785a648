#!/usr/bin/env bash
# scikit-image's Richardson-Lucy deconvolution turns a flat grey picture black at its edge, then white.
#
# Expected: blur leaves a flat picture as it is, so deblurring a flat grey picture gives that picture back.
#   skimage.restoration.wiener does so to the last bit.
# What happens: the function takes everything outside the picture for black, explains the missing light by bright
#   pixels inside, and the error spreads inwards: after 30 iterations the edge is black, the fifth pixel is clipped to
#   white, and waves have reached the middle, more than 24 pixels away. The docstring says nothing of edges.
# Versions: scikit-image==0.26.0, scipy==1.17.1, numpy==2.4.6, with lazy-loader==0.6 and packaging==26.4; Linux x86-64.
# Output seen (64x64, all 0.5, motion of 9 pixels to the side, 30 iterations):
#   wiener                             edge 0.50 0.50 0.50 0.50 0.50 0.50, largest error in the middle 0.0000
#   richardson_lucy, 30 iterations     edge 0.00 0.00 0.01 0.20 1.00 0.58, largest error in the middle 0.0327
#   the same, padded by 36             edge 0.50 0.50 0.50 0.50 0.50 0.50, largest error in the middle 0.0000
# Why it matters: Richardson-Lucy is the classical baseline of deblurring. Scored on whole frames it looks much worse
#   than it is, and cropping a few pixels does not help: the waves go on.
# Workaround: pad by several kernel widths with mode="reflect" (or "edge") before the call, and crop afterwards.
# Upstream: scikit-image/scikit-image issue 3859 (open since 2019) calls it an artifact at edges.
set -euo pipefail
unset PYTHONPATH IMAGEIO_FFMPEG_EXE

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-compile --no-deps \
  scikit-image==0.26.0 scipy==1.17.1 numpy==2.4.6 lazy-loader==0.6 packaging==26.4

cat > check.py <<'PY'
import sys

import numpy as np
from skimage.restoration import richardson_lucy, wiener

flat = np.full((64, 64), 0.5)
motion = np.ones((1, 9)) / 9
PADDING = 36


def show(name, picture):
    row = picture[32]
    edge = " ".join(f"{value:.2f}" for value in row[:6])
    middle = np.abs(row[24:40] - 0.5).max()
    print(f"{name:34} edge {edge}, largest error in the middle {middle:.4f}")
    return row, middle


exact, exact_middle = show("wiener", wiener(flat, motion, 0.01))
plain, plain_middle = show("richardson_lucy, 30 iterations", richardson_lucy(flat, motion, num_iter=30))
padded = richardson_lucy(np.pad(flat, PADDING, mode="reflect"), motion, num_iter=30)
mended, mended_middle = show(f"the same, padded by {PADDING}", padded[PADDING:-PADDING, PADDING:-PADDING])
if np.abs(exact - 0.5).max() > 1e-9 or not (plain[0] < 0.01 and plain[:6].max() == 1 and plain_middle > 0.01):
    sys.exit("changed: edges are no longer as stated above")
if mended_middle > plain_middle:
    sys.exit("changed: padding does not help")
PY
venv/bin/python check.py
