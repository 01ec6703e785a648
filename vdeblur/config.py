"""Configuration: YAML files become frozen dataclasses, and an unknown key is an error that names the right one."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

from vdeblur.errors import UsageError

T = TypeVar("T")

_PACKAGE = Path(__file__).resolve().parent
#: An installed wheel carries the configs inside the package; a checkout has them beside it.
CONFIG_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")
#: No config comes near this.
_LARGEST_BYTES = 1 << 20
#: Of a wrong value, a message shows so much.
_SHOWN_CHARACTERS = 160
WEIGHTS_FOLDER = _PACKAGE / "weights"


class _Loader(yaml.SafeLoader):
    """Reads plain values only; a value cannot stand for another, so a short text cannot become a long one."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.composer.ComposerError(problem="a value cannot stand for another (*name)")
        return super().compose_node(parent, index)


def find_config(name: str) -> Path:
    """Path of a shipped config by name ("fast") or of the user's own file ("runs/mine.yaml").

    Raises:
        UsageError: there is neither.
    """
    own = Path(name)
    if own.suffix in {".yaml", ".yml"} and own.is_file():
        return own
    for folder in CONFIG_FOLDERS:
        path = folder / f"{name.removesuffix('.yaml')}.yaml"
        if path.is_file():
            return path
    known = sorted({path.stem for folder in CONFIG_FOLDERS for path in folder.glob("*.yaml")})
    raise UsageError(f"no config {name!r}: give a YAML file or one of {', '.join(known)}")


def read_yaml(path: Path) -> dict[str, Any]:
    """Mapping in a YAML file, loaded safely.

    Raises:
        UsageError: the file cannot be read, is no YAML or holds no mapping.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_BYTES + 1)
        if len(text) > _LARGEST_BYTES:
            raise UsageError(f"{path} is no config: it has more than {_LARGEST_BYTES >> 10} KiB")
        data = yaml.load(text.decode("utf-8"), Loader=_Loader)
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except RecursionError as exc:
        raise UsageError(f"{path} is no config: its lists and mappings lie too deep in one another") from exc
    except (yaml.YAMLError, ValueError) as exc:
        if isinstance(exc, UsageError):
            raise
        where = getattr(exc, "problem_mark", None)
        line = f" line {where.line + 1}" if where is not None else ""
        raise UsageError(f"{path}{line} is not valid YAML: {_one_line(getattr(exc, 'problem', None) or exc)}") from exc
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UsageError(f"{path} must hold `key: value` lines, not a {type(data).__name__}")
    return data


def load_config(cls: type[T], path: Path) -> T:
    """Read a YAML file into the dataclass ``cls``; see :func:`build`."""
    return build(cls, read_yaml(path), where=str(path))


def build(cls: type[T], data: dict[str, Any], *, where: str) -> T:
    """Make the dataclass ``cls`` from a mapping; nested dataclasses from nested mappings.

    A field with an "option" among its metadata (:class:`vdeblur.options.Option`) is converted by the class itself.

    Raises:
        UsageError: a key is unknown (the nearest right one is named), missing, or its value is wrong.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(fields)}"
            raise UsageError(f"{where}: unknown key {_shown(key)}; {hint}")
        by_itself = "option" in fields[key].metadata
        values[key] = value if by_itself else _coerce(value, hints[key], where=f"{where}: {key}")
    missing = [
        name
        for name, field in fields.items()
        if name not in values and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UsageError(f"{where}: missing key {missing[0]!r}")
    try:
        return cls(**values)
    except UsageError as exc:
        raise UsageError(f"{where}: {exc}") from exc


def _coerce(value: Any, hint: Any, *, where: str) -> Any:
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise UsageError(f"{where} must be a mapping, not {_shown(value)}")
        return build(hint, value, where=where)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        if value is None and type(None) in options:
            return None
        real = [option for option in options if option is not type(None)]
        if len(real) == 1:  # its own message says more
            return _coerce(value, real[0], where=where)
        for option in real:
            try:
                return _coerce(value, option, where=where)
            except UsageError:
                continue
        raise UsageError(f"{where} cannot be {_shown(value)}; it must be {hint}")
    if origin is typing.Literal:
        if value not in typing.get_args(hint):
            raise UsageError(
                f"{where} cannot be {_shown(value)}; choose one of {', '.join(map(str, typing.get_args(hint)))}"
            )
        return value
    if origin is tuple:
        return _coerce_tuple(value, typing.get_args(hint), where=where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if isinstance(hint, type) and (not isinstance(value, hint) or (hint is int and isinstance(value, bool))):
        raise UsageError(f"{where} cannot be {_shown(value)}; it must be of type {hint.__name__}")
    return value


def _coerce_tuple(value: Any, items: tuple[Any, ...], *, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise UsageError(f"{where} must be a list, not {_shown(value)}")
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(_coerce(item, items[0], where=f"{where}[{index}]") for index, item in enumerate(value))
    if len(value) != len(items):
        raise UsageError(f"{where} must have {len(items)} entries, not {len(value)}")
    pairs = zip(value, items, strict=True)
    return tuple(_coerce(item, hint, where=f"{where}[{index}]") for index, (item, hint) in enumerate(pairs))


def _shown(value: Any) -> str:
    """A value as it is written, or its beginning."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _one_line(words: object) -> str:
    return " ".join(str(words).split())[:_SHOWN_CHARACTERS]
