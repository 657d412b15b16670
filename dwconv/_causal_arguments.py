# SPDX-License-Identifier: BSD-3-Clause
"""Arguments of the functions of causal_conv1d.py, checked."""

from __future__ import annotations

import numpy as np

from dwconv.arrays import FLOAT32, FLOAT64, as_array, check_dtype, contiguous, native
from dwconv.sequence_layout import checked_integers

ACTIVATIONS = (None, "silu", "swish")


def are_plain(x, state, weight, bias, activation) -> bool:
    """Whether that is what decoders pass in every step: arrays of one dtype, and no more state than is needed."""
    if not (type(x) is type(state) is type(weight) is np.ndarray and (bias is None or type(bias) is np.ndarray)):
        return False
    dtype = x.dtype
    return (
        (dtype is FLOAT32 or dtype is FLOAT64)
        and dtype is state.dtype is weight.dtype
        and x.ndim == weight.ndim == 2
        and weight.shape[1] > 1
        and state.shape == (*x.shape, weight.shape[1] - 1)
        and weight.shape[0] == x.shape[1]
        and (bias is None or (bias.dtype is dtype and bias.shape == weight.shape[:1]))
        and state.flags.writeable
        and activation in ACTIVATIONS
    )


def checked_arguments(x, weight, bias, activation):
    """x, the kernel of `depthwise_conv1d` and the bias, checked but for the rank of x."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"`activation` must be None, 'silu' or 'swish', received activation={activation!r}")
    x, weight = as_array(x, "x"), as_array(weight, "weight")
    check_dtype(x, "x")
    check_dtype(weight, "weight")
    if weight.ndim != 2 or weight.shape[1] < 1 or x.ndim < 2 or weight.shape[0] != x.shape[1]:
        raise ValueError(
            "`weight` must have shape (channels, kernel_size) with the channels of x, "
            f"received weight.shape={weight.shape}, x.shape={x.shape}"
        )
    if bias is not None:
        bias = as_array(bias, "bias")
        check_dtype(bias, "bias")
        if bias.shape != weight.shape[:1]:
            raise ValueError(
                f"`bias` must have shape (channels,) = {weight.shape[:1]}, received bias.shape={bias.shape}"
            )
    if not x.dtype.isnative:
        x = native(x, x.dtype.newbyteorder("="), "x")
    return x, contiguous(weight.T, "weight")[:, :, np.newaxis], bias


def checked_initial(states, name, shape, dtype):
    states = as_array(states, name)
    if states.shape != shape or states.dtype.newbyteorder("=") != dtype:
        raise ValueError(
            f"`{name}` must have shape (batch, channels, kernel_size - 1) = {shape} and the dtype of x, {dtype}, "
            f"received shape {states.shape} and dtype {states.dtype}"
        )
    return native(states, dtype, name)


def check_state(state, batch, x, memory):
    if not isinstance(state, np.ndarray):
        raise TypeError(f"`conv_state` must be a numpy.ndarray, received conv_state of type {type(state).__name__}")
    fits = state.ndim == 3 and state.shape[1] == x.shape[1] and state.shape[2] >= memory
    if not fits or batch not in (None, len(state)):
        items = "items" if batch is None else batch
        raise ValueError(
            f"`conv_state` must have shape ({items}, {x.shape[1]}, state_len) with state_len >= kernel_size - 1 = "
            f"{memory}, received conv_state.shape={state.shape}"
        )
    if state.dtype != x.dtype:
        raise ValueError(f"`conv_state` must have the dtype of x, {x.dtype}, received conv_state.dtype={state.dtype}")
    if not state.flags.writeable:
        raise ValueError("`conv_state` must be writable, received a read-only array")


def checked_counts(values, name, batch):
    numbers = checked_integers(values, name)
    if numbers.shape != (batch,):
        raise ValueError(f"`{name}` must have shape (batch,) = ({batch},), received shape {numbers.shape}")
    if batch and numbers.min() < 0:
        raise ValueError(f"`{name}` must not be negative, received {int(numbers.min())}")
    return numbers.astype(np.int64)


def checked_items(indices, batch, available):
    numbers = checked_integers(indices, "conv_state_indices").astype(np.int64)
    if numbers.shape != (batch,):
        raise ValueError(f"`conv_state_indices` must have shape (batch,) = ({batch},), received shape {numbers.shape}")
    if batch and numbers.max() >= available:
        raise ValueError(
            f"`conv_state_indices` must be less than the {available} items of conv_state, received {int(numbers.max())}"
        )
    used = np.sort(numbers[numbers >= 0])
    if (used[1:] == used[:-1]).any():
        twice = int(used[1:][used[1:] == used[:-1]][0])
        raise ValueError(f"`conv_state_indices` must name each item once, received {twice} more than once")
    return numbers
