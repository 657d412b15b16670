# SPDX-License-Identifier: BSD-3-Clause
"""SciPy and NumPy: FFT forms, ndimage.correlate1d, and shifted multiply-adds."""

import numpy as np
import scipy
import scipy.fft
import scipy.ndimage
import scipy.signal

from benchmarks.peers import NotSupported

_LONGEST_SHIFTS = 128  # taps; each is two passes over the output
_SHORTEST_FFT = 32
_MOST_CORRELATIONS = 64  # channels; each is a call


def start(threads):
    return {"scipy": scipy.__version__, "numpy": np.__version__}


def variants(case):
    if case.training:
        raise NotSupported("no gradients")
    names = ["shift"] if case.kernel_size <= _LONGEST_SHIFTS else []
    if case.depth_multiplier == 1 and case.effective_kernel_size >= _SHORTEST_FFT:
        names += ["fft", "oaconvolve"]
    simple = case.depth_multiplier == case.dilation_rate == case.strides == 1
    if simple and case.channels <= _MOST_CORRELATIONS:
        names.append("correlate1d")
    return names


def prepare(case, variant, arrays, threads):
    axis = 1 if case.channels_last else 2
    padding = [(0, 0)] * 3
    padding[axis] = case.pads
    finish = _finisher(case, arrays)

    def padded():
        return np.pad(arrays.x, padding) if any(case.pads) else arrays.x

    if variant == "shift":
        return _shift(case, arrays, padded, finish)
    if variant == "correlate1d":
        return _correlate1d(case, arrays, finish)

    spread = np.zeros((case.effective_kernel_size, case.channels), case.dtype)
    spread[:: case.dilation_rate] = arrays.kernel[:, :, 0]
    steps = _steps(case, 0)
    if variant == "oaconvolve":
        flipped = spread[::-1] if case.channels_last else spread[::-1].T
        return lambda: finish(
            scipy.signal.oaconvolve(padded(), flipped[None], mode="valid", axes=axis)[steps]
        )
    length = scipy.fft.next_fast_len(case.steps + sum(case.pads), real=True)
    spectrum = np.conj(scipy.fft.rfft(spread, length, axis=0))
    spectrum = spectrum if case.channels_last else np.ascontiguousarray(spectrum.T)

    def run():
        product = scipy.fft.rfft(padded(), length, axis=axis, workers=threads)
        product *= spectrum
        y = scipy.fft.irfft(product, length, axis=axis, workers=threads, overwrite_x=True)
        return finish(y[steps])

    return run


def _steps(case, k):
    """Index of the padded input steps that tap `k` reads, one for each output step."""
    first = k * case.dilation_rate
    steps = slice(first, first + (case.out_steps - 1) * case.strides + 1, case.strides)
    return (slice(None), steps) if case.channels_last else (slice(None), slice(None), steps)


def _finisher(case, arrays):
    """A function that adds the bias and applies the activation in place."""
    bias = arrays.bias
    if bias is not None and not case.channels_last:
        bias = bias[:, None]

    def finish(z):
        if bias is not None:
            z += bias
        if case.activation == "relu":
            np.maximum(z, 0, out=z)
        elif case.activation == "silu":
            divisor = np.exp(-z)
            divisor += 1
            z /= divisor
        return z

    return finish


def _shift(case, arrays, padded, finish):
    taps = arrays.kernel.reshape(case.kernel_size, case.out_channels)
    taps = taps if case.channels_last else taps[:, :, None]
    z, product = np.empty(case.output_shape, case.dtype), np.empty(case.output_shape, case.dtype)

    def run():
        x = padded()
        if case.depth_multiplier > 1:
            x = np.repeat(x, case.depth_multiplier, 2 if case.channels_last else 1)
        np.multiply(x[_steps(case, 0)], taps[0], out=z)
        for k in range(1, case.kernel_size):
            np.multiply(x[_steps(case, k)], taps[k], out=product)
            np.add(z, product, out=z)
        return finish(z)

    return run


def _correlate1d(case, arrays, finish):
    kernels = np.ascontiguousarray(arrays.kernel[:, :, 0].T, np.float64)
    # correlate1d centres the taps: shifted so that output t starts at input t - left.
    origin = case.pads[0] - case.kernel_size // 2
    y = np.empty(case.input_shape, case.dtype)
    channel_axis = 2 if case.channels_last else 1
    x_channels = np.moveaxis(arrays.x, channel_axis, 0)
    y_channels = np.moveaxis(y, channel_axis, 0)
    steps = _steps(case, 0)

    def run():
        for x, kernel, out in zip(x_channels, kernels, y_channels, strict=True):
            scipy.ndimage.correlate1d(x, kernel, 1, out, "constant", 0.0, origin)
        return finish(y[steps])

    return run
