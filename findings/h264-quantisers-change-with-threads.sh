#!/usr/bin/env bash
# The quantisers that FFmpeg's H.264 decoder exports change from run to run when it decodes with frame threads.
#
# Expected: export_side_data=venc_params gives the quantiser of every macroblock as the file has it. How many threads
#   decode it makes no difference, as it makes none to the pictures.
# What happens: with frame threads (the program ffmpeg uses them by default, PyAV on request) some frames carry a table
#   that another thread has not filled yet: part of it, or all, is zero or left over from another picture. The pictures
#   are the same bit for bit, and no frame is without a table, so nothing shows that it is wrong. Here every fourth
#   picture is noisy, which takes long to decode, and about a fifth of the tables is wrong; of an even clip it is about
#   one in a hundred. One thread, slice threads and files without B-frames gave the same right values every time.
# Versions: av==18.1.0 (FFmpeg 8.1), numpy==2.4.6, imageio-ffmpeg==0.8.1 (FFmpeg 9.0.2); Python 3.11, Linux x86-64.
# Output seen (100 frames, mean quantiser 29; "off by" is the mean of one frame; of eight runs the first two):
#   PyAV, one thread again           wrong tables  0, missing 0, pictures differ 0, worst mean off by 0.0
#   PyAV, four slice threads         wrong tables  0, missing 0, pictures differ 0, worst mean off by 0.0
#   PyAV, four frame threads, run 1  wrong tables 18, missing 0, pictures differ 0, worst mean off by 31.4
#   PyAV, four frame threads, run 2  wrong tables 19, missing 0, pictures differ 0, worst mean off by 27.3
#   ffmpeg -threads 4, codecview, run 1: 24 frames differ from those of -threads 1
#   ffmpeg -threads 4, codecview, run 2: 19 frames differ from those of -threads 1
# Why it matters: what reads the quantisers (studies of encoders, metrics without a reference, deblocking) gets noise
#   that no test of pictures finds. Filters of the program ffmpeg read them too: with pp7 the pictures themselves change
#   from run to run.
# Workaround: one thread or slice threads ("-threads 1", thread_type "SLICE"); or read the slice headers instead.
# Upstream: no report found. doc/multithreading.txt says that "the contents of buffers must not be read before
#   ff_thread_await_progress() has been called on them"; h264_export_enc_params in libavcodec/h264dec.c copies the table
#   of a picture that another thread may still decode, and does not wait.
set -euo pipefail
unset PYTHONPATH IMAGEIO_FFMPEG_EXE

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-compile av==18.1.0 numpy==2.4.6 imageio-ffmpeg==0.8.1
ffmpeg=$(venv/bin/python -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')
clip="testsrc2=size=640x360:rate=25:duration=4,noise=alls=30:allf=t:enable='not(mod(n,4))',format=yuv420p"
"$ffmpeg" -v error -f lavfi -i "$clip" -c:v libx264 -crf 23 clip.mp4

cat > check.py <<'PY'
import hashlib
import subprocess
import sys

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type


def decoded(kind, threads):
    """The table of quantisers of every frame, None where there is none, and a hash of its picture."""
    tables, pictures = [], []
    with av.open("clip.mp4") as container:
        stream = container.streams.video[0]
        stream.codec_context.options = {"export_side_data": "venc_params"}
        stream.codec_context.thread_count = threads
        stream.thread_type = kind
        for frame in container.decode(stream):
            data = SideDataContainer(frame).get(Type.VIDEO_ENC_PARAMS)
            tables.append(None if data is None else np.array(data.qp_map()))
            pictures.append(hashlib.md5(frame.to_ndarray().tobytes()).digest())
    return tables, pictures


def drawn(threads):
    """Hashes of the frames with their quantisers drawn into them by the program ffmpeg."""
    options = ["-v", "error", "-threads", str(threads), "-export_side_data", "venc_params", "-i", "clip.mp4"]
    command = [sys.argv[1], *options, "-vf", "codecview=qp=1", "-f", "framemd5", "-"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line for line in lines if not line.startswith("#")]


def compare(name, kind, threads):
    """How many tables differ from those of one thread, and how many tables are missing or pictures differ."""
    tables, pictures = decoded(kind, threads)
    pairs = [(a, b) for a, b in zip(right, tables, strict=True) if b is not None]
    wrong = sum(not np.array_equal(a, b) for a, b in pairs)
    missing = len(tables) - len(pairs)
    differ = sum(a != b for a, b in zip(right_pictures, pictures, strict=True))
    worst = max((abs(a.mean() - b.mean()) for a, b in pairs), default=0.0)
    counts = f"missing {missing}, pictures differ {differ}, worst mean off by {worst:.1f}"
    print(f"PyAV, {name:<26} wrong tables {wrong:2}, {counts}")
    return wrong, missing + differ


right, right_pictures = decoded("SLICE", 1)
steady = [compare("one thread again", "SLICE", 1), compare("four slice threads", "SLICE", 4)]
framed = [compare(f"four frame threads, run {run}", "FRAME", 4) for run in range(1, 9)]
right_drawn = drawn(1)
for run in (1, 2):
    wrong = sum(a != b for a, b in zip(right_drawn, drawn(4), strict=True))
    print(f"ffmpeg -threads 4, codecview, run {run}: {wrong} frames differ from those of -threads 1")
    framed.append((wrong, 0))
if any(map(any, steady)) or any(other for _, other in framed):
    sys.exit("changed: one thread or slice threads vary, too, or frame threads lose tables or change pictures")
if not any(wrong for wrong, _ in framed):
    sys.exit("changed: ten decodings with frame threads gave the quantisers of one thread")
PY
venv/bin/python check.py "$ffmpeg"
