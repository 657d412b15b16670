# SPDX-License-Identifier: BSD-3-Clause
"""The memory that a call of ``depthwise_conv1d(..., out=y)`` needs beside its arrays.

    python -m benchmarks.memory

Two parts, both exact: the workspace that the core asks for, and the peak of what Python and NumPy
allocate, which `tracemalloc` follows. The direct method on all public forward cases.
"""

import argparse
import ctypes
import os
import sys
import tracemalloc

import numpy as np

from benchmarks import native
from benchmarks.cases import Case
from benchmarks.machine import usable_cpus
from benchmarks.overhead import c_function
from benchmarks.public_cases import PUBLIC_CASES
from benchmarks.python_path import prefer_installed

_LARGEST = 10**8  # multiply-adds of a call that is made to follow what Python allocates


def main() -> int:
    """Prints a table and returns an exit status."""
    parser = argparse.ArgumentParser("python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--dwconv", default=os.environ.get("DWCONV_BENCH_DWCONV", ""))
    options = parser.parse_args()
    prefer_installed(options.dwconv)
    print("| case | threads | workspace per thread | Python |\n|---|---|---|---|")
    try:
        for entry in measure(PUBLIC_CASES, sorted({1, len(usable_cpus())})):
            print("| " + " | ".join(map(str, entry.values())) + " |")
    except native.NoCompiler as error:
        print(f"the core cannot be asked: {error}", file=sys.stderr)
        return 1
    return 0


def measure(cases: list[Case], thread_counts: list[int]) -> list[dict]:
    """Bytes of each forward case: workspace per thread, and the peak of Python's allocations."""
    workspace_of = _workspace_function()
    return [
        {
            "case": case.name,
            "threads": threads,
            "workspace_per_thread": -(-workspace_of(case, threads) // threads),
            "python": python,
        }
        for case in cases
        if not case.training
        for python in [_python_peak(case) if case.multiply_adds < _LARGEST else 0]
        for threads in thread_counts
    ]


def _workspace_function():
    import dwconv
    from dwconv import _core

    library = native.load("workspace.c", include=dwconv.get_include())
    library.workspace_of.restype = ctypes.c_int64
    library.workspace_of.argtypes = [
        *[ctypes.c_void_p] * 2,
        ctypes.POINTER(ctypes.c_int64),
        *[ctypes.c_int] * 3,
    ]
    functions = [c_function(_core, name) for name in ("plan_init", "workspace_size")]

    def workspace_of(case, threads):
        sizes = (ctypes.c_int64 * 9)(
            *(case.batch, case.steps, case.channels, case.depth_multiplier, case.kernel_size),
            *(case.strides, case.dilation_rate, case.pads[0], case.out_steps),
        )
        kind = not case.channels_last, case.dtype == "float64"
        return library.workspace_of(*functions, sizes, *kind, threads)

    return workspace_of


def _python_peak(case: Case) -> int:
    import dwconv

    x = np.zeros(case.input_shape, case.dtype)
    kernel = np.zeros((case.kernel_size, case.channels, case.depth_multiplier), case.dtype)
    y = np.empty(case.output_shape, case.dtype)
    options = {
        "strides": case.strides,
        "padding": case.padding,
        "dilation_rate": case.dilation_rate,
        "data_format": case.data_format,
        "activation": case.activation,
        "method": "direct",
    }
    dwconv.depthwise_conv1d(x, kernel, out=y, **options)  # what is made once is not counted
    tracemalloc.start()
    try:
        dwconv.depthwise_conv1d(x, kernel, out=y, **options)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    sys.exit(main())
