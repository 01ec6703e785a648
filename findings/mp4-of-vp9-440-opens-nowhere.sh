#!/usr/bin/env bash
# FFmpeg writes 4:4:0 VP9 into MP4 with exit status 0, and cannot open the file.
#
# Expected: the binding of VP9 to MP4 (v1.0) has values for 4:2:0, 4:2:2 and 4:4:4 only, so a muxer that is given 4:4:0
#   refuses before the first packet, as it does with other things that MP4 cannot name.
# What happens: it says "Unsupported pixel format (31)", writes an empty "vpcC" box and goes on. The exit status is 0,
#   whether the video is encoded or copied, and the file has its full size. FFmpeg's own demuxer then refuses the whole
#   file, sound included. In WebM and Matroska the same packets are fine.
# Versions: imageio-ffmpeg==0.8.1 (FFmpeg 9.0.2), av==18.1.0 (FFmpeg 8.1) reads; Linux x86-64.
# Output seen:
#   yuv420p  mp4: exit 0; read by the program: exit 0; PyAV: 10 frames, 21 packets of sound
#   yuv440p  mp4: exit 0; read by the program: exit 183; PyAV: Invalid data found when processing input
#   yuv440p  webm: exit 0; read by the program: exit 0; PyAV: 10 frames, 21 packets of sound
# Why it matters: 4:4:0 is what 4:2:2 becomes when it is turned by 90 degrees. Whoever trusts the exit status and
#   deletes the source has lost the sound, too.
# Workaround: WebM or Matroska; or 4:4:4; and open a result before trusting it.
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

program = imageio_ffmpeg.get_ffmpeg_exe()


def status(*words):
    return subprocess.run([program, "-v", "fatal", "-y", *words], stderr=subprocess.DEVNULL).returncode


def seen_by_pyav(path):
    try:
        with av.open(path) as container:
            frames = sum(1 for _ in container.decode(video=0))
        with av.open(path) as container:
            packets = sum(bool(packet.size) for packet in container.demux(audio=0))
        return f"{frames} frames, {packets} packets of sound"
    except av.error.InvalidDataError as error:
        return error.strerror


changed = False
for pixel_format, target, readable in (("yuv420p", "mp4", True), ("yuv440p", "mp4", False), ("yuv440p", "webm", True)):
    made = status(
        *("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25:duration=0.4"),
        *("-f", "lavfi", "-i", "sine=sample_rate=48000:duration=0.4"),
        *("-pix_fmt", pixel_format, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-c:a", "libopus", f"out.{target}"),
    )
    read, pyav = status("-i", f"out.{target}", "-f", "null", "-"), seen_by_pyav(f"out.{target}")
    print(f"{pixel_format}  {target}: exit {made}; read by the program: exit {read}; PyAV: {pyav}")
    changed |= made != 0 or (read == 0) != readable or pyav.startswith("10 frames") != readable
if changed:
    sys.exit("changed: 4:4:0 in MP4 is refused, or can be read")
PY
venv/bin/python check.py
