# SPDX-License-Identifier: BSD-3-Clause
"""Sequences of different lengths in one array, padded or packed end to end.

Each sequence is a convolution of its own on a part of the arrays, in place: a core call for every sequence, or for
every run of neighbours of one length.  So a result has the bits it would have alone, and nothing outside is read.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dwconv import activations
from dwconv._core import Plan
from dwconv.arrays import as_array, check_dtype, check_out, contiguous, empty_array, row_strides
from dwconv.functional import (
    _arrays,
    _checked_padding,
    _positive,
    _problem,
    depthwise_conv1d,
    takes_fft,
)
from dwconv.fused import split_activation
from dwconv.sequence_layout import Layout, checked_integers, output_steps
from dwconv.threads import checked_thread_count, get_num_threads

__all__ = ["output_lengths"]

Padding = str | tuple[int, int]


def output_lengths(
    lengths: object, kernel_size: int, *, strides: int = 1, padding: Padding = "valid", dilation_rate: int = 1
) -> np.ndarray:
    """Output steps of sequences of these lengths.

    Parameters
    ----------
    lengths : int or array of int
        Steps, not negative.
    kernel_size, strides, dilation_rate : int
        Steps, at least 1.
    padding : {"valid", "same", "causal"} or (int, int)
        As in `depthwise_conv1d`.

    Returns
    -------
    ndarray of int64
        In the shape of `lengths`; 0 where a sequence is shorter than the effective kernel.

    Raises
    ------
    TypeError
        If `lengths` does not hold integers.
    ValueError
        If a length is negative, or another argument is out of its range.

    Examples
    --------
    >>> import dwconv
    >>> dwconv.output_lengths([10, 3, 7], 5, strides=2)
    array([3, 0, 2])
    """
    given = checked_integers(lengths, "lengths")
    if given.size and given.min() < 0:
        raise ValueError(f"`lengths` must not be negative, received {int(given.min())}")
    size, stride = _positive(kernel_size, "kernel_size"), _positive(strides, "strides")
    return output_steps(given, _checked_padding(padding), size, stride, _positive(dilation_rate, "dilation_rate"))


def convolve_sequences(
    x: object,
    kernel: object,
    bias: object,
    *,
    strides: int,
    padding: Padding,
    dilation_rate: int,
    data_format: str,
    activation: str | Callable | None,
    out: np.ndarray | None,
    num_threads: int | None,
    method: str,
    lengths: object,
    cu_seqlens: object,
    seq_idx: object,
) -> np.ndarray:
    """`depthwise_conv1d` with `lengths`, `cu_seqlens` or `seq_idx`."""
    given = (as_array(x, "input"), as_array(kernel, "kernel"), None if bias is None else as_array(bias, "bias"))
    x, kernel, bias, dtype = _arrays(*given)
    kernel, bias = contiguous(kernel, "kernel"), None if bias is None else contiguous(bias, "bias")
    x = contiguous(x, "input") if row_strides(x) is None else x
    function = activations.get(activation)
    fused, rest = split_activation(function)
    by_fft = takes_fft(method, kernel)
    threads = get_num_threads() if num_threads is None else checked_thread_count(num_threads)
    options = dict(strides=strides, padding=padding, dilation_rate=dilation_rate, data_format=data_format)
    layout = Layout(x, kernel, lengths=lengths, cu_seqlens=cu_seqlens, seq_idx=seq_idx, **options)

    if out is not None:
        check_out(out, layout.out_shape, dtype, given)
    in_place = out is not None and rest is None and row_strides(out) is not None
    y = out if in_place else empty_array(layout.out_shape, dtype, "the output", x)
    plans = {}
    # The blocks of an FFT, and a callable, may see all of their array, so each sequence gets its own.
    for sequence in layout.sequences(together=not by_fft and rest is None):
        part, y_part = layout.input(x, sequence), layout.output(y, sequence)
        if by_fft:
            depthwise_conv1d(part, kernel, bias, **options, activation=function, out=y_part, num_threads=threads,
                             method=method)  # fmt: skip
            continue
        plan = plans.get((sequence.steps, sequence.count))
        if plan is None:
            plan = Plan(**_problem(part, kernel, **options), x_strides=row_strides(part), y_strides=row_strides(y_part))
            plans[sequence.steps, sequence.count] = plan
        plan.forward(part, kernel, bias, y_part, fused, threads, False)
        if rest is not None:
            y_part[...] = rest(y_part)
    layout.clear_masked(y)
    if out is None or in_place:
        return y
    out[...] = y
    return out


def sequence_gradients(
    x: object,
    kernel: object,
    dy: object,
    *,
    strides: int,
    padding: Padding,
    dilation_rate: int,
    data_format: str,
    needs: tuple[bool, bool, bool],
    bias: object,
    activation: str | Callable | None,
    out: tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None],
    num_threads: int | None,
    lengths: object,
    cu_seqlens: object,
    seq_idx: object,
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """`depthwise_conv1d_backward` with `lengths`, `cu_seqlens` or `seq_idx`."""
    from dwconv.gradients import depthwise_conv1d_backward, result_arrays

    given = (as_array(x, "input"), as_array(kernel, "kernel"), None if bias is None else as_array(bias, "bias"))
    x, kernel, bias, dtype = _arrays(*given)
    dy = as_array(dy, "dy")
    options = dict(strides=strides, padding=padding, dilation_rate=dilation_rate, data_format=data_format)
    layout = Layout(x, kernel, lengths=lengths, cu_seqlens=cu_seqlens, seq_idx=seq_idx, **options)
    check_dtype(dy, "dy")
    if dy.shape != layout.out_shape:
        raise ValueError(f"`dy` must have the shape of the output, {layout.out_shape}, received dy.shape={dy.shape}")
    dtype = np.result_type(dtype, dy.dtype.newbyteorder("="))
    threads = get_num_threads() if num_threads is None else checked_thread_count(num_threads)
    results = dx, *weights = result_arrays(out, needs, (*given[:2], dy, given[2]), x.shape, kernel.shape, dtype)
    function = activations.get(activation)
    options |= dict(needs=needs, bias=bias, activation=function, num_threads=threads)
    # In float64, so that the error does not grow with the number of sequences.
    totals = [None if array is None else np.zeros(array.shape) for array in weights]
    # An activation may see all of its array, so each sequence gets its own.
    for sequence in layout.sequences(together=split_activation(function)[1] is None):
        part = depthwise_conv1d_backward(layout.input(x, sequence), kernel, layout.output(dy, sequence), **options)
        for total, own in zip(totals, part[1:], strict=True):
            if total is not None:
                total += own
        if dx is not None:
            layout.input(dx, sequence)[...] = part[0]
    if dx is not None:
        layout.clear_masked_input(dx)
    for array, total in zip(weights, totals, strict=True):
        if array is not None:
            array[...] = total
    return results
