# SPDX-License-Identifier: BSD-3-Clause
"""Depthwise 1-D convolution of arrays."""

from __future__ import annotations

from collections.abc import Callable
from operator import index

import numpy as np

from dwconv import activations
from dwconv._core import Plan
from dwconv.arrays import as_array, check_dtype, native, row_strides
from dwconv.fused import split_activation
from dwconv.padding import PADDING_NAMES, checked_padding
from dwconv.threads import checked_thread_count, get_num_threads

__all__ = ["depthwise_conv1d"]

DATA_FORMATS = ("channels_last", "channels_first")

_LARGEST = 2**63 - 1
_plans: dict[tuple, Plan] = {}
_MOST_PLANS = 256


def depthwise_conv1d(
    x: object,
    kernel: object,
    bias: object = None,
    *,
    strides: int = 1,
    padding: str | tuple[int, int] = "valid",
    dilation_rate: int = 1,
    data_format: str = "channels_last",
    activation: str | Callable | None = None,
    out: np.ndarray | None = None,
    num_threads: int | None = None,
) -> np.ndarray:
    """Convolves every channel with filters of its own.

    ``y[b, i, c*M + m] = activation(bias[c*M + m] + sum_k x[b, i*strides + k*dilation_rate - left, c] * kernel[k, c, m])``

    summed over the taps whose input step exists; padding is absent, not multiplied, so that infinite weights do
    not meet padding zeros.  This is cross-correlation: the kernel is not flipped.

    Parameters
    ----------
    x : array of shape (batch, steps, channels), or (batch, channels, steps) with ``"channels_first"``
        float32 or float64; any strides, byte order or writability, or a CPU object with ``__dlpack__``.
        Native C-contiguous input is not copied.
    kernel : array of shape (kernel_size, channels, depth_multiplier)
        In either data format.
    bias : array of shape (channels * depth_multiplier,), optional
    strides, dilation_rate : int
        Steps, at least 1; both may be greater than 1.
    padding : {"valid", "same", "causal"} or (int, int)
        ``"same"`` gives ``ceil(steps / strides)`` output steps, the odd step of padding on the right;
        ``"causal"`` pads ``(kernel_size - 1) * dilation_rate`` steps on the left, so that no output depends on later input; a
        pair is (left, right) in steps, where negative numbers skip input.
    data_format : {"channels_last", "channels_first"}
    activation : str, callable or None
        A name of :mod:`dwconv.activations`, or a function of the output array.
    out : ndarray, optional
        Where to put the result: exact shape and dtype, writable, not overlapping an input.
    num_threads : int, optional
        Most threads to use; see :mod:`dwconv.threads`.

    Returns
    -------
    ndarray of shape (batch, out_steps, channels * depth_multiplier), or (batch, channels * depth_multiplier, out_steps)
        `out` if given.  Its dtype is ``numpy.result_type`` of the arrays.

    Raises
    ------
    TypeError
        Wrong type or dtype of an argument.
    ValueError
        Wrong shape or value, or an output of no steps with ``"valid"`` or explicit padding.
    MemoryError
        If the result cannot be allocated.

    Examples
    --------
    >>> import numpy as np, dwconv
    >>> x = np.arange(6.0).reshape(1, 3, 2)
    >>> dwconv.depthwise_conv1d(x, np.ones((2, 2, 1)), padding="causal")
    array([[[ 0.,  1.],
            [ 2.,  4.],
            [ 6.,  8.]]])
    """
    x, kernel, bias, dtype = _arrays(x, kernel, bias)
    function = activations.get(activation)
    fused, rest = split_activation(function)
    threads = get_num_threads() if num_threads is None else checked_thread_count(num_threads)

    x_strides = row_strides(x)
    if x_strides is None:
        x, x_strides = np.ascontiguousarray(x), (0, 0)
        if not x.flags.aligned:
            x = x.copy()
    y, y_strides = (None, (0, 0)) if out is None or rest is not None else _target(out, dtype, (x, kernel, bias))
    plan = _plan(x, kernel, strides, padding, dilation_rate, data_format, x_strides, y_strides)

    if y is None:
        y = _empty(plan.out_shape, dtype)
    elif y.shape != plan.out_shape:
        raise ValueError(f"`out` must have the shape of the output, {plan.out_shape}, received out.shape={out.shape}")
    plan.forward(x, kernel, bias, y, *fused, threads)

    if rest is not None:
        y = rest(y)
    if out is None:
        return y
    if y is not out:
        _store(out, y, (x, kernel, bias))
    return out


