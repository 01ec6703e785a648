#!/usr/bin/env bash
# PyAV decodes frames that are wider than their stream.
#
# Expected: a decoded frame has the size of its stream, and pixels that the H.264 or HEVC header crops away are gone.
# What happens: where the header crops at the left by a number that is no multiple of the processor's alignment, the
#   decoder leaves those columns in. stream.width is 240, every frame is 250 wide, and its first ten columns are the
#   ones that should be hidden. FFmpeg 7.0's program shows them as well; FFmpeg 9.0's program crops exactly.
# Versions: av==18.1.0 (FFmpeg 8.1; av 15 to 17 the same), numpy==2.4.6, imageio-ffmpeg==0.8.1 (FFmpeg 9.0.2); Linux
#   x86-64 with AVX.
# Output seen (each column's luma is its own number; 10 columns are cropped at the left, 6 at the right):
#   h264  stream 240 wide, frame 250 wide, columns 0 ... 249; with the flag: frame 240 wide, columns 10 ... 249
#   hevc  stream 240 wide, frame 250 wide, columns 0 ... 249; with the flag: frame 240 wide, columns 10 ... 249
#   FFmpeg 9.0.2 itself: 240 wide, columns 10 ... 249
# Why it matters: crops set in the header are how people trim black bars without encoding again. A buffer made by the
#   stream's size is too small or shears, two decoders of one file disagree by ten columns, and metrics against a copy
#   made by the program compare shifted pictures.
# Workaround: stream.codec_context.flags |= av.codec.context.Flags.unaligned before the first frame.
# Upstream: AV_CODEC_FLAG_UNALIGNED in avcodec.h names the rule; the player's side of it is mpv-player/mpv issue 16758.
set -euo pipefail
unset PYTHONPATH IMAGEIO_FFMPEG_EXE

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-compile av==18.1.0 numpy==2.4.6 imageio-ffmpeg==0.8.1

cat > check.py <<'PY'
import subprocess
import sys

import av
import imageio_ffmpeg
import numpy as np
from av.codec.context import Flags

program = imageio_ffmpeg.get_ffmpeg_exe()
ramp = "nullsrc=size=256x128:rate=25,format=yuv420p,geq=lum=X:cb=128:cr=128"
codecs = {
    "h264": ("-c:v", "libx264", "-qp", "0"),
    "hevc": ("-c:v", "libx265", "-x265-params", "lossless=1:log-level=none"),
}


def first_row(path, flags=0):
    """Width of the stream, then the first row of luma of its first frame."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.flags |= flags
        return stream.width, next(container.decode(stream)).to_ndarray()[0]


changed = False
for name, encoder in codecs.items():
    crop = f"{name}_metadata=crop_left=10:crop_right=6"
    words = ["-f", "lavfi", "-i", ramp, "-frames:v", "2", *encoder, "-bsf:v", crop, f"{name}.mp4"]
    subprocess.run([program, "-v", "error", "-y", *words], check=True)
    width, row = first_row(f"{name}.mp4")
    _, exact = first_row(f"{name}.mp4", Flags.unaligned)
    print(
        f"{name}  stream {width} wide, frame {len(row)} wide, columns {row[0]} ... {row[-1]}; "
        f"with the flag: frame {len(exact)} wide, columns {exact[0]} ... {exact[-1]}"
    )
    changed |= (width, len(row), row[0], row[-1]) != (240, 250, 0, 249)
    changed |= (len(exact), exact[0], exact[-1]) != (240, 10, 249)
words = ["-i", "h264.mp4", "-frames:v", "1", "-f", "rawvideo", "-"]
raw = np.frombuffer(subprocess.run([program, "-v", "error", *words], check=True, capture_output=True).stdout, np.uint8)
width = len(raw) * 2 // 3 // 128
print(f"FFmpeg 9.0.2 itself: {width} wide, columns {raw[0]} ... {raw[width - 1]}")
changed |= (width, raw[0], raw[width - 1]) != (240, 10, 249)
if changed:
    sys.exit("changed: the sizes or columns are no longer as stated above")
PY
venv/bin/python check.py
