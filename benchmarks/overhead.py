# SPDX-License-Identifier: BSD-3-Clause
"""What a call costs beyond its kernel, for calls as small as one decoding step.

    python -m benchmarks.overhead

The kernel is timed by a loop in C around the same compiled function. One thread, float32.
"""

import argparse
import ctypes
import os
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks import native
from benchmarks.python_path import prefer_installed

# Steps, channels, taps: decoding steps of Mamba 130m and 2.8b, a sensor frame, a short window.
SHAPES = ((4, 1536, 4), (4, 5120, 4), (8, 8, 3), (64, 64, 9))
_CHUNK = 0.005  # seconds


def main() -> int:
    """Prints a table and returns an exit status; "above it" is what the kernel does not explain."""
    parser = argparse.ArgumentParser("python -m benchmarks.overhead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--dwconv", default=os.environ.get("DWCONV_BENCH_DWCONV", ""))
    options = parser.parse_args()
    prefer_installed(options.dwconv)
    print("| shape | kernel | function, out= | above it | function | layer | above it |")
    print("|---|---|---|---|---|---|---|")
    try:
        for shape in SHAPES:
            print(_line(shape, measure(shape, options.rounds)))
    except native.NoCompiler as error:
        print(f"the kernel cannot be timed: {error}", file=sys.stderr)
        return 1
    return 0


def measure(shape: tuple[int, int, int], rounds: int) -> dict[str, float]:
    """Median seconds of a bare kernel and of the calls around it, measured in turns.

    Parameters
    ----------
    shape : tuple of int
        Input steps, channels and taps; nothing is padded.

    Returns
    -------
    dict
        Keys ``"kernel"``, ``"out="``, ``"function"`` and ``"layer"``.
    """
    import dwconv

    steps, channels, taps = shape
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, steps, channels), np.float32)
    kernel = rng.standard_normal((taps, channels, 1), np.float32)
    bias = rng.standard_normal(channels, np.float32)
    y = np.empty((1, steps - taps + 1, channels), np.float32)
    layer = dwconv.DepthwiseConv1D(taps)
    layer.build(x.shape)
    layer.set_weights([kernel, bias])
    ways = {
        "kernel": _bare_kernel(shape, x, kernel, bias, y),
        "out=": repeated(lambda: dwconv.depthwise_conv1d(x, kernel, bias, out=y)),
        "function": repeated(lambda: dwconv.depthwise_conv1d(x, kernel, bias)),
        "layer": repeated(lambda: layer(x)),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    with dwconv.num_threads(1):
        calls = {name: max(1, int(_CHUNK / way(20))) for name, way in ways.items()}
        for _ in range(rounds):
            for name, way in ways.items():
                times[name].append(way(calls[name]))
    return {name: statistics.median(values) for name, values in times.items()}


def repeated(call: Callable[[], object]) -> Callable[[int], float]:
    """Seconds per call of so many calls."""

    def run(calls):
        repeats = range(calls)
        start = time.perf_counter()
        for _ in repeats:
            call()
        return (time.perf_counter() - start) / calls

    return run


def _bare_kernel(shape, x, kernel, bias, y) -> Callable[[int], float]:
    import dwconv
    from dwconv import _core

    library = native.load("bare_kernel.c", include=dwconv.get_include())
    library.bare_kernel.restype = ctypes.c_double
    library.bare_kernel.argtypes = [
        *[ctypes.c_void_p] * 3,
        *[ctypes.c_int64] * 3,
        *[ctypes.c_void_p] * 4,
        ctypes.c_long,
    ]
    functions = [c_function(_core, name) for name in ("plan_init", "workspace_size", "forward")]
    addresses = [array.ctypes.data for array in (x, kernel, bias, y)]

    def run(calls):
        seconds = library.bare_kernel(*functions, *shape, *addresses, calls)
        if seconds < 0:
            raise RuntimeError(f"the core refuses the shape {shape}")
        return seconds

    return run


def c_function(module, name: str) -> int:
    """Address of a function that a Cython module exports to others."""
    capsule = module.__pyx_capi__[name]
    api = ctypes.PyDLL(None)  # a copy of ctypes.pythonapi, whose prototypes are everybody's
    api.PyCapsule_GetName.restype = ctypes.c_char_p
    api.PyCapsule_GetName.argtypes = [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    return api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))


def _line(shape: tuple[int, int, int], seconds: dict[str, float]) -> str:
    kernel, out, layer = seconds["kernel"], seconds["out="], seconds["layer"]
    values = kernel, out, out - kernel, seconds["function"], layer, layer - kernel
    cells = ["T{} C{} K{}".format(*shape), *(f"{1e6 * value:.2f} µs" for value in values)]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
