# SPDX-License-Identifier: BSD-3-Clause
"""Initializers: distributions, seeds, shapes, names and configurations."""

import copy
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from dwconv import config, initializers

CONFIGS = json.loads((Path(__file__).parent / "data" / "keras" / "configs.json").read_text())
KERNEL = (7, 50, 40)  # fan_in 350, fan_out 280, 14000 values
CUT = 0.87962566103423978  # standard deviation of a unit normal cut at 2
RANDOM = (
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "LecunNormal",
    "LecunUniform",
    "Orthogonal",
)


# Distributions. The mean of n values is within 5 stddev / sqrt(n) of the true one and their
# standard deviation within 5 / sqrt(2 n) of it, practically always.


def moments_are(values, mean, stddev):
    n = values.size
    assert abs(values.mean() - mean) <= 5 * stddev / math.sqrt(n)
    assert abs(values.std() / stddev - 1) <= 5 / math.sqrt(2 * n)


@pytest.mark.parametrize("seed", [0, 1, None])
@pytest.mark.parametrize(
    ("name", "scale", "fan"),
    [("glorot", 1, 315), ("he", 2, 350), ("lecun", 1, 350)],
)
def test_scaled_distributions(name, scale, fan, seed):
    stddev = math.sqrt(scale / fan)
    uniform = getattr(initializers, name + "_uniform")(seed=seed)(KERNEL, "float64")
    moments_are(uniform, 0, stddev)
    limit = math.sqrt(3) * stddev
    assert 0.999 * limit < np.abs(uniform).max() <= limit
    normal = getattr(initializers, name + "_normal")(seed=seed)(KERNEL, "float64")
    moments_are(normal, 0, stddev)
    assert 0.97 * 2 * stddev / CUT < np.abs(normal).max() <= 2 * stddev / CUT


def test_uniform_values_fill_their_interval_evenly():
    values = initializers.RandomUniform(-1, 3, seed=2)((40000,), "float64")
    counts, _ = np.histogram(values, 20, (-1, 3))
    assert counts.sum() == 40000
    assert np.sum((counts - 2000) ** 2 / 2000) < 55  # chi-square, 19 degrees of freedom


def test_truncated_normal_has_the_shape_of_the_normal_inside_the_cut():
    values = initializers.TruncatedNormal(mean=3, stddev=0.5, seed=3)((40000,), "float64")
    moments_are(values, 3, 0.5 * CUT)
    assert np.abs(values - 3).max() <= 1
    inside = np.mean(np.abs(values - 3) <= 0.5)
    expected = math.erf(1 / math.sqrt(2)) / math.erf(2 / math.sqrt(2))
    assert abs(inside - expected) < 5 * math.sqrt(expected * (1 - expected) / 40000)


def test_normal_is_not_cut():
    values = initializers.RandomNormal(mean=-1, stddev=0.25, seed=4)((40000,), "float64")
    moments_are(values, -1, 0.25)
    outside = np.mean(np.abs(values + 1) > 0.5)
    assert 0.035 < outside < 0.056  # 0.0455 expected


def test_uniform_never_reaches_its_upper_end():
    top = np.float32(1) + np.float32(2) ** -23
    values = initializers.RandomUniform(1.0, float(top), seed=5)((1000,))
    assert values.max() < top and values.min() == 1
    assert np.all(initializers.RandomUniform(0.5, 0.5)((10,)) == 0.5)


@pytest.mark.parametrize(
    ("kwargs", "stddev"),
    [
        ({}, math.sqrt(1 / 350)),
        ({"scale": 3.0, "mode": "fan_out"}, math.sqrt(3 / 280)),
        ({"mode": "fan_avg", "distribution": "uniform"}, math.sqrt(1 / 315)),
        ({"distribution": "Untruncated_Normal"}, math.sqrt(1 / 350)),
        ({"distribution": "normal"}, math.sqrt(1 / 350)),
        ({"input_axes": [0], "output_axes": [1, 2]}, math.sqrt(1 / 7)),
        ({"input_axes": [0], "output_axes": (-1,), "mode": "fan_out"}, math.sqrt(1 / 40)),
        ({"input_axes": [0]}, math.sqrt(1 / 350)),
    ],
)
def test_variance_scaling(kwargs, stddev):
    values = initializers.VarianceScaling(**kwargs, seed=6)(KERNEL, "float64")
    moments_are(values, 0, stddev)
    cut = np.abs(values).max() <= 2 * stddev / CUT
    assert cut == (kwargs.get("distribution") != "Untruncated_Normal")


