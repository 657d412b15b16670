# SPDX-License-Identifier: BSD-3-Clause
"""Arrays of a case, their exact results in float64, and the comparison with a peer's."""

from typing import NamedTuple

import numpy as np

from benchmarks.cases import Case

# Largest error over the root mean square of the result. Direct sums and FFTs in float32 stay
# below 2e-5; bfloat16 or TF32 arithmetic, which some libraries use for float32, does not.
TOLERANCE = {"float32": 1e-4, "float64": 1e-11}

_CACHE_LINE = 64


class Arrays(NamedTuple):
    """What a peer is given: `bias` or `dy` is None where the case has none."""

    x: np.ndarray
    kernel: np.ndarray  # (kernel_size, channels, depth_multiplier)
    bias: np.ndarray | None
    dy: np.ndarray | None


def aligned_copy(array: np.ndarray) -> np.ndarray:
    """A contiguous copy that starts on a cache line."""
    buffer = np.empty(array.nbytes + _CACHE_LINE, np.uint8)
    start = -buffer.ctypes.data % _CACHE_LINE
    copy = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def make_arrays(case: Case, seed: int) -> Arrays:
    """Normally distributed arrays of the case's dtype; outputs have about unit variance."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.standard_normal(shape, np.float32).astype(case.dtype)

    scale = np.asarray(case.kernel_size**-0.5, case.dtype)
    return Arrays(
        x=normal(*case.input_shape),
        kernel=normal(case.kernel_size, case.channels, case.depth_multiplier) * scale,
        bias=normal(case.out_channels) * np.asarray(0.1, case.dtype) if case.use_bias else None,
        dy=normal(*case.output_shape) if case.training else None,
    )


def reference(case: Case, arrays: Arrays) -> tuple[np.ndarray, ...]:
    """Results in float64: (y,), or (y, dx, dkernel, dbias) for training."""
    x, kernel, dy = (
        None if a is None else a.astype(np.float64) for a in (arrays.x, arrays.kernel, arrays.dy)
    )
    padded = np.pad(_channels_last(x, case), ((0, 0), case.pads, (0, 0)))
    long = case.kernel_size >= 64 and case.strides == case.depth_multiplier == 1
    z = _correlate_fft(case, padded, kernel) if long else _correlate(case, padded, kernel)
    z = z.reshape(case.batch, case.out_steps, case.out_channels)
    if arrays.bias is not None:
        z += arrays.bias
    y = _channels_last(_activation(z, case.activation), case)
    if not case.training:
        return (y,)

    dz = _channels_last(dy, case) * _derivative(z, case.activation)
    dz = dz.reshape(case.batch, case.out_steps, case.channels, case.depth_multiplier)
    dx, dkernel = np.zeros_like(padded), np.zeros_like(kernel)
    for k in range(case.kernel_size):
        rows = _rows(case, k)
        dx[:, rows] += (dz * kernel[k]).sum(-1)
        dkernel[k] = np.einsum("btc,btcm->cm", padded[:, rows], dz)
    left = case.pads[0]
    dx = _channels_last(dx[:, left : left + case.steps], case)
    return y, dx, dkernel, dz.sum((0, 1)).reshape(-1)


def relative_error(results: tuple, expected: tuple) -> float:
    """Largest error over the root mean square of the expected array; the worst of all arrays.

    A result of None (a gradient that the case does not have) is not compared.

    Raises
    ------
    ValueError
        If shapes differ.
    """
    worst = 0.0
    for result, exact in zip(results, expected, strict=True):
        if result is None:
            continue
        if result.shape != exact.shape:
            raise ValueError(f"shape {result.shape} instead of {exact.shape}")
        scale = float(np.sqrt(np.mean(np.square(exact)))) or 1.0
        error = float(np.max(np.abs(result - exact))) / scale
        worst = max(worst, error) if np.isfinite(error) else float("inf")
    return worst


def _channels_last(array: np.ndarray, case: Case) -> np.ndarray:
    """The array with its axes in the other order if the case is channels_first."""
    return array if case.channels_last else array.transpose(0, 2, 1)


def _rows(case: Case, k: int) -> slice:
    """The padded input steps that tap `k` reads, one for each output step."""
    first = k * case.dilation_rate
    return slice(first, first + (case.out_steps - 1) * case.strides + 1, case.strides)


def _correlate(case: Case, padded: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    z = np.zeros((case.batch, case.out_steps, case.channels, case.depth_multiplier))
    for k in range(case.kernel_size):
        z += padded[:, _rows(case, k), :, None] * kernel[k]
    return z


def _correlate_fft(case: Case, padded: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The same in O(T log T), for long kernels; float64 keeps it exact enough (about 1e-14)."""
    length = 1 << (padded.shape[1] + case.effective_kernel_size).bit_length()
    spread = np.zeros((case.effective_kernel_size, case.channels))
    spread[:: case.dilation_rate] = kernel[:, :, 0]
    z = np.empty((case.batch, case.out_steps, case.channels))
    for item in range(case.batch):
        for c in range(case.channels):  # one at a time: a spectrum of all needs gigabytes
            spectrum = np.fft.rfft(padded[item, :, c], length)
            spectrum *= np.conj(np.fft.rfft(spread[:, c], length))
            z[item, :, c] = np.fft.irfft(spectrum, length)[: case.out_steps]
    return z


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * z))


def _activation(z: np.ndarray, name: str) -> np.ndarray:
    return {"linear": lambda: z, "relu": lambda: np.maximum(z, 0), "silu": lambda: z * _sigmoid(z)}[
        name
    ]()


def _derivative(z: np.ndarray, name: str) -> np.ndarray:
    if name == "silu":
        s = _sigmoid(z)
        return s * (1 + z * (1 - s))
    return (z > 0).astype(z.dtype) if name == "relu" else np.ones_like(z)
