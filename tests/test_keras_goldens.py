# SPDX-License-Identifier: BSD-3-Clause
"""The layer against recorded results of the real Keras (tests/data/keras/README.md)."""

import json
from pathlib import Path

import dwconv
import numpy as np
import pytest
from reference import depthwise_conv1d as reference_conv1d

FOLDER = Path(__file__).parent / "data" / "keras"
KERAS3 = "keras3.15.1-tensorflow"
KERAS2 = "keras2.15.0-tensorflow"
# Of max|a - b| / max(1, max|b|), by dtype. Keras on TensorFlow keeps a float32 constant in some
# activations of a float64 layer.
TOLERANCE = {"float32": 5e-6, "float64": 1e-10}
LOOSE_ACTIVATIONS = {"leaky_relu": 1e-7, "gelu": 1e-7}


def load(name):
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


CASES = load("cases.json")["cases"]
ERRORS = load("errors.json")
CONFIGS = load("configs.json")
OUTPUT_SHAPES = load("output_shapes.json")
LOSSES = load("extras.json")["losses"]


@pytest.fixture(scope="module")
def arrays():
    with np.load(FOLDER / "cases.npz") as stored:
        return dict(stored)


def both_above_one(config):
    return config.get("strides", 1) > 1 and config.get("dilation_rate", 1) > 1


def expected_output(arrays, case, dtype):
    if case["config"]["activation"] == "sparsemax":
        return paper_sparsemax(arrays, case)
    key = case["id"] + ("/y32" if dtype == "float32" else "/y64")
    if key not in arrays:
        key = case["id"] + "/y32"  # the float64 result is the same
    return arrays[key].astype(dtype)


def paper_sparsemax(arrays, case):
    """We compute the published sparsemax (Martins and Astudillo, 2016), Keras 3 another one."""
    config = dict(case["config"])
    del config["kernel_size"], config["depth_multiplier"], config["activation"]
    bias = arrays[case["id"] + "/bias"] if config.pop("use_bias") else None
    z = reference_conv1d(arrays[case["id"] + "/x"], arrays[case["id"] + "/kernel"], bias, **config)
    descending = -np.sort(-z, axis=-1)
    sums = np.cumsum(descending, axis=-1)
    count = np.arange(1, z.shape[-1] + 1)
    size = np.sum(1 + count * descending > sums, axis=-1, keepdims=True)
    tau = (np.take_along_axis(sums, size - 1, axis=-1) - 1) / size
    return np.maximum(z - tau, 0)


def assert_equals_golden(y, arrays, case, dtype):
    want = expected_output(arrays, case, dtype)
    line = f"case {case['id']}: input_shape={case['input_shape']}, {case['config']}, {dtype}"
    assert y.dtype == dtype and y.shape == tuple(case["output_shape"]), line
    if case["kind"] == "grid":
        assert np.array_equal(y, want), line
        return
    tolerance = TOLERANCE[dtype]
    if dtype == "float64":
        tolerance = LOOSE_ACTIVATIONS.get(case["config"]["activation"], tolerance)
    error = np.max(np.abs(y - want)) / max(1, np.max(np.abs(want)))
    assert error <= tolerance, f"{line}: error {error:.2e} above {tolerance:.0e}"


def test_every_case_is_there():
    assert len(CASES) == 300
    assert sum(case["kind"] == "grid" for case in CASES) == 121
    assert sum(both_above_one(case["config"]) for case in CASES) > 10


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_forward(arrays, case, dtype):
    x = arrays[case["id"] + "/x"].astype(dtype)
    config = case["config"]
    weights = [arrays[case["id"] + "/kernel"]]
    if config["use_bias"]:
        weights.append(arrays[case["id"] + "/bias"])
    if both_above_one(config):
        with pytest.raises(ValueError, match=r"strides.*dilation_rate.*dwconv\.depthwise_conv1d"):
            dwconv.DepthwiseConv1D(**config)
    else:
        layer = dwconv.DepthwiseConv1D(**config, dtype=dtype)
        layer.build(x.shape)
        layer.set_weights(weights)
        assert_equals_golden(layer(x), arrays, case, dtype)
    options = ("strides", "padding", "dilation_rate", "data_format", "activation")
    y = dwconv.depthwise_conv1d(
        x, *(w.astype(dtype) for w in weights), **{key: config[key] for key in options}
    )
    assert_equals_golden(y, arrays, case, dtype)


