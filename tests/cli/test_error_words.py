"""Errors on the command line speak flags, those of the library Python."""

from __future__ import annotations

import pytest

from vdeblur.cli.error_output import in_flags


@pytest.mark.parametrize(
    ("python", "flags"),
    [
        ("strength cannot be 3; it is 0 to 1.5", "--strength cannot be 3; it is 0 to 1.5"),
        ("size change cannot be 'crop'; it is", "--size-change cannot be 'crop'; it is"),
        ("run.yaml: strength cannot be 3", "run.yaml: strength cannot be 3"),
        ("it cannot be cut", "it cannot be cut"),
        ('nan or inf; try precision="float32"', "nan or inf; try --precision float32"),
        ('use tile="auto", or a smaller model', "use --tile auto, or a smaller model"),
        ("give shutter=… to decide", "give --shutter to decide"),
        ("resume=True goes on with it, overwrite=True begins anew", "--resume goes on with it, -y begins anew"),
        ("segment_seconds=None may help", "--segments off may help"),
        ("leave it out with drop=('4',) (--drop 4)", "leave it out with --drop 4"),
        ("leave them out with drop=('1', '2') (--drop 1 --drop 2)", "leave them out with --drop 1 --drop 2"),
        ("pass pixel_format='yuv420p' (--pix-fmt yuv420p)", "pass --pix-fmt yuv420p"),
        ("ffmpeg_args=('-c:a', 'aac') (--ffmpeg-args '-c:a aac')", "--ffmpeg-args '-c:a aac'"),
        ("allow that with allow_network=True (--allow-network)", "allow that with --allow-network"),
        ("a=1 (2) is no option", "a=1 (2) is no option"),
    ],
)
def test_python_becomes_flags(python: str, flags: str) -> None:
    assert in_flags(python) == flags
    assert in_flags(flags) == flags
