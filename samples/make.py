"""Make the sample clips again: ``python samples/make.py``; ``--truth FOLDER`` also writes the sharp frames.

The scenes are drawn, moved before a camera and exposed: 32 pictures are averaged in linear light for each frame, the
sensor adds noise, H.264 does its part. The same seeds give the same frames on every machine, up to rounding.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from clips import CLIPS, HEIGHT, WIDTH, Clip
from PIL import Image
from sound import street_sound, write_wav

from vdeblur.video.ffmpeg import find_ffmpeg

HERE = Path(__file__).resolve().parent
SUBTITLES = """1
00:00:00,200 --> 00:00:01,100
Good morning, Mill Lane.

2
00:00:01,150 --> 00:00:02,000
The bookshop is open.
"""


def encode(clip: Clip, folder: Path, count: int) -> Path:
    """Write the first ``count`` frames of a clip to ``folder``/NAME.mp4.

    Raises:
        SystemExit: FFmpeg failed; the message ends with what it said.
    """
    target = folder / f"{clip.name}.mp4"
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as said:
        command = [str(find_ffmpeg()), *_inputs(clip, Path(scratch), count), *_outputs(clip), str(target)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=said) as process:
            assert process.stdin is not None
            for picture in clip.pictures(count):
                process.stdin.write(picture.tobytes())
            process.stdin.close()
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"FFmpeg could not write {target}: {said.read().decode(errors='replace')[-500:]}")
    return target


def _inputs(clip: Clip, scratch: Path, count: int) -> list[str]:
    raw = ["-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{WIDTH}x{HEIGHT}", "-framerate", str(clip.rate)]
    arguments = ["-hide_banner", "-loglevel", "error", "-y", *raw, "-i", "pipe:0"]
    if clip.sound:
        write_wav(scratch / "sound.wav", street_sound(count / clip.rate, clip.seed))
        (scratch / "words.srt").write_text(SUBTITLES, encoding="utf-8")
        arguments += ["-i", str(scratch / "sound.wav"), "-i", str(scratch / "words.srt")]
    return arguments


def _outputs(clip: Clip) -> list[str]:
    arguments = ["-map", "0:v"]
    if clip.sound:
        arguments += ["-map", "1:a", "-map", "2:s", "-c:a", "aac", "-b:a", "96k", "-c:s", "mov_text"]
        arguments += ["-metadata:s:a:0", "language=eng", "-metadata:s:s:0", "language=eng"]
    tags = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
    video = ["-vf", f"scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,{tags}"]
    video += ["-c:v", "libx264", "-preset", "slow", "-crf", str(clip.crf), "-threads", "1"]
    title = f"title=vdeblur sample: {clip.name}"
    return [*arguments, *video, "-metadata", title, "-movflags", "+faststart", "-bitexact"]


def write_truth(clip: Clip, folder: Path, count: int) -> None:
    """Write the sharp frames as ``folder``/NAME/00000.png and on."""
    (folder / clip.name).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.fromarray(clip.picture(index, sharp=True)).save(folder / clip.name / f"{index:05d}.png")


def main(arguments: list[str] | None = None) -> int:
    """Make the clips named on the command line, or all."""
    parser = argparse.ArgumentParser(prog="make.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", nargs="*", metavar="CLIP", help=f"{', '.join(CLIPS)}; all when none is named")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the clips (default: beside this script)")
    parser.add_argument("--truth", type=Path, help="folder for the sharp frames, as PNG")
    parser.add_argument("--frames", type=int, help="make only so many frames")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.clips if name not in CLIPS]
    if unknown:
        parser.error(f"no clip {unknown[0]!r}; there are {', '.join(CLIPS)}")
    if options.frames is not None and options.frames < 1:
        parser.error(f"--frames must be 1 or more, not {options.frames}")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.clips or CLIPS:
        clip = CLIPS[name]
        count = min(options.frames or clip.frames, clip.frames)
        target = encode(clip, options.out, count)
        sys.stdout.write(f"{target}: {count} frames, {target.stat().st_size / 1000:.0f} kB\n")
        if options.truth:
            write_truth(clip, options.truth, count)
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
