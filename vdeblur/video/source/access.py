"""Access rules of a source: the file alone may be opened, or, where that is allowed, the network alone.

Playlists and some containers name other files and addresses, and FFmpeg would follow them. It is told which protocols
and which formats it may use, each time a source is opened: by PyAV and by the FFmpeg program.
"""

from __future__ import annotations

import re
from functools import cache

#: Schemes of addresses that are opened where the network is allowed.
NETWORK_SCHEMES = frozenset({
    "http", "https", "ftp", "sftp", "rtmp", "rtmpe", "rtmps", "rtmpt", "rtmpte", "rtmpts", "rtsp", "rtsps", "rtp",
    "srtp", "udp", "udplite", "tcp", "tls", "srt", "rist", "mmsh", "mmst",
})  # fmt: skip
#: What those are made of inside FFmpeg; never a local file.
_NETWORK_PROTOCOLS = (*sorted(NETWORK_SCHEMES), "httpproxy", "crypto", "ffrtmpcrypt", "ffrtmphttp")
#: No protocol has this name, so nothing further is opened.
_NO_PROTOCOL = "none"
#: Playlists for the network: they name further addresses.
_PLAYLISTS = frozenset({"hls", "applehttp", "dash", "rtsp"})
#: Formats that open what the file names, run it as a program, or are no files at all.
_OPEN_OTHERS = _PLAYLISTS | {
    "concat", "imf", "sdp", "sap", "rtp", "webm_dash_manifest", "vobsub", "lavfi", "avisynth", "vapoursynth",
    "dvdvideo", "libcdio", "alsa", "oss", "sndio", "pulse", "jack", "fbdev", "kmsgrab", "x11grab", "xcbgrab",
    "v4l2", "video4linux2", "avfoundation", "dshow", "gdigrab", "vfwcap", "decklink", "android_camera", "iec61883",
}  # fmt: skip
#: How playlists begin.
_BEGINNINGS = {
    b"#EXTM3U": "an HLS playlist",
    b"ffconcat": "a list of files for FFmpeg",
    b"<MPD": "a DASH manifest",
    b"v=0": "an SDP description of a stream",
    b"<smil": "a SMIL playlist",
    b"<asx": "an ASX playlist",
    b"<CompositionPlaylist": "an IMF playlist",
    b"<SmoothStreamingMedia": "a Smooth Streaming manifest",
    b"[playlist]": "a playlist",
}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


def scheme_of(name: str) -> str | None:
    """Scheme of an address, in small letters; ``None`` if it has none. One letter is a drive of Windows."""
    found = _SCHEME.match(name)
    return found[1].lower() if found else None


def opening_options(*, network: bool, file: bool) -> dict[str, str]:
    """FFmpeg's options that keep an input to itself, whatever it holds.

    ``network`` = an address on the network, ``file`` = a local file; neither = data that Python reads.
    """
    protocols = ",".join(_NETWORK_PROTOCOLS) if network else "file" if file else _NO_PROTOCOL
    return {"protocol_whitelist": protocols, "format_whitelist": _formats(playlists=network)}


def reopening_options(container: str, *, network: bool) -> dict[str, str]:
    """The same for opening the source again; a file is not guessed at once more, but read as the format it was."""
    if network:
        return opening_options(network=True, file=False)
    return {"protocol_whitelist": "file", "format_whitelist": container, "f": container.split(",")[0]}


@cache
def _formats(*, playlists: bool) -> str:
    forbidden = _OPEN_OTHERS - _PLAYLISTS if playlists else _OPEN_OTHERS
    import av  # here: the command line's help asks for schemes alone

    names = {name for names in av.formats_available for name in names.split(",")}
    return ",".join(sorted(names - forbidden))


def playlist_in(head: bytes) -> str | None:
    """What kind of playlist a file is, by its first bytes; ``None`` if it is none."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"<?xml", b"<!")):
        return next((kind for start, kind in _BEGINNINGS.items() if start[:1] == b"<" and start in text), None)
    return next((kind for start, kind in _BEGINNINGS.items() if text[: len(start)].lower() == start.lower()), None)
