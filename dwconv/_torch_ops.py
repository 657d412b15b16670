# SPDX-License-Identifier: BSD-3-Clause
"""The operators behind dwconv.torch: convolution and its gradients, opaque to torch's compilers.

Convolution is linear in the input and in the weight, and so are its gradients: F(x, w) the convolution, A(dy, w) the
gradient of the input and G(x, dy) that of the weight belong to one trilinear form,
``<F(x, w), dy> = <x, A(dy, w)> = <w, G(x, dy)>``.  So the derivatives of the two operators are the two operators again,
and every order of derivative exists.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dwconv.functional import depthwise_conv1d
from dwconv.gradients import depthwise_conv1d_backward
from dwconv.padding import named_padding, resolve_padding

_OPTIONS = "SymInt stride, SymInt left, SymInt right, SymInt dilation"


# ---- what they compute


@torch.library.custom_op(
    "dwconv::depthwise_conv1d",
    mutates_args=(),
    device_types="cpu",
    schema=f"(Tensor x, Tensor weight, Tensor? bias, {_OPTIONS}) -> Tensor",
)
def forward(x, weight, bias, stride, left, right, dilation):
    """F(x, weight) + bias of x (batch, channels, steps) and weight (channels * multiplier, 1, kernel_size)."""
    y = _output_like(x, weight, stride, left, right, dilation)
    last = _is_channels_last(x)
    depthwise_conv1d(
        _array(_swapped(x, last)), _kernel(x, weight), None if bias is None else _array(bias),
        out=_array(_swapped(y, last)), method="direct", **_options(last, weight, stride, left, right, dilation),
    )  # fmt: skip
    return y


@torch.library.custom_op(
    "dwconv::depthwise_conv1d_backward",
    mutates_args=(),
    device_types="cpu",
    schema=f"(Tensor x, Tensor weight, Tensor dy, {_OPTIONS}, bool[] needs) -> (Tensor, Tensor, Tensor)",
)
def backward(x, weight, dy, stride, left, right, dilation, needs):
    """A(dy, weight), G(x, dy) and the sums of dy, those that `needs` asks for; the others are empty tensors."""
    last = _is_channels_last(x)
    dx, dkernel, dbias = depthwise_conv1d_backward(
        _array(_swapped(x, last)), _kernel(x, weight), _array(_swapped(dy, last)), needs=tuple(needs),
        **_options(last, weight, stride, left, right, dilation),
    )  # fmt: skip
    return (
        _swapped(torch.from_numpy(dx), last) if needs[0] else x.new_empty(0),
        torch.from_numpy(dkernel).permute(1, 2, 0).reshape(weight.shape).contiguous() if needs[1] else x.new_empty(0),
        torch.from_numpy(dbias) if needs[2] else x.new_empty(0),
    )


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().resolve_neg().numpy()


def _kernel(x: Tensor, weight: Tensor) -> np.ndarray:
    """The weight as (kernel_size, channels, multiplier)."""
    channels, (outputs, _, kernel_size) = x.shape[1], weight.shape
    return np.ascontiguousarray(_array(weight).reshape(channels, outputs // channels, kernel_size).transpose(2, 0, 1))


def _options(last: bool, weight: Tensor, stride: int, left: int, right: int, dilation: int) -> dict:
    padding = named_padding(left, right, weight.shape[2], stride, dilation)
    data_format = "channels_last" if last else "channels_first"
    return dict(strides=stride, padding=padding, dilation_rate=dilation, data_format=data_format)


# ---- where results lie in memory


def _is_channels_last(x: Tensor) -> bool:
    """Whether the memory of x (batch, channels, steps) is rather (batch, steps, channels)."""
    return x.stride(1) == 1 and x.stride(2) != 1


def _swapped(tensor: Tensor, last: bool) -> Tensor:
    return tensor.transpose(1, 2) if last else tensor


def _output_like(x: Tensor, weight: Tensor, stride, left, right, dilation) -> Tensor:
    """An output whose memory lies as that of the input does."""
    steps = resolve_padding((left, right), x.shape[2], weight.shape[2], stride, dilation)[2]
    if _is_channels_last(x):
        return x.new_empty(x.shape[0], steps, weight.shape[0]).transpose(1, 2)
    return x.new_empty(x.shape[0], weight.shape[0], steps)


@forward.register_fake
def _(x, weight, bias, stride, left, right, dilation):
    return _output_like(x, weight, stride, left, right, dilation)


@backward.register_fake
def _(x, weight, dy, stride, left, right, dilation, needs):
    last = _is_channels_last(x)
    return (
        _swapped(x.new_empty(_swapped(x, last).shape), last) if needs[0] else x.new_empty(0),
        weight.new_empty(weight.shape) if needs[1] else x.new_empty(0),
        weight.new_empty(weight.shape[0]) if needs[2] else x.new_empty(0),
    )


# ---- derivatives


# torch.func differentiates and maps autograd.Functions with `setup_context` but no operators; these are cheaper.
_in_transform = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)


def convolve(*arguments):
    """`forward`, differentiable by autograd, by torch.func, and in compiled code."""
    wrapped = not torch.compiler.is_compiling() and _in_transform()
    return (_Convolution.apply if wrapped else forward)(*arguments)


def gradients(*arguments):
    """`backward`, differentiable likewise."""
    wrapped = not torch.compiler.is_compiling() and _in_transform()
    return (_Gradients.apply if wrapped else backward)(*arguments)


def _save_forward(ctx, inputs, output):
    x, weight, _, *ctx.options = inputs
    ctx.save_for_backward(x, weight)
    ctx.set_materialize_grads(False)


def _differentiate_forward(ctx, dy):
    needs = [dy is not None and n for n in ctx.needs_input_grad[:3]]
    if not any(needs):
        return (None,) * 7
    found = gradients(*ctx.saved_tensors, dy, *ctx.options, needs)
    return *(g if n else None for g, n in zip(found, needs, strict=True)), None, None, None, None


def _save_backward(ctx, inputs, output):
    x, weight, dy, *ctx.options, ctx.had = inputs
    ctx.save_for_backward(x, weight, dy)
    ctx.set_materialize_grads(False)


def _differentiate_backward(ctx, *cotangents):
    """Of ``<u, A(dy, w)> + <v, G(x, dy)> + <b, sum(dy)>`` with respect to x, w and dy."""
    x, weight, dy = ctx.saved_tensors
    u, v, b = (c if had else None for c, had in zip(cotangents, ctx.had, strict=True))
    for_x, for_weight, for_dy = ctx.needs_input_grad[:3]
    gx = gweight = gdy = None
    if for_x and v is not None:
        gx = gradients(x, v, dy, *ctx.options, (True, False, False))[0]
    if for_weight and u is not None:
        gweight = gradients(u, weight, dy, *ctx.options, (False, True, False))[1]
    if for_dy:
        terms = []
        if u is not None:
            terms.append(convolve(u, weight, None, *ctx.options))
        if v is not None:
            terms.append(convolve(x, v, b, *ctx.options))
        elif b is not None:
            terms.append(b[:, None].expand_as(dy))
        gdy = sum(terms[1:], terms[0]) if terms else None
    return gx, gweight, gdy, None, None, None, None, None


class _Convolution(torch.autograd.Function):
    generate_vmap_rule = True
    forward = staticmethod(forward)
    setup_context = staticmethod(_save_forward)
    backward = staticmethod(_differentiate_forward)


class _Gradients(torch.autograd.Function):
    generate_vmap_rule = True
    forward = staticmethod(backward)
    setup_context = staticmethod(_save_backward)
    backward = staticmethod(_differentiate_backward)


forward.register_autograd(_differentiate_forward, setup_context=_save_forward)
backward.register_autograd(_differentiate_backward, setup_context=_save_backward)


# ---- vmap: a batch of inputs is a larger batch, a batch of weights is more channels


@forward.register_vmap
def _(info, in_dims, x, weight, bias, *options):
    if in_dims[1] is None and in_dims[2] is None:
        y = forward(x.movedim(in_dims[0], 0).flatten(0, 1), weight, bias, *options)
        return y.unflatten(0, (info.batch_size, -1)), 0
    x = _as_channels(info, x, in_dims[0], 1)
    weight = _as_channels(info, weight, in_dims[1], 0)
    bias = None if bias is None else _as_channels(info, bias, in_dims[2], 0)
    return forward(x, weight, bias, *options).unflatten(1, (info.batch_size, -1)), 1


@backward.register_vmap
def _(info, in_dims, x, weight, dy, *options):
    x, dy = _as_channels(info, x, in_dims[0], 1), _as_channels(info, dy, in_dims[2], 1)
    found = backward(x, _as_channels(info, weight, in_dims[1], 0), dy, *options)
    dims = [d if needed else None for d, needed in zip((1, 0, 0), options[-1], strict=True)]
    split = lambda g, d: g if d is None else g.unflatten(d, (info.batch_size, -1))  # noqa: E731
    return tuple(map(split, found, dims)), tuple(dims)


def _as_channels(info, tensor: Tensor, dim: int | None, axis: int) -> Tensor:
    """`tensor` with its mapped axis made the slower part of `axis`; repeated there if it has none."""
    if dim is None:
        tensor = tensor.unsqueeze(axis)
        return tensor.expand(*tensor.shape[:axis], info.batch_size, *tensor.shape[axis + 1 :]).flatten(axis, axis + 1)
    return tensor.movedim(dim, axis).flatten(axis, axis + 1)
