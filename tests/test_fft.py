# SPDX-License-Identifier: BSD-3-Clause
"""Long kernels by FFT: against the exact convolution and against the direct method."""

import copy
import itertools
import pickle
import warnings

import chains
import numpy as np
import pytest
from cases import DTYPES, LAYOUTS, Case, assert_bits, random_case, scaled
from dwconv import DepthwiseConv1D, activations, depthwise_conv1d
from dwconv.functional import SHORTEST_FFT_KERNEL
from tolerances import fft_bound

both_dtypes = pytest.mark.parametrize("dtype", DTYPES)
both_layouts = pytest.mark.parametrize("data_format", LAYOUTS)


def check(case, **more):
    x, kernel, bias = case.floats()
    y = case.run(x, kernel, bias, method="fft", **more)
    expected = chains.plain(x, kernel, bias, **case.geometry)
    assert (y.shape, y.dtype) == (expected.shape, case.dtype), case
    error = np.abs(y - expected)
    bound = fft_bound(x, kernel, bias)
    assert (error <= bound).all(), f"{case}: {np.max(error / bound):.3g} times the bound"


@both_dtypes
@both_layouts
def test_random_shapes(data_format, dtype):
    rng = np.random.default_rng([23, *data_format.encode(), *dtype.encode()])
    for _ in range(scaled(80)):
        check(random_case(rng, data_format=data_format, dtype=dtype))


@both_dtypes
@both_layouts
@pytest.mark.parametrize("kernel_size", [31, 300, 2500])
def test_many_blocks(kernel_size, data_format, dtype):
    """Signals of several blocks, the last one short, in groups of channels."""
    for channels, steps in ((1, 70_000), (3, 20_000), (70, 1000)):
        if kernel_size * channels * steps > 3e7:
            steps = 5 * kernel_size
        for padding, strides, dilation in (("same", 1, 1), ((-7, 90), 3, 2)):
            if steps > (kernel_size - 1) * dilation + 10 and channels * kernel_size < 30_000:
                check(
                    Case(steps, channels, kernel_size, 1, 1, strides, padding, dilation,
                         data_format, dtype, seed=steps)
                )  # fmt: skip


@both_layouts
def test_every_kernel_length(data_format):
    for kernel_size in range(1, 70):
        for padding, multiplier in (("valid", 1), ("same", 2), ("causal", 3)):
            check(
                Case(kernel_size + 20, 2, kernel_size, 2, multiplier, 1, padding,
                     data_format=data_format)
            )  # fmt: skip


