#!/usr/bin/env bash
# FFmpeg copies sound into QuickTime which then has no decoder, not even its own.
#
# Expected: what a container cannot name is refused before a packet is written. MP4 does so with this sound; so does
#   QuickTime with TrueHD, TTA and Microsoft's ADPCM.
# What happens: the QuickTime muxer writes Windows Media Audio and G.723.1 under codes that its own demuxer does not
#   know. The exit status is 0, there is no word, and all packets are there with the right times; but neither PyAV nor
#   the program that wrote the file finds a decoder. From Matroska the same packets are decoded.
# Versions: imageio-ffmpeg==0.8.1 (FFmpeg 9.0.2), av==18.1.0 (FFmpeg 8.1) reads; Linux x86-64.
# Output seen:
#   aac           mov: exit 0, 48 packets, decoded: aac      mp4: exit 0    mkv: decoded
#   wmav2         mov: exit 0, 22 packets, no decoder        mp4: refused   mkv: decoded
#   g723_1        mov: exit 0, 34 packets, no decoder        mp4: refused   mkv: decoded
#   wmav1         mov: exit 0, 22 packets, no decoder        mp4: refused   mkv: decoded
# Why it matters: "-c copy" into .mov is how people bring old recordings into an editor. The result looks whole in every
#   check that counts packets, and is silent.
# Workaround: after a copy, open every stream of the result and decode one packet; or copy into .mp4, which refuses.
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
kinds = {
    "aac": ("in.mka", "48000"),
    "wmav2": ("in.wma", "44100"),
    "g723_1": ("in.mka", "8000"),
    "wmav1": ("in.wma", "44100"),
}


def run(*words):
    return subprocess.run([program, "-v", "error", "-y", *words], capture_output=True, text=True)


def first_sound(path):
    """What is heard in a file: the name of the decoder after one decoded frame, or why there is none."""
    try:
        with av.open(path) as container:
            next(container.decode(audio=0))
            return "decoded: " + container.streams.audio[0].codec_context.name
    except av.error.DecoderNotFoundError:
        return "no decoder"


changed = False
for name, (source, rate) in kinds.items():
    tone = ["-f", "lavfi", "-i", f"sine=440:sample_rate={rate}:duration=1", "-ac", "1"]
    made = run(*tone, "-c:a", name, source)
    assert made.returncode == 0, made.stderr
    results = {kind: run("-i", source, "-c", "copy", f"out.{kind}") for kind in ("mov", "mp4", "mkv")}
    with av.open("out.mov") as container:
        packets = sum(bool(packet.size) for packet in container.demux(audio=0))
    heard, elsewhere = first_sound("out.mov"), first_sound("out.mkv")
    refused = results["mp4"].returncode != 0
    seen = f"mov: exit {results['mov'].returncode}, {packets} packets, {heard}"
    print(f"{name:<13} {seen:<42} mp4: {'refused' if refused else 'exit 0':<9} mkv: {elsewhere.split(':')[0]}")
    good = name == "aac"
    changed |= (run("-i", "out.mov", "-f", "null", "-").returncode == 0) != good
    changed |= results["mov"].returncode != 0 or results["mov"].stderr != "" or packets < 10
    changed |= (heard == "no decoder") == good or refused == good or not elsewhere.startswith("decoded")
if changed:
    sys.exit("changed: QuickTime now refuses this sound, tells of it, or reads it again")
PY
venv/bin/python check.py
