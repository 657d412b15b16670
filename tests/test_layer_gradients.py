# SPDX-License-Identifier: BSD-3-Clause
"""``layer.vjp`` against recorded gradients of Keras and finite differences of the total loss."""

import json
from pathlib import Path

import dwconv
import numpy as np
import pytest
from cases import pick, scaled
from dwconv import CausalDepthwiseConv1D, DepthwiseConv1D, activations, regularizers
from layer_helpers import built_layer

FOLDER = Path(__file__).parent / "data" / "keras"
CASES = json.loads((FOLDER / "cases.json").read_text(encoding="utf-8"))["cases"]
# A layer has no stride with dilation, and Keras computes another sparsemax.
CASES = [
    case
    for case in CASES
    if case["config"]["activation"] != "sparsemax"
    and not (case["config"].get("strides", 1) > 1 and case["config"].get("dilation_rate", 1) > 1)
]
TRAINING = np.load(FOLDER / "training.npz")
LAYERS = json.loads((FOLDER / "training.json").read_text(encoding="utf-8"))["layers"]
NAMES = [function.__name__ for function in activations._FUNCTIONS]
# Of max|a - b| / max(1, max|b|), as in test_keras_goldens.
TOLERANCE = {"float32": 5e-6, "float64": 1e-10}
LOOSE_ACTIVATIONS = {"leaky_relu": 1e-7, "gelu": 1e-7}


@pytest.fixture(scope="module")
def arrays():
    with np.load(FOLDER / "cases.npz") as stored:
        return dict(stored)


