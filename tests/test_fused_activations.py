# SPDX-License-Identifier: BSD-3-Clause
"""The activations inside the core: their error in units in the last place (ULP), their limits, the
same bits on every instruction set with fused multiply-add and in every way the core walks over a
problem, and which Python objects reach them.

tests/c/ulp.c checks the same functions over all float32 numbers.
"""

from functools import cache, partial

import numpy as np
import pytest
from dwconv import _core, activation_layers, activations, depthwise_conv1d
from dwconv.fused import LINEAR, split_activation

ISAS = _core.isa_names()
FMA_ISAS = [isa for isa in ISAS if _core.isa_has_fma(isa)]
DTYPES = ("float32", "float64")
# channels_last in place; panels, because of the multiplier; lanes of time.
SHAPES = {
    "direct": dict(channels=24, depth_multiplier=1, channels_first=False),
    "panel": dict(channels=3, depth_multiplier=2, channels_first=False),
    "flat": dict(channels=2, depth_multiplier=1, channels_first=True),
}
WIDE = np.longdouble
HAS_WIDER = np.finfo(WIDE).nmant >= 63
ULP_LIMIT = {True: 2.5, False: 3.0}  # with and without fused multiply-add


def sigmoid(z):
    decay = np.exp(-np.abs(z))
    return np.where(z < 0, decay, 1) / (1 + decay)


def normal_distribution(z):
    """By its power series near 0, and by the continued fraction of Mills' ratio in the left tail."""
    a = np.minimum(np.abs(z), 60)
    head = a.astype("float32").astype(WIDE)  # its square is exact
    density = np.exp(-head * head / 2) * np.exp((head - a) * (head + a) / 2)
    density /= np.sqrt(2 * np.arccos(WIDE(-1)))
    near = np.minimum(a, 3)
    term = series = near
    for k in range(1, 60):
        term = term * near * near / (2 * k + 1)
        series = series + term
    far = fraction = np.maximum(a, 3)
    for k in range(150, 0, -1):
        fraction = far + k / fraction
    left = np.where(a < 3, 0.5 - density * series, density / fraction)
    return np.where(z < 0, left, 1 - left)


def softplus(z):
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def mish(z):
    t = np.exp(np.minimum(z, 100))
    return z * (t * (t + 2) / (t * (t + 2) + 2))


def gelu_tanh(z):
    return z * sigmoid(2 * np.sqrt(2 / np.arccos(WIDE(-1))) * (z + WIDE("0.044715") * z**3))


def negative_part(z, negative):
    return np.where(z < 0, negative, z)


def soft_shrink(z, threshold):
    return np.where(np.abs(z) > threshold, z - np.copysign(threshold, z), 0)


def parameter(value, dtype):
    """A parameter as the core holds it."""
    return WIDE(np.dtype(dtype).type(value))


# Activation, its formula over long double (with the dtype for parameters).
SIXTH = WIDE(1) / 6
CASES = {
    "linear": (activations.linear, lambda z, t: z),
    "relu": (activations.relu, lambda z, t: np.maximum(z, 0)),
    "relu6": (activations.relu6, lambda z, t: np.clip(z, 0, 6)),
    "relu_up_to_2": (partial(activations.relu, max_value=2), lambda z, t: np.clip(z, 0, 2)),
    "hard_tanh": (activations.hard_tanh, lambda z, t: np.clip(z, -1, 1)),
    "leaky_relu": (activations.leaky_relu, lambda z, t: negative_part(z, parameter(0.2, t) * z)),
    "hard_sigmoid": (activations.hard_sigmoid, lambda z, t: np.clip((z + 3) * SIXTH, 0, 1)),
    "hard_silu": (activations.hard_silu, lambda z, t: z * np.clip((z + 3) * SIXTH, 0, 1)),
    "sigmoid": (activations.sigmoid, lambda z, t: sigmoid(z)),
    "silu": (activations.silu, lambda z, t: z * sigmoid(z)),
    "tanh": (activations.tanh, lambda z, t: np.tanh(z)),
    "gelu": (activations.gelu, lambda z, t: z * normal_distribution(z)),
    "gelu_tanh": (partial(activations.gelu, approximate=True), lambda z, t: gelu_tanh(z)),
    "exponential": (activations.exponential, lambda z, t: np.exp(z)),
    "elu": (activations.elu, lambda z, t: negative_part(z, np.expm1(z))),
    "elu_0.3": (
        activation_layers.ELU(0.3),
        lambda z, t: negative_part(z, parameter(0.3, t) * np.expm1(z)),
    ),
    "selu": (
        activations.selu,
        lambda z, t: WIDE(1.0507009873554805) * negative_part(z, WIDE(1.6732632423543772) * np.expm1(z)),
    ),
    "celu_0.7": (
        partial(activations.celu, alpha=0.7),
        lambda z, t: negative_part(z, parameter(0.7, t) * np.expm1(z / parameter(0.7, t))),
    ),
    "softplus": (activations.softplus, lambda z, t: softplus(z)),
    "log_sigmoid": (activations.log_sigmoid, lambda z, t: -softplus(-z)),
    "mish": (activations.mish, lambda z, t: mish(z)),
    "softsign": (activations.softsign, lambda z, t: z / (1 + np.abs(z))),
    "soft_shrink": (activations.soft_shrink, lambda z, t: soft_shrink(z, 0.5)),
    "hard_shrink": (activations.hard_shrink, lambda z, t: np.where(np.abs(z) > 0.5, z, 0)),
    "threshold": (activation_layers.ThresholdedReLU(1.5), lambda z, t: np.where(z > 1.5, z, 0)),
    "sparse_sigmoid": (activations.sparse_sigmoid, lambda z, t: np.clip((z + 1) / 2, 0, 1)),
    "sparse_plus": (
        activations.sparse_plus,
        lambda z, t: np.where(z >= 1, z, np.where(z > -1, (z + 1) ** 2 / 4, 0)),
    ),
}
# The formula of these knows its exponent, a cubic, to fewer digits than float64 needs in the tail.
LEAST_ARGUMENT = {("gelu_tanh", "float64"): -10}

