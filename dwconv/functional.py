# SPDX-License-Identifier: BSD-3-Clause
"""Depthwise 1-D convolution of arrays."""

from __future__ import annotations

from collections.abc import Callable
from operator import index

import numpy as np
from numpy import ndarray

from dwconv import activations
from dwconv._core import KnownCalls, Plan
from dwconv.arrays import (
    FLOAT32,
    FLOAT64,
    as_array,
    check_allocation,
    check_dtype,
    check_out,
    contiguous,
    empty_array,
    native,
    row_strides,
)
from dwconv.fused import LINEAR, split_activation
from dwconv.padding import PADDING_NAMES, checked_padding, equivalent_dilation
from dwconv.threads import checked_thread_count, get_num_threads

__all__ = ["depthwise_conv1d"]

DATA_FORMATS = ("channels_last", "channels_first")
METHODS = ("auto", "direct", "fft")
# Kernels at least this long are convolved by FFT with method="auto".
# Time of direct sums over that of the FFT, one thread of a Granite Rapids server, float32, padding "same":
#                                            K = 128   256   500  1000
#   512 channels, 2000 steps, channels_first     1.6   2.5   3.8   6.3
#   512 channels, 2000 steps, channels_last      1.1   1.7   3.2   5.2
#   12 channels, 20000 steps, channels_first     2.2   3.8   6.2   9.6
#   256 channels, 200 steps, channels_last       1.1   1.2   0.8   0.5
# Short signals are why it is not lower: they gain little, and lose the bits of direct sums.
SHORTEST_FFT_KERNEL = 500

_LARGEST = 2**63 - 1

