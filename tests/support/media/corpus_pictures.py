"""A corpus of video files made by code, and the table of what must survive of each one's pictures.

A row is a kind of file: its FFmpeg recipe, what it must be (so that the recipe cannot quietly make something else), and
where its result of the default kind may differ. Pictures are 96×64 and few; every file is made once a session.
``cd tests && python -m support.media.corpus_pictures FOLDER`` writes the whole corpus into a folder, to look at.
"""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from support.media.clips import FOLDER, X264, ffmpeg

#: A picture that moves; every recipe's source unless it says otherwise.
PICTURE = "testsrc2=size=96x64:rate=25"
FRAMES = 6
X265 = "-c:v libx265 -preset ultrafast -crf 20"
_PARAMS = "-x265-params log-level=none:pools=1:bframes=3"
FFV1 = "-c:v ffv1 -level 3 -g 1"
_HDR10 = (
    f"{_PARAMS}:hdr10=1:repeat-headers=1:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:range=limited:"
    "chromaloc=2:max-cll=1000,400:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
)
_MASTERING = (
    "-mastering_display G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50) -content_light 1000,400"
)


@dataclass(frozen=True)
class Kind:
    """A row of the table."""

    #: FFmpeg options before the file.
    output: str
    suffix: str
    source: str = PICTURE
    #: FFmpeg options before the source, and inputs after it.
    before: str = ""
    inputs: str = ""
    #: Another kind that is read instead of a generated picture.
    of: str | None = None
    frames: int = FRAMES
    #: Written to a pipe, so that the file never learns its own length.
    piped: bool = False
    #: Whether ``-frames:v`` ends the file.
    limited: bool = True
    #: Frames that come out, where it is not the number that went in.
    shown: int | None = None
    #: What the FFmpeg program must say of the source: "format", "range", "matrix", "sar", "start" …
    truth: Mapping[str, object] = field(default_factory=dict)
    #: Ending of the result of the default kind; "" = the source's own.
    target: str = ""
    #: "exact", "milliseconds", or "even" where the container has no times of its own.
    times: str = "exact"
    #: What the default kind cannot keep, and a word of the note that says so.
    unkept: Mapping[str, str] = field(default_factory=dict)
    #: Largest mean difference of samples after the default encoder, as a share of the largest value.
    closeness: float = 0.03
    #: Pictures that are turned or mirrored when they are shown.
    turned: bool = False
    #: Codec of the default result, where the ending alone would be refused.
    codec: str | None = None


def _tags(matrix: str, primaries: str, transfer: str, value_range: str = "tv", **more: str) -> dict[str, object]:
    return {"matrix": matrix, "primaries": primaries, "transfer": transfer, "range": value_range, **more}


def _tagged(matrix: str, primaries: str, transfer: str, value_range: str = "tv", location: str = "left") -> str:
    """Filter that gives the frames their tags, samples untouched."""
    return (
        f"-vf format={{format}},setparams=colorspace={matrix}:color_primaries={primaries}:color_trc={transfer}:"
        f"range={value_range}:chroma_location={location}"
    )


_SD_PAL, _SD_NTSC = ("bt470bg", "bt470bg", "bt470bg"), ("smpte170m", "smpte170m", "smpte170m")
_HD, _UHD = ("bt709", "bt709", "bt709"), ("bt2020nc", "bt2020", "bt2020-10")
_PQ, _HLG = ("bt2020nc", "bt2020", "smpte2084"), ("bt2020nc", "bt2020", "arib-std-b67")

