# SPDX-License-Identifier: BSD-3-Clause
"""Bring a trained layer over from Keras.

The arrays below stand for what Keras hands out, so that this file runs without Keras.
"""

import numpy as np

import dwconv

rng = np.random.default_rng(0)
x = rng.standard_normal((2, 100, 6)).astype(np.float32)

# 1. DepthwiseConv1D: the configuration and the weights go over as they are, from Keras 2 and 3.
#
#        config = keras_layer.get_config()
#        weights = keras_layer.get_weights()
config = {"name": "dw", "kernel_size": (5,), "strides": (1,), "padding": "same",
          "depth_multiplier": 2, "activation": "silu"}
weights = [rng.standard_normal((5, 6, 2)).astype(np.float32),  # kernel: taps, channels, multiplier
           rng.standard_normal(12).astype(np.float32)]  # bias: channels * multiplier

layer = dwconv.DepthwiseConv1D.from_config(config)
layer.build((None, None, 6))
layer.set_weights(weights)
y = layer(x)
print("DepthwiseConv1D:", y.shape)

# The definition, for one output: output channel 2 * c + m belongs to input channel c.
c, m, step = 4, 1, 50
z = weights[1][2 * c + m] + np.dot(x[0, step - 2 : step + 3, c], weights[0][:, c, m])
assert np.isclose(y[0, step, 2 * c + m], z / (1 + np.exp(-z)), atol=1e-5)

# 2. SeparableConv1D is a depthwise convolution and a matrix product:
#
#        depthwise, pointwise, bias = keras_layer.get_weights()
depthwise = rng.standard_normal((5, 6, 2)).astype(np.float32)
pointwise = rng.standard_normal((1, 12, 10)).astype(np.float32)
bias = np.zeros(10, np.float32)
y = dwconv.depthwise_conv1d(x, depthwise, padding="same") @ pointwise[0] + bias
print("SeparableConv1D:", y.shape)
assert y.shape == (2, 100, 10)

# 3. DepthwiseConv2D used along time, with kernels (taps, 1) on inputs (batch, steps, 1, channels):
#    its kernel (taps, 1, channels, multiplier) loses the axis of length 1, and so does the input.
#
#        kernel_2d, bias = keras_layer.get_weights()
kernel_2d = rng.standard_normal((7, 1, 6, 1)).astype(np.float32)
x_2d = x[:, :, np.newaxis, :]
y = dwconv.depthwise_conv1d(x_2d[:, :, 0], kernel_2d[:, 0], padding="valid")
print("DepthwiseConv2D:", y.shape)
assert np.isclose(y[1, 20, 3], np.dot(x_2d[1, 20:27, 0, 3], kernel_2d[:, 0, 3, 0]), atol=1e-5)

# 4. "same" with strides: Keras puts the odd step of padding on the right, and so does dwconv. Of 9
#    steps and 4 taps at stride 2, (5 - 1) * 2 + 4 - 9 = 3 steps are padding: 1 left, 2 right.
kernel = rng.standard_normal((4, 6, 1)).astype(np.float32)
same = dwconv.depthwise_conv1d(x[:, :9], kernel, strides=2, padding="same")
explicit = dwconv.depthwise_conv1d(x[:, :9], kernel, strides=2, padding=(1, 2))
assert same.shape == (2, 5, 6) and np.array_equal(same, explicit)
print("strided 'same' pads 1 left, 2 right")
