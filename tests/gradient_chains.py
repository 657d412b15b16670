# SPDX-License-Identifier: BSD-3-Clause
"""The gradients with the rounding of every step under control, in the order that dwconv.h states.

Arrays are channels_last; `add` is one multiply-add, `chains.fma_f32`, `chains.fma_f64` or `rounded`.
"""

import numpy as np

CHUNK_STEPS = 512


def rounded(total, a, b):
    return total + a * b


def input_gradient(add, x_shape, kernel, dy, *, strides, left, out_steps, dilation_rate):
    """One chain for each of M output channels (at most 32, or 16 in float64), taps descending; then
    their sum."""
    batch, steps, channels = x_shape
    taps, _, multiplier = kernel.shape
    side = min(multiplier, 32 if dy.dtype == np.float32 else 16)
    dy = dy.reshape(batch, out_steps, channels, multiplier)
    sums = np.zeros((batch, steps, channels, side), dy.dtype)
    reached = np.arange(out_steps) * strides - left
    for first in range(0, multiplier, side):
        width = min(side, multiplier - first)
        group = slice(first, first + width)
        for k in reversed(range(taps)):
            at = reached + k * dilation_rate
            rows = np.flatnonzero((at >= 0) & (at < steps))
            at = at[rows]
            sums[:, at, :, :width] = add(
                sums[:, at, :, :width], dy[:, rows, :, group], kernel[k, :, group]
            )
    total = sums[..., 0]
    for lane in range(1, side):
        total = total + sums[..., lane]
    return total


def weight_gradient(
    add, x, kernel_shape, dy, *, strides, left, out_steps, dilation_rate, channels_first=False
):
    """dkernel and dbias: chains over chunks of time, added in pairs."""
    batch, steps, channels = x.shape
    taps, _, multiplier = kernel_shape
    if channels_first and taps <= 8 and strides == multiplier == 1 and out_steps >= 32:
        return gradient_of_lines(add, x, taps, dy, left, dilation_rate)
    length = -(-out_steps // -(-out_steps // CHUNK_STEPS))
    dy = dy.reshape(batch, out_steps, channels, multiplier)
    kernels, biases = [], []
    for start in range(0, out_steps, length):
        kernel = np.zeros((batch, *kernel_shape), x.dtype)
        bias = np.zeros((batch, channels, multiplier), x.dtype)
        for i in range(start, min(start + length, out_steps)):
            bias = bias + dy[:, i]
            for k in range(taps):
                at = i * strides + k * dilation_rate - left
                if 0 <= at < steps:
                    kernel[:, k] = add(kernel[:, k], x[:, at, :, np.newaxis], dy[:, i])
        kernels += list(kernel)
        biases += list(bias)
    return in_pairs(kernels), in_pairs(biases).reshape(channels * multiplier)


def gradient_of_lines(add, x, taps, dy, left, dilation_rate):
    """The same for few taps and sequences that are contiguous in time: chains of every W-th step."""
    batch, steps, channels = x.shape
    out_steps = dy.shape[1]
    lanes = 64 // dy.dtype.itemsize
    length = -(-out_steps // -(-out_steps // (CHUNK_STEPS * lanes)))
    length = -(-length // lanes) * lanes
    items = 1 if length < out_steps else CHUNK_STEPS // (length // lanes)
    kernels, biases = [], []
    for start in range(0, out_steps, length):
        for first in range(0, batch, items):
            kernel = np.zeros((lanes, taps, channels), x.dtype)
            bias = np.zeros((lanes, channels), x.dtype)
            for b in range(first, min(first + items, batch)):
                for i in range(start, min(start + length, out_steps), lanes):
                    part = dy[b, i : i + lanes]
                    bias[: len(part)] += part
                    for k in range(taps):
                        at = i + k * dilation_rate - left + np.arange(len(part))
                        here = np.flatnonzero((at >= 0) & (at < steps))
                        kernel[here, k] = add(kernel[here, k], x[b, at[here]], part[here])
            kernels.append(in_halves(kernel)[..., np.newaxis])
            biases.append(in_halves(bias))
    return in_pairs(kernels), in_pairs(biases)


def in_halves(terms):
    """The upper half of an array is added to the lower, until one element is left."""
    while len(terms) > 1:
        half = len(terms) // 2
        terms = terms[:half] + terms[half:]
    return terms[0]


def in_pairs(terms):
    """The sum of arrays as a tree: of the largest power of two of them, and of the rest."""
    if len(terms) == 1:
        return terms[0]
    half = 1 << (len(terms) - 1).bit_length() - 1
    return in_pairs(terms[:half]) + in_pairs(terms[half:])
