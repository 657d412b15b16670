# SPDX-License-Identifier: BSD-3-Clause
"""The probes: each returns one line of results, its docstring is the sentence above it."""

import ctypes
import functools
from collections.abc import Callable

import numpy as np

from benchmarks import limits, native, overhead
from benchmarks.data import aligned_copy
from benchmarks.public_cases import PUBLIC_CASES
from benchmarks.roofline import bound

_ROUNDS = 15
_ROUND_SECONDS = 3e-3


def interleaved_rows() -> str:
    """Copying 8 rows of 2 KB side by side, as a kernel that makes 8 rows at once touches them, is
    slower than copying the same bytes in order: prefetchers follow lines, not columns."""
    function = _function("rows.c", "copy_rows")
    parts = []
    for name, size in (("L2", 1 << 18), ("L3", 6 << 20), ("memory", 128 << 20)):
        x, y = _floats(size // 4), _floats(size // 4)
        rates = [
            2 * size / _seconds(function, y, x, _size(size // 2048), _size(2048), way) / 1e9
            for way in (1, 0)
        ]
        parts.append("{}: {:.0f} interleaved, {:.0f} linear".format(name, *rates))
    return "; ".join(parts) + " GB/s"


def distant_rows() -> str:
    """A column of 40 vectors is read again and again, two multiply-adds for each load: rows 2 KB
    apart share 2 sets of a 32 KB first-level cache (16 lines), rows 4 KB apart one (8 lines)."""
    function = _function("rows.c", "sum_column")
    rows, parts = 40, []
    for name, distance in (("side by side", 64), ("2 KB apart", 2048), ("4 KB apart", 4096)):
        seconds = _seconds(function, _floats(rows * distance // 4), _size(rows), _size(distance))
        flops = 4 * rows * _vector_bytes() / 4
        parts.append(f"{name} {flops / seconds / 1e9:.0f}")
    return ", ".join(parts) + " Gflop/s"


def transposed_tiles() -> str:
    """channels_first arrays are transposed in registers, in squares as wide as a vector, into a
    buffer in the first-level cache: what that costs beside copying them there."""
    function = _function("rows.c", "pack_tiles")
    rows, length, buffer = 64, 1024, 16 << 10
    x, y = _floats(rows * length), _floats(buffer // 4)
    sizes = _size(rows), _size(4 * length)
    rates = [
        2 * x.nbytes / _seconds(function, y, _size(buffer), x, *sizes, way) / 1e9 for way in (1, 0)
    ]
    return "{:.0f} GB/s transposed, {:.0f} GB/s copied, from the second-level cache".format(*rates)


def loaded_operands() -> str:
    """Where each multiply-add needs a load of its own, an unaligned one (which straddles two lines)
    halves the rate; only operands that stay in registers run at the peak."""
    function = _function("arithmetic.c", "multiply_add")
    vectors = 96
    x = _floats(vectors * 16 + 16)
    flops = 2 * vectors * _vector_bytes() / 4
    rates = [
        flops / _seconds(function, ctypes.c_void_p(x.ctypes.data + shift), _size(vectors), loads)
        for loads, shift in ((0, 0), (1, 0), (1, 4))
    ]
    texts = [f"{rate / 1e9:.0f}" for rate in rates]
    return "registers {}, aligned loads {}, unaligned loads {} Gflop/s".format(*texts)


def small_calls() -> str:
    """A call of the core costs something before its first multiply-add, and Python some more: the
    largest fraction of the limit that a case could reach if its kernel ran exactly at the limit."""
    machine = limits.Machine().measure(1)
    times = overhead.measure((1, 1, 1), _ROUNDS)
    parts = [f"core {1e6 * times['kernel']:.2f} µs, with Python {1e6 * times['out=']:.2f} µs"]
    for case in PUBLIC_CASES:
        if "call" in case.tags:
            seconds = bound(machine, case).seconds
            parts.append(f"{case.name} {seconds / (seconds + times['out=']):.2f}")
    return "; ".join(parts)


def silu_beside_a_copy() -> str:
    """SiLU has an exponential and a quotient: what they take for each vector, beside a copy and four
    multiply-adds, which is all that a short kernel does in cache."""
    function = _function("arithmetic.c", "apply")
    fma_seconds = 4 * _vector_bytes() / 4 * 2 / (limits.Machine().measure_fma("float32") * 1e9)
    parts = [f"4 multiply-adds {1e9 * fma_seconds:.2f}"]
    for name, vectors in (("L1", 96), ("L2", 2048)):
        x, y = _floats(vectors * 16), _floats(vectors * 16)
        with_silu, copied = (
            _seconds(function, y, x, _size(vectors), way) / vectors for way in (1, 0)
        )
        parts.append(f"{name}: SiLU {1e9 * with_silu:.2f}, copy {1e9 * copied:.2f}")
    return "; ".join(parts) + " ns per vector"


def transforms() -> str:
    """`hyena_2048_cf` needs at least three transforms of 4096 values for each channel, one of them for
    the filter, which peers with a prepared spectrum are spared: NumPy's alone, in milliseconds for
    all channels, and a whole call of dwconv on one thread."""
    import dwconv  # not above: who measures another build chooses it before the first import

    channels, length, rows = 256, 4096, 16  # so many channels at a time stay in a cache
    x = _floats(rows * length).reshape(rows, length)
    spectrum = np.ones((rows, length // 2 + 1), np.complex64)
    # With another norm, some versions of NumPy transform float32 in long double.
    there = channels / rows * _least(lambda: np.fft.rfft(x, norm="ortho"))
    back = channels / rows * _least(lambda: np.fft.irfft(spectrum, length, norm="ortho"))
    times = there, there, back, 2 * there + back
    signal, kernel = _floats(channels * (length - 1)), _floats(length // 2 * channels)
    call = functools.partial(
        dwconv.depthwise_conv1d, signal.reshape(1, channels, -1), kernel.reshape(-1, channels, 1),
        data_format="channels_first", num_threads=1,
    )  # fmt: skip
    parts = "filter {:.1f}, signal {:.1f}, back {:.1f}: {:.1f}; dwconv {:.1f}"
    return parts.format(*(1e3 * t for t in (*times, _least(call))))


PROBES = (
    interleaved_rows,
    distant_rows,
    transposed_tiles,
    loaded_operands,
    small_calls,
    silu_beside_a_copy,
    transforms,
)


def said(probe: Callable[[], str]) -> str:
    """The sentence of a probe on one line."""
    return " ".join(probe.__doc__.split())


_load = functools.cache(native.load)


def _function(source: str, name: str) -> Callable:
    function = getattr(_load(f"probes/{source}"), name)
    function.restype = ctypes.c_double
    return function


def _vector_bytes() -> int:
    return _load("probes/rows.c").vector_bytes()


def _floats(count: int) -> np.ndarray:
    return aligned_copy(np.ones(count, np.float32))


def _size(value: int) -> ctypes.c_size_t:
    return ctypes.c_size_t(value)


def _least(call: Callable[[], object]) -> float:
    run = overhead.repeated(call)
    return min(run(10) for _ in range(10 * _ROUNDS))


def _seconds(function: Callable, *arguments: object) -> float:
    """Least seconds of one pass; arrays stand for their addresses."""
    pointers = [
        ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else a for a in arguments
    ]

    def run(repeats):
        return function(*pointers, ctypes.c_long(repeats))

    repeats = 1
    while run(repeats) < _ROUND_SECONDS / 2:
        repeats *= 2
    return min(run(repeats) for _ in range(_ROUNDS)) / repeats
