# SPDX-License-Identifier: BSD-3-Clause
"""Convolution of sequences that arrive in chunks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import index as integer

import numpy as np

from dwconv import activations
from dwconv._core import Stream
from dwconv.arrays import FLOAT32, FLOAT64, as_array, check_dtype, check_out, contiguous, empty_array, native, row_strides
from dwconv.functional import DATA_FORMATS, _checked_padding, _positive
from dwconv.fused import split_activation
from dwconv.padding import stream_padding
from dwconv.threads import get_num_threads

__all__ = ["DepthwiseConv1DStream"]

STATE_VERSION = 1
_ALONG_AN_AXIS = ("softmax", "log_softmax", "sparsemax", "glu")


class DepthwiseConv1DStream(Stream):
    """A depthwise convolution whose input arrives in chunks of any length.

    The outputs of all calls of `push` (or `step`) and of `flush`, one after the other, are those of one call of
    `dwconv.depthwise_conv1d` with ``method="direct"`` over the whole sequence, to the last bit, however it was cut.

    Output i is given as soon as no later input can change it: with input step ``i*strides + delay``.

    ==================  =============================================================================
    padding             delay, for a kernel that reaches ``R = (kernel_size - 1) * dilation_rate`` steps
    ==================  =============================================================================
    ``"causal"``        0
    ``"valid"``         R
    ``"same"``          ``ceil(R / 2)`` with a stride of 1 (R less the left padding in general);
                        `flush` gives the last outputs
    (left, right)       ``R - left - min(right, 0)``; `flush` gives the outputs that meet the padding
                        on the right. Negative numbers skip steps.
    ==================  =============================================================================

    Parameters
    ----------
    kernel : array of shape (kernel_size, channels, depth_multiplier)
        float32 or float64. A native C-contiguous array is read in place, not copied: what is written into it counts
        from the next call on.
    bias : array of shape (channels * depth_multiplier,), optional
        If kernel and bias differ in dtype, both are used in float64.
    batch_size : int, default 1
        Independent sequences, which advance together and can be reset one by one.
    strides, dilation_rate, padding, data_format, activation
        As for `dwconv.depthwise_conv1d`. A callable activation is applied to the outputs of each call alone, so it
        must not mix time steps.
    total_steps : int, optional
        Steps of every sequence, necessary with ``padding="same"`` and strides greater than 1, where the padding on the
        left depends on it; other lengths are a `ValueError` then.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; the message names it.
    MemoryError
        If the state cannot be allocated.

    See Also
    --------
    DepthwiseConv1D.stream : a stream that shares the weights of a layer.

    Notes
    -----
    Every call leaves the stream as it was if it raises an error. A stream belongs to one thread at a time: a call from a
    second one while the first is running is a `RuntimeError`. Streams can be copied and pickled; ``copy.copy`` gives an
    independent stream on the same weights.

    The state takes about twice the memory of ``history`` input steps, or with a short history up to 256 KiB (or four
    steps) more for each batch item, so that it seldom has to be moved. A call of `step` allocates
    nothing but its result, or not even that with `out`.

    Where batch items stand at different steps, after ``reset(index)``, they may give unequal numbers of outputs. The
    outputs of an item are then the last ones of the result, with zeros before them; `new_steps` tells how many.

    Examples
    --------
    >>> import numpy as np, dwconv
    >>> stream = dwconv.DepthwiseConv1DStream(np.ones((3, 1, 1)), padding="same")
    >>> stream.delay
    1
    >>> x = np.arange(5.0).reshape(1, 5, 1)
    >>> stream.push(x[:, :2]).ravel(), stream.push(x[:, 2:]).ravel(), stream.flush().ravel()
    (array([1.]), array([3., 6., 9.]), array([7.]))
    """

    def __init__(
        self,
        kernel: object,
        bias: object = None,
        *,
        batch_size: int = 1,
        strides: int = 1,
        padding: str | tuple[int, int] = "valid",
        dilation_rate: int = 1,
        data_format: str = "channels_last",
        activation: str | Callable | None = None,
        total_steps: int | None = None,
    ):
        weights = _Weights(kernel, bias)
        self._arguments = dict(
            kernel=weights.arrays[0], bias=None if bias is None else weights.arrays[1], batch_size=batch_size,
            strides=strides, padding=padding, dilation_rate=dilation_rate, data_format=data_format,
            activation=activation, total_steps=total_steps,
        )  # fmt: skip
        self._set_up(
            weights, 0, -1 if bias is None else 1, batch_size, strides, padding, dilation_rate, data_format,
            activations.get(activation), total_steps,
        )  # fmt: skip

    @classmethod
    def of_layer(cls, layer, batch_size: int = 1, total_steps: int | None = None) -> DepthwiseConv1DStream:
        """The same as ``layer.stream(batch_size, total_steps)``, see `DepthwiseConv1D.stream`."""
        stream = cls.__new__(cls)
        stream._arguments = dict(layer=layer, batch_size=batch_size, total_steps=total_steps)
        bias = layer.bias
        stream._set_up(
            layer._weight_group, layer.kernel.index, -1 if bias is None else bias.index, batch_size, layer.strides[0],
            layer.padding, layer.dilation_rate[0], layer.data_format, layer.activation, total_steps,
        )  # fmt: skip
        return stream

    def _set_up(
        self, group, kernel_index, bias_index, batch_size, strides, padding, dilation_rate, data_format, activation,
        total_steps,
    ) -> None:  # fmt: skip
        kernel = group.arrays[kernel_index]
        self._batch = _positive(batch_size, "batch_size")
        self._stride, self._dilation = _positive(strides, "strides"), _positive(dilation_rate, "dilation_rate")
        if not isinstance(data_format, str) or data_format not in DATA_FORMATS:
            raise ValueError(f"`data_format` must be one of {DATA_FORMATS}, received data_format={data_format!r}")
        self._channels_first = data_format == "channels_first"
        if total_steps is not None:
            total_steps = _positive(total_steps, "total_steps")
        self._kernel_size, self._channels, multiplier = kernel.shape
        self._padding = stream_padding(
            _checked_padding(padding), self._kernel_size, self._stride, self._dilation, total_steps
        )
        fused, rest = split_activation(activation)
        _check_activation(rest, self._channels_first)
        try:
            self._configure(
                batch=self._batch, channels=self._channels, depth_multiplier=multiplier, kernel_size=self._kernel_size,
                stride=self._stride, dilation=self._dilation, pad_left=self._padding[0], pad_right=self._padding[1],
                channels_first=self._channels_first, dtype=kernel.dtype, activation=fused, rest=rest, group=group,
                kernel_index=kernel_index, bias_index=bias_index, make_array=_new_array, make_frame=np.empty,
                total_steps=-1 if total_steps is None else total_steps,
            )  # fmt: skip
        except OverflowError:
            raise ValueError(
                "the padding, the stride and the reach of the kernel must fit in 63 bits, received "
                f"kernel_size={self._kernel_size}, strides={strides}, padding={padding!r}, dilation_rate={dilation_rate}"
            ) from None

    def push(self, chunk: object) -> np.ndarray:
        """Takes a chunk of any number of steps, also none.

        Parameters
        ----------
        chunk : array of shape (batch, steps, channels), or (batch, channels, steps) with ``"channels_first"``
            Of the stream's dtype; any strides.

        Returns
        -------
        ndarray of shape (batch, out_steps, channels * depth_multiplier), or (batch, channels * depth_multiplier, out_steps)
            The outputs that have become definite, possibly of no steps.

        Raises
        ------
        ValueError
            For another batch size, channels or dtype than the stream's, and after a flush.
        MemoryError
            If the result cannot be allocated.
        """
        return self._push(chunk, get_num_threads())

    def flush(self, index: int | None = None) -> np.ndarray:
        """Ends the sequences and returns their last outputs, whose taps meet the padding on the right.

        Parameters
        ----------
        index : int, optional
            Of the batch item whose sequence ends; default all.

        Returns
        -------
        ndarray
            As `push` returns, of one batch item if `index` is given.

        Raises
        ------
        ValueError
            If it has ended already, or no such batch item exists.
        """
        return self._flush(self._item(index), get_num_threads())

    def reset(self, index: int | None = None) -> None:
        """Begins new sequences: forgets all inputs.

        Parameters
        ----------
        index : int, optional
            Of the batch item to begin anew; default all. The others go on.

        Raises
        ------
        ValueError
            If no such batch item exists.
        """
        self._reset(self._item(index))

    @property
    def new_steps(self) -> np.ndarray:
        """Outputs of each batch item in the last `push`, `step` or `flush`, shape (batch,).

        They are the last ones along the time axis of the result. Unequal only if items stand at different steps.
        """
        return np.array(self._counts(), np.int64)

    @property
    def state(self) -> dict[str, object]:
        """What the stream remembers, as a dict of numbers and arrays that can be pickled.

        It can be assigned to any stream with the same batch size, sizes, padding, data format and dtype, whatever its
        weights. ``history`` holds the last inputs, oldest first, zeros where there were fewer, in the data format:
        shape (batch, history, channels) or (batch, channels, history).

        Raises
        ------
        ValueError
            If what is assigned is not such a state, or one of another version; the stream is unchanged then.
        """
        history, marks = self._empty_history(), np.empty((self._batch, 3), np.int64)
        self._save(history.reshape(self._batch, -1, 1).view(np.int8), marks)
        return {
            **self._state_head(),
            "history": history,
            "position": marks[:, 0].copy(),
            "available": marks[:, 1].copy(),
            "flushed": marks[:, 2].astype(bool),
        }

    @state.setter
    def state(self, value: Mapping[str, object]) -> None:
        if not isinstance(value, Mapping):
            raise ValueError(f"`state` must be a dict as the property returns, received {type(value).__name__}")
        head = self._state_head()
        keys = [*head, "history", "position", "available", "flushed"]
        if sorted(value, key=str) != sorted(keys):
            raise ValueError(f"`state` must have the keys {keys}, received {list(value)}")
        for key, expected in head.items():
            received = value[key]
            if type(received) is not type(expected) or received != expected:
                raise ValueError(f"`state` must have {key}={expected!r}, received {key}={received!r}")
        history = self._state_array(value, "history", self._empty_history().shape, self.dtype)
        marks = np.empty((self._batch, 3), np.int64)
        for i, (key, dtype) in enumerate((("position", np.int64), ("available", np.int64), ("flushed", np.bool_))):
            marks[:, i] = self._state_array(value, key, (self._batch,), np.dtype(dtype))
        position, available = marks[:, 0], marks[:, 1]
        if not np.all((0 <= available) & (available <= np.minimum(position, self.history)) & (position <= 2**60)):
            raise ValueError(
                f"`state` must have 0 <= available <= position <= 2**60, and at most {self.history} available steps, "
                f"received position={position.tolist()}, available={available.tolist()}"
            )
        self._load(history.reshape(self._batch, -1, 1).view(np.int8), marks)

    def __reduce__(self):
        return _restored, (type(self), self._arguments, self.state)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} batch_size={self._batch}, channels={self._channels}, "
            f"kernel_size={self._kernel_size}, strides={self._stride}, padding={self._padding}, "
            f"dilation_rate={self._dilation}, delay={self.delay}, dtype={self.dtype}>"
        )

    def _state_head(self) -> dict[str, object]:
        return {
            "version": STATE_VERSION,
            "kernel_size": self._kernel_size,
            "strides": self._stride,
            "padding": self._padding,
            "dilation_rate": self._dilation,
            "data_format": DATA_FORMATS[self._channels_first],
        }

    def _empty_history(self) -> np.ndarray:
        axes = (self._channels, self.history) if self._channels_first else (self.history, self._channels)
        return empty_array((self._batch, *axes), self.dtype, "the state")

    @staticmethod
    def _state_array(value: Mapping[str, object], key: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        array = value[key]
        if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
            raise ValueError(
                f"`state` must have {key} of shape {shape} and dtype {dtype}, received {key} of shape "
                f"{getattr(array, 'shape', None)} and dtype {getattr(array, 'dtype', type(array).__name__)}"
            )
        return contiguous(array, key)

    def _item(self, index: object) -> int:
        """A batch item as the core counts; -1 for all."""
        if index is None:
            return -1
        try:
            item = -1 if isinstance(index, (bool, np.bool_)) else integer(index)
        except TypeError:
            item = -1
        if not 0 <= item < self._batch:
            raise ValueError(f"`index` must be a batch item from 0 to {self._batch - 1}, received index={index!r}")
        return item

    def _suitable(self, value: object, ndim: int) -> np.ndarray:
        """A chunk or frame as the core can read it; ValueError with expected and received if that is none."""
        name = "chunk" if ndim == 3 else "frame"
        array = as_array(value, name)
        if array.dtype.newbyteorder("=") != self.dtype:
            raise ValueError(
                f"`{name}` must have the dtype of the stream, {self.dtype}, received {name}.dtype={array.dtype}"
            )
        channel_axis = 1 if self._channels_first or ndim == 2 else 2
        if array.ndim != ndim or array.shape[0] != self._batch or array.shape[channel_axis] != self._channels:
            sizes = [str(self._batch), "steps", "steps"][:ndim]
            sizes[channel_axis] = str(self._channels)
            raise ValueError(f"`{name}` must have shape ({', '.join(sizes)}), received {name}.shape={array.shape}")
        array = native(array, self.dtype, name)
        if ndim == 2 or row_strides(array) is None:
            return contiguous(array, name)
        return array

    def _check_out(self, out: object, shape: tuple[int, int], frame: np.ndarray) -> None:
        check_out(out, shape, self.dtype, (frame,))


class _Weights:
    """The arrays of a stream without a layer; `arrays` as in a `dwconv.variable.WeightGroup`."""

    def __init__(self, kernel: object, bias: object):
        given = [(as_array(kernel, "kernel"), "kernel")]
        if bias is not None:
            given.append((as_array(bias, "bias"), "bias"))
        for array, name in given:
            check_dtype(array, name)
        kernel = given[0][0]
        if kernel.ndim != 3 or kernel.shape[0] < 1 or kernel.shape[2] < 1:
            raise ValueError(
                "`kernel` must have 3 dimensions (kernel_size, channels, depth_multiplier), the first and the last "
                f"positive, received kernel.shape={kernel.shape}"
            )
        outputs = kernel.shape[1] * kernel.shape[2]
        if bias is not None and given[1][0].shape != (outputs,):
            raise ValueError(
                f"`bias` must have shape (channels * depth_multiplier,) = ({outputs},), "
                f"received bias.shape={given[1][0].shape}"
            )
        dtype = FLOAT64 if any(array.dtype.itemsize == 8 for array, _ in given) else FLOAT32
        self.arrays = tuple(contiguous(native(array, dtype, name), name) for array, name in given)


def _new_array(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError):
        return empty_array(shape, dtype, "the output")


def _check_activation(function: Callable | None, channels_first: bool) -> None:
    """ValueError for what is known to mix time steps: functions along the last axis, with channels_first."""
    plain = getattr(function, "func", getattr(function, "function", function))
    if channels_first and any(plain is getattr(activations, name) for name in _ALONG_AN_AXIS):
        raise ValueError(
            "`activation` must not mix time steps in a stream, received "
            f"activation={plain.__name__!r} with data_format='channels_first', where it works along the steps"
        )


def _restored(stream_class, arguments: Mapping[str, object], state: Mapping[str, object]) -> DepthwiseConv1DStream:
    """A copied or unpickled stream."""
    make = stream_class.of_layer if "layer" in arguments else stream_class
    stream = make(**arguments)
    stream.state = state
    return stream
