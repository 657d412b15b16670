# SPDX-License-Identifier: BSD-3-Clause
"""Subclasses of the layer, in the ways that programs written for Keras make them."""

import copy
import pickle

import dwconv
import numpy as np
import pytest
from dwconv import DepthwiseConv1D
from layer_helpers import X, assert_same_state, built_layer, state_of
from numpy.testing import assert_allclose


class Flipped(DepthwiseConv1D):
    """True convolution: the kernel runs backwards."""

    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, kernel[::-1])


class Scaled(DepthwiseConv1D):
    """With a weight of its own, a statistic that is not trained, and a loss."""

    def __init__(self, *args, initial_gain=2.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.initial_gain = initial_gain

    def build(self, input_shape):
        super().build(input_shape)
        self.calls = self.add_weight((), "zeros", trainable=False, name="calls")
        constant = dwconv.initializers.Constant(self.initial_gain)
        self.gain = self.add_weight((1,), constant, regularizer="l2", name="gain")

    def call(self, inputs, training=None):
        if training:
            self.calls.assign(self.calls + 1)
        self.add_loss(np.float32(5))
        return super().call(inputs) * self.gain

    def get_config(self):
        return {**super().get_config(), "initial_gain": self.initial_gain}


class Broken(DepthwiseConv1D):
    def build(self, input_shape):
        super().build(input_shape)
        self.extra = self.add_weight((2,), "ones")
        raise RuntimeError("half built")


class NotBuilding(DepthwiseConv1D):
    def build(self, input_shape):
        pass


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_convolution_op(data_format, use_bias):
    x = X if data_format == "channels_last" else X.transpose(0, 2, 1)
    layer = built_layer(
        data_format=data_format, use_bias=use_bias, activation="relu", depth_multiplier=2, strides=2
    )
    plain = layer.convolution_op(x, layer.kernel)
    bias = layer.bias.value if use_bias else np.zeros(6, np.float32)
    wanted = np.maximum(plain + (bias if data_format == "channels_last" else bias[:, None]), 0)
    assert_allclose(layer(x), wanted, atol=1e-6)
    other = np.ones((5, 3, 1), np.float32)  # any kernel of the right number of channels
    assert layer.convolution_op(x, other).shape == ((2, 3, 3))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_call_uses_the_convolution_op_of_a_subclass(data_format, use_bias):
    x = X if data_format == "channels_last" else X.transpose(0, 2, 1)
    arguments = dict(data_format=data_format, use_bias=use_bias, activation="tanh", padding="same")
    flipped = built_layer(layer_class=Flipped, **arguments)
    plain = built_layer(**arguments)
    weights = flipped.get_weights()
    plain.set_weights([weights[0][::-1], *weights[1:]])
    assert_allclose(flipped(x), plain(x), atol=1e-6)
    plain.set_weights(weights)
    assert not np.allclose(flipped(x), plain(x))


def test_a_class_that_is_patched(monkeypatch):
    layer = built_layer(use_bias=False)
    monkeypatch.setattr(DepthwiseConv1D, "convolution_op", lambda self, x, kernel: x + 1)
    assert np.array_equal(layer(X), X + 1)


def test_own_weights():
    layer = Scaled(3, name="s")
    y = layer(X)
    assert [v.path for v in layer.weights] == ["s/kernel", "s/bias", "s/gain", "s/calls"]
    assert layer.trainable_weights == [layer.kernel, layer.bias, layer.gain]
    assert layer.non_trainable_weights == [layer.calls]
    assert layer.count_params() == 9 + 3 + 1 + 1
    layer.gain.assign([4])
    assert np.array_equal(layer(X), 2 * y)
    kernel, bias, gain, calls = layer.get_weights()
    layer.set_weights([kernel, bias, gain / 4, calls])
    assert_allclose(layer(X), y / 2, rtol=1e-6)
    layer.trainable = False
    layer.trainable = True
    assert not layer.calls.trainable and layer.gain.trainable


def test_training_reaches_call():
    layer = Scaled(3)
    layer(X, training=True)
    assert layer.calls.value == 1
    layer(X, training=False)
    layer(X)
    assert layer.calls.value == 1
    layer(X, training=True)
    assert layer.calls.value == 2


def test_add_loss():
    layer = Scaled(3, activity_regularizer="l1")
    for _ in range(2):  # replaced, not added up
        y = layer(X)
        own, activity, gain = layer.losses
        assert own == 5 and np.isclose(activity, 0.01 * np.abs(y).sum() / 2)
        assert np.isclose(gain, 0.04)

    class Adding(DepthwiseConv1D):
        loss = 1.0

        def call(self, inputs):
            self.add_loss(self.loss)
            return super().call(inputs)

    for loss in (1.0, [np.float32(1)], np.ones(2)):
        Adding.loss = loss
        with pytest.raises(ValueError, match="NumPy scalar"):
            Adding(3)(X)


def test_losses_of_layers_inside_each_other():
    inner = Scaled(3, padding="same")
    outer = Scaled(3, activation=inner)
    outer(X)
    assert outer.losses[0] == inner.losses[0] == 5
    assert len(outer.losses) == len(inner.losses) == 2


def test_a_call_that_is_no_python_function():
    layer = built_layer()
    layer.call = np.negative  # as a wrapped or compiled method would be
    assert np.array_equal(layer(X, training=True), -X)


def test_losses_of_a_build():
    class BuildLoss(DepthwiseConv1D):
        def build(self, input_shape):
            super().build(input_shape)
            self.add_loss(np.float32(3))

    layer = BuildLoss(3)
    layer(X)
    assert layer.losses == [3]
    layer(X)
    assert layer.losses == []


def test_stateless_call_of_own_weights():
    layer = Scaled(3)
    y = layer(X)
    before = state_of(layer)
    kernel, bias, gain, calls = layer.get_weights()
    outputs, state = layer.stateless_call([kernel, bias, 2 * gain], [calls], X, training=True)
    assert np.array_equal(outputs, 2 * y) and state == [1]
    assert_same_state(layer, before)


def test_a_build_that_fails_halfway():
    layer = Broken(3)
    before = state_of(layer)
    with pytest.raises(RuntimeError, match="half built"):
        layer(X)
    assert_same_state(layer, before)
    assert not layer.built and layer.weights == []


def test_build_must_call_that_of_the_layer():
    with pytest.raises(ValueError, match=r"build.*NotBuilding.*super\(\)"):
        NotBuilding(3)(X)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies(duplicate):
    layer = Scaled(3, initial_gain=3.0)
    y = layer(X, training=True)
    twin = duplicate(layer)
    assert type(twin) is Scaled and twin.initial_gain == 3.0
    assert twin.gain is twin.weights[2] and twin.calls.value == 1
    assert np.array_equal(twin(X), y)
    twin.gain.assign([0])
    assert not twin(X).any() and np.array_equal(layer(X), y)


def test_configuration():
    layer = Scaled(3, initial_gain=3.0)
    assert Scaled.from_config(layer.get_config()).initial_gain == 3.0
    layer.build(X.shape)
    config = dwconv.serialize(layer)
    assert (config["class_name"], config["registered_name"]) == ("Scaled", "Scaled")
    twin = dwconv.deserialize(config, custom_objects={"Scaled": Scaled})
    assert type(twin) is Scaled and twin.built and twin.initial_gain == 3.0
    with pytest.raises(ValueError, match="layer.*Scaled"):
        dwconv.deserialize(config)


def test_automatic_names():
    class HTTPConv2Net(DepthwiseConv1D):
        pass

    names = [HTTPConv2Net(3).name for _ in range(2)]
    assert names == ["http_conv2_net", "http_conv2_net_1"]
    assert repr(HTTPConv2Net(3)).startswith("<HTTPConv2Net name=http_conv2_net_2, ")


def test_add_weight_checks():
    class Extra(DepthwiseConv1D):
        arguments = {}

        def build(self, input_shape):
            super().build(input_shape)
            self.extra = self.add_weight((2, 2), **self.arguments)

    layer = Extra(3, dtype="float64")
    layer.build(X.shape)
    assert layer.extra.dtype == "float64" and layer.extra.name == "variable"
    assert np.any(layer.extra) and layer.extra.trainable
    for arguments in (
        {"initializer": "no_such"},
        {"regularizer": "no_such"},
        {"constraint": "no_such"},
        {"initializer": lambda shape, dtype: np.ones(3)},
    ):
        Extra.arguments = arguments
        layer = Extra(3)
        with pytest.raises(ValueError):
            layer(X)
        assert not layer.built and layer.get_weights() == []
