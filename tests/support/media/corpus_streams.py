"""The corpus of everything beside the video: one FFmpeg recipe a kind of file, and what must come of it where.

``KINDS`` is the table. Its rows are kinds of source; each names its targets, and for each target its fate: the summary
that must be said, what is converted, and which columns (``COLUMNS`` in ``looking.py``) the target has no place for.
Every picture is 64×48 at 25 frames a second, eight of them.
"""

from __future__ import annotations

import functools
import shlex
import struct
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from support.media.clips import FOLDER, ffmpeg

VIDEO = "-f lavfi -i testsrc2=size=64x48:rate=25"
SECOND_VIDEO = "-f lavfi -i testsrc=size=32x32:rate=25"
H264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -bf 2 -g 4 -threads 1"
FIRST_H264 = H264.replace("-c:v", "-c:v:0")
VP9 = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 30 -b:v 0 -pix_fmt yuv420p"
MPEG4 = "-c:v mpeg4 -q:v 3 -threads 1"
END = "-t 0.32"
NAMES = (
    "-metadata:s:a:0 language=eng -metadata:s:a:0 'title=Größe, кот' -metadata:s:a:1 language=fra "
    "-metadata:s:a:1 'title=日本語の音声' -metadata:s:a:2 language=jpn"
)
ROLES = (
    "-disposition:v:0 default -disposition:a:0 default -disposition:a:1 dub+comment -disposition:a:2 visual_impaired "
    "-disposition:s:0 forced -disposition:s:1 hearing_impaired -disposition:s:2 default+comment"
)


def tone(hertz: int) -> str:
    return f"-f lavfi -i sine=frequency={hertz}:sample_rate=48000"


def three(video: str, *codecs: str, more: str = "") -> str:
    """A video and three sounds."""
    sounds = " ".join(f"-c:a:{number} {codec}" for number, codec in enumerate(codecs))
    return (
        f"{VIDEO} {tone(440)} {tone(660)} {tone(880)} -map 0 -map 1 -map 2 -map 3 {video} {sounds} -strict -2 "
        f"{NAMES} {more} {END}"
    )


@dataclass(frozen=True)
class Fate:
    """What must come of a source in one target."""

    #: The one line at the end, exactly.
    summary: str = ""
    #: Words of the refusal; nothing may be written then.
    refused: str | None = None
    drop: tuple[str, ...] = ()
    #: Streams of the source in the order they must have in the result; all of them, if not said.
    order: tuple[int, ...] | None = None
    #: Columns the target has no words for.
    without: frozenset[str] = frozenset()
    #: Words that a note must have.
    noted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """One source: its recipe (FFmpeg's words, or a function of this module) and its fates by the target's ending."""

    suffix: str
    recipe: str
    to: dict[str, Fate] = field(default_factory=dict)


def kept(words: str, **more: Any) -> Fate:
    return Fate(f"kept: {words}" if words else "", **more)


def lacking(*columns: str) -> frozenset[str]:
    return frozenset(columns)


SOUND3 = kept("3 audio")
SOUND1 = kept("1 audio")
NO_ROLES_IN_MOV = (
    "role comment+dub of audio 2 (aac), role visual_impaired of audio 3 (aac), role forced of subtitle 4 (srt, deu), "
    "role hearing_impaired of subtitle 5 (srt, eng), role comment of subtitle 6 (srt)"
).replace(", role", "; role")
TEXT3 = ", ".join(f"subtitle {index} SRT → mov_text" for index in (4, 5, 6))

#: FFmpeg decodes MP2 in MP4 with its decoder of MP3, whose samples are of another kind.
MP2 = lacking("sound")

