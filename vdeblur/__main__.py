"""The command line's door: `vdeblur …` and `python -m vdeblur …`."""

from __future__ import annotations

import io
import os
import sys


def main() -> int:
    """Run the command line; return its exit code."""
    # Decoder and encoder share the cores with the network: threads that wait must sleep, not spin. Read by OpenMP when
    # PyTorch is loaded; a person's own setting goes before.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        from vdeblur.cli.app import run_command_line
    except KeyboardInterrupt:
        sys.stderr.write("vdeblur: error: interrupted\n")
        return 130
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error: a file may have any name
    return run_command_line(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
