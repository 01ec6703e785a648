"""Sound for a clip: a voice of synthetic vowels in the middle, a chord around it, a little street noise."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 48_000
Samples = NDArray[np.float64]

#: Formants in Hz and the voice's pitch for each syllable.
SYLLABLES = (
    ((730, 1090, 2440), 128),
    ((270, 2290, 3010), 140),
    ((570, 840, 2410), 118),
    ((530, 1840, 2480), 150),
    ((300, 870, 2240), 122),
    ((660, 1720, 2410), 110),
)
CHORD_HZ = (220.0, 277.18, 329.63)


def street_sound(seconds: float, seed: int) -> Samples:
    """Stereo samples in -1…1, (samples, 2), at ``RATE_HZ``."""
    rng = np.random.default_rng(seed)
    count = round(seconds * RATE_HZ)
    t = np.arange(count) / RATE_HZ
    voice = _voice(t)
    left, right = 0.55 * voice, 0.55 * voice
    for i, pitch in enumerate(CHORD_HZ):
        tone = np.sin(2 * np.pi * pitch * t + i) * (0.6 + 0.4 * np.sin(2 * np.pi * (0.3 + 0.11 * i) * t))
        left, right = left + 0.05 * (3 - i) * tone / 2, right + 0.05 * (i + 1) * tone / 2
    hush = np.convolve(rng.normal(0, 0.05, count + 47), np.ones(48) / 48, "valid")
    fade = np.clip(np.minimum(t, seconds - t) / 0.05, 0, 1)
    stereo = np.stack([left + hush, right + np.roll(hush, 300)], 1) * fade[:, None]
    return np.asarray(np.clip(stereo, -1, 1))


def _voice(t: Samples) -> Samples:
    """Syllables of a buzzing source shaped by formants; each resonance is added up over the source's harmonics."""
    voice = np.zeros_like(t)
    length = 0.3
    for i in range(int(t[-1] / length) + 1 if len(t) else 0):
        if i % 7 == 6:
            continue
        formants, pitch = SYLLABLES[i % len(SYLLABLES)]
        inside = slice(round(i * length * RATE_HZ), min(len(t), round((i + 1) * length * RATE_HZ)))
        s = t[inside] - i * length
        glide = 2 * np.pi * (pitch * s - 12 * s**2)
        envelope = np.clip(np.minimum(s / 0.04, (0.26 - s) / 0.08), 0, 1)
        for harmonic in range(1, 28):
            frequency = harmonic * pitch
            gain = sum(0.7**k / (1 + ((frequency - f) / 70) ** 2) for k, f in enumerate(formants)) + 0.12 / harmonic
            voice[inside] += gain * np.sin(harmonic * glide) * envelope
    return voice / max(1.0, float(np.abs(voice).max(initial=0)))


def write_wav(path: Path, samples: Samples) -> None:
    """Write stereo samples as 16-bit PCM."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.rint(samples * 32_000).astype("<i2").tobytes())
