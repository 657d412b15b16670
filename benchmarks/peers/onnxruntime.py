# SPDX-License-Identifier: BSD-3-Clause
"""ONNX Runtime with IO binding on the caller's arrays: Conv in one dimension, and in two."""

import numpy as np
import onnxruntime

from benchmarks.peers import NotSupported
from benchmarks.peers.onnx_model import onnx_model


def start(threads):
    onnxruntime.set_default_logger_severity(3)
    return {"onnxruntime": onnxruntime.__version__}


def variants(case):
    if case.training:
        raise NotSupported("inference only")
    if case.dtype == "float64":
        raise NotSupported("no Conv in float64")
    return ["conv1d", "conv2d"]


def prepare(case, variant, arrays, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(
        onnx_model(case, arrays, rank=2 if variant == "conv2d" else 1),
        options,
        providers=["CPUExecutionProvider"],
    )
    y = np.empty(case.output_shape, case.dtype)
    value = onnxruntime.OrtValue.ortvalue_from_numpy(y)
    binding = session.io_binding()
    binding.bind_ortvalue_output("y", value)
    binding.bind_cpu_input("x", arrays.x)
    session.run_with_iobinding(binding)
    shared = np.array_equal(value.numpy(), y)  # whether the value is a view of y: no copy needed

    def run():
        binding.bind_cpu_input("x", arrays.x)
        session.run_with_iobinding(binding)
        return y if shared else value.numpy()

    return run
