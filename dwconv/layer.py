# SPDX-License-Identifier: BSD-3-Clause
"""`DepthwiseConv1D`, the layer of Keras: arguments, weights and configuration, no arithmetic."""

import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dwconv import config as global_config
from dwconv._arguments import (
    check_effective_kernel_size,
    configured_object,
    input_shape_tuple,
    option,
    positive_integer,
    single_integer,
)
from dwconv._base_layer import Layer
from dwconv._layer_config import (
    OBJECT_KEYS,
    get_activation,
    layer_arguments,
    layer_config,
    layer_repr,
)
from dwconv._layer_state import checked_state
from dwconv._layer_stream import Streaming
from dwconv.functional import checked_method, depthwise_conv1d, known_calls
from dwconv.padding import checked_padding
from dwconv.specs import InputSpec
from dwconv.threads import get_num_threads
from dwconv.variable import Variable

_LAYER_ARGUMENTS = ("name", "trainable", "dtype", "autocast")
_FUNCTIONAL_HINT = (
    ". The function dwconv.depthwise_conv1d(inputs, kernel, bias, strides=..., padding=..., "
    "dilation_rate=...) computes it"
)


class DepthwiseConv1D(Streaming, Layer):
    """Depthwise 1-D convolution layer, a drop-in for ``keras.layers.DepthwiseConv1D``.

    Each input channel is convolved with `depth_multiplier` kernels of its own; nothing is mixed
    across channels. Output channel ``c * depth_multiplier + m`` comes from input channel ``c``::

        y[b, i, c*M + m] = activation(
            bias[c*M + m] + sum_j x[b, i*stride + j*dilation - left, c] * kernel[j, c, m])

    where samples outside the input are absent (they add nothing).

    Parameters
    ----------
    kernel_size : int or tuple of 1 int
        Number of taps.
    strides : int or tuple of 1 int, default 1
        Steps from one output to the next. Greater than 1 only with ``dilation_rate=1``;
        `dwconv.depthwise_conv1d` has no such restriction.
    padding : {"valid", "same"}, default "valid"
        ``"valid"``: outputs whose taps are all inside the input. ``"same"``:
        ``ceil(steps / strides)`` outputs, the odd step of padding on the right. Any letter case.
    depth_multiplier : int, default 1
        Output channels for each input channel.
    data_format : {"channels_last", "channels_first"}, optional
        Default ``dwconv.config.image_data_format()``. Any letter case.
    dilation_rate : int or tuple of 1 int, default 1
        Steps from one tap to the next.
    activation : str, callable or dict, optional
        See `dwconv.activations.get`.
    use_bias : bool, default True
    depthwise_initializer : default "glorot_uniform"
        Of the kernel; also used for ``None``. See `dwconv.initializers.get`.
    bias_initializer : default "zeros"
        Also used for ``None``.
    depthwise_regularizer, bias_regularizer, activity_regularizer : optional
        Of kernel, bias and output; see `dwconv.regularizers.get` and the property `losses`.
    depthwise_constraint, bias_constraint : optional
        For optimizers to apply after an update; see `dwconv.constraints.get`.
    name : str, optional
        Default ``depthwise_conv1d``, ``depthwise_conv1d_1``, ...
    trainable : bool, default True
    dtype : str, numpy dtype, DTypePolicy or dict, optional
        Default ``dwconv.config.floatx()``. float32 and float64; the 16-bit types can be configured
        only.
    autocast : bool, default True
        Whether floating inputs of another width are converted; otherwise they are a `TypeError`.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; the message names it.

    Notes
    -----
    Input shape ``(batch, steps, channels)``, output shape
    ``(batch, new_steps, channels * depth_multiplier)``; with ``channels_first`` the last two axes
    are exchanged. Weights, created by the first call or by `build`: `kernel` of shape
    ``(kernel_size, channels, depth_multiplier)`` and `bias` of shape
    ``(channels * depth_multiplier,)``.

    Examples
    --------
    >>> import numpy as np, dwconv
    >>> layer = dwconv.DepthwiseConv1D(3, padding="same", depth_multiplier=2)
    >>> layer(np.ones((1, 10, 4))).shape
    (1, 10, 8)
    """

    rank = 1
    _paddings = ("valid", "same")
    _strides_with_dilation = False  # Keras's layer has no such combination
    _may_add_losses = False

    def __init_subclass__(cls, **kwargs: object):
        super().__init_subclass__(**kwargs)
        cls._may_add_losses = True

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: str | Callable | Mapping | None = None,
        use_bias: bool = True,
        depthwise_initializer: object = "glorot_uniform",
        bias_initializer: object = "zeros",
        depthwise_regularizer: object = None,
        bias_regularizer: object = None,
        activity_regularizer: object = None,
        depthwise_constraint: object = None,
        bias_constraint: object = None,
        **kwargs,
    ):
        for key in ("input_shape", "input_dim"):
            if kwargs.pop(key, None) is not None:
                warnings.warn(f"`{key}` has no effect on a layer: call `build`", stacklevel=2)
        unknown = {k: v for k, v in kwargs.items() if k not in _LAYER_ARGUMENTS}
        if unknown:
            raise TypeError(
                f"Unrecognized keyword arguments passed to {type(self).__name__}: {unknown}"
            )
        self.kernel_size = single_integer(kernel_size, "kernel_size")
        self.strides = single_integer(strides, "strides")
        self.padding = option(padding, "padding", self._paddings, _padding_hint(padding))
        self.depth_multiplier = positive_integer(depth_multiplier, "depth_multiplier")
        if data_format is None:
            data_format = global_config.image_data_format()
        self.data_format = option(data_format, "data_format", ("channels_last", "channels_first"))
        self.dilation_rate = single_integer(dilation_rate, "dilation_rate")
        check_effective_kernel_size(self.kernel_size[0], self.dilation_rate[0])
        if self.strides[0] > 1 and self.dilation_rate[0] > 1 and not self._strides_with_dilation:
            raise ValueError(
                "`strides > 1` cannot be combined with `dilation_rate > 1` in a layer. Received: "
                f"strides={strides}, dilation_rate={dilation_rate}{_FUNCTIONAL_HINT}"
            )
        self.activation = configured_object(get_activation, activation, "activation")
        self.use_bias = bool(use_bias)
        objects = {
            "depthwise_initializer": depthwise_initializer,
            "bias_initializer": bias_initializer,
            "depthwise_regularizer": depthwise_regularizer,
            "bias_regularizer": bias_regularizer,
            "activity_regularizer": activity_regularizer,
            "depthwise_constraint": depthwise_constraint,
            "bias_constraint": bias_constraint,
        }
        for key, identifier in objects.items():
            setattr(self, key, configured_object(OBJECT_KEYS[key].get, identifier, key))
        self.input_spec = InputSpec(min_ndim=3)
        self._method = "auto"
        super().__init__(**kwargs)  # last, so that only a valid layer takes up an automatic name

    @property
    def method(self) -> str:
        """How calls convolve: ``"auto"``, ``"direct"`` or ``"fft"``; see `dwconv.depthwise_conv1d`.

        Not part of the configuration, since Keras has no such argument; copies and pickles keep it.

        Raises
        ------
        ValueError
            If another value is assigned.
        """
        return self._method

    @method.setter
    def method(self, value: str) -> None:
        self._method = checked_method(value)

    @property
    def kernel(self) -> Variable:
        """The kernel, of shape ``(kernel_size, channels, depth_multiplier)``, once built."""
        return self._built_attribute("kernel")

    @property
    def depthwise_kernel(self) -> Variable:
        """The same as `kernel`, by its name in Keras 2."""
        return self._built_attribute("kernel")

    @property
    def bias(self) -> Variable | None:
        """The bias, of shape ``(channels * depth_multiplier,)``, or ``None``, once built."""
        return self._built_attribute("bias")

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Create the weights.

        Parameters
        ----------
        input_shape : sequence of 3 int or None
            In the order of `data_format`. Batch and steps may be ``None``.

        Raises
        ------
        ValueError
            If the shape is not one the layer can process, or the layer is built already.
        MemoryError
            If a weight is too large.
        TypeError
            If the dtype is not float32 or float64.
        """
        shape = input_shape_tuple(input_shape, self._channel_axis)
        with self._building(shape):
            self.compute_output_shape(shape)
            self._set_channels(shape)
            kernel_shape, bias_shape = self._weight_shapes()
            self._kernel = self.add_weight(
                kernel_shape,
                initializer=self.depthwise_initializer,
                regularizer=self.depthwise_regularizer,
                constraint=self.depthwise_constraint,
                name="kernel",
            )
            self._bias = None
            if self.use_bias:
                self._bias = self.add_weight(
                    bias_shape,
                    initializer="zeros" if self.bias_initializer is None else self.bias_initializer,
                    regularizer=self.bias_regularizer,
                    constraint=self.bias_constraint,
                    name="bias",
                )

    def call(self, inputs: np.ndarray) -> np.ndarray:
        """``activation(convolution + bias)`` of an array of the compute dtype; see `__call__`."""
        if not self.built:
            raise ValueError(f"Layer '{self.name}' is not built: call it, or `build` it first")
        arrays = self._weight_group.arrays  # read once: other threads may replace it meanwhile
        kernel = arrays[self._kernel.index]
        bias = None if self._bias is None else arrays[self._bias.index]
        if type(self).convolution_op is not _CONVOLUTION_OP:
            return self._call_with_own_convolution(inputs, kernel, bias)
        # What `depthwise_conv1d` begins with, and mostly ends with; the keywords alone take half a microsecond.
        outputs = known_calls.run(
            inputs, kernel, bias, None, self.strides[0], self.padding, self.dilation_rate[0],
            self.data_format, self.activation, self._method, get_num_threads(),
        )  # fmt: skip
        if outputs is not None:
            return outputs
        return depthwise_conv1d(
            inputs,
            kernel,
            bias,
            strides=self.strides[0],
            padding=self.padding,
            dilation_rate=self.dilation_rate[0],
            data_format=self.data_format,
            activation=self.activation,
            method=self._method,
        )

    def convolution_op(self, inputs: np.ndarray, kernel: np.ndarray | Variable) -> np.ndarray:
        """This layer's depthwise convolution, without bias and activation.

        `call` uses it if a subclass overrides it.

        Parameters
        ----------
        inputs : numpy.ndarray
            float32 or float64, shape as for `__call__`.
        kernel : numpy.ndarray or Variable
            Shape ``(kernel_size, channels, depth_multiplier)``.

        Returns
        -------
        numpy.ndarray
        """
        return depthwise_conv1d(
            inputs,
            np.asarray(kernel),
            strides=self.strides[0],
            padding=self.padding,
            dilation_rate=self.dilation_rate[0],
            data_format=self.data_format,
            method=self._method,
        )

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Shape of the outputs; ``None`` for the batch size or the steps stays ``None``.

        Raises
        ------
        ValueError
            If the shape is not one the layer can process.
        """
        shape = list(input_shape_tuple(input_shape, self._channel_axis))
        shape[self._channel_axis] *= self.depth_multiplier
        steps_axis = 1 if self.data_format == "channels_last" else 2
        if shape[steps_axis] is not None:
            _, shape[steps_axis] = checked_padding(
                self.padding,
                shape[steps_axis],
                self.kernel_size[0],
                self.strides[0],
                self.dilation_rate[0],
            )
        return tuple(shape)

    def get_config(self) -> dict[str, object]:
        """Constructor arguments in the form of Keras 3; `from_config` takes them."""
        return layer_config(self)

    @classmethod
    def from_config(
        cls, config: Mapping[str, object], custom_objects: Mapping[str, object] | None = None
    ) -> "DepthwiseConv1D":
        """Layer with the configuration that `get_config` of dwconv, Keras 2 or Keras 3 returned.

        Parameters
        ----------
        config : dict
            Missing keys take their defaults.
        custom_objects : mapping of str to class or function, optional
            Activations, initializers, regularizers and constraints that are not built in, by name.

        Raises
        ------
        TypeError, ValueError
            As the constructor; `ValueError` also if the Keras 2 key ``groups`` is not 1.
        """
        return cls(**layer_arguments(config, custom_objects))

    def __repr__(self) -> str:
        return layer_repr(self)

    def __setstate__(self, state: Mapping[str, object]) -> None:
        self.__dict__.update(checked_state(DepthwiseConv1D, state))

    def _set_channels(self, input_shape: tuple[int | None, ...]) -> None:
        self._built_axis = self._channel_axis
        self._channels = input_shape[self._built_axis]
        self.input_spec = InputSpec(min_ndim=3, axes={self._built_axis: self._channels})

    def _weight_shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of kernel and bias."""
        outputs = self._channels * self.depth_multiplier
        return (*self.kernel_size, self._channels, self.depth_multiplier), (outputs,)

    def _check_input_shape(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 3:
            raise ValueError(
                f"Input 0 of layer '{self.name}' is incompatible with the layer: expected an input "
                f"of 3 dimensions, found ndim={len(shape)}. Full shape received: {shape}"
            )
        if shape[self._built_axis] != self._channels:
            raise ValueError(
                f"Input 0 of layer '{self.name}' is incompatible with the layer: expected axis "
                f"{self._built_axis} of input shape (the channel axis) to have value "
                f"{self._channels}, but received input with shape {shape}"
            )

    def _call_with_own_convolution(
        self, inputs: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None
    ) -> np.ndarray:
        outputs = self.convolution_op(inputs, kernel)
        if bias is not None:
            outputs = outputs + (bias if self.data_format == "channels_last" else bias[:, None])
        return self.activation(outputs)

    def _built_attribute(self, name: str) -> Variable | None:
        if not self.built:
            raise AttributeError(
                f"'{type(self).__name__}' object has no attribute '{name}' before it is built"
            )
        return self.__dict__[f"_{name}"]

    @property
    def _channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1


_CONVOLUTION_OP = DepthwiseConv1D.convolution_op
DepthwiseConv1D._differentiated = {"call": DepthwiseConv1D.call, "convolution_op": _CONVOLUTION_OP}


def _padding_hint(padding: object) -> str:
    return _FUNCTIONAL_HINT if isinstance(padding, str) and padding.lower() == "causal" else ""
