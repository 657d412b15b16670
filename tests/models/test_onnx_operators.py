# SPDX-License-Identifier: BSD-3-Clause
"""`causal_conv_with_state` against the reference implementation of the operator in the package onnx."""

import numpy as np
import pytest
from dwconv import causal_conv_with_state

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnx.reference")

OPERATOR_SET = 27
pytestmark = pytest.mark.skipif(
    onnx.defs.onnx_opset_version() < OPERATOR_SET, reason=f"onnx {onnx.__version__} does not know CausalConvWithState"
)


def evaluator(activation, with_bias, with_state):
    tensor = lambda name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)  # noqa: E731
    names = ["input", "weight", "bias" if with_bias else "", "past_state" if with_state else ""]
    attributes = {} if activation is None else {"activation": activation}
    node = onnx.helper.make_node("CausalConvWithState", names, ["output", "present_state"], **attributes)
    graph = onnx.helper.make_graph(
        [node], "g", [tensor(name) for name in names if name], [tensor("output"), tensor("present_state")]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPERATOR_SET)])
    return onnx.reference.ReferenceEvaluator(model)


@pytest.mark.parametrize("activation", [None, "none", "silu", "swish"])
@pytest.mark.parametrize(("length", "k"), [(1, 1), (1, 4), (2, 4), (3, 4), (10, 4), (5, 9)])
def test_reference_evaluator(length, k, activation):
    rng = np.random.default_rng(k)
    for with_bias, with_state in np.ndindex(2, 2):
        shapes = dict(input=(2, 6, length), weight=(6, 1, k), bias=(6,), past_state=(2, 6, k - 1))
        given = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
        if not with_bias:
            del given["bias"]
        if not with_state:
            del given["past_state"]
        output, present_state = evaluator(activation, with_bias, with_state).run(None, given)
        more = {} if activation is None else {"activation": activation}
        got, got_state = causal_conv_with_state(**given, **more)
        assert got.dtype == output.dtype == np.float32
        np.testing.assert_allclose(got, output, rtol=1e-5, atol=1e-5)
        assert np.array_equal(got_state, present_state)
