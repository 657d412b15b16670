# SPDX-License-Identifier: BSD-3-Clause
"""A training call of `DepthwiseConv1D`: forwards, and what it takes to go back later."""

import weakref
from collections.abc import Callable

import numpy as np

from dwconv import activation_gradients, activations
from dwconv._checks import describe
from dwconv.arrays import as_array, empty_array
from dwconv.functional import depthwise_conv1d
from dwconv.gradients import depthwise_conv1d_backward
from dwconv.regularizers import Regularizer


def call_with_pullback(layer, inputs: np.ndarray) -> tuple[np.ndarray, "Pullback"]:
    """Outputs of a built layer, and the way back.

    Parameters
    ----------
    layer : DepthwiseConv1D
    inputs : numpy.ndarray
        Of the compute dtype.
    """
    arrays = layer._weight_group.arrays  # read once: other threads may replace it meanwhile
    options = {
        "strides": layer.strides[0],
        "padding": layer.padding,
        "dilation_rate": layer.dilation_rate[0],
        "data_format": layer.data_format,
    }
    kernel = arrays[layer._kernel.index]
    bias = None if layer._bias is None else arrays[layer._bias.index]
    activation = layer.activation
    # New memory costs more than the copy: the system hands it out page by page, filled with zeros.
    # So that of the last call is taken, if no pullback needs it any more.
    spare = layer.__dict__.pop("_input_memory", None)
    try:
        memory = _copied(inputs, spare)
        y = np.asarray(
            depthwise_conv1d(memory, kernel, bias, **options, activation=activation, method="direct")
        )
        pullback = Pullback(layer, arrays, options, activation, memory, y)
        spare = weakref.ref(pullback), memory
    finally:
        if spare is not None:
            layer.__dict__["_input_memory"] = spare
    return y, pullback


def _copied(inputs: np.ndarray, spare: tuple[Callable, np.ndarray] | None) -> np.ndarray:
    """A copy of `inputs`, in the memory of `spare` if it fits and its holder is gone."""
    holder, memory = spare or (None, None)
    if memory is None or memory.shape != inputs.shape or memory.dtype != inputs.dtype or holder():
        memory = empty_array(inputs.shape, inputs.dtype.newbyteorder("="), "a copy of the input")
    memory[...] = inputs
    return memory


class Pullback:
    """The way back through one call of a layer; any number of times, in any thread.

    It belongs to the call: weights, objects and flags that are changed later do not change it.
    `call_with_pullback` makes it.
    """

    def __init__(
        self,
        layer,
        arrays: tuple[np.ndarray, ...],
        options: dict[str, object],
        activation: Callable,
        inputs: np.ndarray,
        y: np.ndarray,
    ):
        self._inputs = inputs
        self._kernel = arrays[layer._kernel.index]
        self._bias = None if layer._bias is None else arrays[layer._bias.index]
        self._kernel_index = layer._kernel.index
        self._bias_index = None if layer._bias is None else layer._bias.index
        self._weights = [(v.index, v.regularizer, arrays[v.index]) for v in layer.trainable_weights]
        self._options = options
        self._autocast = layer.autocast
        self._activation_gradient = activation_gradients.get(activation)
        self._compiled_activation = activation_gradients.compiled_name(self._activation_gradient)
        self._is_linear = activations.get(activation) is activations.linear
        self._shape = y.shape
        self._activity_gradient = None
        if layer.activity_regularizer is not None:
            gradient = _regularizer_gradient(layer.activity_regularizer, y)
            self._activity_gradient = gradient / max(len(y), 1)

    def __call__(
        self, dy: np.ndarray, *, losses: bool = True
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Gradients of ``sum(y * dy) + sum(layer.losses)``.

        Parameters
        ----------
        dy : array_like of floats
            In the shape of the outputs; cast to the compute dtype as inputs are.
        losses : bool, default True
            Without them, the gradients are those of ``sum(y * dy)``: for all calls but one, where
            a layer is called several times and its weight terms count once.

        Returns
        -------
        dx : numpy.ndarray
            Shape of the inputs.
        gradients : list of numpy.ndarray
            One for each weight that was trainable in the call, in the order of
            ``layer.trainable_weights``.

        Raises
        ------
        TypeError
            If `dy` does not hold floats.
        ValueError
            If it has another shape than the outputs.
        """
        dz = _checked_gradient(dy, self._shape, self._inputs.dtype, self._autocast)
        if losses and self._activity_gradient is not None:
            dz = dz + self._activity_gradient
        own = {}
        if self._compiled_activation is not None:
            own = {"bias": self._bias, "activation": self._compiled_activation}
        elif not self._is_linear:
            z = depthwise_conv1d(
                self._inputs, self._kernel, self._bias, **self._options, method="direct"
            )
            dz = self._activation_gradient(z, dz)
        indices = [index for index, _, _ in self._weights]
        needs = (True, self._kernel_index in indices, self._bias_index in indices)
        dx, dkernel, dbias = depthwise_conv1d_backward(
            self._inputs, self._kernel, dz, **self._options, **own, needs=needs
        )
        computed = {self._kernel_index: dkernel, self._bias_index: dbias}
        gradients = []
        for index, regularizer, weight in self._weights:
            gradient = computed.get(index)
            if gradient is None:  # a weight of a subclass, which the call does not use
                gradient = np.zeros_like(weight)
            if losses and regularizer is not None:
                gradient = gradient + _regularizer_gradient(regularizer, weight)
            gradients.append(gradient)
        return dx, gradients


def unknown_gradient(layer) -> str | None:
    """What to say about the first object of `layer` without a known gradient; None if all have."""
    try:
        activation_gradients.get(layer.activation)
    except TypeError as error:
        return str(error)
    weight_terms = [v.regularizer for v in layer.trainable_weights]
    if not layer.built:
        weight_terms = [layer.depthwise_regularizer, layer.bias_regularizer]
    for regularizer in (layer.activity_regularizer, *weight_terms):
        gradient = getattr(regularizer, "gradient", None)
        inherited = getattr(type(regularizer), "gradient", None) is Regularizer.gradient
        if regularizer is not None and (inherited or not callable(gradient)):
            return (
                "The gradient of the regularizer is not known. Give it a method or an attribute "
                "`gradient`, a function of the array that returns the derivative to each element. "
                f"Received: regularizer={describe(regularizer)}"
            )
    return None


def _regularizer_gradient(regularizer: Callable, array: np.ndarray) -> np.ndarray:
    gradient = np.asarray(regularizer.gradient(array))
    if gradient.shape != array.shape:
        raise ValueError(
            f"The `gradient` of a regularizer must return an array of shape {array.shape}, that of "
            f"its argument. Received: {describe(regularizer)} returned shape={gradient.shape}"
        )
    return gradient.astype(array.dtype, copy=False)


def _checked_gradient(
    dy: object, shape: tuple[int, ...], dtype: np.dtype, autocast: bool
) -> np.ndarray:
    array = as_array(dy, "dy")
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise TypeError(
            "`dy` must hold floating numbers: float32, float64 or another floating dtype. "
            f"Received: dy of shape={array.shape} and dtype={array.dtype}"
        )
    if not autocast and array.dtype.newbyteorder("=") != dtype:
        raise TypeError(
            f"With autocast=False `dy` must have dtype {dtype}. "
            f"Received: dy of shape={array.shape} and dtype={array.dtype}"
        )
    if array.shape != shape:
        raise ValueError(
            f"`dy` must have the shape of the outputs, {shape}. "
            f"Received: dy of shape={array.shape} and dtype={array.dtype}"
        )
    with np.errstate(all="ignore"):
        return array.astype(dtype, copy=False)
