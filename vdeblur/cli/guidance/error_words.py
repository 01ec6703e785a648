"""Errors in the words of the command line: flags in place of Python's arguments, and what was probably meant."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import click

from vdeblur.errors import UsageError, VdeblurError

#: Python's names of arguments whose options are called otherwise.
_PYTHON_NAMES = {
    "segment_seconds": "--segments", "pixel_format": "--pix-fmt", "overwrite": "-y", "start_seconds": "--start",
    "duration_seconds": "--duration", "container": "--format", "the output": "-o", "the plot": "--plot",
    "the contact sheet": "--sheet", "target": "-o",
}  # fmt: skip
#: "interlaced='frame' (--interlaced frame)": Python's way, and the command line's behind it.
_BOTH_WAYS = re.compile(r"(?:\w+=(?:'[^']*'|\"[^\"]*\"|\([^()]*\)|[\w.]+)|\ballow_network=True) \((--?[a-z][^()]*)\)")
#: "-y (overwrite)": the other way round.
_FLAG_FIRST = re.compile(r"(?<=[ ;])(--?[a-z][\w-]*) \([a-z_]+\)")
#: An argument of Python; what is quoted, or was the value of another, only looks like one (noise=0.5).
_ARGUMENT = re.compile(r"(?<!')(?<!was )(?<!is )\b([a-z_]+)=('[^']*'|\"[^\"]*\"|\([^()]*\)|…|[\w.]+)")
#: Where messages begin to list what would be right.
_LISTS = re.compile(
    r"(?:; |: | choose )(?:it is |one of |choose |known endings: |known keys: |for example |from |give )"
)
#: Networks, whose names are taken for options.
_MODELS = ("swift", "fast", "balanced", "quality")
#: How like a listed value a wrong one must be: gpu is not meant for cpu.
_LIKENESS = 0.7
#: Words between the listed values, short enough to be like a wrong one: off is not meant for of.
_PROSE = ("a", "an", "and", "as", "in", "is", "it", "of", "or", "the", "to")
#: A wrong value: quoted, or behind its flag.
_WRONG = re.compile(r"'([^']{1,60})'|^--[\w-]+ ([^ ']+) is no ")


def in_flags(error: VdeblurError, command: click.Command | None) -> str:
    """The message of an error as the command line says it: its options as flags, and the nearest right value."""
    message = words_in_flags(str(error), command)
    return with_suggestion(message) if isinstance(error, UsageError) else message


def words_in_flags(words: str, command: click.Command | None) -> str:
    """What the library says, an error or a note, with its options as flags."""
    names = _flags(command)
    message = _BOTH_WAYS.sub(r"\1", " ".join(words.split()))
    message = _FLAG_FIRST.sub(r"\1", message)
    message = _ARGUMENT.sub(lambda match: _argument(match, names), message).replace("pass -", "give -")
    if names:
        known = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
        # At the beginning only: behind the name of a file stands one of its keys, which has no dashes.
        for place in (
            rf"^({known})(?= cannot be\b| and .* exclude\b)",
            rf"(?<= so )({known})(?= cannot be\b)",
            rf"(?<= and )({known})(?=(?: off)? exclude\b)",
            rf"(?<=: )({known})(?= was .* when the job began)",
        ):
            message = re.sub(place, lambda match: names[match[1]], message)
    return message


def usage_words(exc: click.ClickException) -> str:
    """One line for a call that click refuses."""
    if isinstance(exc, click.NoSuchOption):
        name = exc.option_name.lstrip("-")
        if name in _MODELS:
            return f"no such option {exc.option_name}; did you mean --model {name}?"
        hint = did_you_mean(exc.option_name, _long_options(None if exc.ctx is None else exc.ctx.command))
        return f"no such option {exc.option_name}{hint or '; --help lists all'}"
    if isinstance(exc, click.MissingParameter) and exc.param is not None:
        what = exc.param.human_readable_name if isinstance(exc.param, click.Argument) else _flag(exc.param)
        usage = "" if exc.ctx is None else f": {' '.join(exc.ctx.get_usage().split()[1:])}"
        return f"{what} is missing{usage}"
    if isinstance(exc, click.BadParameter) and exc.param is not None:
        return _bad_value(exc, _flag(exc.param))
    return re.sub(r"^Option '(.*?)'", r"\1", exc.format_message().rstrip(".")).replace("Got ", "got ")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ "; did you mean X?" for the nearest of the known words; empty if none is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def with_suggestion(message: str) -> str:
    """The message with the value that was probably meant, where it quotes a wrong one and lists the right ones."""
    word, lists = _WRONG.search(message), list(_LISTS.finditer(message))
    if word is None or not lists or lists[-1].end() < word.end() or "did you mean" in message:
        return message
    begin, wrong = lists[-1], word[1] or word[2]
    listed = re.split(r", | or |; | ", message[begin.end() :])
    values = [value for value in (each.strip("'.:") for each in listed) if value not in _PROSE]
    near = difflib.get_close_matches(wrong, values, n=1, cutoff=_LIKENESS)
    if not near or re.match(rf"{re.escape(near[0])}(?!\w)", wrong):  # "noise=2": what follows is wrong
        return message
    return f"{message[: begin.start()]}; did you mean {near[0]!r}?"


def single_dash(argument: str, command: click.Command | None) -> str | None:
    """The option that somebody has written with one dash, as in ``-model``; None if it is another thing."""
    name = argument.partition("=")[0]
    long = f"-{name}"
    return long if re.fullmatch(r"-[a-z][a-z-]+", name) and long in _long_options(command) else None


def _bad_value(exc: click.BadParameter, flag: str) -> str:
    assert exc.param is not None
    words = exc.message.rstrip(".")
    kind = exc.param.type
    if isinstance(kind, click.Choice):
        given = words.partition("' is not")[0].strip("'")
        choices = [str(choice) for choice in kind.choices]
        hint = did_you_mean(given, [repr(choice) for choice in choices]) or f"; it is {' or '.join(choices)}"
        return f"{flag} cannot be {given!r}{hint}"
    number = re.fullmatch(r"(.*) is not a valid (?:float|integer)(?: range)?", words)
    if number:
        return f"{flag} cannot be {number[1]}; it is a {'whole ' if 'integer' in words else ''}number"
    bounds = re.fullmatch(r"(.*) is not in the range (.*)", words)
    if bounds:
        least, most = bounds[2].partition("x")[::2]
        least, most = least.strip("<=") or most.strip(">="), most.strip("<=") if "<" in most else ""
        return f"{flag} cannot be {bounds[1]}; it is {f'{least} to {most}' if most else f'{least} or more'}"
    return f"{flag}: {words}"


def _flag(parameter: click.Parameter) -> str:
    long = [name for name in parameter.opts if name.startswith("--")]
    return (long or list(parameter.opts))[0]


def _argument(match: re.Match[str], names: Mapping[str, str]) -> str:
    """A keyword argument of Python as an option, where there is one."""
    flag = names.get(match[1])
    if flag is None:
        return match[0]
    try:
        value: Any = ast.literal_eval(match[2])
    except (ValueError, SyntaxError):
        return match[0] if match[2] not in ("…",) else flag
    if value is True:
        return flag
    if value is None:
        return f"{flag} off" if flag == "--segments" else f"without {flag}"
    words = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"{flag} '{words}'" if " " in words or not words else f"{flag} {words}"


def _flags(command: click.Command | None) -> dict[str, str]:
    """Flags of a command's options by every name that messages have for them."""
    names: dict[str, str] = {}
    for parameter in [] if command is None else command.params:
        if isinstance(parameter, click.Option):
            flag = _flag(parameter)
            if parameter.name == "overwrite" or flag == "--yes":
                flag = "-y"
            if flag == "--output":
                flag = "-o"
            bare = flag.lstrip("-")
            for name in {parameter.name or bare, bare, bare.replace("-", " "), bare.replace("-", "_")}:
                if len(name) > 1:
                    names[name] = flag
    own = set(names.values())
    names.update({name: flag for name, flag in _PYTHON_NAMES.items() if flag in own})
    return names


def _long_options(command: click.Command | None) -> set[str]:
    parameters = [] if command is None else command.params
    own = {name for parameter in parameters for name in parameter.opts if name.startswith("--")}
    return own | {"--help"} | ({"--version"} if command is not None and command.name == "run" else set())
