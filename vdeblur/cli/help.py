"""Help pages: options in named groups, examples and exit codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from vdeblur.options import OPTIONS, RestoreOptions

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

EXAMPLES = """\
  vdeblur holiday.mp4 -o sharp.mp4                       the whole video, every stream kept
  vdeblur holiday.mp4 -o look.mp4 --compare split        before | after in one picture
  vdeblur holiday.mp4 -o sharp.mp4 --plot sharpness.png  and how sharp each frame was and is
  vdeblur a.mp4 b.mkv clips -o sharp                     several videos, and all of the folder clips
  vdeblur holiday.mp4 -o part.mp4 --start 1:30 --duration 10
  vdeblur holiday.mp4 -o sharp.mkv --codec hevc --crf 18 --preset slow
  vdeblur frame_%05d.png -o sharp_%05d.png --frame-rate 24
  ffmpeg -i in.mp4 -f nut -c copy - | vdeblur - -o - | ffplay -
  vdeblur info holiday.mp4                               what it holds and what would become of it
  vdeblur doctor                                         what this machine offers; for bug reports
  vdeblur bench                                          how fast it is here
"""

JSON_EVENTS = """\
  start     source, target, number, count
  note      words: what is copied, converted or not kept; before the work
  progress  frames, frames_total, media_seconds, elapsed_seconds, fps, speed, eta_seconds; twice a second at most
  done      frames, skipped_packets, elapsed_seconds, notes, summary (one line), streams (fate, kind, what, detail …);
            video (codec, pixel_format, width, height, bytes; null for pipes and pictures);
            with --plot sharpness_before, sharpness_after
  skipped   reason
  error     kind, message, exit_code
  end       done, skipped, failed: how many inputs
Every object has its event's name as "event"; all but the last name the source and the target.
"""

EXIT_CODES = """\
  0    everything was restored (or skipped, as -n asked)
  1    another fault; if it is unexpected, the message says how to report it
  2    usage: a path, an option or a config key
  3    the input cannot be read or is no video; it is encrypted, or most of it is damaged
  4    the output cannot be written or encoded
  5    the device is missing or out of memory
  6    the network or its checkpoint failed
  130  interrupted (Ctrl-C); 143 when terminated
  141  whoever read standard output went away
With several inputs, one failure does not stop the others; the code is that of the first failure.
"""


#: Heading of options that were given none, --help among them.
OWN_HEADING = "Messages"


class GroupedOption(click.Option):
    """A click option with a section heading for the help page."""

    def __init__(self, *args: Any, heading: str = OWN_HEADING, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.heading = heading


def restore_option(
    name: str, heading: str = "Restoration", *, defaults: type[RestoreOptions] = RestoreOptions
) -> Decorator:
    """Click option of a restoration option, built from its row of the table.

    Its value is the unconverted text, or None if not given; ``defaults`` converts and validates it, or fills it in.
    """
    row, default = OPTIONS[name], getattr(defaults, name)
    shown = f"{default:g}" if isinstance(default, float) else default
    return click.option(
        *(["-m"] if name == "model" else []),
        row.flag,
        cls=GroupedOption,
        heading=heading,
        default=None,
        metavar=row.metavar,
        help=row.help.format(default=shown),
        **({"multiple": True, "callback": _one_or_all} if row.repeatable else {}),
    )


def _one_or_all(_context: click.Context, _parameter: click.Parameter, values: tuple[Any, ...]) -> Any:
    """None for an option that was not given, its value if it was once, else all values."""
    return (values[0] if len(values) == 1 else values) if values else None


def given_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Filter the restoration options that were given."""
    return {name: given[name] for name in OPTIONS if given.get(name) is not None}


class GroupedCommand(click.Command):
    """A click command with options grouped under headings, followed by blocks of text."""

    def __init__(self, *args: Any, blocks: Mapping[str, str] | None = None, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.blocks = blocks or {}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_options(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, block in self.blocks.items():
            write_block(formatter, heading, block)


def write_options(
    command: click.Command, ctx: click.Context, formatter: click.HelpFormatter, more: Sequence[tuple[str, str]] = ()
) -> None:
    """Write a command's options under their headings, in the order in which they were declared, and ``more``."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None and isinstance(parameter, click.Option):
            sections.setdefault(getattr(parameter, "heading", OWN_HEADING), []).append(record)
    sections.setdefault(OWN_HEADING, []).extend(more)
    for heading, records in sections.items():
        with formatter.section(heading):
            formatter.write_dl(records, col_max=24)


def write_block(formatter: click.HelpFormatter, heading: str, block: str) -> None:
    """Write preformatted lines under a heading."""
    formatter.write_paragraph()
    formatter.write(f"{heading}:\n{block}")


def write_commands(formatter: click.HelpFormatter, commands: Mapping[str, str]) -> None:
    with formatter.section("Commands"):
        formatter.write_dl([(name, words) for name, words in commands.items()], col_max=24)
