#!/usr/bin/env bash
# FFmpeg's noise filter repeats whole rows, and its strength is no standard deviation.
#
# Expected: "noise=c0s=25:c0f=t" adds independent Gaussian noise, and 25 is its standard deviation in levels, as in
#   every paper on denoising.
# What happens: noise is cut from one tape of 5,120 samples that is shifted by one of about a thousand offsets for
#   every row, so in a frame of 1,080 lines two of three rows have an exact twin in the same frame. The standard
#   deviation is the strength divided by the square root of three; with "u" (uniform) it is half of that.
# Versions: imageio-ffmpeg==0.8.1 (FFmpeg 9.0.2, the same with 7.0.2), numpy==2.4.6; Linux x86-64.
# Output seen (1920x1080, flat grey):
#   strength 10: standard deviation  5.42, 725 of 1080 rows have a twin
#   strength 25: standard deviation 14.13, 725 of 1080 rows have a twin
#   strength 50: standard deviation 28.64, 725 of 1080 rows have a twin
#   strength 25, uniform: standard deviation 7.16
#   NumPy, standard deviation 25: 25.00, 0 of 1080 rows have a twin
# Why it matters: training and test sets made with this filter are labelled with a level 1.7 times too high, and their
#   noise can be predicted from other rows. A denoiser that looks at non-local patches finds the twins; its score on
#   such a set says nothing about cameras.
# Workaround: make noise with NumPy or a framework's own generator; where only FFmpeg is at hand, ask for 1.73 times
#   the wanted deviation and do not use it to measure non-local methods.
# Upstream: the manual says of strength only that it is from 0 to 100; nothing found on the rows.
set -euo pipefail
unset PYTHONPATH IMAGEIO_FFMPEG_EXE

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-compile numpy==2.4.6 imageio-ffmpeg==0.8.1

cat > check.py <<'PY'
import subprocess
import sys
from collections import Counter

import imageio_ffmpeg
import numpy as np

program = imageio_ffmpeg.get_ffmpeg_exe()


def noise(strength, flags):
    source = f"color=gray:size=1920x1080:rate=25,format=gray,geq=lum=128,format=gray,noise=c0s={strength}:c0f={flags}"
    words = ["-f", "lavfi", "-i", source, "-frames:v", "1", "-pix_fmt", "gray", "-f", "rawvideo", "-"]
    raw = subprocess.run([program, "-v", "error", *words], check=True, capture_output=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(1080, 1920).astype(np.int16) - 128


def twins(frame):
    """How many rows occur more than once."""
    return sum(count for count in Counter(row.tobytes() for row in frame).values() if count > 1)


changed = False
for strength in (10, 25, 50):
    frame = noise(strength, "t")
    print(f"strength {strength}: standard deviation {frame.std():5.2f}, {twins(frame)} of 1080 rows have a twin")
    changed |= abs(frame.std() - strength / 3**0.5) > 0.5 or twins(frame) < 500
uniform = noise(25, "t+u")
print(f"strength 25, uniform: standard deviation {uniform.std():.2f}")
changed |= abs(uniform.std() - 25 / 12**0.5) > 0.5
honest = np.round(np.random.default_rng(0).normal(0, 25, (1080, 1920))).astype(np.int16)
print(f"NumPy, standard deviation 25: {honest.std():.2f}, {twins(honest)} of 1080 rows have a twin")
changed |= twins(honest) != 0
if changed:
    sys.exit("changed: deviation or repeated rows are no longer as stated above")
PY
venv/bin/python check.py