CODECS = {
    "h264": Kind(f"{X264} -pix_fmt yuv420p -bf 3 -g 5", ".mp4", truth={"format": "yuv420p", "tick": "1/12800"}),
    "h264 open gop": Kind(f"{X264} -pix_fmt yuv420p -bf 3 -x264-params open-gop=1:keyint=4:scenecut=0", ".mkv",
                          frames=9, times="milliseconds"),
    "h264 raw": Kind(f"{X264} -pix_fmt yuv420p -bf 2", ".h264", target=".mp4"),
    "h264 10 bit": Kind(f"{X264} -pix_fmt yuv420p10le", ".mp4", truth={"format": "yuv420p10le"}),
    "h264 4:2:2": Kind(f"{X264} -pix_fmt yuv422p", ".mov", truth={"format": "yuv422p"}),
    "h264 4:4:4": Kind(f"{X264} -pix_fmt yuv444p", ".mp4", truth={"format": "yuv444p"}),
    "h264 grey": Kind(f"{X264} -pix_fmt gray", ".mp4", truth={"format": "yuvj420p"}),
    "h264 rgb": Kind("-c:v libx264rgb -preset ultrafast -crf 10 -pix_fmt rgb24", ".mkv", truth={"format": "gbrp"},
                     times="milliseconds"),
    "h264 flv": Kind(f"{X264} -pix_fmt yuv420p -bf 0", ".flv", times="milliseconds"),
    "hevc": Kind(f"{X265} {_PARAMS} -pix_fmt yuv420p -tag:v hvc1", ".mp4", truth={"format": "yuv420p"}),
    "hevc open gop": Kind(f"{X265} {_PARAMS}:open-gop=1:keyint=5:scenecut=0 -pix_fmt yuv420p10le", ".mkv",
                          frames=11, times="milliseconds"),
    "hevc raw": Kind(f"{X265} {_PARAMS} -pix_fmt yuv420p", ".hevc", target=".mkv", times="milliseconds"),
    "hevc 12 bit 4:4:4": Kind(f"{X265} {_PARAMS} -pix_fmt yuv444p12le -tag:v hvc1", ".mp4",
                              truth={"format": "yuv444p12le"}),
    "hevc 10 bit 4:2:2": Kind(f"{X265} {_PARAMS} -pix_fmt yuv422p10le -tag:v hvc1", ".mov",
                              truth={"format": "yuv422p10le"}),
    "hevc rgb": Kind(f"{X265} {_PARAMS} -pix_fmt gbrp -tag:v hvc1", ".mp4", truth={"format": "gbrp"}),
    "hevc grey 12": Kind(f"{X265} {_PARAMS} -pix_fmt gray12le", ".mkv", truth={"format": "gray12le"},
                         times="milliseconds"),
    "vp8": Kind("-c:v libvpx -deadline realtime -cpu-used 8 -b:v 1M", ".webm", truth={"format": "yuv420p"}),
    "vp9": Kind("-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 20 -b:v 0", ".webm"),
    "vp9 10 bit 4:2:2": Kind("-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 20 -b:v 0 -pix_fmt yuv422p10le",
                             ".webm", truth={"format": "yuv422p10le"}),
    "vp9 mp4": Kind("-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 20 -b:v 0", ".mp4"),
    "av1": Kind("-c:v libsvtav1 -preset 12 -crf 30 -pix_fmt yuv420p -svtav1-params lp=1", ".mp4"),
    "av1 10 bit": Kind("-c:v libsvtav1 -preset 12 -crf 30 -pix_fmt yuv420p10le -svtav1-params lp=1", ".mkv",
                       truth={"format": "yuv420p10le"}, times="milliseconds"),
    "av1 ivf": Kind("-c:v libsvtav1 -preset 12 -crf 30 -pix_fmt yuv420p -svtav1-params lp=1", ".ivf", target=".mp4"),
    "prores": Kind("-c:v prores_ks -profile:v 3 -pix_fmt yuv422p10le", ".mov", truth={"format": "yuv422p10le"}),
    "prores 4444 alpha": Kind("-vf format=yuva444p10le,geq=lum=p(X\\,Y):cb=cb(X\\,Y):cr=cr(X\\,Y):a=X*8 "
                              "-c:v prores_ks -profile:v 4 -alpha_bits 16 -pix_fmt yuva444p10le", ".mov",
                              truth={"format": "yuva444p12le"}),
    "mjpeg": Kind("-c:v mjpeg -q:v 3 -pix_fmt yuvj420p", ".avi", truth={"format": "yuvj420p", "range": "pc"},
                  times="even"),
    "mjpeg 4:2:2": Kind("-c:v mjpeg -q:v 3 -pix_fmt yuvj422p", ".mov", truth={"format": "yuvj422p"},
                        unkept={"chroma location": "chroma location"}),
    "mjpeg raw": Kind("-c:v mjpeg -q:v 3 -pix_fmt yuvj420p", ".mjpeg", target=".mkv", times="milliseconds"),
    "mpeg2": Kind("-c:v mpeg2video -q:v 3 -bf 2 -g 4", ".mpg", times="even", unkept={"start": "exact times"}),
    "mpeg2 ts": Kind("-c:v mpeg2video -q:v 3 -bf 2", ".ts", frames=9),
    "mpeg2 4:2:2": Kind("-c:v mpeg2video -q:v 2 -pix_fmt yuv422p", ".mkv", truth={"format": "yuv422p"},
                        times="milliseconds"),
    "mpeg2 mxf": Kind("-c:v mpeg2video -q:v 2 -bf 2", ".mxf", target=".mov"),
    "mpeg1": Kind("-c:v mpeg1video -q:v 3", ".mpg", times="even",
                  unkept={"start": "exact times", "chroma location": "chroma location"}),
    # FFmpeg shows what AVI has reordered late; players and we begin with the sound.
    "mpeg4": Kind("-c:v mpeg4 -q:v 3 -bf 2", ".avi", times="even", unkept={"start": ""}),
    "h264 avi": Kind(f"{X264} -pix_fmt yuv420p -bf 3", ".avi", times="even", unkept={"start": ""}),
    "h264 avi open": Kind(f"{X264} -pix_fmt yuv420p -bf 3 -x264-params open-gop=1:keyint=5:scenecut=0", ".avi",
                          times="even", unkept={"start": ""}),
    "mpeg4 avi pairs": Kind("-c:v mpeg4 -q:v 3 -bf 1 -g 5", ".avi", times="even", unkept={"start": ""}),
    "mpeg2 avi": Kind("-c:v mpeg2video -q:v 3 -bf 2", ".avi", times="even", unkept={"start": ""}),
    "mpeg4 mp4": Kind("-c:v mpeg4 -q:v 3 -bf 2", ".mp4"),
    "theora": Kind("-c:v libtheora -q:v 9", ".ogv", times="even"),
    "dnxhr": Kind("-c:v dnxhd -profile:v dnxhr_hq -pix_fmt yuv422p", ".mov", "testsrc2=size=256x120:rate=25",
                  truth={"format": "yuv422p"}),
    "cineform": Kind("-c:v cfhd -pix_fmt gbrp12le", ".mov", truth={"format": "gbrp12le"}),
    "vvc": Kind("-c:v libvvenc -preset faster -qp 30 -pix_fmt yuv420p10le -vvenc-params threads=1", ".mp4",
                frames=4, truth={"format": "yuv420p10le"}),
    "jpeg 2000": Kind("-c:v jpeg2000 -pix_fmt yuv422p10le", ".mov", truth={"format": "yuv422p10le"}),
    "qtrle alpha": Kind("-vf format=argb,geq=r=r(X\\,Y):g=g(X\\,Y):b=b(X\\,Y):a=X*2 -c:v qtrle -pix_fmt argb", ".mov",
                        truth={"format": "argb"}),
    "v210": Kind("-c:v v210 -pix_fmt yuv422p10le", ".mov", truth={"format": "yuv422p10le"}),
    "wmv2": Kind("-c:v wmv2 -q:v 3", ".wmv", times="milliseconds"),
    "flv1": Kind("-c:v flv -q:v 3", ".flv", times="milliseconds"),
    "h263": Kind("-c:v h263 -q:v 3", ".3gp", "testsrc2=size=176x144:rate=30000/1001"),
    "dv": Kind("-c:v dvvideo -pix_fmt yuv420p", ".dv", "testsrc2=size=720x576:rate=25", frames=2, target=".mov",
               truth={"format": "yuv420p"}),
    "dv 4:1:1": Kind("-c:v dvvideo -pix_fmt yuv411p", ".avi", "testsrc2=size=720x480:rate=30000/1001", frames=2,
                     target=".mkv", times="milliseconds", truth={"format": "yuv411p"}),
    "gif": Kind("-vf trim=end_frame=6,split[a][b];[a]palettegen[p];[b][p]paletteuse", ".gif",
                truth={"format": "bgra"}, closeness=0.1),
    "webp": Kind("-c:v libwebp_anim -lossless 0 -q:v 90", ".webp", closeness=0.05),
    "webp lossless": Kind("-c:v libwebp_anim -lossless 1 -pix_fmt bgra", ".webp", truth={"format": "argb"}),
    "apng": Kind("-c:v apng -plays 0 -pix_fmt rgba", ".apng", truth={"format": "rgba"}),
    "y4m": Kind("-pix_fmt yuv420p", ".y4m"),
    "y4m 12 bit": Kind("-pix_fmt yuv444p12le -strict -1", ".y4m", truth={"format": "yuv444p12le"}),
    "nut raw": Kind("-c:v rawvideo -pix_fmt uyvy422", ".nut", truth={"format": "uyvy422"}),
    "avi raw": Kind("-c:v rawvideo -pix_fmt bgr24", ".avi", truth={"format": "bgr24"}, times="even"),
    "utvideo": Kind("-c:v utvideo -pix_fmt yuv422p", ".avi", times="even", unkept={"matrix": "colour matrix"}),
    "png in mov": Kind("-c:v png -pix_fmt rgb48be", ".mov", truth={"format": "rgb48be"}),
}  # fmt: skip

