"""Small whole files of every kind, made by code: what the fuzz run damages."""

from __future__ import annotations

import shlex
from pathlib import Path

from support.media.clips import X264, ffmpeg
from support.media.tiffs import TiffPage, picture, tiff_bytes

_PICTURE = "-f lavfi -i testsrc2=size=64x48:rate=25"
_SOUND = "-f lavfi -i sine=frequency=440:sample_rate=16000"
_YUV = "-pix_fmt yuv420p"
_TAGS = "-metadata title=Tïtle -metadata:s:a:0 language=deu"

#: Name of the file and FFmpeg's arguments before it.
RECIPES = {
    "h264.mp4": f"{_PICTURE} -frames:v 6 {X264} {_YUV} -bf 2",
    "sound.mp4": f"{_PICTURE} {_SOUND} -t 0.24 {X264} {_YUV} -c:a aac {_TAGS}",
    "fragments.mp4": f"{_PICTURE} {_SOUND} -t 0.24 {X264} {_YUV} -g 2 -c:a aac -movflags +frag_keyframe+empty_moov",
    "front.mp4": f"{_PICTURE} -frames:v 6 {X264} {_YUV} -movflags +faststart",
    "hevc.mp4": f"{_PICTURE} -frames:v 3 -c:v libx265 -preset ultrafast -x265-params log-level=none:pools=1 {_YUV}",
    "av1.mp4": f"{_PICTURE} -frames:v 3 -c:v libsvtav1 -preset 12 -svtav1-params lp=1 {_YUV}",
    "prores.mov": f"{_PICTURE} -frames:v 2 -c:v prores_ks -pix_fmt yuv422p10le",
    "timecode.mov": f"{_PICTURE} -frames:v 4 -c:v mjpeg -pix_fmt yuvj420p -timecode 01:00:00:00",
    "h264.mkv": f"{_PICTURE} {_SOUND} -t 0.24 {X264} {_YUV} -c:a flac {_TAGS}",
    "ffv1.mkv": f"{_PICTURE} -frames:v 3 -c:v ffv1 -level 3 {_YUV}",
    "subtitles.mkv": f"{_PICTURE} -i {{srt}} -map 0 -map 1 -t 0.24 {X264} {_YUV} -c:s srt -attach {{srt}} "
    "-metadata:s:t:0 mimetype=text/plain",
    "live.mkv": f"{_PICTURE} -frames:v 5 {X264} {_YUV} -f matroska -live 1",
    "vp9.webm": f"{_PICTURE} {_SOUND} -t 0.2 -c:v libvpx-vp9 -deadline realtime -cpu-used 8 {_YUV} -c:a libopus",
    "vp8.webm": f"{_PICTURE} -frames:v 4 -c:v libvpx -deadline realtime -cpu-used 8 {_YUV}",
    "h264.ts": f"{_PICTURE} {_SOUND} -t 0.2 {X264} {_YUV} -c:a aac",
    "mpeg2.mpg": f"{_PICTURE} {_SOUND} -t 0.2 -c:v mpeg2video -bf 2 -c:a mp2",
    "mpeg4.avi": f"{_PICTURE} {_SOUND} -t 0.2 -c:v mpeg4 -bf 2 -c:a mp3",
    "mjpeg.avi": f"{_PICTURE} -frames:v 3 -c:v mjpeg -pix_fmt yuvj420p",
    "raw.avi": f"{_PICTURE} -frames:v 2 -c:v rawvideo -pix_fmt yuyv422",
    "h264.flv": f"{_PICTURE} {_SOUND} -t 0.2 {X264} {_YUV} -c:a aac",
    "raw.nut": f"{_PICTURE} -frames:v 2 -c:v rawvideo -pix_fmt yuv444p",
    "vp8.ivf": f"{_PICTURE} -frames:v 4 -c:v libvpx -deadline realtime -cpu-used 8 {_YUV}",
    "wmv2.asf": f"{_PICTURE} -frames:v 4 -c:v wmv2",
    "theora.ogv": f"{_PICTURE} -frames:v 4 -c:v libtheora",
    "mpeg2.mxf": f"{_PICTURE} -frames:v 3 -c:v mpeg2video",
    "raw.h264": f"{_PICTURE} -frames:v 5 {X264} {_YUV}",
    "raw.hevc": f"{_PICTURE} -frames:v 3 -c:v libx265 -preset ultrafast -x265-params log-level=none:pools=1 {_YUV}",
    "raw.obu": f"{_PICTURE} -frames:v 3 -c:v libsvtav1 -preset 12 -svtav1-params lp=1 {_YUV}",
    "raw.m2v": f"{_PICTURE} -frames:v 4 -c:v mpeg2video",
    "raw.y4m": f"{_PICTURE} -frames:v 2 {_YUV}",
    "animated.gif": f"{_PICTURE} -frames:v 4",
    "animated.webp": f"{_PICTURE} -frames:v 3 -c:v libwebp_anim",
    "animated.png": f"{_PICTURE} -frames:v 3 -f apng",
    "picture.png": f"{_PICTURE} -frames:v 1",
    "deep.png": f"{_PICTURE} -frames:v 1 -pix_fmt rgb48be",
    "picture.jpg": f"{_PICTURE} -frames:v 1 -pix_fmt yuvj420p",
    "picture.tiff": f"{_PICTURE} -frames:v 1",
    "picture.webp": f"{_PICTURE} -frames:v 1",
    "picture.bmp": f"{_PICTURE} -frames:v 1",
    "picture.qoi": f"{_PICTURE} -frames:v 1",
    "picture.dpx": f"{_PICTURE} -frames:v 1",
    "picture.avif": f"{_PICTURE} -frames:v 1 -c:v libsvtav1 -preset 12 -svtav1-params lp=1 {_YUV}",
    "animated.avif": f"{_PICTURE} -frames:v 3 -c:v libaom-av1 -cpu-used 8 {_YUV}",
    "layers.mov": "-f lavfi -i testsrc2=size=64x48:rate=25 -vf format=yuva420p -frames:v 3 -c:v libx265 -preset "
    "ultrafast -x265-params log-level=none:pools=1 -tag:v hvc1",
    "picture.tga": f"{_PICTURE} -frames:v 1",
    "picture.jp2": f"{_PICTURE} -frames:v 1 -c:v jpeg2000",
    "cover.mp3": f"{_PICTURE} {_SOUND} -t 0.2 -map 0 -map 1 -frames:v 1 -c:v mjpeg -pix_fmt yuvj420p -c:a mp3 "
    "-disposition:v attached_pic",
    "encrypted.mp4": f"{_PICTURE} {_SOUND} -t 0.24 {X264} {_YUV} -c:a aac -encryption_scheme cenc-aes-ctr "
    "-encryption_key 76a6c65c5ea762046bd749a2e632ccbb -encryption_kid a7e61c373e219033c21091fa607bf3b8",
    "two.mp4": f"{_PICTURE} {_PICTURE} -map 0 -map 1 -t 0.2 {X264} {_YUV}",
    "stereo.mkv": f"{_PICTURE} -frames:v 5 {X264} {_YUV} -metadata:s:v stereo_mode=left_right",
    "stereo.webm": f"{_PICTURE} -frames:v 4 -c:v libvpx -deadline realtime {_YUV} -metadata:s:v stereo_mode=top_bottom",
    "cover.mp4": f"{_PICTURE} {_PICTURE} -map 0 -map 1 -frames:v:1 1 -t 0.2 -c:v:0 libx264 -c:v:1 mjpeg {_YUV} "
    "-disposition:v:1 attached_pic",
}
_WORDS = "1\n00:00:00,000 --> 00:00:00,100\nGrüße\n\n2\n00:00:00,100 --> 00:00:00,200\nWords\n"
#: Files that are text.
TEXTS = {
    "words.srt": _WORDS,
    "words.ass": "[Script Info]\nScriptType: v4.00+\n\n[Events]\nFormat: Layer, Start, End, Text\n"
    "Dialogue: 0,0:00:00.00,0:00:01.00,Words\n",
    "list.m3u8": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.2,\nh264.ts\n#EXT-X-ENDLIST\n",
    "list.ffconcat": "ffconcat version 1.0\nfile h264.mp4\nduration 0.2\nfile h264.mp4\n",
    "list.mpd": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
    '<AdaptationSet><Representation id="1" bandwidth="1"><BaseURL>h264.mp4</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>\n",
    "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
}


def _stack() -> bytes:
    words = list(b"ImageJ=1.54f\nimages=3\nslices=3\nfps=10\n\0")
    pages = [
        TiffPage(picture(1, 16, seed=number), 16, compression="lzw", tags={270: (2, words)}) for number in range(3)
    ]
    return tiff_bytes(pages)


def _tiles() -> bytes:
    page = TiffPage(picture(4, 16), 16, 2, "deflate", (16, 16), planar=True, tags={338: (3, [2]), 274: (3, [6])})
    return tiff_bytes([page, page], order=">", big=True)


#: Files that are written by hand.
MADE = {"stack.tiff": _stack, "tiles.tiff": _tiles}


def make_corpus(folder: Path) -> list[Path]:
    """Every seed file, written into ``folder``; what the FFmpeg program at hand cannot make is an error."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in TEXTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    for name, make in MADE.items():
        (folder / name).write_bytes(make())
    for name, recipe in RECIPES.items():
        if not (folder / name).exists():
            words = shlex.split(recipe.format(srt=folder / "words.srt"))
            ffmpeg(*words, "-fflags", "+bitexact", "-flags", "+bitexact", str(folder / name))
    return sorted(folder / name for name in (*RECIPES, *MADE, *TEXTS))
