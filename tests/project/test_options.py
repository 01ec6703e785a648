"""Options stand once: every interface has each of them with the table's default, bounds and messages."""

from __future__ import annotations

import asyncio
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import click
import pytest

import vdeblur
from support.cli_fixtures import Call, call
from support.doubles import Identity
from support.live_doubles import Steady
from support.page_fixtures import Browser, page, post
from support.paths import PACKAGE
from vdeblur.cli.app import COMMANDS, root_command
from vdeblur.cli.options import RunOptions
from vdeblur.errors import UsageError
from vdeblur.live.page.messages import parse_text
from vdeblur.live.session import LiveSession
from vdeblur.live.settings import LiveSettings
from vdeblur.options import (
    DECISIVE_OPTIONS,
    INTERLACED_MODES,
    OPTIONS,
    PAGE_OPTIONS,
    PRECISIONS,
    SETTABLE_OPTIONS,
    SIZE_CHANGES,
    Option,
    ReadOptions,
    RestoreArguments,
    RestoreOptions,
)
from vdeblur.runtime import device

__all__ = ["call"]

#: Defaults that differ from the table's, and why.
OWN_DEFAULTS = {(LiveSettings, "lookahead"): 0}  # a live picture should have no delay
#: Options that say less than a value: any text may be a network's name.
BOUNDED = [name for name in OPTIONS if name != "model"]
#: Page controls that stand for more than one option's value.
OWN_CONTROLS = {"model": 'id="models"', "reduce": 'id="reduce"'}

INDEX = (PACKAGE / "live" / "page" / "static" / "index.html").read_text(encoding="utf-8")


def default_of(name: str, owner: type[RestoreOptions] = RestoreOptions) -> Any:
    return OWN_DEFAULTS.get((owner, name), getattr(RestoreOptions, name))


def wrong_values(option: Option) -> list[Any]:
    """Values just outside the bounds, and one of another kind."""
    if option.limits is None:
        return ["nonsense"]
    least, greatest = option.limits
    step = 1 if option.parse is int else 0.25
    return [least - step, greatest + step, "nonsense"]


def words_for(option: Option, value: Any) -> str:
    return f"{option.name} cannot be {value!r}; it is {option.bounds}"


CASES = [(name, value) for name in BOUNDED for value in wrong_values(OPTIONS[name])]


# --- Everybody has each option, with the same default -----------------------------------------------------------------


@pytest.mark.parametrize("function", [vdeblur.deblur_video, vdeblur.Deblurrer, vdeblur.deblur_frames])
@pytest.mark.parametrize("name", OPTIONS)
def test_the_library_has_each_option(function: Callable[..., Any], name: str) -> None:
    parameter = inspect.signature(function).parameters[name]
    assert parameter.default == default_of(name)
    told = inspect.getdoc(function) or ""
    assert re.search(rf"\b{name}\b", told), "its docstring tells of it"


def test_options_that_are_passed_on_are_typed() -> None:
    arguments, table = get_type_hints(RestoreArguments), get_type_hints(RestoreOptions)
    assert arguments == {name: kind for name, kind in table.items() if name != "model"}
    assert set(OPTIONS) <= set(vdeblur.FrameOptions.__annotations__)


@pytest.mark.parametrize("owner", [RunOptions, LiveSettings])
@pytest.mark.parametrize("name", OPTIONS)
def test_runs_and_sessions_have_each_option(owner: type[RestoreOptions], name: str) -> None:
    assert getattr(owner(), name) == default_of(name, owner)


def parameters(command: str) -> dict[str, click.Parameter]:
    found = root_command.get_command(click.Context(root_command), command)
    assert found is not None
    return {str(parameter.name): parameter for parameter in found.params}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_says_what_the_table_says(command: str) -> None:
    """All commands that have an option of the table; `run` and `live` have every one."""
    has = {
        name: each for name, each in parameters(command).items() if name in OPTIONS and isinstance(each, click.Option)
    }
    assert command not in ("run", "live") or set(has) == set(OPTIONS)
    for name, parameter in has.items():
        default = default_of(name, LiveSettings if command == "live" else RestoreOptions)
        shown = f"{default:g}" if isinstance(default, float) else str(default)
        assert OPTIONS[name].flag in parameter.opts
        assert parameter.help == OPTIONS[name].help.format(default=shown)
        assert shown in str(parameter.help), "the default is told"
        assert parameter.default is None, "and filled in by those who check"


