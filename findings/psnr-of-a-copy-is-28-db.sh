#!/usr/bin/env bash
# The PSNR of a video and its own copy is 28 dB when one is in Matroska and the other in MP4.
#
# Expected: "psnr", "ssim" and "libvmaf" compare frame 1 with frame 1, and packets copied from MP4 to Matroska hold the
#   very same pictures, so the result is infinite (VMAF near 100).
# What happens: the filters pair frames by time, taking the newest frame of the second input that is not later.
#   Matroska has milliseconds, so 33.37 ms becomes 33 there, and the first input's frame is paired with the frame
#   before. It hits every rate whose frames are no whole milliseconds (24, 30, 60, 23.976, 29.97, 59.94), in either
#   order of the inputs; 25 and 50 are safe. The advice usually given, setpts=PTS-STARTPTS with settb=AVTB, changes
#   nothing.
# Versions: imageio-ffmpeg==0.8.1 (FFmpeg 9.0.2, the same with 7.0.2); Linux x86-64.
# Output seen (lossless H.264, 30000/1001 and 25 frames a second, the Matroska a plain copy of the MP4):
#   29.97, psnr                                          27.980817 dB
#   29.97, psnr, inputs swapped                          27.592544 dB
#   29.97, settb=AVTB,setpts=PTS-STARTPTS before psnr    27.980817 dB
#   29.97, psnr=ts_sync_mode=nearest                     inf dB
#   29.97, settb=AVTB,setpts=N before psnr               inf dB
#   25, psnr                                             inf dB
#   29.97, libvmaf                                       78.135619
# Why it matters: encoders and restorers are judged by these numbers, and here the container alone costs more than an
#   encoder. Where little moves the error hides: it looks like a small difference of quality.
# Workaround: count frames on both inputs, "settb=AVTB,setpts=N", or ask for ts_sync_mode=nearest.
# Upstream: users met it in Netflix/vmaf issues 611 and 1109 and fifonik/FFMetrics issue 96; the manual of the filters
#   does not tell.
set -euo pipefail
unset PYTHONPATH IMAGEIO_FFMPEG_EXE

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-compile imageio-ffmpeg==0.8.1
ffmpeg=$(venv/bin/python -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')

for rate in 30000/1001 25; do
  name=${rate%%/*}
  "$ffmpeg" -v error -y -f lavfi -i "testsrc2=size=320x180:rate=$rate:duration=3" \
    -c:v libx264 -qp 0 -pix_fmt yuv420p "$name.mp4"
  "$ffmpeg" -v error -y -i "$name.mp4" -c copy "$name.mkv"
done

changed=0
report() { # LABEL WANTED FIRST SECOND GRAPH: the graph's average PSNR or VMAF
  local seen
  seen=$("$ffmpeg" -hide_banner -i "$3" -i "$4" -lavfi "$5" -f null - 2>&1 |
    sed -n -e 's/.*average:\([0-9.a-z]*\).*/\1 dB/p' -e 's/.*VMAF score: \([0-9.]*\).*/\1/p')
  printf '%-52s %s\n' "$1" "$seen"
  case $2 in
    wrong) awk -v x="${seen% dB}" 'BEGIN { exit !(x > 20 && x < 90) }' || changed=1 ;;
    *) [ "$seen" = "$2 dB" ] || changed=1 ;;
  esac
}

report "29.97, psnr" wrong 30000.mkv 30000.mp4 psnr
report "29.97, psnr, inputs swapped" wrong 30000.mp4 30000.mkv psnr
usual="settb=AVTB,setpts=PTS-STARTPTS"
report "29.97, $usual before psnr" wrong 30000.mkv 30000.mp4 "[0]$usual[a];[1]$usual[b];[a][b]psnr"
report "29.97, psnr=ts_sync_mode=nearest" inf 30000.mkv 30000.mp4 psnr=ts_sync_mode=nearest
count="settb=AVTB,setpts=N"
report "29.97, $count before psnr" inf 30000.mkv 30000.mp4 "[0]$count[a];[1]$count[b];[a][b]psnr"
report "25, psnr" inf 25.mkv 25.mp4 psnr
report "29.97, libvmaf" wrong 30000.mkv 30000.mp4 libvmaf
[ "$changed" = 0 ] || { echo "changed: the numbers are no longer as stated above" >&2; exit 1; }
