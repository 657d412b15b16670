# SPDX-License-Identifier: BSD-3-Clause
"""depthwise_conv1d against the specification: every size around a tile or lane edge, every layout.

Integer data is compared with ==, real data with the error bound of tolerances.py.
"""

import itertools

import chains
import numpy as np
import pytest
import reference
from cases import (
    CHANNELS,
    DILATIONS,
    DTYPES,
    KERNEL_SIZES,
    LAYOUTS,
    MULTIPLIERS,
    STEPS,
    STRIDES,
    Case,
    assert_same,
    expected_integers,
    random_case,
    scaled,
)
from dwconv import activations, depthwise_conv1d
from tolerances import ACTIVATION_ULPS, UNIT_ROUNDOFF, forward_bound

both_dtypes = pytest.mark.parametrize("dtype", DTYPES)
both_layouts = pytest.mark.parametrize("data_format", LAYOUTS)

SWEEPS = {
    "channels": [{"channels": c} for c in CHANNELS],
    "kernel_size": [{"kernel_size": k} for k in KERNEL_SIZES],
    "steps": [{"steps": t} for t in STEPS],
    "stride and dilation": [
        {"strides": s, "dilation_rate": d} for s, d in itertools.product(STRIDES, DILATIONS)
    ],
    "multiplier": [{"multiplier": m} for m in MULTIPLIERS],
    "long": [
        {"steps": t, "channels": c, "batch": 1}
        for t, c in itertools.product((511, 1024, 2049), (1, 2, 3, 5, 16, 17))
    ],
    # Dilations by whole vectors make rows of few channels share input as if there were none.
    "few dilated taps": [
        dict(steps=300, channels=c, dilation_rate=d, kernel_size=k, strides=1, multiplier=1)
        for c, d, k in itertools.product((1, 3, 7, 33), (2, 4, 8, 16), (2, 3, 5, 8))
    ],
    "few taps far apart": [
        dict(steps=t, channels=c, dilation_rate=d, kernel_size=k, strides=1, multiplier=1, batch=1)
        for t, c, d, k in ((700, 129, 256, 3), (900, 160, 210, 4), (500, 520, 70, 7), (90, 1030, 32, 2))
    ],
    "repeated in registers": [
        dict(steps=t, channels=c, multiplier=m)
        for t, c, m in itertools.product((40, 200), (1, 2, 3, 8, 16), (2, 4, 8, 16))
    ],
    # Weights of one band that serve several batch items, and of two, in turn.
    "bands": [
        dict(steps=t, channels=c, kernel_size=k, dilation_rate=1, strides=1, multiplier=1, batch=3)
        for t, c, k in ((150, 272, 9), (300, 528, 40))
    ],
    "past the caches": [
        dict(steps=1060, channels=3072, kernel_size=k, dilation_rate=1, strides=1, multiplier=1, batch=1)
        for k in (3, 9)
    ],
    "wide": [
        {"channels": c, "steps": t} for c, t in itertools.product((1023, 1024, 1025), (1, 8, 9))
    ],
    "anything": [{}] * 30,
}


def check_integers(case):
    x, kernel, bias = case.integers()
    assert_same(case, case.run(x, kernel, bias), expected_integers(case, x, kernel, bias))


@both_dtypes
@both_layouts
@pytest.mark.parametrize("sweep", SWEEPS)
def test_integers_are_exact(sweep, data_format, dtype):
    rng = np.random.default_rng([7, *sweep.encode(), *data_format.encode(), *dtype.encode()])
    for _ in range(scaled(3)):
        for fixed in SWEEPS[sweep]:
            check_integers(random_case(rng, data_format=data_format, dtype=dtype, **fixed))


@both_layouts
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 5, 8, 9, 17])
def test_every_length_around_the_kernel(kernel_size, data_format):
    for steps in range(1, kernel_size + 20):
        for padding in ("same", "causal", "valid", (2, 0), (-1, kernel_size)):
            case = Case(
                steps, 5, kernel_size, 2, padding=padding, data_format=data_format, seed=steps
            )
            if case.geometry["out_steps"] >= 1:
                check_integers(case)


