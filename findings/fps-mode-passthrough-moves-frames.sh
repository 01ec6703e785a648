#!/usr/bin/env bash
# "-fps_mode passthrough" moves frames onto the grid of the average rate.
#
# Expected: FFmpeg's "passthrough" hands every frame on with the time it has, so a clip of variable frame rate keeps
#   its times when it is encoded.
# What happens: the encoder's own clock counts frames of the nominal rate (25 a second here), so every time is rounded
#   to a multiple of 40 ms first, and frames that round to the same multiple are shown at the same moment. The manual
#   gives the default of -enc_time_base (1/framerate), but says of "passthrough" that timestamps are passed on.
# Versions: imageio-ffmpeg==0.8.1 (FFmpeg 9.0.2, the same with 7.0.2), av==18.1.0; Linux x86-64.
# Output seen:
#   source, ms                        0 65 75 120 185 195 240 305 315 360 425 435
#   -fps_mode passthrough             0 80 80 120 200 200 240 320 320 360 440 440
#   the same, -enc_time_base demux    0 65 75 120 185 195 240 305 315 360 425 435
# Why it matters: telephones, screen recorders and webcams write variable rates. Motion then stutters, frames hide each
#   other, and whatever pairs frames by time (a blurred clip with its sharp truth, sound with picture) is off by up to
#   half a frame. The program still exits with 0.
# Workaround: give the encoder a fine clock: -enc_time_base demux, or a ratio such as 1:90000. Encoders of the
#   MPEG-1/2/4 family refuse fine clocks.
# Upstream: the default is in the manual of -enc_time_base; met in practice in immich-app/immich pull request 31407.
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
    subprocess.run([program, "-v", "error", "-y", *words], check=True, stderr=subprocess.DEVNULL)


def times(path):
    with av.open(path) as container:
        stream = container.streams.video[0]
        return [round(float(frame.pts * stream.time_base) * 1000) for frame in container.decode(stream)]


run(
    "-f", "lavfi", "-i", "testsrc2=size=64x64:rate=25:duration=0.48", "-vf",
    r"settb=1/1000,setpts=N*40+if(eq(mod(N\,3)\,1)\,25\,if(eq(mod(N\,3)\,2)\,-5\,0))",
    "-fps_mode", "passthrough", "-enc_time_base", "1:1000", "-c:v", "ffv1", "source.mkv",
)
encode = ("-i", "source.mkv", "-fps_mode", "passthrough", "-c:v", "libx264")
run(*encode, "plain.mkv")
run(*encode, "-enc_time_base", "demux", "told.mkv")
source, plain, told = times("source.mkv"), times("plain.mkv"), times("told.mkv")
print("source, ms                       ", *source)
print("-fps_mode passthrough            ", *plain)
print("the same, -enc_time_base demux   ", *told)
if not (len(set(source)) == 12 and told == source):
    sys.exit("changed: the source or -enc_time_base demux gives other times")
if not (len(plain) == 12 and all(time % 40 == 0 for time in plain) and len(set(plain)) == 8):
    sys.exit("changed: times are no longer rounded to the frame rate")
PY
venv/bin/python check.py
