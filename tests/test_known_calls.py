# SPDX-License-Identifier: BSD-3-Clause
"""A call like an earlier one is neither checked nor planned again, and has the same result."""

import numpy as np
import pytest

import dwconv
from dwconv import functional

RNG = np.random.default_rng(5)
X = RNG.standard_normal((2, 9, 4)).astype(np.float32)
KERNEL = RNG.standard_normal((3, 4, 1)).astype(np.float32)
BIAS = RNG.standard_normal(4).astype(np.float32)
OPTIONS = [
    {},
    {"strides": 2, "padding": "same"},
    {"padding": "causal", "dilation_rate": 2, "activation": "silu"},
    {"activation": dwconv.activations.relu, "method": "direct"},
]


@pytest.fixture
def no_plans(monkeypatch):
    """From its call on, plans cannot be made."""

    def refuse(**problem):
        raise AssertionError("a plan was made")

    return lambda: monkeypatch.setattr(functional, "Plan", refuse)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_second_calls(options, no_plans):
    first = dwconv.depthwise_conv1d(X, KERNEL, BIAS, **options)
    no_plans()
    out = np.empty_like(first)
    assert np.array_equal(dwconv.depthwise_conv1d(X, KERNEL, BIAS, **options), first)
    assert dwconv.depthwise_conv1d(X, KERNEL, BIAS, out=out, **options) is out
    assert np.array_equal(out, first)
    assert not np.array_equal(dwconv.depthwise_conv1d(X, KERNEL, **options), first)  # without bias


def test_second_calls_of_a_layer(no_plans):
    layer = dwconv.DepthwiseConv1D(3, padding="same", activation="silu")
    first = layer(X)
    no_plans()
    assert np.array_equal(layer(X), first)
    layer.set_weights([KERNEL, BIAS])
    assert not np.array_equal(layer(X), first)


@pytest.mark.parametrize(
    "changes",
    [
        {"x": X[:, :7]},
        {"x": X[:, ::2]},
        {"x": X[:1]},
        {"x": X.astype(np.float64)},
        {"x": X.astype(">f4")},
        {"kernel": KERNEL[:2]},
        {"kernel": KERNEL.astype(np.float64)},
        {"bias": BIAS.astype(np.float64)},
        {"bias": BIAS.astype(">f4")},
        {"strides": 2},
        {"padding": "causal"},
        {"data_format": "channels_first", "x": np.ascontiguousarray(X.transpose(0, 2, 1))},
        {"activation": "gelu"},
    ],
    ids=lambda changes: ",".join(f"{k}={getattr(v, 'shape', v)}" for k, v in changes.items()),
)
def test_other_calls(changes):
    """What differs from a known call in one thing gets what it would have got as the first."""
    call = {"x": X, "kernel": KERNEL, "bias": BIAS, "strides": 1, "padding": "valid", **changes}
    dwconv.depthwise_conv1d(X, KERNEL, BIAS)
    result = dwconv.depthwise_conv1d(**call)
    for name in ("x", "kernel", "bias"):
        call[name] = call[name].tolist()  # float64, and never a known call
    assert result.dtype == np.result_type(*(changes.get(n, X) for n in ("x", "kernel", "bias"))).newbyteorder("=")
    np.testing.assert_allclose(result, dwconv.depthwise_conv1d(**call), rtol=1e-5, atol=1e-5)


def test_unusual_integers_are_not_known():
    dwconv.depthwise_conv1d(X, KERNEL)
    with pytest.raises(TypeError, match="strides"):
        dwconv.depthwise_conv1d(X, KERNEL, strides=True)
    with pytest.raises(TypeError, match="dilation_rate"):
        dwconv.depthwise_conv1d(X, KERNEL, dilation_rate=1.0)


def test_many_kinds_of_calls():
    kernel = np.ones((1, 1, 1), np.float32)
    for steps in (*range(1, 700), *range(1, 20)):
        x = np.full((1, steps, 1), steps, np.float32)
        assert np.array_equal(dwconv.depthwise_conv1d(x, kernel), x), f"steps={steps}"