_FFV1_FORMATS = (
    "yuv410p", "yuv411p", "yuv420p", "yuv422p", "yuv440p", "yuv444p", "yuv420p9le", "yuv420p10le", "yuv422p10le",
    "yuv444p10le", "yuv420p12le", "yuv422p12le", "yuv444p12le", "yuv440p10le", "yuv422p14le", "yuv420p16le",
    "yuv444p16le", "gray", "gray10le", "gray12le", "gray16le", "gbrp9le", "gbrp10le", "gbrp12le", "gbrp16le",
    "yuva420p", "yuva422p10le", "yuva444p16le", "gbrap12le", "bgra", "ya8", "bgr0",
)  # fmt: skip
PIXELS = {
    f"pixels {name}": Kind(
        f"-vf scale,format={name} {FFV1} -pix_fmt {name}", ".mkv", truth={"format": name}, times="milliseconds",
        frames=2, codec="ffv1" if name in {"yuv410p", "yuv411p", "yuv440p", "yuv440p10le"} else None,
    )
    for name in _FFV1_FORMATS
}  # fmt: skip


def _colour_kind(tags: tuple[str, str, str], value_range: str, encoder: str, name: str, **more: object) -> Kind:
    matrix, primaries, transfer = tags
    location = str(more.pop("location", "left"))
    suffix = str(more.pop("suffix", ".mp4"))
    output = f"{_tagged(*tags, value_range, location).format(format=name)} {encoder} -pix_fmt {name}"
    truth = _tags(matrix, primaries, transfer, value_range, **({"chroma location": location}))
    return Kind(output, suffix, truth=truth, frames=3, **more)  # type: ignore[arg-type]


