# SPDX-License-Identifier: BSD-3-Clause
"""Activations against recorded Keras results, their limits, names and serialization."""

import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from dwconv import activation_layers, activations, config
from dwconv.special import erfc

GOLDEN = np.load(Path(__file__).parent / "data" / "keras" / "activations.npz")
NAMES = sorted({key.split("/")[0] for key in GOLDEN.files if "/" in key})
ROW_WISE = ("glu", "log_softmax", "softmax", "sparsemax")
ELEMENTWISE = [name for name in NAMES if name not in ROW_WISE]
WIDTHS = ("32", "64")
# Relative to max(1, abs(y)). Keras keeps the constants 0.2 and sqrt(2) in float32.
TOLERANCES = {"32": 1e-6, "64": 1e-14}
COARSE = {("gelu", "64"): 1e-8, ("leaky_relu", "64"): 2e-8}


def close(name, width, got, expected):
    assert got.dtype == expected.dtype and got.shape == expected.shape
    error = np.max(np.abs(got - expected) / np.maximum(1, np.abs(expected)))
    limit = COARSE.get((name, width), TOLERANCES[width])
    assert error <= limit, f"activations.{name}, float{width}: error {error:.3g} > {limit:.3g}"


def test_golden_covers_all_functions():
    assert set(NAMES) == {f.__name__ for f in activations._FUNCTIONS} - {"threshold"}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_values_of_keras(name, width):
    x = GOLDEN["points"].astype("float" + width)
    kept = x.copy()
    close(name, width, activations.get(name)(x), GOLDEN[f"{name}/y{width}"])
    np.testing.assert_array_equal(x, kept)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", [name for name in ROW_WISE if name != "sparsemax"])
def test_rows_of_keras(name, width):
    x = GOLDEN["rows"].astype("float" + width)
    close(name, width, activations.get(name)(x), GOLDEN[f"{name}/y{width}"])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_infinities_and_nan(name, width):
    x = GOLDEN["special"].astype("float" + width)
    expected = GOLDEN[f"{name}/special{width}"].copy()
    if name == "squareplus":
        expected[1] = 0  # the limit; Keras computes inf - inf
    np.testing.assert_allclose(activations.get(name)(x), expected, rtol=1e-7)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_huge_inputs_neither_warn_nor_become_nan(name, width):
    largest = np.finfo("float" + width).max
    y = activations.get(name)(np.array([-largest, -1e4, 1e4, largest], "float" + width))
    assert not np.isnan(y).any(), f"activations.{name}, float{width}: {y}"
    assert np.all(y[1:] >= y[:-1]), f"activations.{name}, float{width}: {y}"


@pytest.mark.parametrize("name", NAMES)
def test_dtype_shape_and_layout(name):
    function = activations.get(name)
    x = np.linspace(-3, 3, 24).reshape(2, 3, 4)
    expected = function(x)
    for dtype in ("<f4", ">f4", "<f8", ">f8"):
        y = function(np.asfortranarray(x.astype(dtype)))
        assert y.dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    assert function(np.zeros((0, 3, 4), "float32")).shape[:2] == (0, 3)
    if name not in ROW_WISE:
        assert function(np.float32(0.25)).dtype == np.float32
        assert function(np.zeros((3, 0))).shape == (3, 0)


def test_lists_and_integers_become_floatx():
    assert activations.relu([-1, 2]).dtype == np.float32
    config.set_floatx("float64")
    try:
        assert activations.relu(np.arange(3)).dtype == np.float64
    finally:
        config.set_floatx("float32")


@pytest.mark.parametrize("bad", [1j, np.ones(2, "float16"), ["a"], None, [object()]])
def test_other_dtypes_are_refused(bad):
    with pytest.raises(TypeError, match="dtype.*[Rr]eceived: x="):
        activations.tanh(bad)


def test_linear_returns_its_argument():
    x = np.ones(3)
    assert activations.linear(x) is x


