"""`vdeblur info FILE`: stream information of a source, and a dry run of its output."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any

import click

from vdeblur.cli import error_output
from vdeblur.cli.guidance.error_words import in_flags
from vdeblur.cli.guidance.folders import look_into
from vdeblur.cli.help import GroupedCommand, GroupedOption
from vdeblur.cli.io_plan import PIPE, is_elsewhere, missing_input
from vdeblur.cli.report import clock
from vdeblur.errors import UsageError, VdeblurError
from vdeblur.frames import PixelFormat
from vdeblur.pipeline.source_quality import SourceQuality, read_quality
from vdeblur.video.info import Crop, ExposureRange, Interlacing, SourceInfo, StreamInfo, VideoInfo

_ANGLES = ("yaw", "pitch", "roll")
#: Tags that MP4 has about itself.
_BRANDS = frozenset({"major_brand", "minor_version", "compatible_brands"})


@click.command("info", cls=GroupedCommand)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--allow-network", is_flag=True, cls=GroupedOption, help="Open FILE even if it is a URL.")
@click.option("--recursive", is_flag=True, cls=GroupedOption, help="Of a folder, also show those in folders below.")
@click.option("--video", type=int, cls=GroupedOption, metavar="N", help="The video stream to restore, by its number.")
@click.option("--json", "as_json", is_flag=True, cls=GroupedOption, help="As JSON, one object a file.")
def info(files: tuple[str, ...], allow_network: bool, recursive: bool, video: int | None, as_json: bool) -> int:
    """Show every stream of FILE, how its frames are read, and how vdeblur would write it back.

    Of a folder, every video is shown, or its pictures as one video. A file that cannot be read does not stop the rest.
    """
    names, notes = _named(files, recursive)
    for words in notes:
        sys.stderr.write(f"vdeblur: note: {words}\n")
    codes = []
    for number, name in enumerate(names):
        if number and not as_json:
            sys.stdout.write("\n")
        try:
            _show(name, allow_network, as_json, video=video, indent=2 if len(names) == 1 else None)
        except VdeblurError as exc:
            if len(names) == 1:
                raise
            message = in_flags(exc, click.get_current_context().command)
            error_output.write_error_line(message if name in message else f"{name}: {message}")
            codes.append(exc.exit_code)
    return codes[0] if codes else 0


def _named(files: Sequence[str], recursive: bool) -> tuple[list[str], list[str]]:
    """The sources, folders replaced by the videos in them, and what was taken of folders."""
    names, notes = list[str](), list[str]()
    for file in files:
        if not os.path.isdir(file):
            if file != PIPE and not is_elsewhere(file) and not os.path.exists(file):
                raise missing_input(file)
            names.append(file)
            continue
        contents = look_into(Path(file), recursive=recursive)
        names += map(str, contents.sources)
        notes.append(contents.words)
    return names, notes


def _show(file: str, allow_network: bool, as_json: bool, *, video: int | None, indent: int | None) -> None:
    from vdeblur.video.source.reader import Reader

    with Reader(file, threads=1, interlaced="keep", video=video, allow_network=allow_network) as reader:
        source, notes, shutter = reader.info, reader.notes, reader.exposure_range()
        quality = read_quality(source.video.codec, reader.samples())
    plan = plan_words(source)
    plan.insert(1, quality.plan)
    if as_json:
        holds = {**_plain(source), "shutter": _plain(shutter), **quality.plain, "notes": notes, "would": plan}
        sys.stdout.write(json.dumps(holds, indent=indent) + "\n")
    else:
        lines = [*source_lines(source, shutter, quality), *(f"note: {note}" for note in notes), "", *plan]
        sys.stdout.write("\n".join(lines) + "\n")


def source_lines(
    source: SourceInfo, shutter: ExposureRange | None = None, quality: SourceQuality | None = None
) -> list[str]:
    """Human-readable description of a source: container, video with its shutter and noise, then every stream."""
    length = "" if source.duration_seconds is None else f", {_length(source.duration_seconds)}"
    chapters = f", {source.chapters} chapters" if source.chapters else ""
    lines = [f"{source.name}: {source.container}{length}{chapters}"]
    lines += [f"  {key}: {value}" for key, value in source.metadata.items() if key not in _BRANDS]
    described = [*_video_words(source.video, shutter), *([] if quality is None else quality.words)]
    lines += ["", "video", *(f"  {name:<13}{words}" for name, words in described if words)]
    lines += ["", "streams", *(f"  {_stream_words(stream, source.video)}" for stream in source.streams)]
    return lines


def plan_words(source: SourceInfo) -> list[str]:
    """Dry run without options, in sentences: frames, encoder, conversions and losses."""
    video = source.video
    words = [
        f"vdeblur restores {video.width}x{video.height} frames in their own {_format_words(video.format)} samples."
    ]
    target = _target_name(source)
    try:
        encoder, notes = _try_writing(source, target)
    except UsageError as exc:
        return [*words, f"It cannot write them to {target}: {exc}."]
    words.append(f"To {target} it writes {encoder}:")
    return [*words, *(f"  {note}" for note in notes or ["there is nothing else to keep"])]


def _try_writing(source: SourceInfo, target: str) -> tuple[str, list[str]]:
    """Encoder and pixel format, and the writer's notes, found by preparing the output in a scratch folder."""
    from vdeblur.video.encode.containers import container_of
    from vdeblur.video.encode.raw_video import RawVideoSpec
    from vdeblur.video.encode.video_plan import plan_video
    from vdeblur.video.segments.journal import Journal
    from vdeblur.video.sink.writer import EncodeOptions, Writer

    video = source.video
    spec = RawVideoSpec.of(
        video,
        frame_format=video.format,
        colour=video.colour,
        width=video.width,
        height=video.height,
        time_base=video.time_base,
    )
    planned = plan_video(container_of(target), spec, EncodeOptions())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"trial{PurePath(target).suffix}"
        writer = Writer(
            str(path),
            journal=Journal(path),
            info=source,
            frame_format=video.format,
            colour=video.colour,
            width=video.width,
            height=video.height,
            time_base=video.time_base,
        )
        writer.abort()
    return f"{planned.encoder.name}, {planned.pixel_format}", writer.notes


