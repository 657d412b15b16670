# SPDX-License-Identifier: BSD-3-Clause
"""Layers to and from nested configuration dictionaries, as in ``keras.layers``."""

from collections.abc import Mapping

from dwconv._base_layer import Layer
from dwconv._checks import describe
from dwconv._layer_config import layer_arguments
from dwconv.causal_layer import CausalDepthwiseConv1D
from dwconv.layer import DepthwiseConv1D
from dwconv.serialization import deserialize_keras_object, serialize_keras_object

_LAYERS = {"DepthwiseConv1D": DepthwiseConv1D, "CausalDepthwiseConv1D": CausalDepthwiseConv1D}


def serialize(layer: Layer) -> dict[str, object]:
    """Configuration of a layer in the nested form of Keras 3.

    Parameters
    ----------
    layer : DepthwiseConv1D

    Returns
    -------
    dict
        With the keys ``module``, ``class_name``, ``config`` and ``registered_name``, and
        ``build_config`` if the layer is built. It holds no weights.

    Raises
    ------
    TypeError
        If `layer` is something else.
    """
    if not isinstance(layer, Layer):
        raise TypeError(f"`layer` must be a layer. Received: layer={describe(layer)}")
    module = "dwconv" if type(layer) is CausalDepthwiseConv1D else "keras.layers"
    configuration = serialize_keras_object(layer, module, _LAYERS)
    if layer.built:
        configuration["build_config"] = layer.get_build_config()
    return configuration


def deserialize(
    config: Mapping[str, object], custom_objects: Mapping[str, object] | None = None
) -> Layer:
    """The layer that a configuration stands for, built (with new weights) if that one was.

    Parameters
    ----------
    config : dict
        As returned by `serialize`, or by ``keras.layers.serialize`` of Keras 2 or 3, or the older
        ``{"class_name": ..., "config": ...}``.
    custom_objects : mapping of str to class or function, optional
        What is not built in, by name: subclasses of the layer, and activations, initializers,
        regularizers and constraints.

    Returns
    -------
    DepthwiseConv1D

    Raises
    ------
    TypeError, ValueError
        If `config` does not describe such a layer.
    """
    if not isinstance(config, Mapping):
        raise TypeError(f"`config` must be a dict. Received: config={describe(config)}")
    if isinstance(config.get("config"), Mapping):
        config = {**config, "config": layer_arguments(config["config"], custom_objects)}
    layer = deserialize_keras_object(config, "layer", _LAYERS, custom_objects)
    build_config = config.get("build_config")
    if not isinstance(layer, Layer) or not (
        build_config is None or isinstance(build_config, Mapping)
    ):
        raise ValueError(
            "`config` must describe a layer and how it was built. "
            f"Received: config={describe(config)}"
        )
    layer.build_from_config(build_config)
    return layer
