# SPDX-License-Identifier: BSD-3-Clause
"""Gradients of the activations: those recorded from Keras, finite differences, and kinks."""

import functools
from pathlib import Path

import numpy as np
import pytest
from dwconv import activation_gradients, activation_layers, activations

GOLDEN = np.load(Path(__file__).parent / "data" / "keras" / "activations.npz")
ROW_WISE = ("glu", "log_softmax", "softmax", "sparsemax")
ELEMENTWISE = sorted({key.split("/")[0] for key in GOLDEN.files if key.endswith("/special32")})
ARGUMENTS = [
    ("relu", {"max_value": 1.5}),
    ("relu", {"negative_slope": 0.25}),
    ("relu", {"negative_slope": 0.25, "max_value": 1.5}),
    ("relu", {"negative_slope": 0.25, "max_value": -0.1, "threshold": 0.75}),
    ("leaky_relu", {"negative_slope": 0.5}),
    ("elu", {"alpha": 0.5}),
    ("celu", {"alpha": 2.0}),
    ("gelu", {"approximate": True}),
    ("soft_shrink", {"threshold": 1.0}),
    ("soft_shrink", {"threshold": -0.5}),
    ("hard_shrink", {"threshold": 1.0}),
    ("squareplus", {"b": 1.0}),
    ("threshold", {"threshold": 0.25, "default_value": 2.0}),
]
# Relative to max(1, abs(dx)). Keras keeps the constants 0.2 and sqrt(2) in float32; its mish
# cancels.
TOLERANCES = {"32": 1e-6, "64": 1e-14}
COARSE = {("gelu", "64"): 1e-7, ("leaky_relu", "64"): 2e-8, ("mish", "32"): 4e-6}


def gradient(activation, z, dy=None):
    return activation_gradients.get(activation)(z, np.ones_like(z) if dy is None else dy)


def close(name, width, got, expected):
    assert got.dtype == expected.dtype and got.shape == expected.shape
    error = np.max(np.abs(got - expected) / np.maximum(1, np.abs(expected)))
    limit = COARSE.get((name, width), TOLERANCES[width])
    assert error <= limit, f"gradient of {name}, float{width}: error {error:.3g} > {limit:.3g}"


def test_every_function_has_a_gradient():
    for function in activations._FUNCTIONS:
        assert callable(activation_gradients.get(function)), function.__name__
    assert {*ELEMENTWISE, *ROW_WISE, "threshold"} == {f.__name__ for f in activations._FUNCTIONS}


