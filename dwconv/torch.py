# SPDX-License-Identifier: BSD-3-Clause
"""Depthwise 1-D convolution of torch tensors on the CPU: a function, and a module in the place of ``nn.Conv1d``.

``dwconv.torch`` needs PyTorch (``pip install 'dwconv[torch]'``); nothing else in dwconv imports it.
See docs/frameworks.md.
"""

from __future__ import annotations

import numpy as np

try:
    import torch
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ImportError("dwconv.torch needs PyTorch, which is not installed: pip install 'dwconv[torch]'") from None
from torch import Tensor, nn
from torch.nn.functional import pad

from dwconv import _torch_ops
from dwconv.padding import effective_kernel_size, resolve_padding

__all__ = ["DepthwiseConv1d", "depthwise_conv1d"]

_NARROW = (torch.float16, torch.bfloat16)


def depthwise_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int] = 1,
    padding: int | tuple[int] | tuple[int, int] | str = 0,
    dilation: int | tuple[int] = 1,
) -> Tensor:
    """``torch.nn.functional.conv1d(..., groups=channels)`` computed by dwconv, with derivatives of every order.

    Parameters
    ----------
    x : Tensor of shape (batch, channels, steps) or (channels, steps)
        float32 or float64, on the CPU.  Read in place if its rows are contiguous along steps, or along channels as
        in the transpose of a (batch, steps, channels) tensor; copied otherwise.
    weight : Tensor of shape (channels * multiplier, 1, kernel_size)
        Row ``c * multiplier + m`` is filter m of channel c.
    bias : Tensor of shape (channels * multiplier,), optional
    stride, dilation : int or tuple of one int
        Steps, at least 1.
    padding : int, tuple of one int, (int, int), "valid", "same" or "causal"
        Zeros on both sides, as in torch: a number, ``"valid"`` for none, ``"same"`` for as many outputs as inputs
        (stride 1 only; the odd one on the right).  Beyond torch, a pair (left, right), where negative numbers skip
        input, and ``"causal"`` for ``(kernel_size - 1) * dilation`` on the left.

    Returns
    -------
    Tensor of shape (batch, channels * multiplier, out_steps) or (channels * multiplier, out_steps)
        Its memory lies as that of `x` does: the transpose of a (batch, out_steps, channels * multiplier) tensor if
        `x` is such a transpose, contiguous otherwise.

    Raises
    ------
    TypeError
        If an argument is no tensor or integer, or a dtype is not float32 or float64, or not the same everywhere.
    ValueError
        If a shape, a value or a device does not fit, or there would be no output step.

    Notes
    -----
    Under ``torch.autocast``, float16 and bfloat16 arguments are computed, and returned, in float32.  How many threads
    are used is a matter of :mod:`dwconv.threads`, not of ``torch.set_num_threads``.

    Examples
    --------
    >>> import torch, dwconv.torch
    >>> x, weight = torch.randn(8, 64, 1200), torch.randn(64, 1, 31)
    >>> dwconv.torch.depthwise_conv1d(x, weight, padding="same").shape
    torch.Size([8, 64, 1200])
    """
    if torch.is_autocast_enabled("cpu"):
        x, weight, bias = map(_widened, (x, weight, bias))
    _check_tensors(x, weight, bias)
    stride, dilation = _positive(stride, "stride"), _positive(dilation, "dilation")
    steps, kernel_size = x.shape[-1], weight.shape[-1]
    left, right = _sides(padding, kernel_size, stride, dilation)
    if resolve_padding((left, right), steps, kernel_size, stride, dilation)[2] < 1:
        raise ValueError(
            "`x` must not be shorter, with its padding, than the kernel of "
            f"{effective_kernel_size(kernel_size, dilation)} steps, "
            f"received x.shape={tuple(x.shape)}, weight.shape={tuple(weight.shape)}, {padding=}, {dilation=}"
        )
    options = (stride, left, right, dilation)
    if x.dim() == 2:
        return _torch_ops.convolve(x.unsqueeze(0), weight, bias, *options).squeeze(0)
    return _torch_ops.convolve(x, weight, bias, *options)


