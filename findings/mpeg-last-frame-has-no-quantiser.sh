#!/usr/bin/env bash
# FFmpeg exports no quantisers for the last frame of MPEG-1, MPEG-2 and MPEG-4 video.
#
# Expected: with export_side_data=venc_params every frame carries the quantisers of its macroblocks, or none does.
# What happens: a decoder that reorders keeps one picture back and hands it out at the end of the file. On that way it
#   forgets the quantisers, so the last frame has none; a file of one picture has none at all. MPEG-1 and MPEG-2 keep
#   one back also when the file has no B-frames, or intra frames only; MPEG-4 without B-frames does not.
# Versions: av==18.1.0 (FFmpeg 8.1), imageio-ffmpeg==0.8.1 (FFmpeg 9.0.2); Python 3.11, Linux x86-64.
# Output seen:
#   mpeg1video, no B-frames     25 frames, without quantisers: [24]
#   mpeg2video, B-frames        25 frames, without quantisers: [24]
#   mpeg2video, intra only      25 frames, without quantisers: [24]
#   mpeg2video, one picture      1 frames, without quantisers: [0]
#   mpeg2video, low_delay       25 frames, without quantisers: []
#   mpeg4, B-frames             25 frames, without quantisers: [24]
#   mpeg4, no B-frames          25 frames, without quantisers: []
#   mpeg2video through FFmpeg's pp7: these frames are left as they were: [24]
# Why it matters: a reader that takes the quantisers for granted fails at the very last frame, and always on a file of
#   one picture. FFmpeg's pp7, which takes its strength from them, does not deblock that frame, and says nothing.
# Workaround: use the quantisers of the frame before, or read the slice headers.
# Upstream: nothing found.
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
from av.sidedata.sidedata import SideDataContainer, Type

program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error"]
source = ["-f", "lavfi", "-i", "testsrc2=size=352x288:rate=25:duration=1"]


def encode(codec, options):
    subprocess.run([*program, "-y", *source, "-c:v", codec, "-q:v", "8", *options.split(), "clip.mkv"], check=True)


def untold():
    """Count of frames, and the numbers of those that have no quantisers."""
    told = []
    with av.open("clip.mkv") as container:
        stream = container.streams.video[0]
        stream.codec_context.options = {"export_side_data": "venc_params"}
        for frame in container.decode(stream):
            told.append(SideDataContainer(frame).get(Type.VIDEO_ENC_PARAMS) is not None)
    return len(told), [number for number, each in enumerate(told) if not each]


def hashes(*filters):
    options = ["-export_side_data", "venc_params", "-i", "clip.mkv", *filters, "-f", "framemd5", "-"]
    lines = subprocess.run([*program, *options], check=True, capture_output=True, text=True).stdout.splitlines()
    return [line.split(",")[-1] for line in lines if not line.startswith("#")]


changed = False
for codec, name, options, expected in (
    ("mpeg1video", "no B-frames", "-bf 0", [24]),
    ("mpeg2video", "B-frames", "-bf 2", [24]),
    ("mpeg2video", "intra only", "-g 1", [24]),
    ("mpeg2video", "one picture", "-frames:v 1", [0]),
    ("mpeg2video", "low_delay", "-flags low_delay", []),
    ("mpeg4", "B-frames", "-bf 2", [24]),
    ("mpeg4", "no B-frames", "-bf 0", []),
):
    encode(codec, options)
    count, missing = untold()
    print(f"{codec + ', ' + name:<27} {count:2} frames, without quantisers: {missing}")
    changed |= missing != expected
encode("mpeg2video", "-bf 0")
same = [number for number, (a, b) in enumerate(zip(hashes(), hashes("-vf", "pp7"), strict=True)) if a == b]
print(f"mpeg2video through FFmpeg's pp7: these frames are left as they were: {same}")
changed |= same != [24]
if changed:
    sys.exit("changed: other frames than the last have no quantisers, or the last one has")
PY
venv/bin/python check.py
