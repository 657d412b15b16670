# SPDX-License-Identifier: BSD-3-Clause
"""A result as markdown."""

from benchmarks import targets
from benchmarks.peers import DWCONV, PEERS
from benchmarks.results import Row, geometric_mean, ratio, rows
from benchmarks.roofline import copy_bandwidth

# Working sets whose copy bandwidth is shown: name, bytes, and whether every thread has one.
_LEVELS = (
    ("copy 16 KiB/thread", 16 << 10, True),
    ("256 KiB/thread", 256 << 10, True),
    ("12 MiB", 12 << 20, False),
    ("256 MiB", 256 << 20, False),
)
_GROUPS = ("public", "streaming")  # the scaling series are plotted only

_LEGEND = """\
B batch, T steps, C channels, K taps, M depth multiplier, s stride, d dilation, CL channels_last,
CF channels_first. *limit*: the shortest possible time of the direct form on this machine, from its
FMA peak or its copy bandwidth at the size of all arrays. *fraction*: the share of it that dwconv
reaches; FFT forms may pass 1. † with an activation, which the limit does not count as work.
*speed-up*: time of the best peer over time of dwconv, median of the ratios within rounds; *at the
limit*: what it would be if dwconv took no longer than the limit. `*` the peer returned a strided
view instead of a contiguous array in the layout of the case."""

_SINGLE = """\
With a single round every figure is one chunk of calls after a few to warm up, on a machine that may
do other things meanwhile: enough to see that results are right, not to compare libraries."""


def render(result: dict) -> str:
    """Machine, limits, targets, and one table of cases and one of peers for each thread count."""
    table = [row for row in rows(result) if row.case.group in _GROUPS and row.best]
    parts = [_head(result), *([_SINGLE] if result["rounds"] == 1 else []), *_limits(result)]
    parts += _targets(result)
    if table:
        parts.append(_LEGEND)
    for threads in sorted({row.threads for row in table}):
        of_threads = [row for row in table if row.threads == threads]
        parts += [f"## {_count(threads)}", _cases(of_threads)]
        if any(row.best_peer for row in of_threads):
            parts += [
                f"### {_count(threads)}: best variant of each peer, time over that of dwconv",
                _peers(of_threads),
            ]
    parts += _threads(table)
    parts += _probes(result)
    parts += _remarks(result)
    return "\n\n".join(parts) + "\n"


def _head(result: dict) -> str:
    m = result["machine"]
    versions = [
        f"{name} {version}"
        for peer in result["peers"].values()
        for name, version in peer.items()
    ]
    return (
        f"# Benchmarks, {m['date']}\n\n{m['cpu']}, {m['cores']} cores; {m['system']}; "
        f"Python {m['python']}. Libraries: {', '.join(dict.fromkeys(versions))}. "
        f"Medians of {result['rounds']} rounds; every result was first compared with float64."
    )


def _limits(result: dict) -> list[str]:
    if not result["limits"]:
        return ["The limits of the machine were not measured: no C compiler."]
    lines = [["threads", "float32 Gflop/s", "float64 Gflop/s", *(n for n, _, _ in _LEVELS)]]
    for threads, limit in result["limits"].items():
        copies = [
            copy_bandwidth(limit["copy"], size * (int(threads) if private else 1))
            for _, size, private in _LEVELS
        ]
        rates = [f"{limit['fma'][dtype]:.0f}" for dtype in ("float32", "float64")]
        lines.append([threads, *rates, *(f"{rate:.0f} GB/s" for rate in copies)])
    return ["## Limits of the machine", _grid(lines)]


def _targets(result: dict) -> list[str]:
    found = targets.lines(result)
    if not found:
        return []
    grid = [["target", "asked", "threads", "measured", "met"]]
    for line in found:
        met = "" if line.met is None else "yes" if line.met else "**no**"
        grid.append([line.target, line.asked, str(line.threads), line.measured, met])
    met = [line.met for line in found if line.met is not None]
    return ["## Targets", f"{sum(met)} of {len(met)} met.", _grid(grid)]


