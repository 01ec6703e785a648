"""Console tables (rich): results of an evaluation, and shared table styles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from vdeblur.evaluation import Evaluation

#: Columns where the width is unknown, so that no row is wrapped.
WIDTH = 200

Titled = tuple[str, Table]


def write_tables(found: Evaluation, stream: IO[str]) -> None:
    """Write the gain of every clip, then means, motion errors, stability and speeds."""
    console = plain_console(stream)
    for title, table in (_clips(found), _means(found), _motion(found), _stability(found), _speeds(found)):
        if table.row_count:
            console.print(title, end="")
            console.print(table)


def plain_console(stream: IO[str]) -> Console:
    """Console for tables: no highlighting, and no wrapping where the width is unknown."""
    width = None if stream.isatty() else WIDTH
    return Console(file=stream, highlight=False, markup=False, emoji=False, width=width)


def plain_table(words: Sequence[str], numbers: Sequence[str]) -> Table:
    """Table without rules: left-aligned text columns, then right-aligned number columns."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in words:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _clips(found: Evaluation) -> Titled:
    numbers = ["frames", "size", "blurred", *(f"{name} gain" for name in found.methods)]
    table = plain_table(["data", "clip"], numbers)
    gains: dict[tuple[str, str], list[str]] = {}
    for clip in found.clips:
        size = f"{clip.width}×{clip.height}"
        row = gains.setdefault((clip.dataset, clip.clip), [str(clip.output.frames), size, f"{clip.input.psnr:.2f}"])
        row.append(f"{clip.gain_db:+.2f}")
    for (dataset, name), row in gains.items():
        table.add_row(dataset, name, *row)
    return "Clips: PSNR as it is, and gain, dB", table


def _means(found: Evaluation) -> Titled:
    numbers = ["clips", "PSNR", "gain", "worst", "SSIM", "temporal", "touched", "harm", "worst clip", "worst frame"]
    table = plain_table(["data", "blur", "method"], numbers)
    group = None
    for mean in found.summaries():
        here = (mean.dataset, mean.stratum)
        if here != group:
            temporal = _number(mean.temporal_psnr_input)
            row = [str(mean.clips), f"{mean.psnr_input:.2f}", "", "", f"{mean.ssim_input:.4f}", temporal]
            table.add_row(*here, "as it is", *row, "", "", "", "")
        group = here
        table.add_row(
            *here,
            mean.method,
            str(mean.clips),
            f"{mean.psnr:.2f}",
            f"{mean.gain_db:+.2f}",
            f"{mean.worst_gain_db:+.2f}",
            f"{mean.ssim:.4f}",
            _number(mean.temporal_psnr),
            f"{mean.change_psnr:.1f}",
            f"{mean.harm_psnr:.1f}",
            f"{mean.harm_worst_clip_psnr:.1f}",
            f"{mean.harm_worst_frame_psnr:.1f}",
        )
    return "Means", table


def _motion(found: Evaluation) -> Titled:
    numbers = ["velocity", "if none", "exposure", "if none"]
    table = plain_table(["data", "blur", "method"], numbers)
    for mean in found.summaries():
        if mean.motion is not None:
            errors = mean.motion
            values = (errors.velocity_px, errors.velocity_if_none_px, errors.motion_px, errors.motion_if_none_px)
            table.add_row(mean.dataset, mean.stratum, mean.method, *_numbers(values))
    return "Motion: mean endpoint error, pixels", table


def _stability(found: Evaluation) -> Titled:
    numbers = ["early", "late", "drift", "worst fall", "noise in", "noise out", "clean out"]
    table = plain_table(["data", "clip", "method"], numbers)
    for entry in found.stability:
        drift, flicker = entry.drift, entry.flicker
        table.add_row(
            entry.dataset,
            entry.clip,
            entry.method,
            f"{drift.early_psnr:.2f}",
            f"{drift.late_psnr:.2f}",
            f"{drift.drift_db:+.3f}",
            f"{drift.worst_fall_db:.2f}",
            *_numbers((flicker.noisy_input, flicker.noisy_output, flicker.clean_output)),
        )
    return (
        "Long clip: PSNR of 100 frames early and late, dB; static scene: change from frame to frame, 8-bit levels",
        table,
    )


def _speeds(found: Evaluation) -> Titled:
    sizes = list(dict.fromkeys((speed.width, speed.height) for speed in found.speeds))
    where = f"{found.conditions['device']}, {found.conditions['precision']}, {found.conditions['threads']} threads"
    title = f"Milliseconds a frame, median, without reading and writing ({where})"
    table = plain_table(["method"], [f"{width}×{height}" for width, height in sizes])
    for method in found.methods:
        seconds = {(s.width, s.height): s.seconds for s in found.speeds if s.method == method}
        table.add_row(method, *(f"{1000 * seconds[size]:.1f}" for size in sizes))
    return title, table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _numbers(values: Iterable[float]) -> list[str]:
    return [f"{value:.2f}" for value in values]
