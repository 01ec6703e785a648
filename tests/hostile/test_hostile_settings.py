"""Checkpoints and configs from strangers: nothing in them runs, nothing is allocated to match, one line says why."""

from __future__ import annotations

import json
import os
import pickle
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from support.cli_fixtures import tiny_model
from vdeblur.cli.options import RunOptions
from vdeblur.config import load_config, read_yaml
from vdeblur.errors import NetworkError, UsageError
from vdeblur.model.checkpoint import load_network, read_provenance
from vdeblur.model.deblur_net import NetworkConfig

__all__ = ["tiny_model"]


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._path),)


def peak_mb() -> int:
    """The most memory this process has had; 0 where nobody says."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> (20 if sys.platform == "darwin" else 10)


def refused(path: Path, words: str = "") -> None:
    before = peak_mb()
    with pytest.raises(NetworkError) as caught:
        load_network(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert words in str(caught.value)
    assert peak_mb() - before < 200


def with_config(tiny_model: Path, path: Path, config: str, **tensors: torch.Tensor) -> Path:
    """The weights of the small network under another config."""
    save_file({**load_file(tiny_model), **tensors}, path, metadata={"config": config, "provenance": "{}"})
    return path


@pytest.fixture
def config(tiny_model: Path) -> dict[str, Any]:
    data = tiny_model.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    found: dict[str, Any] = json.loads(header["__metadata__"]["config"])
    return found


def test_nothing_in_a_checkpoint_runs(tmp_path: Path) -> None:
    trap = Trap(tmp_path / "sprung")
    for name in ("plain.safetensors", "plain.pth"):
        (tmp_path / name).write_bytes(pickle.dumps(trap))
        refused(tmp_path / name, "is no safetensors file")
    torch.save({"weights": trap}, tmp_path / "zip.safetensors")
    refused(tmp_path / "zip.safetensors", "is no safetensors file")
    torch.save(trap, tmp_path / "old.safetensors", _use_new_zipfile_serialization=False)
    refused(tmp_path / "old.safetensors", "is no safetensors file")
    assert not (tmp_path / "sprung").exists()


def test_a_zip_bomb(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.safetensors", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50 << 20))
    refused(tmp_path / "bomb.safetensors", "is no safetensors file")


HEADERS = {
    "long": struct.pack("<Q", 1 << 62),
    "as long as memory": struct.pack("<Q", 64 << 30) + b"{}",
    "nothing": struct.pack("<Q", 0),
    "no JSON": struct.pack("<Q", 4) + b"abcd",
    "deep": struct.pack("<Q", 100_000) + b"[" * 100_000,
    "far": struct.pack("<Q", 70) + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4611686018427387904]}}'[:70],
    "large": struct.pack("<Q", 72)
    + b'{"a":{"dtype":"F32","shape":[65535,65535,65535],"data_offsets":[0,4]}}  '
    + bytes(4),
    "empty": b"",
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_of_checkpoints(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(HEADERS[name])
    refused(path)


def test_cut_and_damaged_checkpoints(tiny_model: Path, tmp_path: Path) -> None:
    whole = tiny_model.read_bytes()
    path = tmp_path / "x.safetensors"
    for length in (1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused(path)
    path.write_bytes(whole + bytes(100))
    refused(path)


CONFIGS = {
    "channels": ({"channels": [1000, 1000, 1000]}, "larger than the file"),
    "blocks": ({"blocks": [1000, 1000, 1000]}, "larger than the file"),
    "more channels": ({"channels": [10**9, 2, 2]}, "above 1024"),
    "negative": ({"channels": [-8, 8, 8]}, "below 0"),
    "none": ({"channels": [0, 0, 0]}, "above 0"),
    "taps": ({"taps": 10**15 + 1}, "above 1024"),
    "depth": ({"tap_depth": 1024}, "larger than the file"),
    "other size": ({"tap_hidden": 16}, "size mismatch"),
    "word": ({"taps": "five"}, "must be of type int"),
    "reach": ({"reach": float("nan")}, "above 0"),
    "unknown": ({"run": "me"}, "unknown key"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_in_checkpoints(name: str, tiny_model: Path, config: dict[str, Any], tmp_path: Path) -> None:
    changes, words = CONFIGS[name]
    refused(with_config(tiny_model, tmp_path / "x.safetensors", json.dumps(config | changes)), words)


def test_texts_that_are_no_config(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for text in ("", "[]", "7", "null", "{", "[" * 100_000, '{"channels": [[[[8]]]]}', '{"name": null}', "{}"):
        refused(with_config(tiny_model, path, text))
    for text in ("{", "[1]", "[" * 100_000):
        save_file({"a": torch.zeros(1)}, path, metadata={"config": "{}", "provenance": text})
        with pytest.raises(NetworkError, match="does not say where it comes from"):
            read_provenance(path)


def test_wrong_weights(tiny_model: Path, config: dict[str, Any], tmp_path: Path) -> None:
    path, text = tmp_path / "x.safetensors", json.dumps(config)
    tensors = load_file(tiny_model)
    name, first = next(iter(tensors.items()))
    for value in (float("nan"), float("inf"), -float("inf")):
        refused(with_config(tiny_model, path, text, **{name: torch.full_like(first, value)}), "are no numbers")
    refused(with_config(tiny_model, path, text, **{name: torch.zeros(3, 3)}), "size mismatch")
    refused(with_config(tiny_model, path, text, stranger=torch.zeros(3)), "Unexpected key")
    del tensors[name]
    save_file(tensors, path, metadata={"config": text})
    refused(path, "Missing key")
    with_config(tiny_model, path, text)
    assert isinstance(load_network(path).config, NetworkConfig)


YAML = {
    "laughs": "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
    ) + "strength: *i\n",
    "itself": "drop: &a [*a]\n",
    "deep": "drop: " + "[" * 50_000,
    "object": "model: !!python/object/apply:os.mkdir [{made}]\n",
    "new object": "model: !!python/object/new:os.mkdir [{made}]\n",
    "module": "model: !!python/module:antigravity\n",
    "number": "lookahead: " + "9" * 10_000,
    "date": "start: 2001-99-99\n",
    "long value": "strength: " + "x" * 500_000,
    "many keys": "".join(f"key{n}: 1\n" for n in range(5000)),
    "large": "# " + "x" * (2 << 20),
    "merge": "a: &a {x: 1}\n<<: *a\n",
    "bytes": "\udcff\udcfe",
    "nul": "model: \0\n",
    "two": "strength: 1\n---\nstrength: 1\n",
    "tabs": "strength:\t\t- 1\n\t- 2\n",
    "list of keys": "? [a, b]\n: 1\n",
    "unhashable": "{a: 1}: 2\n",
    "nan": "strength: .nan\n",
    "infinite": "crf: .inf\n",
}  # fmt: skip


@pytest.mark.parametrize("name", YAML)
def test_configs_from_strangers(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    text = YAML[name].replace("{made}", str(tmp_path / "made"))
    path.write_bytes(text.encode(errors="surrogateescape"))
    before = peak_mb()
    with pytest.raises(UsageError) as caught:
        load_config(RunOptions, path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert peak_mb() - before < 200
    assert not (tmp_path / "made").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no such devices")
def test_a_config_without_end() -> None:
    with pytest.raises(UsageError, match="is no config: it has more than 1024 KiB"):
        read_yaml(Path("/dev/zero"))
    assert read_yaml(Path("/dev/null")) == {}
