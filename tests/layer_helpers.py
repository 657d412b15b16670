# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the layer share."""

import numpy as np
from dwconv import DepthwiseConv1D

X = np.random.default_rng(11).standard_normal((2, 9, 3)).astype(np.float32)
# A gradient for the outputs of `built_layer()`.
DY = np.random.default_rng(12).standard_normal((2, 7, 3)).astype(np.float32)


def built_layer(channels=3, layer_class=DepthwiseConv1D, **arguments):
    """A built layer with random kernel and bias, for any number of steps."""
    layer = layer_class(**{"kernel_size": 3, "bias_initializer": "random_normal", **arguments})
    shape = (None, None, channels)
    layer.build(shape if layer.data_format == "channels_last" else (None, channels, None))
    return layer


def state_of(layer):
    """All attributes and copies of the weights."""
    return dict(layer.__dict__), layer.get_weights()


def assert_same_state(layer, before):
    attributes, weights = before
    now, now_weights = state_of(layer)
    assert now == attributes
    assert len(now_weights) == len(weights)
    assert all(map(np.array_equal, now_weights, weights))


def assert_equal_gradients(got, want):
    """Two results of a pullback, bit for bit but for the signs of zeros."""
    assert np.array_equal(got[0], want[0]) and len(got[1]) == len(want[1])
    assert all(map(np.array_equal, got[1], want[1]))
