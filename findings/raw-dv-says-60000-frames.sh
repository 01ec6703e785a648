#!/usr/bin/env bash
# Raw DV claims 60,000 frames a second, and a copy of it into QuickTime fails at the very end.
#
# Expected: DV knows two rates, 25 and 30000/1001 frames a second, and every frame says which; so average_rate is one of
#   them, and "-c copy" into another container is the simplest of jobs.
# What happens: the demuxer counts in 1/60000 s and says so of its average rate, too. guessed_rate and the times of the
#   frames are right. What trusts the average breaks: a copy into QuickTime, tape archives' usual target, ends with "fps
#   60000 is too large" when the trailer is written, and what lies there cannot be opened; a copy into AVI says 600
#   frames a second. With "-r 25" before "-i" all is well, and so is it where the video is encoded again.
# Versions: imageio-ffmpeg==0.8.1 (FFmpeg 9.0.2), av==18.1.0 (FFmpeg 8.1); Linux x86-64.
# Output seen:
#   PAL   PyAV: average 60000, guessed 25, frames 1/25 s apart
#   NTSC  PyAV: average 60000, guessed 30000/1001, frames 1001/30000 s apart
#   copy into mov: exit 234, fps 60000 is too large
#   copy into avi: exit 0, 600 fps
#   copy into mov, -r 25 before -i: exit 0, 25 fps
# Why it matters: DV is what camcorder tapes are digitised into. Programs that take the average for the rate allocate
#   a thousand times too many frames, or refuse; and the copy fails after the last byte, with no file to show for it.
# Workaround: the rate by guessed_rate (r_frame_rate of ffprobe), or -r before -i for the program.
# Upstream: met in HandBrake issue 6474 ("Upstream Issue").
set -euo pipefail
unset PYTHONPATH IMAGEIO_FFMPEG_EXE

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-compile av==18.1.0 imageio-ffmpeg==0.8.1

cat > check.py <<'PY'
import re
import subprocess
import sys
from fractions import Fraction

import av
import imageio_ffmpeg

program = imageio_ffmpeg.get_ffmpeg_exe()


def run(*words):
    return subprocess.run([program, "-hide_banner", "-y", *words], capture_output=True, text=True)


changed = False
for name, size, rate in (("PAL", "720x576", "25"), ("NTSC", "720x480", "30000/1001")):
    picture, sound = f"testsrc2=size={size}:rate={rate}:duration=0.4", "sine=sample_rate=48000:duration=0.4"
    run("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, "-target", f"{name.lower()}-dv", f"{name}.dv")
    with av.open(f"{name}.dv") as container:
        stream = container.streams.video[0]
        average, guessed = stream.average_rate, stream.guessed_rate
        times = [frame.pts * stream.time_base for frame in container.decode(stream)]
    steps = {later - earlier for earlier, later in zip(times, times[1:])}
    print(f"{name:<5} PyAV: average {average}, guessed {guessed}, frames {', '.join(map(str, steps))} s apart")
    changed |= (average, guessed, steps) != (60000, Fraction(rate), {1 / Fraction(rate)})


def copied(target, *before):
    """Exit status of a copy, and what is read of its rate afterwards, or why there is none."""
    done = run("-v", "error", *before, "-i", "PAL.dv", "-c", "copy", target)
    if done.returncode:
        return done.returncode, re.search(r"fps \d+ is too large", done.stderr)[0]
    return 0, re.search(r"[\dk.]+ fps", run("-i", target).stderr)[0]


for words, wanted in (
    (("out.mov",), (234, "fps 60000 is too large")),
    (("out.avi",), (0, "600 fps")),
    (("out2.mov", "-r", "25"), (0, "25 fps")),
):
    code, seen = copied(*words)
    print(f"copy into {words[0][-3:]}{', -r 25 before -i' if words[1:] else ''}: exit {code}, {seen}")
    changed |= (code, seen) != wanted
if changed:
    sys.exit("changed: raw DV has another rate now, or is copied otherwise")
PY
venv/bin/python check.py
