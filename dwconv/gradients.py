# SPDX-License-Identifier: BSD-3-Clause
"""Gradients of depthwise 1-D convolution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy import ndarray

from dwconv import activation_gradients, activations
from dwconv._core import Plan, backward, backward_activated, backward_input, backward_weight
from dwconv.arrays import (
    FLOAT64,
    as_array,
    check_dtype,
    check_out,
    contiguous,
    empty_array,
    native,
    row_strides,
)
from dwconv.functional import _arrays, _problem, depthwise_conv1d
from dwconv.fused import LINEAR
from dwconv.threads import checked_thread_count, get_num_threads

__all__ = ["depthwise_conv1d_backward"]

# What a call with plain arrays and options of these values needs; most programs use few.
_calls: dict[tuple, tuple] = {}
_MOST_CALLS = 512

Gradients = tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]


def depthwise_conv1d_backward(
    x: object,
    kernel: object,
    dy: object,
    *,
    strides: int = 1,
    padding: str | tuple[int, int] = "valid",
    dilation_rate: int = 1,
    data_format: str = "channels_last",
    needs: tuple[bool, bool, bool] = (True, True, True),
    bias: object = None,
    activation: str | Callable | None = None,
    out: Gradients = (None, None, None),
    num_threads: int | None = None,
    lengths: object = None,
    cu_seqlens: object = None,
    seq_idx: object = None,
) -> Gradients:
    """Gradients of ``sum(y * dy)`` with respect to input, kernel and bias, ``y = depthwise_conv1d(x, kernel, bias)``.

    With ``left`` as in :func:`dwconv.depthwise_conv1d`, and summed over the steps that exist::

        dx[b, j, c]      = sum_m sum_k dy[b, i, c*M + m] * kernel[k, c, m],  i*strides + k*dilation_rate - left = j
        dkernel[k, c, m] = sum_b sum_i x[b, i*strides + k*dilation_rate - left, c] * dy[b, i, c*M + m]
        dbias[c*M + m]   = sum_b sum_i dy[b, i, c*M + m]

    Padding is absent here too: an infinite gradient does not meet padding zeros.  With an activation, `dy` is the
    gradient of ``activation(y)`` and is multiplied by its derivative first, for which y is computed again.

    Parameters
    ----------
    x : array of shape (batch, steps, channels), or (batch, channels, steps) with ``"channels_first"``
        The input; float32 or float64, of any strides, byte order or writability.
    kernel : array of shape (kernel_size, channels, depth_multiplier)
    dy : array of the shape of the output
        Gradient of the output.
    strides, padding, dilation_rate, data_format
        Those of the forward pass; see :func:`dwconv.depthwise_conv1d`.
    needs : (bool, bool, bool)
        Which of the three gradients to compute.
    bias : array of shape (channels * depth_multiplier,), optional
        That of the forward pass; it matters to an activation only.
    activation : str, callable or None
        That of the forward pass; :mod:`dwconv.activation_gradients` says which have a known gradient.
    out : (ndarray or None, ndarray or None, ndarray or None)
        Where to put the gradients: C-contiguous arrays of exact shape and dtype, writable and apart from all others;
        None for new ones.
    num_threads : int, optional
        Most threads to use; see :mod:`dwconv.threads`.
    lengths, cu_seqlens, seq_idx : array of int, optional
        Those of the forward pass, if its sequences have different lengths.  What belongs to no sequence is never read;
        dx is zero there.

    Returns
    -------
    dx, dkernel, dbias : ndarray or None
        Of the shapes of x and kernel, and (channels * depth_multiplier,), in ``numpy.result_type`` of the arrays;
        C-contiguous, None where not needed.  Sums without terms are zero.

    Raises
    ------
    TypeError
        Wrong type or dtype of an argument.
    ValueError
        Wrong shape or value, or an output of no steps with ``"valid"`` or explicit padding.
    MemoryError
        If a result cannot be allocated.

    Notes
    -----
    The results are the same bits for every thread count and, but for dkernel and dbias of kernels of up to 8 taps, for
    both data formats; ``dwconv.h`` says in which order sums are taken.  With u the unit roundoff and S the sum of the magnitudes of the terms of an element, errors are below
    ``(terms + 2) * u * S`` for dx, which has at most ``ceil(kernel_size * gcd(strides, dilation_rate) / strides) *
    depth_multiplier`` terms, and for a sum of n terms in dkernel and dbias below
    ``(b + log2(n / b) + 3) * u * S``, ``b = min(n, 512)``.

    Examples
    --------
    >>> import numpy as np, dwconv
    >>> x = np.arange(3.0).reshape(1, 3, 1)
    >>> kernel, dy = np.ones((2, 1, 1)), np.ones((1, 2, 1))
    >>> dx, dkernel, dbias = dwconv.depthwise_conv1d_backward(x, kernel, dy)
    >>> dx.ravel(), dkernel.ravel(), dbias
    (array([1., 2., 1.]), array([1., 3.]), array([2.]))
    """
    if not (lengths is cu_seqlens is seq_idx is None):
        from dwconv.sequences import sequence_gradients

        return sequence_gradients(
            x, kernel, dy, strides=strides, padding=padding, dilation_rate=dilation_rate, data_format=data_format,
            needs=_checked_needs(needs), bias=bias, activation=activation, out=out, num_threads=num_threads,
            lengths=lengths, cu_seqlens=cu_seqlens, seq_idx=seq_idx,
        )  # fmt: skip
    key = None
    # As in depthwise_conv1d: what else could be wrong with a call of known shapes is noticed by the plan.
    if (
        type(x) is type(kernel) is type(dy) is ndarray
        and type(strides) is type(dilation_rate) is int
        and type(padding) is str
        and (activation is None or type(activation) is str)
        and (bias is None or type(bias) is ndarray)
    ):
        key = (x.shape, kernel.shape, x.dtype.char, strides, padding, dilation_rate, data_format, activation)
        try:
            call = _calls.get(key)
        except TypeError:  # an option that cannot be hashed
            key = call = None
        if (
            call is not None
            and _holds(x, call[1])
            and _holds(kernel, call[1])
            and _holds(dy, call[1])
            and (bias is None or (_holds(bias, call[1]) and bias.shape == call[2]))
        ):
            plan, dtype, _, gradient = call
            wanted = _checked_needs(needs)
            threads = get_num_threads() if num_threads is None else checked_thread_count(num_threads)
            try:
                if dy.shape == plan.out_shape:
                    results = result_arrays(out, wanted, (x, kernel, dy, bias), x.shape, kernel.shape, dtype)
                    dz = dy
                    if gradient is not None:
                        if _in_one_walk(plan, gradient, x, kernel, bias, dy, results, threads):
                            return results
                        z = empty_array(plan.out_shape, dtype, "the output", x)
                        plan.forward(x, kernel, bias, z, LINEAR, threads, False)
                        dz = activation_gradients.in_place(gradient, z, dy, threads)
                    return _execute(plan, plan, x, kernel, dz, results, threads)
            except (ValueError, TypeError, BufferError, MemoryError):
                pass

    wanted = _checked_needs(needs)
    threads = get_num_threads() if num_threads is None else checked_thread_count(num_threads)
    x, kernel, dy = as_array(x, "input"), as_array(kernel, "kernel"), as_array(dy, "dy")
    bias = None if bias is None else as_array(bias, "bias")
    given = x, kernel, dy, bias
    check_dtype(dy, "dy")
    x, kernel, bias, dtype = _arrays(x, kernel, bias)
    if dy.dtype.itemsize == 8 and dtype != FLOAT64:
        dtype = FLOAT64
        x, kernel = native(x, dtype, "input"), native(kernel, dtype, "kernel")
    dy = native(dy, dtype, "dy")
    problem = _problem(x, kernel, strides, padding, dilation_rate, data_format)
    plan = Plan(**problem)
    if dy.shape != plan.out_shape:
        raise ValueError(f"`dy` must have the shape of the output, {plan.out_shape}, received dy.shape={dy.shape}")
    results = result_arrays(out, wanted, given, x.shape, kernel.shape, dtype)
    kernel = contiguous(kernel, "kernel")
    x, x_strides = _walkable(x, "input")
    function, gradient = activations.get(activation), None
    if function is not activations.linear:
        gradient = activation_gradients.get(function)
        packed = row_strides(x) == row_strides(dy) == (0, 0)
        if packed and _in_one_walk(plan, gradient, x, kernel, bias, dy, results, threads):
            _remember(key, plan, dtype, kernel, gradient)
            return results
        z = depthwise_conv1d(
            x, kernel, bias, strides=strides, padding=padding, dilation_rate=dilation_rate, data_format=data_format,
            num_threads=threads, method="direct",
        )  # fmt: skip
        dy = activation_gradients.in_place(gradient, z, dy, threads)
    dy, dy_strides = _walkable(dy, "dy")
    packed = x_strides == dy_strides == (0, 0)
    plan_dx = plan if packed else Plan(**problem, y_strides=dy_strides)
    plan_dkernel = plan if packed else Plan(**problem, x_strides=x_strides, y_strides=dy_strides)
    gradients = _execute(plan_dx, plan_dkernel, x, kernel, dy, results, threads)
    if packed:
        _remember(key, plan, dtype, kernel, gradient)
    return gradients


def _remember(key, plan, dtype, kernel, gradient) -> None:
    if key is None:
        return
    if len(_calls) >= _MOST_CALLS:
        _calls.clear()
    _calls[key] = (plan, dtype, (kernel.shape[1] * kernel.shape[2],), gradient)


def _in_one_walk(plan, gradient, x, kernel, bias, dy, results, threads) -> bool:
    """Whether the core has computed all gradients at once, which is quicker but not for all activations and plans."""
    kind = activation_gradients.compiled_kind(gradient)
    return kind is not None and backward_activated(plan, kind, x, kernel, bias, dy, *results, threads)


def result_arrays(out, wanted, inputs, x_shape, kernel_shape, dtype) -> Gradients:
    """Arrays for the gradients that are wanted: those of the caller, once they have been looked at, or new ones.

    `inputs` are input, kernel, dy and bias.
    """
    if not isinstance(out, (tuple, list)) or len(out) != 3:
        raise TypeError(f"`out` must hold three arrays or None (input, kernel, bias), received out={_described(out)}")
    shapes = x_shape, kernel_shape, (kernel_shape[1] * kernel_shape[2],)
    results = []
    for array, need, shape, name in zip(out, wanted, shapes, ("input", "kernel", "bias"), strict=True):
        if array is None or not need:
            beside = inputs[2] if name == "input" else None  # dx is mostly a convolution of dy
            array = empty_array(shape, dtype, f"the gradient of the {name}", beside) if need else None
        else:
            check_out(array, shape, dtype, (*inputs, *results))
            if not (array.flags.c_contiguous and array.flags.aligned):
                raise ValueError(f"`out` must hold C-contiguous, aligned arrays, received strides={array.strides}")
        results.append(array)
    return tuple(results)


def _described(value) -> str:
    return type(value).__name__ if not isinstance(value, (tuple, list)) else f"{len(value)} of them"


def _execute(plan_dx, plan_dkernel, x, kernel, dy, results, threads) -> Gradients:
    dx, dkernel, dbias = results
    if plan_dx is plan_dkernel:
        backward(plan_dx, x, kernel, dy, dx, dkernel, dbias, threads)
        return results
    if dx is not None:
        backward_input(plan_dx, dy, kernel, dx, threads)
    if dkernel is not None or dbias is not None:
        backward_weight(plan_dkernel, x, dy, dkernel, dbias, threads)
    return results


def _walkable(array, name):
    """An array the core can walk, and its strides for a plan."""
    strides = row_strides(array)
    return (array, strides) if strides is not None else (contiguous(array, name), (0, 0))


def _checked_needs(needs) -> tuple[bool, bool, bool]:
    if isinstance(needs, (tuple, list)):
        if len(needs) == 3 and all(isinstance(need, (bool, np.bool_)) for need in needs):
            return tuple(needs)
        error = ValueError if len(needs) != 3 else TypeError
    else:
        error = TypeError
    raise error(f"`needs` must hold three booleans (input, kernel, bias), received needs={needs!r}")


def _holds(array: np.ndarray, dtype: np.dtype) -> bool:
    """Whether that is the dtype, byte order included; nearly always it is even the same object."""
    return array.dtype is dtype or array.dtype == dtype