def _target_name(source: SourceInfo) -> str:
    path = PurePath(source.path.name if source.path is not None else "video.mkv")
    return f"{path.stem}.sharp{path.suffix or '.mkv'}"


def _video_words(video: VideoInfo, shutter: ExposureRange | None) -> list[tuple[str, str]]:
    """Names and values of the video's known properties; a value may be empty."""
    shape = video.sample_aspect_ratio
    display, light = video.mastering_display, video.content_light
    bright = "" if display is None or display.max_luminance is None else f"up to {float(display.max_luminance):g} cd/m²"
    return [
        ("codec", video.codec),
        ("size", f"{video.width}x{video.height}"),
        ("crop", "" if video.crop is None else _crop_words(video.crop)),
        ("fields", _field_words(video.interlacing)),
        ("pixel shape", "" if shape in (None, 1) else str(shape)),
        ("rotation", f"{video.rotation_degrees}°" if video.rotation_degrees else ""),
        ("pixels", f"{video.pixel_format}, read as {video.format.name}: {_format_words(video.format)}"),
        ("colour", _colour_words(video)),
        ("rate", "" if video.average_rate is None else f"{_rate(video.average_rate)} frames/s on average"),
        ("shutter", "" if shutter is None else _shutter_words(shutter)),
        ("frames", f"{video.frame_count_from_header} by the header" if video.frame_count_from_header else ""),
        ("duration", "" if video.duration_seconds is None else _length(video.duration_seconds)),
        ("ticks", f"{video.time_base} s, starting at {video.start_pts}"),
        ("360°, 3D", _space_words(video)),
        ("HDR display", bright),
        ("HDR light", "" if light is None else f"MaxCLL {light.max_content}, MaxFALL {light.max_average} cd/m²"),
        ("alpha", "in a layer that is not decoded here" if video.hidden_alpha else ""),
        ("side data", ", ".join(video.side_data)),
    ]


def _crop_words(crop: Crop) -> str:
    sides = {"top": crop.top, "bottom": crop.bottom, "left": crop.left, "right": crop.right}
    return ", ".join(f"{count} at the {side}" for side, count in sides.items() if count) + ", by the container; applied"