def _cases(table: list[Row]) -> str:
    head = "case, shape, limit, dwconv, Gflop/s, fraction, best peer, its time, speed-up, at the limit"
    lines = [head.split(", ")]
    for row in table:
        own, peer, speedup = row.dwconv, row.best_peer, row.speedup
        fraction, at_limit = row.fraction(own), row.speedup_at_limit
        lines.append(
            [
                row.case.name,
                row.case.shape_text,
                f"{_time(row.bound.seconds)} {row.bound.limit}" if row.bound else "",
                f"{_time(own.median)} {own.variant}" if own else "",
                f"{row.gflops(own):.0f}" if own else "",
                f"{fraction:.2f}{' †' if row.fused else ''}" if fraction else "",
                peer.label if peer else "",
                _time(peer.median) if peer else "",
                f"**{speedup:.2f}**" if speedup else "",
                _factor(at_limit) if at_limit else "",
            ]
        )
    return _grid(lines)


def _peers(table: list[Row]) -> str:
    """Without dwconv, times are over that of the fastest peer."""
    names = [name for name in PEERS if name != DWCONV and any(name in row.best for row in table)]
    columns: dict[str, list[float]] = {name: [] for name in names}
    lines = [["case", *names]]
    for row in table:
        base = row.dwconv or row.best_peer
        cells = []
        for name in names:
            if name in row.best:
                columns[name].append(ratio(row.best[name], base))
                cells.append(_factor(columns[name][-1]))
            else:
                cells.append("")
        lines.append([row.case.name, *cells])
    means = [_factor(geometric_mean(values)) if values else "" for values in columns.values()]
    lines.append(["*geometric mean*", *means])
    return _grid(lines)


def _threads(table: list[Row]) -> list[str]:
    """How much faster dwconv gets with more threads."""
    times = {(row.case.name, row.threads): row.dwconv.median for row in table if row.dwconv}
    counts = sorted({threads for _, threads in times})
    if len(counts) < 2:
        return []
    lines = [["case", "bound", *(f"{n} threads" for n in counts[1:])]]
    for row in table:
        single = times.get((row.case.name, counts[0]))
        if row.threads == counts[0] and single is not None:
            others = [times.get((row.case.name, n)) for n in counts[1:]]
            cells = [f"{single / other:.2f}" if other else "" for other in others]
            lines.append([row.case.name, row.bound.limit if row.bound else "", *cells])
    return [f"## dwconv: speed-up over {_count(counts[0])}", _grid(lines)]


def _probes(result: dict) -> list[str]:
    """What bounds kernels that stay below the limit."""
    entries = result.get("details", {}).get("probes", [])
    if isinstance(entries, dict) or not entries:
        return []
    lines = [f"{n}. {e['shows']}\n   **{e['result']}**" for n, e in enumerate(entries, 1)]
    return ["## What bounds a kernel (`python -m benchmarks.probes`)", "\n".join(lines)]


def _remarks(result: dict) -> list[str]:
    """What is missing, and why; equal reasons together."""
    notes: dict[str, list[str]] = {}
    for peer, reason in result["absent"].items():
        notes.setdefault(f"{peer}, not measured: {reason}", [])
    probes = result.get("details", {}).get("probes")
    if isinstance(probes, dict):
        notes[f"probes, not measured: {probes['failed']}"] = []
    for record in result["measurements"]:
        for what, entries in (("left out", record["left_out"]), ("failed", record["failed"])):
            for entry in entries:
                name = ":".join(filter(None, [entry["peer"], entry.get("variant")]))
                reason = " ".join(entry["reason"].split())[:120].replace("|", "/")
                cases = notes.setdefault(f"{name}, {what}: {reason}", [])
                if record["case"]["name"] not in cases:
                    cases.append(record["case"]["name"])
    lines = [f"- {note}{' (' + ', '.join(c) + ')' if c else ''}" for note, c in notes.items()]
    return ["## What is missing", "\n".join(lines)] if lines else []


def _grid(lines: list[list[str]]) -> str:
    head, *body = ["| " + " | ".join(cells) + " |" for cells in lines]
    return "\n".join([head, "|---" * len(lines[0]) + "|", *body])


def _count(threads: int) -> str:
    return f"{threads} thread{'s' if threads > 1 else ''}"


def _time(seconds: float) -> str:
    for factor, unit in ((1e6, "µs"), (1e3, "ms")):
        if seconds * factor < 999.5:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def _factor(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"
