"""`python -m vdeblur.training.ablation CONFIG --folder FOLDER [--only NAME]`: compare, and print the table."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from vdeblur.config import find_config, load_config
from vdeblur.errors import VdeblurError
from vdeblur.training.ablation.comparison import ablate, compared
from vdeblur.training.ablation.settings import AblationConfig


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m vdeblur.training.ablation", description="Compare variants.")
    parser.add_argument("config", help="an ablation YAML, by path or by name in configs/")
    parser.add_argument("--folder", type=Path, required=True, help="clips and results; continued if there are any")
    parser.add_argument("--only", metavar="NAME", help="run this variant alone")
    parser.add_argument("--table", action="store_true", help="only print the table of the results so far")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        config = load_config(AblationConfig, find_config(options.config))
        shown = compared(config, options.folder) if options.table else ablate(config, options.folder, only=options.only)
        print(shown)
    except VdeblurError as exc:
        print(f"vdeblur: error: {exc}", file=sys.stderr)
        return exc.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
