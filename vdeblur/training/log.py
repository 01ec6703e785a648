"""Training log: a CSV file of losses and scores that survives kills, and its reader."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from vdeblur.atomic_files import write_atomically

LOG_FILE = "log.csv"
COLUMNS = (
    "step", "minutes", "learning_rate", "frames", "loss", "pixels", "frequencies", "motion", "gradient",
    "gain_db", "raw_gain_db", "worst_gain_db", "gain_blurred_db", "kept_db", "velocity_error_px", "exposure_error_px",
)  # fmt: skip
#: Further columns of guides.
GUIDE_COLUMNS = ("gain_raw_db", "gain_coded_db")


def append_row(folder: Path, row: dict[str, float]) -> None:
    """Write a line; what the row does not know stays empty. A second row of the last step completes its line."""
    path = folder / LOG_FILE
    before = read_log(folder)
    if before and before[-1]["step"] == row["step"]:
        cut_log(folder, row["step"] - 1)
        row = {**before[-1], **row}
    line = io.StringIO(newline="")
    text = path.read_bytes().decode("utf-8") if path.is_file() else ""
    names = (*COLUMNS, *(name for name in GUIDE_COLUMNS if name in (_columns(text) if text else row)))
    writer = csv.DictWriter(line, fieldnames=names)
    if not text:
        writer.writeheader()
    writer.writerow({name: _written(name, value) for name, value in row.items()})
    write_atomically(path, text + line.getvalue())


def read_log(folder: Path) -> list[dict[str, float]]:
    """The lines with what each of them knows; a line that was cut short by a kill is left out."""
    path = folder / LOG_FILE
    if not path.is_file():
        return []
    rows = []
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            try:
                rows.append({name: float(row[name]) for name in (*COLUMNS, *GUIDE_COLUMNS) if row.get(name)})
            except ValueError:
                continue
    return [row for row in rows if "step" in row]


def cut_log(folder: Path, step: float) -> None:
    """Take out what was logged after ``step``: a run that goes on from there logs it again."""
    path = folder / LOG_FILE
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8") as file:
        lines = file.read().splitlines()
    count = len(_columns(lines[0])) if lines else 0
    kept = [line for number, line in enumerate(lines) if number == 0 or _step_of(line, count) <= step]
    write_atomically(path, "\r\n".join(kept) + "\r\n")


def _written(name: str, value: float) -> str:
    return f"{value:.0f}" if name in ("step", "frames") else f"{value:.6g}"


def _columns(text: str) -> list[str]:
    """Names in the first line of a log."""
    return text.partition("\n")[0].strip().split(",")


def _step_of(line: str, columns: int) -> float:
    first, _, rest = line.partition(",")
    return float(first) if first.isdigit() and rest.count(",") == columns - 2 else float("inf")
