# SPDX-License-Identifier: BSD-3-Clause
"""What a stream costs: a step beyond its kernel, and chunks beside one call.

    python -m benchmarks.streaming

The kernel of a step is timed by a loop in C around the same compiled function. One thread, float32.
``python -m benchmarks --cases streaming`` measures steps beside other libraries.
"""

import argparse
import ctypes
import os
import statistics
import sys
from collections.abc import Callable

import numpy as np

from benchmarks import native
from benchmarks.overhead import c_function, repeated
from benchmarks.python_path import prefer_installed

STEPS = ((1536, 4), (2048, 4), (4096, 4), (8192, 4))  # channels, taps; silu
CHUNKS = ((512, 31, 16), (512, 31, 64), (256, 7, 16), (64, 31, 160))  # channels, taps, steps
_SECONDS = 0.005  # of a chunk of calls
_WHOLE = 1500  # steps of the one call that chunks are compared with


def main() -> int:
    """Prints two tables and returns an exit status."""
    parser = argparse.ArgumentParser("python -m benchmarks.streaming", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--dwconv", default=os.environ.get("DWCONV_BENCH_DWCONV", ""))
    options = parser.parse_args()
    prefer_installed(options.dwconv)
    print("| step | kernel | step, out= | above it | step |\n|---|---|---|---|---|")
    try:
        for channels, taps in STEPS:
            t = measure_step(channels, taps, options.rounds)
            values = t["kernel"], t["out="], t["out="] - t["kernel"], t["step"]
            cells = [f"C{channels} K{taps} silu", *(f"{1e6 * value:.2f} µs" for value in values)]
            print("| " + " | ".join(cells) + " |")
    except native.NoCompiler as error:
        print(f"the kernel cannot be timed: {error}", file=sys.stderr)
        return 1
    print("\n| chunks | one call | chunks | throughput |\n|---|---|---|---|")
    for channels, taps, steps in CHUNKS:
        t = measure_chunks(channels, taps, steps, options.rounds)
        print(f"| C{channels} K{taps}, {steps} steps | {1e9 * t['one call']:.0f} ns/step "
              f"| {1e9 * t['chunks']:.0f} ns/step | {t['throughput']:.2f} of one call |")
    return 0


def measure_step(channels: int, taps: int, rounds: int) -> dict[str, float]:
    """Median seconds of a step in C, of `step` with ``out=``, and of `step`, measured in turns."""
    import dwconv

    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((taps, channels, 1), np.float32)
    frame, bias = rng.standard_normal((2, 1, channels), np.float32)
    y = np.empty((1, channels), np.float32)
    stream = dwconv.DepthwiseConv1DStream(kernel, bias[0], padding="causal", activation="silu")
    ways = {
        "kernel": _bare_step(channels, taps, frame, kernel, bias, y),
        "out=": repeated(lambda: stream.step(frame, y)),
        "step": repeated(lambda: stream.step(frame)),
    }
    times = _in_turns(ways, rounds)
    return {name: statistics.median(values) for name, values in times.items()}


def measure_chunks(channels: int, taps: int, steps: int, rounds: int) -> dict[str, float]:
    """Median seconds per output step of one long call and of chunks, and the median of their ratios."""
    import dwconv

    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((taps, channels, 1), np.float32)
    bias = rng.standard_normal(channels, np.float32)
    x = rng.standard_normal((1, _WHOLE, channels), np.float32)
    chunk, y = x[:, :steps].copy(), np.empty_like(x)
    options = dict(padding="causal")
    stream = dwconv.DepthwiseConv1DStream(kernel, bias, **options)
    one_call = repeated(lambda: dwconv.depthwise_conv1d(x, kernel, bias, out=y, method="direct", **options))
    push = repeated(lambda: stream.push(chunk))
    with dwconv.num_threads(1):
        times = _in_turns(
            {"one call": lambda n: one_call(n) / _WHOLE, "chunks": lambda n: push(n) / steps}, rounds,
            {"one call": _WHOLE, "chunks": steps},
        )  # fmt: skip
    ratios = [a / b for a, b in zip(times["one call"], times["chunks"], strict=True)]
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {**medians, "throughput": statistics.median(ratios)}


def _in_turns(ways, rounds: int, units: dict[str, int] | None = None) -> dict[str, list[float]]:
    """Times of every way in every round; `units` of a way make up one call."""
    calls = {}
    for name, way in ways.items():
        once = min(way(5) for _ in range(9)) * (units[name] if units else 1)
        calls[name] = max(1, int(_SECONDS / once))
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(way(calls[name]))
    return times


def _bare_step(channels: int, taps: int, *arrays: np.ndarray) -> Callable[[int], float]:
    import dwconv
    from dwconv import _core

    library = native.load("bare_stream.c", include=dwconv.get_include())
    library.bare_stream.restype = ctypes.c_double
    library.bare_stream.argtypes = [
        *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 2, *[ctypes.c_void_p] * 4, ctypes.c_long,
    ]  # fmt: skip
    names = ("stream_init", "stream_state_size", "stream_reset", "stream_step")
    functions = [c_function(_core, name) for name in names]
    addresses = [array.ctypes.data for array in arrays]

    def run(calls):
        seconds = library.bare_stream(*functions, channels, taps, *addresses, calls)
        if seconds < 0:
            raise RuntimeError(f"the core refuses a stream of C{channels} K{taps}")
        return seconds

    return run


if __name__ == "__main__":
    sys.exit(main())