@pytest.mark.parametrize(
    ("shape", "fan_in"), [((90,), 90), ((30, 60), 30), ((3, 20, 30), 60), ((2, 2, 5, 30), 20)]
)
def test_fans_by_rank(shape, fan_in):
    values = initializers.LecunUniform(seed=7)(shape, "float64")
    limit = math.sqrt(3 / fan_in)
    assert 0.9 * limit < np.abs(values).max() <= limit


def test_variance_scaling_of_a_scalar():
    assert abs(initializers.GlorotUniform(seed=8)((), "float64")) <= math.sqrt(3)


@pytest.mark.parametrize("shape", [(5, 4, 3), (2, 3, 17), (4, 4), (3, 2, 6), (7, 1), (2, 2, 3, 5)])
def test_orthogonal(shape):
    values = initializers.Orthogonal(gain=1.5, seed=9)(shape, "float64")
    matrix = values.reshape(-1, shape[-1]) / 1.5
    rows, columns = matrix.shape
    product = matrix.T @ matrix if rows >= columns else matrix @ matrix.T
    np.testing.assert_allclose(product, np.eye(min(rows, columns)), atol=1e-14)


def test_orthogonal_signs_are_random():
    corners = [initializers.Orthogonal(seed=seed)((4, 4), "float64")[0, 0] for seed in range(60)]
    assert 15 < sum(corner > 0 for corner in corners) < 45


# Seeds


@pytest.mark.parametrize("name", RANDOM)
def test_instances_are_stateless(name):
    cls = getattr(initializers, name)
    unseeded = cls()
    np.testing.assert_array_equal(unseeded((4, 3, 2)), unseeded((4, 3, 2)))
    assert not np.array_equal(unseeded((4, 3, 2)), cls()((4, 3, 2)))
    np.testing.assert_array_equal(cls(seed=5)((4, 3, 2)), cls(seed=5)((4, 3, 2)))
    assert not np.array_equal(cls(seed=5)((4, 3, 2)), cls(seed=6)((4, 3, 2)))
    assert not np.array_equal(cls(seed=5)((4, 3, 2)), cls(seed=-5)((4, 3, 2)))
    for twin in (copy.deepcopy(unseeded), pickle.loads(pickle.dumps(unseeded))):
        np.testing.assert_array_equal(unseeded((4, 3, 2)), twin((4, 3, 2)))
    assert unseeded.get_config()["seed"] is None
    assert not np.array_equal(unseeded((4, 3, 2)), unseeded.clone()((4, 3, 2)))


@pytest.mark.parametrize("name", RANDOM)
def test_float32_is_the_rounded_float64(name):
    initializer = getattr(initializers, name)(seed=10)
    wide, narrow = initializer((4, 3, 2), "float64"), initializer((4, 3, 2), "float32")
    assert wide.dtype == np.float64 and narrow.dtype == np.float32
    np.testing.assert_allclose(narrow, wide, rtol=1e-7)


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("bad", ["a", 1.5, [1], np.ones(2)], ids=repr)
def test_bad_seeds(name, bad):
    with pytest.raises(ValueError, match="`seed` must be an integer or None. Received: seed="):
        getattr(initializers, name)(seed=bad)


# Fixed values


def test_zeros_ones_and_constant():
    np.testing.assert_array_equal(initializers.Zeros()((2, 3)), np.zeros((2, 3)))
    np.testing.assert_array_equal(initializers.Ones()((2, 3)), np.ones((2, 3)))
    np.testing.assert_array_equal(initializers.Constant(-2.5)((2, 3)), np.full((2, 3), -2.5))
    np.testing.assert_array_equal(initializers.Constant()((2,)), [0, 0])
    np.testing.assert_array_equal(initializers.Constant([1.0, 2.0])((2, 2)), [[1, 2], [1, 2]])
    assert initializers.Constant(3)((2,)).flags.writeable


