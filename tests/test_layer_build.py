# SPDX-License-Identifier: BSD-3-Clause
"""Building the layer: accepted shapes, the weights that result, and failures without traces."""

import dwconv
import numpy as np
import pytest
from dwconv import DepthwiseConv1D, initializers
from layer_helpers import assert_same_state, state_of


@pytest.mark.parametrize("shape", [(2, 10, 3), [None, None, 3], np.array([2, 10, 3])], ids=str)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_build(shape, data_format, use_bias):
    if data_format == "channels_first":
        shape = [shape[0], shape[2], shape[1]]
    layer = DepthwiseConv1D(4, depth_multiplier=2, data_format=data_format, use_bias=use_bias)
    assert layer.get_build_config() is None
    layer.build(shape)
    assert layer.built
    assert layer.get_build_config() == {"input_shape": tuple(shape)}
    axis = -1 if data_format == "channels_last" else 1
    assert layer.input_spec.axes == {axis: 3} and layer.input_spec.min_ndim == 3
    assert repr(layer.input_spec) == f"<InputSpec min_ndim=3, axes={{{axis}: 3}}>"
    assert layer.kernel is layer.depthwise_kernel and layer.kernel.shape == (4, 3, 2)
    assert layer.count_params() == 3 * 2 * (4 + use_bias)
    if use_bias:
        assert layer.bias.shape == (6,) and layer.weights == [layer.kernel, layer.bias]
    else:
        assert layer.bias is None and len(layer.weights) == 1


BAD_SHAPES = [
    ((2, 10), ["3 dimensions", "(2, 10)"]),
    ((2, 4, 10, 3), ["3 dimensions", "(2, 4, 10, 3)"]),
    ((), ["3 dimensions", "()"]),
    ((2, 10, None), ["channel", "(2, 10, None)"]),
    ((2, 10, -1), ["channel", "(2, 10, -1)"]),
    ((2, 10, 0), ["channel", "(2, 10, 0)"]),
    ((2, -10, 3), ["negative", "(2, -10, 3)"]),
    ((-2, 10, 3), ["negative", "(-2, 10, 3)"]),
    ((2, 2**63, 3), ["too large", str(2**63)]),
    ((2, 10.0, 3), ["input_shape", "10.0"]),
    ("abc", ["input_shape", "abc"]),
    (None, ["input_shape", "None"]),
    (7, ["input_shape", "7"]),
    ((2, 2, 3), ["output size", "2", "kernel_size=3", "dilation_rate=1"]),
    ((None, 0, 3), ["output size", "0", "kernel_size=3", "dilation_rate=1"]),
]


@pytest.mark.parametrize("row", BAD_SHAPES, ids=lambda row: str(row[0]))
def test_bad_shapes(row):
    shape, parts = row
    layer = DepthwiseConv1D(3)
    before = state_of(layer)
    for method in (layer.build, layer.compute_output_shape):
        with pytest.raises(ValueError) as caught:
            method(shape)
        assert all(part in str(caught.value) for part in parts), caught.value
    assert_same_state(layer, before)
    layer.build((2, 10, 3))


def test_channels_first_looks_at_axis_1():
    layer = DepthwiseConv1D(3, data_format="channels_first")
    with pytest.raises(ValueError, match=r"channel.*\(2, None, 10\)"):
        layer.build((2, None, 10))
    layer.build((2, 5, None))
    assert layer.kernel.shape == (3, 5, 1)


@pytest.mark.parametrize("shape", [(2, 10, 3), (2, 10, 4)])
def test_building_twice(shape):
    layer = DepthwiseConv1D(3)
    layer.build((2, 10, 3))
    before = state_of(layer)
    with pytest.raises(ValueError, match=r"already built.*\(2, 10, 3\)"):
        layer.build(shape)
    assert_same_state(layer, before)


