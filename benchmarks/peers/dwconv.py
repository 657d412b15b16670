# SPDX-License-Identifier: BSD-3-Clause
"""The package itself: the layer, the functions, forwards with an output array of the caller's, and a step of a stream."""

import dwconv
import numpy as np

from benchmarks.peers import NotSupported


def start(threads):
    dwconv.set_num_threads(threads)
    return {"dwconv": dwconv.__version__}


def variants(case):
    if not case.training:
        return ["layer", "out="] + (["step"] if _is_a_step(case) else [])
    if not hasattr(dwconv, "depthwise_conv1d_backward"):
        raise NotSupported("this version has no gradients")
    return ["layer", "functions"]


def prepare(case, variant, arrays, threads):
    x, kernel, bias, dy = arrays
    options = {
        "strides": case.strides,
        "padding": case.padding,
        "dilation_rate": case.dilation_rate,
        "data_format": case.data_format,
        "activation": case.activation,
    }
    if variant == "out=":
        y = dwconv.depthwise_conv1d(x, kernel, bias, **options)  # whose place in memory suits x
        return lambda: dwconv.depthwise_conv1d(x, kernel, bias, out=y, **options)

    if variant == "functions":
        return _functions(case, arrays, options)

    if variant == "step":
        stream = dwconv.DepthwiseConv1DStream(kernel, bias, batch_size=case.batch, **options)
        stream.push(x[:, :-1])
        y = np.empty(case.output_shape, case.dtype)
        frame, out = np.ascontiguousarray(x[:, -1]), y[:, 0]

        def step():
            stream.step(frame, out)
            return y

        return step

    layer = dwconv.DepthwiseConv1D(
        case.kernel_size,
        depth_multiplier=case.depth_multiplier,
        use_bias=case.use_bias,
        dtype=case.dtype,
        **options,
    )
    layer.build(x.shape)
    layer.set_weights([kernel] if bias is None else [kernel, bias])
    if not case.training:
        return lambda: layer(x)

    def forward_and_backward():
        y = layer(x, training=True)
        dx, dkernel, *dbias = layer.backward(dy)
        return y, dx, dkernel, dbias[0] if dbias else None

    return forward_and_backward


def _functions(case, arrays, options):
    """Forward and backward without a layer, into arrays of the caller's, who keeps the first results for it."""
    x, kernel, bias, dy = arrays
    options = dict(options)
    activation = options.pop("activation")
    derivative = {} if activation == "linear" else {"activation": activation, "bias": bias}
    needs = (True, True, bias is not None)
    y = dwconv.depthwise_conv1d(x, kernel, bias, activation=activation, method="direct", **options)
    out = dwconv.depthwise_conv1d_backward(x, kernel, dy, needs=needs, **derivative, **options)

    def forward_and_backward():
        dwconv.depthwise_conv1d(
            x, kernel, bias, activation=activation, out=y, method="direct", **options
        )
        gradients = dwconv.depthwise_conv1d_backward(
            x, kernel, dy, needs=needs, out=out, **derivative, **options
        )
        return y, *gradients

    return forward_and_backward


def _is_a_step(case) -> bool:
    """Whether a case is what a stream does for one frame."""
    return (
        case.channels_last
        and case.padding == "valid"
        and case.steps == case.kernel_size
        and hasattr(dwconv, "DepthwiseConv1DStream")
    )
