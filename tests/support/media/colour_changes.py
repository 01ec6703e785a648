"""Streams whose colour or depth changes: two short encodes, one behind the other, in every container that lets them."""

from __future__ import annotations

import functools
from pathlib import Path

import av

from support.media.clips import FOLDER, ffmpeg

#: Four frames of one moving picture; lossless, so that samples can be compared.
_PICTURE = "testsrc2=size=64x48:rate=25,trim=end_frame=4"
_NAMES = ("matrix", "primaries", "transfer", "range")
BT709 = ("bt709", "bt709", "bt709", "tv")
PQ = ("bt2020nc", "bt2020", "smpte2084", "tv")


@functools.cache
def coloured(words: tuple[str, str, str, str] | None, pixel_format: str = "yuv420p") -> Path:
    """An H.264 stream in Matroska with these colour tags (``_NAMES``), or none, and its headers at every key frame."""
    path = FOLDER / f"coloured_{abs(hash((words, pixel_format)))}.mkv"
    matrix, primaries, transfer, value_range = words or BT709
    samples = f"scale=out_color_matrix={matrix.replace('nc', '')}:out_range={value_range},format={pixel_format}"
    parameters = ["qp=0", "repeat-headers=1", "scenecut=0", "bframes=0", "threads=1"]
    if words is not None:
        parameters += [f"colormatrix={matrix}", f"colorprim={primaries}", f"transfer={transfer}"]
        parameters += [f"fullrange={'on' if value_range == 'pc' else 'off'}"]
    said = ["-bsf:v", "filter_units=remove_types=6"]
    ffmpeg(
        "-f", "lavfi", "-i", _PICTURE, "-vf", samples, "-c:v", "libx264", "-preset", "ultrafast", "-x264-params",
        ":".join(parameters), *said, str(path),
    )  # fmt: skip
    return path


def followed(folder: Path, suffix: str, *parts: Path) -> Path:
    """The packets of several streams one after another, under the header of the first."""
    path = folder / f"followed{suffix}"
    if suffix in (".ts", ".h264"):
        pieces = []
        for number, part in enumerate(parts):
            piece = folder / f"piece{number}{suffix}"
            timing = ("-output_ts_offset", str(0.16 * number), "-muxdelay", "0", "-muxpreload", "0")
            ffmpeg("-i", str(part), "-c", "copy", *(timing if suffix == ".ts" else ()), str(piece))
            pieces.append(piece.read_bytes())
        path.write_bytes(b"".join(pieces))
        return path
    with av.open(str(path), "w") as target:
        stream = None
        for number, part in enumerate(parts):
            with av.open(str(part)) as source:
                stream = stream or target.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(video=0):
                    if packet.size:
                        moved = round(0.16 * number / packet.time_base)
                        packet.pts, packet.dts = packet.pts + moved, packet.pts + moved
                        packet.stream = stream
                        target.mux(packet)
    return path


@functools.cache
def plain(pixel_format: str) -> Path:
    """The same picture of another depth or subsampling, without words on its colour beyond BT.709."""
    return coloured(BT709, pixel_format)