every_activation = pytest.mark.parametrize("name", CASES)
both_dtypes = pytest.mark.parametrize("dtype", DTYPES)


def fused_of(name):
    fused, rest = split_activation(CASES[name][0])
    assert rest is None, f"{name} is not fused"
    return fused


def apply(activation, z, dtype, isa, shape):
    """The core's activation of the numbers z, by a convolution with a kernel of one 1."""
    outputs = shape["channels"] * shape["depth_multiplier"]
    steps = -(-z.size // shape["channels"])
    x = np.zeros(steps * shape["channels"], dtype)
    x[: z.size] = z
    plan = _core.Plan(
        batch=1, in_steps=steps, kernel_size=1, stride=1, dilation=1, pad_left=0, out_steps=steps,
        double_precision=dtype == "float64", isa=isa.encode(), **shape,
    )  # fmt: skip
    y = np.empty(plan.out_shape, dtype)
    x = x.reshape((1, -1, steps) if shape["channels_first"] else (1, steps, -1))
    kernel = np.ones((1, shape["channels"], shape["depth_multiplier"]), dtype)
    plan.forward(x, kernel, None, y, activation, 1)
    return y.reshape(steps * shape["channels"], outputs // shape["channels"])[: z.size, -1]


@cache
def arguments(dtype):
    """Dense around 0, all exponents, and both sides of wherever an exponential ends."""
    info = np.finfo(dtype)
    ends = (110, 104, 103.9, 88.73, 88.72, 87.4) if dtype == "float32" else (756, 746, 745, 709.79, 709.78, 708.4)
    powers = np.ldexp(1.0, np.arange(info.minexp - info.nmant, info.maxexp, 3 if dtype == "float32" else 29))
    rng = np.random.default_rng(1)
    scattered = rng.uniform(1, 2, powers.size)
    z = np.concatenate(
        [np.linspace(-9, 9, 6001), rng.normal(0, 2, 6000), np.linspace(-ends[0], ends[0], 4001)]
        + [powers, powers[:-1] * scattered[:-1], [0.0, 0.5, 1, 3, 6, info.max, *ends]]
        + [-powers, -powers[:-1] * scattered[:-1], [-0.5, -1, -3, -6, info.min], -np.array(ends)]
    )
    return np.unique(z.astype(dtype))


@cache
def exact(name, dtype):
    with np.errstate(all="ignore"):
        return np.asarray(CASES[name][1](arguments(dtype).astype(WIDE), dtype), WIDE)


def errors(y, wanted):
    """In ULP of y's dtype; the first number too large stands for infinity."""
    info = np.finfo(y.dtype)
    limit = np.ldexp(WIDE(1), info.maxexp)
    exponent = np.clip(np.frexp(wanted)[1], info.minexp + 1, info.maxexp)
    distance = np.abs(np.clip(y.astype(WIDE), -limit, limit) - np.clip(wanted, -limit, limit))
    return np.ldexp(distance, info.nmant + 1 - exponent)


@pytest.mark.skipif(not HAS_WIDER, reason="long double is no wider than float64")
@both_dtypes
@every_activation
def test_error(name, dtype):
    z, wanted = arguments(dtype), exact(name, dtype)
    known = z >= LEAST_ARGUMENT.get((name, dtype), -np.inf)
    for isa in ISAS:
        y = apply(fused_of(name), z, dtype, isa, SHAPES["direct"])
        ulps = np.where(known, errors(y, wanted), 0)
        at = np.argmax(ulps)
        limit = ULP_LIMIT[_core.isa_has_fma(isa)]
        assert ulps[at] <= limit, f"{name}({z[at]!r}) = {y[at]!r}, {isa}: {float(ulps[at]):.3f} ULP > {limit}"


@both_dtypes
@every_activation
def test_same_bits_on_every_isa_and_in_every_way(name, dtype):
    z = np.concatenate([arguments(dtype), np.array([np.inf, -np.inf, np.nan], dtype)])
    for isas in (FMA_ISAS, [isa for isa in ISAS if isa not in FMA_ISAS]):
        first = None
        for isa in isas:
            for way, shape in SHAPES.items():
                y = apply(fused_of(name), z, dtype, isa, shape)
                first = y if first is None else first
                same = (y == first) & (np.signbit(y) == np.signbit(first)) | np.isnan(y) & np.isnan(first)
                at = np.argmin(same)
                assert same[at], f"{name}({z[at]!r}), {isa}, {way}: {y[at]!r}, elsewhere {first[at]!r}"


@both_dtypes
@every_activation
def test_agrees_with_the_function_at_awkward_points(name, dtype):
    z = np.array([np.inf, -np.inf, np.nan, 0, -0.0, np.finfo(dtype).max, np.finfo(dtype).min, -60, 60], dtype)
    kernel = np.ones((1, z.size, 1), dtype)
    function = CASES[name][0]
    for x in (z, np.linspace(-5, 5, z.size, dtype=dtype)):
        y = depthwise_conv1d(x.reshape(1, 1, -1), kernel, activation=function)
        np.testing.assert_allclose(y.ravel(), function(x), rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", ["silu", "gelu", "mish", "sigmoid", "softplus", "exponential"])
def test_left_tail_is_not_flushed(name):
    """Results below the least normal number, which a product with 2**n would lose or round twice."""
    z = np.linspace(-105, -8, 20001, dtype="float32")
    y = apply(fused_of(name), z, "float32", ISAS[0], SHAPES["direct"])
    subnormal = (y != 0) & (np.abs(y) < np.finfo("float32").tiny)
    assert np.count_nonzero(subnormal) > 100
    assert np.all(np.diff(np.abs(y)) >= 0)


UNFUSED = ("glu", "log_softmax", "softmax", "sparsemax", "squareplus", "tanh_shrink", "threshold")


def test_every_elementwise_function_is_fused():
    alone = {f.__name__ for f in activations._FUNCTIONS if split_activation(f)[1] is not None}
    assert alone == set(UNFUSED)  # `threshold` has no default arguments


@pytest.mark.parametrize(
    ("function", "same_as"),
    [
        (activation_layers.ReLU(), activations.relu),
        (activation_layers.ReLU(max_value=6), activations.relu6),
        (activation_layers.ReLU(negative_slope=0.2), activations.leaky_relu),
        (activation_layers.LeakyReLU(0.2), activations.leaky_relu),
        (activation_layers.ELU(), activations.elu),
        (partial(activations.relu, max_value=None), activations.relu),
        (partial(activations.gelu, approximate=False), activations.gelu),
        (None, activations.linear),
    ],
)
def test_objects_with_parameters_are_fused(function, same_as):
    assert split_activation(function) == split_activation(same_as)
    assert split_activation(function)[1] is None


@pytest.mark.parametrize(
    "function",
    [
        activation_layers.ReLU(threshold=1),
        activation_layers.ReLU(max_value=3, negative_slope=0.5),
        activation_layers.Softmax(),
        partial(activations.relu, max_value=-1),
        partial(activations.celu, alpha=-0.5),
        partial(activations.soft_shrink, threshold=-0.5),
        partial(activations.leaky_relu, negative_slope=np.linspace(0, 1, 12)),
        partial(activations.leaky_relu, negative_slope=float("nan")),
        lambda y: 2 * y,
    ],
)
def test_what_the_core_cannot_do_is_applied_afterwards(function):
    assert split_activation(function) == (LINEAR, function)
    x = np.linspace(-4, 4, 60).reshape(1, 5, 12)
    kernel = np.ones((1, 12, 1))
    np.testing.assert_array_equal(depthwise_conv1d(x, kernel, activation=function), function(x))


def test_wrong_arguments_are_reported_by_the_function():
    x, kernel = np.ones((1, 5, 2)), np.ones((1, 2, 1))
    with pytest.raises(TypeError, match="slope"):
        depthwise_conv1d(x, kernel, activation=partial(activations.relu, slope=1))


@pytest.mark.parametrize(
    "fused",
    [(23, 0.0, 0.0), (-1, 0.0, 0.0), (1, 1.0, 0.0), (2, np.nan, 0.0), (11, np.nan, 0.0), (13, 0.0, 0.0)]
    + [(13, np.inf, 0.0), (18, -0.5, 0.0), (19, np.nan, 0.0), (20, 0.0, np.nan)],
)  # fmt: skip
def test_the_core_refuses_unusable_activations(fused):
    with pytest.raises(ValueError, match="activation"):
        apply(fused, np.ones(4), "float64", ISAS[0], SHAPES["direct"])