class DepthwiseConv1d(nn.Conv1d):
    """``torch.nn.Conv1d`` with ``groups=in_channels``, computed by dwconv.

    Parameters, their initial values and the state dict are those of ``Conv1d(in_channels, ..., groups=in_channels)``,
    so that either loads what the other saved.

    Parameters
    ----------
    in_channels : int
    out_channels : int
        A multiple of `in_channels`.
    kernel_size : int or tuple of one int
    stride, padding, dilation : optional
        As for :func:`depthwise_conv1d`; defaults 1, 0 and 1.
    groups : int, optional
        `in_channels`, the default, and nothing else.
    bias : bool
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
        Modes other than ``"zeros"`` pad a copy of the input with ``torch.nn.functional.pad``.
    device, dtype : optional
        Of the parameters.

    Raises
    ------
    TypeError, ValueError
        As ``Conv1d``, and `ValueError` if `groups` is given and is not `in_channels`.

    Examples
    --------
    >>> import torch, dwconv.torch
    >>> layer = dwconv.torch.DepthwiseConv1d(64, 128, 31, padding="same")
    >>> layer(torch.randn(8, 64, 1200)).shape
    torch.Size([8, 128, 1200])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] = 1,
        padding: int | tuple[int] | tuple[int, int] | str = 0,
        dilation: int | tuple[int] = 1,
        groups: int | None = None,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if groups is not None and groups != in_channels:
            raise ValueError(f"`groups` must be in_channels={in_channels} or None, received groups={groups!r}")
        size, stride = _positive(kernel_size, "kernel_size"), _positive(stride, "stride")
        dilation = _positive(dilation, "dilation")
        sides = _sides(padding, size, stride, dilation)
        super().__init__(
            in_channels, out_channels, size, stride, 0, dilation, in_channels, bias, padding_mode, device, dtype
        )
        self.padding = padding if isinstance(padding, str) else sides if sides[0] != sides[1] else sides[:1]
        self._reversed_padding_repeated_twice = list(sides)

    @classmethod
    def from_conv1d(cls, conv: nn.Conv1d) -> DepthwiseConv1d:
        """The same layer, with the same parameter tensors (not copies), training mode included.

        Raises
        ------
        ValueError
            If ``conv.groups != conv.in_channels``.
        """
        layer = cls(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation,
            conv.groups, conv.bias is not None, conv.padding_mode, "meta",
        )  # fmt: skip
        layer.weight, layer.bias = conv.weight, conv.bias
        return layer.train(conv.training)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.padding_mode == "zeros":
            return depthwise_conv1d(input, weight, bias, self.stride, self.padding, self.dilation)
        sides = _sides(self.padding, self.kernel_size[0], self.stride[0], self.dilation[0])
        return depthwise_conv1d(pad(input, sides, self.padding_mode), weight, bias, self.stride, 0, self.dilation)


def _widened(value: object) -> object:
    return value.float() if isinstance(value, Tensor) and value.dtype in _NARROW else value


def _check_tensors(x: object, weight: object, bias: object) -> None:
    given = {"x": x, "weight": weight} if bias is None else {"x": x, "weight": weight, "bias": bias}
    for name, tensor in given.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"`{name}` must be a torch.Tensor, received {name} of type {type(tensor).__name__}")
        if tensor.dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"`{name}` must have dtype torch.float32 or torch.float64, received {name}.dtype={tensor.dtype}"
            )
        if tensor.dtype != x.dtype:
            raise TypeError(f"`{name}` must have the dtype of x, {x.dtype}, received {name}.dtype={tensor.dtype}")
        if tensor.device.type not in ("cpu", "meta"):
            raise ValueError(
                f"`{name}` must be on the CPU, dwconv has no kernels elsewhere; received {name}.device={tensor.device}"
            )
        if tensor.layout != torch.strided:
            raise ValueError(f"`{name}` must be dense, received {name}.layout={tensor.layout}")
    if x.dim() not in (2, 3):
        raise ValueError(
            f"`x` must have shape (batch, channels, steps) or (channels, steps), received x.shape={tuple(x.shape)}"
        )
    channels = x.shape[-2]
    if weight.dim() != 3 or weight.shape[1] != 1 or weight.shape[2] < 1:
        raise ValueError(
            "`weight` must have shape (channels * multiplier, 1, kernel_size), "
            f"received weight.shape={tuple(weight.shape)}"
        )
    if channels < 1 or weight.shape[0] < 1 or weight.shape[0] % channels:
        raise ValueError(
            "`weight` must have a multiple of the channels of x as rows, "
            f"received x.shape={tuple(x.shape)}, weight.shape={tuple(weight.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"`bias` must have shape ({weight.shape[0]},), received bias.shape={tuple(bias.shape)}")


def _sides(padding: object, kernel_size: int, stride: int, dilation: int) -> tuple[int, int]:
    """Left and right padding in steps."""
    total = dilation * (kernel_size - 1)
    if isinstance(padding, str):
        if padding == "same" and stride != 1:
            raise ValueError(f"`padding` must not be 'same' with a stride, as in torch, received stride={stride}")
        named = {"valid": (0, 0), "same": (total // 2, total - total // 2), "causal": (total, 0)}
        if padding in named:
            return named[padding]
    elif isinstance(padding, (tuple, list)) and len(padding) == 2:
        return _integer(padding[0], "padding"), _integer(padding[1], "padding")
    else:
        steps = _single(padding, "padding")
        if steps >= 0:
            return steps, steps
    raise ValueError(
        "`padding` must be a number that is not negative, a pair (left, right), 'valid', 'same' or 'causal', "
        f"received padding={padding!r}"
    )


def _positive(value: object, name: str) -> int:
    number = _single(value, name)
    if number < 1:
        raise ValueError(f"`{name}` must be a positive integer, received {name}={value!r}")
    return number


def _single(value: object, name: str) -> int:
    """An integer, or that in a tuple of one, as torch's arguments are."""
    return _integer(value[0] if isinstance(value, (tuple, list)) and len(value) == 1 else value, name)


def _integer(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer, torch.SymInt)):
        raise TypeError(f"`{name}` must be an integer or a tuple of integers, received {name}={value!r}")
    return value if isinstance(value, torch.SymInt) else int(value)
