# SPDX-License-Identifier: BSD-3-Clause
"""Regularizers against recorded Keras values, their coefficients and configurations."""

import json
from pathlib import Path

import numpy as np
import pytest
from dwconv import config, regularizers

KERAS = Path(__file__).parent / "data" / "keras"
CASES = json.loads((KERAS / "extras.json").read_text())["regularizers"]
ARRAYS = np.load(KERAS / "extras.npz")
BAD_COEFFICIENTS = [-1, -1e-9, float("inf"), float("nan"), "a", [1.0], np.ones(1), 1j]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['class_name']}-{case['kwargs']}")
def test_values_of_keras(case):
    regularizer = getattr(regularizers, case["class_name"])(**case["kwargs"])
    for name in ("w", "b"):
        value = regularizer(ARRAYS[name].astype("float64"))
        assert type(value) is np.float64
        np.testing.assert_allclose(value, case[f"value_{name}"], rtol=1e-7)
        value = regularizer(ARRAYS[name])
        assert type(value) is np.float32
        np.testing.assert_allclose(value, case[f"value_{name}"], rtol=2e-7)


def test_sums_are_exact_in_float32():
    w = np.full(2**24 + 4, 1, "float32")
    assert regularizers.L1(1.0)(w) == np.float32(2**24 + 4)


def test_overflow_is_infinite_and_silent():
    w = np.full(4, 3e38, "float32")
    assert regularizers.L2(1.0)(w) == np.inf
    assert regularizers.L1(1.0)(w) == np.inf
    assert np.isnan(regularizers.L2()(np.array([np.nan, 1])))


def test_empty_array():
    assert regularizers.L1L2(1, 1)(np.zeros((0, 3, 2), "float32")) == 0


@pytest.mark.parametrize("cls", [regularizers.L1, regularizers.L2, regularizers.L1L2])
@pytest.mark.parametrize("bad", [np.ones(2, "float16"), 1j, "a", None])
def test_other_dtypes_are_refused(cls, bad):
    with pytest.raises(TypeError, match="`x` must have dtype float32 or float64"):
        cls()(bad)


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("l1", {"l1": 0.009999999776482582}),
        ("L1", {"l1": 0.009999999776482582}),
        ("l2", {"l2": 0.01}),
        ("l1l2", {"l1": 0.0, "l2": 0.0}),
        ("L1L2", {"l1": 0.0, "l2": 0.0}),
        ("orthogonal_regularizer", {"factor": 0.009999999776482582, "mode": "rows"}),
        (regularizers.L2, {"l2": 0.01}),
        (regularizers.L1(None), {"l1": 0.009999999776482582}),
        (regularizers.L2(None), {"l2": 0.01}),
        (regularizers.L1L2(None, None), {"l1": 0.0, "l2": 0.0}),
        (regularizers.L1L2(1, np.float64(0.5)), {"l1": 1.0, "l2": 0.5}),
        ({"class_name": "L2", "config": {"l2": 0.5}}, {"l2": 0.5}),
    ],
)
def test_configurations(identifier, expected):
    stored = json.loads(json.dumps(regularizers.serialize(regularizers.get(identifier))))
    assert stored["module"] == "keras.regularizers"
    assert stored["config"] == expected
    assert regularizers.serialize(regularizers.get(stored)) == stored


def test_coefficients_are_not_rounded_with_floatx_float64():
    config.set_floatx("float64")
    try:
        assert regularizers.L1(0.1).get_config() == {"l1": 0.1}
    finally:
        config.set_floatx("float32")
    assert regularizers.L1(0.1).get_config() == {"l1": float(np.float32(0.1))}


def test_functions_are_the_classes():
    assert regularizers.l1 is regularizers.L1 and regularizers.l2 is regularizers.L2
    assert regularizers.l1_l2 is regularizers.L1L2
    assert regularizers.orthogonal_regularizer is regularizers.OrthogonalRegularizer


def test_l1_l2_by_name_is_refused():
    with pytest.raises(ValueError, match="^Could not interpret regularizer identifier: l1_l2"):
        regularizers.get("l1_l2")


def test_callables_are_kept():
    assert regularizers.get(np.sum) is np.sum


@pytest.mark.parametrize("bad", BAD_COEFFICIENTS, ids=repr)
@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (regularizers.L1, "l1"),
        (regularizers.L2, "l2"),
        (regularizers.L1L2, "l1"),
        (regularizers.L1L2, "l2"),
        (regularizers.OrthogonalRegularizer, "factor"),
    ],
)
def test_bad_coefficients(cls, name, bad):
    with pytest.raises(
        ValueError,
        match=f"Invalid value for argument {name}: expected a non-negative.*Received: {name}=",
    ):
        cls(**{name: bad})