def test_erfc_is_accurate_to_a_few_units_in_the_last_place():
    rng = np.random.default_rng(1)
    edges = (-7, -0.46875, 0.0, 0.46875, 4, 26.5)
    x = np.concatenate([rng.uniform(a, b, 2000) for a, b in zip(edges, edges[1:], strict=False)])
    x = np.concatenate([x, edges, [1e-300, 4.000000001, 0.46875000001]])
    expected = np.array([math.erfc(value) for value in x])
    error = np.abs(erfc(x) - expected) / np.spacing(expected)
    assert error.max() <= 8, f"erfc({x[error.argmax()]!r}): {error.max()} units"


def test_erf_is_accurate_to_two_units_in_the_last_place():
    x = np.random.default_rng(2).uniform(-6, 6, 5000)
    expected = np.array([math.erf(value) for value in x])
    error = np.abs((1 - erfc(np.abs(x))) * np.sign(x) - expected)
    assert np.max(error) <= 2.3e-16


def test_gelu_keeps_the_digits_of_its_left_tail():
    x = np.array([-5.0, -10.0, -30.0])
    expected = [0.5 * v * math.erfc(-v / math.sqrt(2)) for v in x]
    np.testing.assert_allclose(activations.gelu(x), expected, rtol=1e-12)


def test_squareplus_does_not_cancel():
    for dtype in ("float32", "float64"):
        y = activations.squareplus(np.array([-1e4], dtype))
        np.testing.assert_allclose(y, 1e-4, rtol=1e-6)
    with pytest.raises(ValueError, match="`b` must not be negative. Received: b=-1"):
        activations.squareplus(np.ones(2), b=-1)


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_sparsemax_is_the_projection_onto_the_simplex(axis):
    x = np.random.default_rng(3).normal(0, 2, (4, 5, 6))
    p = activations.sparsemax(x, axis=axis)
    np.testing.assert_allclose(p.sum(axis=axis), 1, rtol=1e-14)
    assert p.min() == 0 and np.count_nonzero(p) < p.size
    # Optimality of a projection: x - p is constant where p > 0 and not larger elsewhere.
    rest = x - p
    tau = np.max(rest, axis=axis, keepdims=True)
    np.testing.assert_allclose(np.where(p > 0, rest - tau, 0), 0, atol=1e-14)


def test_sparsemax_of_ties_and_shifts():
    np.testing.assert_allclose(activations.sparsemax(np.zeros((2, 4))), 0.25)
    np.testing.assert_array_equal(activations.sparsemax([3.0, 1.0, 0.0]), [1, 0, 0])
    np.testing.assert_allclose(activations.sparsemax(np.array([1e8, 1e8 + 1])), [0, 1])
    assert activations.sparsemax(np.zeros((2, 0))).shape == (2, 0)


def test_softmax_of_large_inputs_sums_to_one():
    x = np.array([[1e4, 1e4, -1e4], [-3e38, 0, 0]], "float32")
    np.testing.assert_allclose(activations.softmax(x), [[0.5, 0.5, 0], [0, 0.5, 0.5]])
    np.testing.assert_allclose(np.exp(activations.log_softmax(x)), activations.softmax(x))


def test_glu_refuses_an_odd_axis():
    with pytest.raises(ValueError, match=r"even number.*axis=-1.*shape=\(2, 3\)"):
        activations.glu(np.ones((2, 3)))


def test_optional_arguments():
    x = np.array([-2.0, -0.25, 0.5, 3.0])
    np.testing.assert_allclose(activations.leaky_relu(x, 0.5), [-1, -0.125, 0.5, 3])
    np.testing.assert_allclose(
        activations.relu(x, negative_slope=0.1, max_value=2, threshold=0.5), [-0.25, -0.075, 0.5, 2]
    )
    np.testing.assert_allclose(activations.elu(x, alpha=2)[:2], 2 * np.expm1(x[:2]))
    np.testing.assert_allclose(activations.celu(x, alpha=2)[:2], 2 * np.expm1(x[:2] / 2))
    np.testing.assert_allclose(activations.soft_shrink(x, 0.25), [-1.75, 0, 0.25, 2.75])
    np.testing.assert_allclose(activations.hard_shrink(x, 1), [-2, 0, 0, 3])
    np.testing.assert_allclose(activations.threshold(x, 0, -7), [-7, -7, 0.5, 3])
    approximate = activations.gelu(x, approximate=True)
    np.testing.assert_allclose(approximate, activations.gelu(x), atol=1e-3)
    assert not np.array_equal(approximate, activations.gelu(x))
    np.testing.assert_allclose(activations.squareplus(x, b=0), np.maximum(x, 0))


