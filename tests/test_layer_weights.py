# SPDX-License-Identifier: BSD-3-Clause
"""Weights of the layer: order, copies in and out, assignment, files, and the trainable flag."""

import numpy as np
import pytest
from dwconv import DepthwiseConv1D
from layer_helpers import X, assert_same_state, built_layer, state_of

KERNEL = np.arange(9, dtype=np.float32).reshape(3, 3, 1)
BIAS = np.array([1, 2, 3], np.float32)


def paths(variables):
    return [variable.path for variable in variables]


def test_variables():
    layer = built_layer(name="dw", depthwise_regularizer="l2", bias_constraint="non_neg")
    assert paths(layer.weights) == paths(layer.variables) == ["dw/kernel", "dw/bias"]
    kernel, bias = layer.weights
    assert kernel is layer.kernel and bias is layer.bias
    assert (kernel.name, bias.name) == ("kernel", "bias")
    assert (kernel.shape, kernel.ndim, len(kernel)) == ((3, 3, 1), 3, 3)
    assert kernel.dtype == bias.dtype == "float32" and isinstance(kernel.dtype, str)
    assert kernel.trainable and bias.trainable
    assert kernel.regularizer is layer.depthwise_regularizer and bias.regularizer is None
    assert bias.constraint is layer.bias_constraint and kernel.constraint is None
    assert "dw/kernel" in repr(kernel) and "(3, 3, 1)" in repr(kernel)


