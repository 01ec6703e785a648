#!/usr/bin/env bash
# A look at frame.side_data in PyAV keeps every decoded frame in memory.
#
# Expected: a frame that nobody refers to goes at once; to read a property of it changes nothing.
# What happens: what frame.side_data returns is remembered by the frame and refers to it. The two are a cycle, so the
#   picture, megabytes outside of what Python counts, stays until the cyclic garbage collector looks at its generation.
#   Few Python objects are made per frame, so that is seldom: memory grows by a picture with every frame. Here the
#   frames have no side data at all.
# Versions: av==18.1.0 (FFmpeg 8.1), imageio-ffmpeg==0.8.1 makes the clip; Python 3.11, Linux x86-64.
# Output seen (100 frames of 1280x720, decoded and dropped; frames that are alive, and growth of the resident memory):
#   side_data not read    alive 2    grew by 3 MiB
#   side_data read        alive 101  grew by 135 MiB
#   container by itself   alive 2    grew by 3 MiB
# Why it matters: captions, HDR metadata and rotation are read so, frame by frame, in loops that are meant to stream. A
#   minute of 4K takes tens of GiB if the collector is off or its thresholds are raised, as servers do.
# Workaround: av.sidedata.sidedata.SideDataContainer(frame), which the frame does not remember; or gc.collect() now and
#   then.
# Upstream: nothing found.
set -euo pipefail
unset PYTHONPATH IMAGEIO_FFMPEG_EXE

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-compile av==18.1.0 imageio-ffmpeg==0.8.1
ffmpeg=$(venv/bin/python -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')
"$ffmpeg" -v error -f lavfi -i testsrc2=size=1280x720:rate=25:duration=4 -c:v mpeg4 -q:v 8 clip.mp4

cat > check.py <<'PY'
import gc
import sys

import av
from av.sidedata.sidedata import SideDataContainer

how = sys.argv[1]
read = {"plain": lambda frame: None, "property": lambda frame: frame.side_data, "container": SideDataContainer}[how]


def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


gc.disable()
with av.open("clip.mp4") as container:
    container.streams.video[0].thread_type = "NONE"
    for number, frame in enumerate(container.decode(video=0)):
        if number == 0:
            before = resident_mib()
        read(frame)
    alive = sum(type(each) is av.VideoFrame for each in gc.get_objects())
    grown = resident_mib() - before
names = {"plain": "side_data not read", "property": "side_data read", "container": "container by itself"}
print(f"{names[how]:<21} alive {alive:<4} grew by {grown:.0f} MiB")
good = alive >= 100 and grown > 100 if how == "property" else alive <= 3 and grown < 50
if not good or number != 99:
    sys.exit("changed: frames whose side data was read go at once, or others do not")
PY
for how in plain property container; do
  venv/bin/python check.py "$how"
done