_X265_TAG = f"{X265} {_PARAMS} -tag:v hvc1"
COLOURS = {
    "bt601 625 limited": _colour_kind(_SD_PAL, "tv", X264, "yuv420p"),
    "bt601 625 full": _colour_kind(_SD_PAL, "pc", X264, "yuv420p"),
    "bt601 525 limited": _colour_kind(_SD_NTSC, "tv", X264, "yuv420p"),
    "bt601 525 full": _colour_kind(_SD_NTSC, "pc", X264, "yuv420p"),
    "bt709 limited": _colour_kind(_HD, "tv", X264, "yuv420p"),
    "bt709 full": _colour_kind(_HD, "pc", X264, "yuv420p"),
    "bt709 full 4:4:4 10 bit": _colour_kind(_HD, "pc", _X265_TAG, "yuv444p10le", location="unknown"),
    "bt2020 limited": _colour_kind(_UHD, "tv", _X265_TAG, "yuv420p10le", location="topleft"),
    "bt2020 full": _colour_kind(_UHD, "pc", _X265_TAG, "yuv420p10le", location="topleft"),
    "chroma centred": _colour_kind(_HD, "tv", X264, "yuv420p", location="center"),
    "chroma top left": _colour_kind(_HD, "tv", X264, "yuv420p", location="topleft"),
    "fcc": _colour_kind(("fcc", "bt470m", "bt470m"), "tv", X264, "yuv420p"),
    "smpte 240m": _colour_kind(("smpte240m", "smpte240m", "smpte240m"), "tv", X264, "yuv420p"),
    "srgb transfer": _colour_kind(("bt709", "bt709", "iec61966-2-1"), "tv", X264, "yuv420p"),
    "display p3": _colour_kind(("bt709", "smpte432", "bt709"), "tv", _X265_TAG, "yuv420p10le", suffix=".mov"),
    "ycgco": _colour_kind(("ycgco", "bt709", "bt709"), "tv", X264, "yuv444p"),
    "vp9 full range": _colour_kind(_HD, "pc", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8", "yuv420p",
                                   suffix=".webm", location="unknown"),
    "av1 full range": _colour_kind(_HD, "pc", "-c:v libsvtav1 -preset 12 -svtav1-params lp=1", "yuv420p10le",
                                   location="unknown"),
    "prores bt2020": _colour_kind(_UHD, "tv", "-c:v prores_ks -profile:v 3", "yuv422p10le", suffix=".mov",
                                  location="unknown"),
    "mpeg2 bt601": _colour_kind(_SD_PAL, "tv", "-c:v mpeg2video -q:v 3", "yuv420p", suffix=".ts"),
    "pq": Kind(f"{X265} {_HDR10} -pix_fmt yuv420p10le -tag:v hvc1", ".mp4",
               truth={**_tags(*_PQ), "mastering display": 12, "content light level": 2}),
    "pq mkv": Kind(f"{X265} {_HDR10} -pix_fmt yuv420p10le", ".mkv", times="milliseconds",
                   truth={**_tags(*_PQ), "mastering display": 12, "content light level": 2}),
    "pq ts": Kind(f"{X265} {_HDR10} -pix_fmt yuv420p10le", ".ts",
                  truth={**_tags(*_PQ), "mastering display": 12, "content light level": 2}),
    "pq av1": Kind(f"{_tagged(*_PQ).format(format='yuv420p10le')} -c:v libsvtav1 -preset 12 -svtav1-params lp=1 "
                   "-pix_fmt yuv420p10le", ".mp4", before=_MASTERING,
                   truth={**_tags(*_PQ), "mastering display": 12, "content light level": 2}),
    "pq vp9": Kind(f"{_tagged(*_PQ).format(format='yuv420p10le')} -c:v libvpx-vp9 -deadline realtime -cpu-used 8 "
                   "-pix_fmt yuv420p10le", ".webm", before=_MASTERING,
                   truth={**_tags(*_PQ), "mastering display": 12, "content light level": 2}),
    "hlg": _colour_kind(_HLG, "tv", _X265_TAG, "yuv420p10le", location="topleft", suffix=".mov"),
    "light level only": Kind(f"{X265} {_PARAMS}:repeat-headers=1:max-cll=600,200 -pix_fmt yuv420p10le -tag:v hvc1",
                             ".mp4", truth={"content light level": 2}),
}  # fmt: skip

