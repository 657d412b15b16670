# SPDX-License-Identifier: BSD-3-Clause
"""`CausalDepthwiseConv1D`, the layer for signals whose future is not known."""

from collections.abc import Callable, Mapping, Sequence

from dwconv._layer_state import checked_state
from dwconv.layer import DepthwiseConv1D


class CausalDepthwiseConv1D(DepthwiseConv1D):
    """Depthwise 1-D convolution layer without look-ahead: its padding is causal.

    ``(kernel_size - 1) * dilation_rate`` absent steps come before the input, so that output step i depends on input
    steps up to ``i * strides`` only and there are ``ceil(steps / strides)`` of them. Keras has no such layer; what it
    computes is that of ``keras.layers.Conv1D`` with ``padding="causal"`` and ``groups=channels``.

    Its streams have no delay: see `stream`.

    Parameters
    ----------
    kernel_size, strides, dilation_rate
        As for `DepthwiseConv1D`, but `strides` and `dilation_rate` may both be greater than 1.
    padding : {"causal"}
        For configurations, which have it.
    depth_multiplier, data_format, activation, use_bias, depthwise_initializer, bias_initializer, \
depthwise_regularizer, bias_regularizer, activity_regularizer, depthwise_constraint, bias_constraint, name, \
trainable, dtype, autocast
        As for `DepthwiseConv1D`.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; the message names it.

    Examples
    --------
    >>> import numpy as np, dwconv
    >>> layer = dwconv.CausalDepthwiseConv1D(3, strides=2, dilation_rate=2)
    >>> layer(np.ones((1, 9, 4))).shape
    (1, 5, 4)
    >>> layer.stream().push(np.ones((1, 9, 4), np.float32)).shape
    (1, 5, 4)
    """

    _paddings = ("causal",)
    _strides_with_dilation = True

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "causal",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: str | Callable | Mapping | None = None,
        use_bias: bool = True,
        depthwise_initializer: object = "glorot_uniform",
        bias_initializer: object = "zeros",
        depthwise_regularizer: object = None,
        bias_regularizer: object = None,
        activity_regularizer: object = None,
        depthwise_constraint: object = None,
        bias_constraint: object = None,
        **kwargs,
    ):
        super().__init__(
            kernel_size, strides, padding, depth_multiplier, data_format, dilation_rate, activation, use_bias,
            depthwise_initializer, bias_initializer, depthwise_regularizer, bias_regularizer, activity_regularizer,
            depthwise_constraint, bias_constraint, **kwargs,
        )  # fmt: skip

    def __setstate__(self, state: Mapping[str, object]) -> None:
        self.__dict__.update(checked_state(CausalDepthwiseConv1D, state))


CausalDepthwiseConv1D._may_add_losses = False  # as its parent, unlike the subclasses of users
