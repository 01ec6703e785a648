"""Entry point of the command line: command group with a default command (`run`) and lazily loaded others."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from vdeblur import __version__
from vdeblur.cli import error_output
from vdeblur.cli.guidance import error_words
from vdeblur.cli.help import EXAMPLES, EXIT_CODES, JSON_EVENTS, write_block, write_commands, write_options
from vdeblur.cli.signals import signals_as_ctrl_c
from vdeblur.errors import UsageError

DEFAULT_COMMAND = "run"
#: Every command: where it is, as module:attribute, and a line for the help page.
COMMANDS = {
    "run": ("vdeblur.cli.run:run", "Restore videos; what happens when no command is named."),
    "live": ("vdeblur.cli.live:live", "A camera, screen or stream, sharper, now: on a page, in a window, as a camera."),
    "eval": ("vdeblur.cli.evaluate:evaluate", "Score a network on pairs of blurred and sharp clips."),
    "train": ("vdeblur.cli.train:train", "Train a network on your own photographs or pairs."),
    "synth": ("vdeblur.cli.synth:synth", "Make a blurred clip and its sharp truth of a photograph or video."),
    "bench": ("vdeblur.cli.bench:bench", "Measure how fast this machine restores video."),
    "export": ("vdeblur.cli.export:export", "Write a network for ONNX Runtime or as a torch.export program."),
    "info": ("vdeblur.cli.info:info", "Show what a video holds and what would become of it."),
    "doctor": ("vdeblur.cli.doctor:doctor", "Show what this machine offers; for bug reports."),
}


class CommandGroup(click.Group):
    """Click group of all commands; its help page shows the default command's options."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "INPUT... -o OUTPUT [OPTIONS]")
        formatter.write_usage(ctx.command_path, "COMMAND [OPTIONS]", prefix="       ")

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self._default(ctx).format_help_text(ctx, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_options(self._default(ctx), ctx, formatter, [("--version", "Show the version and exit.")])
        write_commands(formatter, {name: words for name, (_, words) in COMMANDS.items()})
        write_block(formatter, "Examples", EXAMPLES)
        write_block(formatter, "JSON events", JSON_EVENTS)
        write_block(formatter, "Exit codes", EXIT_CODES)

    def _default(self, ctx: click.Context) -> click.Command:
        command = self.get_command(ctx, DEFAULT_COMMAND)
        assert command is not None
        return command


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="vdeblur", message="%(prog)s %(version)s")
def root_command() -> None:
    """Take the motion blur out of videos."""


def with_default_command(arguments: Sequence[str]) -> list[str]:
    """Prepend ``run`` to arguments that do not begin with a command. A file named info is ``./info``."""
    first = arguments[0] if arguments else ""
    if first in COMMANDS or first in ("-h", "--help", "--version"):
        return list(arguments)
    return [DEFAULT_COMMAND, *arguments]


def run_command_line(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code. Every failure is reported in one line on standard error."""
    with signals_as_ctrl_c() as ended:
        code = _run(with_default_command(arguments))
        if ended and code == error_output.EXIT_INTERRUPTED:
            return 128 + ended[0]
        return code


def _run(arguments: Sequence[str]) -> int:
    try:
        _check_dashes(arguments)
        result = root_command.main(list(arguments), prog_name="vdeblur", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.ClickException as exc:
        error_output.write_error_line(error_words.usage_words(exc))
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt) as exc:
        error_output.write_error_line("interrupted")
        error_output.show_traceback(exc)
        return error_output.EXIT_INTERRUPTED
    except BrokenPipeError:
        error_output.silence_standard_output()
        return error_output.EXIT_BROKEN_PIPE
    except Exception as exc:
        error = error_output.to_vdeblur_error(exc)
        error_output.write_error_line(error_words.in_flags(error, _command(arguments)))
        error_output.show_traceback(exc)
        return error.exit_code


def _command(arguments: Sequence[str]) -> click.Command | None:
    """The command that was called, whose options messages name; None if there is no such one."""
    first = arguments[0] if arguments else ""
    return root_command.get_command(click.Context(root_command), first) if first in COMMANDS else None


def _check_dashes(arguments: Sequence[str]) -> None:
    """Refuse a long option with one dash, of which click would read the letters one by one.

    Raises:
        UsageError: with the option that was meant.
    """
    command = None
    for argument in arguments[1:]:
        if argument == "--":
            return
        if argument.startswith("-") and len(argument) > 2 and argument[1] != "-":
            command = command or _command(arguments)
            meant = error_words.single_dash(argument, command)
            if meant is not None:
                raise UsageError(f"no such option {argument.partition('=')[0]}; did you mean {meant}?")
