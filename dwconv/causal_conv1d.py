# SPDX-License-Identifier: BSD-3-Clause
"""Causal convolution with the arguments and array shapes of the CUDA package ``causal-conv1d``, on NumPy arrays.

Arrays are (batch, channels, steps) and weights (channels, kernel_size), of any kernel size.  Whether the steps of a
channel or the channels of a step are neighbours in memory is up to the caller; results lie like the input.
"""

from __future__ import annotations

import numpy as np

from dwconv._causal_arguments import (
    are_plain, check_state, checked_arguments, checked_counts, checked_initial, checked_items
)
from dwconv.arrays import as_array, check_out, contiguous, empty_array
from dwconv.functional import depthwise_conv1d
from dwconv.sequence_layout import runs_of

__all__ = ["causal_conv1d_fn", "causal_conv1d_update", "causal_conv_with_state"]

# Columns of a state up to which they are copied one by one, which for NumPy is faster than rows of so few.
_FEW_COLUMNS = 64


def causal_conv1d_fn(
    x: object,
    weight: object,
    bias: object = None,
    seq_idx: object = None,
    initial_states: object = None,
    return_final_states: bool = False,
    final_states_out: np.ndarray | None = None,
    activation: str | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Causal depthwise convolution, from the zero state or a given one.

    ``out[b, c, t] = activation(bias[c] + sum_k weight[c, k] * x[b, c, t - (kernel_size - 1) + k])``

    Parameters
    ----------
    x : array of shape (batch, channels, steps)
        float32 or float64.  Not copied if it is contiguous, or a transposed contiguous (batch, steps, channels).
    weight : array of shape (channels, kernel_size)
        Any kernel size.  A transposed contiguous (kernel_size, channels) is not copied.
    bias : array of shape (channels,), optional
    seq_idx : array of int, shape (batch, steps), optional
        The number of the sequence each step belongs to, each sequence in one piece; no output sees another sequence.
        Steps with a negative number are padding: never read, their outputs zero.
    initial_states : array of shape (batch, channels, kernel_size - 1), optional
        Input before the first step, oldest first.  It belongs to the sequence of the first step.
    return_final_states : bool
        Also return the last ``kernel_size - 1`` inputs of the last sequence, with `initial_states` or zeros before
        them where it is shorter: the `initial_states` of what follows.
    final_states_out : ndarray of shape (batch, channels, kernel_size - 1), optional
        Where `return_final_states` puts them; may be `initial_states`.
    activation : {None, "silu", "swish"}

    Returns
    -------
    out : ndarray of shape (batch, channels, steps)
        In the dtype of x.
    final_states : ndarray of shape (batch, channels, kernel_size - 1)
        Only with `return_final_states`.

    Raises
    ------
    TypeError
        Wrong type or dtype of an argument.
    ValueError
        Wrong shape or value; `final_states_out` is then unchanged.

    Notes
    -----
    The interface is that of ``causal_conv1d_fn`` in https://github.com/Dao-AILab/causal-conv1d.

    Examples
    --------
    >>> import numpy as np, dwconv
    >>> dwconv.causal_conv1d_fn(np.ones((1, 1, 4)), np.ones((1, 3)))
    array([[[1., 2., 3., 3.]]])
    """
    x, kernel, bias = checked_arguments(x, weight, bias, activation)
    if x.ndim != 3:
        raise ValueError(f"`x` must have shape (batch, channels, steps), received x.shape={x.shape}")
    batch, channels, steps = x.shape
    memory = len(kernel) - 1
    shape = (batch, channels, memory)
    before = None if initial_states is None else checked_initial(initial_states, "initial_states", shape, x.dtype)
    runs = None if seq_idx is None else runs_of(seq_idx, batch, steps)
    if return_final_states and final_states_out is not None:
        check_out(final_states_out, shape, x.dtype, (x, kernel, bias), name="final_states_out")

    channels_last = x.strides[1] == x.itemsize and (steps == 1 or not x.flags.c_contiguous)
    rows = x.transpose(0, 2, 1) if channels_last else x
    out = empty_array(rows.shape, np.result_type(x, kernel, x if bias is None else bias), "the output", rows)
    y = out.transpose(0, 2, 1) if channels_last else out
    options = dict(
        data_format="channels_last" if channels_last else "channels_first", activation=activation, method="direct"
    )
    if before is None or runs is not None:
        depthwise_conv1d(rows, kernel, bias, padding="causal", seq_idx=seq_idx, out=out, **options)
    elif steps > memory:
        later = out[:, memory:] if channels_last else out[:, :, memory:]
        depthwise_conv1d(rows, kernel, bias, padding="valid", out=later, **options)
    if before is not None:
        for items, head in _heads(runs, batch, min(memory, steps)):
            window = _window(before[items], x[items, :, :head])
            first = depthwise_conv1d(window, kernel, bias, activation=activation, method="direct")
            y[items, :, :head] = first.transpose(0, 2, 1)
    y = y.astype(x.dtype, copy=False)
    if not return_final_states:
        return y
    final = _final(x, before, memory, runs)
    if final_states_out is None:
        return y, final
    final_states_out[...] = final
    return y, final_states_out


def causal_conv1d_update(
    x: object,
    conv_state: np.ndarray,
    weight: object,
    bias: object = None,
    activation: str | None = None,
    cache_seqlens: object = None,
    conv_state_indices: object = None,
) -> np.ndarray:
    """The next step, or few steps, of a causal convolution; `conv_state` is updated in place.

    Parameters
    ----------
    x : array of shape (batch, channels) or (batch, channels, steps)
        float32 or float64.
    conv_state : ndarray of shape (batch, channels, state_len)
        The last ``state_len >= kernel_size - 1`` inputs, oldest first, in the dtype of x.  A transposed contiguous
        (batch, state_len, channels) is updated fastest.
    weight : array of shape (channels, kernel_size)
        Any kernel size.  A transposed contiguous (kernel_size, channels) is not copied.
    bias : array of shape (channels,), optional
    activation : {None, "silu", "swish"}
    cache_seqlens : array of int, shape (batch,), optional
        Steps seen so far.  Then `conv_state` is a circular buffer: the input of step t is at ``t % state_len``.
    conv_state_indices : array of int, shape (batch,), optional
        Which item of `conv_state` belongs to each item of x; then `conv_state` may have any number of items.  Items
        of x with a negative index are padding: their output is zero.

    Returns
    -------
    ndarray in the shape and dtype of x
        The same bits as those steps have in `causal_conv1d_fn` over the whole sequence.

    Raises
    ------
    TypeError
        Wrong type or dtype of an argument.
    ValueError
        Wrong shape or value; `conv_state` is then unchanged.

    Notes
    -----
    The interface is that of ``causal_conv1d_update`` in https://github.com/Dao-AILab/causal-conv1d.

    Examples
    --------
    >>> import numpy as np, dwconv
    >>> state = np.zeros((1, 1, 2))
    >>> [dwconv.causal_conv1d_update(np.ones((1, 1)), state, np.ones((1, 3))).item() for _ in range(4)]
    [1.0, 2.0, 3.0, 3.0]
    """
    if cache_seqlens is conv_state_indices is None and are_plain(x, conv_state, weight, bias, activation):
        return _next_step(x, conv_state, weight, bias, activation)
    x, kernel, bias = checked_arguments(x, weight, bias, activation)
    one_step = x.ndim == 2
    if one_step:
        x = x[:, :, np.newaxis]
    elif x.ndim != 3:
        raise ValueError(
            f"`x` must have shape (batch, channels) or (batch, channels, steps), received x.shape={x.shape}"
        )
    batch = len(x)
    memory = len(kernel) - 1
    check_state(conv_state, batch if conv_state_indices is None else None, x, memory)
    seen = None if cache_seqlens is None else checked_counts(cache_seqlens, "cache_seqlens", batch)
    if conv_state_indices is None:
        y = _update(x, conv_state, slice(None), seen, kernel, bias, activation)
    else:
        items = checked_items(conv_state_indices, batch, len(conv_state))
        active = items >= 0
        if batch == 1 and active[0] and seen is None:
            y = _update(x, conv_state, slice(items[0], items[0] + 1), seen, kernel, bias, activation)
        elif active.all():
            y = _update(x, conv_state, items, seen, kernel, bias, activation)
        else:
            y = np.zeros(x.shape, x.dtype)
            seen = None if seen is None else seen[active]
            y[active] = _update(x[active], conv_state, items[active], seen, kernel, bias, activation)
    return y[:, :, 0] if one_step else y


def causal_conv_with_state(
    input: object,
    weight: object,
    bias: object = None,
    past_state: object = None,
    activation: str = "none",
) -> tuple[np.ndarray, np.ndarray]:
    """The operator ``CausalConvWithState`` of ONNX (operator set 27).

    Parameters
    ----------
    input : array of shape (batch, channels, length)
    weight : array of shape (channels, 1, k)
    bias : array of shape (channels,), optional
    past_state : array of shape (batch, channels, k - 1), optional
        Zeros if it is None.
    activation : {"none", "silu", "swish"}

    Returns
    -------
    output : ndarray of shape (batch, channels, length)
    present_state : ndarray of shape (batch, channels, k - 1)
        The last k - 1 inputs, with those of `past_state` before them.

    Raises
    ------
    TypeError, ValueError
        As `causal_conv1d_fn`.

    Notes
    -----
    https://onnx.ai/onnx/operators/onnx__CausalConvWithState.html
    """
    weight = as_array(weight, "weight")
    if weight.ndim != 3 or weight.shape[1] != 1:
        raise ValueError(f"`weight` must have shape (channels, 1, k), received weight.shape={weight.shape}")
    if activation not in ("none", "silu", "swish"):
        raise ValueError(f"`activation` must be 'none', 'silu' or 'swish', received activation={activation!r}")
    return causal_conv1d_fn(
        input, weight[:, 0], bias, initial_states=past_state, return_final_states=True,
        activation=None if activation == "none" else activation,
    )  # fmt: skip


def _next_step(x, state, weight, bias, activation):
    """`_update` of plain arrays, with as few calls of NumPy as can be."""
    (batch, channels), taps = x.shape, weight.shape[1]
    window = np.empty((batch, taps, channels), x.dtype)
    by_steps = state.transpose(0, 2, 1)
    window[:, :-1] = by_steps
    window[:, -1] = x
    kernel = contiguous(weight.T, "weight")[:, :, np.newaxis]
    y = depthwise_conv1d(window, kernel, bias, activation=activation, method="direct")
    if by_steps.strides[2] == x.itemsize:
        by_steps[...] = window[:, 1:]
    else:
        _put(window[:, 1:].transpose(0, 2, 1), state, slice(None), 0)
    return y[:, 0]


def _update(x, state, items, seen, kernel, bias, activation):
    """Output of the steps x, after the state of `items` (an index array or a slice) was advanced by them."""
    memory, steps, length = len(kernel) - 1, x.shape[2], state.shape[2]
    if steps == 0:
        return np.empty(x.shape, x.dtype)
    if seen is None:
        window = _window(state[items, :, length - memory :], x)
    else:
        numbers = np.arange(len(state))[items]
        past = (seen[:, np.newaxis] + np.arange(-memory, 0)) % max(length, 1)
        window = _window(state[numbers[:, np.newaxis], :, past].transpose(0, 2, 1), x)
    y = depthwise_conv1d(window, kernel, bias, activation=activation, method="direct")

    kept = min(steps, length)
    new = window[:, memory + steps - kept :]
    if seen is not None:
        for step in range(kept):
            state[numbers, :, (seen + steps - kept + step) % length] = new[:, step]
    else:
        if length == memory:  # the window holds all of it
            new = window[:, steps:]
        left = length - new.shape[1]
        if left:
            _put(state[items, :, new.shape[1] :], state, items, 0)
        _put(new.transpose(0, 2, 1), state, items, left)
    y = y.transpose(0, 2, 1).astype(x.dtype, copy=False)
    return contiguous(y, "the output") if x.flags.c_contiguous else y


def _put(source, target, items, at):
    """``target[items, :, at : at + steps] = source``, all (batch, channels, steps).

    The source may be a later part of the target.
    """
    steps = source.shape[2]
    if steps <= _FEW_COLUMNS:
        for step in range(steps):
            target[items, :, at + step] = source[:, :, step]
    else:
        target[items, :, at : at + steps] = source


def _window(before, x):
    """The two (batch, channels, steps), joined, as (batch, steps, channels)."""
    memory = before.shape[2]
    window = np.empty((len(x), memory + x.shape[2], x.shape[1]), x.dtype)
    window[:, :memory] = before.transpose(0, 2, 1)
    window[:, memory:] = x.transpose(0, 2, 1)
    return window


def _heads(runs, batch, most):
    """Batch items whose first sequence begins with the first step, and its steps, at most `most`."""
    if runs is None:
        return [(slice(None), most)] if most and batch else []
    first = (run for run in zip(*runs, strict=True) if run[1] == 0)
    return [(slice(item, item + 1), min(most, stop)) for item, _, stop in first] if most else []


def _final(x, before, memory, runs):
    """The last inputs of the last sequence of each item."""
    batch, channels, steps = x.shape
    final = np.zeros((batch, channels, memory), x.dtype)
    if runs is None:
        n = min(memory, steps)
        if before is not None:
            _put(before[:, :, n:], final, slice(None), 0)
        _put(x[:, :, steps - n :], final, slice(None), memory - n)
        return final
    if before is not None:
        final[...] = before  # of items without any sequence
    for item, start, stop in zip(*runs, strict=True):  # the last one stays
        n = min(memory, stop - start)
        final[item, :, : memory - n] = 0 if before is None or start else before[item, :, n:]
        final[item, :, memory - n :] = x[item, :, stop - n : stop]
    return final