_UNEVEN = "-vf settb=1/90000,setpts=N*3003+floor(N/3)*4500 -fps_mode passthrough -enc_time_base 1:90000"


def _at(rate: str, output: str = f"{X264} -pix_fmt yuv420p -bf 2", suffix: str = ".mp4", **more: object) -> Kind:
    return Kind(output, suffix, f"testsrc2=size=96x64:rate={rate}", **more)  # type: ignore[arg-type]


TIMES = {
    "23.976": _at("24000/1001", truth={"tick": "1/24000"}),
    "29.97": _at("30000/1001", suffix=".mov"),
    "59.94 ts": _at("60000/1001", suffix=".ts"),
    "59.94 mkv": _at("60000/1001", suffix=".mkv", times="milliseconds"),
    "120": _at("120"),
    "1 a second": _at("1", frames=3),
    "one in ten seconds": _at("1/10", frames=3, suffix=".mkv", times="milliseconds"),
    "variable": Kind(f"{_UNEVEN} {X264} -pix_fmt yuv420p -bf 2 -video_track_timescale 90000", ".mp4", frames=9,
                     truth={"tick": "1/90000"}),
    "variable mkv": Kind(f"{_UNEVEN} {X264} -pix_fmt yuv420p -bf 2", ".mkv", frames=9, times="milliseconds"),
    "gap": Kind("-vf settb=1/12800,setpts=512*N+12800*2*gte(N\\,4) -fps_mode passthrough -enc_time_base 1:12800 "
                f"{X264} -pix_fmt yuv420p -bf 2", ".mp4", frames=8),
    "gap ts": Kind("-vf settb=1/90000,setpts=3600*N+90000*20*gte(N\\,4) -fps_mode passthrough "
                   f"-enc_time_base 1:90000 {X264} -pix_fmt yuv420p -bf 2", ".ts", frames=8),
    "late mp4": Kind(f"{X264} -pix_fmt yuv420p -bf 2 -output_ts_offset 5", ".mp4", truth={"start": 5.0}),
    "late mkv": Kind(f"{X264} -pix_fmt yuv420p -bf 2 -output_ts_offset 5", ".mkv", times="milliseconds",
                     truth={"start": 5.0}),
    "late ts": Kind(f"{X264} -pix_fmt yuv420p -bf 2 -output_ts_offset 5", ".ts", truth={"start": 6.4}),
    "before zero": Kind("-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -output_ts_offset -0.08 "
                        "-avoid_negative_ts disabled", ".webm", truth={"start": -0.08},
                        unkept={"start": "begins before 0"}),
    "wrap ts": Kind(f"{X264} -pix_fmt yuv420p -bf 2 -muxdelay 0 -muxpreload 0 -output_ts_offset 95443.6", ".ts",
                    frames=9, unkept={"start": "begins before 0"}),
    "edit that trims": Kind("-c copy", ".mp4", before="-ss 0.3", of="long gop", limited=False, shown=12),
    "empty edit": Kind("-c copy", ".mp4", before="-itsoffset 1.5", of="h264", limited=False, truth={"start": 1.5}),
    "fragmented": Kind(f"{X264} -pix_fmt yuv420p -bf 2 -g 3 -movflags +frag_keyframe+empty_moov+default_base_moof",
                       ".mp4"),
    "no duration": Kind(f"{X264} -pix_fmt yuv420p -bf 2 -f matroska", ".mkv", piped=True, times="milliseconds"),
    "no duration fragments": Kind(f"{X264} -pix_fmt yuv420p -bf 2 -movflags +empty_moov+frag_keyframe -f mp4", ".mp4",
                                  piped=True),
    "long gop": Kind(f"{X264} -pix_fmt yuv420p -bf 3 -g 50", ".mp4", frames=20),
    "one frame": Kind(f"{X264} -pix_fmt yuv420p", ".mp4", frames=1),
    "two frames": Kind(f"{X264} -pix_fmt yuv420p -bf 1", ".mp4", frames=2),
    "one frame mkv": Kind(f"{X265} {_PARAMS} -pix_fmt yuv420p10le", ".mkv", frames=1, times="milliseconds"),
    "one frame webm": Kind("-c:v libvpx-vp9 -deadline realtime -cpu-used 8", ".webm", frames=1),
    "one frame ts": Kind(f"{X264} -pix_fmt yuv420p", ".ts", frames=1),
    "one frame gif": Kind("", ".gif", frames=1, closeness=0.1),
    "two frames avi": Kind("-c:v mpeg4 -q:v 3", ".avi", frames=2, times="even"),
    "gif uneven": Kind("-vf settb=1/100,setpts=N*7+floor(N/2)*20 -fps_mode passthrough", ".gif",
                       closeness=0.1),
}  # fmt: skip