def _arrays(x, kernel, bias):
    """The arrays in the dtype of the result, native, with the shapes of a convolution but for the channels of x."""
    x = as_array(x, "input")
    kernel = as_array(kernel, "kernel")
    check_dtype(x, "input")
    check_dtype(kernel, "kernel")
    dtype = np.result_type(x, kernel) if x.dtype != kernel.dtype else x.dtype
    if bias is not None:
        bias = as_array(bias, "bias")
        check_dtype(bias, "bias")
        if bias.dtype != dtype:
            dtype = np.result_type(dtype, bias)
    dtype = dtype if dtype.isnative else dtype.newbyteorder("=")
    if x.ndim != 3:
        raise ValueError(f"`input` must have 3 dimensions (batch, steps, channels), received input.shape={x.shape}")
    if kernel.ndim != 3:
        raise ValueError(
            "`kernel` must have 3 dimensions (kernel_size, channels, depth_multiplier), "
            f"received kernel.shape={kernel.shape}"
        )
    if kernel.shape[0] < 1 or kernel.shape[2] < 1:
        raise ValueError(
            f"`kernel` must have a positive kernel_size and depth_multiplier, received kernel.shape={kernel.shape}"
        )
    outputs = kernel.shape[1] * kernel.shape[2]
    if bias is not None and bias.shape != (outputs,):
        raise ValueError(
            f"`bias` must have shape (channels * depth_multiplier,) = ({outputs},), received bias.shape={bias.shape}"
        )
    x = native(x, dtype)
    kernel = np.require(native(kernel, dtype), requirements="CA")
    bias = None if bias is None else np.require(native(bias, dtype), requirements="CA")
    return x, kernel, bias, dtype


def _plan(x, kernel, strides, padding, dilation_rate, data_format, x_strides, y_strides) -> Plan:
    """The plan for these shapes and options; plans are kept, because most programs use few."""
    strides = _positive(strides, "strides")
    dilation_rate = _positive(dilation_rate, "dilation_rate")
    padding = _checked_padding(padding)
    if not isinstance(data_format, str) or data_format not in DATA_FORMATS:
        raise ValueError(f"`data_format` must be one of {DATA_FORMATS}, received data_format={data_format!r}")
    channels_first = data_format == "channels_first"
    key = (x.shape, kernel.shape, x.dtype.char, strides, padding, dilation_rate, channels_first, x_strides, y_strides)
    plan = _plans.get(key)
    if plan is None:
        if len(_plans) >= _MOST_PLANS:
            _plans.clear()
        plan = _plans[key] = _make_plan(*key)
    return plan


def _make_plan(
    x_shape, kernel_shape, dtype_char, stride, padding, dilation, channels_first, x_strides, y_strides
) -> Plan:
    kernel_size, channels, multiplier = kernel_shape
    batch, in_steps, in_channels = x_shape
    if channels_first:
        in_steps, in_channels = in_channels, in_steps
    if in_channels != channels:
        raise ValueError(
            f"`input` must have as many channels as the kernel: expected {channels}, received {in_channels} "
            f"with input.shape={x_shape}, kernel.shape={kernel_shape}"
        )
    if (kernel_size - 1) * dilation + 1 > _LARGEST:
        raise ValueError(
            f"`dilation_rate` is too large for this kernel, received dilation_rate={dilation}, kernel_size={kernel_size}"
        )
    pad_left, out_steps = checked_padding(padding, in_steps, kernel_size, stride, dilation)
    check_allocation((batch, out_steps, channels * multiplier), np.dtype(dtype_char))
    return Plan(
        batch=batch, in_steps=in_steps, channels=channels, depth_multiplier=multiplier, kernel_size=kernel_size,
        stride=stride, dilation=dilation, pad_left=pad_left, out_steps=out_steps, channels_first=channels_first,
        double_precision=dtype_char == "d", x_strides=x_strides, y_strides=y_strides,
    )  # fmt: skip


