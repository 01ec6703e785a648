#!/usr/bin/env bash
# Lossless codecs squeeze full-range video to limited range.
#
# Expected: "-c:v ffv1" keeps every sample; it is the archive's lossless codec.
# What happens: full-range YUV (telephones, webcams, MJPEG) is converted to limited range first, for these encoders say
#   that they know no other: 256 levels of luma become 220, for ever. FFV1, FFVHuff, HuffYUV, Ut Video and MagicYUV do
#   so; lossless H.264 and raw video do not. With "-color_range pc" FFmpeg 9.0 keeps the samples, while FFmpeg 7.0
#   squeezes them all the same and then writes "full range" on the result, which is wrong twice.
# Versions: imageio-ffmpeg==0.8.1 (FFmpeg 9.0.2), imageio-ffmpeg==0.6.0 (FFmpeg 7.0.2), numpy==2.4.6; Linux x86-64.
# Output seen (a ramp of all 256 levels, full range, read back):
#   FFmpeg 9.0.2  ffv1                   16 ... 235, 220 levels, file says tv
#   FFmpeg 9.0.2  ffvhuff                16 ... 235, 220 levels, file says tv
#   FFmpeg 9.0.2  utvideo                16 ... 235, 220 levels, file says tv
#   FFmpeg 9.0.2  libx264 -qp 0          0 ... 255, 256 levels, file says pc
#   FFmpeg 9.0.2  ffv1 -color_range pc   0 ... 255, 256 levels, file says pc
#   FFmpeg 7.0.2  ffv1                   16 ... 235, 220 levels, file says nothing
#   FFmpeg 7.0.2  ffv1 -color_range pc   16 ... 235, 220 levels, file says pc
# Why it matters: an archive made to be exact is not, levels once merged never come apart again, and tests for identity
#   fail or, worse, are made against the squeezed copy.
# Workaround: with FFmpeg 9 add -color_range pc; otherwise use -c:v libx264 -qp 0, and compare with -f framemd5.
# Upstream: that FFV1 has no field for the range is FFmpeg/FFV1 issue 24; nothing found on the conversion.
set -euo pipefail
unset PYTHONPATH IMAGEIO_FFMPEG_EXE

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-compile numpy==2.4.6 imageio-ffmpeg==0.8.1
venv/bin/pip install --quiet --disable-pip-version-check --no-compile --no-deps --target older imageio-ffmpeg==0.6.0

cat > check.py <<'PY'
import os
import re
import subprocess
import sys

import imageio_ffmpeg
import numpy as np

newer = imageio_ffmpeg.get_ffmpeg_exe()
older = subprocess.run(
    [sys.executable, "-c", "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"],
    env={**os.environ, "PYTHONPATH": "older"}, capture_output=True, text=True, check=True,
).stdout.strip()
ramp = (
    "nullsrc=size=256x64:rate=25,format=yuv420p,geq=lum=X:cb=128:cr=128,"
    "setparams=range=pc:colorspace=bt709"
)


def run(program, *words):
    return subprocess.run([program, "-v", "quiet", "-y", *words], check=True, capture_output=True).stdout


def levels(program, path):
    planes = run(program, "-i", path, "-frames:v", "1", "-f", "rawvideo", "-")
    row = np.frombuffer(planes, np.uint8)[:256]
    banner = subprocess.run([program, "-hide_banner", "-i", path], capture_output=True, text=True).stderr
    said = re.search(r"Video: .*?yuvj?42\dp\((pc|tv)\b", banner)
    return int(row[0]), int(row[-1]), len(set(row.tolist())), said[1] if said else "nothing"


squeezed, whole = (16, 235, 220), (0, 255, 256)
cases = [
    ("9.0.2", newer, "ffv1", squeezed, "tv"), ("9.0.2", newer, "ffvhuff", squeezed, "tv"),
    ("9.0.2", newer, "utvideo", squeezed, "tv"), ("9.0.2", newer, "libx264 -qp 0", whole, "pc"),
    ("9.0.2", newer, "ffv1 -color_range pc", whole, "pc"), ("7.0.2", older, "ffv1", squeezed, "nothing"),
    ("7.0.2", older, "ffv1 -color_range pc", squeezed, "pc"),
]
lossless = ("-c:v", "libx264", "-qp", "0", "-color_range", "pc")
run(newer, "-f", "lavfi", "-i", ramp, "-frames:v", "2", *lossless, "source.mkv")
changed = levels(newer, "source.mkv")[:3] != whole
for version, program, codec, wanted, tag in cases:
    run(program, "-i", "source.mkv", "-c:v", *codec.split(), "target.mkv")
    low, high, count, said = levels(program, "target.mkv")
    print(f"FFmpeg {version}  {codec:21}  {low} ... {high}, {count} levels, file says {said}")
    changed |= (low, high, count) != wanted or said != tag
if changed:
    sys.exit("changed: the levels or tags are no longer as stated above")
PY
venv/bin/python check.py
