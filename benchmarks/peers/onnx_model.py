# SPDX-License-Identifier: BSD-3-Clause
"""A case as an ONNX model."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

_OPSET, _IR_VERSION = 13, 8


def onnx_model(case, arrays, rank):
    """Serialized model from "x" to "y" in the case's own data format.

    Parameters
    ----------
    rank : {1, 2}
        A 1-D convolution, or the same as a 2-D one of height 1.
    """
    out_channels, kernel_size = case.out_channels, case.kernel_size
    weight = arrays.kernel.transpose(1, 2, 0).reshape(out_channels, 1, kernel_size)
    left, right = case.pads
    constants = {"axis": np.array([2])}
    nodes = []

    def then(operator, *more_inputs, **attributes):
        source = nodes[-1].output[0] if nodes else "x"
        target = f"{operator}{len(nodes)}"
        nodes.append(helper.make_node(operator, [source, *more_inputs], [target], **attributes))
        return target

    if case.channels_last:
        then("Transpose", perm=[0, 2, 1])
    if rank == 2:
        then("Unsqueeze", "axis")
        weight = weight[:, :, None]
    constants["weight"] = np.ascontiguousarray(weight)
    if arrays.bias is not None:
        constants["bias"] = arrays.bias
    flat = [1] * (rank - 1)  # the height
    convolved = then(
        "Conv",
        *(name for name in ("weight", "bias") if name in constants),
        group=case.channels,
        kernel_shape=[*flat, kernel_size],
        strides=[*flat, case.strides],
        dilations=[*flat, case.dilation_rate],
        pads=[0] * (rank - 1) + [left] + [0] * (rank - 1) + [right],
    )
    if case.activation == "relu":
        then("Relu")
    elif case.activation == "silu":
        then("Sigmoid")
        then("Mul", convolved)
    if rank == 2:
        then("Squeeze", "axis")
    if case.channels_last:
        then("Transpose", perm=[0, 2, 1])
    nodes[-1].output[0] = "y"

    dtype = TensorProto.DOUBLE if case.dtype == "float64" else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        case.name,
        [helper.make_tensor_value_info("x", dtype, case.input_shape)],
        [helper.make_tensor_value_info("y", dtype, case.output_shape)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = _IR_VERSION
    return model.SerializeToString()