def distance(got, want):
    return np.max(np.abs(got - want), initial=0) / max(1, np.max(np.abs(want), initial=0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_gradients_of_keras(arrays, case, dtype):
    name, config = case["id"], case["config"]
    x, dy = (arrays[f"{name}/{key}"].astype(dtype) for key in ("x", "dy"))
    keys = ["kernel", "bias"] if config["use_bias"] else ["kernel"]
    layer = DepthwiseConv1D(**config, dtype=dtype)
    layer.build(x.shape)
    layer.set_weights([arrays[f"{name}/{key}"] for key in keys])
    y, pullback = layer.vjp(x)
    dx, gradients = pullback(dy)
    line = f"case {name}: input_shape={case['input_shape']}, {config}, {dtype}"
    assert np.array_equal(y, layer(x)), line
    for key, got in zip(["x", *keys], [dx, *gradients], strict=True):
        stored = f"{name}/d{key}{dtype[-2:]}"
        want = arrays[stored if stored in arrays else f"{name}/d{key}32"].astype(dtype)
        assert got.dtype == dtype and got.shape == want.shape, line
        if case["kind"] == "grid":
            assert np.array_equal(got, want), f"{line}: d{key}"
            continue
        limit = TOLERANCE[dtype]
        if dtype == "float64":
            limit = LOOSE_ACTIVATIONS.get(config["activation"], limit)
        error = distance(got, want)
        assert error <= limit, f"{line}: error {error:.1e} of d{key}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("index", range(len(LAYERS)), ids=lambda i: str(sorted(LAYERS[i])))
def test_regularized_layers_of_keras(index, dtype):
    config, width = dict(LAYERS[index]), dtype[-2:]
    for key, coefficients in LAYERS[index].items():
        if key.endswith("regularizer"):
            config[key] = regularizers.L1L2(**coefficients)
    layer = DepthwiseConv1D(**{"kernel_size": 3, "padding": "same", "dtype": dtype, **config})
    x, dy = (TRAINING[f"layer{index}/{key}"].astype(dtype) for key in ("x", "dy"))
    layer.build(x.shape)
    layer.set_weights([TRAINING[f"layer{index}/w{j}"] for j in range(len(layer.weights))])
    y, pullback = layer.vjp(x)
    dx, gradients = pullback(dy)
    assert len(gradients) == len(layer.trainable_weights)
    names = ["losses", "y", *(f"g{j}_" for j in range(1 + len(gradients)))]
    for name, got in zip(names, [np.array(layer.losses), y, dx, *gradients], strict=True):
        want = TRAINING[f"layer{index}/{name}{width}"]
        assert got.shape == want.shape and distance(got, want) <= TOLERANCE[dtype], name


class Cubic:
    """A regularizer and an activation that only tests know."""

    def __call__(self, x):
        return np.sum(x**3)

    def gradient(self, x):
        return 3 * x**2


def swirl(z):
    return np.sin(z) * np.flip(z, -1)


swirl.gradient = lambda z, dy: np.cos(z) * np.flip(z, -1) * dy + np.flip(np.sin(z) * dy, -1)

SMOOTH = ["tanh", "silu", "gelu", "softmax", "log_softmax", "glu", "mish", "softplus", swirl, None]
REGULARIZERS = [None, None, "l2", regularizers.L1L2(0.02, 0.05), Cubic()]


def random_layer(rng):
    """A float64 layer without kinks near its values, and inputs for it."""
    options = {
        "kernel_size": int(rng.integers(1, 6)),
        "padding": pick(rng, ["valid", "same", "causal"]),
        "depth_multiplier": int(rng.integers(1, 4)),
        "data_format": pick(rng, ["channels_last", "channels_first"]),
        "use_bias": bool(rng.integers(4)),
        "activation": pick(rng, SMOOTH),
        "depthwise_regularizer": pick(rng, REGULARIZERS),
        "bias_regularizer": pick(rng, REGULARIZERS),
        "activity_regularizer": pick(rng, [None, "l2", Cubic()]),
        pick(rng, ["strides", "dilation_rate"]): int(rng.integers(1, 4)),
    }
    steps = (options["kernel_size"] - 1) * options.get("dilation_rate", 1) + int(rng.integers(1, 9))
    if options["activation"] == "glu":  # halves the last axis
        options |= {"depth_multiplier": 2, "data_format": "channels_last"}
    channels = int(rng.integers(1, 4))
    x = rng.standard_normal((int(rng.integers(1, 4)), steps, channels))
    if options["data_format"] == "channels_first":
        x = np.ascontiguousarray(x.transpose(0, 2, 1))
    causal = options["padding"] == "causal"
    layer = (CausalDepthwiseConv1D if causal else DepthwiseConv1D)(**options, dtype="float64")
    layer.build(x.shape)
    layer.set_weights([rng.uniform(0.2, 1, w.shape) for w in layer.weights])
    return layer, x


def test_finite_differences_of_the_total_loss():
    rng = np.random.default_rng(7)
    step = 1e-5
    for _ in range(scaled(60)):
        layer, x = random_layer(rng)
        y, pullback = layer.vjp(x)
        line = f"{layer!r}, input_shape={x.shape}, {layer.get_config()}"
        assert np.array_equal(y, layer(x)), line
        dy = rng.standard_normal(y.shape)

        def total(values, layer=layer, dy=dy):
            y, _, losses = layer.stateless_call(values[1:], [], values[0], return_losses=True)
            return np.sum(y * dy), sum(losses)

        values = [x, *layer.get_weights()]
        for losses in (True, False):
            dx, gradients = pullback(dy, losses=losses)
            for i, got in enumerate([dx, *gradients]):
                direction = rng.standard_normal(values[i].shape)
                moved = [
                    [v + sign * step * direction if j == i else v for j, v in enumerate(values)]
                    for sign in (1, -1)
                ]
                up, down = (total(v) for v in moved)
                want = (up[0] - down[0] + losses * (up[1] - down[1])) / (2 * step)
                error = abs(np.sum(got * direction) - want)
                assert error <= 1e-6 * max(1, abs(want)), f"{line}: error {error:.1e} of input {i}"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "threshold"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_have_the_bits_of_a_plain_call(name, data_format, dtype):
    x = np.random.default_rng(8).standard_normal((2, 6, 30)).astype(dtype)
    x[0, 0, 0], x[1, 3, 2] = np.inf, np.nan
    layer = built_layer(
        activation=name,
        data_format=data_format,
        dtype=dtype,
        channels=30 if data_format == "channels_last" else 6,
        depth_multiplier=2,
        kernel_size=4,
        padding="same",
    )
    with np.errstate(all="raise"):
        y, _ = layer.vjp(x)
    assert y.tobytes() == layer(x).tobytes()


def test_long_kernels_are_convolved_directly():
    layer = built_layer(kernel_size=700, padding="same", dtype="float64")
    x = np.random.default_rng(9).standard_normal((1, 900, 3))
    y, pullback = layer.vjp(x)
    layer.method = "direct"
    assert np.array_equal(y, layer(x))
    dy = np.random.default_rng(10).standard_normal(y.shape)
    dx, (dkernel, dbias) = pullback(dy)
    without_bias = dwconv.depthwise_conv1d(x, layer.kernel.value, padding="same")
    for gradient, value in ((dx, x), (dkernel, layer.kernel)):
        assert np.isclose(np.sum(gradient * value), np.sum(without_bias * dy))  # both are linear
    assert np.allclose(dbias, dy.sum(axis=(0, 1)))
