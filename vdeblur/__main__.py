"""The command line's door: `vdeblur …` and `python -m vdeblur …`."""

from __future__ import annotations

import io
import os
import signal
import sys


def main() -> int:
    """Run the command line; return its exit code."""
    # Decoder and encoder share the cores with the network: threads that wait must sleep, not spin. Read by OpenMP when
    # PyTorch is loaded; a person's own setting goes before.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # GNU's OpenMP may spin for some microseconds all the same: the network's steps are short and many. Measured on two
    # cores, a 640×360 file, two runs each: 11.2 and 12.5 frames a second without, 14.3 and 16.3 with it.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        from vdeblur.cli.app import run_command_line

        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # as standard error: a file may have any name
        return run_command_line(sys.argv[1:])
    except KeyboardInterrupt:
        sys.stderr.write("vdeblur: error: interrupted\n")
        return 130
    finally:
        # All is closed and said: another Ctrl-C would only meet the interpreter's own end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
