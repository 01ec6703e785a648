"""`vdeblur live SOURCE`: live restoration of a camera, screen, stream or file, with minimal latency."""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from vdeblur.cli import error_output
from vdeblur.cli.guidance.kernel_notes import kernel_notes
from vdeblur.cli.help import Decorator, GroupedCommand, GroupedOption, given_options, restore_option
from vdeblur.cli.io_plan import missing_input
from vdeblur.cli.live_report import LiveReport, show_cameras
from vdeblur.cli.options import check_guide, check_model, parse_rate, parse_seconds
from vdeblur.errors import UsageError
from vdeblur.live.settings import LiveSettings
from vdeblur.options import OPTIONS

if TYPE_CHECKING:
    from vdeblur.live.page import PageOptions
    from vdeblur.live.source_parser import SourceOptions
    from vdeblur.live.sources import Source
    from vdeblur.live.types import LiveSink

EXAMPLES = """\
  vdeblur live                                           the page; the browser gives its own camera
  vdeblur live --list                                    the cameras and their modes
  vdeblur live 0                                         the first camera, on the page
  vdeblur live 0 --size 640x480 --window                 in a window (ffplay)
  vdeblur live 0 -o talk.mp4                             recorded, until Ctrl-C
  vdeblur live 0 -o talk.mp4 --page                      on the page, and recorded
  vdeblur live 0 --virtual-camera                        for calls: a camera that other programs see
  vdeblur live rtsp://10.0.0.7/stream --window --compare side
  vdeblur live clip.mp4 --loop --window                  a file, at its own pace
  ffmpeg -f v4l2 -i /dev/video0 -f yuv4mpegpipe - | vdeblur live - -o - | ffplay -f nut -
"""

SOURCES = """\
  0, 1, …            a camera by its number; also its path (/dev/video0) or camera:NAME, part of its name
  screen             what the screen shows; another one as screen:1 (macOS) or screen::1.0 (X11)
  rtsp://, srt://, http://, udp://, tcp://, …   a stream on the network
  FILE               at its own pace
  -, a FIFO          standard input or a named pipe: Y4M, NUT, MPEG-TS, Matroska …, as it comes
  lavfi:PATTERN      a picture FFmpeg makes, e.g. lavfi:testsrc2=size=640x480:rate=30
"""

_SIZE = re.compile(r"(\d+)[x×](\d+)")


def _option(heading: str, *names: str, **settings: Any) -> Decorator:
    return click.option(*names, cls=GroupedOption, heading=heading, **settings)


_SOURCE = functools.partial(_option, "Source")
_SHOWING = functools.partial(_option, "Where it shows (default: the page)")
_PAGE_HEADING = "The page"
_PAGE = functools.partial(_option, _PAGE_HEADING)
_RECORDING = functools.partial(_option, "Recording")
_RESTORATION = functools.partial(_option, "Restoration")
_MESSAGES = functools.partial(_option, "Messages")

