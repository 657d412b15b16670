# SPDX-License-Identifier: BSD-3-Clause
"""OpenVINO's CPU plugin: float32 (it would take bfloat16 where it can), tensors on our memory."""

import numpy as np
import openvino
from openvino import opset8 as op

from benchmarks.peers import NotSupported

_core = openvino.Core()


def start(threads):
    _core.set_property(
        "CPU",
        {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        },
    )
    return {"openvino": openvino.__version__}


def variants(case):
    if case.training:
        raise NotSupported("inference only")
    if case.dtype == "float64":
        raise NotSupported("computes in float32")
    return ["conv1d", "conv2d"]


def prepare(case, variant, arrays, threads):
    parameter = op.parameter(list(case.input_shape), np.float32, name="x")
    node = op.transpose(parameter, np.array([0, 2, 1])) if case.channels_last else parameter
    weight = arrays.kernel.transpose(1, 2, 0)[:, :, None]
    left, right = case.pads
    height, flat = (1, [1]) if variant == "conv2d" else (0, [])  # a 2-D convolution of height 1
    if height:
        node = op.unsqueeze(node, np.array([2]))
        weight = weight[:, :, :, None]
    node = op.group_convolution(
        node,
        op.constant(np.ascontiguousarray(weight)),
        [*flat, case.strides],
        [0] * height + [left],
        [0] * height + [right],
        [*flat, case.dilation_rate],
    )
    if arrays.bias is not None:
        node = op.add(node, op.constant(arrays.bias.reshape(1, -1, *flat, 1)))
    if case.activation != "linear":
        node = {"relu": op.relu, "silu": op.swish}[case.activation](node)
    if height:
        node = op.squeeze(node, np.array([2]))
    if case.channels_last:
        node = op.transpose(node, np.array([0, 2, 1]))
    model = openvino.Model([op.result(node)], [parameter], case.name)
    request = _core.compile_model(model, "CPU").create_infer_request()

    def run():
        request.set_input_tensor(openvino.Tensor(arrays.x, shared_memory=True))
        request.infer()
        return request.get_output_tensor().data

    return run