KINDS: dict[str, Kind] = {
    # Sound: how many, which codec, which language.
    "mp4_silent": Kind(".mp4", f"{VIDEO} {H264} {END}", {".mp4": Fate(), ".mkv": Fate()}),
    "mp4_dolby": Kind(
        ".mp4", three(H264, "aac", "ac3", "eac3"),
        {".mp4": SOUND3, ".mov": SOUND3, ".mkv": SOUND3, ".ts": kept(
            "3 audio · left out: title of audio 1 (aac, eng); title of audio 2 (ac3, fra)",
            without=lacking("tags", "roles"))},
    ),
    "mp4_modern": Kind(
        ".mp4", three(H264, "libmp3lame", "libopus", "flac"),
        {".mp4": SOUND3, ".mkv": SOUND3, ".mov": Fate(refused=r"audio 2 \(opus, fra\), audio 3 \(flac, jpn\)")},
    ),
    "mp4_studio": Kind(".mp4", three(H264, "alac", "dca", "pcm_s16be"), {".mp4": SOUND3, ".mkv": SOUND3}),
    "mov_pcm": Kind(
        ".mov", three(H264, "pcm_s16le", "pcm_s24le", "alac"),
        {".mov": SOUND3, ".mkv": SOUND3, ".mp4": kept("3 audio", noted=("few players know PCM in MP4",))},
    ),
    "mkv_dolby": Kind(
        ".mkv", three(H264, "aac", "ac3", "eac3"), {".mkv": SOUND3, ".mp4": SOUND3, ".mov": SOUND3}
    ),
    "mkv_modern": Kind(
        ".mkv", three(H264, "libmp3lame", "libopus", "libvorbis"), {".mkv": SOUND3, ".mp4": SOUND3}
    ),
    "mkv_lossless": Kind(
        ".mkv", three(H264, "flac", "pcm_s24le", "alac"),
        {".mkv": SOUND3, ".mp4": SOUND3, ".mov": Fate(refused=r"audio 1 \(flac, eng\).*-c:a alac")},
    ),
    "mkv_disc": Kind(
        ".mkv", three(H264, "dca", "truehd", "pcm_s16le"),
        {".mkv": SOUND3, ".mp4": Fate(refused=r"audio 2 \(truehd, fra\)")},
    ),
    "webm": Kind(
        ".webm", f"{VIDEO} {tone(440)} {tone(660)} -map 0 -map 1 -map 2 {VP9} -c:a:0 libopus -c:a:1 libvorbis "
        f"-metadata:s:a:0 language=eng -metadata:s:a:1 language=fra {END}",
        {".webm": kept("2 audio"), ".mkv": kept("2 audio"), ".mp4": kept("2 audio")},
    ),
    "ts_broadcast": Kind(
        ".ts", three(H264, "aac", "ac3", "mp2"), {".ts": SOUND3, ".mkv": SOUND3, ".mp4": replace(SOUND3, without=MP2)}
    ),
    "ts_modern": Kind(".ts", three(H264, "libopus", "eac3", "dca"), {".ts": SOUND3, ".mkv": SOUND3}),
    "avi": Kind(
        ".avi", three(MPEG4, "libmp3lame", "pcm_s16le", "ac3"), {".avi": SOUND3, ".mkv": SOUND3, ".mp4": SOUND3}
    ),
    "nut": Kind(".nut", three(H264, "aac", "pcm_s16le", "libvorbis"), {".nut": SOUND3, ".mkv": SOUND3}),
    "flv": Kind(".flv", f"{VIDEO} {tone(440)} {H264} -c:a aac {END}", {".flv": SOUND1, ".mp4": SOUND1}),
    "wmv": Kind(
        ".wmv", f"{VIDEO} {tone(440)} -c:v wmv2 -c:a wmav2 -metadata:s:a:0 language=eng {END}",
        {".wmv": SOUND1, ".mkv": SOUND1, ".mp4": Fate(refused=r"audio 1 \(wmav2, eng\)")},
    ),
    # Sound that does not begin and end with the picture.
    "mp4_late": Kind(
        ".mp4", f"{VIDEO} -itsoffset 0.1 {tone(440)} {H264} -c:a aac {END}", {".mp4": SOUND1, ".mkv": SOUND1}
    ),
    "mkv_late": Kind(
        ".mkv", f"{VIDEO} -itsoffset 0.1 {tone(440)} {H264} -c:a flac {END}", {".mkv": SOUND1, ".mp4": SOUND1}
    ),
    "mp4_early": Kind(
        ".mp4", f"-itsoffset 0.2 {VIDEO} {tone(440)} {H264} -c:a aac -t 0.52", {".mp4": SOUND1, ".mkv": SOUND1}
    ),
    "mkv_early": Kind(
        ".mkv", f"-itsoffset 0.2 {VIDEO} {tone(440)} {H264} -c:a libopus -t 0.52", {".mkv": SOUND1, ".mp4": SOUND1}
    ),
    "mp4_long": Kind(
        ".mp4", f"{VIDEO}:duration=0.32 {tone(440)} {H264} -c:a aac -t 0.8", {".mp4": SOUND1, ".mkv": SOUND1}
    ),
    "mp4_gap": Kind(
        ".mp4", f"{VIDEO} {tone(440)} {H264} -c:a aac -af 'aselect=not(between(t\\,0.1\\,0.2))' {END}",
        {".mp4": SOUND1, ".mkv": SOUND1},
    ),
    "mkv_gap": Kind(
        ".mkv", f"{VIDEO} {tone(440)} {H264} -c:a flac -af 'aselect=not(between(t\\,0.1\\,0.2))' {END}",
        {".mkv": SOUND1, ".mp4": SOUND1},
    ),
    # The edit list begins in the middle of a group of pictures, and of the sound.
    "mp4_edited": Kind(".mp4", "-ss 0.13 -i {mp4_long} -c copy", {".mp4": SOUND1, ".mkv": SOUND1}),
    "mp4_fragments": Kind(".mp4", "-i {mp4_late} -c copy -movflags +frag_keyframe+empty_moov", {".mp4": SOUND1}),
    # Subtitles.
    "mkv_srt": Kind(
        ".mkv", f"{VIDEO} -i {{srt}} {H264} -c:s srt -metadata:s:s language=deu -metadata:s:s 'title=„Zwei“' {END}",
        {
            ".mkv": kept("1 subtitle"),
            ".mp4": Fate("converted: subtitle 1 SRT → mov_text"),
            ".mov": Fate("converted: subtitle 1 SRT → mov_text"),
            ".webm": Fate("converted: subtitle 1 SRT → WebVTT"),
            ".ts": Fate(refused="MPEG-TS cannot hold subtitle 1"),
        },
    ),
    "mkv_ass": Kind(
        ".mkv", f"{VIDEO} -i {{ass}} -attach {{font}} -attach {{other_font}} {H264} -c:s copy "
        "-metadata:s:t:0 mimetype=application/x-truetype-font -metadata:s:t:1 mimetype=font/otf "
        f"-metadata:s:t:1 'filename=Schrift ö.otf' -metadata:s:t:1 title=Zweite {END}",
        {
            ".mkv": kept("1 subtitle, 2 fonts"),
            ".mp4": Fate(refused=r"subtitle 1 \(ssa\), attachment 2 \(font.ttf\), attachment 3 \(Schrift ö.otf\)"),
            ".webm": Fate(refused=r"subtitle 1 \(ssa\), attachment 2 \(font.ttf\), attachment 3 \(Schrift ö.otf\)"),
        },
    ),
    "mkv_webvtt": Kind(
        ".mkv", f"{VIDEO} -i {{vtt}} {H264} -c:s copy {END}",
        {".mkv": kept("1 subtitle"), ".mp4": Fate("converted: subtitle 1 WebVTT → mov_text", noted=("of cues",))},
    ),
    "webm_webvtt": Kind(
        ".webm", f"{VIDEO} -i {{vtt}} {VP9} -c:s copy {END}", {".webm": kept("1 subtitle"), ".mkv": kept("1 subtitle")}
    ),
    "mp4_text": Kind(
        ".mp4", f"{VIDEO} -i {{srt}} {H264} -c:s mov_text -metadata:s:s language=fra {END}",
        {".mp4": kept("1 subtitle"), ".mov": kept("1 subtitle"), ".mkv": Fate("converted: subtitle 1 mov_text → SRT")},
    ),
    "mkv_pgs": Kind(
        ".mkv", f"{VIDEO} -i {{sup}} {H264} -c:s copy {END}",
        {".mkv": kept("1 subtitle"), ".mp4": Fate(refused=r"subtitle 1 \(pgssub\); write to .mkv")},
    ),
    "m2ts_pgs": Kind(
        ".m2ts", f"{VIDEO} -i {{sup}} {H264} -c:s copy {END}", {".m2ts": kept("1 subtitle"), ".mkv": kept("1 subtitle")}
    ),
    "mkv_dvd": Kind(
        ".mkv", f"{VIDEO} -i {{sup}} {H264} -c:s dvdsub {END}",
        {".mkv": kept("1 subtitle"), ".mov": Fate(refused="subtitle 1")},
    ),
    "mkv_dvb": Kind(
        ".mkv", f"{VIDEO} -i {{sup}} {H264} -c:s dvbsub -metadata:s:s language=deu {END}",
        {".mkv": kept("1 subtitle"), ".mp4": Fate(refused=r"subtitle 1 \(dvbsub, deu\)")},
    ),
    "ts_dvb": Kind(
        ".ts", "-i {mkv_dvb} -map 0 -c copy -bsf:s setts=ts=40+40*N",
        {".ts": kept("1 subtitle"), ".mkv": kept("1 subtitle")},
    ),
    # Roles.
    **{
        f"{name}_roles": Kind(
            f".{name}", f"{VIDEO} {tone(440)} {tone(550)} {tone(660)} -i {{srt}} -map 0 -map 1 -map 2 -map 3 -map 4 "
            f"-map 4 -map 4 {H264} -c:a aac -c:s {text} -metadata:s:s:0 language=deu -metadata:s:s:1 language=eng "
            f"{ROLES} {END}", fates,
        )
        for name, text, fates in (
            ("mkv", "srt", {
                ".mkv": kept("3 audio, 3 subtitles"),
                ".mp4": kept(f"3 audio · converted: {TEXT3}"),
                ".mov": kept(f"3 audio · converted: {TEXT3} · left out: {NO_ROLES_IN_MOV}", without=lacking("roles")),
            }),
            ("mp4", "mov_text", {".mp4": kept("3 audio, 3 subtitles"), ".mkv": kept(
                "3 audio · converted: " + ", ".join(f"subtitle {index} mov_text → SRT" for index in (4, 5, 6)))}),
        )
    },
    "mp4_second_default": Kind(
        ".mp4", f"{VIDEO} {tone(440)} {tone(550)} -map 0 -map 1 -map 2 {H264} -c:a aac -disposition:a:0 0 "
        f"-disposition:a:1 default {END}", {".mp4": kept("2 audio"), ".mkv": kept("2 audio")},
    ),
    "ts_roles": Kind(
        ".ts", f"{VIDEO} {tone(440)} {tone(550)} -map 0 -map 1 -map 2 {H264} -c:a ac3 -disposition:a:0 visual_impaired "
        f"-disposition:a:1 hearing_impaired {END}", {".ts": kept("2 audio"), ".mkv": kept("2 audio")},
    ),
    # Chapters and tags, in Unicode, of several lines, with quotes.
    **{
        f"{name}_told": Kind(
            f".{name}", f"{VIDEO} -i {{told}} -map 0 -map_metadata 1 {codec} -metadata:s:v 'title=Vidéo' "
            f"-metadata:s:v language=jpn {END}", fates,
        )
        for name, codec, fates in (
            ("mkv", H264, {".mkv": kept("3 chapters"), ".mp4": kept("3 chapters"), ".mov": kept("3 chapters"),
                           ".webm": kept("3 chapters"), ".ts": Fate(refused="MPEG-TS cannot hold 3 chapters"),
                           ".avi": Fate("left out: 3 chapters: as asked, language jpn of video 0 (h264, jpn)",
                                        drop=("chapters",), without=lacking("chapters", "tags", "roles"))}),
            ("mp4", H264, {".mp4": kept("3 chapters"), ".mkv": kept("3 chapters"), ".mov": kept("3 chapters")}),
            ("mov", H264, {".mov": kept("3 chapters"), ".mkv": kept("3 chapters"), ".mp4": kept("3 chapters")}),
            ("webm", VP9, {".webm": kept("3 chapters")}),
            ("nut", H264, {".nut": kept("3 chapters"), ".mkv": kept("3 chapters")}),
            ("wmv", "-c:v wmv2", {".wmv": kept("3 chapters"), ".mkv": kept("3 chapters")}),
            ("avi", MPEG4, {".avi": Fate(), ".mkv": Fate()}),
            ("flv", H264, {".flv": Fate(), ".mkv": Fate()}),
        )
    },
    "mov_camera": Kind(
        ".mov", f"{VIDEO} {H264} -metadata com.apple.quicktime.make=Acmé -metadata 'com.x.note=two words \"猫\"' "
        f"-metadata location=+48.1371+011.5761/ -movflags use_metadata_tags {END}", {".mov": Fate(), ".mkv": Fate()},
    ),
    "mov_place": Kind(
        ".mov", f"{VIDEO} {H264} -metadata location=+48.137154+011.576124/ -metadata make=Acme {END}", {".mov": Fate()}
    ),
    "mkv_tags": Kind(
        ".mkv", f"{VIDEO} {tone(440)} {H264} -c:a flac -metadata 'MY TAG=ö=1' "
        f"-metadata:s:a REPLAYGAIN_TRACK_GAIN=-7.03 -metadata:s:a 'note=zwei Zeilen' {END}",
        {".mkv": SOUND1, ".mp4": kept(
            "1 audio · left out: tags REPLAYGAIN_TRACK_GAIN, NOTE of audio 1 (flac)", without=lacking("tags", "side"))},
    ),
    # Files inside files.
    "mp4_covers": Kind(
        ".mp4", f"{VIDEO} -i {{png}} -i {{jpg}} -map 0 -map 1 -map 2 {FIRST_H264} -c:v:1 copy -c:v:2 copy "
        "-disposition:v:1 attached_pic -disposition:v:2 attached_pic -frames:v:0 8",
        {".mp4": kept("2 covers"), ".mkv": kept("2 covers"),
         ".mov": Fate(refused=r"cover 1 \(png\), cover 2 \(mjpeg\)"),
         ".avi": Fate(refused=r"cover 1 \(png\), cover 2 \(mjpeg\)")},
    ),
    "mkv_covers": Kind(
        ".mkv", f"{VIDEO} {tone(440)} {H264} -c:a flac -attach {{jpg}} -attach {{png}} -attach {{font}} "
        "-metadata:s:t:0 mimetype=image/jpeg -metadata:s:t:0 filename=cover.jpg -metadata:s:t:0 title=Hülle "
        "-metadata:s:t:1 mimetype=image/png -metadata:s:t:1 'filename=small_cover é.png' "
        f"-metadata:s:t:2 mimetype=font/ttf {END}",
        {".mkv": kept("1 audio, 2 covers, 1 font"), ".mp4": Fate(refused=r"attachment 4 \(font.ttf\)"), ".webm": Fate(
            refused=r"audio 1 \(flac\), cover 2 \(mjpeg\), cover 3 \(png\), attachment 4 \(font.ttf\)")},
    ),
    # Data.
    "mov_time_code": Kind(
        ".mov", f"{VIDEO} {tone(440)} {H264} -c:a pcm_s16le -timecode 01:02:03:04 {END}",
        {".mov": kept("1 audio, 1 data", without=lacking("data tags")), ".mkv": kept(
            "1 audio · converted: data 2 → a tag", order=(0, 1)),
         ".avi": kept("1 audio · left out: data 2 (TimeCodeHandler, eng): no place in AVI", order=(0, 1),
                      without=lacking("tags", "roles"))},
    ),
    "mp4_telemetry": Kind(
        ".mp4", "data:bin_data",
        {".mp4": kept("1 data"), ".mkv": Fate("left out: data 1 (GoPro MET): no place in Matroska", order=(0,))},
    ),
    "ts_klv": Kind(
        ".ts", "data:klv", {".ts": kept("1 data"), ".mp4": Fate("left out: data 1 (klv): no place in MP4", order=(0,))}
    ),
    "ts_data": Kind(".ts", "data:bin_data", {".mp4": kept("1 data")}),
    # Several videos, and programs.
    "mkv_two_videos": Kind(
        ".mkv", f"{tone(440)} {VIDEO} {SECOND_VIDEO} -i {{srt}} -map 0 -map 1 -map 2 -map 3 -c:a aac "
        f"{FIRST_H264} -c:v:1 mpeg4 -c:s srt -metadata:s:v:1 title=Zweites -disposition:v:1 comment "
        f"{END}",
        {".mkv": kept("1 audio, 1 video, 1 subtitle"),
         ".mp4": kept("1 audio, 1 video · converted: subtitle 3 SRT → mov_text"),
         ".webm": Fate(refused=r"audio 0 \(aac\), video 2 \(mpeg4\)")},
    ),
    "mp4_turned_second": Kind(
        ".mp4", f"{VIDEO} -display_rotation 90 -i {{mp4_silent}} -map 0 -map 1 {FIRST_H264} "
        f"-c:v:1 copy {END}", {".mp4": kept("1 video"), ".mkv": kept("1 video"), ".mov": kept("1 video")},
    ),
    "ts_program": Kind(
        ".ts", f"{VIDEO} {tone(440)} {H264} -c:a mp2 -streamid 0:0x121 -streamid 1:0x142 "
        "-metadata 'service_name=Ünser: Ö' -metadata 'service_provider=Wir é' -mpegts_service_id 0x44 "
        f"-mpegts_original_network_id 0x22 -mpegts_transport_stream_id 0x33 {END}",
        {".ts": SOUND1, ".mkv": kept("1 audio · left out: name of program Ünser: Ö", without=lacking("programs"))},
    ),
    "ts_programs": Kind(
        ".ts", f"{VIDEO} {tone(440)} {SECOND_VIDEO} {tone(550)} -map 0 -map 1 -map 2 -map 3 "
        f"{FIRST_H264} -c:v:1 mpeg2video -c:a mp2 -program program_num=5:st=0:st=1 "
        "-program program_num=9:st=2:st=3 -metadata:p:0 service_name=Ünser -metadata:p:1 service_name=Other "
        f"-streamid 0:0x121 -streamid 1:0x122 {END}",
        {".ts": kept("2 audio, 1 video"), ".mp4": kept(
            "2 audio, 1 video · left out: name of program Ünser, Other", without=lacking("programs") | MP2)},
    ),
}  # fmt: skip

