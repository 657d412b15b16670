# SPDX-License-Identifier: BSD-3-Clause
"""numba: loops that a careful user would write, one kernel for each layout, in parallel.

Rows are cut as slices instead of by computed indices: numba's wrap-around of negative indices
would stop vectorisation.
"""

import numba
import numpy as np
from numba import njit, prange

from benchmarks.peers import NotSupported

_LONGEST = 1024  # taps; beyond, an FFT wins by far
_BLOCK = 512  # output steps that stay in the first-level cache


def start(threads):
    numba.set_num_threads(threads)
    return {"numba": numba.__version__}


def variants(case):
    if case.training:
        raise NotSupported("no gradient was written by hand")
    if case.kernel_size > _LONGEST:
        raise NotSupported("direct form only")
    return ["loops"]


def prepare(case, variant, arrays, threads):
    x, kernel, bias, _ = arrays
    bias = np.zeros(case.out_channels, case.dtype) if bias is None else bias
    activation = {"linear": 0, "relu": 1, "silu": 2}[case.activation]
    y = np.empty(case.output_shape, case.dtype)
    if not case.channels_last:
        function = _channels_first
    elif case.depth_multiplier > 1:
        function = _channels_last_multiplied
    else:
        function, kernel = _channels_last, np.ascontiguousarray(kernel[:, :, 0])
    options = case.strides, case.dilation_rate, case.pads[0], activation

    def run():
        function(x, kernel, bias, y, *options)
        return y

    return run


@njit(fastmath=True, error_model="numpy", inline="always")
def _activate(row, activation):
    if activation == 1:
        for c in range(row.size):
            row[c] = max(row[c], row[c] * 0)
    elif activation == 2:
        for c in range(row.size):
            row[c] = row[c] / (1 + np.exp(-row[c]))


@njit(parallel=True, fastmath=True, error_model="numpy")
def _channels_last(x, kernel, bias, y, stride, dilation, left, activation):
    batch, steps, channels = x.shape
    out_steps = y.shape[1]
    for i in prange(batch * out_steps):
        b, t = i // out_steps, i % out_steps
        out = y[b, t]
        for c in range(channels):
            out[c] = bias[c]
        for k in range(kernel.shape[0]):
            step = t * stride + k * dilation - left
            if 0 <= step < steps:
                row, weights = x[b, step], kernel[k]
                for c in range(channels):
                    out[c] += row[c] * weights[c]
        _activate(out, activation)


@njit(parallel=True, fastmath=True, error_model="numpy")
def _channels_last_multiplied(x, kernel, bias, y, stride, dilation, left, activation):
    batch, steps, channels = x.shape
    multiplier = kernel.shape[2]
    out_steps = y.shape[1]
    for i in prange(batch * out_steps):
        b, t = i // out_steps, i % out_steps
        out = y[b, t]
        for c in range(channels * multiplier):
            out[c] = bias[c]
        for k in range(kernel.shape[0]):
            step = t * stride + k * dilation - left
            if 0 <= step < steps:
                for c in range(channels):
                    value, weights = x[b, step, c], kernel[k, c]
                    outs = out[c * multiplier : (c + 1) * multiplier]
                    for m in range(multiplier):
                        outs[m] += value * weights[m]
        _activate(out, activation)


@njit(parallel=True, fastmath=True, error_model="numpy")
def _channels_first(x, kernel, bias, y, stride, dilation, left, activation):
    batch, channels, steps = x.shape
    kernel_size, _, multiplier = kernel.shape
    out_channels, out_steps = y.shape[1:]
    for i in prange(batch * out_channels):
        b, o = i // out_channels, i % out_channels
        c, m = o // multiplier, o % multiplier
        row, out = x[b, c], y[b, o]
        for low in range(0, out_steps, _BLOCK):
            high = min(out_steps, low + _BLOCK)
            block = out[low:high]
            for t in range(block.size):
                block[t] = bias[o]
            for k in range(kernel_size):
                offset = k * dilation - left
                first, last = low, high  # the outputs whose tap k lies inside the input
                if offset < 0:
                    first = max(first, (-offset + stride - 1) // stride)
                if offset + (last - 1) * stride >= steps:
                    last = min(last, (steps - 1 - offset) // stride + 1)
                if last <= first:
                    continue
                weight = kernel[k, c, m]
                outs = out[first:last]
                if stride == 1:
                    values = row[first + offset : last + offset]
                    for t in range(outs.size):
                        outs[t] += weight * values[t]
                else:
                    values = row[first * stride + offset : (last - 1) * stride + offset + 1]
                    for t in range(outs.size):
                        outs[t] += weight * values[t * stride]
            _activate(block, activation)
