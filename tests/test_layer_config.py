# SPDX-License-Identifier: BSD-3-Clause
"""Configuration, names and representation of the layer, beyond the recorded Keras results."""

import json

import dwconv
import numpy as np
import pytest
from child import run_child
from dwconv import DepthwiseConv1D
from dwconv.dtype_policy import DTypePolicy
from layer_helpers import X, built_layer


def times_three(x):
    return 3 * x


def through_json(config):
    return json.loads(json.dumps(config))


def test_keys_and_their_order():
    keys = [
        "name", "trainable", "dtype", "depth_multiplier", "kernel_size", "strides", "padding",
        "data_format", "dilation_rate", "activation", "use_bias", "depthwise_initializer",
        "bias_initializer", "depthwise_regularizer", "bias_regularizer", "activity_regularizer",
        "depthwise_constraint", "bias_constraint",
    ]  # fmt: skip
    assert list(DepthwiseConv1D(3).get_config()) == keys
    keys.remove("activity_regularizer")
    keys.insert(3, "activity_regularizer")
    assert list(DepthwiseConv1D(3, activity_regularizer="l2").get_config()) == keys


def test_sizes_are_tuples_and_everything_is_json():
    config = DepthwiseConv1D([3], strides=(2,), depth_multiplier=np.int64(2)).get_config()
    assert config["kernel_size"] == (3,) and config["strides"] == (2,)
    json.dumps(config)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"activation": "swish", "use_bias": False, "trainable": False, "dtype": "float64"},
        {"data_format": "channels_first", "padding": "SAME", "strides": 2, "depth_multiplier": 3},
        {"depthwise_initializer": np.arange(6.0).reshape(3, 2, 1), "bias_initializer": None},
        {"activity_regularizer": "l1", "depthwise_constraint": "unit_norm"},
    ],
)
def test_round_trip(arguments):
    layer = DepthwiseConv1D(**{"kernel_size": 3, **arguments})
    config = through_json(layer.get_config())
    twin = DepthwiseConv1D.from_config(config)
    assert through_json(twin.get_config()) == config
    assert twin.name == layer.name and twin.trainable == layer.trainable


def test_missing_keys_take_defaults_and_integers_are_fine():
    layer = DepthwiseConv1D.from_config({"kernel_size": 5, "strides": [2]})
    assert (layer.kernel_size, layer.strides, layer.padding) == ((5,), (2,), "valid")


def test_keras_2_keys():
    config = {
        "kernel_size": [3],
        "groups": 1,
        "batch_input_shape": [None, 10, 3],
        "dtype": "float64",
    }
    kept = json.dumps(config)
    assert DepthwiseConv1D.from_config(config).dtype == "float64"
    assert json.dumps(config) == kept
    with pytest.raises(ValueError, match="`groups` must be 1.*groups=2"):
        DepthwiseConv1D.from_config({**config, "groups": 2})


@pytest.mark.parametrize(
    ("config", "error", "words"),
    [
        (None, TypeError, "config"),
        ([("kernel_size", 3)], TypeError, "config"),
        ({}, TypeError, "kernel_size"),
        ({"kernel_size": 3, "bogus": 1}, TypeError, "bogus"),
        ({"kernel_size": [3, 3]}, ValueError, "kernel_size"),
        ({"kernel_size": 3, "strides": 2, "dilation_rate": 2}, ValueError, "strides"),
        ({"kernel_size": 3, "dtype": {"class_name": "Other", "config": {}}}, ValueError, "dtype"),
        ({"kernel_size": 3, "activation": {"class_name": 1}}, ValueError, "activation"),
        (
            {"kernel_size": 3, "bias_initializer": {"class_name": "os.system", "config": {}}},
            ValueError,
            "bias_initializer",
        ),
        (
            {
                "kernel_size": 3,
                "activation": {"module": "os", "class_name": "function", "config": "system"},
            },
            ValueError,
            "activation",
        ),
    ],
)
def test_bad_configurations(config, error, words):
    with pytest.raises(error, match=words):
        DepthwiseConv1D.from_config(config)


def test_functions_need_custom_objects():
    layer = DepthwiseConv1D(3, activation=times_three, depthwise_regularizer=times_three)
    config = through_json(layer.get_config())
    assert config["activation"] == {
        "module": "builtins",
        "class_name": "function",
        "config": "times_three",
        "registered_name": "function",
    }
    with pytest.raises(ValueError, match="`depthwise_regularizer`.*times_three.*custom_objects"):
        DepthwiseConv1D.from_config(config)
    known = {"times_three": times_three}
    twin = DepthwiseConv1D.from_config(config, custom_objects=known)
    assert twin.activation is times_three and twin.depthwise_regularizer is times_three
    twin = dwconv.deserialize(through_json(dwconv.serialize(layer)), custom_objects=known)
    assert twin.activation is times_three


