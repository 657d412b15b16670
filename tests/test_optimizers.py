# SPDX-License-Identifier: BSD-3-Clause
"""Optimizers against steps of Keras, recorded by tests/data/keras/make_training_goldens.py."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from dwconv import DepthwiseConv1D, constraints, optimizers
from dwconv.variable import Variable
from layer_helpers import X, built_layer

FOLDER = Path(__file__).parent / "data" / "keras"
GOLDEN = np.load(FOLDER / "training.npz")
RECORDED = json.loads((FOLDER / "training.json").read_text(encoding="utf-8"))["optimizers"]
# Relative to max(1, |v|). In float32 Keras rounds the bias corrections of Adam, 1 - 0.999 among
# them; in float64 it rounds 0.9 and 0.999 to float32.
TOLERANCES = {"float32": 2e-5, "float64": 1e-12}
ROUNDED = 2e-6


def variables(dtype="float32", constraint=None):
    start = [GOLDEN[f"start{j}"].astype(dtype) for j in (0, 1)]
    return [Variable.of(start[0], constraint=constraint), Variable.of(start[1])]


def gradients(step, dtype="float32"):
    return [GOLDEN[f"gradients{j}"][step].astype(dtype) for j in (0, 1)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("row", range(len(RECORDED)))
def test_steps_of_keras(row, dtype):
    recorded = RECORDED[row]
    optimizer = getattr(optimizers, recorded["class_name"])(**recorded["kwargs"])
    tolerance = TOLERANCES[dtype]
    if dtype == "float64" and getattr(optimizer, "beta_1", 0) == 0.9:
        tolerance = ROUNDED
    weights = variables(dtype, constraints.get(recorded["constraint"]))
    for step in range(6):
        if step == 3:
            optimizer.learning_rate = recorded["kwargs"]["learning_rate"] / 2
        optimizer.apply(gradients(step, dtype), weights)
        for j in (0, 1):
            want = GOLDEN[f"optimizer{row}/v{j}_{dtype[-2:]}"][step]
            got = weights[j].value
            assert got.dtype == dtype and got.shape == want.shape
            error = np.max(np.abs(got - want) / np.maximum(1, np.abs(want)))
            assert error <= tolerance, f"{recorded['kwargs']}, {dtype}, {step=}: error {error:.1e}"
    assert optimizer.iterations == 6


def test_recorded_constraints_matter():
    assert any(row["constraint"] == "NonNeg" for row in RECORDED)
    for i, row in enumerate(RECORDED):
        if row["constraint"] == "NonNeg":
            assert GOLDEN[f"optimizer{i}/v0_64"].min() == 0 > GOLDEN[f"optimizer{i}/v1_64"].min()


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: str(row["kwargs"]))
def test_configurations_of_keras(row):
    stored = row["serialized"]
    optimizer = optimizers.deserialize(stored)
    assert type(optimizer).__name__ == row["class_name"]
    config = optimizer.get_config()
    assert config.keys() <= stored["config"].keys()
    assert config == {key: stored["config"][key] for key in config}
    written = json.loads(json.dumps(optimizers.serialize(optimizer)))
    assert {**written, "config": stored["config"]} == stored
    assert optimizers.deserialize(written).get_config() == config


def test_defaults_and_positions_are_those_of_keras():
    assert optimizers.SGD(name="s").get_config() == {
        "name": "s", "learning_rate": 0.01, "weight_decay": None, "clipnorm": None,
        "global_clipnorm": None, "clipvalue": None, "momentum": 0.0, "nesterov": False,
    }  # fmt: skip
    adam = {
        "name": "a", "learning_rate": 0.001, "weight_decay": None, "clipnorm": None,
        "global_clipnorm": None, "clipvalue": None, "beta_1": 0.9, "beta_2": 0.999,
        "epsilon": 1e-7, "amsgrad": False,
    }  # fmt: skip
    assert optimizers.Adam(name="a").get_config() == adam
    assert optimizers.AdamW(name="a").get_config() == adam | {"weight_decay": 0.004}
    sgd = optimizers.SGD(0.5, 0.25, True, 0.125, 2.0)
    assert (sgd.momentum, sgd.nesterov, sgd.weight_decay, sgd.clipnorm) == (0.25, True, 0.125, 2.0)
    adam = optimizers.Adam(0.5, 0.25, 0.75, 1e-3, True, 0.125)
    assert (adam.beta_1, adam.beta_2, adam.epsilon, adam.weight_decay) == (0.25, 0.75, 1e-3, 0.125)
    adam = optimizers.AdamW(0.5, 0.125, 0.25, 0.75)
    assert (adam.weight_decay, adam.beta_1, adam.beta_2) == (0.125, 0.25, 0.75)


def test_get():
    for name, cls in (
        ("sgd", optimizers.SGD), ("SGD", optimizers.SGD), ("Adam", optimizers.Adam),
        ("adamw", optimizers.AdamW), (optimizers.AdamW, optimizers.AdamW),
        ({"class_name": "ADAM", "config": {"beta_1": 0.5}}, optimizers.Adam),
    ):  # fmt: skip
        assert type(optimizers.get(name)) is cls
    assert optimizers.get(None) is None
    optimizer = optimizers.SGD()
    assert optimizers.get(optimizer) is optimizer

    class Own(optimizers.SGD):
        pass

    stored = optimizers.serialize(Own(0.5))
    assert stored["registered_name"] == "Own"
    assert type(optimizers.deserialize(stored, {"Own": Own})) is Own
    for bad in ("no", 3, {}, {"class_name": "no", "config": {}}, np.ones(2), dict, stored):
        with pytest.raises(ValueError, match="Could not interpret optimizer identifier"):
            optimizers.get(bad)
    with pytest.raises(TypeError, match="must be an Optimizer"):
        optimizers.serialize("sgd")


def test_names():
    names = [cls().name for cls in (optimizers.AdamW, optimizers.AdamW)]
    assert names[0].startswith("adam_w") and names[0] != names[1]


def test_arguments_of_keras_that_are_missing_here():
    off = RECORDED[0]["serialized"]["config"]
    assert off["use_ema"] is False and "gradient_accumulation_steps" in off
    for key, value in (("use_ema", True), ("gradient_accumulation_steps", 4)):
        with pytest.raises(ValueError, match=f"`{key}` is not supported"):
            optimizers.SGD.from_config(off | {key: value})
    with pytest.raises(TypeError, match="foo"):
        optimizers.SGD.from_config({"foo": 1})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"learning_rate": "fast"}, TypeError, "`learning_rate` must be a number.*fast"),
        ({"learning_rate": np.nan}, ValueError, "`learning_rate` must be finite"),
        ({"weight_decay": -1}, ValueError, "`weight_decay` must not be negative.*-1"),
        ({"clipnorm": 0}, ValueError, "`clipnorm` must be greater than 0.*0"),
        ({"clipvalue": "a"}, TypeError, "`clipvalue` must be a number"),
        ({"clipnorm": 1, "clipvalue": 2}, ValueError, "Only one of .*clipnorm=1.*clipvalue=2"),
        ({"name": "a/b"}, ValueError, "name"),
    ],
)
@pytest.mark.parametrize("cls", [optimizers.SGD, optimizers.Adam, optimizers.AdamW])
def test_bad_arguments(cls, arguments, error, message):
    with pytest.raises(error, match=message):
        cls(**arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimizers.SGD(momentum=1.5), "`momentum` must be between 0 and 1"),
        (lambda: optimizers.Adam(beta_1=1), "`beta_1` must be at least 0 and less than 1"),
        (lambda: optimizers.Adam(beta_2=-0.1), "`beta_2` must be at least 0 and less than 1"),
        (lambda: optimizers.Adam(epsilon=-1), "`epsilon` must not be negative"),
        (lambda: optimizers.AdamW(weight_decay=None), "`weight_decay` must be a number"),
    ],
)
def test_more_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def fails(constrained):
    raise ZeroDivisionError


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda g, v: (g[:1], v), ValueError, "1 gradients for 2 variables"),
        (lambda g, v: ([g[0], g[1][:3]], v), ValueError, r"must have shape=\(4,\).*\(3,\)"),
        (lambda g, v: ([g[0], None], v), TypeError, "gradient of variable.*NoneType"),
        (lambda g, v: ([g[0], g[1] * 1j], v), TypeError, "real numbers.*complex"),
        (lambda g, v: ([g[0], g[0]], [v[0], v[0]]), ValueError, "once only"),
        (lambda g, v: (g, [v[0], v[1].value]), TypeError, "An optimizer changes variables"),
        (lambda g, v: (g, [Variable.of(v[0]), v[1]]), ValueError, "Unknown variable"),
    ],
)
def test_a_bad_step_changes_nothing(change, error, message, built):
    optimizer = optimizers.SGD(0.5, momentum=0.5)
    weights = variables()
    if built:
        optimizer.apply(gradients(0), weights)
    elif "Unknown" in message:
        optimizer.build(weights)
    before = [w.value for w in weights]
    state = pickle.dumps(optimizer)
    with pytest.raises(error, match=message):
        optimizer.apply(*change(gradients(1), weights))
    assert all(w.value is value for w, value in zip(weights, before, strict=True))
    assert pickle.dumps(optimizer) == state


@pytest.mark.parametrize("constraint", [fails, lambda w: w[:1], lambda w: w * 1j])
def test_a_failing_constraint_changes_nothing(constraint):
    optimizer = optimizers.Adam()
    weights = variables()
    weights[1].constraint = constraint
    before = [w.value for w in weights]
    with pytest.raises((ZeroDivisionError, ValueError, TypeError)):
        optimizer.apply(gradients(0), weights)
    assert all(w.value is value for w, value in zip(weights, before, strict=True))
    assert not optimizer.built and optimizer.iterations == 0


def test_apply_in_the_ways_of_keras():
    by_list, by_pairs, built = variables(), variables(), variables()
    optimizer = optimizers.Adam()
    optimizer.apply(gradients(0), by_list)
    assert optimizers.Adam().apply_gradients(zip(gradients(0), by_pairs, strict=True)) == 1
    optimizer = optimizers.Adam()
    with pytest.raises(ValueError, match="call `optimizer.build"):
        optimizer.apply(gradients(0))
    optimizer.build(built)
    optimizer.build(built)
    optimizer.apply(gradients(0))
    for a, b, c in zip(by_list, by_pairs, built, strict=True):
        assert np.array_equal(a, b) and np.array_equal(a, c)
    optimizer.apply([], built)
    assert optimizer.iterations == 1
    optimizer.apply(gradients(1)[1:], built[1:])  # a part of the variables
    assert optimizer.iterations == 2 and np.array_equal(built[0], by_list[0])
    with pytest.raises(ValueError, match="Unknown variable"):
        optimizer.build(variables())


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("arguments", [{}, {"clipnorm": 1}, {"global_clipnorm": 1}])
def test_what_is_not_finite_reaches_the_weights(value, arguments):
    weights = variables()
    g = gradients(0)
    g[0][0, 0, 0] = value
    optimizers.SGD(**arguments).apply(g, weights)
    assert not np.isfinite(weights[0][0, 0, 0])


def test_empty_variables():
    empty = Variable.of(np.ones((3, 0)))
    for cls in (optimizers.SGD, optimizers.AdamW):
        cls(clipnorm=1.0).apply([np.ones((3, 0))], [empty])
    assert empty.shape == (3, 0)


def test_pickled_with_their_layer_optimizers_go_on():
    layer = built_layer(depthwise_constraint="unit_norm")
    optimizer = optimizers.SGD(momentum=0.5)
    steps = [[np.full(w.shape, k) for w in layer.weights] for k in (1.0, 2.0)]
    optimizer.apply(steps[0], layer.trainable_weights)
    twin, twin_optimizer = pickle.loads(pickle.dumps((layer, optimizer)))
    for one, with_it in ((layer, optimizer), (twin, twin_optimizer)):
        with_it.apply(steps[1], one.trainable_weights)
    assert all(map(np.array_equal, layer.get_weights(), twin.get_weights()))
    assert np.allclose(np.linalg.norm(twin.kernel.value, axis=0), 1, atol=1e-6)


def test_variables_that_belong_to_no_layer():
    array = np.arange(6.0).reshape(2, 3)
    variable = Variable.of(array, name="w", constraint=constraints.NonNeg())
    array[:] = 7
    assert variable.dtype == "float64" and variable[1, 2] == 5 and variable.path == "w"
    assert variable.trainable and variable.regularizer is None
    assert Variable.of([1, 2]).dtype == Variable.of(np.ones(2, "int8")).dtype == "float32"
    optimizers.SGD(1.0).apply([np.full((2, 3), 3.0)], [variable])
    assert np.array_equal(variable, [[0, 0, 0], [0, 1, 2]])
    for bad in ("abc", [1j], None):
        with pytest.raises(TypeError, match="variable"):
            Variable.of(bad)


def test_a_layer_keeps_its_arrays_together():
    layer = DepthwiseConv1D(3)
    layer(X)
    arrays = layer._weight_group.arrays
    optimizers.SGD(1.0).apply([np.ones(w.shape) for w in layer.weights], layer.weights)
    assert layer._weight_group.arrays is not arrays
    assert np.array_equal(layer.kernel, arrays[0] - 1) and np.array_equal(layer.bias, arrays[1] - 1)
