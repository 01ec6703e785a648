#!/usr/bin/env bash
# Text subtitles in NUT last zero seconds.
#
# Expected: NUT, FFmpeg's own container, keeps what it accepts: subtitles that FFmpeg writes into it without complaint
#   come back as they were.
# What happens: NUT has no field for a packet's duration. SRT, WebVTT and mov_text are refused ("No codec tag
#   defined"), but ASS, SSA and plain text are written without a word, and every cue comes back with the right start
#   and a length of zero. The same text in Matroska keeps its lengths.
# Versions: imageio-ffmpeg==0.8.1 (FFmpeg 9.0.2, the same with 7.0.2); Linux x86-64.
# Output seen:
#   srt       refused
#   webvtt    refused
#   mov_text  refused
#   ass       00:00:00,000 --> 00:00:00,000 | 00:00:02,000 --> 00:00:02,000
#   ssa       00:00:00,000 --> 00:00:00,000 | 00:00:02,000 --> 00:00:02,000
#   text      00:00:00,000 --> 00:00:00,000 | 00:00:02,000 --> 00:00:02,000
#   ass in Matroska: 00:00:00,000 --> 00:00:01,000 | 00:00:02,000 --> 00:00:02,500
# Why it matters: NUT is the natural pipe between two FFmpeg processes, for it carries raw video with exact times.
#   Subtitles sent along with the frames are never seen again.
# Workaround: send frames alone through NUT and take subtitles from the source file as a second input, or use Matroska.
# Upstream: nothing found.
set -euo pipefail
unset PYTHONPATH IMAGEIO_FFMPEG_EXE

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-compile imageio-ffmpeg==0.8.1
ffmpeg=$(venv/bin/python -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')

printf '1\n00:00:00,000 --> 00:00:01,000\none\n\n2\n00:00:02,000 --> 00:00:02,500\ntwo\n\n' > source.srt
picture=(-f lavfi -i testsrc2=size=64x64:rate=25:duration=4)

cues() { # FILE: starts and ends of its text subtitles
  "$ffmpeg" -v error -i "$1" -map 0:s -c:s srt -f srt - | grep -e '-->' | paste -sd '|' | sed 's/|/ | /g'
}

changed=0
for codec in srt webvtt mov_text ass ssa text; do
  seen=refused
  if "$ffmpeg" -v quiet -y "${picture[@]}" -i source.srt -c:v rawvideo -c:s "$codec" "$codec.nut"; then
    seen=$(cues "$codec.nut")
  fi
  printf '%-9s %s\n' "$codec" "$seen"
  case $codec in
    srt | webvtt | mov_text) [ "$seen" = refused ] || changed=1 ;;
    *) [ "$seen" = "00:00:00,000 --> 00:00:00,000 | 00:00:02,000 --> 00:00:02,000" ] || changed=1 ;;
  esac
done
"$ffmpeg" -v error -y "${picture[@]}" -i source.srt -c:v ffv1 -c:s ass ass.mkv
seen=$(cues ass.mkv)
echo "ass in Matroska: $seen"
[ "$seen" = "00:00:00,000 --> 00:00:01,000 | 00:00:02,000 --> 00:00:02,500" ] || changed=1
[ "$changed" = 0 ] || { echo "changed: NUT no longer does to subtitles what is stated above" >&2; exit 1; }
