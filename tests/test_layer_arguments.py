# SPDX-License-Identifier: BSD-3-Clause
"""Constructor arguments of the layer: what is accepted and how stored, what is refused and how."""

import inspect

import dwconv
import numpy as np
import pytest
from dwconv import DepthwiseConv1D, activations, constraints, initializers, regularizers
from dwconv.dtype_policy import DTypePolicy

SIZES = ("kernel_size", "strides", "dilation_rate")


def make(**arguments):
    return DepthwiseConv1D(**{"kernel_size": 3, **arguments})


def test_signature_is_that_of_keras():
    parameters = inspect.signature(DepthwiseConv1D).parameters
    assert {name: p.default for name, p in parameters.items()} == {
        "kernel_size": inspect.Parameter.empty,
        "strides": 1,
        "padding": "valid",
        "depth_multiplier": 1,
        "data_format": None,
        "dilation_rate": 1,
        "activation": None,
        "use_bias": True,
        "depthwise_initializer": "glorot_uniform",
        "bias_initializer": "zeros",
        "depthwise_regularizer": None,
        "bias_regularizer": None,
        "activity_regularizer": None,
        "depthwise_constraint": None,
        "bias_constraint": None,
        "kwargs": inspect.Parameter.empty,
    }
    assert all(p.kind != p.KEYWORD_ONLY for p in parameters.values())


def test_all_arguments_by_position():
    layer = DepthwiseConv1D(
        5, 2, "same", 3, "channels_first", 1, "relu", False,
        "ones", "zeros", "l1", "l2", "l2", "non_neg", "max_norm",
    )  # fmt: skip
    assert (layer.kernel_size, layer.strides, layer.dilation_rate) == ((5,), (2,), (1,))
    assert (layer.padding, layer.depth_multiplier, layer.data_format) == (
        "same",
        3,
        "channels_first",
    )
    assert layer.activation is activations.relu and layer.use_bias is False
    assert type(layer.depthwise_initializer) is initializers.Ones
    assert type(layer.bias_initializer) is initializers.Zeros
    assert type(layer.depthwise_regularizer) is regularizers.L1
    assert type(layer.bias_regularizer) is type(layer.activity_regularizer) is regularizers.L2
    assert type(layer.depthwise_constraint) is constraints.NonNeg
    assert type(layer.bias_constraint) is constraints.MaxNorm


def test_attributes_of_a_new_layer():
    layer = make(name="q")
    assert layer.rank == 1 and layer.name == layer.path == "q"
    assert layer.trainable is True and layer.built is False and layer.autocast is True
    assert layer.dtype == layer.compute_dtype == layer.variable_dtype == "float32"
    assert layer.dtype_policy == DTypePolicy("float32")
    assert layer.input_spec.min_ndim == 3 and layer.input_spec.axes == {}
    assert layer.supports_masking is False
    assert layer.activation is activations.linear
    for name in ("weights", "variables", "losses", "get_weights"):
        value = getattr(layer, name)
        assert (value() if callable(value) else value) == []
    for name in ("weights", "variables"):
        assert getattr(layer, f"trainable_{name}") == getattr(layer, f"non_trainable_{name}") == []
    for name in ("kernel", "depthwise_kernel", "bias"):
        assert not hasattr(layer, name)
        with pytest.raises(AttributeError, match=name.removeprefix("depthwise_")):
            getattr(layer, name)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize(
    "value", [3, [3], (3,), {3}, range(3, 4), np.array([3]), [np.int64(3)]], ids=repr
)
def test_one_integer(name, value):
    stored = getattr(make(**{name: value}), name)
    assert stored == (3,) and type(stored[0]) is int


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize(
    ("value", "error", "rule"),
    [
        (0, ValueError, "positive"),
        (-1, ValueError, "positive"),
        ([0], ValueError, "positive"),
        (-(2**70), ValueError, "positive"),
        (3.0, ValueError, "integer"),
        ([3.7], ValueError, "integer"),
        (float("nan"), ValueError, "integer"),
        (None, ValueError, "integer"),
        ([None], ValueError, "integer"),
        (np.int64(3), ValueError, "integer"),
        (np.array(3), ValueError, "integer"),
        ([], ValueError, "integer"),
        ([3, 3], ValueError, "integer"),
        ("3", TypeError, "integer"),
        (["3"], TypeError, "integer"),
        (True, TypeError, "integer"),
        ([True], TypeError, "integer"),
        (np.True_, TypeError, "integer"),
        (2**63, ValueError, "too large"),
    ],
    ids=str,
)
def test_not_one_positive_integer(name, value, error, rule):
    with pytest.raises(error) as caught:
        make(**{name: value})
    message = str(caught.value)
    assert f"`{name}`" in message and rule in message
    assert str(value) in message or isinstance(value, np.ndarray)