@pytest.mark.parametrize("width", ["32", "64"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_gradients_of_keras_kinks_included(name, width):
    z = GOLDEN["points"].astype("float" + width)
    expected = GOLDEN[f"{name}/dx{width}"].copy()
    if name == "celu":
        expected[z == 0] = 1  # 2 in Keras, an artefact
    kept = z.copy()
    close(name, width, gradient(activations.get(name), z), expected)
    np.testing.assert_array_equal(z, kept)


@pytest.mark.parametrize("width", ["32", "64"])
@pytest.mark.parametrize("name", [name for name in ROW_WISE if name != "sparsemax"])
def test_rows_of_keras(name, width):
    z, dy = GOLDEN["rows"].astype("float" + width), GOLDEN[f"{name}/dy{width}"]
    close(name, width, gradient(activations.get(name), z, dy), GOLDEN[f"{name}/dx{width}"])


@pytest.mark.parametrize(
    ("name", "kinks"),
    [
        ("relu", {0: 0, -0.0: 0}),
        ("relu6", {0: 0, 6: 0}),
        ("leaky_relu", {0: 0.2}),
        ("elu", {0: 1}),
        ("selu", {0: 1.0507009873554805}),
        ("celu", {0: 1}),
        ("softsign", {0: 1}),
        ("hard_sigmoid", {-3: 0, 3: 0}),
        ("hard_tanh", {-1: 1, 1: 1}),
        ("hard_silu", {-3: 0, 3: 1}),
        ("sparse_sigmoid", {-1: 0, 1: 0}),
        ("sparse_plus", {-1: 0, 1: 1}),
        ("soft_shrink", {-0.5: 0, 0.5: 0}),
        ("hard_shrink", {-0.5: 0, 0.5: 0}),
        (functools.partial(activations.relu, max_value=5), {0: 0, 5: 1}),
        (functools.partial(activations.relu, max_value=6), {0: 0, 6: 0}),
        (functools.partial(activations.relu, negative_slope=0.1), {0: 0.1}),
        (functools.partial(activations.relu, threshold=1.0), {0: 0, 1: 1}),
        (functools.partial(activations.elu, alpha=0.5), {0: 0.5}),
        (functools.partial(activations.soft_shrink, threshold=1.0), {1: 0, -1: 0}),
        (activation_layers.ThresholdedReLU(1.0), {1: 0}),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kinks(name, kinks, dtype):
    z = np.array(list(kinks), dtype)
    want = np.array(list(kinks.values()), dtype)
    np.testing.assert_allclose(gradient(activations.get(name), z), want, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "arguments"), [(name, {}) for name in ELEMENTWISE] + ARGUMENTS, ids=str
)
def test_finite_differences(name, arguments):
    function = functools.partial(getattr(activations, name), **arguments)
    z = np.random.default_rng(3).uniform(-5, 5, 2000)
    step = 1e-4
    kinks = np.array([-3, -1, -0.5, 0, 0.25, 0.5, 0.75, 1, 1.5, 3, 6, -0.1])
    # Where relu with a slope reaches a negative limit.
    kinks = np.append(kinks, (-0.1 / 0.25) + 0.75)
    z = z[np.min(np.abs(z[:, None] - kinks), axis=1) > 10 * step]
    five = [function(z + k * step) for k in (-2, -1, 1, 2)]
    want = (five[0] - 8 * five[1] + 8 * five[2] - five[3]) / (12 * step)
    np.testing.assert_allclose(gradient(function, z), want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("name", ROW_WISE)
def test_finite_differences_of_rows(name, axis):
    rng = np.random.default_rng(4)
    function = functools.partial(getattr(activations, name), axis=axis)
    z = rng.standard_normal((2, 4, 6))
    dy = rng.standard_normal(function(z).shape)
    got = gradient(function, z, dy)
    step = 1e-6
    want = np.empty_like(z)
    for at in np.ndindex(z.shape):
        up, down = z.copy(), z.copy()
        up[at] += step
        down[at] -= step
        want[at] = np.sum((function(up) - function(down)) * dy) / (2 * step)
    np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", [*ELEMENTWISE, *ROW_WISE])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_arrays_dtypes_and_empty_arrays(name, dtype):
    function = activations.get(name)
    z = np.random.default_rng(5).standard_normal((3, 70, 90)).astype(dtype)
    dy = np.random.default_rng(6).standard_normal(function(z).shape).astype(dtype)
    got = gradient(function, z, dy)
    assert got.dtype == dtype and got.shape == z.shape
    each = [gradient(function, z[i : i + 1], dy[i : i + 1]) for i in range(3)]
    np.testing.assert_array_equal(got, np.concatenate(each))
    for shape in ((0, 3, 4), (2, 0, 4)):
        empty = np.zeros(shape, dtype)
        got = gradient(function, empty, function(empty))
        assert got.shape == shape and got.dtype == dtype


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_what_is_not_finite(name):
    function = activations.get(name)
    with np.errstate(all="raise"):
        got = gradient(function, np.array([np.nan, 1.25, 1e300, -1e300]))
    assert np.isnan(got[0]) != (name in ("soft_shrink", "hard_shrink", "linear"))
    assert np.isfinite(got[1]) and np.isfinite(got[3])
    if name != "exponential":  # as at less, where all of them have reached their limits
        limits = gradient(function, np.array([1e3, -1e3]))
        np.testing.assert_allclose(got[2:], limits, atol=2e-3)
    for value in (np.nan, np.inf):
        got = gradient(function, np.array([1.25, 1.25]), np.array([value, 1.0]))
        assert not np.isfinite(got[0]) and np.isfinite(got[1])


def test_activation_layers_keep_their_arguments():
    z = np.array([-2.0, -0.5, 0.5, 4.0])
    layers = activation_layers
    for activation, want in (
        (layers.ReLU(3.0, 0.1), [0.1, 0.1, 1, 0]),
        (layers.LeakyReLU(0.3), [0.3, 0.3, 1, 1]),
        (layers.ELU(2.0), [2 * np.exp(-2), 2 * np.exp(-0.5), 1, 1]),
        (layers.ThresholdedReLU(0.5), [0, 0, 0, 1]),
    ):
        np.testing.assert_allclose(gradient(activation, z), want)
    rows, dy = z.reshape(2, 2), np.array([[1.0, 2.0], [3.0, -1.0]])
    np.testing.assert_array_equal(
        gradient(layers.Softmax(0), rows, dy), gradient(layers.Softmax(), rows.T, dy.T).T
    )


def test_own_activations():
    def cube(z):
        return z**3

    z = np.array([1.0, -2.0])
    with pytest.raises(TypeError, match=r"attribute `gradient`.*\(z, dy\).*cube"):
        activation_gradients.get(cube)
    with pytest.raises(TypeError, match="attribute `gradient`"):
        activation_gradients.get(functools.partial(activations.relu, 0.5))
    cube.gradient = lambda z, dy: 3 * z**2 * dy
    np.testing.assert_array_equal(gradient(cube, z, np.array([2.0, 1.0])), [6, 12])
    cube.gradient = lambda z, dy: np.float32(1)
    with pytest.raises(ValueError, match=r"shape \(2,\).*Received.*cube.*shape=\(\)"):
        gradient(cube, z)
