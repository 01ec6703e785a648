#!/usr/bin/env bash
# A picture held for 3 seconds at the end of a clip shrinks to one frame.
#
# Expected: a frame's duration is kept, also that of the last one, when a clip is copied to another container (-c copy)
#   or encoded for one.
# What happens: most containers have no place for the last duration and give it that of the frames before. MP4 has one,
#   but counts in decoding order: with B-frames the last picture shown is not the last decoded, and its duration is
#   lost, even when it is only copied from Matroska to MP4. SVT-AV1 forgets it in any container. Nothing is said.
# Versions: imageio-ffmpeg==0.8.1 (FFmpeg 9.0.2; 7.0.2 does the same, its SVT-AV1 was not tried), av==18.1.0; Linux
#   x86-64.
# Output seen (5 frames at 25 a second, the last one 3 s: 3.16 s in all):
#   source                                 3.16 s
#   source in MP4                          3.16 s
#   encoded: libx264, no B-frames, MP4     3.16 s
#   encoded: libx264, MP4                  0.20 s
#   encoded: libx264, Matroska             3.16 s
#   ... and that file copied to MP4        0.20 s
#   encoded: libsvtav1, Matroska           0.20 s
#   encoded: libaom-av1, Matroska          3.16 s
#   copied: MP4 to Matroska to MP4         3.16 s
#   copied: MP4 to NUT to MP4              0.20 s
#   copied: MP4 to MPEG-TS to MP4          0.20 s
#   copied: MP4 to FLV to MP4              0.20 s
# Why it matters: slide shows, screen recordings with nothing new at the end, and clips of variable rate lose their
#   end: sound goes on over nothing, loops jump, and the reported length differs from the source's by seconds.
# Workaround: repeat the last picture shortly before the end, or encode without B-frames (-bf 0) for MP4.
# Upstream: nothing found on B-frames or on SVT-AV1; FFmpeg ticket 6128 tells of concat's last duration.
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
clip = ("-f", "lavfi", "-i", "testsrc2=size=128x128:rate=25:duration=0.2")
hold = ("-bsf:v", r"setts=duration=if(eq(N\,4)\,3/TB\,DURATION)")


def run(*words):
    subprocess.run([program, "-v", "error", "-y", *words], check=True, stderr=subprocess.DEVNULL)


def shown_seconds(path):
    """Seconds from the first picture to the end of the one that is shown last."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        first = min(packet.pts for packet in packets)
        last = max(packets, key=lambda packet: packet.pts)
        return round(float((last.pts + last.duration - first) * stream.time_base), 2)


run(*clip, "-c:v", "ffv1", *hold, "source.mkv")
run(*clip, "-c:v", "libx264", "-bf", "0", *hold, "source.mp4")
seen = {"source": shown_seconds("source.mkv"), "source in MP4": shown_seconds("source.mp4")}


def encode(label, target, *codec):
    run("-i", "source.mkv", "-fps_mode", "passthrough", "-enc_time_base", "1:1000", "-c:v", *codec, target)
    seen[label] = shown_seconds(target)


encode("encoded: libx264, no B-frames, MP4", "plain.mp4", "libx264", "-bf", "0")
encode("encoded: libx264, MP4", "x264.mp4", "libx264")
encode("encoded: libx264, Matroska", "x264.mkv", "libx264")
run("-i", "x264.mkv", "-c", "copy", "copied.mp4")
seen["... and that file copied to MP4"] = shown_seconds("copied.mp4")
encode("encoded: libsvtav1, Matroska", "svt.mkv", "libsvtav1")
encode("encoded: libaom-av1, Matroska", "aom.mkv", "libaom-av1")
for name, ending in (("Matroska", "mkv"), ("NUT", "nut"), ("MPEG-TS", "ts"), ("FLV", "flv")):
    run("-i", "source.mp4", "-c", "copy", f"there.{ending}")
    run("-i", f"there.{ending}", "-c", "copy", f"back_{ending}.mp4")
    seen[f"copied: MP4 to {name} to MP4"] = shown_seconds(f"back_{ending}.mp4")
for label, seconds in seen.items():
    print(f"{label:38} {seconds:.2f} s")
kept = {
    "source", "source in MP4", "encoded: libx264, no B-frames, MP4", "encoded: libx264, Matroska",
    "encoded: libaom-av1, Matroska", "copied: MP4 to Matroska to MP4",
}
wrong = [label for label, seconds in seen.items() if seconds != (3.16 if label in kept else 0.2)]
if wrong:
    sys.exit(f"changed: {'; '.join(wrong)}")
PY
venv/bin/python check.py