@pytest.mark.parametrize("name", sorted(initializers._OBJECTS))
def test_dtype_and_memory(name):
    if name.lower() == "initializer":
        return
    shape = (3, 2) if "dentity" in name else (3, 2, 4)
    initializer = initializers.get(name)
    assert initializer(shape).dtype == np.float32
    assert initializer(list(shape), np.float64).dtype == np.float64
    first = initializer(shape)
    assert first.shape == shape and first.flags.c_contiguous and first.flags.writeable
    kept = first.copy()
    initializer(shape)[...] = 7
    np.testing.assert_array_equal(initializer(shape), kept)
    for bad in ("int32", "float16", "bfloat16", "complex64", "nonsense"):
        with pytest.raises(TypeError, match=f"dtype {bad} is not supported.*dtype={bad}"):
            initializer(shape, bad)
    config.set_floatx("float64")
    try:
        assert initializer(shape).dtype == np.float64
    finally:
        config.set_floatx("float32")


def test_arrays_as_initializers():
    values = np.arange(6.0).reshape(2, 3)
    initializer = initializers.get(values)
    values[:] = 0  # the initializer has its own copy
    np.testing.assert_array_equal(initializer((2, 3)), np.arange(6.0).reshape(2, 3))
    for shape in ((3, 2), (2, 2, 3), (3,), (6,)):
        with pytest.raises(ValueError, match="Expected `shape` to be .2, 3.") as error:
            initializer(shape)
        assert f"Received: shape={shape}" in str(error.value)
    stored = json.loads(json.dumps(initializers.serialize(initializer)))
    assert stored["class_name"] == "Constant" and stored["module"] == "keras.initializers"
    np.testing.assert_array_equal(initializers.get(stored)((2, 3)), initializer((2, 3)))
    assert initializers.serialize(initializers.get(stored)) == stored


def test_constant_errors():
    with pytest.raises(ValueError, match=r"`value` cannot be broadcast.*shape=\(2, 2\)"):
        initializers.Constant([1.0, 2.0, 3.0])((2, 2))
    for bad in ("a", None, {}, 1j):
        with pytest.raises(TypeError, match="`value` must be a number. Received: value="):
            initializers.Constant(bad)
    with pytest.raises(TypeError, match="dtype"):
        initializers.get(np.array(["a"]))


def test_identity():
    np.testing.assert_array_equal(initializers.Identity(2.0)((3, 2)), 2 * np.eye(3, 2))
    with pytest.raises(ValueError) as error:
        initializers.Identity()((3, 3, 1))
    assert str(error.value) == (
        "Identity matrix initializer can only be used for 2D matrices. "
        "Received: shape=(3, 3, 1) of rank 3."
    )


# Arguments


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"scale": 0}, ValueError, "Argument `scale` must be positive float. Received: scale=0"),
        ({"scale": -1.0}, ValueError, "Argument `scale` must be positive"),
        ({"scale": float("nan")}, ValueError, "`scale` must be finite"),
        ({"scale": "a"}, TypeError, "`scale` must be a number"),
        ({"mode": "FAN_IN"}, ValueError, "Invalid `mode` argument: FAN_IN. Please use one of"),
        ({"mode": None}, ValueError, "Invalid `mode` argument: None"),
        ({"distribution": "x"}, ValueError, "Invalid `distribution` argument: x. Please use"),
        ({"distribution": 3}, ValueError, "Invalid `distribution` argument: 3"),
        ({"input_axes": "a"}, TypeError, "`input_axes` must be a list of integers"),
        ({"output_axes": [0.5]}, TypeError, "`output_axes` must be a list of integers"),
    ],
)
def test_bad_variance_scaling(kwargs, error, message):
    with pytest.raises(error, match=message):
        initializers.VarianceScaling(**kwargs)


def test_axes_must_exist():
    initializer = initializers.GlorotUniform(input_axes=[0], output_axes=[3])
    with pytest.raises(ValueError, match=r"output_axes=\[3\], shape=\(2, 3, 4\)"):
        initializer((2, 3, 4))


def test_bad_distribution_arguments():
    for bad in ("a", None, [1]):
        with pytest.raises(TypeError, match="`mean` must be a number. Received: mean="):
            initializers.RandomNormal(mean=bad)
    with pytest.raises(ValueError, match="`stddev` must not be negative. Received: stddev=-1"):
        initializers.TruncatedNormal(stddev=-1)
    with pytest.raises(ValueError, match="`mean` must be finite. Received: mean=inf"):
        initializers.RandomNormal(mean=float("inf"))
    with pytest.raises(ValueError, match="minval=1, maxval=0"):
        initializers.RandomUniform(1, 0)