def _space_words(video: VideoInfo) -> str:
    """Projection of 360° video and arrangement of 3D video."""
    if video.spatial is None:
        return ""
    projection, stereo, words = video.spatial.projection, video.spatial.stereo, list[str]()
    if projection is not None:
        turned = ", ".join(f"{name} {value / 65536:g}°" for name, value in zip(_ANGLES, projection.pose, strict=True))
        words.append(f"{projection.kind} ({turned})" if any(projection.pose) else projection.kind)
    if stereo is not None:
        words.append(f"{stereo.arrangement}{', right eye first' if stereo.inverted else ''}")
    return ", ".join(words) or "of a kind that is not known"


def _shutter_words(shutter: ExposureRange) -> str:
    """Exposure as the camera wrote it, e.g. "1/204 s (0.15 of the frame interval), GoPro GPMF"."""
    times = "" if shutter.seconds is None else _between(*map(_exposure, shutter.seconds)).replace(" s to", " to")
    shares = ""
    if shutter.fractions is not None:
        shares = _between(*(f"{share:.2g}" for share in shutter.fractions)) + " of the frame interval"
    words = f"{times} ({shares})" if times and shares else times or shares
    return f"{words}, {shutter.source}{' of the first frame' if shutter.first_frame_only else ''}"


def _between(least: str, most: str) -> str:
    return least if least == most else f"{least} to {most}"


def _exposure(seconds: float) -> str:
    return f"1/{1 / seconds:.0f} s" if seconds <= 1 / 3 else f"{seconds:.2g} s"


def _field_words(found: Interlacing) -> str:
    """Interlacing by flags and by the pictures; empty for progressive video that is flagged as such."""
    if found == Interlacing():
        return ""
    words = {"tff": "top field first", "bff": "bottom field first", "telecine": "3:2 pulldown", None: "whole frames"}
    shown = words.get(found.shown, "whole frames")
    return f"flagged {words[found.flagged]}" + (f", the pictures show {shown}" if found.shown else "")


def _stream_words(stream: StreamInfo, video: VideoInfo) -> str:
    marks = {
        "restored": stream.index == video.stream_index,
        "cover picture": stream.attached_picture,
        "default": stream.default,
        "forced": stream.forced,
        "encrypted": stream.encrypted,
    }
    language = stream.language if stream.language != "und" else None
    words = [f"#{stream.index}", stream.kind, stream.codec, language or "", f'"{stream.title or ""}"']
    said = ", ".join(mark for mark, there in marks.items() if there)
    return " ".join(word for word in [*words, f"({said})"] if word not in ("", '""', "()"))


def _format_words(pixel_format: PixelFormat) -> str:
    depth = "float" if pixel_format.is_float else f"{pixel_format.bits}-bit"
    if pixel_format.family == "yuv":
        layout = {(1, 1): "4:2:0", (1, 0): "4:2:2", (0, 0): "4:4:4", (2, 0): "4:1:1", (0, 1): "4:4:0"}
        kind = layout.get(pixel_format.chroma_shift, "YCbCr")
    else:
        kind = "grey" if pixel_format.family == "gray" else "RGB"
    return f"{depth} {kind}{' with alpha' if pixel_format.alpha else ''}"


def _colour_words(video: VideoInfo) -> str:
    colour = video.colour
    said = [
        ("matrix", colour.matrix),
        ("range", {"tv": "limited", "pc": "full"}.get(colour.range or "", colour.range)),
        ("primaries", colour.primaries),
        ("transfer", colour.transfer),
        ("chroma at", colour.chroma_location),
    ]
    words = [f"{name} {value}" for name, value in said if value]
    if colour.matrix is None and video.format.family == "yuv":
        words.insert(0, "matrix not said: BT.709 is taken from 720 lines on, else BT.601")
    return ", ".join(words)


def _rate(rate: Fraction) -> str:
    return f"{float(rate):.3f}".rstrip("0").rstrip(".")


def _length(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 60 else f"{clock(seconds)} ({seconds:.2f} s)"


def _plain(value: Any) -> Any:
    """Convert to JSON types: dataclasses to mappings, fractions to "n/d", paths to text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, (Fraction, PurePath)) else value