@both_layouts
@pytest.mark.parametrize("multiplier", [1, 3])
@pytest.mark.parametrize("kernel_size", [300, 1000, 2500])
def test_long_kernels(kernel_size, multiplier, data_format):
    for padding, strides, dilation in (
        ("same", 1, 1),
        ("causal", 3, 2),
        ((5, -3), 1, 1),
        ((9, 600), 2, 1),
    ):
        steps = kernel_size + 40
        check_integers(
            Case(steps, 2, kernel_size, 1, multiplier, strides, padding, dilation, data_format)
        )


@pytest.mark.parametrize("seed", range(12))
def test_reference(seed):
    """reference.py says what the operation is; the faster models of these tests must agree with it
    too."""
    rng = np.random.default_rng([11, seed])
    for _ in range(scaled(6)):
        case = random_case(
            rng,
            batch=int(rng.integers(1, 3)),
            steps=int(rng.integers(1, 20)),
            channels=int(rng.integers(1, 6)),
            kernel_size=int(rng.integers(1, 9)),
            multiplier=int(rng.integers(1, 4)),
        )
        x, kernel, bias = case.integers()
        expected = reference.depthwise_conv1d(case.to_layout(x), kernel, bias, **case.options)
        assert_same(case, case.run(x, kernel, bias), case.to_last(expected).astype(case.dtype))
        assert_same(
            case,
            expected_integers(case, x, kernel, bias),
            case.to_last(expected).astype(case.dtype),
        )


@both_layouts
@pytest.mark.parametrize("exponents", [0, 8, 18])
def test_error_bound_float32(exponents, data_format):
    rng = np.random.default_rng([13, exponents, *data_format.encode()])
    for _ in range(scaled(60)):
        case = random_case(rng, dtype="float32", data_format=data_format)
        x, kernel, bias = case.floats(exponents)
        error = np.abs(case.run(x, kernel, bias) - chains.plain(x, kernel, bias, **case.geometry))
        bound = forward_bound(
            case.kernel_size, chains.magnitude(x, kernel, bias, **case.geometry), "float32"
        )
        assert (error <= bound).all(), (
            f"{case} {exponents=}: {np.max(error / bound):.3g} times the bound"
        )


@both_layouts
@pytest.mark.parametrize("exponents", [0, 30, 200])
def test_error_bound_float64(exponents, data_format):
    rng = np.random.default_rng([17, exponents, *data_format.encode()])
    for _ in range(scaled(40)):
        case = random_case(rng, dtype="float64", data_format=data_format)
        x, kernel, bias = case.floats(exponents)
        y = case.run(x, kernel, bias)
        where = [tuple(int(rng.integers(n)) for n in y.shape) for _ in range(20)]
        got = np.array([y[at] for at in where])
        magnitude = chains.magnitude(x, kernel, bias, **case.geometry)
        bound = forward_bound(case.kernel_size, [magnitude[at] for at in where], "float64")
        error = np.abs(got - chains.exact(x, kernel, bias, where, **case.geometry))
        assert (error <= bound).all(), (
            f"{case} {exponents=}: {np.max(error / bound):.3g} times the bound"
        )


@both_dtypes
@both_layouts
@pytest.mark.parametrize(
    ("batch", "steps", "channels", "padding", "out_steps"),
    [
        (0, 5, 3, "valid", 3),
        (0, 5, 3, "same", 5),
        (2, 0, 3, "same", 0),
        (2, 0, 3, "causal", 0),
        (2, 5, 0, "valid", 3),
        (0, 0, 0, "same", 0),
        (2, 0, 3, (2, 3), 3),
        (2, 1, 3, (-1, 4), 2),
        (2, 4, 3, (-2, 2), 2),
    ],
)
def test_empty_inputs(batch, steps, channels, padding, out_steps, data_format, dtype):
    shape = (batch, steps, channels)
    bias = np.arange(2.0 * channels, dtype=dtype)
    kernel = np.ones((3, channels, 2), dtype)
    last = data_format == "channels_last"
    x = np.ones(shape if last else (batch, channels, steps), dtype)
    y = depthwise_conv1d(x, kernel, bias, padding=padding, data_format=data_format)
    assert y.dtype == dtype
    assert y.shape == (
        (batch, out_steps, 2 * channels) if last else (batch, 2 * channels, out_steps)
    )
    if steps == 0:  # padding alone: the bias
        assert (y == (bias if last else bias[:, None])).all()


