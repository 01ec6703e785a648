#!/usr/bin/env bash
# Raw P010, NV24 and float video written to NUT is read back as RGB with 15 bits.
#
# Expected: "rawvideo" in NUT is lossless, and a pixel format that NUT cannot name is refused (Matroska refuses it; AVI
#   and QuickTime warn that the file will be unreadable).
# What happens: pixel formats without an entry in NUT's tag table are written under the tag of 15-bit RGB without a
#   warning. They are read as rgb555le: no error, no message, the right size and the right number of frames, but noise.
# Versions: imageio-ffmpeg==0.8.1 (FFmpeg 9.0.2, the same with 7.0.2); Linux x86-64.
# Output seen:
#   yuv420p10le  comes back as yuv420p10le
#   p010le       comes back as rgb555le
#   nv24         comes back as rgb555le
#   yuv440p10le  comes back as rgb555le
#   grayf32le    comes back as rgb555le
#   ya16le       comes back as rgb555le
# Why it matters: p010le is what hardware decoders give for 10-bit video, grayf32le is what masks and depth maps are.
#   NUT is FFmpeg's usual container for raw video with times; a pipe of it between two programs then carries garbage.
# Workaround: convert to a planar twin first (p010le to yuv420p10le), or send FFV1 in NUT for formats it knows.
# Upstream: the same reading of another untagged format was met in 2015: lu-zero/bmdtools issue 51.
set -euo pipefail
unset PYTHONPATH IMAGEIO_FFMPEG_EXE

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-compile imageio-ffmpeg==0.8.1
ffmpeg=$(venv/bin/python -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')

changed=0
for format in yuv420p10le p010le nv24 yuv440p10le grayf32le ya16le; do
  wanted=rgb555le
  [ "$format" != yuv420p10le ] || wanted=yuv420p10le
  said=$("$ffmpeg" -v warning -y -f lavfi -i testsrc2=size=64x64:rate=25:duration=0.2 -sws_flags bicubic \
    -c:v rawvideo -pix_fmt "$format" "$format.nut" 2>&1 | grep -i -e nut -e unreadable -e tag || true)
  banner=$("$ffmpeg" -hide_banner -i "$format.nut" 2>&1 || true)
  read_as=$(sed -n 's/.*Video: rawvideo ([^)]*), \([a-z0-9]*\).*/\1/p' <<< "$banner")
  printf '%-12s comes back as %s\n' "$format" "$read_as"
  [ "$read_as" = "$wanted" ] && [ -z "$said" ] || changed=1
done
[ "$changed" = 0 ] || { echo "changed: NUT now refuses, names or tells of these formats" >&2; exit 1; }
