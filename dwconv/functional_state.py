# SPDX-License-Identifier: BSD-3-Clause
"""`depthwise_conv1d` with a state that is handed from one call to the next."""

from __future__ import annotations

import numpy as np

from dwconv.arrays import as_array, check_out, contiguous
from dwconv.functional import _arrays, _checked_padding, _positive, checked_method, depthwise_conv1d
from dwconv.stream import DepthwiseConv1DStream
from dwconv.threads import checked_thread_count, get_num_threads


def convolve_with_state(
    x, kernel, bias, *, strides, padding, dilation_rate, data_format, activation, out, num_threads, method, state,
    return_state,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """What `depthwise_conv1d` does if `state` or `return_state` is given."""
    given = (as_array(x, "input"), as_array(kernel, "kernel"), None if bias is None else as_array(bias, "bias"))
    x, kernel, bias, dtype = _arrays(*given)
    stride, dilation = _positive(strides, "strides"), _positive(dilation_rate, "dilation_rate")
    if checked_method(method) == "fft":
        raise ValueError("`method` must be 'auto' or 'direct' with `state` or `return_state`, received method='fft'")
    if _checked_padding(padding) not in ("causal", "valid") or (padding == "valid" and stride > 1):
        raise ValueError(
            "`padding` must be 'causal', or 'valid' with strides=1, with `state` or `return_state`; a stream "
            f"(dwconv.DepthwiseConv1DStream) can have any. Received padding={padding!r}, strides={stride}"
        )
    if bool(len(x)):
        stream = DepthwiseConv1DStream(
            kernel, bias, batch_size=len(x), strides=stride, padding=padding, dilation_rate=dilation,
            data_format=data_format, activation=activation,
        )  # fmt: skip
        x = stream._suitable(x, 3)
    axis = 2 if data_format == "channels_first" else 1
    reach, steps = (len(kernel) - 1) * dilation, x.shape[axis]
    if return_state and steps % stride:
        raise ValueError(
            "`input` must have a multiple of `strides` steps with `return_state`; a stream "
            f"(dwconv.DepthwiseConv1DStream) takes any. Received input.shape={x.shape}, strides={stride}"
        )
    if state is None:
        state = np.zeros((*x.shape[:axis], 0, *x.shape[axis + 1 :]), dtype)
    else:
        state = _checked_state(state, x, axis, reach)
    threads = get_num_threads() if num_threads is None else checked_thread_count(num_threads)
    known = state.shape[axis]
    if len(x) == 0:
        left = reach if padding == "causal" else known
        y = depthwise_conv1d(
            x, kernel, bias, strides=stride, padding=(left, 0), dilation_rate=dilation, data_format=data_format,
            activation=activation, method="direct",
        )  # fmt: skip
    else:
        history = stream._empty_history()
        _last(history, axis, known)[...] = state
        # Steps before this call, rounded up so that its first one begins a stride.
        position = -(-known // stride) * stride
        marks = np.array([(position, known, 0)] * len(x), np.int64)
        stream._load(history.reshape(len(x), -1, 1).view(np.int8), marks)
        if out is not None:
            shape = list(x.shape)
            shape[axis] = -(-steps // stride) if padding == "causal" else max(steps + known - reach, 0)
            shape[3 - axis] = kernel.shape[1] * kernel.shape[2]
            check_out(out, tuple(shape), dtype, (*given, state))
        y = stream._push(x, threads)
    if out is not None:
        out[...] = y
        y = out
    if not return_state:
        return y
    kept = min(max(reach - steps, 0), known)
    return y, np.concatenate((_last(state, axis, kept), _last(x, axis, min(steps, reach))), axis=axis)


def _last(array: np.ndarray, axis: int, steps: int) -> np.ndarray:
    """The last `steps` along the axis of time."""
    first = array.shape[axis] - steps
    return array[:, first:] if axis == 1 else array[:, :, first:]


def _checked_state(state: object, x: np.ndarray, axis: int, reach: int) -> np.ndarray:
    state = as_array(state, "state")
    if state.dtype != x.dtype:
        raise ValueError(f"`state` must have the dtype of the result, {x.dtype}, received state.dtype={state.dtype}")
    sizes = list(x.shape)
    sizes[axis] = state.shape[axis] if state.ndim == 3 else -1
    if state.shape != tuple(sizes) or state.shape[axis] > reach:
        sizes[axis] = f"{reach} or fewer"
        raise ValueError(
            f"`state` must have shape ({', '.join(map(str, sizes))}), the last (kernel_size - 1) * dilation_rate "
            f"inputs, received state.shape={state.shape}"
        )
    return contiguous(state, "state")