@pytest.mark.parametrize(
    ("arguments", "error", "parts"),
    [
        ({"depthwise_initializer": "identity"}, ValueError, ["Identity"]),
        ({"bias_initializer": "orthogonal"}, ValueError, ["two-dimensional"]),
        (
            {"depthwise_initializer": lambda shape, dtype: np.ones(3)},
            ValueError,
            ["kernel", "(3,)"],
        ),
        ({"bias_initializer": lambda shape, dtype: 1 / 0}, ZeroDivisionError, []),
        ({"kernel_size": 2**50}, MemoryError, ["kernel", f"({2**50}, 5, 1)", str(2**50 * 20)]),
        ({"kernel_size": 2**61}, MemoryError, ["kernel", f"({2**61}, 5, 1)", str(2**61 * 20)]),
        (
            {"depth_multiplier": 2**61, "depthwise_initializer": "zeros"},
            MemoryError,
            ["kernel", f"(3, 5, {2**61})", str(2**61 * 60)],
        ),
    ],
)
def test_failures_leave_no_trace(arguments, error, parts):
    layer = DepthwiseConv1D(**{"kernel_size": 3, "padding": "same", **arguments})
    before = state_of(layer)
    for attempt in (lambda: layer.build((1, None, 5)), lambda: layer(np.ones((1, 4, 5)))):
        with pytest.raises(error) as caught:
            attempt()
        assert all(part in str(caught.value) for part in parts), caught.value
        assert_same_state(layer, before)
    layer.kernel_size, layer.depth_multiplier = (3,), 1
    layer.depthwise_initializer = layer.bias_initializer = None
    layer.build((1, None, 5))
    assert layer.kernel.shape == (3, 5, 1)


def test_initializers_are_called_as_keras_does_and_their_results_copied():
    calls = []

    def initializer(shape, dtype):
        calls.append((shape, dtype))
        calls.append(np.ones(shape, np.float16))
        return calls[-1]

    layer = DepthwiseConv1D(3, depthwise_initializer=initializer, dtype="float64")
    layer.build((None, None, 2))
    assert calls[0] == ((3, 2, 1), "float64")
    assert layer.kernel.dtype == "float64"
    calls[1][:] = 5
    assert np.array_equal(layer.kernel, np.ones((3, 2, 1)))


def test_seeds_make_weights_repeatable():
    def kernels():
        dwconv.set_random_seed(3)
        layers = [DepthwiseConv1D(3) for _ in range(2)]
        for layer in layers:
            layer.build((None, None, 2))
        return [layer.kernel.numpy() for layer in layers]

    first, second = kernels(), kernels()
    assert np.array_equal(first, second) and not np.array_equal(first[0], first[1])
    seeded = initializers.GlorotUniform(seed=5)
    one, two = (DepthwiseConv1D(3, depthwise_initializer=seeded) for _ in range(2))
    one.build((None, None, 2))
    two.build((None, None, 2))
    assert np.array_equal(one.kernel, two.kernel)


@pytest.mark.parametrize("config", [None, {}, {"input_shape": None}])
def test_build_from_an_empty_config(config):
    layer = DepthwiseConv1D(3)
    layer.build_from_config(config)
    assert not layer.built


def test_build_from_config():
    layer = DepthwiseConv1D(3)
    layer.build_from_config({"input_shape": [None, 10, 4]})
    assert layer.kernel.shape == (3, 4, 1)
    again = DepthwiseConv1D(3)
    again.build_from_config(layer.get_build_config())
    assert again.kernel.shape == (3, 4, 1)


def test_constraints_do_not_touch_the_initial_weights():
    layer = DepthwiseConv1D(3, bias_constraint="non_neg", depthwise_constraint="max_norm")
    layer.bias_initializer = initializers.Constant(-1.0)
    layer.build((None, None, 2))
    assert np.array_equal(layer.bias, [-1, -1])
    layer.set_weights([layer.kernel, [-2, -2]])
    assert np.array_equal(layer.bias, [-2, -2])
    assert layer.bias.constraint is layer.bias_constraint
    assert np.array_equal(layer.bias.constraint(layer.bias.value), [0, 0])
    assert layer.kernel.constraint is layer.depthwise_constraint