SHAPES = {
    **{
        f"turned {degrees}": Kind(
            "-c copy", ".mp4", before=f"-display_rotation {degrees}", of="h264", limited=False, turned=True
        )
        for degrees in (90, 180, 270)
    },
    "mirrored": Kind("-c copy", ".mp4", before="-display_hflip", of="h264", limited=False, turned=True),
    "upside down": Kind("-c copy", ".mov", before="-display_vflip", of="h264", limited=False, turned=True),
    "turned and mirrored": Kind("-c copy", ".mp4", before="-display_rotation 90 -display_hflip", of="h264",
                                limited=False, turned=True),
    "turned mkv": Kind("-c copy", ".mkv", before="-display_rotation 90", of="h264", limited=False, turned=True,
                       times="milliseconds"),
    "turned askew": Kind("-c copy", ".mp4", before="-display_rotation 30", of="h264", limited=False, turned=True),
    "wide pixels": Kind(f"-vf setsar=4/3 {X264} -pix_fmt yuv420p", ".mp4", truth={"sar": "4/3"}),
    "wide pixels mkv": Kind(f"-vf setsar=64/45 {X264} -pix_fmt yuv420p", ".mkv", truth={"sar": "64/45"},
                            times="milliseconds"),
    "wide pixels ts": Kind("-vf setsar=32/27 -c:v mpeg2video -q:v 3", ".ts", truth={"sar": "32/27"}),
    "tall pixels avi": Kind("-vf setsar=8/9 -c:v mpeg4 -q:v 3", ".avi", truth={"sar": "8/9"}, times="even"),
    "wide pixels webm": Kind("-vf setsar=4/3 -c:v libvpx-vp9 -deadline realtime -cpu-used 8", ".webm",
                             truth={"sar": "4/3"}),
    "wide pixels prores": Kind("-vf setsar=4/3 -c:v prores_ks -pix_fmt yuv422p10le", ".mov", truth={"sar": "4/3"}),
    "cropped by its header": Kind(f"{X264} -pix_fmt yuv420p -bsf:v h264_metadata=crop_left=6:crop_bottom=4", ".mp4",
                                  truth={"width": 90, "height": 60}),
}  # fmt: skip