# Names and serialization.


def test_aliases_and_names():
    assert activations.swish is activations.silu
    assert activations.hard_swish is activations.hard_silu
    assert activations.get(None) is activations.linear
    for name in NAMES:
        function = activations.get(name)
        assert function is getattr(activations, name) and function.__name__ == name
        assert activations.serialize(function) == name
        assert pickle.loads(pickle.dumps(function)) is function
    assert activations.serialize(activations.get("swish")) == "silu"
    assert activations.serialize(activations.get("hard_swish")) == "hard_silu"
    assert activations.serialize(None) == "linear"


def test_threshold_by_name_fails_when_called():
    function = activations.get("threshold")
    with pytest.raises(TypeError, match="threshold.*default_value"):
        function(np.ones(2))


@pytest.mark.parametrize("bad", ["no_such", "RELU", "PReLU", 1, 0.5, [], {}, np.ones(3)])
def test_unknown_identifiers(bad):
    shown = "array of shape (3,) and dtype float64" if isinstance(bad, np.ndarray) else str(bad)
    with pytest.raises(ValueError) as error:
        activations.get(bad)
    message = str(error.value)
    assert message.startswith(f"Could not interpret activation function identifier: {shown}.")
    assert "'relu'" in message


@pytest.mark.parametrize(
    "bad",
    [
        {"class_name": "Nope", "config": {}},
        {"class_name": ["relu"], "config": {}},
        {"class_name": "LeakyReLU", "config": 3},
        {"module": "os", "class_name": "relu", "config": {}},
        {"module": "builtins", "class_name": "function", "config": "relu"},
    ],
)
def test_bad_configurations(bad):
    with pytest.raises(ValueError, match="Could not interpret activation function identifier"):
        activations.get(bad)


def test_own_functions_need_custom_objects():
    def doubled(x):
        return 2 * x

    stored = json.loads(json.dumps(activations.serialize(doubled)))
    assert stored == {
        "module": "builtins",
        "class_name": "function",
        "config": "doubled",
        "registered_name": "function",
    }
    with pytest.raises(ValueError, match="custom_objects"):
        activations.deserialize(stored)
    assert activations.deserialize(stored, {"doubled": doubled}) is doubled
    assert activations.get("doubled", {"doubled": doubled}) is doubled
    assert activations.get(doubled) is doubled


@pytest.mark.parametrize(
    ("identifier", "expected", "stored"),
    [
        ("ReLU", [-0.0, 2.0], {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}),
        ("LeakyReLU", [-0.3, 2.0], {"negative_slope": 0.3}),
        ("ELU", [math.expm1(-1), 2.0], {"alpha": 1.0}),
        ("Softmax", [1 / (1 + math.e**3), 1 / (1 + math.e**-3)], {"axis": -1}),
        ("ThresholdedReLU", [0.0, 2.0], {"theta": 1.0}),
        (
            {"class_name": "LeakyReLU", "config": {"name": "a", "dtype": "float32", "alpha": 0.5}},
            [-0.5, 2.0],
            {"negative_slope": 0.5},
        ),
        (activation_layers.ReLU(max_value=1.5), [0.0, 1.5], None),
    ],
)
def test_activation_layers(identifier, expected, stored):
    activation = activations.get(identifier)
    x = np.array([-1.0, 2.0])
    np.testing.assert_allclose(activation(x), expected)
    configuration = json.loads(json.dumps(activations.serialize(activation)))
    assert configuration["module"] == "keras.layers" and configuration["registered_name"] is None
    if stored is not None:
        assert configuration["config"] == stored
    again = activations.deserialize(configuration)
    np.testing.assert_array_equal(again(x), activation(x))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(activation))(x), activation(x))


def test_activation_layer_arguments_are_checked():
    with pytest.raises(ValueError, match="`negative_slope` must not be negative"):
        activation_layers.LeakyReLU(-1)
    with pytest.raises(TypeError, match="`alpha` must be a number. Received: alpha=a"):
        activation_layers.ELU("a")
    with pytest.raises(TypeError, match="`axis` must be an integer"):
        activation_layers.Softmax(0.5)
