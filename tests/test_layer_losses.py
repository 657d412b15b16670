# SPDX-License-Identifier: BSD-3-Clause
"""``layer.losses`` beyond the recorded Keras values: order, replacement, trainability, failures."""

import numpy as np
import pytest
from dwconv import DepthwiseConv1D
from layer_helpers import X, built_layer


def test_activity_first_then_kernel_then_bias():
    layer = DepthwiseConv1D(
        3, activity_regularizer="l1", depthwise_regularizer="l1", bias_regularizer="l2"
    )
    assert layer.losses == []
    layer.build(X.shape)
    assert len(layer.losses) == 2
    y = layer(X)
    activity, kernel, bias = layer.losses
    assert np.isclose(activity, 0.01 * np.abs(y).sum() / 2)  # divided by the batch size
    assert np.isclose(kernel, 0.01 * np.abs(layer.kernel).sum()) and bias == 0
    assert all(isinstance(loss, np.float32) for loss in layer.losses)


def test_weight_terms_are_computed_when_asked_for():
    layer = built_layer(bias_regularizer="l2")
    layer.bias.assign([1, 2, 3])
    assert np.isclose(layer.losses, 0.14).all()
    layer.bias.assign([0, 0, 0])
    assert layer.losses == [0]


def test_activity_term_is_that_of_the_last_call():
    layer = built_layer(activity_regularizer=np.sum, activation="relu")
    first = layer(X)
    y = layer(2 * X[:1])
    want = np.sum(y)
    y[:] = 0  # the term does not look at the caller's array again
    assert np.isclose(layer.losses, want).all() and not np.isclose(want, first.sum() / 2)
    layer.activity_regularizer = None
    assert layer.losses == []


def test_without_trainable_weights_the_activity_term_stays():
    layer = built_layer(
        trainable=False,
        activity_regularizer="l1",
        depthwise_regularizer="l1",
        bias_regularizer="l1",
    )
    layer(X)
    assert len(layer.losses) == 1
    layer.trainable = True
    layer.bias.trainable = False
    assert len(layer.losses) == 2


def test_an_empty_batch_costs_nothing():
    layer = built_layer(activity_regularizer="l2")
    layer(X[:0])
    assert layer.losses == [0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_callables_may_return_any_scalar(dtype):
    for regularizer in (lambda w: 2, lambda w: 2.0, lambda w: np.array(2), lambda w: np.float64(2)):
        layer = built_layer(dtype=dtype, depthwise_regularizer=regularizer)
        assert layer.losses == [2] and layer.losses[0].dtype == dtype


def test_a_failing_activity_regularizer_leaves_the_losses():
    layer = built_layer(activity_regularizer="l1")
    layer(X)
    losses = layer.losses
    for failing in (lambda y: y, lambda y: 1 / 0):
        layer.activity_regularizer = failing
        with pytest.raises((ValueError, ZeroDivisionError)):
            layer(X)
        assert layer.losses == losses


def test_a_regularizer_must_return_a_scalar():
    layer = built_layer(depthwise_regularizer=lambda w: w)
    with pytest.raises(ValueError, match=r"regularizer must return a scalar.*\(3, 3, 1\)"):
        _ = layer.losses


def test_regularizers_cannot_change_weights():
    def meddle(w):
        w[:] = 0

    layer = built_layer(depthwise_regularizer=meddle)
    with pytest.raises(ValueError, match="read-only"):
        _ = layer.losses
    assert np.any(layer.kernel)


def test_add_loss_outside_of_a_call():
    layer = built_layer()
    with pytest.raises(ValueError, match=r"add_loss\(\).*from inside `build\(\)` or `call\(\)`"):
        layer.add_loss(np.float32(1))