_OPTIONS: tuple[Decorator, ...] = (
    _SOURCE("--list", "list_", is_flag=True, help="List the cameras and their modes, and end."),
    _SOURCE("--size", metavar="WxH", help="Of a camera or the screen (default: the best up to 1280x720)."),
    _SOURCE("--rate", metavar="FPS", help="Frames a second of a camera or the screen (default: up to 30)."),
    _SOURCE("--input-format", metavar="NAME", help="Of a camera: mjpeg, yuyv … (default: the best)."),
    _SOURCE("--realtime", is_flag=True, help="Play a pipe or URL of stored video at its own pace, as files are."),
    _SOURCE("--loop", is_flag=True, help="Begin a file again at its end."),
    _SOURCE("--duration", metavar="TIME", help="Stop after this time: seconds, or 1:30."),
    _SHOWING("--page", is_flag=True, help="The page, beside what else is named here."),
    _SHOWING("--window", is_flag=True, help="A window of ffplay."),
    _SHOWING("-o", "--output", multiple=True, metavar="PATH", help="Record into a file; - is standard output."),
    _SHOWING(
        "-f", "--format", type=click.Choice(["nut", "y4m", "mpegts"]), default="nut",
        help="On standard output: nut (raw, with times; the default), y4m (raw), mpegts (H.264).",
    ),
    _SHOWING(
        "--virtual-camera", is_flag=False, flag_value="", default=None, metavar="[DEVICE]",
        help="A camera for other programs, through v4l2loopback or OBS; needs vdeblur[camera].",
    ),
    _SHOWING("--compare", type=click.Choice(["side", "split"]), help="Before and after in one picture."),
    _PAGE("--host", default="127.0.0.1", metavar="ADDRESS", help="Serve others too: 0.0.0.0. A token is asked then."),
    _PAGE("--port", type=click.IntRange(0, 65535), metavar="NUMBER", help="Port of the page."),
    _PAGE(
        "--tls-cert", type=click.Path(path_type=Path), metavar="FILE",
        help="Certificate (PEM) for HTTPS; made on the fly where the address needs one.",
    ),
    _PAGE("--tls-key", type=click.Path(path_type=Path), metavar="FILE", help="Its key (PEM)."),
    _PAGE(
        "--upload-limit", type=click.IntRange(1), metavar="MIB", help="Largest video that may be sent (default: 2048)."
    ),
    _PAGE(
        "--cameras", type=click.IntRange(1), metavar="NUMBER",
        help="Browsers that may send their camera at a time (default: 2).",
    ),
    _PAGE("--no-browser", is_flag=True, help="Do not open the page in this machine's browser."),
    _RECORDING("-y", "--yes", "overwrite", is_flag=True, help="Replace an existing file."),
    _RECORDING("--codec", metavar="NAME", help="h264, hevc, av1, vp9, ffv1, auto-gpu, or any FFmpeg encoder."),
    _RECORDING("--crf", type=float, metavar="NUMBER", help="Quality on the codec's scale; smaller is better."),
    _RECORDING("--preset", metavar="NAME", help="Speed against size (default for H.264: veryfast)."),
    *(restore_option(name, defaults=LiveSettings) for name in OPTIONS),
    _RESTORATION("--auto/--no-auto", default=True, help="Work at a smaller size, or with a smaller model, to keep up."),
    _MESSAGES("--json", "as_json", is_flag=True, help="JSON, one object a line: the list, or status once a second."),
    _MESSAGES("-q", "--quiet", is_flag=True, help="Only errors."),
    _MESSAGES("-v", "--verbose", is_flag=True, help="More, for finding faults."),
)  # fmt: skip


def _with_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.command("live", cls=GroupedCommand, blocks={"Sources": SOURCES, "Examples": EXAMPLES})
@click.argument("source", required=False)
@_with_options
def live(source: str | None, **given: Any) -> int:
    """Take the motion blur out of a live picture, with the least delay this machine allows.

    The newest frame wins: what the network cannot keep up with is left out and counted, never queued. Ctrl-C ends it,
    and finishes recordings.
    """
    if given["list_"]:
        return show_cameras(as_json=given["as_json"])
    to_pipe = "-" in given["output"]
    if to_pipe and sys.stdout.isatty():
        raise UsageError("standard output is a terminal; pipe it into a player, or name a file with -o")
    if given["quiet"] and given["verbose"]:
        raise UsageError("quiet and verbose exclude each other; choose one")
    logging.getLogger("vdeblur").setLevel(logging.DEBUG if given["verbose"] else logging.WARNING)
    _leave_a_core()
    settings = LiveSettings(auto=given["auto"], **given_options(given))
    check_model(settings.model)
    check_guide(settings.guide)
    report = LiveReport(
        sys.stderr if to_pipe or not given["as_json"] else sys.stdout, as_json=given["as_json"], quiet=given["quiet"]
    )
    seen = given["window"] or to_pipe or given["virtual_camera"] is not None
    wanted_page = given["page"] or not (seen or given["output"])
    if not wanted_page:
        _refuse_page_options()
    # What is only recorded must be named: nobody would see that it is another camera.
    word = "0" if source is None and seen and not wanted_page else source
    opened = None if word is None else _open(word, given)
    try:
        with nullcontext() if given["verbose"] else kernel_notes(report.note):
            sinks = _sinks(given, opened, report)
            if wanted_page:
                return _page(opened, settings, sinks, given, report)
            assert opened is not None
            return _run(opened, settings, sinks, given, report)
    finally:
        if opened is not None:
            opened.close()


def _refuse_page_options() -> None:
    """Raise UsageError for an option of the page that was given where there is none."""
    context = click.get_current_context()
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if given and getattr(parameter, "heading", "") == _PAGE_HEADING:
            raise UsageError(f"{parameter.opts[-1]} is for the page, which is not served here; add --page")


