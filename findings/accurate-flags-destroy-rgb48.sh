#!/usr/bin/env bash
# Asking swscale for its most accurate conversion to 16-bit RGB destroys the picture.
#
# Expected: "accurate_rnd" and "full_chroma_int" make a conversion from 8-bit 4:2:0 to RGB slower and better. FFmpeg
#   7.0 does so.
# What happens: with a bilinear scaler (also "area" and "bicublin") and a packed 16-bit target (rgb48, bgr48, rgba64)
#   the picture is wrong all over: 7 dB. For rgb48 each flag alone is harmless, planar gbrp16 and bicubic are right,
#   4:4:4 is right. It does not depend on the processor: -cpuflags 0 gives the same.
# Versions: imageio-ffmpeg==0.8.1 (FFmpeg 9.0.2) wrong, imageio-ffmpeg==0.6.0 (FFmpeg 7.0.2) right; the libraries in
#   av==15.1.0 (FFmpeg 7.1) are right, those in av==16.1.0 to 18.1.0 (FFmpeg 8) wrong. Linux x86-64.
# Output seen (PSNR of 8-bit 4:2:0 made rgb48 against the same made gbrp16; 30 dB is another placing of chroma):
#   FFmpeg 7.0.2  bilinear+accurate_rnd+full_chroma_int  36.277378 dB
#   FFmpeg 9.0.2  bilinear+accurate_rnd+full_chroma_int  7.030424 dB
#   FFmpeg 9.0.2  bilinear+accurate_rnd                  31.654994 dB
#   FFmpeg 9.0.2  bicubic+accurate_rnd+full_chroma_int   inf dB
# Why it matters: 16-bit RGB is how careful programs hand video to a network, to NumPy or to 16-bit PNG and TIFF, and
#   these are the flags people add for quality.
# Workaround: convert to the planar gbrp16le (or gbrpf32le) and interleave the planes yourself, or use bicubic.
# Upstream: nothing found.
set -euo pipefail
unset PYTHONPATH IMAGEIO_FFMPEG_EXE

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-compile imageio-ffmpeg==0.8.1
venv/bin/pip install --quiet --disable-pip-version-check --no-compile --no-deps --target older imageio-ffmpeg==0.6.0
newer=$(venv/bin/python -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')
older=$(PYTHONPATH=older venv/bin/python -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')

psnr() { # PROGRAM FLAGS: dB between 4:2:0 converted to rgb48le and to gbrp16le with the same flags
  "$1" -hide_banner -f lavfi -i "testsrc2=size=640x360:rate=25:duration=0.04,format=yuv420p,split[a][b];\
[a]scale=flags=$2,format=rgb48le,scale=flags=bicubic,format=gbrp16le,format=gbrp[c];\
[b]scale=flags=$2,format=gbrp16le,format=gbrp[d];[c][d]psnr" -f null - 2>&1 |
    sed -n 's/.*average:\([0-9.a-z]*\).*/\1/p'
}

report() { # LABEL PROGRAM FLAGS LOWEST HIGHEST
  local seen
  seen=$(psnr "$2" "$3")
  printf 'FFmpeg %s  %-38s %s dB\n' "$1" "$3" "$seen"
  [ "$seen" != inf ] || seen=999
  awk -v x="$seen" -v low="$4" -v high="$5" 'BEGIN { exit !(x >= low && x <= high) }' || changed=1
}

changed=0
report 7.0.2 "$older" bilinear+accurate_rnd+full_chroma_int 30 999
report 9.0.2 "$newer" bilinear+accurate_rnd+full_chroma_int 0 12
report 9.0.2 "$newer" bilinear+accurate_rnd 30 999
report 9.0.2 "$newer" bicubic+accurate_rnd+full_chroma_int 50 999
[ "$changed" = 0 ] || { echo "changed: the conversion is no longer as stated above" >&2; exit 1; }