def test_get_weights_returns_copies():
    layer = built_layer()
    first = layer.get_weights()
    for array in (*first, layer.kernel.numpy(), np.array(layer.bias)):
        array[:] = 7
    assert not np.any(layer.get_weights()[0] == 7) and not np.any(layer.bias == 7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", [np.float16, np.float64, np.int8, bool, ">f4"])
def test_set_weights_casts_and_copies(dtype, given):
    layer = built_layer(dtype=dtype)
    weights = [KERNEL.astype(given), BIAS.astype(given)]
    layer.set_weights(weights)
    for array in weights:
        array[:] = 0
    kernel, bias = layer.get_weights()
    assert kernel.dtype == bias.dtype == dtype
    assert np.array_equal(kernel, KERNEL.astype(given)) and np.array_equal(bias, BIAS.astype(given))


def test_set_weights_takes_lists_and_any_memory_order():
    layer = built_layer()
    layer.set_weights((np.asfortranarray(KERNEL), BIAS.tolist()))
    assert np.array_equal(layer.kernel, KERNEL) and np.array_equal(layer.bias, BIAS)
    assert layer.kernel.value.flags.c_contiguous
    layer.set_weights(iter([KERNEL + 1, BIAS]))
    assert np.array_equal(layer.kernel, KERNEL + 1)
    layer.set_weights([layer.kernel, layer.bias])
    assert np.array_equal(layer.kernel, KERNEL + 1)


BAD_WEIGHTS = [
    ([KERNEL], ValueError, ["length 1", "2 weights"]),
    ([], ValueError, ["length 0", "2 weights"]),
    ([KERNEL, BIAS, BIAS], ValueError, ["length 3", "2 weights"]),
    ([KERNEL[:2], BIAS], ValueError, ["(3, 3, 1)", "(2, 3, 1)"]),
    ([KERNEL, BIAS[:1]], ValueError, ["(3,)", "(1,)"]),
    ([KERNEL, BIAS[None]], ValueError, ["(3,)", "(1, 3)"]),
    ([KERNEL, 1.0], ValueError, ["(3,)", "()"]),
    ([KERNEL[:1], BIAS], ValueError, ["(3, 3, 1)", "(1, 3, 1)"]),
    ([KERNEL, [[1, 2], [3]]], ValueError, ["bias"]),
    ([KERNEL, BIAS.astype(complex)], TypeError, ["bias", "dtype", "complex128"]),
    ([KERNEL, ["a", "b", "c"]], TypeError, ["bias", "dtype", "U1"]),
    ([KERNEL, [None] * 3], TypeError, ["bias", "dtype", "object"]),
    ([KERNEL, np.ma.masked_equal(BIAS, 2)], TypeError, ["bias", "mask"]),
    ([None, BIAS], TypeError, ["kernel", "NoneType"]),
    (None, TypeError, []),
    (3, TypeError, []),
]


@pytest.mark.parametrize("row", BAD_WEIGHTS, ids=lambda row: f"{row[1].__name__} {row[2]}")
def test_bad_weights_change_nothing(row):
    weights, error, parts = row
    layer = built_layer()
    before, y = state_of(layer), layer(X)
    with pytest.raises(error) as caught:
        layer.set_weights(weights)
    missing = [part for part in parts if part not in str(caught.value)]
    assert not missing, f"{missing} not in {caught.value}"
    assert_same_state(layer, before)
    assert np.array_equal(layer(X), y)


def test_set_weights_before_build():
    layer = DepthwiseConv1D(3)
    with pytest.raises(ValueError, match="length 2.*expecting 0 weights.*not built"):
        layer.set_weights([KERNEL, BIAS])
    layer.set_weights([])  # what get_weights returns
    assert layer.get_weights() == []


def test_count_params_before_build():
    with pytest.raises(ValueError, match="count_params.*isn't built"):
        DepthwiseConv1D(3, name="dw").count_params()


def test_assign():
    layer = built_layer()
    old = layer.kernel.value
    old_copy = old.copy()
    source = KERNEL.astype(np.float64)
    assert np.array_equal(layer.kernel.assign(source), KERNEL)
    source[:] = 0
    assert np.array_equal(layer.kernel.value, KERNEL)
    assert np.array_equal(old, old_copy), "an array once given out never changes"
    layer.bias.assign([3, 2, 1])
    assert np.array_equal(layer.get_weights()[1], [3, 2, 1])


@pytest.mark.parametrize(
    ("value", "error", "parts"),
    [
        (KERNEL[..., 0], ValueError, ["(3, 3, 1)", "(3, 3)", "kernel"]),
        (1.0, ValueError, ["(3, 3, 1)", "()"]),
        ("text", TypeError, ["kernel", "str"]),
        (KERNEL.astype(complex), TypeError, ["kernel", "dtype"]),
    ],
)
def test_bad_assign_changes_nothing(value, error, parts):
    layer = built_layer()
    before = state_of(layer)
    with pytest.raises(error) as caught:
        layer.kernel.assign(value)
    assert all(part in str(caught.value) for part in parts), caught.value
    assert_same_state(layer, before)


def test_values_are_read_only():
    layer = built_layer()
    for view in (layer.kernel.value, np.asarray(layer.kernel), layer.kernel[0], layer.kernel[...]):
        with pytest.raises(ValueError, match="read-only"):
            view[...] = 0
    for attribute in ("kernel", "depthwise_kernel", "bias"):
        with pytest.raises(AttributeError):
            setattr(layer, attribute, KERNEL)


def test_variables_are_operands():
    layer = built_layer()
    layer.set_weights([KERNEL, BIAS])
    kernel = layer.kernel
    assert np.array_equal(kernel * 2, KERNEL * 2) and np.array_equal(1 - kernel, 1 - KERNEL)
    assert np.array_equal(np.abs(kernel), KERNEL) and np.sum(kernel) == KERNEL.sum()
    assert np.array_equal(KERNEL + layer.bias[:, None], KERNEL + BIAS[:, None])
    assert np.array_equal(kernel[1:], KERNEL[1:])
    assert (kernel == KERNEL).all() and {kernel: 1}[kernel] == 1
    assert np.asarray(kernel, np.float64).dtype == np.float64
    assert np.array(kernel, copy=True).flags.writeable
    with pytest.raises(TypeError):
        kernel += 1  # would write into the weights
    with pytest.raises(TypeError):
        np.add(KERNEL, 1, out=layer.kernel)
    assert np.array_equal(layer.kernel, KERNEL)


def test_copies_only_if_allowed():
    kernel = built_layer().kernel
    assert np.shares_memory(kernel.__array__(copy=False), kernel.value)
    assert not np.shares_memory(kernel.__array__(copy=True), kernel.value)
    with pytest.raises(ValueError, match="copy"):
        kernel.__array__(np.float64, copy=False)


def test_trainable():
    layer = built_layer(name="dw")
    both = ["dw/kernel", "dw/bias"]

    def lists():
        assert paths(layer.trainable_variables) == paths(layer.trainable_weights)
        assert paths(layer.non_trainable_variables) == paths(layer.non_trainable_weights)
        return paths(layer.trainable_weights), paths(layer.non_trainable_weights)

    assert lists() == (both, [])
    layer.trainable = False
    assert lists() == ([], both)
    assert not layer.kernel.trainable and not layer.bias.trainable
    layer.trainable = True
    assert lists() == (both, []) and layer.kernel.trainable
    layer.kernel.trainable = False
    assert lists() == (["dw/bias"], ["dw/kernel"])
    assert paths(layer.weights) == both
    assert not built_layer(trainable=False).kernel.trainable


@pytest.mark.parametrize("use_bias", [True, False])
def test_save_and_load_own_variables(use_bias):
    layer = built_layer(use_bias=use_bias)
    store = {}
    layer.save_own_variables(store)
    assert list(store) == (["0", "1"] if use_bias else ["0"])
    assert np.array_equal(store["0"], layer.kernel)
    other = built_layer(use_bias=use_bias)
    other.load_own_variables(store)
    assert np.array_equal(other(X), layer(X))
    store["0"][:] = 0
    assert np.array_equal(other(X), layer(X)), "the store and the weights are separate"


@pytest.mark.parametrize(
    ("store", "error", "parts"),
    [
        ({}, ValueError, ["expected 2", "received 0"]),
        ({"0": KERNEL}, ValueError, ["expected 2", "received 1"]),
        ({"0": KERNEL, "1": BIAS, "2": BIAS}, ValueError, ["expected 2", "received 3"]),
        ({"0": KERNEL, "bias": BIAS}, ValueError, ["'0', '1'", "'0', 'bias'"]),
        ({"0": KERNEL, "1": BIAS[:2]}, ValueError, ["(3,)", "(2,)", "bias"]),
        ({"0": KERNEL.astype("U3"), "1": BIAS}, TypeError, ["kernel", "dtype"]),
    ],
)
def test_bad_stores_change_nothing(store, error, parts):
    layer = built_layer()
    before = state_of(layer)
    with pytest.raises(error) as caught:
        layer.load_own_variables(store)
    assert all(part in str(caught.value) for part in parts), caught.value
    assert_same_state(layer, before)


def test_variables_of_a_layer_that_is_not_built():
    layer, store = DepthwiseConv1D(3), {}
    layer.save_own_variables(store)
    assert store == {}
    layer.load_own_variables(store)
    with pytest.raises(ValueError, match="not built"):
        layer.load_own_variables({"0": KERNEL, "1": BIAS})


def test_stateless_call():
    layer = built_layer()
    before, y = state_of(layer), layer(X)
    outputs, state = layer.stateless_call([KERNEL, BIAS], [], X)
    layer.trainable = False
    outputs2, state2 = layer.stateless_call([], [KERNEL, BIAS], X)
    layer.trainable = True
    assert state == [] and all(map(np.array_equal, state2, (KERNEL, BIAS)))
    assert_same_state(layer, before)
    assert np.array_equal(layer(X), y)
    layer.set_weights([KERNEL, BIAS])
    assert np.array_equal(outputs, layer(X)) and np.array_equal(outputs2, layer(X))


def test_stateless_call_returns_losses():
    layer = built_layer(depthwise_regularizer="l1", activity_regularizer="l2")
    layer(X)
    losses = layer.losses
    _, _, other = layer.stateless_call([np.ones((3, 3, 1)), BIAS], [], X, return_losses=True)
    assert np.isclose(other[1], 0.09) and not np.isclose(other[0], losses[0])
    assert layer.losses == losses


@pytest.mark.parametrize(
    ("trainable", "other", "parts"),
    [
        ([KERNEL], [], ["2 trainable", "Received: 1 and 0"]),
        ([KERNEL], [BIAS], ["2 trainable", "Received: 1 and 1"]),
        ([KERNEL, BIAS], [BIAS], ["Received: 2 and 1"]),
        ([KERNEL, BIAS[:2]], [], ["(3,)", "(2,)"]),
    ],
)
def test_bad_stateless_calls(trainable, other, parts):
    layer = built_layer()
    before = state_of(layer)
    with pytest.raises(ValueError) as caught:
        layer.stateless_call(trainable, other, X)
    assert all(part in str(caught.value) for part in parts), caught.value
    assert_same_state(layer, before)
    with pytest.raises(ValueError, match="must be built"):
        DepthwiseConv1D(3).stateless_call(trainable, other, X)