CASES = [(name, suffix) for name, kind in KINDS.items() for suffix in kind.to]


@functools.cache
def source(name: str) -> Path:
    """The file of a kind, made on first use."""
    kind = KINDS[name]
    path = FOLDER / f"corpus_{name}{kind.suffix}"
    if kind.recipe.startswith("data:"):
        _with_data(path, kind.recipe.removeprefix("data:"))
        return path
    known = {part[1:-1] for part in kind.recipe.split() if part.startswith("{")}
    files = {word: str(source(word) if word in KINDS else ingredients()[word]) for word in known}
    ffmpeg(*(word.format(**files) for word in shlex.split(kind.recipe)), str(path))
    return path


@functools.cache
def ingredients() -> dict[str, Path]:
    """Texts, pictures and fonts that recipes name."""
    folder = FOLDER / "ingredients"
    folder.mkdir()
    texts = {"srt": _SRT, "ass": _ASS, "vtt": _VTT, "told": _TOLD}
    files = {name: folder / f"{name}.{name if name != 'told' else 'txt'}" for name in texts}
    for name, path in files.items():
        path.write_text(texts[name], encoding="utf-8")
    files |= {name: folder / f"cover.{name}" for name in ("png", "jpg")}
    for name in ("png", "jpg"):
        picture = ("-f", "lavfi", "-i", "testsrc2=size=32x32", "-frames:v", "1", "-update", "1")
        ffmpeg(*picture, "-strict", "-1", str(files[name]))
    files |= {"font": folder / "font.ttf", "other_font": folder / "other.otf", "sup": folder / "subtitles.sup"}
    files["font"].write_bytes(bytes(range(256)) * 4)
    files["other_font"].write_bytes(bytes(range(255, -1, -1)) * 4)
    files["sup"].write_bytes(b"".join([*_presentation(0.04, 0.16, 0), *_presentation(0.2, 0.28, 2)]))
    return files


