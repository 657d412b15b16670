# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch: conv1d, the same as conv2d of height 1, both without oneDNN or compiled, and FFT.

conv1d in float32 does not reach oneDNN's depthwise kernels; conv2d in the channels_last memory
format does, and is often ten times faster.
"""

import torch
import torch.nn.functional as F

from benchmarks.peers import torch_common as common
from benchmarks.peers import torch_training

_SHORTEST_FFT = 500  # taps

# The result of the convolution is ours to overwrite.
_IN_PLACE = {"linear": lambda z: z, "relu": torch.relu_, "silu": lambda z: F.silu(z, inplace=True)}


def start(threads):
    import torch._inductor.config as inductor

    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    inductor.compile_threads = 1
    inductor.freezing = True
    return {"torch": torch.__version__}


def drop():
    torch._dynamo.reset()


def variants(case):
    if case.training:
        return torch_training.variants(case)
    names = ["conv1d", "conv2d"]
    if "heavy" not in case.tags:
        names += ["conv1d_native"] if case.channels_last else ["conv1d_native", "conv2d_contiguous"]
    if case.depth_multiplier == 1 and case.kernel_size >= _SHORTEST_FFT:
        names.append("fft")
    if "compile" in case.tags:
        names.append("compiled_conv2d")
        if case.kernel_size <= common.LONGEST_SHIFTS:
            names.append("compiled_shift")
    return names


def prepare(case, variant, arrays, threads):
    if case.training:
        return torch_training.prepare(case, variant, arrays)
    weight = common.weight_tensor(case, arrays)
    bias = None if arrays.bias is None else torch.from_numpy(arrays.bias.copy())
    activate = _IN_PLACE[case.activation]
    if variant == "compiled_shift":
        return _compiled_shift(case, weight, bias, arrays.x)
    if variant == "fft":
        return _inference(case, arrays.x, _fft(case, weight, bias))
    if variant in ("conv1d", "conv1d_native"):
        call = _inference(
            case, arrays.x, lambda x: activate(common.conv1d(case, x, weight, bias))
        )
        return common.without_onednn(call) if variant == "conv1d_native" else call

    weight = weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)
    if variant == "compiled_conv2d":
        return _inference(case, arrays.x, _compiled_conv2d(case, weight, bias))
    contiguous = variant == "conv2d_contiguous"
    return _inference(
        case, arrays.x, lambda x: activate(common.conv2d(case, x, weight, bias)), contiguous
    )


def _inference(case, x, function, contiguous=False):
    """A call of a function of (batch, channels, steps) tensors, in inference mode."""

    def run():
        with torch.inference_mode():
            tensor = torch.from_numpy(x)
            z = function(tensor.transpose(1, 2) if case.channels_last else tensor)
            z = z.transpose(1, 2) if case.channels_last else z
            return (z.contiguous() if contiguous else z).numpy()

    return run


def _fft(case, weight, bias):
    length = 1 << (case.steps + sum(case.pads) - 1).bit_length()
    spread = torch.zeros(case.channels, case.effective_kernel_size, dtype=weight.dtype)
    spread[:, :: case.dilation_rate] = weight[:, 0]
    spectrum = torch.fft.rfft(spread, length).conj().resolve_conj()
    last = (case.out_steps - 1) * case.strides + 1
    activate = common.ACTIVATIONS[case.activation]

    def convolve(x):
        x = F.pad(x, case.pads) if any(case.pads) else x
        z = torch.fft.irfft(torch.fft.rfft(x, length) * spectrum, length)
        z = z[..., : last : case.strides]
        return activate(z if bias is None else z + bias[:, None])

    return convolve


def _compiled_conv2d(case, weight, bias):
    activate = common.ACTIVATIONS[case.activation]

    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(weight, requires_grad=False)
            self.bias = None if bias is None else torch.nn.Parameter(bias, requires_grad=False)

        def forward(self, x):
            return activate(common.conv2d(case, x, self.weight, self.bias))

    return torch.compile(Layer().eval())


def _compiled_shift(case, weight, bias, x):
    activate = common.ACTIVATIONS[case.activation]
    if case.channels_last:
        weight = weight[:, 0].T.contiguous().T[:, None]  # its rows of taps are contiguous
    call = torch.compile(lambda x, w, b: activate(common.shift(case, x, w, b)))

    def run():
        with torch.inference_mode():
            return call(torch.from_numpy(x), weight, bias).numpy()

    return run