def _sized(width: int, height: int, output: str, suffix: str, **more: object) -> Kind:
    # testsrc2 makes even sizes only.
    source = f"testsrc2=size={width + 16}x{height + 16}:rate=25,crop={width}:{height}:3:5:exact=1"
    truth = {"width": width, "height": height}
    return Kind(output, suffix, source, frames=3, truth=truth, **more)  # type: ignore[arg-type]


SIZES = {
    "odd h264 4:4:4": _sized(97, 53, f"{X264} -pix_fmt yuv444p", ".mp4"),
    "odd ffv1 4:2:0": _sized(97, 53, f"{FFV1} -pix_fmt yuv420p", ".mkv", times="milliseconds"),
    "odd vp9": _sized(97, 53, "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p", ".webm"),
    "odd mjpeg": _sized(97, 53, "-c:v mjpeg -q:v 3 -pix_fmt yuvj420p", ".avi", times="even"),
    "odd mpeg4": _sized(97, 53, "-c:v mpeg4 -q:v 3", ".avi", times="even"),
    "odd av1": _sized(97, 65, "-c:v libaom-av1 -cpu-used 8 -pix_fmt yuv420p", ".mp4"),
    "odd gif": _sized(97, 53, "", ".gif", closeness=0.1),
    **{
        f"{width}×{height} {name}": _sized(
            width, height, f"-vf format={name} -c:v rawvideo -pix_fmt {name}", ".nut", target=".mkv",
            times="milliseconds", closeness=0.1,
        )
        for width, height, name in (
            (1, 1, "yuv420p"), (1, 1, "gray16le"), (1, 1, "bgra"), (2, 2, "yuv420p"), (3, 5, "yuv422p10le"),
            (1, 7, "yuv444p"), (15, 1, "yuv411p"), (4096, 2, "yuv420p"), (2, 4096, "yuv420p"), (4097, 1, "gbrp12le"),
        )
    },
    "16×16 h264": _sized(16, 16, f"{X264} -pix_fmt yuv420p", ".mp4"),
    "2×2 h264": _sized(2, 2, f"{X264} -pix_fmt yuv420p", ".mp4"),
    "2×2 mpeg4": _sized(2, 2, "-c:v mpeg4 -q:v 3", ".avi", times="even"),
    "1×1 gif": _sized(1, 1, "", ".gif", closeness=0.1),
    "1×1 png": _sized(1, 1, "-c:v png", ".mov"),
    "3×5 vp9": _sized(3, 5, "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p", ".webm"),
    "8192×16 h264": _sized(8192, 16, f"{X264} -pix_fmt yuv420p", ".mp4"),
}  # fmt: skip