def _positive(value, name: str) -> int:
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"`{name}` must be a positive integer, received {name}={value!r}")
    if isinstance(value, (tuple, list)) and len(value) == 1:
        return _positive(value[0], name)
    if isinstance(value, (tuple, list)):
        raise ValueError(f"`{name}` must be one positive integer, received {name}={value!r}")
    try:
        value = index(value)
    except TypeError:
        raise TypeError(f"`{name}` must be a positive integer, received {name}={value!r}") from None
    if value < 1:
        raise ValueError(f"`{name}` must be a positive integer, received {name}={value}")
    if value > _LARGEST:
        raise ValueError(f"`{name}` is too large (63 bits), received {name}={value}")
    return value


def _checked_padding(padding) -> str | tuple[int, int]:
    if isinstance(padding, str):
        if padding in PADDING_NAMES:
            return padding
    elif isinstance(padding, (tuple, list)) and len(padding) == 2:
        try:
            left, right = index(padding[0]), index(padding[1])
        except TypeError:
            raise TypeError(f"`padding` must hold two integers (left, right), received padding={padding!r}") from None
        if isinstance(padding[0], bool) or isinstance(padding[1], bool):
            raise TypeError(f"`padding` must hold two integers (left, right), received padding={padding!r}")
        if max(abs(left), abs(right)) > _LARGEST // 8:
            raise ValueError(f"`padding` is too large (60 bits), received padding={padding!r}")
        return left, right
    raise ValueError(
        f"`padding` must be one of {PADDING_NAMES} or a pair of integers (left, right), received padding={padding!r}"
    )


def check_allocation(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Bytes of an array; MemoryError if no machine could hold them."""
    size = dtype.itemsize
    for n in shape:
        size *= n
    if size > _LARGEST:
        raise MemoryError(f"an array of shape {shape} and dtype {dtype} needs {size} bytes")
    return size


def _empty(shape, dtype) -> np.ndarray:
    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError):
        size = check_allocation(shape, dtype)
        raise MemoryError(f"cannot allocate the output: shape {shape}, dtype {dtype}, {size} bytes") from None


def _target(out, dtype, inputs) -> tuple[np.ndarray | None, tuple[int, int]]:
    """`out` and its strides if the core can write there, None if the result has to be copied to it."""
    _check_out(out, dtype, inputs)
    strides = row_strides(out) if out.ndim == 3 and out.dtype.isnative else None
    return (None, (0, 0)) if strides is None else (out, strides)


def _check_out(out, dtype, inputs) -> None:
    if not isinstance(out, np.ndarray):
        raise TypeError(f"`out` must be a numpy.ndarray, received out of type {type(out).__name__}")
    if out.dtype != dtype:
        raise ValueError(f"`out` must have the dtype of the result, {dtype}, received out.dtype={out.dtype}")
    if not out.flags.writeable:
        raise ValueError("`out` must be writable, received a read-only array")
    for array in inputs:
        if array is not None and np.may_share_memory(out, array) and np.shares_memory(out, array):
            raise ValueError("`out` must not overlap an input or the weights, received overlapping memory")


def _store(out, result, inputs) -> None:
    """Copies a result that could not be computed in place."""
    result = np.asarray(result)
    _check_out(out, result.dtype, inputs)
    if out.shape != result.shape:
        raise ValueError(f"`out` must have the shape of the output, {result.shape}, received out.shape={out.shape}")
    out[...] = result
