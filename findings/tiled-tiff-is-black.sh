#!/usr/bin/env bash
# TIFFs in tiles or with JPEG strips are decoded as black pictures, and int16 and float16 as uint16.
#
# Expected: a decoder refuses what it cannot decode, as FFmpeg does with BigTIFF, Zstandard and float32.
# What happens: a TIFF whose picture lies in tiles, or in strips compressed as JPEG, gives a frame of the right size and
#   pixel format in which every sample is 0. There is no message at the level of warnings, and the exit status is 0.
#   Tag 339 (SampleFormat) is not read: signed and floating-point samples of 16 bits come out as unsigned ones, so that
#   -1 is white and a float of 1.0 is 15360. Of a file with three pages, one frame comes.
# Versions: imageio-ffmpeg==0.8.1 (FFmpeg 9.0.2), av==18.1.0 (FFmpeg 8.1), the same in both; written by
#   tifffile==2026.3.3 with numpy==2.4.6 and imagecodecs==2026.3.6; Linux x86-64.
# Output seen (the picture is a ramp; its brightest sample is given as written and as decoded by each):
#   strips, uint8              written 127      FFmpeg 127, exit 0   PyAV 127    frames 1
#   tiles, uint8               written 127      FFmpeg 0, exit 0     PyAV 0      frames 1
#   tiles, R'G'B'              written 255      FFmpeg 0, exit 0     PyAV 0      frames 1
#   JPEG strip, Y'CbCr         written 255      FFmpeg 0, exit 0     PyAV 0      frames 1
#   strips, int16, -64 ... 63  written 63       FFmpeg 65535, exit 0 PyAV 65535  frames 1
#   strips, float16, 0 ... 1   written 1        FFmpeg 15360, exit 0 PyAV 15360  frames 1
#   strips, uint8, three pages written 127      FFmpeg 127, exit 0   PyAV 127    frames 1
# Why it matters: microscopes, scanners, satellites and film scanners write tiles, signed samples and stacks. A folder
#   of them becomes a black video, and every step of the conversion reports success.
# Workaround: read TIFF with tifffile or Pillow and hand arrays on; or look at the tags 322, 339 and 259 first.
# Upstream: met with satellite pictures: ssec/polar2grid pull request 597; about samples and pages nothing found.
set -euo pipefail
unset PYTHONPATH IMAGEIO_FFMPEG_EXE

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-compile av==18.1.0 numpy==2.4.6 imageio-ffmpeg==0.8.1 \
  tifffile==2026.3.3 imagecodecs==2026.3.6

cat > check.py <<'PY'
import subprocess
import sys

import av
import imageio_ffmpeg
import numpy as np
import tifffile

program = imageio_ffmpeg.get_ffmpeg_exe()
ramp = np.tile(np.arange(128, dtype=np.uint8), (128, 1))
colours = np.stack([2 * ramp + 1, ramp.T, 255 - ramp], axis=2)
grey, tiles = {"photometric": "minisblack"}, {"tile": (64, 64)}
kinds = {
    "strips, uint8": (ramp, grey, 127),
    "tiles, uint8": (ramp, grey | tiles, 0),
    "tiles, R'G'B'": (colours, {"photometric": "rgb"} | tiles, 0),
    "JPEG strip, Y'CbCr": (colours, {"photometric": "rgb", "compression": "jpeg"}, 0),
    "strips, int16, -64 ... 63": (ramp.astype(np.int16) - 64, grey, 65535),
    "strips, float16, 0 ... 1": ((ramp / 127).astype(np.float16), grey, 15360),
    "strips, uint8, three pages": (np.stack([ramp, ramp[::-1], ramp]), grey, 127),
}
changed = False
for name, (samples, options, brightest) in kinds.items():
    tifffile.imwrite("in.tif", samples, **options)
    assert np.abs(tifffile.imread("in.tif").astype(float) - samples).mean() < 2, "the file is not what was written"
    with av.open("in.tif") as container:
        frames = list(container.decode(video=0))
    words = ["-v", "warning", "-i", "in.tif", "-f", "rawvideo", "-"]
    done = subprocess.run([program, *words], capture_output=True)
    decoded = np.frombuffer(done.stdout, np.uint16 if samples.dtype.itemsize == 2 else np.uint8)
    one, other = int(decoded.max()), int(frames[0].to_ndarray().max())
    print(
        f"{name:<26} written {samples.max():<8g} FFmpeg {f'{one}, exit {done.returncode}':<14}"
        f"PyAV {other:<7}frames {len(frames)}"
    )
    changed |= (one, other, done.returncode, len(frames), done.stderr) != (brightest, brightest, 0, 1, b"")
if changed:
    sys.exit("changed: TIFFs in tiles, with JPEG strips, signed, of floats or of pages are decoded or refused")
PY
venv/bin/python check.py
