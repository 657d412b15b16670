# SPDX-License-Identifier: BSD-3-Clause
"""What dwconv is meant to reach, what a result shows, and whether that is enough."""

import statistics
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.results import Row, geometric_mean, rows

# Kernels so long that the best peers, and dwconv, use an FFT.
FFT_CASES = ("ecg_fir_k501_cf", "hyena_2048_cf")
_SMALL_FLOPS = 1e6  # below, the call itself and not the arithmetic decides
_KIB = 1024


class Line(NamedTuple):
    """One target at one thread count. `met` is None where nothing is asked for."""

    target: str
    asked: str
    threads: int
    measured: str
    met: bool | None


def lines(result: dict) -> list[Line]:
    """All targets for which the result has data, in a fixed order."""
    table = [row for row in rows(result) if row.dwconv is not None]
    found = []
    for threads in sorted({row.threads for row in table}):
        of_threads = [row for row in table if row.threads == threads]
        found += _speedups(of_threads, threads)
        found += _fractions(of_threads, threads)
    found += _thread_ratios(table)
    for name, summarize in _DETAILS.items():
        entries = result.get("details", {}).get(name)
        if isinstance(entries, dict):
            found.append(Line(name, "", 1, f"not measured: {entries['failed']}", None))
        elif entries:
            found += summarize(entries)
    return found


# --- cases


def _forward(row: Row) -> bool:
    return row.case.group == "public" and not row.case.training


def _direct(row: Row) -> bool:
    return _forward(row) and row.case.name not in FFT_CASES


def _fft(row: Row) -> bool:
    return _forward(row) and row.case.name in FFT_CASES


def _training(row: Row) -> bool:
    return row.case.training


def _streaming(row: Row) -> bool:
    return row.case.group == "streaming"


def _float32(row: Row) -> bool:
    return row.case.dtype == "float32"


# Name, which rows, least geometric mean, least of one case; None: nothing is asked for.
_SPEEDUPS: tuple[tuple[str, Callable[[Row], bool], float | None, float | None], ...] = (
    ("forward", _forward, 4, None),
    ("forward, float32", lambda row: _forward(row) and _float32(row), 4, None),
    ("forward, float64", lambda row: _forward(row) and not _float32(row), 4, None),
    ("forward, without FFT cases", _direct, None, 1.8),
    ("FFT cases", _fft, None, 1.2),
    ("training", _training, 12, 6),
    ("steps of streams", _streaming, None, 5),
)


def _speedups(table: list[Row], threads: int) -> list[Line]:
    found = []
    for name, belongs, asked_mean, asked_least in _SPEEDUPS:
        chosen = [row for row in table if belongs(row) and row.speedup is not None]
        if not chosen:
            continue
        speedups = {row.case.name: row.speedup for row in chosen}
        what = f"{name}: times faster than the best peer"
        mean = geometric_mean(list(speedups.values()))
        asked = "" if asked_mean is None else f"≥ {asked_mean:g}"
        met = None if asked_mean is None else mean >= asked_mean
        at_limit = [row.speedup_at_limit for row in chosen if row.bound is not None]
        text = f"{mean:.2f}"
        if at_limit:
            text += f" (exactly at the limit: {geometric_mean(at_limit):.2f})"
        found.append(Line(f"{what}, geometric mean", asked, threads, text, met))
        if asked_least is not None:
            found.append(_each(f"{what}, each case", speedups, asked_least, threads))
    return found


def _fractions(table: list[Row], threads: int) -> list[Line]:
    found = []
    for name, belongs, asked_median, asked_least in (
        ("forward", _direct, 0.8, 0.6),
        ("training", _training, 0.5, None),
    ):
        chosen = [row for row in table if belongs(row) and row.bound is not None]
        linear = {row.case.name: row.fraction(row.dwconv) for row in chosen if not row.fused}
        what = f"{name}: fraction of the limit"
        if linear:
            median = statistics.median(linear.values())
            met = median >= asked_median
            found.append(
                Line(f"{what}, median", f"≥ {asked_median:g}", threads, f"{median:.2f}", met)
            )
        large = {r.case.name for r in chosen if r.case.flops > _SMALL_FLOPS}
        if asked_least is not None and large & linear.keys():
            values = {case: f for case, f in linear.items() if case in large}
            found.append(_each(f"{what}, each case > 1 Mflop", values, asked_least, threads))
        fused = {row.case.name: row.fraction(row.dwconv) for row in chosen if row.fused}
        if fused:
            text = f"{statistics.median(fused.values()):.2f}, least {_least(fused)}"
            found.append(
                Line(f"{what}, median with a fused activation †", "", threads, text, None)
            )
    return found