def test_coefficient_beyond_float32():
    with pytest.raises(ValueError, match="Received: l1=inf"):
        regularizers.L1(1e300)


def test_base_class_is_abstract():
    with pytest.raises(NotImplementedError, match="must implement"):
        regularizers.get("Regularizer")(np.ones(2))


# OrthogonalRegularizer


@pytest.mark.parametrize("mode", ["rows", "columns"])
def test_orthogonal_regularizer(mode):
    x = np.random.default_rng(4).standard_normal((4, 3))
    vectors = x if mode == "rows" else x.T
    total = 0.0
    for i, a in enumerate(vectors):
        for b in vectors[:i]:
            total += abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b)
    pairs = len(vectors) * (len(vectors) - 1) / 2
    regularizer = regularizers.OrthogonalRegularizer(0.5, mode)
    np.testing.assert_allclose(regularizer(x), 0.5 * total / pairs, rtol=1e-12)


def test_orthogonal_regularizer_special_cases():
    regularizer = regularizers.OrthogonalRegularizer(1.0)
    assert regularizer(np.eye(3)) == 0
    assert regularizer(np.ones((1, 3))) == 0
    assert regularizer(np.array([[1.0, 0.0], [0.0, 0.0]])) == 0
    np.testing.assert_allclose(regularizer(np.array([[1.0, 1.0], [2.0, 2.0]])), 1)


@pytest.mark.parametrize("shape", [(3, 3, 1), (4,)])
def test_orthogonal_regularizer_needs_rank_2(shape):
    with pytest.raises(ValueError, match="OrthogonalRegularizer must have rank 2") as error:
        regularizers.OrthogonalRegularizer()(np.ones(shape))
    assert f"Received: inputs.shape={shape}" in str(error.value)


def test_orthogonal_regularizer_mode():
    with pytest.raises(ValueError, match="`mode`.*Received: mode=diagonal"):
        regularizers.OrthogonalRegularizer(mode="diagonal")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("regularizer", "expected"),
    [
        (regularizers.L1(0.5), [[0.5, -0.5], [0, 0.5], [-0.5, 0]]),
        (regularizers.L2(0.5), [[2, -1], [0, 3], [-0.5, 0]]),
        (regularizers.L1L2(0.5, 0.25), [[1.5, -1], [0, 2], [-0.75, 0]]),
    ],
)
def test_gradients(regularizer, expected, dtype):
    w = np.array([[2, -1], [0, 3], [-0.5, -0.0]], dtype)
    gradient = regularizer.gradient(w)
    assert gradient.dtype == dtype
    np.testing.assert_array_equal(gradient, expected)
    with np.errstate(all="raise"):
        gradient = regularizer.gradient(np.array([np.nan, np.inf, -np.finfo(dtype).max], dtype))
    assert np.isnan(gradient[0]) and gradient[1] > 0 > gradient[2]
    assert regularizer.gradient(np.zeros((0, 3), dtype)).shape == (0, 3)


@pytest.mark.parametrize("mode", ["rows", "columns"])
def test_gradient_of_the_orthogonal_regularizer(mode):
    regularizer = regularizers.OrthogonalRegularizer(2.0, mode)
    w = np.random.default_rng(3).standard_normal((4, 3))
    gradient = regularizer.gradient(w)
    for at in np.ndindex(w.shape):
        step = np.zeros(w.shape)
        step[at] = 1e-6
        want = (regularizer(w + step) - regularizer(w - step)) / 2e-6
        assert abs(gradient[at] - want) <= 1e-8, f"{mode} {at}: {gradient[at]}, {want}"
    assert regularizer.gradient(w.astype("float32")).dtype == np.float32
    assert not regularizer.gradient(np.eye(3)).any() and not regularizer.gradient(np.ones((1, 1)))
    zero = w * ([[0], [1], [1], [1]] if mode == "rows" else [0, 1, 1])
    assert np.isfinite(regularizer.gradient(zero)).all()
    with pytest.raises(ValueError, match="rank 2"):
        regularizer.gradient(np.ones(3))


def test_the_base_class_has_no_gradient():
    with pytest.raises(NotImplementedError, match=r"`gradient\(\)`"):
        regularizers.Regularizer().gradient(np.ones(3))
