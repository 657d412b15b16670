# SPDX-License-Identifier: BSD-3-Clause
"""The configuration of the layer: written as Keras 3 does, read as Keras 2 and 3 write it."""

from collections.abc import Callable, Mapping

from dwconv import activations, constraints, dtype_policy, initializers, regularizers
from dwconv._arguments import configured_object
from dwconv._base_layer import Layer
from dwconv._checks import describe

# Arguments and attributes of the layer, in the order of the Keras 3 configuration.
PLAIN_KEYS = (
    "depth_multiplier",
    "kernel_size",
    "strides",
    "padding",
    "data_format",
    "dilation_rate",
    "activation",
    "use_bias",
)
# Those that are initializers, regularizers or constraints, with the module that knows them.
OBJECT_KEYS = {
    "depthwise_initializer": initializers,
    "bias_initializer": initializers,
    "depthwise_regularizer": regularizers,
    "bias_regularizer": regularizers,
    "activity_regularizer": regularizers,
    "depthwise_constraint": constraints,
    "bias_constraint": constraints,
}


_LAYER_NAMES = ("DepthwiseConv1D", "CausalDepthwiseConv1D")


def get_activation(
    identifier: object, custom_objects: Mapping[str, object] | None = None
) -> Callable:
    """As `dwconv.activations.get`; the configuration of a layer is understood too."""
    if isinstance(identifier, Mapping) and identifier.get("class_name") in _LAYER_NAMES:
        from dwconv.layer_serialization import deserialize  # which imports this module

        return deserialize(identifier, custom_objects)
    return activations.get(identifier, custom_objects)


def layer_config(layer: Layer) -> dict[str, object]:
    """Constructor arguments of a `DepthwiseConv1D` in the form and order of Keras 3."""
    configuration = {
        "name": layer.name,
        "trainable": layer.trainable,
        "dtype": dtype_policy.serialize(layer.dtype_policy),
    }
    if layer.activity_regularizer is not None:
        configuration["activity_regularizer"] = None  # its place, if there is one; filled below
    configuration |= {key: getattr(layer, key) for key in PLAIN_KEYS}
    configuration["activation"] = _serialized_activation(layer.activation)
    for key, module in OBJECT_KEYS.items():
        configuration[key] = module.serialize(getattr(layer, key))
    return configuration


def layer_repr(layer: Layer) -> str:
    """The class of a `DepthwiseConv1D` and what it computes, in one line."""
    shown = {
        "name": layer.name,
        "kernel_size": layer.kernel_size[0],
        "strides": layer.strides[0],
        "padding": layer.padding,
        "depth_multiplier": layer.depth_multiplier,
        "data_format": layer.data_format,
        "dilation_rate": layer.dilation_rate[0],
        "activation": getattr(layer.activation, "__name__", type(layer.activation).__name__),
        "use_bias": layer.use_bias,
        "dtype": layer.dtype_policy.name,
        "built": layer.built,
    }
    if layer.built:
        shown["channels"] = layer._channels
    return f"<{type(layer).__name__} {', '.join(f'{k}={v}' for k, v in shown.items())}>"


def layer_arguments(
    config: Mapping[str, object], custom_objects: Mapping[str, object] | None
) -> dict[str, object]:
    """Constructor arguments of the layer that a configuration of Keras 2 or 3 describes.

    Raises
    ------
    TypeError
        If `config` is not a dictionary.
    ValueError
        If an object in it is unknown, or the Keras 2 key ``groups`` is not 1.
    """
    if not isinstance(config, Mapping):
        raise TypeError(f"`config` must be a dict. Received: config={describe(config)}")
    arguments = dict(config)
    groups = arguments.pop("groups", 1)
    if groups != 1:
        raise ValueError(f"`groups` must be 1. Received: groups={describe(groups)}")
    arguments.pop("batch_input_shape", None)  # in the first layer of a Keras 2 model
    getters = {key: module.get for key, module in OBJECT_KEYS.items()}
    for key, get in (getters | {"activation": get_activation}).items():
        if isinstance(arguments.get(key), (str, Mapping)):
            arguments[key] = configured_object(get, arguments[key], key, custom_objects)
    return arguments


def _serialized_activation(activation: Callable) -> str | dict[str, object]:
    if isinstance(activation, Layer):
        from dwconv.layer_serialization import serialize

        return serialize(activation)
    return activations.serialize(activation)
