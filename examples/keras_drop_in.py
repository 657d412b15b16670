# SPDX-License-Identifier: BSD-3-Clause
"""The Keras layer without Keras: same arguments, same weights, same configuration.

In a program that has ``from tensorflow.keras.layers import DepthwiseConv1D``, this import is the
only line to change.
"""

import numpy as np

from dwconv import DepthwiseConv1D

# Eight recordings of 1200 steps and 16 channels, as (batch, steps, channels).
x = np.random.default_rng(0).standard_normal((8, 1200, 16)).astype(np.float32)

layer = DepthwiseConv1D(
    kernel_size=31,
    padding="same",
    depth_multiplier=2,
    activation="relu",
    depthwise_initializer="he_normal",
    depthwise_regularizer="l2",
)
y = layer(x)  # the first call builds the weights for 16 channels

print(layer)
print("output", y.shape, y.dtype)
for weight in layer.weights:
    print(f"{weight.name:7} {weight.shape}")
print("parameters", layer.count_params())
print("regularization loss", [float(loss) for loss in layer.losses])

# A configuration and a list of arrays describe the layer completely.
twin = DepthwiseConv1D.from_config(layer.get_config())
twin.build(x.shape)
twin.set_weights(layer.get_weights())
assert np.array_equal(twin(x), y)
print("rebuilt from get_config() and get_weights(): same bits")