@pytest.mark.parametrize("name", [*SIZES, "depth_multiplier"])
def test_integers_too_long_to_print(name):
    with pytest.raises(ValueError, match=rf"`{name}` argument is too large.*2\*\*16609"):
        make(**{name: 10**5000})


def test_endless_iterables_end():
    from itertools import count

    with pytest.raises(ValueError, match="kernel_size"):
        make(kernel_size=count(1))


@pytest.mark.parametrize("value", [1, 4, np.int32(4)], ids=repr)
def test_depth_multiplier(value):
    stored = make(depth_multiplier=value).depth_multiplier
    assert stored == value and type(stored) is int


@pytest.mark.parametrize(
    ("value", "error", "rule"),
    [
        (0, ValueError, "positive"),
        (np.int64(-2), ValueError, "positive"),
        (2**63, ValueError, "too large"),
        (2.0, TypeError, "integer"),
        ("2", TypeError, "integer"),
        ([2], TypeError, "integer"),
        (None, TypeError, "integer"),
        (True, TypeError, "integer"),
    ],
)
def test_bad_depth_multiplier(value, error, rule):
    with pytest.raises(error) as caught:
        make(depth_multiplier=value)
    message = str(caught.value)
    assert "`depth_multiplier`" in message and rule in message
    assert str(value) in message


def test_effective_kernel_size_must_fit_into_64_bits():
    with pytest.raises(ValueError, match="too large") as caught:
        make(kernel_size=2**32, dilation_rate=2**32)
    assert str(2**32) in str(caught.value) and "dilation_rate" in str(caught.value)
    make(kernel_size=2**31, dilation_rate=2**31)  # fits


@pytest.mark.parametrize("value", [2**40, 2**55])
def test_huge_strides_and_dilations_are_computed(value):
    x = np.arange(8, dtype=np.float32).reshape(1, 4, 2)
    layer = make(kernel_size=3, strides=value, padding="same", depthwise_initializer="ones")
    assert np.array_equal(layer(x), x[:, :3].sum(axis=1, keepdims=True))  # nothing is padded
    layer = make(dilation_rate=value, padding="same", depthwise_initializer="ones")
    assert np.array_equal(layer(x), x)  # only the middle tap meets the input


@pytest.mark.parametrize("value", ["valid", "SAME", "Same"])
def test_padding(value):
    assert make(padding=value).padding == value.lower()


@pytest.mark.parametrize("value", ["bogus", "", "causal", None, 1, (1, 1), [0, 2]], ids=repr)
def test_bad_padding(value):
    with pytest.raises(ValueError) as caught:
        make(padding=value)
    message = str(caught.value)
    assert "`padding`" in message and "'valid', 'same'" in message and str(value) in message
    assert ("dwconv.depthwise_conv1d" in message) == (value == "causal")


@pytest.mark.parametrize("value", ["channels_last", "Channels_First"])
def test_data_format(value):
    assert make(data_format=value).data_format == value.lower()


@pytest.mark.parametrize("value", ["bogus", "", "NHWC", 1], ids=repr)
def test_bad_data_format(value):
    with pytest.raises(ValueError) as caught:
        make(data_format=value)
    message = str(caught.value)
    assert "`data_format`" in message and "channels_first" in message and str(value) in message


def test_default_data_format_and_dtype_are_the_global_ones():
    try:
        dwconv.config.set_image_data_format("channels_first")
        dwconv.config.set_floatx("float64")
        layer = make()
    finally:
        dwconv.config.set_image_data_format("channels_last")
        dwconv.config.set_floatx("float32")
    assert (layer.data_format, layer.dtype) == ("channels_first", "float64")
    assert (make().data_format, make().dtype) == ("channels_last", "float32")


def test_strides_with_dilation_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match=r"dwconv\.depthwise_conv1d") as caught:
        make(strides=2, dilation_rate=3)
    assert "strides=2" in str(caught.value) and "dilation_rate=3" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("activation", "activation"),
        ("depthwise_initializer", "initializer"),
        ("bias_initializer", "initializer"),
        ("depthwise_regularizer", "regularizer"),
        ("bias_regularizer", "regularizer"),
        ("activity_regularizer", "regularizer"),
        ("depthwise_constraint", "constraint"),
        ("bias_constraint", "constraint"),
    ],
)
@pytest.mark.parametrize("value", ["no_such", 1, [], {}, {"class_name": "NoSuch", "config": {}}])
def test_unknown_objects(name, kind, value):
    with pytest.raises(ValueError) as caught:
        make(**{name: value})
    message = str(caught.value)
    assert f"`{name}`" in message and kind in message and str(value) in message


