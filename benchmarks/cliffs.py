# SPDX-License-Identifier: BSD-3-Clause
"""Looks for cliffs: sizes that cost far more per multiply-add than their neighbours do.

    python -m benchmarks.cliffs

Two sizes are neighbours if they differ by one in K, C, M, stride or dilation and in nothing else.
Pairs count where both are bound by multiply-adds, not by memory. One thread.
"""

import argparse
import os
import sys
import time
from itertools import pairwise, product

import numpy as np

from benchmarks import data, limits, native
from benchmarks.cases import Case
from benchmarks.progress import Progress
from benchmarks.python_path import prefer_installed
from benchmarks.roofline import bound

_MULTIPLY_ADDS = 500_000  # per call: well above the cost of the call
_CHUNK = 0.002  # seconds
_SUSPICIOUS = 1.5  # pairs with a larger ratio are timed again, for longer


def _around(*centres: int) -> list[int]:
    return [size for centre in centres for size in (centre - 1, centre, centre + 1)]


# A field of Case, its values in ascending order, and the other fields.
_SERIES = (
    ("kernel_size", [*range(8, 42), *_around(48, 64, 96, 128)], {"channels": 64}),
    ("kernel_size", [*range(8, 34), *_around(64)], {"channels": 12}),
    ("channels", [*range(1, 38), *_around(48, 64, 96, 128, 256)], {"kernel_size": 31}),
    ("depth_multiplier", [*range(1, 10), *_around(16)], {"channels": 16, "kernel_size": 31}),
    ("depth_multiplier", [*range(1, 10), *_around(16)], {"channels": 3, "kernel_size": 31}),
    ("strides", [*range(1, 8)], {"channels": 64, "kernel_size": 31}),
    ("strides", [*range(1, 8)], {"channels": 3, "kernel_size": 31}),
    ("dilation_rate", [*range(1, 10), *_around(16, 32)], {"channels": 64, "kernel_size": 31}),
    ("dilation_rate", [*range(1, 10), *_around(16, 32)], {"channels": 3, "kernel_size": 31}),
)
_SHORT = {
    "kernel_size": "K",
    "channels": "C",
    "depth_multiplier": "M",
    "strides": "s",
    "dilation_rate": "d",
}


def main() -> int:
    """Prints the largest ratios and returns an exit status."""
    parser = argparse.ArgumentParser("python -m benchmarks.cliffs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--top", type=int, default=20, help="pairs to print")
    parser.add_argument("--dwconv", default=os.environ.get("DWCONV_BENCH_DWCONV", ""))
    options = parser.parse_args()
    prefer_installed(options.dwconv)
    try:
        machine = limits.Machine().measure(1)
    except native.NoCompiler as error:
        print(f"cannot tell what bounds a case: {error}", file=sys.stderr)
        return 1
    pairs = find(machine, all_series(), options.rounds)
    print("| ratio | per multiply-add | of | than |\n|---|---|---|---|")
    for ratio, slow, fast, seconds in pairs[: options.top]:
        picoseconds = f"{1e12 * seconds:.1f} ps"
        print(f"| {ratio:.2f} | {picoseconds} | {slow.shape_text} | {change(slow, fast)} |")
    return 0


def all_series() -> list[list[Case]]:
    """Lists of cases in which neighbours follow each other."""
    kinds = product(("channels_last", "channels_first"), ("float32", "float64"))
    return [
        [make_case(data_format, dtype, **fixed, **{field: value}) for value in values]
        for data_format, dtype in kinds
        for field, values, fixed in _SERIES
    ]


def make_case(data_format: str, dtype: str, **sizes: int) -> Case:
    """A case of about the usual number of multiply-adds."""
    size = {"strides": 1, "dilation_rate": 1, "depth_multiplier": 1, **sizes}
    per_step = size["channels"] * size["depth_multiplier"] * size["kernel_size"]
    out_steps = max(1, _MULTIPLY_ADDS // per_step)
    reach = (size["kernel_size"] - 1) * size["dilation_rate"] + 1
    return Case(
        name="cliff",
        batch=1,
        steps=(out_steps - 1) * size["strides"] + reach,
        padding="valid",
        data_format=data_format,
        dtype=dtype,
        use_bias=False,
        **size,
    )


def find(machine: dict, series: list[list[Case]], rounds: int) -> list[tuple]:
    """All pairs of neighbours that are bound by multiply-adds, largest ratio first.

    Returns
    -------
    list of (ratio, slower case, faster case, seconds per multiply-add of the slower one)
        From the shortest time of each: among hundreds of pairs, medians would pick out noise.
    """
    pairs = []
    with Progress(len(series)) as progress:
        for cases in series:
            progress.step(cases[0].shape_text)
            times = _times(cases, rounds)
            for i, (first, second) in enumerate(pairwise(cases)):
                if not _neighbours(first, second):
                    continue
                if any(bound(machine, case).limit != "fma" for case in (first, second)):
                    continue
                (less, fast), (more, slow) = sorted(
                    ((times[i], first), (times[i + 1], second)), key=lambda pair: pair[0]
                )
                if more > _SUSPICIOUS * less:
                    again = _times([slow, fast], 3 * rounds)
                    more, less = min(more, again[0]), min(less, again[1])
                pairs.append((more / less, slow, fast, more))
    return sorted(pairs, key=lambda pair: -pair[0])


def _times(cases: list[Case], rounds: int) -> list[float]:
    """Least seconds per multiply-add of each case; neighbours are timed one after the other."""
    calls = [_call(case) for case in cases]
    repeats = [max(1, int(_CHUNK / _seconds(call, 3))) for call in calls]
    least = [float("inf")] * len(cases)
    for _ in range(rounds):
        for i, case in enumerate(cases):
            least[i] = min(least[i], _seconds(calls[i], repeats[i]) / case.multiply_adds)
    return least


def _call(case: Case):
    import dwconv

    arrays = data.make_arrays(case, seed=0)
    x, kernel = data.aligned_copy(arrays.x), data.aligned_copy(arrays.kernel)
    y = data.aligned_copy(np.zeros(case.output_shape, case.dtype))
    return lambda: dwconv.depthwise_conv1d(
        x,
        kernel,
        strides=case.strides,
        dilation_rate=case.dilation_rate,
        data_format=case.data_format,
        out=y,
        num_threads=1,
    )


def _seconds(call, repeats: int) -> float:
    call()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def _changed(first: Case, second: Case) -> list[str]:
    return [field for field in _SHORT if getattr(first, field) != getattr(second, field)]


def _neighbours(first: Case, second: Case) -> bool:
    (field,) = _changed(first, second)
    return getattr(second, field) - getattr(first, field) == 1


def change(slow: Case, fast: Case) -> str:
    """The size in which a case differs from another, as the other has it."""
    (field,) = _changed(slow, fast)
    return f"{_SHORT[field]} {getattr(fast, field)}"


if __name__ == "__main__":
    sys.exit(main())
