# SPDX-License-Identifier: BSD-3-Clause
"""The specification: depthwise 1-D convolution and its gradients in plain NumPy float64 loops.

Shapes (channels_last; B batch, T steps, C channels, K kernel size, M depth multiplier)::

    x (B, T, C), kernel (K, C, M), bias (C*M,), y and dy (B, T', C*M), output channel c*M + m

Output step i meets input step ``i*strides + j*dilation_rate - left`` with its tap j. Taps that fall
outside the input do not exist: they are left out, not multiplied with zeros.
"""

import numpy as np


def padding_and_steps(steps, kernel_size, strides=1, padding="valid", dilation_rate=1):
    """Left padding and number of output steps."""
    span = (kernel_size - 1) * dilation_rate + 1
    if padding == "same":
        out_steps = -(-steps // strides)
        total = max((out_steps - 1) * strides + span - steps, 0)
        return total // 2, out_steps
    if padding == "causal":
        return span - 1, -(-steps // strides)
    left, right = (0, 0) if padding == "valid" else padding
    return left, max((steps + left + right - span) // strides + 1, 0)


def depthwise_conv1d(
    x,
    kernel,
    bias=None,
    *,
    strides=1,
    padding="valid",
    dilation_rate=1,
    data_format="channels_last",
):
    """y[b,i,c*M+m] = bias[c*M+m] + sum over j of x[b, i*s + j*d - left, c] * kernel[j,c,m]"""
    x, kernel = _as_float64(x, kernel, data_format)
    (batch, steps, channels), (taps, _, multiplier) = x.shape, kernel.shape
    left, out_steps = padding_and_steps(steps, taps, strides, padding, dilation_rate)
    y = np.zeros((batch, out_steps, channels, multiplier))
    if bias is not None:
        y += np.asarray(bias, np.float64).reshape(channels, multiplier)
    for i in range(out_steps):
        for j in range(taps):
            t = i * strides + j * dilation_rate - left
            if 0 <= t < steps:
                y[:, i] += x[:, t, :, None] * kernel[j]
    y = y.reshape(batch, out_steps, channels * multiplier)
    return y if data_format == "channels_last" else y.transpose(0, 2, 1)


def gradients(
    x,
    kernel,
    dy,
    *,
    strides=1,
    padding="valid",
    dilation_rate=1,
    data_format="channels_last",
):
    """Derivatives (dx, dkernel, dbias) of sum(y * dy), y = depthwise_conv1d(x, kernel, bias)."""
    x, kernel = _as_float64(x, kernel, data_format)
    dy, _ = _as_float64(dy, kernel, data_format)
    (batch, steps, channels), (taps, _, multiplier) = x.shape, kernel.shape
    left, out_steps = padding_and_steps(steps, taps, strides, padding, dilation_rate)
    dy = dy.reshape(batch, out_steps, channels, multiplier)
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    for i in range(out_steps):
        for j in range(taps):
            t = i * strides + j * dilation_rate - left
            if 0 <= t < steps:
                dx[:, t] += (dy[:, i] * kernel[j]).sum(axis=2)
                dkernel[j] += (dy[:, i] * x[:, t, :, None]).sum(axis=0)
    dbias = dy.sum(axis=(0, 1)).reshape(channels * multiplier)
    return dx if data_format == "channels_last" else dx.transpose(0, 2, 1), dkernel, dbias


def _as_float64(x, kernel, data_format):
    x = np.asarray(x, np.float64)
    return x if data_format == "channels_last" else x.transpose(0, 2, 1), np.asarray(
        kernel, np.float64
    )
