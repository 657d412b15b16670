# SPDX-License-Identifier: BSD-3-Clause
"""Depthwise convolution with the rounding of every step under control.

Two models of what a kernel computes, both adding the taps in ascending order to the bias: `fused`
rounds ``sum + x * w`` once, `rounded` rounds the product and the sum.  They are emulated in NumPy
without an FMA instruction and must agree with the core bit for bit.  `exact` is the true value.
"""

import math

import numpy as np


def walk(add, start, x, kernel, *, strides, left, out_steps, dilation_rate):
    """``add(sum, x, w)`` over all taps that exist; x is (batch, steps, channels), so is the
    result."""
    batch, steps, channels = x.shape
    kernel_size, _, multiplier = kernel.shape
    total = np.broadcast_to(start, (batch, out_steps, channels, multiplier)).copy()
    first = np.arange(out_steps) * strides - left
    with np.errstate(all="ignore"):
        for k in range(kernel_size):
            at = first + k * dilation_rate
            rows = np.flatnonzero((at >= 0) & (at < steps))
            total[:, rows] = add(total[:, rows], x[:, at[rows], :, np.newaxis], kernel[k])
    return total.reshape(batch, out_steps, channels * multiplier)


def start_of(bias, kernel, dtype):
    """The bias as (channels, multiplier), zeros if there is none."""
    if bias is None:
        return np.zeros(kernel.shape[1:], dtype)
    return np.asarray(bias, dtype).reshape(kernel.shape[1:])


def fused(x, kernel, bias, **geometry):
    """One fused multiply-add per tap.  In float64, products must neither overflow nor underflow."""
    add = fma_f32 if x.dtype == np.float32 else fma_f64
    return walk(add, start_of(bias, kernel, x.dtype), x, kernel, **geometry)


def rounded(x, kernel, bias, **geometry):
    """One rounded product and one rounded sum per tap."""
    return walk(
        lambda total, a, b: total + a * b, start_of(bias, kernel, x.dtype), x, kernel, **geometry
    )


def plain(x, kernel, bias, **geometry):
    """In float64, whatever the dtype of the arrays: exact for small integers, near for float32."""
    x, kernel = x.astype(np.float64), kernel.astype(np.float64)
    return rounded(x, kernel, bias, **geometry)


def magnitude(x, kernel, bias, **geometry):
    """S of every output: the sum of ``|x| * |w|``, plus ``|bias|``."""
    return plain(np.abs(x), np.abs(kernel), None if bias is None else np.abs(bias), **geometry)


def exact(x, kernel, bias, where, *, strides, left, out_steps, dilation_rate):
    """The correctly rounded float64 value of the outputs at `where`, a list of (batch, step,
    channel)."""
    del out_steps
    kernel_size, _, multiplier = kernel.shape
    values = []
    for b, i, o in where:
        terms = [] if bias is None else [float(bias[o])]
        for k in range(kernel_size):
            at = i * strides + k * dilation_rate - left
            if 0 <= at < x.shape[1]:
                terms += _two_product(
                    x[b, at, o // multiplier], kernel[k, o // multiplier, o % multiplier]
                )
        values.append(math.fsum(terms))
    return np.array(values)


def _two_sum(a, b):
    """a + b rounded, and the error (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _two_product(a, b):
    """a * b rounded, and the error (Dekker)."""
    product = a * b
    (a1, a2), (b1, b2) = _split(a), _split(b)
    return product, ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2


def _split(a):
    high = a * 134217729.0  # 2**27 + 1
    high = high - (high - a)
    return high, a - high


def _odd_sum(a, b):
    """a + b rounded to odd: of the two neighbours of an inexact sum, the one with an odd last
    bit."""
    total, error = _two_sum(a, b)
    inexact = np.isfinite(error) & (error != 0)
    even = np.ascontiguousarray(total).view(np.int64) % 2 == 0
    return np.where(inexact & even, np.nextafter(total, np.copysign(np.inf, error)), total)


def fma_f32(total, a, b):
    """Exact product in float64, sum rounded to odd, then rounded to float32: one rounding in
    effect."""
    a, b, total = np.float64(a), np.float64(b), np.float64(total)
    return _odd_sum(a * b, total).astype(np.float32)


def fma_f64(total, a, b):
    """Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008."""
    product, product_error = _two_product(a, b)
    low, low_error = _two_sum(total, product_error)
    high, high_error = _two_sum(product, low)
    return high + _odd_sum(low_error, high_error)
