# SPDX-License-Identifier: BSD-3-Clause
"""Gradients of layers with objects and methods that are not dwconv's: given along, or refused."""

import re

import numpy as np
import pytest
from dwconv import DepthwiseConv1D, regularizers
from layer_helpers import DY, X, assert_equal_gradients, built_layer
from numpy.testing import assert_allclose


def fourth(w):
    return np.sum(w**4)


def test_own_objects_bring_their_gradients():
    unknown = {
        "activation": np.sin,
        "activity_regularizer": fourth,
        "depthwise_regularizer": lambda w: np.sum(w),
        "bias_regularizer": HalfRegularizer(),
    }
    for name, value in unknown.items():
        layer = DepthwiseConv1D(3, **{name: value})
        for _ in range(2):  # not built, built
            with pytest.raises(TypeError, match="gradient.*is not known.*`gradient`.*Received"):
                layer.vjp(X)
            y = layer(X, training=True)  # forwards, everything works
            assert np.array_equal(layer(X), y)
            with pytest.raises(TypeError, match="gradient.*is not known"):
                layer.backward(DY)

    def known(w):
        return fourth(w)

    known.gradient = lambda w: 4 * w**3
    layer = built_layer(activity_regularizer=known, dtype="float64")
    y, pullback = layer.vjp(X)
    with_losses, without = (pullback(np.zeros(y.shape), losses=losses)[0] for losses in (1, 0))
    plain = built_layer(dtype="float64")
    plain.set_weights(layer.get_weights())
    assert_allclose(with_losses, plain.vjp(X)[1](4 * y**3 / 2)[0])
    assert not without.any()
    known.gradient = lambda w: np.float32(1)
    with pytest.raises(ValueError, match=r"`gradient` of a regularizer.*\(2, 7, 3\).*known.*\(\)"):
        layer.vjp(X)


class HalfRegularizer(regularizers.Regularizer):
    def __call__(self, x):
        return np.sum(x)


def test_activations_may_write_into_their_argument():
    def clip(z):
        return np.maximum(z, 0, out=z)

    clip.gradient = lambda z, dy: np.where(z > 0, dy, 0)
    layer, plain = built_layer(activation=clip), built_layer(activation="relu")
    plain.set_weights(layer.get_weights())
    assert np.array_equal(layer.vjp(X)[0], plain(X))
    assert_equal_gradients(layer.vjp(X)[1](DY), plain.vjp(X)[1](DY))


class Flipped(DepthwiseConv1D):
    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, kernel[::-1])


class Scaled(DepthwiseConv1D):
    def call(self, inputs, training=None):
        self.seen = training
        return 2 * super().call(inputs)


class Doubled(DepthwiseConv1D):
    """Replaces `call` and says how to go back."""

    def call(self, inputs):
        return 2 * super().call(inputs)

    def vjp(self, inputs):
        y, pullback = super().vjp(inputs)
        return 2 * y, lambda dy, losses=True: pullback(2 * dy, losses=losses)


class FlippedDoubled(Flipped, Doubled):
    pass


class DoubledFlipped(Doubled, Flipped):
    pass


class Quadrupled(Doubled):
    def call(self, inputs):
        return 2 * super().call(inputs)


@pytest.mark.parametrize(
    ("cls", "method"),
    [
        (Flipped, "convolution_op"),
        (Scaled, "call"),
        (FlippedDoubled, "convolution_op"),
        (DoubledFlipped, "convolution_op"),
        (Quadrupled, "call"),
    ],
)
def test_subclasses_that_compute_something_else_are_refused(cls, method):
    layer = cls(3)
    message = f"gradient of layer '{layer.name}' is not known, since `{method}` of {cls.__name__}"
    for _ in range(2):
        with pytest.raises(TypeError, match=re.escape(message)):
            layer.vjp(X)
        y = layer(X, training=True)
        assert np.array_equal(y, layer(X))
        with pytest.raises(TypeError, match="Replace `vjp` too"):
            layer.backward(DY)
    if cls is Scaled:
        layer(X, training=True)
        assert layer.seen is True
        layer(X)
        assert layer.seen is None


def test_a_subclass_with_its_own_vjp():
    layer = built_layer(layer_class=Doubled, activation="tanh")
    plain = built_layer(activation="tanh")
    plain.set_weights(layer.get_weights())
    assert np.array_equal(layer(X, training=True), layer(X))
    dx, *gradients = layer.backward(DY)
    assert_equal_gradients((dx, gradients), plain.vjp(X)[1](2 * DY))
    layer.activation = np.sin
    assert np.array_equal(layer(X, training=True), layer(X))
    with pytest.raises(TypeError, match="activation is not known"):
        layer.backward(DY)
    layer.activation = plain.activation
    layer(X, training=True)
    assert np.array_equal(layer.backward(DY)[0], dx)


class Alone(DepthwiseConv1D):
    """Its `vjp` does not ask that of the layer."""

    def call(self, inputs):
        return 3 * inputs

    def vjp(self, inputs):
        return 3 * inputs, lambda dy, losses=True: (3 * dy, [])


class NotAlone(Alone):
    def call(self, inputs):
        return 4 * inputs


def test_a_vjp_of_another_call_is_not_used():
    layer = built_layer(layer_class=Alone)
    assert np.array_equal(layer(X, training=True), 3 * X)
    assert np.array_equal(layer.backward(X)[0], 3 * X)
    layer = built_layer(layer_class=NotAlone)
    assert np.array_equal(layer(X, training=True), 4 * X)
    with pytest.raises(TypeError, match="`call` of NotAlone"):
        layer.backward(X)


def test_backward_is_that_of_the_last_training_call_or_none():
    layer = built_layer(activation="relu")
    for _ in range(2):
        layer(X, training=True)
    layer.activation = np.abs  # does not concern what is recorded
    assert len(layer.backward(DY)) == 3
    layer.activation = built_layer(activation="relu").activation
    layer(X, training=True)
    layer.activation = np.abs
    layer(X, training=True)
    for _ in range(2):
        with pytest.raises(TypeError, match="activation is not known.*absolute"):
            layer.backward(DY)


def test_methods_of_the_object_or_patched(monkeypatch):
    layer = built_layer()
    layer.call = np.negative
    with pytest.raises(TypeError, match="`call`"):
        layer.vjp(X)
    monkeypatch.setattr(DepthwiseConv1D, "convolution_op", lambda self, x, kernel: x)
    with pytest.raises(TypeError, match="`convolution_op`"):
        built_layer().vjp(X)


class WithExtra(DepthwiseConv1D):
    def build(self, input_shape):
        super().build(input_shape)
        self.extra = self.add_weight((2,), "ones", regularizer="l2", name="extra")
        self.count = self.add_weight((), "zeros", trainable=False, name="count")


def test_weights_that_the_call_does_not_use():
    layer = WithExtra(3)
    _, pullback = layer.vjp(X)
    assert layer.trainable_weights == [layer.kernel, layer.bias, layer.extra]
    assert_allclose(pullback(DY)[1][2], [0.02, 0.02], rtol=1e-6)
    assert np.array_equal(pullback(DY, losses=False)[1][2], [0, 0])
