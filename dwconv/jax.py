# SPDX-License-Identifier: BSD-3-Clause
"""Depthwise 1-D convolution of JAX arrays on the CPU, under ``jit``, ``grad`` and ``vmap``.

``dwconv.jax`` needs JAX (``pip install 'dwconv[jax]'``); nothing else in dwconv imports it.  See docs/frameworks.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from math import prod
from typing import NamedTuple

import numpy as np

try:
    import jax
except ModuleNotFoundError as error:
    if error.name != "jax":
        raise
    raise ImportError("dwconv.jax needs JAX, which is not installed: pip install 'dwconv[jax]'") from None
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from dwconv import _jax_ffi, functional
from dwconv.arrays import check_dtype
from dwconv.gradients import depthwise_conv1d_backward
from dwconv.padding import named_padding, resolve_padding

__all__ = ["depthwise_conv1d"]


class _Options(NamedTuple):
    """Everything but the arrays, checked; hashable, hence static."""

    stride: int
    left: int
    right: int
    dilation: int
    channels_first: bool

    def arguments(self, kernel_size: int) -> dict:
        """Those of dwconv's functions."""
        padding = named_padding(self.left, self.right, kernel_size, self.stride, self.dilation)
        data_format = "channels_first" if self.channels_first else "channels_last"
        return dict(strides=self.stride, padding=padding, dilation_rate=self.dilation, data_format=data_format)

    def out_shape(self, x_shape: Sequence[int], kernel_shape: Sequence[int]) -> tuple[int, int, int]:
        batch, steps = x_shape[0], x_shape[2 if self.channels_first else 1]
        taps, channels, multiplier = kernel_shape
        out_steps = resolve_padding((self.left, self.right), steps, taps, self.stride, self.dilation)[2]
        outputs = channels * multiplier
        return (batch, outputs, out_steps) if self.channels_first else (batch, out_steps, outputs)


def depthwise_conv1d(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    strides: int = 1,
    padding: str | tuple[int, int] = "valid",
    dilation_rate: int = 1,
    data_format: str = "channels_last",
) -> jax.Array:
    """:func:`dwconv.depthwise_conv1d` of JAX arrays, differentiable in reverse mode to any order.

    Parameters
    ----------
    x : array of shape (batch, steps, channels), or (batch, channels, steps) with ``"channels_first"``
        float32 or float64 (with ``jax_enable_x64``).
    kernel : array of shape (kernel_size, channels, depth_multiplier)
        In either data format.
    bias : array of shape (channels * depth_multiplier,), optional
    strides, dilation_rate : int
        Steps, at least 1.
    padding : {"valid", "same", "causal"} or (int, int)
        As in :func:`dwconv.depthwise_conv1d`; ``"same"`` is that of TensorFlow and of JAX's ``"SAME"``.
    data_format : {"channels_last", "channels_first"}

    Returns
    -------
    array of shape (batch, out_steps, channels * depth_multiplier), or (batch, channels * depth_multiplier, out_steps)
        Its dtype is float64 if that of an argument is, else float32.

    Raises
    ------
    TypeError
        Wrong type or dtype of an argument.
    ValueError
        Wrong shape or value, or no output step.

    Notes
    -----
    The work is done on the CPU in the memory of JAX's arrays, which are not copied.  It runs in a thread of XLA, so
    that :func:`dwconv.set_num_threads` counts for it and the context manager :func:`dwconv.num_threads` does not.

    Examples
    --------
    >>> import jax.numpy as jnp, dwconv.jax
    >>> x, kernel = jnp.ones((8, 1200, 64)), jnp.ones((31, 64, 2))
    >>> dwconv.jax.depthwise_conv1d(x, kernel, padding="same").shape
    (8, 1200, 128)
    """
    arrays = {"input": x, "kernel": kernel} if bias is None else {"input": x, "kernel": kernel, "bias": bias}
    arrays = {name: jnp.asarray(array) for name, array in arrays.items()}
    for name, array in arrays.items():
        check_dtype(array, name)
    dtype = jnp.result_type(*arrays.values())
    x, kernel, bias = (None if a is None else a.astype(dtype) for a in map(arrays.get, ("input", "kernel", "bias")))
    checked_x, checked_kernel, _, _ = functional._arrays(_blank(x), _blank(kernel), _blank(bias))
    problem = functional._problem(checked_x, checked_kernel, strides, padding, dilation_rate, data_format)
    stride, dilation = problem["stride"], problem["dilation"]
    padding = padding if isinstance(padding, str) else tuple(map(int, padding))
    left, right, _ = resolve_padding(padding, problem["in_steps"], kernel.shape[0], stride, dilation)
    options = _Options(stride, left, right, dilation, problem["channels_first"])
    return _convolve(options, x, kernel, bias)


def _blank(array: jax.Array | None) -> np.ndarray | None:
    """An array of that shape and dtype with no memory to speak of, to be checked in the place of one being traced."""
    return None if array is None else np.broadcast_to(np.zeros((), array.dtype), array.shape)