def _thread_ratios(table: list[Row]) -> list[Line]:
    """Of direct forward cases above 1 Mflop that multiply-adds bound at both thread counts."""
    chosen = [
        row
        for row in table
        if _direct(row)
        and row.case.flops > _SMALL_FLOPS
        and row.bound is not None
        and row.bound.limit == "fma"
    ]
    times = {(row.case.name, row.threads): row.dwconv.median for row in chosen}
    found = []
    for threads in sorted({count for _, count in times} - {1}):
        ratios = {
            name: times[name, 1] / seconds
            for (name, count), seconds in times.items()
            if count == threads and (name, 1) in times
        }
        if not ratios:
            continue
        what = "cases bound by multiply-adds: times faster than one thread"
        mean = geometric_mean(list(ratios.values()))
        asked = 0.925 * threads
        found.append(Line(f"{what}, geometric mean", "", threads, f"{mean:.2f}", None))
        found.append(_each(f"{what}, each case > 1 Mflop", ratios, asked, threads))
    return found


def _each(target: str, values: dict[str, float], asked: float, threads: int) -> Line:
    """A line that asks the same of every case: the least, and all that fall short."""
    short = sorted((value, name) for name, value in values.items() if value < asked)
    text = f"least {_least(values)}"
    if short:
        names = ", ".join(f"{name} {value:.2f}" for value, name in short)
        text += f"; {len(short)} of {len(values)} below: {names}"
    return Line(target, f"≥ {asked:g}", threads, text, not short)


def _least(values: dict[str, float]) -> str:
    name = min(values, key=values.get)
    return f"{values[name]:.2f} ({name})"


# --- the small tools


def _overhead(entries: list[dict]) -> list[Line]:
    return [
        _most_above(entries, "depthwise_conv1d(..., out=y)", "out=", 2.0),
        _most_above(entries, "a call of a built layer", "layer", 3.0),
    ]


def _steps_and_chunks(entries: list[dict]) -> list[Line]:
    steps = [entry for entry in entries if "step" in entry]
    chunks = {e["shape"]: e["throughput"] for e in entries if "throughput" in e}
    asked = {shape: value for shape, value in chunks.items() if shape == "C512 K31, 16 steps"}
    found = [_most_above(steps, "a step of a stream", "out=", 1.5)] if steps else []
    if asked:
        found.append(_each("chunks of a stream: throughput of one call", asked, 0.8, 1))
    rest = {shape: value for shape, value in chunks.items() if shape not in asked}
    if rest:
        text = ", ".join(f"{shape}: {value:.2f}" for shape, value in rest.items())
        found.append(Line("chunks of other streams: the same", "", 1, text, None))
    return found


def _most_above(entries: list[dict], name: str, way: str, microseconds: float) -> Line:
    above = {entry["shape"]: 1e6 * (entry[way] - entry["kernel"]) for entry in entries}
    most = max(above, key=above.get)
    text = f"at most {above[most]:.2f} µs ({most})"
    asked = f"≤ {microseconds:g} µs"
    return Line(f"{name}, beyond its kernel", asked, 1, text, above[most] <= microseconds)


def _fused(entries: list[dict]) -> list[Line]:
    found = []
    for dtype in ("float32", "float64"):
        costs = {e["shape"]: e["cost"] for e in entries if e["shape"].endswith(dtype)}
        if costs:
            most = max(costs, key=costs.get)
            median = statistics.median(costs.values())
            text = f"median {100 * median:.0f} %, at most {100 * costs[most]:.0f} % ({most})"
            met = costs[most] <= 0.25
            target = f"fused SiLU over linear, 4 taps in the second-level cache, {dtype}"
            found.append(Line(target, "≤ 25 %", 1, text, met))
    return found


def _memory(entries: list[dict]) -> list[Line]:
    found = []
    for threads in sorted({entry["threads"] for entry in entries}):
        of_threads = [entry for entry in entries if entry["threads"] == threads]
        most = max(of_threads, key=lambda entry: entry["workspace_per_thread"])
        objects = max(entry["python"] for entry in of_threads)
        text = (
            f"{most['workspace_per_thread'] / _KIB:.1f} KiB of workspace ({most['case']}), "
            f"{objects / _KIB:.1f} KiB of Python objects"
        )
        # An array of the size of an input would be far larger than the objects of a call.
        met = most["workspace_per_thread"] <= 64 * _KIB and objects <= 4 * _KIB
        target = "memory beside the arrays, per thread, direct method"
        found.append(Line(target, "≤ 64 KiB", threads, text, met))
    return found


def _cliffs(entries: list[dict]) -> list[Line]:
    worst = max(entries, key=lambda entry: entry["ratio"])
    above = sum(entry["ratio"] > 1.6 for entry in entries)
    text = (
        f"at most {worst['ratio']:.2f} ({worst['slow']}, beside {worst['fast']}); "
        f"{above} of {len(entries)} pairs above"
    )
    target = "time per multiply-add of neighbouring K, C, M, stride, dilation"
    return [Line(target, "≤ 1.6 ×", 1, text, not above)]


_DETAILS = {
    "overhead": _overhead,
    "streaming": _steps_and_chunks,
    "fused": _fused,
    "memory": _memory,
    "cliffs": _cliffs,
}