known_calls = KnownCalls()


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
    method: str = "auto",
    lengths: object = None,
    cu_seqlens: object = None,
    seq_idx: object = None,
    state: object = None,
    return_state: bool = False,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
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
    method : {"auto", "direct", "fft"}
        ``"direct"`` sums products, one chain of multiply-adds for each output, so that outputs depend on the taps and
        inputs of their sum alone, to the last bit.  ``"fft"`` is overlap-save, in the dtype of the result: faster for
        long kernels, and not bit-identical to direct.  ``"auto"`` takes the FFT for kernels of 500 taps and more,
        however few outputs there are, and direct if an output would not be finite.
    lengths : array of int, shape (batch,), optional
        Steps of each batch item; the rest is padding, which is never read.  Each item gets the bits it would have
        alone; its output steps are those of its own length (`dwconv.output_lengths`), and zeros follow them.
    cu_seqlens : array of int, shape (sequences + 1,), optional
        Sequences lie one behind the other in a batch of 1: the first step of each, and after the last one the number of
        steps.  So do their outputs.
    seq_idx : array of int, shape (batch, steps), optional
        The number of the sequence each step belongs to, for calls with an output step for every input step.  Steps
        with a negative number belong to none and have zeros as outputs.
    state : array of shape (batch, (kernel_size - 1) * dilation_rate, channels), or (batch, channels, ...), optional
        The inputs before this call, oldest first, in the data format; fewer of them if there were fewer, so that none
        are invented.  Only with ``"causal"`` padding, and ``"valid"`` with a stride of 1, which then need no padding:
        the outputs of calls that hand on the state are those of one call, to the last bit.
    return_state : bool
        Whether to return the state for the next call too.  The steps must be a multiple of `strides` then.  See
        `dwconv.DepthwiseConv1DStream` for what has no such limits.

    Returns
    -------
    ndarray of shape (batch, out_steps, channels * depth_multiplier), or (batch, channels * depth_multiplier, out_steps)
        `out` if given.  Its dtype is ``numpy.result_type`` of the arrays.  With `return_state` a pair: this and a new
        array, the last ``(kernel_size - 1) * dilation_rate`` steps of `state` and `x` together.

    Raises
    ------
    TypeError
        Wrong type or dtype of an argument.
    ValueError
        Wrong shape or value, or an output of no steps with ``"valid"`` or explicit padding.
    MemoryError
        If the result cannot be allocated.

    Notes
    -----
    The error of the FFT is that of a block: within ``8 * log2(n) * u * norm(x) * norm(kernel)``, u being the unit
    roundoff, with the Euclidean norms of one filter and of the n input steps that are transformed together, n being
    a power of two, some times ``kernel_size`` and at least 32.  Large samples drown small ones nearby.  With
    ``"fft"``, NaN and infinity spread over their block; with ``"auto"`` they do not, because such a call is repeated
    directly.  Which steps form a block depends on the shapes, the data format and the instruction set, but not on the
    threads, so a signal filtered in parts has other last bits than in one call.

    Examples
    --------
    >>> import numpy as np, dwconv
    >>> x = np.arange(6.0).reshape(1, 3, 2)
    >>> dwconv.depthwise_conv1d(x, np.ones((2, 2, 1)), padding="causal")
    array([[[ 0.,  1.],
            [ 2.,  4.],
            [ 6.,  8.]]])
    """
    if not (lengths is cu_seqlens is seq_idx is state is None) or return_state:
        if state is not None or return_state:
            if not (lengths is cu_seqlens is seq_idx is None):
                raise ValueError("`state` and `return_state` cannot be combined with `lengths`, `cu_seqlens` or `seq_idx`")
            from dwconv.functional_state import convolve_with_state

            return convolve_with_state(
                x, kernel, bias, strides=strides, padding=padding, dilation_rate=dilation_rate, data_format=data_format,
                activation=activation, out=out, num_threads=num_threads, method=method, state=state,
                return_state=return_state,
            )  # fmt: skip
        from dwconv.sequences import convolve_sequences

        return convolve_sequences(
            x, kernel, bias, strides=strides, padding=padding, dilation_rate=dilation_rate, data_format=data_format,
            activation=activation, out=out, num_threads=num_threads, method=method, lengths=lengths,
            cu_seqlens=cu_seqlens, seq_idx=seq_idx,
        )  # fmt: skip
    threads = get_num_threads() if num_threads is None else checked_thread_count(num_threads)
    y = known_calls.run(
        x, kernel, bias, out, strides, padding, dilation_rate, data_format, activation, method, threads
    )  # fmt: skip
    if y is not None:
        return y

    given = (as_array(x, "input"), as_array(kernel, "kernel"), None if bias is None else as_array(bias, "bias"))
    x, kernel, bias, dtype = _arrays(*given)
    function = activations.get(activation)
    fused, rest = split_activation(function)
    by_fft = takes_fft(method, kernel)
    if by_fft and fused != LINEAR:
        rest = function
    x_strides = row_strides(x)
    problem = _problem(x, kernel, strides, padding, dilation_rate, data_format)
    options = dict(x_strides=x_strides or (0, 0), fft=by_fft, only_finite=method == "auto")
    plan = Plan(**problem, **options)
    y, in_place = None, False
    if out is not None and rest is None:
        check_out(out, plan.out_shape, dtype, given)
        y_strides = row_strides(out)
        in_place = y_strides is not None
        if in_place and y_strides != (0, 0):
            plan = Plan(**problem, **options, y_strides=y_strides)
    y = out if in_place else empty_array(plan.out_shape, dtype, "the output", x)
    if x_strides is None:
        x = contiguous(x, "input")
    if not plan.forward(x, contiguous(kernel, "kernel"), None if bias is None else contiguous(bias, "bias"), y,
                        LINEAR if by_fft else fused, threads, False):  # fmt: skip
        return depthwise_conv1d(
            *given, strides=strides, padding=padding, dilation_rate=dilation_rate, data_format=data_format,
            activation=function, out=out, num_threads=num_threads, method="direct",
        )  # fmt: skip

    if rest is not None:
        y = rest(y)
    elif given[0] is x and x_strides == (0, 0) and (out is None or (in_place and y_strides == (0, 0))):
        known_calls.remember(
            x, kernel, strides, padding, dilation_rate, data_format, activation, method, plan, fused
        )  # fmt: skip
    if out is None:
        return y
    if not in_place:
        y = np.asarray(y)
        check_out(out, y.shape, y.dtype, given)
        out[...] = y
    return out


def _arrays(x, kernel, bias):
    """The arrays in the dtype of the result, native, with the shapes of a convolution but for the channels of x."""
    dtypes = []
    for array, name in ((x, "input"), (kernel, "kernel"), (bias, "bias")):
        if array is not None:
            check_dtype(array, name)
            dtypes.append(array.dtype)
    dtype = FLOAT64 if any(d.itemsize == 8 for d in dtypes) else FLOAT32
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
    check_allocation(kernel.shape, dtype, "the kernel")
    outputs = kernel.shape[1] * kernel.shape[2]
    if bias is not None and bias.shape != (outputs,):
        raise ValueError(
            f"`bias` must have shape (channels * depth_multiplier,) = ({outputs},), received bias.shape={bias.shape}"
        )
    return native(x, dtype, "input"), native(kernel, dtype, "kernel"), bias if bias is None else native(bias, dtype, "bias"), dtype


def checked_method(method: object) -> str:
    """`method`, if it is one of the allowed names."""
    if isinstance(method, str) and method in METHODS:
        return method
    raise ValueError(f"`method` must be one of {METHODS}, received method={method!r}")


def takes_fft(method: object, kernel: np.ndarray) -> bool:
    """Whether a method, which is checked, convolves with this kernel by FFT."""
    return checked_method(method) == "fft" or (method == "auto" and len(kernel) >= SHORTEST_FFT_KERNEL)


def _problem(x, kernel, strides, padding, dilation_rate, data_format) -> dict[str, int]:
    """Arguments of the plan, but for the strides of the arrays."""
    stride = _positive(strides, "strides")
    dilation = _positive(dilation_rate, "dilation_rate")
    padding = _checked_padding(padding)
    if not isinstance(data_format, str) or data_format not in DATA_FORMATS:
        raise ValueError(f"`data_format` must be one of {DATA_FORMATS}, received data_format={data_format!r}")
    channels_first = data_format == "channels_first"
    kernel_size, channels, multiplier = kernel.shape
    batch, in_steps, in_channels = x.shape
    if channels_first:
        in_steps, in_channels = in_channels, in_steps
    if in_channels != channels:
        raise ValueError(
            f"`input` must have as many channels as the kernel: expected {channels}, received {in_channels} "
            f"with input.shape={x.shape}, kernel.shape={kernel.shape}"
        )
    if (kernel_size - 1) * dilation + 1 > _LARGEST:
        raise ValueError(
            f"`dilation_rate` is too large for this kernel, received dilation_rate={dilation}, kernel_size={kernel_size}"
        )
    dilation = equivalent_dilation(padding, in_steps, dilation)
    pad_left, out_steps = checked_padding(padding, in_steps, kernel_size, stride, dilation)
    outputs = channels * multiplier
    check_allocation((batch, outputs, out_steps) if channels_first else (batch, out_steps, outputs), x.dtype, "the output")
    return dict(
        batch=batch, in_steps=in_steps, channels=channels, depth_multiplier=multiplier, kernel_size=kernel_size,
        stride=stride, dilation=dilation, pad_left=pad_left, out_steps=out_steps, channels_first=channels_first,
        double_precision=x.dtype == FLOAT64,
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
