"""Twenty codecs of sound into six containers: no stream is called kept that cannot be decoded again."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from functools import cache
from pathlib import Path

import av
import pytest

from support.media.clips import FOLDER, ffmpeg
from support.media.corpus_streams import H264, VIDEO, tone
from support.media.writing import copy
from vdeblur.errors import UsageError
from vdeblur.video.streams.outcomes import summary_words

CODECS = (
    "aac", "ac3", "eac3", "mp2", "libmp3lame", "libopus", "libvorbis", "flac", "alac", "dca", "truehd", "adpcm_ima_wav",
    "wavpack", "wmav2", "pcm_s16le", "pcm_s24le", "pcm_f32le", "pcm_u8", "adpcm_ms", "g722",
)  # fmt: skip
RATES = {"g722": 16000}
#: What each container refuses.
REFUSED = {
    ".mov": {"libopus", "flac", "truehd", "adpcm_ima_wav", "wavpack", "wmav2", "adpcm_ms", "g722"},
    ".mp4": {"truehd", "adpcm_ima_wav", "wavpack", "wmav2", "pcm_u8", "adpcm_ms", "g722"},
    ".mkv": set(),
    ".avi": {"libopus", "alac", "truehd", "wavpack"},
    ".ts": {*CODECS} - {"aac", "ac3", "eac3", "mp2", "libmp3lame", "libopus", "dca"},
    ".wmv": {"libopus", "alac", "truehd", "wavpack"},
}
#: How much may be missing at the end of half a second, where a decoder is not asked for its last samples.
SLACK_SECONDS = 0.1


@cache
def many_sounds() -> Path:
    """One file with a sound of each codec, half a second long."""
    path = FOLDER / "many sounds.mkv"
    inputs = " ".join(tone(300 + 20 * number) for number in range(len(CODECS)))
    maps = " ".join(f"-map {number + 1} -c:a:{number} {codec}" for number, codec in enumerate(CODECS))
    rates = " ".join(f"-ar:a:{CODECS.index(codec)} {rate}" for codec, rate in RATES.items())
    ffmpeg(*shlex.split(f"{VIDEO} {inputs} -map 0 {maps} {rates} {H264} -strict -2 -t 0.5"), str(path))
    return path


def heard_seconds(path: Path) -> list[float]:
    """How much of each sound can be decoded."""
    with av.open(str(path)) as container:
        streams = list(container.streams.audio)
        samples = {stream.index: 0 for stream in streams}
        for packet in container.demux(streams):
            with suppress(av.error.InvalidDataError):  # the first of some codecs only prepare the decoder
                if packet.size:
                    samples[packet.stream.index] += sum(frame.samples for frame in packet.decode())
        return [samples[stream.index] / stream.rate for stream in streams]


@pytest.mark.parametrize("suffix", REFUSED)
def test_no_sound_is_kept_that_cannot_be_decoded_again(suffix: str, tmp_path: Path) -> None:
    source, target = many_sounds(), tmp_path / f"out{suffix}"
    drops: list[str] = []
    try:
        writer = copy(source, target)
    except UsageError as exc:
        drops = re.findall(r"--drop (\d+)", str(exc).rpartition("leave ")[2])
        writer = copy(source, target, drop=tuple(drops))
    assert {CODECS[int(index) - 1] for index in drops} == REFUSED[suffix]
    kept = len(CODECS) - len(drops)
    assert summary_words(writer.outcomes).startswith(f"kept: {kept} audio")
    assert "LOST" not in summary_words(writer.outcomes)
    heard = heard_seconds(target)
    assert len(heard) == kept
    assert min(heard) > 0.5 - SLACK_SECONDS