@pytest.mark.parametrize("shape", [(3,), ()])
def test_orthogonal_needs_two_dimensions(shape):
    with pytest.raises(ValueError) as error:
        initializers.Orthogonal()(shape)
    assert str(error.value) == (
        "The tensor to initialize must be at least two-dimensional. "
        f"Received: shape={shape} of rank {len(shape)}."
    )


def test_base_class_is_abstract():
    with pytest.raises(NotImplementedError, match="must implement"):
        initializers.get("Initializer")((2,))


# Names and configurations


@pytest.mark.parametrize(
    ("names", "cls"),
    [
        ("zeros Zeros zero", initializers.Zeros),
        ("ones Ones one", initializers.Ones),
        ("constant Constant", initializers.Constant),
        ("identity Identity IdentityInitializer", initializers.Identity),
        ("stft STFT STFTInitializer", initializers.STFT),
        ("random_normal RandomNormal normal", initializers.RandomNormal),
        ("random_uniform RandomUniform uniform", initializers.RandomUniform),
        ("truncated_normal TruncatedNormal", initializers.TruncatedNormal),
        ("variance_scaling VarianceScaling", initializers.VarianceScaling),
        ("glorot_normal GlorotNormal", initializers.GlorotNormal),
        ("glorot_uniform GlorotUniform", initializers.GlorotUniform),
        ("he_normal HeNormal", initializers.HeNormal),
        ("he_uniform HeUniform", initializers.HeUniform),
        ("lecun_normal LecunNormal", initializers.LecunNormal),
        ("lecun_uniform LecunUniform", initializers.LecunUniform),
        ("orthogonal Orthogonal OrthogonalInitializer", initializers.Orthogonal),
    ],
)
def test_names(names, cls):
    for name in names.split():
        assert type(initializers.get(name)) is cls
        assert getattr(initializers, name) is cls
    assert type(initializers.get(cls)) is cls


def test_callables_are_kept():
    def initializer(shape, dtype=None):
        return np.ones(shape, dtype)

    assert initializers.get(initializer) is initializer


AXES = {"input_axes": None, "output_axes": None}


@pytest.mark.parametrize(
    ("initializer", "expected"),
    [
        (initializers.GlorotNormal(), {"seed": None, **AXES}),
        (initializers.HeUniform(seed=np.int64(3)), {"seed": 3, **AXES}),
        (initializers.LecunNormal(1, [0], [2]), {"seed": 1, "input_axes": [0], "output_axes": [2]}),
        (
            initializers.VarianceScaling(distribution="Normal"),
            {
                "seed": None,
                "scale": 1.0,
                "mode": "fan_in",
                "distribution": "truncated_normal",
                **AXES,
            },
        ),
        (initializers.RandomNormal(), {"seed": None, "mean": 0.0, "stddev": 0.05}),
        (initializers.TruncatedNormal(seed=1), {"seed": 1, "mean": 0.0, "stddev": 0.05}),
        (initializers.RandomUniform(), {"seed": None, "minval": -0.05, "maxval": 0.05}),
        (initializers.Orthogonal(2.0), {"seed": None, "gain": 2.0}),
        (initializers.Constant(1.5), {"value": 1.5}),
        (initializers.Zeros(), {}),
        (initializers.Identity(3.0), {"gain": 3.0}),
        (
            initializers.STFT(),
            {"side": "real", "window": "hann", "periodic": False, "scaling": "density"},
        ),
    ],
)
def test_get_config(initializer, expected):
    stored = json.loads(json.dumps(initializers.serialize(initializer)))
    assert stored["config"] == expected
    assert list(stored["config"]) == list(expected)
    assert initializers.serialize(initializers.get(stored)) == stored


@pytest.mark.parametrize("case", CONFIGS, ids=lambda case: str(case["kwargs"])[:60])
@pytest.mark.parametrize("key", ["depthwise_initializer", "bias_initializer"])
def test_nested_configurations_of_both_keras_versions(case, key):
    expected = case["expected"]["keras3.15.1-tensorflow"][key]
    for engine, layer in case["expected"].items():
        assert initializers.serialize(initializers.get(layer[key])) == expected, engine


def test_configuration_of_early_tensorflow():
    stored = {"class_name": "RandomNormal", "config": {"stddev": 0.1, "dtype": "float32"}}
    assert initializers.get(stored).stddev == 0.1