def _still(output: str, suffix: str, **more: object) -> Kind:
    """One picture in a file of its own."""
    return Kind(f"{output} -update 1", suffix, frames=1, **more)  # type: ignore[arg-type]


_CUT = "crop_left=8:crop_right=6:crop_top=2:crop_bottom=4"
STILLS = {
    "tiff lzw": _still("-c:v tiff -compression_algo lzw -pix_fmt rgb24", ".tif"),
    "tiff packbits 16 bit": _still("-c:v tiff -compression_algo packbits -pix_fmt rgb48le", ".tif"),
    "tiff uncompressed alpha": _still("-vf format=rgba,geq=r=r(X\\,Y):g=g(X\\,Y):b=b(X\\,Y):a=X*2 -c:v tiff "
                                      "-compression_algo raw -pix_fmt rgba64le", ".tif"),
    "tiff grey 16": _still("-c:v tiff -compression_algo deflate -pix_fmt gray16le", ".tif"),
    "tiff palette": _still("-c:v tiff -pix_fmt pal8", ".tif"),
    "tiff black and white": _still("-c:v tiff -pix_fmt monob", ".tif"),
    "tiff 4:2:0": _still("-c:v tiff -compression_algo raw -pix_fmt yuv420p", ".tif",
                         unkept={"range": "converted to rgb24"}),
    "targa": _still("-c:v targa -pix_fmt bgr24", ".tga", truth={"format": "bgr24"}),
    "dpx 10 bit": _still("-c:v dpx -pix_fmt gbrp10le", ".dpx"),
    "jp2 12 bit": _still("-c:v jpeg2000 -pix_fmt gbrp12le", ".jp2"),
    "bmp": _still("-c:v bmp -pix_fmt bgr24", ".bmp"),
    "qoi": _still("-c:v qoi -pix_fmt rgb24", ".qoi", target=".png"),
    "vp9 4:4:0": Kind("-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 20 -b:v 0 -pix_fmt yuv440p", ".webm",
                      truth={"format": "yuv440p"}),
    "h264 cut by the codec": Kind(f"{X264} -pix_fmt yuv420p -bsf:v h264_metadata={_CUT}", ".mp4",
                                  truth={"width": 82, "height": 58}),
    "hevc cut by the codec": Kind(f"{X265} {_PARAMS} -pix_fmt yuv420p -tag:v hvc1 -bsf:v hevc_metadata={_CUT}", ".mp4",
                                  truth={"width": 82, "height": 58}),
}  # fmt: skip

KINDS: dict[str, Kind] = {**CODECS, **PIXELS, **COLOURS, **TIMES, **SHAPES, **SIZES, **STILLS}


@functools.cache
def corpus(name: str) -> Path:
    """Path of the file of a kind, made on first use. Never write to it."""
    kind = KINDS[name]
    path = FOLDER / f"{name.replace('/', ' ').replace(':', '')} corpus{kind.suffix}"
    source = ["-i", str(corpus(kind.of))] if kind.of else ["-f", "lavfi", "-i", kind.source]
    limit = ["-frames:v", str(kind.frames)] if kind.limited else []
    command = [*kind.before.split(), *source, *kind.inputs.split(), *kind.output.split(), *limit]
    if kind.piped:
        path.write_bytes(ffmpeg(*command, "-"))
    else:
        ffmpeg(*command, str(path))
    return path


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for kind_name in KINDS:
        shutil.copy(corpus(kind_name), folder)
    print(f"{len(KINDS)} files in {folder}")
