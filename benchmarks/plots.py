# SPDX-License-Identifier: BSD-3-Clause
"""The plots of a result: ratio to the best peer, roofline, scaling with sizes and with threads."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.peers import DWCONV, PEERS
from benchmarks.results import Row, rows
from benchmarks.roofline import copy_bandwidth

_OWN, _PEER, _LIMIT = "#0b6e4f", "#c44536", "#555555"
_SHADES = (_OWN, "#7fb69f", "#bcd8cb")  # for thread counts
_IN_SCALING = [name for name, peer in PEERS.items() if peer.in_scaling]
_COLOURS = dict(zip(_IN_SCALING, (_OWN, _PEER, "#2f6db5", "#e09f1f"), strict=True))
_SIZES = {"K": "taps K", "T": "steps T", "C": "channels C"}
_DPI = 110
_BEHIND_TEXT = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5}


def save_all(result: dict, folder: Path) -> list[Path]:
    """Writes the plots for which the result has data; returns their paths."""
    table = [row for row in rows(result) if row.best]
    public = [row for row in table if row.case.group == "public"]
    figures = {
        "speedup": speedup(public),
        "roofline": roofline(public, result["limits"]),
        "scaling": scaling(table),
        "threads": threads(public),
    }
    paths = []
    for name, figure in figures.items():
        if figure is not None:
            paths.append(folder / f"{name}.png")
            FigureCanvasAgg(figure)
            figure.savefig(paths[-1], dpi=_DPI)
    return paths


def speedup(table: list[Row]) -> Figure | None:
    """Time of the best peer over time of dwconv, a bar for each case and thread count."""
    compared = [row for row in table if row.speedup is not None]
    if not compared:
        return None
    names = list(dict.fromkeys(row.case.name for row in compared))
    counts = sorted({row.threads for row in compared})
    figure = Figure(figsize=(9, 1.5 + 0.3 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    height = 0.8 / len(counts)
    for i, count in enumerate(counts):
        of_count = [row for row in compared if row.threads == count]
        shift = (i - (len(counts) - 1) / 2) * height
        places = [names.index(row.case.name) + shift for row in of_count]
        lengths = [row.speedup - 1 for row in of_count]  # to the right if faster, else to the left
        colour = _SHADES[i % len(_SHADES)]
        axes.barh(places, lengths, height, left=1, color=colour, label=_count(count))
        for place, row in zip(places, of_count, strict=True):
            text = f" {row.speedup:.1f}  {row.best_peer.label}"
            axes.text(max(row.speedup, 1), place, text, va="center", fontsize=6.5)
    fused = {row.case.name for row in compared if row.fused}
    axes.set_yticks(range(len(names)), [f"{n} †" if n in fused else n for n in names], fontsize=8)
    axes.invert_yaxis()
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.axvline(1, color=_PEER, linewidth=1)
    most = max(row.speedup for row in compared)
    least = min(0.8, *(row.speedup for row in compared))
    ticks = [m * 10.0**e for e in range(-2, 4) for m in (1, 2, 5)]
    _logarithmic(axes, [tick for tick in ticks if least <= tick <= 2 * most])
    axes.set_xlim(least / 1.1, 4 * most)  # room for the names at the ends of the bars
    axes.set_xlabel("times faster than the best peer, which is named († with an activation)")
    axes.legend(loc="lower right", fontsize=8)
    return figure


def roofline(table: list[Row], limits: dict) -> Figure | None:
    """Gflop/s over flops per byte, with the roofs of the machine; a panel for each thread count."""
    counts = [count for count in sorted({row.threads for row in table}) if str(count) in limits]
    if not counts:
        return None
    figure = Figure(figsize=(6.5 * len(counts), 5.5), layout="constrained")
    for panel, count in enumerate(counts):
        axes = figure.add_subplot(1, len(counts), panel + 1)
        of_count = [row for row in table if row.threads == count]
        _roofs(axes, limits[str(count)], count)
        for label, colour, timing_of in (
            ("best peer", _PEER, lambda row: row.best_peer),
            (DWCONV, _OWN, lambda row: row.dwconv),
        ):
            for dtype, marker in (("float32", "o"), ("float64", "s")):
                chosen = [r for r in of_count if timing_of(r) and r.case.dtype == dtype]
                axes.plot(
                    [row.case.flops / row.case.min_bytes for row in chosen],
                    [row.gflops(timing_of(row)) for row in chosen],
                    marker,
                    color=colour,
                    markersize=5,
                    alpha=0.8,
                    label=f"{label}, {dtype}" if chosen else None,
                )
        for row in of_count:
            if row.dwconv and row.best_peer:
                intensity = row.case.flops / row.case.min_bytes
                ends = [row.gflops(row.best_peer), row.gflops(row.dwconv)]
                axes.plot([intensity] * 2, ends, color="#bbbbbb", linewidth=0.8, zorder=0)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(_count(count))
        axes.set_xlabel("flops per byte that has to be moved")
        axes.set_ylabel("Gflop/s")
        axes.legend(fontsize=8, loc="lower right")
    return figure


def _roofs(axes, limits: dict, count: int) -> None:
    intensity = np.geomspace(0.2, 3000, 200)
    levels = (("L1", count << 14), ("L2", count << 18), ("12 MiB", 12 << 20), ("256 MiB", 1 << 28))
    for i, (name, size) in enumerate(levels):
        rate = copy_bandwidth(limits["copy"], size)
        roof = np.minimum(intensity * rate, limits["fma"]["float32"])
        axes.plot(intensity, roof, color=_LIMIT, linewidth=0.8, alpha=1 - 0.2 * i)
        side = "top" if i % 2 else "bottom"  # neighbours may be close to each other
        label = f" copy {name}, {rate:.0f} GB/s"
        axes.text(intensity[0], roof[0], label, fontsize=7, va=side, bbox=_BEHIND_TEXT, zorder=1)
    for dtype, rate in limits["fma"].items():
        axes.axhline(rate, color=_LIMIT, linewidth=0.8, linestyle=":")
        axes.text(intensity[-1], rate, f"FMA peak {dtype}", fontsize=7, va="bottom", ha="right")


def scaling(table: list[Row]) -> Figure | None:
    """Gflop/s of the fastest peers over K, T and C, with the limit."""
    series = [row for row in table if row.case.group in _SIZES]
    groups = [group for group in _SIZES if any(row.case.group == group for row in series)]
    counts = sorted({row.threads for row in series})
    if not series:
        return None
    figure = Figure(figsize=(5 * len(groups), 4 * len(counts)), layout="constrained")
    panels = figure.subplots(len(counts), len(groups), squeeze=False)
    for lane, count in zip(panels, counts, strict=True):
        for axes, group in zip(lane, groups, strict=True):
            chosen = [r for r in series if r.threads == count and r.case.group == group]
            sizes = [_size(row) for row in chosen]
            for peer, colour in _COLOURS.items():
                points = [(_size(r), r.gflops(r.best[peer])) for r in chosen if peer in r.best]
                if points:
                    style = {"linewidth": 2.2 if peer == DWCONV else 1.2, "markersize": 3}
                    axes.plot(*zip(*points, strict=True), "o-", color=colour, label=peer, **style)
            if all(row.bound for row in chosen):
                roof = [row.case.flops / row.bound.seconds / 1e9 for row in chosen]
                axes.plot(sizes, roof, "--", color=_LIMIT, linewidth=1, label="limit")
            _logarithmic(axes, sizes)
            axes.tick_params(labelsize=7)
            axes.set_ylim(bottom=0)
            axes.set_xlabel(_SIZES[group])
            axes.set_ylabel("Gflop/s")
            axes.set_title(f"{_fixed(chosen[0])}, {_count(count)}", fontsize=9)
            axes.grid(alpha=0.3)
    panels[0][0].legend(fontsize=8)
    return figure


def _size(row: Row) -> int:
    case = row.case
    return {"K": case.kernel_size, "T": case.steps, "C": case.channels}[case.group]


def _fixed(row: Row) -> str:
    """The sizes that a series has in common."""
    sizes = {"T": row.case.steps, "C": row.case.channels, "K": row.case.kernel_size}
    return ", ".join(f"{k} {v}" for k, v in sizes.items() if k != row.case.group)


def threads(table: list[Row]) -> Figure | None:
    """Speed-up of dwconv over its smallest thread count, a line of dots for each case."""
    times = {(row.case.name, row.threads): row.dwconv.median for row in table if row.dwconv}
    counts = sorted({count for _, count in times})
    if len(counts) < 2:
        return None
    base, *others = counts
    compared = [row for row in table if row.threads == base]
    compared = [row for row in compared if all((row.case.name, n) in times for n in counts)]
    compared.sort(key=lambda row: times[row.case.name, base])
    figure = Figure(figsize=(7, 1.5 + 0.22 * len(compared)), layout="constrained")
    axes = figure.add_subplot()
    for i, row in enumerate(compared):
        memory = row.bound is not None and row.bound.limit == "memory"
        values = [times[row.case.name, base] / times[row.case.name, n] for n in others]
        fill = "white" if memory else _OWN
        axes.plot(values, [i] * len(values), "o", color=_OWN, markerfacecolor=fill)
    names = [f"{row.case.name}, {times[row.case.name, base] * 1e6:.0f} µs" for row in compared]
    axes.set_yticks(range(len(compared)), names, fontsize=8)
    for n in others:
        axes.axvline(n / base, color=_LIMIT, linewidth=0.8, linestyle="--")
    axes.set_xlim(left=0)
    axes.set_xlabel(
        f"times faster with {', '.join(map(str, others))} threads than with {_count(base)} "
        "(hollow: bound by memory)"
    )
    axes.grid(axis="x", alpha=0.3)
    return figure


def _logarithmic(axes, ticks: list[float]) -> None:
    """Makes the x axis logarithmic, with these ticks as plain numbers."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _count(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"
