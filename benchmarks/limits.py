# SPDX-License-Identifier: BSD-3-Clause
"""Measures the machine: peak rate of fused multiply-adds, and copy bandwidth by working set.

A limit is the best of many short rounds, on all the threads asked for at the same time.
"""

import ctypes
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks import native

_KIB, _MIB, _PAGE = 1 << 10, 1 << 20, 1 << 12
WORKING_SETS = [
    *(n * _KIB for n in (8, 16, 24, 32, 48, 64, 96, 128, 256, 512, 768)),
    *(n * _MIB for n in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128, 256)),
]
_ROUNDS = 10
_ROUND_SECONDS = 3e-3  # long against the time that threads need to start together
_STREAMING_FROM = 4 * _MIB  # smaller copies are never faster past the caches


class Machine:
    """Runs the loops of limits.c.

    Raises
    ------
    benchmarks.native.NoCompiler
    """

    def __init__(self) -> None:
        self._library = native.load("limits.c")
        seconds = ctypes.POINTER(ctypes.c_double)
        for name in ("fma_float32", "fma_float64"):
            function = getattr(self._library, name)
            function.restype = ctypes.c_double
            function.argtypes = [ctypes.c_long, seconds, seconds]
        self._library.copy.restype = ctypes.c_double
        self._library.copy.argtypes = [
            *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long, ctypes.c_int),
            *(seconds, seconds),
        ]
        self.vector_bytes = self._library.vector_bytes()

    def measure(self, threads: int) -> dict:
        """Limits of that many threads together.

        Returns
        -------
        dict
            ``"fma"``: Gflop/s by dtype. ``"copy"``: list of [bytes, GB/s]; a working set is what is
            read and what is written together, and so is the bandwidth.
        """
        fma = {dtype: self.measure_fma(dtype, threads) for dtype in ("float32", "float64")}
        with ThreadPoolExecutor(threads) as pool:
            copy = [[int(n), self._copy_rate(pool, threads, int(n))] for n in WORKING_SETS]
        return {"fma": fma, "copy": copy}

    def measure_fma(self, dtype: str, threads: int = 1) -> float:
        """Peak Gflop/s of that many threads together."""
        function = getattr(self._library, f"fma_{dtype}")
        with ThreadPoolExecutor(threads) as pool:
            return self._best_rate(
                pool, threads, lambda worker, repeats, start, end: function(repeats, start, end)
            )

    def _copy_rate(self, pool, threads: int, working_set: int) -> float:
        step = 8 * self.vector_bytes
        size = max(working_set // (2 * threads) // step, 1) * step
        memory = [np.ones(2 * size + 3 * _PAGE, np.uint8) for _ in range(threads)]
        addresses = [_target_and_source(array.ctypes.data, size) for array in memory]

        def run(streaming):
            return lambda worker, repeats, start, end: self._library.copy(
                *addresses[worker], size, repeats, streaming, start, end
            )

        ways = [run(0)] + ([run(1)] if working_set >= _STREAMING_FROM else [])
        return max(self._best_rate(pool, threads, way) for way in ways)

    @staticmethod
    def _best_rate(pool, threads: int, function) -> float:
        """Best total of what `function` returns for its work, in 1e9 per second."""
        barrier = threading.Barrier(threads)

        def one(worker, repeats):
            start, end = ctypes.c_double(), ctypes.c_double()
            barrier.wait()
            work = function(worker, repeats, ctypes.byref(start), ctypes.byref(end))
            return work, start.value, end.value

        def together(repeats):
            tasks = [pool.submit(one, worker, repeats) for worker in range(threads)]
            works, starts, ends = zip(*(task.result() for task in tasks), strict=True)
            return sum(works), max(ends) - min(starts)

        repeats, seconds = 1, 0.0
        while seconds < _ROUND_SECONDS / 2:
            repeats *= 2
            _, seconds = together(repeats)
        rounds = (together(repeats) for _ in range(_ROUNDS))
        return max(work / seconds for work, seconds in rounds) / 1e9


def _target_and_source(address: int, size: int) -> tuple[int, int]:
    """Addresses of two blocks of `size` bytes that do not start at the same offset of a page.

    A load that follows a store to the same page offset waits for it on many CPUs.
    """
    target = address + -address % _PAGE
    after = target + size
    return target, after + -after % _PAGE + 512


def merge(limits: dict | None, again: dict) -> dict:
    """The better of two measurements of the same number of threads, point by point."""
    if limits is None:
        return again
    return {
        "fma": {dtype: max(rate, again["fma"][dtype]) for dtype, rate in limits["fma"].items()},
        "copy": [
            [size, max(rate, other)]
            for (size, rate), (_, other) in zip(limits["copy"], again["copy"], strict=True)
        ],
    }
