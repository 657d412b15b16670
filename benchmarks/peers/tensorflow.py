# SPDX-License-Identifier: BSD-3-Clause
"""TensorFlow: Keras's layer in a graph, the operation behind it, and that compiled with XLA."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

_ALIGNMENT = 64
_ACTIVATIONS = {"linear": lambda z: z, "relu": tf.nn.relu, "silu": tf.nn.silu}


def start(threads):
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return {"tensorflow": tf.__version__, "keras": tf.keras.__version__}


def drop():
    tf.keras.backend.clear_session()


def variants(case):
    return ["graph", "xla"] if case.training else ["keras", "graph", "xla"]


def depthwise(case, x, kernel, bias):
    """The case in TensorFlow's operations. `kernel` is (1, kernel_size, channels, multiplier)."""
    if not case.channels_last:
        x = tf.transpose(x, (0, 2, 1))
    z = tf.nn.depthwise_conv2d(
        x[:, None],
        kernel,
        (1, case.strides, case.strides, 1),
        case.padding.upper(),
        dilations=(1, case.dilation_rate),
    )[:, 0]
    if bias is not None:
        z = tf.nn.bias_add(z, bias)
    z = _ACTIVATIONS[case.activation](z)
    return z if case.channels_last else tf.transpose(z, (0, 2, 1))


def prepare(case, variant, arrays, threads):
    kernel = tf.constant(arrays.kernel[None])
    bias = None if arrays.bias is None else tf.constant(arrays.bias)
    if case.training:
        return _training(case, variant, arrays, kernel, bias)
    if variant == "keras":
        layer = _keras_layer(case, arrays)
        function = tf.function(lambda x: layer(x))
    else:
        function = tf.function(
            lambda x: depthwise(case, x, kernel, bias), jit_compile=variant == "xla"
        )
    concrete = function.get_concrete_function(tf.TensorSpec(case.input_shape, case.dtype))
    return lambda: _array(concrete(_tensor(arrays.x)))


def _keras_layer(case, arrays):
    layer = tf.keras.layers.DepthwiseConv1D(
        case.kernel_size,
        strides=case.strides,
        padding=case.padding,
        depth_multiplier=case.depth_multiplier,
        data_format=case.data_format,
        dilation_rate=case.dilation_rate,
        activation=case.activation,
        use_bias=case.use_bias,
        dtype=case.dtype,
    )
    layer.build(case.input_shape)
    layer.set_weights([a for a in (arrays.kernel, arrays.bias) if a is not None])
    return layer


def _training(case, variant, arrays, kernel, bias):
    @tf.function(jit_compile=variant == "xla")
    def forward_and_backward(x, kernel, bias, dy):
        sources = [a for a in (x, kernel, bias) if a is not None]
        with tf.GradientTape() as tape:
            tape.watch(sources)
            y = depthwise(case, x, kernel, bias)
        return [y, *tape.gradient(y, sources, dy)]

    def run():
        y, dx, dkernel, *dbias = forward_and_backward(
            _tensor(arrays.x), kernel, bias, _tensor(arrays.dy)
        )
        dbias = _array(dbias[0]) if dbias else None
        return _array(y), _array(dx), _array(dkernel)[0], dbias

    return run


def _tensor(array):
    """The array as a tensor, without a copy where TensorFlow takes the memory as it is.

    Its kernels end the process where memory does not begin at a cache line.
    """
    if array.ctypes.data % _ALIGNMENT:
        return tf.convert_to_tensor(array)
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def _array(tensor):
    """The tensor as an array that shares its memory; the public `numpy()` copies."""
    return tensor._numpy()