@both_layouts
@pytest.mark.parametrize("big", [2**16, 2**32, 2**55])
def test_huge_strides_and_dilations(big, data_format):
    for strides, dilation, padding in (
        (big, 1, "same"),
        (1, big, "same"),
        (2, big, "causal"),
        (big, big // 3 + 1, "causal"),
        (big // 4, big // 4, (big // 4, big // 4 + 2)),
        (big // 4, big // 8, (big // 4, big)),
    ):
        case = Case(9, 3, 3, 2, 1, strides, padding, dilation, data_format)
        if case.geometry["out_steps"] >= 1:
            check(case)


def test_more_channels_and_filters_than_one_group():
    for channels, multiplier in ((700, 1), (2, 400), (130, 5)):
        check(Case(300, channels, 100, 2, multiplier, padding="same"))


@both_dtypes
def test_error_relative_to_the_result(dtype):
    """The error a user sees with noise as input: relative to the root mean square."""
    x, kernel, _ = Case(9000, 4, 1000, dtype=dtype).floats()
    expected = chains.plain(x, kernel, None, strides=1, dilation_rate=1, left=0, out_steps=8001)
    error = np.abs(depthwise_conv1d(x, kernel, method="fft") - expected).max()
    relative = error / np.sqrt(np.mean(expected**2))
    assert relative < {"float32": 3e-6, "float64": 3e-14}[dtype]


@both_dtypes
def test_linear(dtype):
    case = Case(3000, 3, 600, padding="same", dtype=dtype, bias=False)
    (x1, kernel, _), (x2, _, _) = case.floats(), Case(3000, 3, 600, dtype=dtype, seed=1).floats()
    y1, y2, both = (case.run(x, kernel, None, method="fft") for x in (x1, x2, 2 * x1 - x2))
    bound = fft_bound(x1, kernel, None) * 6
    assert (np.abs(both - (2 * y1 - y2)) <= bound).all()
    assert (case.run(0 * x1, kernel, None, method="fft") == 0).all()


@both_layouts
def test_same_bits_again_and_for_any_memory(data_format):
    case = Case(2000, 5, 520, 2, 2, padding="same", data_format=data_format)
    x, kernel, bias = case.floats()
    y = case.run(x, kernel, bias, method="fft")
    assert_bits(case, case.run(x, kernel, bias, method="fft", num_threads=2), y, "two threads")
    options = case.options | {"method": "fft"}
    for there in (
        case.to_layout(x).astype(">f4"),
        case.to_layout(x)[:, ::-1][:, ::-1],
        np.asfortranarray(case.to_layout(x)),
    ):
        assert_bits(case, case.to_last(depthwise_conv1d(there, kernel, bias, **options)), y)
    wide = np.full((2, 2 * y.shape[1], y.shape[2]), 7, y.dtype)
    if data_format == "channels_last":
        assert depthwise_conv1d(x, kernel, bias, out=wide[:, ::2], **options) is not None
        assert_bits(case, wide[:, ::2], y, "out")
        assert (wide[:, 1::2] == 7).all()


@both_dtypes
@both_layouts
def test_same_bits_for_any_thread_count(data_format, dtype):
    for channels, steps, multiplier, dilation in ((40, 3000, 1, 1), (3, 40_000, 2, 3), (1, 200_000, 1, 1)):
        case = Case(steps, channels, 300, 1, multiplier, 1, "same", dilation, data_format, dtype)
        arrays = case.floats()
        y = case.run(*arrays, method="fft", num_threads=1)
        for threads in (2, 3, 8):
            assert_bits(case, case.run(*arrays, method="fft", num_threads=threads), y, f"{threads} threads")


@both_layouts
def test_kernels_longer_than_signals(data_format):
    """Taps that never meet the input take no part, whatever they are."""
    for steps, kernel_size, padding in ((5, 900, "same"), (70, 4000, "causal"), (1, 1000, (2000, 3))):
        case = Case(steps, 3, kernel_size, 2, padding=padding, data_format=data_format)
        check(case)
    x, kernel, bias = Case(20, 3, 900).floats()
    options = dict(padding="causal", data_format=data_format, method="fft")
    x = x if data_format == "channels_last" else x.transpose(0, 2, 1)
    y = depthwise_conv1d(x, kernel, bias, **options)
    kernel[:850] = np.inf
    np.testing.assert_array_equal(depthwise_conv1d(x, kernel, bias, **options), y)


def test_out_is_returned_and_checked():
    x, kernel, bias = Case(50, 3, 7).floats()
    y = depthwise_conv1d(x, kernel, bias, method="fft")
    for activation in (None, "relu", "softmax"):
        out = np.empty_like(y)
        got = depthwise_conv1d(x, kernel, bias, method="fft", activation=activation, out=out)
        assert got is out
        expected = y if activation is None else activations.get(activation)(y)
        np.testing.assert_array_equal(out, expected)
    with pytest.raises(ValueError, match="`out`.*shape"):
        depthwise_conv1d(x, kernel, bias, method="fft", out=np.empty((1, 2, 3), "f4"))
    with pytest.raises(ValueError, match="overlap"):
        depthwise_conv1d(x, kernel, padding="same", method="fft", out=x)


@pytest.mark.parametrize("name", ["linear", "relu", "relu6", "hard_silu", "leaky_relu", "tanh"])
def test_activations_are_those_of_numpy(name):
    x, kernel, bias = Case(900, 3, 600, padding="same").floats()
    expected = activations.get(name)(depthwise_conv1d(x, kernel, bias, method="fft"))
    got = depthwise_conv1d(x, kernel, bias, activation=name, method="fft")
    np.testing.assert_array_equal(got, expected)


@both_layouts
@pytest.mark.parametrize(("batch", "steps", "channels"), [(0, 5, 3), (2, 0, 3), (2, 5, 0)])
def test_empty_inputs(batch, steps, channels, data_format):
    x = np.ones((batch, steps, channels), "f4")
    if data_format == "channels_first":
        x = x.transpose(0, 2, 1)
    kernel, bias = np.ones((3, channels, 2), "f4"), np.arange(2.0 * channels, dtype="f4")
    for padding in ("same", "causal", (4, 5)):
        options = dict(padding=padding, data_format=data_format)
        y = depthwise_conv1d(x, kernel, bias, method="fft", **options)
        expected = depthwise_conv1d(x, kernel, bias, method="direct", **options)
        assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(y, expected, atol=1e-6)


@pytest.mark.parametrize(
    "method", ["FFT", "", None, 1, True, ["fft"], b"fft", np.array(["fft"])], ids=repr
)
def test_unknown_method(method):
    x, kernel, _ = Case(20, 3, 5).floats()
    with pytest.raises(ValueError, match=r"`method`.*'auto', 'direct', 'fft'.*received method="):
        depthwise_conv1d(x, kernel, method=method)
    layer = DepthwiseConv1D(5)
    with pytest.raises(ValueError, match=r"`method`.*'auto', 'direct', 'fft'.*received method="):
        layer.method = method
    assert layer.method == "auto"


@both_layouts
def test_auto_decides_by_the_kernel_alone(data_format):
    for steps, channels in itertools.product((1, 40, 3000), (1, 20)):
        for kernel_size, method in (
            (SHORTEST_FFT_KERNEL - 1, "direct"),
            (SHORTEST_FFT_KERNEL, "fft"),
        ):
            case = Case(
                steps, channels, kernel_size, padding="same", data_format=data_format, seed=steps
            )
            arrays = case.floats()
            for _ in range(2):  # the second call may be remembered
                assert_bits(
                    case, case.run(*arrays, method="auto"), case.run(*arrays, method=method)
                )


def test_remembered_calls_keep_methods_apart():
    case = Case(2000, 4, 64)
    arrays = case.floats()
    results = {m: [case.run(*arrays, method=m) for _ in range(3)] for m in ("fft", "direct")}
    for ys in results.values():
        assert_bits(case, ys[1], ys[0])
        assert_bits(case, ys[2], ys[0])
    assert (results["fft"][0] != results["direct"][0]).any()


@both_dtypes
@pytest.mark.parametrize("value", [np.nan, np.inf, "overflow"])
def test_auto_keeps_what_is_not_finite_local(value, dtype):
    case = Case(5000, 3, SHORTEST_FFT_KERNEL, padding="same", dtype=dtype)
    x, kernel, bias = case.floats()
    x[0, 2500, 1] = np.finfo(dtype).max if value == "overflow" else value
    for activation in (None, "silu", "softmax"):
        y = case.run(x, kernel, bias, method="auto", activation=activation)
        expected = case.run(x, kernel, bias, method="direct", activation=activation)
        assert_bits(case, y, expected, str(activation))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spread = case.run(x, kernel, bias, method="fft")
    assert spread.shape == y.shape
    if value != "overflow":
        assert np.isnan(spread[0, :, 1]).sum() > len(kernel) and np.isfinite(spread[:, :, [0, 2]]).all()


@pytest.mark.parametrize("subclass", [False, True])
def test_layer(subclass):
    class Own(DepthwiseConv1D):
        def convolution_op(self, inputs, kernel):
            return super().convolution_op(inputs, kernel)

    rng = np.random.default_rng(5)
    x = rng.standard_normal((2, 700, 3), dtype="float32")
    layer = (Own if subclass else DepthwiseConv1D)(40, padding="same")
    auto = layer(x)
    assert layer.method == "auto" and "method" not in layer.get_config()
    layer.method = "fft"
    y = layer(x)
    expected = depthwise_conv1d(x, layer.kernel.value, padding="same", method="fft")
    np.testing.assert_array_equal(y, expected)
    assert (y != auto).any()
    layer.method = "direct"
    np.testing.assert_array_equal(layer(x), auto)


def test_copies_keep_the_method():
    for method in ("auto", "direct", "fft"):
        layer = DepthwiseConv1D(3)
        layer.method = method
        for twin in (copy.copy(layer), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert twin.method == method
    assert DepthwiseConv1D.from_config(layer.get_config()).method == "auto"
    state = layer.__dict__ | {"_method": "fast"}
    with pytest.raises(ValueError, match="damaged.*`method`"):
        DepthwiseConv1D(3).__setstate__(state)