@pytest.mark.parametrize("name", OPTIONS)
def test_configs_have_each_option(name: str, tmp_path: Path) -> None:
    from vdeblur.cli.options import merge_options

    config = tmp_path / "run.yaml"
    config.write_text(f"{name}: {default_of(name)}\n")
    assert getattr(merge_options(config, {}), name) == default_of(name)


@pytest.mark.parametrize("name", PAGE_OPTIONS)
def test_the_page_has_each_option_that_browsers_may_choose(name: str) -> None:
    assert OWN_CONTROLS.get(name, f'data-option="{name}"') in INDEX
    assert parse_text(f'{{"type":"change","{name}":{json_of(default_of(name))}}}').fields == {name: default_of(name)}


def json_of(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def test_the_page_is_told_values_and_bounds() -> None:
    settings = LiveSettings(auto=False, reduce=4, strength=0.75)
    with page(Steady(), settings) as server, Browser(server) as browser:
        hello = browser.hear("hello")
        browser.say("start", source="server")
        status = browser.hear("status")
    for name in PAGE_OPTIONS:
        assert hello[name] == status[name] == getattr(settings, name)
        limits = OPTIONS[name].limits
        assert hello["limits"][name] == (None if limits is None else list(limits))


@pytest.mark.parametrize("name", SETTABLE_OPTIONS)
def test_the_engine_keeps_what_may_be_set_between_frames(name: str) -> None:
    assert getattr(vdeblur.Deblurrer(Identity(), device="cpu"), name) == default_of(name)


def test_what_is_set_between_frames_decides_what_comes_out() -> None:
    """So that an interrupted job knows of it."""
    assert set(SETTABLE_OPTIONS) == set(DECISIVE_OPTIONS)


# --- Everybody refuses the same, in the same words --------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), CASES)
def test_the_library_refuses_what_is_out_of_bounds(name: str, value: Any, tmp_path: Path) -> None:
    async def in_a_loop() -> None:
        async for _ in vdeblur.adeblur_frames([], **{name: value}):  # type: ignore[arg-type]
            pass

    root_command: list[Callable[[], object]] = [
        lambda: RestoreOptions(**{name: value}),
        lambda: RunOptions(**{name: value}),
        lambda: LiveSettings(**{name: value}),
        lambda: vdeblur.Deblurrer(**{"model": Identity(), "device": "cpu", name: value}),
        lambda: vdeblur.deblur_video(tmp_path / "missing.mp4", tmp_path / "o.mp4", **{name: value}),  # type: ignore[arg-type]
        lambda: vdeblur.deblur_frames([], **{name: value}),  # type: ignore[call-overload]
        lambda: vdeblur.deblur_streams([], **{name: value}),  # type: ignore[arg-type]
        lambda: asyncio.run(in_a_loop()),
        lambda: LiveSession(Steady(), LiveSettings(model="fast")).change(**{name: value}),
    ]
    for number, door in enumerate(root_command):
        with pytest.raises(UsageError) as caught:
            door()
        assert str(caught.value) == words_for(OPTIONS[name], value), number


@pytest.mark.parametrize(
    ("command", "name", "value"),
    [(command, *case) for command in COMMANDS for case in CASES if case[0] in parameters(command)],
)
def test_the_command_line_refuses_what_is_out_of_bounds(command: str, name: str, value: Any, call: Call) -> None:
    needed = {"train": ["train_fast"], "eval": ["fast", "nowhere"], "export": ["fast", "-o", "x.onnx"],
              "live": ["--window"], "run": ["x.mp4", "-o", "y.mp4"]}.get(command, [])  # fmt: skip
    result = call(command, *needed, f"{OPTIONS[name].flag}={value}")
    assert result.code == 2
    assert result.err == f"vdeblur: error: {words_for(OPTIONS[name], value).replace(name, OPTIONS[name].flag, 1)}\n"


@pytest.mark.parametrize(("name", "value"), CASES)
def test_a_config_refuses_what_is_out_of_bounds(name: str, value: Any, call: Call, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(f"{name}: {value}\n")
    result = call("x.mp4", "-o", "y.mp4", "--config", config)
    assert (result.code, result.err) == (2, f"vdeblur: error: {config}: {words_for(OPTIONS[name], value)}\n")


def test_the_page_refuses_what_is_out_of_bounds() -> None:
    cases = [(name, value) for name, value in CASES if name in PAGE_OPTIONS]
    with page(Steady()) as server, Browser(server) as browser:
        browser.say("start", source="server")
        for name, value in cases:
            answer = post(server, f"/videos?{name}={value}", content=b"x")
            assert (answer.status_code, answer.json()["message"]) == (400, words_for(OPTIONS[name], value))
            if not isinstance(value, str):
                browser.say("change", **{name: value})
                assert browser.hear("problem")["message"] == words_for(OPTIONS[name], value)


def test_devices_and_dtypes_are_those_of_the_table() -> None:
    assert ("auto", *device.PRECISIONS) == PRECISIONS
    with pytest.raises(UsageError) as caught:
        device.find_device("nonsense")
    assert str(caught.value) == words_for(OPTIONS["device"], "nonsense")


# --- Reading ----------------------------------------------------------------------------------------------------------


def test_the_reader_takes_each_of_its_options() -> None:
    own = {name: each for name, each in inspect.signature(vdeblur.Reader).parameters.items() if name != "source"}
    assert {name: each.default for name, each in own.items()} == ReadOptions().arguments
    offered = inspect.signature(vdeblur.deblur_video).parameters
    assert set(own) - set(offered) == {"threads", "keep_packets"}, "which deblur_video chooses itself"


def test_the_command_line_offers_what_the_reader_takes() -> None:
    for name, modes in (("interlaced", INTERLACED_MODES), ("size_change", SIZE_CHANGES)):
        kind = parameters("run")[name].type
        assert isinstance(kind, click.Choice)
        assert tuple(kind.choices) == modes


# --- A new option -----------------------------------------------------------------------------------------------------

ROW = """
    haste: int = field(default=3, metadata=_number(
        1, 9, whole=True, bounds="1 to 9", help="How quickly (default: {default}).", metavar="N",
        on_page=True, settable=True, decisive=True,
    ))
"""


def test_a_new_option_is_a_row_of_the_table(tmp_path: Path) -> None:
    """With a row for it alone, everybody but the engine knows a toy option: its default, bounds, message and help."""
    table = (PACKAGE / "options.py").read_text(encoding="utf-8")
    table = table.replace("    device: str\n", "    device: str\n    haste: int\n", 1)
    table = table.replace("    device: str = field(", f"{ROW}    device: str = field(", 1)
    (tmp_path / "options.py").write_text(table)
    (tmp_path / "run.yaml").write_text("haste: 10\n")
    program = textwrap.dedent("""
        import importlib.util, inspect, sys
        spec = importlib.util.spec_from_file_location("vdeblur.options", sys.argv[1] + "/options.py")
        module = sys.modules["vdeblur.options"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)

        import vdeblur
        from vdeblur.cli.app import run_command_line
        from vdeblur.cli.options import RunOptions
        from vdeblur.live.page.messages import parse_text
        from vdeblur.live.settings import LiveSettings

        for function in (vdeblur.deblur_video, vdeblur.deblur_frames, vdeblur.Deblurrer):
            assert inspect.signature(function).parameters["haste"].default == 3, function
        assert "haste" in vdeblur.FrameOptions.__annotations__
        assert RunOptions().haste == LiveSettings().haste == 3
        assert parse_text('{"type":"change","haste":4}').fields == {"haste": 4}
        for command in ("run", "live"):
            assert run_command_line([command, "--help"]) == 0
        assert run_command_line(["x.mp4", "-o", "y.mp4", "--haste", "0"]) == 2
        assert run_command_line(["live", "--window", "--haste", "0"]) == 2
        assert run_command_line(["x.mp4", "-o", "y.mp4", "--config", sys.argv[1] + "/run.yaml"]) == 2
    """)
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"--haste N +How quickly \(default: 3\)\.", done.stdout)) == 2
    refused = "haste cannot be 0; it is 1 to 9"
    assert done.stderr.splitlines() == [
        f"vdeblur: error: --{refused}",
        f"vdeblur: error: --{refused}",
        f"vdeblur: error: {tmp_path / 'run.yaml'}: haste cannot be 10; it is 1 to 9",
    ]
