# SPDX-License-Identifier: BSD-3-Clause
"""JAX, compiled with XLA: lax's convolution, shifted multiply-adds, and FFT for long kernels."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_LONGEST_SHIFTS = 64  # taps; longer ones take minutes to compile
_SHORTEST_FFT = 512

_ACTIVATIONS = {"linear": lambda z: z, "relu": jax.nn.relu, "silu": jax.nn.silu}


def start(threads):
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    return {"jax": jax.__version__}


def drop():
    jax.clear_caches()


def variants(case):
    names = ["conv"]
    if case.kernel_size <= _LONGEST_SHIFTS:
        names.append("shift")
    if case.kernel_size >= _SHORTEST_FFT:
        names.append("fft")
    return names


def prepare(case, variant, arrays, threads):
    convolve = {"conv": _conv, "shift": _shift, "fft": _fft}[variant]

    def layer(x, kernel, bias):
        z = convolve(case, x, kernel)
        if bias is not None:
            z = z + (bias if case.channels_last else bias[:, None])
        return _ACTIVATIONS[case.activation](z)

    kernel = jnp.asarray(arrays.kernel)
    bias = None if arrays.bias is None else jnp.asarray(arrays.bias)
    if case.training:
        return _training(layer, arrays, kernel, bias)
    compiled = jax.jit(lambda x: layer(x, kernel, bias)).lower(jnp.asarray(arrays.x)).compile()
    return lambda: np.asarray(compiled(jax.dlpack.from_dlpack(arrays.x)))


def _training(layer, arrays, kernel, bias):
    def forward_and_backward(x, kernel, bias, dy):
        y, pullback = jax.vjp(layer, x, kernel, bias)
        return y, *pullback(dy)

    x, dy = jnp.asarray(arrays.x), jnp.asarray(arrays.dy)
    compiled = jax.jit(forward_and_backward).lower(x, kernel, bias, dy).compile()

    def run():
        results = compiled(jnp.asarray(arrays.x), kernel, bias, jnp.asarray(arrays.dy))
        return tuple(None if a is None else np.asarray(a) for a in results)

    return run


def _conv(case, x, kernel):
    layout = "NWC" if case.channels_last else "NCW"
    return lax.conv_general_dilated(
        x,
        kernel.reshape(case.kernel_size, 1, case.out_channels),
        (case.strides,),
        [case.pads],
        rhs_dilation=(case.dilation_rate,),
        dimension_numbers=(layout, "WIO", layout),
        feature_group_count=case.channels,
        precision=lax.Precision.HIGHEST,
    )


def _shift(case, x, kernel):
    taps = kernel.reshape(case.kernel_size, case.out_channels)
    taps = taps if case.channels_last else taps[:, :, None]
    time, channel = (1, 2) if case.channels_last else (2, 1)
    if case.depth_multiplier > 1:
        x = jnp.repeat(x, case.depth_multiplier, channel)
    x = _pad(case, x, time)
    z = 0
    for k in range(case.kernel_size):
        first = k * case.dilation_rate
        last = first + (case.out_steps - 1) * case.strides + 1
        z = z + lax.slice_in_dim(x, first, last, case.strides, time) * taps[k]
    return z


def _fft(case, x, kernel):
    length = 1 << (case.steps + sum(case.pads) - 1).bit_length()
    spread = jnp.zeros((case.channels, case.effective_kernel_size), x.dtype)
    spread = spread.at[:, :: case.dilation_rate].set(kernel[:, :, 0].T)
    x = _pad(case, x.transpose(0, 2, 1) if case.channels_last else x, 2)
    spectrum = jnp.fft.rfft(x, length) * jnp.conj(jnp.fft.rfft(spread, length))
    last = (case.out_steps - 1) * case.strides + 1
    z = jnp.fft.irfft(spectrum, length)[..., : last : case.strides]
    return z.transpose(0, 2, 1) if case.channels_last else z


def _pad(case, x, time):
    widths = [(0, 0)] * 3
    widths[time] = case.pads
    return jnp.pad(x, widths) if any(case.pads) else x