def run_steps(row):
    """Do what an errors.json row says; return the last output."""
    layer = dwconv.DepthwiseConv1D(**row["init"])
    output = None
    for name, *arguments in row["steps"]:
        if name == "build":
            layer.build(arguments[0])
        elif name == "call":
            shape, dtype = arguments
            output = layer(np.ones(shape, dtype))
        elif name == "set_weights":
            layer.set_weights([np.ones(shape, np.float32) for shape in arguments[0]])
        elif name == "count_params":
            layer.count_params()
        elif name == "losses":
            assert layer.losses is not None
        else:
            raise AssertionError(f"unknown step {name}")
    return output


@pytest.mark.parametrize("row", ERRORS, ids=lambda row: row["id"])
def test_errors(row):
    if row["must_raise"] is False:
        output = run_steps(row)
        assert list(output.shape) == row["expected"][KERAS3]["output_shape"]
        assert output.dtype == row["expected"][KERAS3]["output_dtype"]
        return
    # must_raise is None for strides with dilation: the documentation and Keras 2 refuse it.
    with pytest.raises((ValueError, TypeError, AttributeError)) as caught:
        run_steps(row)
    assert caught.type.__name__ in row["accept"], f"{row['init']} {row['steps']}: {caught.value!r}"


@pytest.mark.parametrize("row", OUTPUT_SHAPES, ids=lambda row: str(row["input_shape"]))
def test_compute_output_shape(row):
    want = row["expected"][KERAS3]
    config = row["config"]
    if both_above_one(config):
        with pytest.raises(ValueError, match="strides"):
            dwconv.DepthwiseConv1D(**config)
        return
    layer = dwconv.DepthwiseConv1D(**config)
    for shape in (row["input_shape"], tuple(row["input_shape"])):
        if isinstance(want, str):  # for unknown channels Keras fails on None * int, a TypeError
            with pytest.raises(ValueError, match=r"output size|channel|3 dimensions"):
                layer.compute_output_shape(shape)
        else:
            assert layer.compute_output_shape(shape) == tuple(want), f"{config} {shape}"


@pytest.mark.parametrize("row", CONFIGS, ids=lambda row: str(row["kwargs"])[:60])
def test_config_is_that_of_keras_3(row):
    layer = dwconv.DepthwiseConv1D(**row["kwargs"], name="dw")
    config = json.loads(json.dumps(layer.get_config()))
    assert config == row["expected"][KERAS3]
    assert list(config) == list(row["expected"][KERAS3])


def short_form(config):
    """The configuration as older Keras versions wrote it: objects without module, dtype by name."""
    config = {
        key: {"class_name": value["class_name"], "config": value["config"]}
        if isinstance(value, dict)
        else value
        for key, value in config.items()
    }
    if isinstance(config["dtype"], dict):
        config["dtype"] = config["dtype"]["config"]["name"]
    return config


@pytest.mark.parametrize("shorten", [False, True], ids=["nested", "short"])
@pytest.mark.parametrize("version", [KERAS2, KERAS3])
@pytest.mark.parametrize("row", CONFIGS, ids=lambda row: str(row["kwargs"])[:60])
def test_configs_of_keras_2_and_3_are_read(row, version, shorten):
    stored = row["expected"][version]
    stored = short_form(stored) if shorten else stored
    before = json.dumps(stored)
    layer = dwconv.DepthwiseConv1D.from_config(stored)
    assert json.dumps(stored) == before, "from_config must not change its argument"
    config = json.loads(json.dumps(layer.get_config()))
    assert without_rounding(config) == without_rounding(row["expected"][KERAS3])


def without_rounding(config):
    """Keras 2 rounds the factor of L2 to float32, Keras 3 does not."""
    return json.loads(json.dumps(config), parse_float=lambda text: float(f"{float(text):.6g}"))


@pytest.mark.parametrize("row", LOSSES, ids=lambda row: str(row["kwargs"]))
def test_losses(row):
    with np.load(FOLDER / "extras.npz") as extras:
        x, kernel, bias = extras["x"], extras["w"][:3], extras["b"]
    kernel = kernel.reshape(3, x.shape[-1], 2)
    layer = dwconv.DepthwiseConv1D(**row["kwargs"])
    assert layer.losses == []
    layer.build(x.shape)
    layer.set_weights([kernel, bias])
    assert np.allclose(layer.losses, row["after_build"], rtol=2e-6)
    for _ in range(2):  # the second call replaces the activity term
        layer(x)
        assert np.allclose(layer.losses, row["after_call"], rtol=2e-6)
        assert len(layer.losses) == len(row["after_call"])