def test_a_layer_as_activation():
    inner = built_layer(padding="same", name="inner")
    layer = built_layer(activation=inner)
    y = layer(X)
    assert np.allclose(y, inner(built_layer_with(layer.get_weights())(X)))
    config = through_json(layer.get_config())
    assert config["activation"]["class_name"] == "DepthwiseConv1D"
    assert config["activation"]["module"] == "keras.layers"
    twin = DepthwiseConv1D.from_config(config)
    assert twin.activation.name == "inner" and twin.activation.built
    twin.activation.set_weights(inner.get_weights())
    twin.build(X.shape)
    twin.set_weights(layer.get_weights())
    assert np.array_equal(twin(X), y)


def built_layer_with(weights):
    layer = built_layer()
    layer.set_weights(weights)
    return layer


def test_serialize():
    layer = DepthwiseConv1D(3, name="dw")
    want = {
        "module": "keras.layers",
        "class_name": "DepthwiseConv1D",
        "config": layer.get_config(),
        "registered_name": None,
    }
    assert dwconv.serialize(layer) == want
    layer.build((None, 10, 4))
    assert dwconv.serialize(layer) == {**want, "build_config": {"input_shape": (None, 10, 4)}}


@pytest.mark.parametrize(
    "module", ["keras.layers", "keras.src.layers.convolutional.depthwise_conv1d", "tf_keras.layers"]
)
def test_deserialize(module):
    stored = through_json(dwconv.serialize(built_layer(depth_multiplier=2)))
    layer = dwconv.deserialize({**stored, "module": module})
    assert layer.built and layer.kernel.shape == (3, 3, 2)
    short = {"class_name": "DepthwiseConv1D", "config": {"kernel_size": 3, "groups": 1}}
    assert not dwconv.deserialize(short).built


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (None, TypeError),
        ("DepthwiseConv1D", TypeError),
        ({}, ValueError),
        ({"class_name": "Dense", "config": {}}, ValueError),
        ({"class_name": "DepthwiseConv1D", "config": "x"}, ValueError),
        ({"class_name": "DepthwiseConv1D", "config": {}}, TypeError),
        ({"module": "evil", "class_name": "DepthwiseConv1D", "config": {}}, ValueError),
        (
            {"class_name": "DepthwiseConv1D", "config": {"kernel_size": 3}, "build_config": 3},
            ValueError,
        ),
        (
            {
                "class_name": "DepthwiseConv1D",
                "config": {"kernel_size": 3},
                "build_config": {"input_shape": [1, 2]},
            },
            ValueError,
        ),
    ],
)
def test_bad_serialized_layers(config, error):
    with pytest.raises(error):
        dwconv.deserialize(config)
    with pytest.raises(TypeError, match="layer"):
        dwconv.serialize(config)


def test_custom_objects_must_be_layers():
    with pytest.raises(ValueError, match="describe a layer"):
        dwconv.deserialize(
            {"class_name": "Dense", "config": {}}, custom_objects={"Dense": times_three}
        )


def test_automatic_names():
    run_child(
        """
        from dwconv import DepthwiseConv1D
        names = [DepthwiseConv1D(3).name for _ in range(2)]
        assert names == ["depthwise_conv1d", "depthwise_conv1d_1"]
        assert DepthwiseConv1D(3, name="own").name == "own"
        assert DepthwiseConv1D(3, name="").name == ""
        for bad in ({"kernel_size": 0}, {"kernel_size": 3, "dtype": "no"}):
            try:
                DepthwiseConv1D(**bad)
            except ValueError:
                continue
            raise SystemExit(1)
        assert DepthwiseConv1D(3, name=None).name == "depthwise_conv1d_2"
        """,
        prelude="",
    )


def test_repr():
    layer = DepthwiseConv1D(5, strides=2, padding="same", activation="relu", name="q")
    assert repr(layer) == (
        "<DepthwiseConv1D name=q, kernel_size=5, strides=2, padding=same, depth_multiplier=1, "
        "data_format=channels_last, dilation_rate=1, activation=relu, use_bias=True, "
        "dtype=float32, built=False>"
    )
    layer.build((None, None, 7))
    assert repr(layer).endswith("built=True, channels=7>")


def test_dtype_policy():
    policy = DTypePolicy("mixed_float16")
    assert (policy.name, policy.compute_dtype, policy.variable_dtype) == (
        "mixed_float16",
        "float16",
        "float32",
    )
    assert DTypePolicy.from_config(policy.get_config()) == policy != DTypePolicy("float32")
    assert len({policy, DTypePolicy("mixed_float16")}) == 1 and policy != "mixed_float16"
    assert repr(policy) == '<DTypePolicy "mixed_float16">'
    assert DTypePolicy().name == "float32"
