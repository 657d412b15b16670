# SPDX-License-Identifier: BSD-3-Clause
"""What ``dwconv apply`` computes: one depthwise convolution, cut into blocks along time."""

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from dwconv import activation_layers, activations
from dwconv.causal_layer import CausalDepthwiseConv1D
from dwconv.functional import depthwise_conv1d
from dwconv.layer import DepthwiseConv1D
from dwconv.npz import check_weights, read_layer_file
from dwconv.padding import checked_padding

# These act along the last axis, which is time when the channels come first.
_ROW_WISE = (activations.softmax, activations.log_softmax, activations.sparsemax, activations.glu)


def time_axis(data_format: str) -> int:
    """Axis of the steps in a batch; that of the channels is 3 less this."""
    return 2 if data_format == "channels_first" else 1


class Operation(NamedTuple):
    """Weights and settings, checked; `kernel` has the shape (K, channels, depth_multiplier)."""

    kernel: np.ndarray
    bias: np.ndarray | None
    stride: int
    dilation: int
    padding: str | tuple[int, int]
    data_format: str
    activation: Callable[[np.ndarray], np.ndarray]

    def resolve(self, in_steps: int) -> tuple[int, int]:
        """Left padding and output steps for a signal of `in_steps` steps."""
        return checked_padding(self.padding, in_steps, self.kernel.shape[0], self.stride,
                               self.dilation)

    def out_channels(self) -> int:
        """Channels of the output; `glu` halves them."""
        channels = self.kernel.shape[1] * self.kernel.shape[2]
        return self.activation(np.zeros((1, 1, channels), self.kernel.dtype)).shape[-1]

    def halo(self) -> int:
        """Input steps that neighbouring blocks both read."""
        return (self.kernel.shape[0] - 1) * self.dilation

    def run(self, x: np.ndarray, padding: tuple[int, int], num_threads: int | None) -> np.ndarray:
        """Convolve one block, padded or (negative) cropped by `padding`."""
        return depthwise_conv1d(x, self.kernel, self.bias, strides=self.stride, padding=padding,
                                dilation_rate=self.dilation, data_format=self.data_format,
                                activation=self.activation, num_threads=num_threads,
                                method="direct")  # same bits however the signal is cut


def read_operation(path: str | os.PathLike, channels_of: Callable[[str], int]) -> Operation:
    """Read a layer file for a signal that has ``channels_of(data_format)`` channels.

    A one-dimensional kernel is applied to every channel. The settings pass the layer's own
    checks, except those that only the function has: padding (left, right), and a dilation together
    with a stride.
    """
    config, kernel, bias = read_layer_file(path)
    padding, dilation = config.get("padding", "valid"), config.get("dilation_rate", 1)
    own_padding = isinstance(padding, tuple)
    layer_class = CausalDepthwiseConv1D if padding == "causal" else DepthwiseConv1D
    own_dilation = isinstance(dilation, int) and dilation > 1
    try:
        layer = layer_class.from_config(config | ({"padding": "valid"} if own_padding else {})
                                        | ({"dilation_rate": 1} if own_dilation else {}))
        channels = channels_of(layer.data_format)
        kernel = np.ascontiguousarray(_expand(kernel, channels), layer.compute_dtype)
        if bias is not None:
            bias = bias.astype(layer.compute_dtype)
        check_weights(layer, kernel, bias)
        if kernel.shape[1] != channels:
            raise ValueError(f"entry 'kernel' is for {kernel.shape[1]} channels, the input has "
                             f"{channels} ({layer.data_format})")
        _check_activation(layer)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return Operation(kernel, bias, layer.strides[0],
                     dilation if own_dilation else layer.dilation_rate[0],
                     padding if own_padding else layer.padding,
                     layer.data_format, layer.activation)


def _check_activation(layer: DepthwiseConv1D) -> None:
    """Refuse an activation that needs more of the signal than one step at a time."""
    activation = layer.activation
    if activation in _ROW_WISE:
        axis = -1
    elif isinstance(activation, activation_layers.Softmax):
        axis = activation.arguments["axis"]
    else:
        return
    if axis not in ((1, -2) if layer.data_format == "channels_first" else (2, -1)):
        name = getattr(activation, "__name__", type(activation).__name__)
        raise ValueError(f"activation {name!r} along axis {axis} does not act along the channels "
                         f"of {layer.data_format} and cannot be applied in blocks; call the layer "
                         "in Python instead")


def _expand(kernel: np.ndarray, channels: int) -> np.ndarray:
    if kernel.ndim == 1:
        return np.broadcast_to(kernel[:, np.newaxis, np.newaxis], (len(kernel), channels, 1))
    return kernel[:, :, np.newaxis] if kernel.ndim == 2 else kernel


class Block(NamedTuple):
    """Output steps [first, last) of the batch items [batch_first, batch_last)."""

    batch_first: int
    batch_last: int
    first: int
    last: int


def part_of(batch: np.ndarray, block: Block, steps: slice, data_format: str) -> np.ndarray:
    """View of the items of `block` and of some of their steps."""
    items = batch[block.batch_first:block.batch_last]
    return items[(slice(None),) * time_axis(data_format) + (steps,)]


def blocks(batch: int, out_steps: int, block_steps: int) -> Iterator[Block]:
    """Cut the output in blocks of about `block_steps` steps, several short items together."""
    if out_steps == 0:
        return
    items = max(1, block_steps // out_steps)
    for batch_first in range(0, batch, items):
        batch_last = min(batch_first + items, batch)
        for first in range(0, out_steps, block_steps):
            yield Block(batch_first, batch_last, first, min(first + block_steps, out_steps))


def window(operation: Operation, block: Block, in_steps: int,
           pad_left: int) -> tuple[slice, tuple[int, int]]:
    """Input steps that a block needs, and the padding that aligns its outputs with them.

    Output i reads the inputs ``i * stride - pad_left + j * dilation`` for j = 0 .. K-1. Where these
    lie outside the signal they become padding. At least one input step is always taken, and
    cropped again where the block lies in the padding altogether.
    """
    begin = block.first * operation.stride - pad_left
    end = (block.last - 1) * operation.stride - pad_left + operation.halo() + 1
    low = min(max(begin, 0), max(in_steps - 1, 0))
    high = max(min(end, in_steps), min(low + 1, in_steps))
    return slice(low, high), (low - begin, end - high)
