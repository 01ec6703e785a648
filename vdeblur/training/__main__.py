"""`python -m vdeblur.training RUN.yaml --folder FOLDER`: the first training command."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from vdeblur.config import find_config, load_config
from vdeblur.errors import VdeblurError
from vdeblur.training.trainer import TrainConfig, train


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m vdeblur.training", description="Train a network from stills.")
    parser.add_argument("config", help="a training YAML, by path or by name in configs/")
    parser.add_argument("--folder", type=Path, required=True, help="state, log and weights; continued if there is one")
    parser.add_argument("--minutes", type=float, help="stop after so many minutes")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        config = load_config(TrainConfig, find_config(options.config))
        print(train(config, options.folder, minutes=options.minutes, device=options.device))
    except VdeblurError as exc:
        print(f"vdeblur: error: {exc}", file=sys.stderr)
        return exc.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
