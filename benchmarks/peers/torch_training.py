# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch, forward and backward, through autograd."""

import torch

from benchmarks.peers import torch_common as common


def variants(case):
    names = ["conv1d", "conv2d", "conv1d_native"]
    return [*names, "shift"] if case.kernel_size <= common.LONGEST_SHIFTS else names


def prepare(case, variant, arrays):
    weight = common.weight_tensor(case, arrays).requires_grad_()
    bias = None if arrays.bias is None else torch.from_numpy(arrays.bias.copy()).requires_grad_()
    activate = common.ACTIVATIONS[case.activation]
    form = variant.removesuffix("_native")

    def forward(x):
        if form == "shift":
            return activate(common.shift(case, x, weight, bias))
        x = x.transpose(1, 2) if case.channels_last else x
        if form == "conv2d":
            z = activate(common.conv2d(case, x, weight.unsqueeze(2), bias))
        else:
            z = activate(common.conv1d(case, x, weight, bias))
        return z.transpose(1, 2) if case.channels_last else z

    def forward_and_backward():
        x = torch.from_numpy(arrays.x).requires_grad_()
        y = forward(x)
        sources = [x, weight] if bias is None else [x, weight, bias]
        dx, dweight, *dbias = torch.autograd.grad(y, sources, torch.from_numpy(arrays.dy))
        shape = case.channels, case.depth_multiplier, case.kernel_size
        dkernel = dweight.reshape(shape).permute(2, 0, 1)
        gradients = dx.numpy(), dkernel.numpy(), dbias[0].numpy() if dbias else None
        return y.detach().numpy(), *gradients

    return common.without_onednn(forward_and_backward) if form != variant else forward_and_backward
