"""Test clips made by code: each one is an FFmpeg command line, run once a session into a temporary folder.

``clip("h264")`` gives the path; ``clip("h264", frames=3)`` the same recipe with three frames. Recipes are in
``RECIPES``; every picture is 160×96 at 25 frames a second from FFmpeg's ``testsrc2`` unless the recipe says otherwise.
The FFmpeg program is always the one of imageio-ffmpeg, which has every encoder needed here.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg

FOLDER = Path(tempfile.mkdtemp(prefix="vdeblur clips "))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)

SOURCE = "testsrc2=size=160x96:rate=25"
#: testsrc2 rounds its own size to even numbers.
ODD_SOURCE = "testsrc2=size=98x54:rate=25,crop=97:53:0:0:exact=1"
TONE = "sine=frequency=440:sample_rate=48000"
X264 = "-c:v libx264 -preset ultrafast -crf 20"
BT709 = "-vf setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
HDR = (
    "-c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -tag:v hvc1 "
    "-x265-params log-level=none:bframes=3:pools=1:hdr10=1:repeat-headers=1:colorprim=bt2020:transfer=smpte2084:"
    "colormatrix=bt2020nc:range=limited:chromaloc=2:max-cll=1000,400:"
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
)


@dataclass(frozen=True)
class Recipe:
    """``output`` = FFmpeg options before the file; ``{n}`` is the frame count and ``{folder}`` the clips' folder."""

    output: str
    suffix: str
    source: str = SOURCE
    #: FFmpeg options before the source and further inputs after it.
    before: str = ""
    inputs: str = ""
    #: Another clip read instead of a lavfi source.
    clip: str | None = None
    frames: int = 40
    #: Whether the output ends after that many frames; otherwise its inputs end it.
    limited: bool = True


RECIPES = {
    # H.264 with three B-frames, tagged BT.709.
    "h264": Recipe(f"{X264} -pix_fmt yuv420p -bf 3 -g 12 {BT709}", ".mp4"),
    "h264_open_gop": Recipe(f"{X264} -pix_fmt yuv420p -bf 3 -x264-params open-gop=1:keyint=10:scenecut=0", ".mkv"),
    "h264_raw": Recipe(f"{X264} -pix_fmt yuv420p -bf 2 -g 12", ".h264"),
    "h264_ts": Recipe(f"{X264} -pix_fmt yuv420p -bf 2 -g 12", ".ts"),
    "h264_odd_444": Recipe(f"{X264} -pix_fmt yuv444p -bf 2", ".mp4", ODD_SOURCE),
    "h264_audio": Recipe(f"{X264} -pix_fmt yuv420p -bf 2 -c:a aac -shortest", ".mp4", inputs=f"-f lavfi -i {TONE}"),
    # Variable frame rate: every third gap is long; ticks of 1/90000 s.
    "h264_vfr": Recipe(
        f"-vf settb=1/90000,setpts=N*3003+floor(N/3)*4500 -fps_mode passthrough -enc_time_base 1:90000 {X264} "
        "-pix_fmt yuv420p -bf 2 -video_track_timescale 90000",
        ".mp4",
    ),
    "h264_vfr_offset": Recipe(
        "-c copy -output_ts_offset 3.3 -video_track_timescale 90000", ".mp4", clip="h264_vfr", limited=False
    ),
    # The first picture is shown at 5 s.
    "h264_offset_mp4": Recipe(f"{X264} -pix_fmt yuv420p -bf 2 -g 12 -output_ts_offset 5", ".mp4"),
    "h264_offset": Recipe(f"{X264} -pix_fmt yuv420p -bf 2 -g 12 -output_ts_offset 5", ".mkv"),
    "hevc10_hdr": Recipe(HDR, ".mp4"),
    "hevc10_open_gop": Recipe(
        "-c:v libx265 -preset ultrafast -pix_fmt yuv420p10le "
        "-x265-params log-level=none:pools=1:open-gop=1:keyint=10:bframes=3:scenecut=0",
        ".mkv",
    ),
    "vp9": Recipe("-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 30 -b:v 0 -pix_fmt yuv420p", ".webm"),
    "av1": Recipe("-c:v libsvtav1 -preset 12 -crf 40 -pix_fmt yuv420p10le -svtav1-params lp=1", ".mp4"),
    "mpeg4_avi": Recipe("-c:v mpeg4 -q:v 3 -bf 2 -g 12", ".avi"),
    "mjpeg": Recipe("-c:v mjpeg -q:v 3 -pix_fmt yuvj420p", ".avi"),
    "prores": Recipe("-c:v prores_ks -profile:v 3 -pix_fmt yuv422p10le", ".mov"),
    "ffv1_8": Recipe("-c:v ffv1 -level 3 -pix_fmt yuv420p", ".mkv"),
    "ffv1_10": Recipe("-c:v ffv1 -level 3 -pix_fmt yuv422p10le", ".mkv"),
    "ffv1_444_12": Recipe("-c:v ffv1 -level 3 -pix_fmt yuv444p12le", ".mkv"),
    "ffv1_gray": Recipe("-c:v ffv1 -level 3 -pix_fmt gray", ".mkv"),
    "ffv1_gray16": Recipe("-c:v ffv1 -level 3 -pix_fmt gray16le", ".mkv"),
    "ffv1_rgb": Recipe("-c:v ffv1 -level 3 -pix_fmt gbrp", ".mkv"),
    "ffv1_alpha": Recipe("-vf format=yuva444p,geq=lum=p(X\\,Y):a=X -c:v ffv1 -level 3 -pix_fmt yuva420p", ".mkv"),
    "ffv1_odd": Recipe("-c:v ffv1 -level 3 -pix_fmt yuv420p", ".mkv", ODD_SOURCE),
    "y4m": Recipe("-pix_fmt yuv420p", ".y4m"),
    "nut": Recipe("-c:v rawvideo -pix_fmt yuv444p", ".nut"),
    # The player must turn the picture by 90 degrees; the stored pictures are 160×96.
    "rotated": Recipe("-c copy", ".mp4", before="-display_rotation 90", clip="h264"),
    "anamorphic": Recipe(f"-vf setsar=4/3 {X264} -pix_fmt yuv420p", ".mp4"),
    # A small real video after a large attached cover picture.
    "cover": Recipe(
        "-map 0:v -map 1:v -c:v:0 png -disposition:v:0 attached_pic -c:v:1 copy",
        ".mp4",
        "testsrc2=size=320x240:rate=25:duration=0.04",
        inputs="-i {h264}",
        limited=False,
    ),
    "audio_only": Recipe("-map 1:a -t 0.5 -c:a aac", ".m4a", inputs=f"-f lavfi -i {TONE}", limited=False),
    # Everything a Matroska file can hold beside the video; made by make_everything().
    "everything": Recipe("", ".mkv"),
    "photo_png": Recipe("", ".png", frames=1),
    "photo_jpg": Recipe("-pix_fmt yuvj422p -q:v 2", ".jpg", frames=1),
    "photo_tif": Recipe("-pix_fmt rgb48le", ".tif", frames=1),
    "photo_webp": Recipe("-lossless 0 -q:v 80", ".webp", frames=1),
}


