"""Make the sample clips again: ``python samples/make.py``; ``--truth FOLDER`` also writes pairs to measure with.

The scenes are drawn, moved before a camera and exposed: 32 pictures are averaged in linear light for each frame, the
sensor adds noise, H.264 does its part. The same seeds give the same frames on every machine, up to rounding.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from camera import Picture
from recipes import CLIPS, HEIGHT, WIDTH, Clip
from sound import street_sound, write_wav

from vdeblur.video.ffmpeg.executable import find_ffmpeg

HERE = Path(__file__).resolve().parent
SUBTITLES = """1
00:00:00,200 --> 00:00:01,100
Good morning, Mill Lane.

2
00:00:01,150 --> 00:00:02,000
The bookshop is open.
"""


def encode(clip: Clip, folder: Path, count: int) -> Path:
    """Write the first ``count`` frames of a clip, as filmed, to ``folder``/NAME.mp4."""
    target = folder / f"{clip.name}.mp4"
    with tempfile.TemporaryDirectory() as scratch:
        companions = _sound_and_words(clip, Path(scratch), count)
        _run_ffmpeg(clip, [*companions, *_output(clip)], clip.pictures(count), target)
    return target


def write_truth(clip: Clip, filmed: Path, folder: Path, count: int) -> None:
    """Write a pair to measure with: the clip as NAME.blur.mp4, its sharp frames without loss as NAME.sharp.mkv."""
    shutil.copyfile(filmed, folder / f"{clip.name}.blur.mp4")
    sharp = (clip.picture(index, sharp=True) for index in range(count))
    _run_ffmpeg(clip, ["-c:v", "ffv1", "-pix_fmt", "gbrp"], sharp, folder / f"{clip.name}.sharp.mkv")


def _run_ffmpeg(clip: Clip, arguments: list[str], pictures: Iterable[Picture], target: Path) -> None:
    """Encode pictures with the FFmpeg program.

    Raises:
        SystemExit: FFmpeg failed; the message ends with what it said.
    """
    raw = ["-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{WIDTH}x{HEIGHT}", "-framerate", str(clip.rate)]
    start = [str(find_ffmpeg()), "-hide_banner", "-loglevel", "error", "-y", *raw, "-i", "pipe:0"]
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen([*start, *arguments, str(target)], stdin=subprocess.PIPE, stderr=said) as process:
            assert process.stdin is not None
            for picture in pictures:
                process.stdin.write(picture.tobytes())
            process.stdin.close()
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"FFmpeg could not write {target}: {said.read().decode(errors='replace')[-500:]}")


def _sound_and_words(clip: Clip, scratch: Path, count: int) -> list[str]:
    """Further inputs of a clip with sound, and what becomes of them."""
    if not clip.sound:
        return ["-map", "0:v"]
    write_wav(scratch / "sound.wav", street_sound(count / clip.rate, clip.seed))
    (scratch / "words.srt").write_text(SUBTITLES, encoding="utf-8")
    arguments = ["-i", str(scratch / "sound.wav"), "-i", str(scratch / "words.srt")]
    arguments += ["-map", "0:v", "-map", "1:a", "-map", "2:s", "-c:a", "aac", "-b:a", "96k", "-c:s", "mov_text"]
    return [*arguments, "-metadata:s:a:0", "language=eng", "-metadata:s:s:0", "language=eng"]


def _output(clip: Clip) -> list[str]:
    tags = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
    video = ["-vf", f"scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,{tags}"]
    video += ["-c:v", "libx264", "-preset", "slow", "-crf", str(clip.crf), "-threads", "1"]
    title = f"title=vdeblur sample: {clip.name}"
    return [*video, "-metadata", title, "-movflags", "+faststart", "-bitexact"]


def main(arguments: list[str] | None = None) -> int:
    """Make the clips named on the command line, or all."""
    parser = argparse.ArgumentParser(prog="make.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", nargs="*", metavar="CLIP", help=f"{', '.join(CLIPS)}; all when none is named")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the clips (default: beside this script)")
    parser.add_argument("--truth", type=Path, help="folder for pairs: the clip and its sharp frames")
    parser.add_argument("--frames", type=int, help="make only so many frames")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.clips if name not in CLIPS]
    if unknown:
        parser.error(f"no clip {unknown[0]!r}; there are {', '.join(CLIPS)}")
    if options.frames is not None and options.frames < 1:
        parser.error(f"--frames must be 1 or more, not {options.frames}")
    for folder in filter(None, (options.out, options.truth)):
        folder.mkdir(parents=True, exist_ok=True)
    for name in options.clips or CLIPS:
        clip = CLIPS[name]
        count = min(options.frames or clip.frames, clip.frames)
        target = encode(clip, options.out, count)
        sys.stdout.write(f"{target}: {count} frames, {target.stat().st_size / 1000:.0f} kB\n")
        if options.truth:
            write_truth(clip, target, options.truth, count)
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