def test_explicit_padding_beyond_the_input_gives_the_bias():
    for left, right in ((50, 0), (0, 50), (50, 50)):
        case = Case(6, 3, 4, padding=(left, right), strides=2)
        check_integers(case)
    y = depthwise_conv1d(
        np.full((1, 5, 1), np.nan), np.ones((2, 1, 1)), np.array([3.0]), padding=(-5, 4)
    )
    np.testing.assert_array_equal(y, np.full((1, 3, 1), 3.0))


@both_layouts
@pytest.mark.parametrize("big", [65535, 65536, 2**31, 2**32 - 1, 2**32, 2**40, 2**55, 2**60 - 1])
def test_huge_strides_and_dilations(big, data_format):
    """65536, 2**31 and 2**32 have each crashed another library."""
    for kernel_size, padding in ((1, "valid"), (1, "same"), (3, "same")):
        check_integers(
            Case(9, 5, kernel_size, 2, strides=big, padding=padding, data_format=data_format)
        )
    check_integers(Case(9, 5, 1, dilation_rate=big, data_format=data_format))
    check_integers(Case(9, 5, 2, dilation_rate=big, padding="causal", data_format=data_format))
    check_integers(Case(9, 5, 2, dilation_rate=big // 4, padding="same", data_format=data_format))
    check_integers(
        Case(
            9,
            5,
            2,
            strides=big,
            dilation_rate=big // 3 + 1,
            padding="causal",
            data_format=data_format,
        )
    )
    check_integers(
        Case(
            9,
            5,
            3,
            strides=big // 4,
            dilation_rate=big // 4,
            padding=(big // 4, big // 4 + 2),
            data_format=data_format,
        )
    )


@both_dtypes
@both_layouts
@pytest.mark.parametrize("name", ACTIVATION_ULPS)
def test_fused_activations(name, data_format, dtype):
    rng = np.random.default_rng([19, *name.encode(), *data_format.encode(), *dtype.encode()])
    for _ in range(scaled(12)):
        case = random_case(rng, data_format=data_format, dtype=dtype)
        x, kernel, bias = case.floats(2)
        z = case.run(x, kernel, bias)
        y = case.run(x, kernel, bias, activation=name)
        error = np.abs(y - activations.get(name)(z))
        bound = ACTIVATION_ULPS[name] * UNIT_ROUNDOFF[dtype] * np.maximum(1, np.abs(z))
        assert (error <= bound).all(), f"{case} {name}: error {error.max():.3g}"


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "sparsemax", "glu"])
def test_row_wise_activations(name):
    x, kernel, bias = Case(30, 6, 3).floats()
    expected = activations.get(name)(depthwise_conv1d(x, kernel, bias))
    np.testing.assert_array_equal(depthwise_conv1d(x, kernel, bias, activation=name), expected)
    np.testing.assert_array_equal(
        depthwise_conv1d(x, kernel, bias, activation=activations.get(name)), expected
    )


def test_activation_of_the_caller():
    x, kernel, bias = Case(30, 6, 3).floats()
    y = depthwise_conv1d(x, kernel, bias, activation=lambda z: z * z + 1)
    np.testing.assert_array_equal(y, depthwise_conv1d(x, kernel, bias) ** 2 + 1)


def test_infinite_weights_over_padding_add_nothing():
    kernel = np.array([np.inf, 1.0, np.nan]).reshape(3, 1, 1)
    y = depthwise_conv1d(np.ones((1, 4, 1)), kernel, padding="same").ravel()
    np.testing.assert_array_equal(y, [np.nan, np.nan, np.nan, np.inf])
    y = depthwise_conv1d(np.ones((1, 1, 1)), kernel, padding="same").ravel()
    np.testing.assert_array_equal(y, [1.0])
