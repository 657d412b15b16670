# SPDX-License-Identifier: BSD-3-Clause
"""What PyTorch's forward and training adapters share."""

import torch
import torch.nn.functional as F

LONGEST_SHIFTS = 8  # taps; each is a pass over the output

ACTIVATIONS = {"linear": lambda z: z, "relu": torch.relu, "silu": F.silu}


def weight_tensor(case, arrays):
    """The kernel as PyTorch has it: (out_channels, 1, kernel_size), contiguous."""
    weight = torch.from_numpy(arrays.kernel.transpose(1, 2, 0).copy())
    return weight.reshape(case.out_channels, 1, case.kernel_size)


def conv1d(case, x, weight, bias):
    """Of an x of shape (batch, channels, steps) with any strides."""
    x, padding = _padded(case, x)
    return F.conv1d(x, weight, bias, case.strides, padding, case.dilation_rate, case.channels)


def conv2d(case, x, weight, bias):
    """The same as a 2-D convolution of height 1 in the channels_last memory format.

    A channels_last case is in that format already, seen as (batch, channels, 1, steps).
    """
    x = x.unsqueeze(2)
    if not case.channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    x, padding = _padded(case, x)
    options = (1, case.strides), (0, padding), (1, case.dilation_rate), case.channels
    return F.conv2d(x, weight, bias, *options).squeeze(2)


def shift(case, x, weight, bias):
    """Shifted multiply-adds in the case's own layout."""
    time, channel = (1, 2) if case.channels_last else (2, 1)
    taps = weight[:, 0].T if case.channels_last else weight[:, 0].T[:, :, None]
    if case.depth_multiplier > 1:
        x = x.repeat_interleave(case.depth_multiplier, channel)
    if any(case.pads):
        x = F.pad(x, (0, 0, *case.pads) if case.channels_last else case.pads)
    z = bias if bias is None or case.channels_last else bias[:, None]
    for k in range(case.kernel_size):
        first = k * case.dilation_rate
        steps = slice(first, first + (case.out_steps - 1) * case.strides + 1, case.strides)
        product = (x[:, steps] if time == 1 else x[:, :, steps]) * taps[k]
        z = product if z is None else z + product
    return z


def without_onednn(call):
    """The same call with PyTorch's own kernels instead of oneDNN's."""

    def run():
        torch._C._set_mkldnn_enabled(False)
        try:
            return call()
        finally:
            torch._C._set_mkldnn_enabled(True)

    return run


def _padded(case, x):
    """The tensor, padded if need be, and the padding that the convolution can do itself."""
    left, right = case.pads
    return (x, left) if left == right else (F.pad(x, case.pads), 0)
