"""What the tests of the command line share: a way to call it, a folder of clips, a network in a file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vdeblur.cli.app import run_command_line
from vdeblur.model.checkpoint import save_network
from vdeblur.model.deblur_net import DeblurNet, NetworkConfig
from vdeblur.video.ffmpeg.executable import run_ffmpeg

#: The program, in a process of its own.
COMMAND = [sys.executable, "-m", "vdeblur"]


class Result:
    """Exit code and both outputs of a call."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("vdeblur: error: ")]


Call = Callable[..., Result]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run(*arguments: object) -> Result:
        capsys.readouterr()
        code = run_command_line([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clip and with files that are none."""
    folder = tmp_path_factory.mktemp("media")
    picture = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25"]
    sound = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]
    for arguments in (
        [*picture, *sound, "-t", "0.4", "-pix_fmt", "yuv420p", "-c:a", "aac", str(folder / "clip.mp4")],
        [*sound, "-t", "0.2", str(folder / "sound.m4a")],
    ):
        assert run_ffmpeg(arguments).returncode == 0
    (folder / "notes.mp4").write_text("this is no video\n" * 50)
    (folder / "nothing.mp4").write_bytes(b"")
    (folder / "headers.y4m").write_bytes(b"YUV4MPEG2 W64 H48 F25:1 Ip C420jpeg\n")
    (folder / "empty").mkdir()
    (folder / "texts").mkdir()
    (folder / "texts" / "readme.txt").write_text("no video here")
    (folder / "wrong.yaml").write_text("strenght: 0.5\n")
    (folder / "broken.yaml").write_text("strength: [\n")
    (folder / "loud.yaml").write_text("strength: loud\n")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with weights that change every picture, in a file of its own folder."""
    torch.manual_seed(3)
    net = DeblurNet(
        NetworkConfig(
            name="tiny", channels=(8, 8, 8), blocks=(1, 1, 1), decoder_blocks=(1, 1),
            flow_finest=4, tap_guides=2, taps=5, reach=1.0, tap_scale=2, tap_hidden=8, tap_depth=1, tap_features=4,
        )
    )  # fmt: skip
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path_factory.mktemp("model") / "fast.safetensors"
    save_network(net, path, {"data": "none: made for tests"})
    return path
