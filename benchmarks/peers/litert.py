# SPDX-License-Identifier: BSD-3-Clause
"""LiteRT (TensorFlow Lite) with its XNNPACK delegate; the model comes from TensorFlow."""

from importlib.metadata import version

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from benchmarks.peers import NotSupported
from benchmarks.peers.tensorflow import depthwise


def start(threads):
    tf.config.threading.set_intra_op_parallelism_threads(1)  # only converts
    return {"ai-edge-litert": version("ai-edge-litert")}


def variants(case):
    if case.training:
        raise NotSupported("inference only")
    if case.dtype == "float64":
        raise NotSupported("no float64")
    if "heavy" in case.tags:
        raise NotSupported("direct form only, without a fast path: minutes")
    return ["xnnpack"]


def prepare(case, variant, arrays, threads):
    kernel = tf.constant(arrays.kernel[None])
    bias = np.zeros(case.out_channels, case.dtype) if arrays.bias is None else arrays.bias
    function = tf.function(lambda x: depthwise(case, x, kernel, tf.constant(bias)))
    concrete = function.get_concrete_function(tf.TensorSpec(case.input_shape, case.dtype))
    model = tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()
    interpreter = Interpreter(model_content=model, num_threads=threads)
    interpreter.allocate_tensors()
    input_view = interpreter.tensor(interpreter.get_input_details()[0]["index"])
    output_view = interpreter.tensor(interpreter.get_output_details()[0]["index"])

    def run():
        np.copyto(input_view(), arrays.x)
        interpreter.invoke()
        return output_view()  # a fresh view each time: a view that is kept would block invoke()

    return run
