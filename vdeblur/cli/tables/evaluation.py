"""Tables of an evaluation."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from vdeblur.cli.tables.plain import Titled, gain_words, number_words, numbers_words, plain_table, print_tables

if TYPE_CHECKING:
    from vdeblur.evaluation import Evaluation


def write_tables(found: Evaluation, stream: IO[str]) -> None:
    """Write the gain of every clip, then means, exposures, the selection, motion errors, stability and speeds."""
    parts = (_clips, _means, _difficulties, _exposures, _selections, _motion, _stability, _speeds)
    print_tables((part(found) for part in parts), stream)


def _clips(found: Evaluation) -> Titled:
    each = [word for name in found.methods for word in (f"{name} gain", "aligned")]
    table = plain_table(["data", "clip"], ["frames", "size", "blurred", "aligned", "shift", *each])
    rows: dict[tuple[str, str], list[str]] = {}
    for clip in found.clips:
        aligned = clip.aligned
        shift = f"{aligned.shift_x_px:+.2f},{aligned.shift_y_px:+.2f}"
        size = f"{clip.width}×{clip.height}"
        known = [str(clip.output.frames), size, f"{clip.input.psnr:.2f}", f"{aligned.psnr_input:.2f}", shift]
        row = rows.setdefault((clip.dataset, clip.clip), known)
        row += [gain_words(clip.gain_db), gain_words(clip.aligned_gain_db)]
    for (dataset, name), row in rows.items():
        table.add_row(dataset, name, *row)
    return "Clips: PSNR as it is, and gain, dB; both again with the truth moved by the shift, pixels", table


def _means(found: Evaluation) -> Titled:
    gains = ["gain", "worst", "in a frame", "aligned"]
    numbers = ["clips", "PSNR", *gains, "SSIM", "temporal", "touched", "harm", "worst clip", "worst frame"]
    table = plain_table(["data", "blur", "method"], numbers)
    group = None
    for mean in found.summaries():
        here = (mean.dataset, mean.stratum)
        if here != group:
            temporal = number_words(mean.temporal_psnr_input)
            row = [str(mean.clips), f"{mean.psnr_input:.2f}", *[""] * len(gains), f"{mean.ssim_input:.4f}", temporal]
            table.add_row(*here, "as it is", *row, "", "", "", "")
        group = here
        table.add_row(
            *here,
            mean.method,
            str(mean.clips),
            f"{mean.psnr:.2f}",
            *map(gain_words, (mean.gain_db, mean.worst_gain_db, mean.worst_frame_gain_db, mean.aligned_gain_db)),
            f"{mean.ssim:.4f}",
            number_words(mean.temporal_psnr),
            f"{mean.change_psnr:.1f}",
            f"{mean.harm_psnr:.1f}",
            f"{mean.harm_worst_clip_psnr:.1f}",
            f"{mean.harm_worst_frame_psnr:.1f}",
        )
    return "Means", table


def _difficulties(found: Evaluation) -> Titled:
    table = plain_table(["input", "method"], ["clips", "gain", "worst", "aligned"])
    for mean in found.difficulties():
        gains = map(gain_words, (mean.gain_db, mean.worst_gain_db, mean.aligned_gain_db))
        table.add_row(mean.difficulty, mean.method, str(mean.clips), *gains)
    return "By the PSNR of the input, all data together (easy: 30 dB or more, hard: under 24): gain, dB", table


def _exposures(found: Evaluation) -> Titled:
    """Each clip with a reading; below those of a stratum, the mean errors where the true exposure is known."""
    readers = [
        name for name in found.methods if any(c.exposure.read is not None for c in found.clips if c.method == name)
    ]
    table = plain_table(["data", "clip"], ["true", *(word for name in readers for word in (f"{name} read", "error"))])
    rows: dict[tuple[str, str], list[str]] = {}
    for clip in found.clips:
        if clip.method in readers and clip.exposure.read is not None:
            row = rows.setdefault((clip.dataset, clip.clip), [number_words(clip.exposure.true)])
            row += [number_words(clip.exposure.read), number_words(clip.exposure.error)]
    for (dataset, name), row in rows.items():
        table.add_row(dataset, name, *row)
    means: dict[tuple[str, str], dict[str, float]] = {}
    for mean in found.summaries():
        if mean.exposure_error is not None:
            means.setdefault((mean.dataset, mean.stratum), {})[mean.method] = mean.exposure_error
    for (dataset, stratum), errors in means.items():
        table.add_row(
            dataset, f"mean of {stratum}", "", *(w for name in readers for w in ("", number_words(errors.get(name))))
        )
    return "Exposure fraction from the third frame on: true, as it was read, and mean absolute error", table


def _selections(found: Evaluation) -> Titled:
    table = plain_table(["method"], ["pairs", "ladder", "synthetic", "mean"])
    for each in found.selections():
        table.add_row(each.method, *map(gain_words, (each.pairs_db, each.ladder_db, each.synthetic_db, each.mean_db)))
    return "Selection: mean gain on each kind of data, and what a model is chosen by, dB", table


def _motion(found: Evaluation) -> Titled:
    numbers = ["velocity", "if none", "exposure", "if none"]
    table = plain_table(["data", "blur", "method"], numbers)
    for mean in found.summaries():
        if mean.motion is not None:
            errors = mean.motion
            values = (errors.velocity_px, errors.velocity_if_none_px, errors.motion_px, errors.motion_if_none_px)
            table.add_row(mean.dataset, mean.stratum, mean.method, *numbers_words(values))
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
            *numbers_words((flicker.noisy_input, flicker.noisy_output, flicker.clean_output)),
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
