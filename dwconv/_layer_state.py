# SPDX-License-Identifier: BSD-3-Clause
"""Pickled layers: what anybody may have changed passes the same checks as constructor and build."""

from collections.abc import Mapping

from dwconv._arguments import input_shape_tuple
from dwconv._base_layer import Layer
from dwconv._gradient_owner import CALL_ATTRIBUTES
from dwconv._layer_config import OBJECT_KEYS, PLAIN_KEYS
from dwconv.variable import Variable, WeightGroup

# What is taken from the constructor instead of the pickle.
_CHECKED_ATTRIBUTES = (
    *PLAIN_KEYS,
    *OBJECT_KEYS,
    "input_spec",
    "autocast",
    "_name",
    "_trainable",
    "_dtype_policy",
    "_compute_type",
    "_method",
    "_call_losses",
)


def checked_state(layer_class: type[Layer], state: Mapping[str, object]) -> dict[str, object]:
    """The attributes `state` of an instance of `layer_class` or a subclass, checked.

    Raises
    ------
    ValueError
        If no such layer can have these attributes.
    """
    try:
        layer = layer_class(
            **{key: state[key] for key in (*PLAIN_KEYS, *OBJECT_KEYS)},
            name=state["_name"],
            trainable=state["_trainable"],
            dtype=state["_dtype_policy"],
            autocast=state["autocast"],
        )
        layer.method = state["_method"]
        missing = layer.__dict__.keys() - state.keys()
        if missing:
            raise ValueError(f"it has no {sorted(missing)}")
        checked = {key: layer.__dict__[key] for key in _CHECKED_ATTRIBUTES}
        layer.__dict__.update(state)
        layer.__dict__.update(checked)
        for name in CALL_ATTRIBUTES:
            layer.__dict__.pop(name, None)  # no copy remembers a training call
        _check_weights(layer)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"The saved state of a {layer_class.__name__} is damaged: {error}"
        ) from error
    return layer.__dict__


def _check_weights(layer: Layer) -> None:
    group, weights = layer._weight_group, layer.weights
    if type(group) is not WeightGroup or not all(
        type(variable) is Variable and variable.belongs_to(group) for variable in weights
    ):
        raise ValueError("its variables and their values do not belong together")
    if not layer.built:
        return
    layer._set_channels(input_shape_tuple(layer._build_shape, layer._channel_axis))
    kernel_shape, bias_shape = layer._weight_shapes()
    expected = [(kernel_shape, layer.dtype), (bias_shape, layer.dtype)][: 1 + layer.use_bias]
    own = [v for v in (layer._kernel, layer._bias) if v is not None]
    found = [(v.shape, v.dtype) for v in own]
    if found != expected or not all(any(v is w for w in weights) for v in own):
        raise ValueError(f"expected weights of {expected}. Received: weights of {found}")
