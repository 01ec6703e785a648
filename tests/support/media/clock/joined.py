"""Joined sources: pieces with a flash and a beep at one instant, put together as bytes."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from support.media.clips import FOLDER, ffmpeg

#: The instant of flash and beep in each piece.
MARK_SECONDS = 0.4
H264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -bf 2 -g 10 -threads 1 -c:a aac"
#: Containers that people join: ending, and FFmpeg's words for a piece.
JOINABLE = {
    "ts": f"{H264} -f mpegts",
    "m2ts": f"{H264} -f mpegts -mpegts_m2ts_mode 1",
    "vob": "-c:v mpeg2video -bf 2 -g 10 -c:a mp2 -f vob",
    "flv": f"{H264.replace('-bf 2', '-bf 0')} -f flv",
    "mp4": f"{H264.replace('-bf 2', '-bf 0')} -f mp4 -movflags +frag_keyframe+empty_moov+default_base_moof",
    "mkv": f"{H264} -f matroska",
}


def piece(kind: str, seconds: float, *, more: str = "") -> Path:
    """One piece: black, with a white flash of 0.12 s, and silence, with a beep as long."""
    path = FOLDER / f"piece {seconds} {abs(hash(more))}.{kind}"
    if not path.exists():
        during = f"between(t,{MARK_SECONDS - 0.01},{MARK_SECONDS + 0.11})"
        ffmpeg(
            "-f", "lavfi", "-i", f"color=black:size=64x48:rate=25,drawbox=t=fill:color=white:enable='{during}'",
            "-f", "lavfi", "-i", f"sine=1000:sample_rate=48000,volume='{during}':eval=frame",
            "-t", str(seconds), *JOINABLE[kind].split(), *more.split(), str(path),
        )  # fmt: skip
    return path


def joined(kind: str, pieces: list[Path]) -> Path:
    """The pieces one behind the other; FLV without the headers of later pieces, as recorders append."""
    path = FOLDER / f"joined {'-'.join(one.stem for one in pieces)}.{kind}"
    skipped = 13 if kind == "flv" else 0
    data = [one.read_bytes() for one in pieces]
    path.write_bytes(data[0] + b"".join(one[skipped:] for one in data[1:]))
    return path


def marks(path: Path) -> tuple[list[float], list[float]]:
    """Seconds at which flashes and beeps begin, decoded."""
    flashes: list[float] = []
    beeps: list[float] = []
    white, loud = False, -1.0
    with av.open(str(path)) as container:
        for frame in container.decode():
            assert frame.pts is not None
            seconds = float(frame.pts * frame.time_base)
            if isinstance(frame, av.VideoFrame):
                now = bool(frame.to_ndarray(format="gray").mean() > 100)
                flashes += [seconds] if now and not white else []
                white = now
            elif isinstance(frame, av.AudioFrame):
                samples = np.abs(frame.to_ndarray().astype(np.float64)).max(0)
                scale = 32768 if frame.format.name.startswith("s16") else 1
                for place in np.nonzero(samples > 0.03 * scale)[0]:
                    at = seconds + place / frame.sample_rate
                    beeps += [at] if at - loud > 0.1 else []
                    loud = at
    return flashes, beeps


def shown(path: Path) -> list[float]:
    """Seconds at which the pictures are shown."""
    with av.open(str(path)) as container:
        return sorted(
            float(frame.pts * frame.time_base) for frame in container.decode(video=0) if frame.pts is not None
        )
