#!/usr/bin/env bash
# PyAV's frame times of H.264 in AVI run backwards: it asks FFmpeg to invent the times that AVI does not store.
#
# Expected: decoded frames come in the order in which they are shown, so their pts rise; the FFmpeg program shows the
#   same frames of the same file evenly. Where a container stores no presentation times, pts is None.
# What happens: av.open() switches on AVFMT_FLAG_GENPTS, which the program leaves off. For H.264 in AVI the demuxer then
#   takes the place in decoding order for the time of presentation. With B-frames, frames that are shown one after the
#   other have times that jump back and forth; without B-frames every time is one frame late. MPEG-4 is not concerned.
#   frame.dts is the time of the packet that made the decoder give the frame out, and rises.
# Versions: av==18.1.0 (FFmpeg 8.1), imageio-ffmpeg==0.8.1 (FFmpeg 9.0.2); Linux x86-64.
# Output seen (60 frames, 30 a second; times in frames):
#   H.264, B-frames     PyAV  1 4 3 5 2 8 7 9, 28 steps back   program 2 3 4 5 6 7 8 9, 0 steps back
#   H.264, no B-frames  PyAV  1 2 3 4 5 6 7 8, 0 steps back    program 0 1 2 3 4 5 6 7, 0 steps back
#   MPEG-4, B-frames    PyAV  1 2 3 4 5 6 7 8, 0 steps back    program 1 2 3 4 5 6 7 8, 0 steps back
#   H.264, B-frames, without the flag: no frame has a pts; dts 2 3 4 5 6 7 8 9, None for the last 2
# Why it matters: dash cams and capture programs write H.264 into AVI. Whoever passes frame.pts on to an encoder gets
#   frames refused, dropped or shuffled; whoever sorts by pts shuffles the pictures themselves.
# Workaround: container.flags &= ~av.container.Flags.gen_pts.value right after av.open(), and where pts is None count on
#   from dts at the stream's average rate.
# Upstream: the order of frames in AVI was asked about in PyAV issue 534 (open since 2019), with sorting as the answer.
set -euo pipefail
unset PYTHONPATH IMAGEIO_FFMPEG_EXE

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-compile av==18.1.0 imageio-ffmpeg==0.8.1

cat > check.py <<'PY'
import subprocess
import sys

import av
import imageio_ffmpeg
from av.container import Flags

program = imageio_ffmpeg.get_ffmpeg_exe()
kinds = {
    "H.264, B-frames": (["-c:v", "libx264", "-bf", "3"], 1, 28),
    "H.264, no B-frames": (["-c:v", "libx264", "-bf", "0"], 1, 0),
    "MPEG-4, B-frames": (["-c:v", "mpeg4", "-bf", "2"], 1, 0),
}


def run(*words):
    return subprocess.run([program, "-v", "error", "-y", *words], check=True, capture_output=True, text=True).stdout


def back(times):
    return sum(later <= earlier for earlier, later in zip(times, times[1:]))


changed = False
for name, (encoder, first, steps) in kinds.items():
    run("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=30:duration=2", *encoder, "-pix_fmt", "yuv420p", "in.avi")
    with av.open("in.avi") as container:
        times = [frame.pts for frame in container.decode(video=0)]
    lines = run("-i", "in.avi", "-fps_mode", "passthrough", "-f", "framecrc", "-").splitlines()
    shown = [int(line.split(",")[2]) for line in lines if line[0] != "#"]
    words = [" ".join(map(str, some[:8])) + f", {back(some)} steps back" for some in (times, shown)]
    print(f"{name:<19} PyAV  {words[0]:<32} program {words[1]}")
    changed |= (len(times), times[0], back(times)) != (60, first, steps) or back(shown) != 0 or len(shown) != 60
    if steps:
        with av.open("in.avi") as container:
            container.flags &= ~Flags.gen_pts.value
            frames = [(frame.pts, frame.dts) for frame in container.decode(video=0)]
        known = [dts for _, dts in frames if dts is not None]
        rising, without = " ".join(map(str, known[:8])), 60 - len(known)
        last = f"{name}, without the flag: no frame has a pts; dts {rising}, None for the last {without}"
        changed |= any(pts is not None for pts, _ in frames) or back(known) != 0
print(last)
if changed:
    sys.exit("changed: PyAV's times of video in AVI are others now")
PY
venv/bin/python check.py