def _leave_a_core() -> None:
    """Let the network take all cores but one, which the camera, the encoder and the browser need.

    Threads that wait for each other on a busy core cost more than they save: through the page on two cores, the same
    network showed 15.1 frames a second with one thread and 12.0 with two. Read when PyTorch is loaded; a person's own
    setting goes before.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) - 1)))


def _run(
    source: Source, settings: LiveSettings, sinks: list[LiveSink], given: dict[str, Any], report: LiveReport
) -> int:
    """Show the source at the sinks until it ends, nobody watches, the time is over, or Ctrl-C."""
    from vdeblur.live.session import LiveSession

    seconds = None if given["duration"] is None else parse_seconds("duration", given["duration"])
    with LiveSession(source, settings, sinks, note=report.note) as session:
        try:
            report.watch(session, seconds)
        except BrokenPipeError:  # click has an exit code of its own for it
            error_output.silence_standard_output()
            return error_output.EXIT_BROKEN_PIPE
    report.end(session.status())
    session.wait(0)
    return 0


def _page(
    source: Source | None, settings: LiveSettings, sinks: list[LiveSink], given: dict[str, Any], report: LiveReport
) -> int:
    if given["duration"] is not None:
        raise UsageError("--duration is for windows, pipes and virtual cameras; the page is served until Ctrl-C")
    try:
        from vdeblur.live.page import serve
    except ImportError as exc:
        raise UsageError(f"the page needs {exc.name}: pip install 'vdeblur[live]'; or use --window or -o FILE") from exc
    options = _page_options(given)
    try:
        serve(source, settings, options, sinks=sinks, note=report.note)
    except KeyboardInterrupt:
        report.note("ended")
    return 0


def _page_options(given: dict[str, Any]) -> PageOptions:
    from vdeblur.live.page import PageOptions

    names = ("host", "port", "tls_cert", "tls_key", "cameras")
    chosen = {name: given[name] for name in names if given[name] is not None}
    if given["upload_limit"] is not None:
        chosen["upload_limit"] = given["upload_limit"] << 20
    return PageOptions(open_browser=not given["no_browser"], **chosen)


def _open(word: str, given: dict[str, Any]) -> Source:
    from vdeblur.live.source_parser import open_source

    try:
        return open_source(word, _wishes(given))
    except UsageError as exc:
        raise (missing_input(word) if str(exc).startswith("no such file:") else exc) from exc


def _wishes(given: dict[str, Any]) -> SourceOptions:
    from vdeblur.live.source_parser import SourceOptions

    size = None
    if given["size"] is not None:
        match = _SIZE.fullmatch(given["size"])
        if match is None:
            raise UsageError(f"size cannot be {given['size']!r}; it is like 640x480")
        size = int(match[1]), int(match[2])
    rate = None if given["rate"] is None else float(parse_rate(given["rate"]))
    return SourceOptions(
        size=size, rate=rate, input_format=given["input_format"], realtime=given["realtime"], loop=given["loop"]
    )


def _sinks(given: dict[str, Any], source: Source | None, report: LiveReport) -> list[LiveSink]:
    """The sinks beside the page."""
    from vdeblur.live.sinks import ComparisonSink, PipeSink, RecordingSink, VirtualCameraSink, WindowSink

    sinks: list[LiveSink] = []
    if given["output"] and source is None:
        raise UsageError("name what is to be recorded: a camera's number, or another source")
    for path in dict.fromkeys(given["output"]):
        if path == "-":
            rate = functools.partial(getattr, source, "rate", None)
            sinks.append(PipeSink(sys.stdout.buffer, given["format"], rate=rate))
        else:
            sinks.append(
                RecordingSink(path, encode=_encoding(path, given), overwrite=given["overwrite"], note=report.note)
            )
    if given["virtual_camera"] is not None:
        sinks.append(VirtualCameraSink(given["virtual_camera"] or None))
    if given["window"]:
        sinks.append(WindowSink(f"vdeblur: {'' if source is None else source.name}"))
    return [ComparisonSink(sink, given["compare"]) for sink in sinks] if given["compare"] else sinks


def _encoding(path: str, given: dict[str, Any]) -> Any:
    """How a recording is encoded: H.264 must leave the cores to the network."""
    from vdeblur.video.encode.encoder_options import EncodeOptions

    preset = given["preset"]
    if preset is None and given["codec"] in (None, "h264") and Path(path).suffix.lower() in (".mp4", ".mkv", ".mov"):
        preset = "veryfast"
    return EncodeOptions(codec=given["codec"], crf=given["crf"], preset=preset)