_SRT = "1\n00:00:00,040 --> 00:00:00,160\nGrüße, <i>кот</i>\n\n2\n00:00:00,200 --> 00:00:00,280\n„zwei“\nZeilen\n\n"
_VTT = (
    "WEBVTT\n\nerste\n00:00.040 --> 00:00.160 line:10% align:start\nGrüße <b>fett</b>\n\n"
    "00:00.200 --> 00:00.280\nzwei\nZeilen\n"
)
_ASS = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, Alignment
Style: Default,Font,20,&H00FFFFFF,2

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.04,0:00:00.16,Default,,0,0,0,,{\\pos(1,2)}Grüße
Dialogue: 1,0:00:00.06,0:00:00.20,Default,Ä,0,0,0,,zwei\\NZeilen
"""
_TOLD = """;FFMETADATA1
title=Ein „Titel“ \\= 猫\\
zweite Zeile 'x' "y"
artist=Ärzte
comment=c \\; d \\# e
[CHAPTER]
TIMEBASE=1/1000
START=0
END=80
title=Eins é
[CHAPTER]
TIMEBASE=1/1000
START=80
END=200
title=二 "zwei"
[CHAPTER]
TIMEBASE=1/1000
START=200
END=320
title=Drei
"""


def _presentation(start: float, end: float, number: int) -> list[bytes]:
    """One picture of a PGS subtitle, 4×2 samples, shown and taken away (patent US 2009/0185789, figures 1 to 12)."""
    window = bytes([1, 0]) + struct.pack(">4H", 8, 40, 4, 2)
    runs = (b"\x01" * 4 + b"\x00\x00") * 2
    picture = struct.pack(">HBB", 0, 0, 0xC0) + (len(runs) + 4).to_bytes(3, "big") + struct.pack(">HH", 4, 2) + runs
    size = struct.pack(">HHB", 64, 48, 0x10)
    shown = size + struct.pack(">HBBBB", number, 0x80, 0, 0, 1) + struct.pack(">HBBHH", 0, 0, 0, 8, 40)
    gone = size + struct.pack(">HBBBB", number + 1, 0, 0, 0, 0)
    colours = bytes([0, 0, 1, 235, 128, 128, 255])
    segments = [(start, 0x16, shown), (start, 0x17, window), (start, 0x14, colours), (start, 0x15, picture)]
    segments += [(start, 0x80, b""), (end, 0x16, gone), (end, 0x17, window), (end, 0x80, b"")]
    return [b"PG" + struct.pack(">IIBH", round(at * 90000), 0, kind, len(data)) + data for at, kind, data in segments]


def _with_data(path: Path, codec: str) -> None:
    """The silent clip with a track of data beside it, a packet for every other frame."""
    with av.open(str(source("mp4_silent"))) as before, av.open(str(path), "w") as after:
        video = after.add_stream_from_template(before.streams.video[0])
        data = after.add_data_stream(codec)
        tick = data.time_base = Fraction(1, 1000)
        packets = [packet for packet in before.demux(before.streams.video[0]) if packet.size]
        for number, packet in enumerate(packets):
            if number % 2 == 0:
                told: Any = av.Packet(b"DEVC" + bytes([number]) * 20)
                told.stream, told.time_base = data, tick
                told.pts = told.dts = 40 * number
                told.duration = 80
                after.mux(told)
            packet.stream = video
            after.mux(packet)
