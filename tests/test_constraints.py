# SPDX-License-Identifier: BSD-3-Clause
"""Constraints against recorded Keras results, their limits and configurations."""

import json
from pathlib import Path

import numpy as np
import pytest
from dwconv import constraints

KERAS = Path(__file__).parent / "data" / "keras"
CASES = json.loads((KERAS / "extras.json").read_text())["constraints"]
ARRAYS = np.load(KERAS / "extras.npz")
ALL = [constraints.MaxNorm, constraints.NonNeg, constraints.UnitNorm, constraints.MinMaxNorm]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['class_name']}-{case['kwargs']}")
def test_results_of_keras(case):
    constraint = getattr(constraints, case["class_name"])(**case["kwargs"])
    compared = 0
    for name, rtol in (("w32", 5e-7), ("w64", 1e-12), ("b32", 5e-7)):
        key = f"{case['key']}/{name}"
        if key in ARRAYS.files:
            w = ARRAYS[name[0]].astype("float" + name[1:])
            kept = w.copy()
            result = constraint(w)
            assert result.dtype == w.dtype and not np.shares_memory(result, w)
            np.testing.assert_array_equal(w, kept)
            np.testing.assert_allclose(result, ARRAYS[key], rtol=rtol, atol=0)
            compared += 1
    assert compared >= 2
    assert constraint.get_config() == case["config"]
    stored = json.loads(json.dumps(constraints.serialize(constraint)))
    again = constraints.deserialize(stored)
    assert constraints.serialize(again) == stored
    np.testing.assert_array_equal(again(ARRAYS["w"]), constraint(ARRAYS["w"]))


def test_axis_none_is_the_norm_of_all_weights():
    w = np.random.default_rng(5).standard_normal((3, 2, 2))
    np.testing.assert_allclose(np.linalg.norm(constraints.UnitNorm(axis=None)(w)), 1, rtol=1e-6)


def test_max_norm_limits_each_filter():
    w = np.random.default_rng(6).standard_normal((5, 4, 3)).astype("float32") * 4
    norms = np.linalg.norm(constraints.MaxNorm(1.5)(w), axis=0)
    assert norms.shape == (4, 3) and norms.max() <= 1.5


def test_zeros_and_infinities():
    zeros = np.zeros((3, 2), "float32")
    for cls in ALL:
        np.testing.assert_array_equal(cls()(zeros), zeros)
    np.testing.assert_array_equal(constraints.MinMaxNorm(0.5, 1.0)(zeros), zeros)
    np.testing.assert_array_equal(constraints.NonNeg()(np.array([-np.inf, np.inf])), [0, np.inf])
    assert np.isnan(constraints.NonNeg()(np.array([np.nan])))
    assert np.isnan(constraints.UnitNorm()(np.array([np.nan, 1]))).all()


def test_large_float32_weights_do_not_overflow():
    w = np.array([3e30, 4e30], "float32")
    np.testing.assert_allclose(constraints.UnitNorm()(w), [0.6, 0.8], rtol=1e-6)


def test_base_class_does_nothing():
    w = np.array([-1.0, 2.0])
    result = constraints.get("Constraint")(w)
    np.testing.assert_array_equal(result, w)
    assert not np.shares_memory(result, w)


@pytest.mark.parametrize(
    ("names", "cls"),
    [
        (("MaxNorm", "max_norm", "maxnorm"), constraints.MaxNorm),
        (("NonNeg", "non_neg", "nonneg"), constraints.NonNeg),
        (("UnitNorm", "unit_norm", "unitnorm"), constraints.UnitNorm),
        (("MinMaxNorm", "min_max_norm"), constraints.MinMaxNorm),
    ],
)
def test_names(names, cls):
    for name in names:
        assert type(constraints.get(name)) is cls
        assert getattr(constraints, name) is cls
    assert type(constraints.get(cls)) is cls
    assert constraints.get(np.abs) is np.abs


@pytest.mark.parametrize("name", ["radial_constraint", "RadialConstraint"])
def test_radial_constraint_is_unknown_as_in_keras_3(name):
    with pytest.raises(ValueError, match="^Could not interpret constraint identifier: [rR]adial"):
        constraints.get(name)


@pytest.mark.parametrize("cls", [constraints.MaxNorm, constraints.UnitNorm, constraints.MinMaxNorm])
def test_bad_axis(cls):
    for bad in ("a", 0.5, [0, "a"]):
        with pytest.raises(TypeError, match="`axis` must be an integer.*Received: axis="):
            cls(axis=bad)
    with pytest.raises(ValueError, match="axis 5 is out of bounds"):
        cls(axis=5)(np.ones((2, 2)))


def test_bad_limits():
    for bad in (-1, float("nan")):
        with pytest.raises(ValueError, match="`max_value` must not be negative or NaN"):
            constraints.MaxNorm(bad)
    for bad in ("a", None, [1]):
        with pytest.raises(TypeError, match="`max_value` must be a number. Received: max_value="):
            constraints.MaxNorm(bad)
    with pytest.raises(ValueError, match="min_value=2.0, max_value=1.0"):
        constraints.MinMaxNorm(2.0, 1.0)
    for bad in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="`rate` must be between 0 and 1. Received: rate="):
            constraints.MinMaxNorm(rate=bad)


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("bad", [np.ones(2, "float16"), np.ones(2, complex), ["a"], None])
def test_other_dtypes_are_refused(cls, bad):
    with pytest.raises(TypeError, match="`w` must have dtype float32 or float64"):
        cls()(bad)