# ---- derivatives: those of a trilinear form are the form again, with other arguments; see _torch_ops.py


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _convolve(options, x, kernel, bias):
    """The convolution F(x, kernel) + bias."""
    result = jax.ShapeDtypeStruct(options.out_shape(x.shape, kernel.shape), x.dtype)
    arrays = (x, kernel) if bias is None else (x, kernel, bias)
    return _call("dwconv_convolve", result, options, *arrays)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _gradients(options, needs, x, kernel, dy):
    """The gradients A(dy, kernel) of x, G(x, dy) of the kernel and sum(dy) of the bias; None where not needed."""
    shapes = (x.shape, kernel.shape, (kernel.shape[1] * kernel.shape[2],))
    results = [jax.ShapeDtypeStruct(shape, x.dtype) for shape, needed in zip(shapes, needs, strict=True) if needed]
    found = iter(_call("dwconv_gradients", results, (*options, *needs), x, kernel, dy))
    return tuple(next(found) if needed else None for needed in needs)


def _call(target, results, integers, *arrays):
    return jax.ffi.ffi_call(target, results, vmap_method="expand_dims")(*arrays, options=np.array(integers, np.int64))


@jax.tree_util.register_static
class _Perturbed(tuple):
    """Which arguments are being differentiated."""

    def __new__(cls, *primals):
        return super().__new__(cls, (p is not None and p.perturbed for p in primals))


def _save_convolve(options, x, kernel, bias):
    values = (x.value, kernel.value, None if bias is None else bias.value)
    return _convolve(options, *values), (*values[:2], _Perturbed(x, kernel, bias))


def _differentiate_convolve(options, saved, dy):
    x, kernel, needs = saved
    if isinstance(dy, SymbolicZero) or not any(needs):
        return None, None, None
    return _gradients(options, tuple(needs), x, kernel, dy)


def _save_gradients(options, needs, x, kernel, dy):
    values = (x.value, kernel.value, dy.value)
    return _gradients(options, needs, *values), (*values, _Perturbed(x, kernel, dy))


def _differentiate_gradients(options, needs, saved, cotangents):
    """Of ``<u, A(dy, w)> + <v, G(x, dy)> + <b, sum(dy)>`` with respect to x, w and dy."""
    x, kernel, dy, (for_x, for_kernel, for_dy) = saved
    u, v, b = (None if isinstance(c, SymbolicZero) else c for c in cotangents)
    gx = gkernel = gdy = None
    if for_x and v is not None:
        gx = _gradients(options, (True, False, False), x, v, dy)[0]
    if for_kernel and u is not None:
        gkernel = _gradients(options, (False, True, False), u, kernel, dy)[1]
    if for_dy:
        terms = [] if u is None else [_convolve(options, u, kernel, None)]
        if v is not None:
            terms.append(_convolve(options, x, v, b))
        elif b is not None:
            terms.append(jnp.broadcast_to(b[:, None] if options.channels_first else b, dy.shape))
        gdy = sum(terms[1:], terms[0]) if terms else None
    return gx, gkernel, gdy


_convolve.defvjp(_save_convolve, _differentiate_convolve, symbolic_zeros=True)
_gradients.defvjp(_save_gradients, _differentiate_gradients, symbolic_zeros=True)


# ---- on the host, where arrays may have leading axes from vmap, of size 1 if one array serves all


def _convolve_on_host(integers: Sequence[int], arguments: list[np.ndarray], results: list[np.ndarray]) -> None:
    options = _Options(*integers)
    x, kernel, *bias = arguments
    (y,) = results
    if all(array.size == prod(array.shape[-rank:]) for array, rank in zip((kernel, *bias), (3, 1), strict=False)):
        # One filter bank: mapped inputs are a larger batch.
        x, y = (array.reshape(prod(array.shape[:-2]), *array.shape[-2:]) for array in (x, y))
        kernel, bias = kernel.reshape(kernel.shape[-3:]), [b.reshape(b.shape[-1:]) for b in bias]
    more = options.arguments(kernel.shape[-3])
    for x, kernel, *bias, y in _each((x, kernel, *bias, y), (3, 3, *(1 for _ in bias), 3)):
        functional.depthwise_conv1d(x, kernel, *bias, out=y, method="direct", **more)


def _gradients_on_host(integers: Sequence[int], arguments: list[np.ndarray], results: list[np.ndarray]) -> None:
    options, needs = _Options(*integers[:-3]), tuple(map(bool, integers[-3:]))
    more = options.arguments(arguments[1].shape[-3])
    ranks = [rank for rank, needed in zip((3, 3, 1), needs, strict=True) if needed]
    for x, kernel, dy, *out in _each((*arguments, *results), (3, 3, 3, *ranks)):
        gradients = depthwise_conv1d_backward(x, kernel, dy, needs=needs, **more)
        for array, gradient in zip(out, (g for g, n in zip(gradients, needs, strict=True) if n), strict=True):
            array[...] = gradient


def _each(arrays: Sequence[np.ndarray], ranks: Sequence[int]) -> Iterator[tuple[np.ndarray, ...]]:
    """The arrays for each element of their common leading axes, those before the last `ranks`."""
    own = [array.ndim - rank for array, rank in zip(arrays, ranks, strict=True)]
    lead = np.broadcast_shapes(*(array.shape[:n] for array, n in zip(arrays, own, strict=True)))
    for index in np.ndindex(lead):
        yield tuple(
            array[tuple(i if size > 1 else 0 for i, size in zip(index[len(lead) - n :], array.shape, strict=False))]
            for array, n in zip(arrays, own, strict=True)
        )


_jax_ffi.register("dwconv_convolve", _convolve_on_host)
_jax_ffi.register("dwconv_gradients", _gradients_on_host)
