# SPDX-License-Identifier: BSD-3-Clause
"""Bring a trained layer over from torch: ``torch.nn.Conv1d(C, C * M, K, groups=C)``.

The arrays below stand for what torch hands out, so that this file runs without torch.
"""

import numpy as np

import dwconv

CHANNELS, MULTIPLIER, TAPS, STRIDE, PADDING, DILATION = 6, 2, 5, 2, 3, 2
rng = np.random.default_rng(0)

#     weight = conv.weight.detach().numpy()     # (C * M, 1, K)
#     bias = conv.bias.detach().numpy()         # (C * M,)
#     x = x.numpy()                             # (batch, C, steps)
weight = rng.standard_normal((CHANNELS * MULTIPLIER, 1, TAPS)).astype(np.float32)
bias = rng.standard_normal(CHANNELS * MULTIPLIER).astype(np.float32)
x = rng.standard_normal((3, CHANNELS, 100)).astype(np.float32)


def kernel_from_torch(weight: np.ndarray, channels: int) -> np.ndarray:
    """(C * M, 1, K) of torch to (K, C, M): both count output channels as c * M + m."""
    return weight.reshape(channels, -1, weight.shape[-1]).transpose(2, 0, 1)


kernel = kernel_from_torch(weight, CHANNELS)
assert kernel.shape == (TAPS, CHANNELS, MULTIPLIER)

# torch pads both sides alike and keeps the channels before the steps.
y = dwconv.depthwise_conv1d(x, kernel, bias, strides=STRIDE, padding=(PADDING, PADDING),
                            dilation_rate=DILATION, data_format="channels_first")
print("output", y.shape)


def torch_definition(x, weight, bias):
    """The sum in the documentation of torch.nn.Conv1d, in float64, one tap at a time."""
    steps = (x.shape[2] + 2 * PADDING - DILATION * (TAPS - 1) - 1) // STRIDE + 1
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (PADDING, PADDING)))
    y = np.zeros((x.shape[0], weight.shape[0], steps)) + bias[:, np.newaxis]
    for output in range(weight.shape[0]):
        for tap in range(TAPS):
            taken = padded[:, output // MULTIPLIER, tap * DILATION :: STRIDE][:, :steps]
            y[:, output] += taken * weight[output, 0, tap]
    return y


difference = np.abs(y - torch_definition(x, weight, bias)).max()
print(f"largest difference from torch's definition in float64: {difference:.1e}")
assert difference < 1e-5

# As a layer. It has no explicit padding, which np.pad replaces: Keras's "same" is torch's padding
# only for odd kernels at stride 1.
layer = dwconv.DepthwiseConv1D(TAPS, strides=STRIDE, depth_multiplier=MULTIPLIER,
                               data_format="channels_first")
layer.build((None, CHANNELS, None))
layer.set_weights([kernel, bias])
padded = np.pad(x, ((0, 0), (0, 0), (PADDING, PADDING)))
undilated = dwconv.depthwise_conv1d(x, kernel, bias, strides=STRIDE, padding=(PADDING, PADDING),
                                    data_format="channels_first")
assert np.allclose(layer(padded), undilated, atol=1e-6)
print("layer agrees")
