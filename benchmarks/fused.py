# SPDX-License-Identifier: BSD-3-Clause
"""What a fused SiLU adds to a short kernel whose arrays stay in the second-level cache.

    python -m benchmarks.fused

Four taps, one thread, ``out=``; the calls with and without are timed in turns.
"""

import argparse
import os
import statistics
import sys

import numpy as np

from benchmarks.overhead import repeated
from benchmarks.python_path import prefer_installed

_TAPS = 4
# Steps and channels: 32 KiB, 128 KiB and 512 KiB of input and output in float32.
_SIZES = ((64, 64), (128, 128), (256, 256))
_CHUNK = 0.003  # seconds


def main() -> int:
    """Prints a table and returns an exit status."""
    parser = argparse.ArgumentParser("python -m benchmarks.fused", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--dwconv", default=os.environ.get("DWCONV_BENCH_DWCONV", ""))
    options = parser.parse_args()
    prefer_installed(options.dwconv)
    print("| K 4 | linear | silu | cost |\n|---|---|---|---|")
    for entry in measure(options.rounds):
        times = f"{1e6 * entry['linear']:.2f} µs | {1e6 * entry['silu']:.2f} µs"
        print(f"| {entry['shape']} | {times} | {100 * entry['cost']:.0f} % |")
    return 0


def measure(rounds: int) -> list[dict]:
    """For each size, layout and dtype: median seconds, and median of the costs within rounds."""
    return [
        _measure(steps, channels, layout, dtype, rounds)
        for dtype in ("float32", "float64")
        for layout in ("channels_last", "channels_first")
        for steps, channels in _SIZES
    ]


def _measure(steps: int, channels: int, layout: str, dtype: str, rounds: int) -> dict:
    import dwconv

    rng = np.random.default_rng(0)
    shape = (1, steps, channels) if layout == "channels_last" else (1, channels, steps)
    x = rng.standard_normal(shape).astype(dtype)
    kernel = rng.standard_normal((_TAPS, channels, 1)).astype(dtype)
    bias = rng.standard_normal(channels).astype(dtype)
    y = np.empty_like(x)

    def way(activation):
        return repeated(
            lambda: dwconv.depthwise_conv1d(
                x, kernel, bias, padding="causal", data_format=layout, activation=activation, out=y
            )
        )

    ways = {"linear": way(None), "silu": way("silu")}
    times: dict[str, list[float]] = {name: [] for name in ways}
    with dwconv.num_threads(1):
        calls = {name: max(1, int(_CHUNK / run(20))) for name, run in ways.items()}
        for _ in range(rounds):
            for name, run in ways.items():
                times[name].append(run(calls[name]))
    costs = [silu / linear - 1 for linear, silu in zip(times["linear"], times["silu"], strict=True)]
    text = f"T{steps} C{channels} {'CL' if layout == 'channels_last' else 'CF'} {dtype}"
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {"shape": text, **medians, "cost": statistics.median(costs)}


if __name__ == "__main__":
    sys.exit(main())
