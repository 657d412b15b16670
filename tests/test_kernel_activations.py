# SPDX-License-Identifier: BSD-3-Clause
"""Activations that have no rounding of their own, or little: every instruction set against their formulas in NumPy."""

import numpy as np
import pytest
from cases import Case, assert_bits, random_case, scaled
from dwconv import _core
from guarded import AVAILABLE, Guarded
from test_kernels import (
    CLIP,
    ISAS,
    LEAKY_RELU,
    both_dtypes,
    both_layouts,
    convolve,
    element_strides,
    every_isa,
    plan_of,
)
from tolerances import ACTIVATION_ULPS, UNIT_ROUNDOFF

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="needs mprotect")

HARD_SIGMOID, HARD_SILU = 3, 4
ACTIVATIONS = {
    "relu": (CLIP, 0.0, np.inf),
    "relu6": (CLIP, 0.0, 6.0),
    "hard_tanh": (CLIP, -1.0, 1.0),
    "clip": (CLIP, -0.3, 0.7),
    "leaky_relu": (LEAKY_RELU, 0.2, 0.0),
    "hard_sigmoid": (HARD_SIGMOID, 0.0, 0.0),
    "hard_silu": (HARD_SILU, 0.0, 0.0),
}


def clip(z, low, high):
    """NaN and the sign of zero pass."""
    z = np.where(low > z, low, z)
    return np.where(high < z, high, z)


def activation_model(kind, alpha, beta, z):
    real = z.dtype.type
    alpha, beta = real(alpha), real(beta)
    if kind == CLIP:
        return clip(z, alpha, beta)
    if kind == LEAKY_RELU:
        return np.where(z < 0, z * alpha, z)
    sixth, half = np.full_like(z, real(1) / real(6)), np.full_like(z, 0.5)
    line = z * sixth + half
    gate = clip(line, real(0), real(1))
    return gate if kind == HARD_SIGMOID else z * gate


@every_isa
@both_dtypes
@both_layouts
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name, data_format, dtype, isa):
    rng = np.random.default_rng([31, *name.encode(), *data_format.encode(), *dtype.encode()])
    activation = ACTIVATIONS[name]
    for _ in range(scaled(8)):
        case = random_case(rng, data_format=data_format, dtype=dtype)
        x, kernel, bias = case.floats(2)
        z = convolve(case, isa, x, kernel, bias)
        expected = activation_model(*activation, z)
        assert expected.dtype == z.dtype
        shape = plan_of(case).out_shape
        y = Guarded(shape, dtype, gaps=(3, 2), at_end=bool(rng.integers(2)))
        plan = plan_of(case, isa, y_strides=element_strides(y.array))
        plan.forward(case.to_layout(x), kernel, bias, y.array, activation, 2)
        assert y.gaps_are_untouched(), f"{case} {isa=} {name}"
        if ACTIVATION_ULPS.get(name, 0) == 0:
            assert_bits(case, case.to_last(y.array), expected, f"{isa=} {name}")
        else:
            bound = ACTIVATION_ULPS[name] * UNIT_ROUNDOFF[dtype] * np.maximum(1, np.abs(z))
            assert (np.abs(case.to_last(y.array) - expected) <= bound).all(), f"{case} {isa=} {name}"


@every_isa
@both_dtypes
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_of_special_values(name, dtype, isa):
    special = np.array(
        [np.nan, np.inf, -np.inf, -0.0, 0.0, 6.0, -3.0, 3.0, -1e-30, 2e30, -2e30, 0.5], dtype
    )
    case = Case(special.size, 1, 1, dtype=dtype, bias=False)
    kernel = np.ones((1, 1, 1), dtype)
    # A bias of -0 keeps the sign of a zero.
    y = convolve(
        case, isa, special.reshape(1, -1, 1), kernel, np.array([-0.0], dtype), ACTIVATIONS[name]
    )
    with np.errstate(all="ignore"):
        expected = activation_model(*ACTIVATIONS[name], special)
        if ACTIVATION_ULPS.get(name, 0) == 0:
            assert_bits(case, y.ravel(), expected, f"{isa=} {name}")
        else:
            bound = ACTIVATION_ULPS[name] * UNIT_ROUNDOFF[dtype] * np.maximum(1, np.abs(special))
            near = np.abs(y.ravel() - expected) <= bound
            same = (y.ravel() == expected) | (np.isnan(y.ravel()) & np.isnan(expected))
            assert (near | same).all(), f"{isa=} {name}: {y.ravel().tolist()}"
    assert np.isnan(y.ravel()[0])


@pytest.mark.parametrize("isa", [isa for isa in ISAS if _core.isa_has_fma(isa)])
@both_dtypes
def test_activations_are_equal_on_fma_isas(dtype, isa):
    case = Case(70, 37, 5, 1, 2, dtype=dtype)
    x, kernel, bias = case.floats(3)
    x[0, ::7] = np.nan
    x[0, 3::11] = -np.inf
    for activation in ACTIVATIONS.values():
        first = convolve(case, ISAS[0], x, kernel, bias, activation)
        assert_bits(
            case, convolve(case, isa, x, kernel, bias, activation), first, f"{isa=} {activation=}"
        )
