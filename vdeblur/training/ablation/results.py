"""Ablation results: one CSV row a run, and Markdown tables of groups of runs."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from vdeblur.atomic_files import write_atomically
from vdeblur.errors import UsageError

COLUMNS = (
    "what is changed", "gain", "against base", "no lookahead", "true motion", "near-sharp", "kept", "motion",
    "kMAC", "step",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """Scores of one run on the test clips; means over clips, PSNR of R'G'B' rounded to 8 bits."""

    name: str
    seed: int
    #: Digest of everything that decides the scores.
    recipe: str
    #: Gain in PSNR on the blurred clips, with the next frame and without it, dB.
    gain_db: float
    gain_lookahead0_db: float
    #: The same when the true motion steers in the evaluation.
    gain_true_motion_db: float
    #: Gain on the near-sharp clips, and PSNR of output against input there.
    gain_near_sharp_db: float
    kept_db: float
    #: Mean error of the motion during the exposure, pixels.
    motion_px: float
    #: Multiply-adds a pixel, thousands.
    kmac: float
    #: Processor time of a training step, median, milliseconds.
    step_ms: float


def read_results(path: Path) -> list[Result]:
    """Results written so far; none when there is no file.

    Raises:
        UsageError: the file holds something else.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [field.name for field in fields(Result)]
    try:
        return [
            Result(row["name"], int(row["seed"]), row["recipe"], *(float(row[name]) for name in names[3:]))
            for row in rows
        ]
    except (KeyError, TypeError, ValueError) as exc:
        raise UsageError(f"{path} holds no results of an ablation ({exc}): remove it or choose another folder") from exc


def append_result(path: Path, result: Result) -> None:
    """Add a row; a new file starts with the names of its columns."""
    row = io.StringIO(newline="")
    writer = csv.DictWriter(row, fieldnames=[field.name for field in fields(Result)])
    before = path.read_bytes().decode("utf-8") if path.is_file() else ""
    if not before:
        writer.writeheader()
    writer.writerow(asdict(result))
    write_atomically(path, before + row.getvalue())


def table(rows: Sequence[tuple[str, Sequence[Result]]]) -> str:
    """Markdown table: each row's words with its runs, the base first; rows without runs are left out.

    Numbers are means over a row's runs; where there are several, the lowest and the highest gain stand behind the mean.
    "against base" is the difference of the gain to the base's runs with the same seeds.
    """
    lines = [
        f"| {' | '.join(COLUMNS)} |",
        "|---" + "|--:" * (len(COLUMNS) - 1) + "|",
    ]
    base: dict[int, float] | None = None
    for says, results in rows:
        if not results:
            continue
        means = {
            field.name: statistics.fmean(getattr(result, field.name) for result in results)
            for field in fields(Result)[3:]
        }
        gains = [result.gain_db for result in results]
        spread = f" ({min(gains):+.2f} … {max(gains):+.2f})" if len(gains) > 1 else ""
        against = "–" if base is None else _against(base, results)
        base = {result.seed: result.gain_db for result in results} if base is None else base
        lines.append(
            f"| {says} | {means['gain_db']:+.2f}{spread} | {against} | {means['gain_lookahead0_db']:+.2f} |"
            f" {means['gain_true_motion_db']:+.2f} | {means['gain_near_sharp_db']:+.2f} | {means['kept_db']:.1f} |"
            f" {means['motion_px']:.2f} | {means['kmac']:.1f} | {means['step_ms']:.0f} |"
        )
    return "\n".join(lines)


def _against(base: dict[int, float], results: Sequence[Result]) -> str:
    differences = [result.gain_db - base[result.seed] for result in results if result.seed in base]
    return f"{statistics.fmean(differences):+.2f}" if differences else "–"
