"""HEVC files with the two kinds of dynamic HDR metadata: HDR10+ made by x265, Dolby Vision put in by hand."""

from __future__ import annotations

import json
from pathlib import Path

from support.media.clips import ffmpeg

PICTURE = "testsrc2=size=96x64:rate=25"
_ENCODER = ("-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le")
_PARAMETERS = "log-level=none:pools=1:bframes=0"


def hdr10_plus(folder: Path) -> Path:
    """Two frames with SMPTE ST 2094-40 metadata."""
    luminance = {
        "AverageRGB": 100, "MaxScl": [100, 100, 100], "LuminanceDistributions": {
            "DistributionIndex": [1, 5, 10, 25, 50, 75, 90, 95, 99], "DistributionValues": list(range(9)),
        },
    }  # fmt: skip
    scene = {
        "LuminanceParameters": luminance, "NumberOfWindows": 1, "TargetedSystemDisplayMaximumLuminance": 400,
        "SceneFrameIndex": 0, "SceneId": 0, "SequenceFrameIndex": 0,
    }  # fmt: skip
    words = {
        "JSONInfo": {"HDR10plusProfile": "A", "Version": "1.0"}, "SceneInfo": [scene],
        "SceneInfoSummary": {"SceneFirstFrameIndex": [0], "SceneFrameNumbers": [1]},
    }  # fmt: skip
    (folder / "scene.json").write_text(json.dumps(words))
    path = folder / "plus.hevc"
    # x265 separates its parameters by colons, which paths may have too.
    parameters = f"{_PARAMETERS}:hdr10=1:repeat-headers=1:dhdr10-info={_escaped(folder / 'scene.json')}"
    ffmpeg("-f", "lavfi", "-i", PICTURE, "-frames:v", "2", *_ENCODER, "-x265-params", parameters, str(path))
    return path


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "/").replace(":", "\\:")


def dolby_vision(folder: Path) -> Path:
    """One frame, followed by a unit of type 62 with the metadata of Dolby Vision that changes nothing."""
    path = folder / "dolby.hevc"
    parameters = ("-x265-params", _PARAMETERS)
    ffmpeg("-f", "lavfi", "-i", PICTURE, "-frames:v", "1", *_ENCODER, *parameters, str(path))
    path.write_bytes(path.read_bytes() + bytes((0, 0, 0, 1, 62 << 1, 1)) + _protected(_reference_processing_unit()))
    return path


def _reference_processing_unit() -> bytes:
    """Header and an identical mapping for each channel (ETSI GS CCM 001, syntax of rpu_data)."""
    bits = f"{2:06b}{0x12:011b}{1:04b}{0:04b}1"  # type, format, profile, level, sequence info follows
    bits += "000" + _golomb(23) + "010" + _golomb(2) + _golomb(2) + _golomb(4) + "000001"  # coefficients and depths
    bits += "00" + _golomb(0) * 3  # no display metadata, nothing taken from before
    bits += (_golomb(0) + f"{0:010b}{1023:010b}") * 3  # two pivots a channel
    bits += _golomb(0) * 2  # one partition
    zero, one = _golomb(0), _golomb(1)
    bits += (zero + zero + "0" + zero + f"{0:023b}" + one + f"{0:023b}") * 3  # 0 + 1·x
    bits += "0" * (-len(bits) % 8)
    body = bytes(int(bits[place : place + 8], 2) for place in range(0, len(bits), 8))
    return bytes((0x19, *body, 0, 0, 0, 0, 0x80))


def _golomb(value: int) -> str:
    """Exponential Golomb code (ITU-T H.265, 9.2); 1 as a signed number has the code of 1."""
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits


def _protected(data: bytes) -> bytes:
    """Bytes without anything that looks like a start code (ITU-T H.265, 7.4.2)."""
    made, zeros = bytearray(), 0
    for byte in data:
        if zeros >= 2 and byte <= 3:
            made.append(3)
            zeros = 0
        made.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(made)
