#!/usr/bin/env bash
# Copying packets with PyAV squashes anamorphic video.
#
# Expected: add_stream_from_template copies what describes a stream, so a remux shows the same picture. FFmpeg's "-c
#   copy" does so.
# What happens: the pixel shape (sample aspect ratio) is dropped. H.264 hides it, because it says the shape inside its
#   own headers; for codecs that leave it to the container (VP9, FFV1, ProRes) the copy has square pixels. Setting
#   stream.sample_aspect_ratio by hand raises no error; QuickTime then has it, Matroska and WebM still don't.
# Versions: av==18.1.0, imageio-ffmpeg==0.8.1 (FFmpeg 9.0.2); Linux x86-64.
# Output seen (720x576 with pixels of 64:45, as PAL DVDs in 16:9 have):
#   libx264     mp4   source 64:45, -c copy 64:45, PyAV 64:45, PyAV set by hand 64:45
#   libvpx-vp9  webm  source 64:45, -c copy 64:45, PyAV 1:1, PyAV set by hand 1:1
#   ffv1        mkv   source 64:45, -c copy 64:45, PyAV none, PyAV set by hand none
#   prores_ks   mov   source 64:45, -c copy 64:45, PyAV none, PyAV set by hand 64:45
# Why it matters: DV, DVD and HDV captures are anamorphic, and their archives and mezzanines are FFV1 and ProRes. A
#   tool that cuts or joins them packet by packet makes everybody a third narrower, and no message says so.
# Workaround: remux with the program (-c copy), or mend the finished file with "ffmpeg -c copy -aspect 16:9".
# Upstream: the same loss for encoded streams is PyAV-Org/PyAV issue 764 (closed as stale).
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

program = imageio_ffmpeg.get_ffmpeg_exe()


def run(*words):
    subprocess.run([program, "-v", "error", "-y", *words], check=True)


def shape(path):
    with av.open(path) as container:
        ratio = container.streams.video[0].sample_aspect_ratio
        return f"{ratio.numerator}:{ratio.denominator}" if ratio else "none"


def remux(source, target, by_hand=False):
    with av.open(source) as reading, av.open(target, "w") as writing:
        stream = reading.streams.video[0]
        copy = writing.add_stream_from_template(stream)
        if by_hand:
            copy.sample_aspect_ratio = stream.sample_aspect_ratio
        for packet in reading.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                writing.mux(packet)
    return shape(target)


cases = [
    ("libx264", "mp4", ("64:45", "64:45")), ("libvpx-vp9", "webm", ("1:1", "1:1")),
    ("ffv1", "mkv", ("none", "none")), ("prores_ks", "mov", ("none", "64:45")),
]
changed = False
for codec, ending, wanted in cases:
    source, copied, remuxed = (f"{name}.{ending}" for name in ("source", "copied", "remuxed"))
    run("-f", "lavfi", "-i", "testsrc2=size=720x576:rate=25:duration=0.2,setsar=64/45", "-c:v", codec, source)
    run("-i", source, "-c", "copy", copied)
    seen = (remux(source, remuxed), remux(source, remuxed, by_hand=True))
    print(
        f"{codec:11} {ending:5} source {shape(source)}, -c copy {shape(copied)}, PyAV {seen[0]}, "
        f"PyAV set by hand {seen[1]}"
    )
    changed |= seen != wanted or shape(source) != "64:45" or shape(copied) != "64:45"
if changed:
    sys.exit("changed: pixel shapes are no longer lost or kept as stated above")
PY
venv/bin/python check.py