def ffmpeg(*arguments: str, data: bytes | None = None, stderr: bool = False) -> bytes:
    """Run FFmpeg quietly and return what it wrote to standard output or error; a failure shows its messages."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-v", "error", "-y", *arguments]
    done = subprocess.run(command, input=data, capture_output=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr.decode(errors='replace')}")
    return done.stderr if stderr else done.stdout


@functools.cache
def clip(name: str, *, frames: int | None = None) -> Path:
    """Path of the clip ``name``, made on first use. Never write to it; :func:`copy_of` gives one of your own."""
    recipe = RECIPES[name]
    count = recipe.frames if frames is None else frames
    path = FOLDER / f"{name}_{count}{recipe.suffix}"
    if name == "everything":
        return make_everything(path, count)
    source = ["-i", str(clip(recipe.clip))] if recipe.clip else ["-f", "lavfi", "-i", recipe.source]
    words = [word.format(n=count, **_paths(recipe.inputs)) for word in recipe.inputs.split()]
    output = [word.format(n=count) for word in recipe.output.split()]
    frames_option = ["-frames:v", str(count)] if recipe.limited else []
    ffmpeg(*recipe.before.split(), *source, *words, *output, *frames_option, str(path))
    return path


def _paths(text: str) -> dict[str, str]:
    return {name: str(clip(name)) for name in ("h264",) if f"{{{name}}}" in text}


def make_everything(path: Path, frames: int) -> Path:
    """H.264, two audio streams, subtitles, a font, two chapters, tags, SAR and dispositions."""
    subtitles, chapters, font = FOLDER / "subtitles.srt", FOLDER / "chapters.txt", FOLDER / "font.ttf"
    subtitles.write_text("1\n00:00:00,200 --> 00:00:00,900\nGrüße\n", encoding="utf-8")
    chapters.write_text(
        ";FFMETADATA1\ntitle=A title\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=800\ntitle=One\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=800\nEND=1600\ntitle=Two\n",
        encoding="utf-8",
    )
    font.write_bytes(bytes(range(256)) * 4)
    options = (
        f"-map 0:v -map 1:a -map 2:a -map 3:s -map_metadata 4 -map_chapters 4 {X264} -bf 2 "
        f"-pix_fmt yuv420p {BT709},setsar=4/3 -c:a:0 aac -c:a:1 flac -c:s srt -t {frames / 25} "
        "-metadata:s:a:0 language=eng -metadata:s:a:1 language=fra -metadata:s:a:1 title=Commentary "
        "-disposition:a:1 comment -metadata:s:s:0 language=deu -metadata:s:t:0 mimetype=font/ttf"
    )
    ffmpeg(
        *("-f", "lavfi", "-i", SOURCE, "-f", "lavfi", "-i", TONE, "-f", "lavfi", "-i", "sine=frequency=880"),
        *("-i", str(subtitles), "-i", str(chapters), "-attach", str(font), *options.split(), str(path)),
    )
    return path


def sequence(folder: Path, *, pattern: str = "frame_%05d.png", start: int = 1, frames: int = 5) -> str:
    """Write a numbered image sequence into ``folder`` and return its pattern."""
    target = str(folder / pattern)
    ffmpeg("-f", "lavfi", "-i", SOURCE, "-frames:v", str(frames), "-start_number", str(start), target)
    return target


def copy_of(path: Path, folder: Path, name: str | None = None) -> Path:
    """A copy of a clip that a test may damage or rename."""
    return Path(shutil.copy(path, folder / (name or path.name)))


def raw_frames(path: Path, pixel_format: str | None = None) -> bytes:
    """Every frame's samples as the FFmpeg program decodes them, one after the other, none dropped or repeated."""
    wanted = ["-pix_fmt", pixel_format] if pixel_format else []
    return ffmpeg(
        "-noautorotate", "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough", *wanted, "-f", "rawvideo", "-"
    )