def test_objects_may_be_names_instances_classes_callables_and_configurations():
    def double(x):
        return 2 * x

    for value in (
        "he_normal",
        initializers.HeNormal(),
        initializers.HeNormal,
        {"class_name": "HeNormal", "config": {"seed": None}},
    ):
        assert (
            type(make(depthwise_initializer=value).depthwise_initializer) is initializers.HeNormal
        )
    assert make(activation=double).activation is double
    assert make(depthwise_regularizer=double).depthwise_regularizer is double
    assert make(bias_constraint=double).bias_constraint is double
    inner = make(padding="same")
    assert make(activation=inner).activation is inner


def test_an_array_as_initializer():
    kernel = np.arange(6, dtype=np.float32).reshape(3, 2, 1)
    layer = make(depthwise_initializer=kernel)
    layer.build((None, None, 2))
    assert np.array_equal(layer.kernel, kernel)
    with pytest.raises(ValueError, match="shape"):
        make(depthwise_initializer=kernel).build((None, None, 3))


def test_no_initializer_means_the_default_one():
    layer = make(depthwise_initializer=None, bias_initializer=None)
    assert layer.depthwise_initializer is None and layer.bias_initializer is None
    layer.build((1, 4, 2))
    limit = np.sqrt(6 / (3 * 2 + 3))
    assert 0 < np.abs(layer.kernel).max() < limit
    assert np.array_equal(layer.bias, [0, 0])


def test_unknown_keyword():
    with pytest.raises(TypeError, match=r"Unrecognized keyword.*DepthwiseConv1D.*'foo': 1"):
        make(foo=1)
    with pytest.raises(TypeError, match="kernel_size"):
        DepthwiseConv1D(strides=1)


@pytest.mark.parametrize("key", ["input_shape", "input_dim"])
def test_input_shape_is_accepted_with_a_warning(key):
    with pytest.warns(UserWarning, match=f"`{key}` has no effect") as caught:
        layer = DepthwiseConv1D(3, **{key: 4})
    assert not layer.built and caught[0].filename == __file__


@pytest.mark.parametrize("value", ["a/b", 3, b"a"], ids=repr)
def test_bad_name(value):
    with pytest.raises(ValueError, match="`name` must be a string"):
        make(name=value)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "float32"),
        ("float64", "float64"),
        ("float16", "float16"),
        ("mixed_bfloat16", "mixed_bfloat16"),
        (np.float64, "float64"),
        (np.dtype(">f4"), "float32"),
        (float, "float32"),
        (DTypePolicy("float64"), "float64"),
        ({"class_name": "Policy", "config": {"name": "mixed_float16"}}, "mixed_float16"),
    ],
)
def test_dtype(value, name):
    policy = make(dtype=value).dtype_policy
    assert policy.name == name
    mixed = name.startswith("mixed_")
    assert policy.variable_dtype == ("float32" if mixed else name)
    assert policy.compute_dtype == name.removeprefix("mixed_")


def test_a_policy_object_of_another_library():
    class Policy:
        name = "float64"
        compute_dtype = variable_dtype = "float64"

    assert make(dtype=Policy()).dtype == "float64"


@pytest.mark.parametrize(
    "value", ["bogus", "int32", np.int64, 3, object(), {}, {"class_name": "Policy", "config": {}}]
)
def test_bad_dtype(value):
    with pytest.raises(ValueError, match="`dtype`"):
        make(dtype=value)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
def test_16_bit_layers_can_be_configured_only(dtype):
    layer = make(dtype=dtype)
    assert DepthwiseConv1D.from_config(layer.get_config()).dtype_policy.name == dtype
    assert layer.compute_output_spec(np.empty((1, 4, 2))).dtype == dtype.removeprefix("mixed_")
    for compute in (
        lambda: layer.build((1, 4, 2)),
        lambda: layer(np.ones((1, 4, 2), np.float16)),
    ):
        with pytest.raises(TypeError, match=f"dtype {dtype} is not supported for computation yet"):
            compute()
    assert not layer.built and layer.weights == []
