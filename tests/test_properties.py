# SPDX-License-Identifier: BSD-3-Clause
"""Laws of convolution, for any sizes hypothesis thinks of.  Most data is integer, so that laws hold
with ==."""

from dataclasses import replace

import numpy as np
import pytest
from cases import (
    DTYPES,
    LAYOUTS,
    Case,
    assert_bits,
    assert_same,
    expected_integers,
    scaled,
)
from dwconv import depthwise_conv1d
from dwconv.padding import resolve_padding
from hypothesis import assume, settings
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st
from reference import padding_and_steps


def given(*strategies):
    """The decorator of hypothesis, with more examples: convolving takes less time than inventing a
    case."""
    return lambda test: settings(max_examples=scaled(300))(hypothesis_given(*strategies)(test))


@st.composite
def cases(draw, **fixed):
    """Any convolution of moderate size that has an output."""
    sizes = {
        "batch": draw(st.integers(1, 3)),
        "steps": draw(st.integers(1, 140)),
        "channels": draw(st.integers(1, 40)),
        "kernel_size": draw(st.integers(1, 20)),
        "multiplier": draw(st.integers(1, 4)),
        "strides": draw(st.integers(1, 6)),
        "dilation_rate": draw(st.integers(1, 6)),
        "data_format": draw(st.sampled_from(LAYOUTS)),
        "dtype": draw(st.sampled_from(DTYPES)),
        "bias": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**20)),
        "padding": draw(
            st.sampled_from(("valid", "same", "causal"))
            | st.tuples(st.integers(-6, 30), st.integers(-6, 30))
        ),
    } | fixed
    case = Case(**sizes)
    assume(case.geometry["out_steps"] >= 1)
    return case


@given(cases())
def test_specification(case):
    x, kernel, bias = case.integers()
    assert_same(case, case.run(x, kernel, bias), expected_integers(case, x, kernel, bias))


@given(cases(), st.integers(-3, 3), st.integers(-3, 3))
def test_linear_in_the_input(case, a, b):
    x, kernel, _ = case.integers()
    other, _, _ = replace(case, seed=case.seed + 1).integers()
    together = case.run(a * x + b * other, kernel, None)
    assert_same(
        case,
        together,
        a * case.run(x, kernel, None) + b * case.run(other, kernel, None),
        f"{a=} {b=}",
    )


@given(cases(), st.integers(-3, 3), st.integers(-3, 3))
def test_linear_in_the_kernel(case, a, b):
    x, kernel, _ = case.integers()
    _, other, _ = replace(case, seed=case.seed + 1).integers()
    together = case.run(x, a * kernel + b * other, None)
    assert_same(
        case, together, a * case.run(x, kernel, None) + b * case.run(x, other, None), f"{a=} {b=}"
    )


@given(cases(bias=True))
def test_bias_is_added(case):
    x, kernel, bias = case.integers()
    assert_same(case, case.run(x, kernel, bias), case.run(x, kernel, None) + bias)


@given(cases(), st.integers(-60, 60))
def test_powers_of_two_scale_exactly(case, exponent):
    x, kernel, bias = case.floats()
    factor = case.run(x, kernel, bias).dtype.type(2.0**exponent)
    scaled_bias = None if bias is None else bias * factor
    assert_bits(case, case.run(x * factor, kernel, scaled_bias), case.run(x, kernel, bias) * factor)


@given(cases(padding="causal", strides=1), st.integers(0, 50))
def test_causal_output_follows_a_shifted_input(case, shift):
    x, kernel, bias = case.integers()
    later = np.concatenate([np.zeros((case.batch, shift, case.channels), case.dtype), x], axis=1)
    got = replace(case, steps=case.steps + shift).run(later, kernel, bias)[:, shift:]
    assert_same(case, got, case.run(x, kernel, bias), f"{shift=}")


@given(cases(padding="causal"), st.integers(0, 139))
def test_causal_output_ignores_the_future(case, now):
    now = min(now, case.steps - 1)
    x, kernel, bias = case.floats()
    before = case.run(x, kernel, bias)
    x[:, now + 1 :] = np.nan
    known = now // case.strides + 1
    assert_bits(case, case.run(x, kernel, bias)[:, :known], before[:, :known], f"{now=}")


@given(cases(strides=1, bias=False, padding="valid", dilation_rate=1))
def test_impulse_gives_the_kernel_backwards(case):
    _, kernel, _ = case.floats()
    taps = case.kernel_size
    x = np.zeros((1, 2 * taps - 1, case.channels), case.dtype)
    x[:, taps - 1] = 1
    got = case.run(x, kernel, None)
    assert_same(case, got, kernel[::-1].reshape(1, taps, -1))


@given(cases(), st.integers(0, 39))
def test_channels_are_independent(case, channel):
    channel = min(channel, case.channels - 1)
    x, kernel, bias = case.floats()
    before = case.run(x, kernel, bias)
    x[:, :, np.arange(case.channels) != channel] = np.nan
    own = slice(channel * case.multiplier, (channel + 1) * case.multiplier)
    assert_bits(case, case.run(x, kernel, bias)[:, :, own], before[:, :, own], f"{channel=}")


@given(cases())
def test_permuted_channels(case):
    x, kernel, bias = case.floats()
    order = np.random.default_rng(case.seed).permutation(case.channels)
    moved = None if bias is None else bias.reshape(case.channels, -1)[order].ravel()
    got = case.run(x[:, :, order], kernel[:, order], moved)
    expected = case.run(x, kernel, bias).reshape(case.batch, -1, case.channels, case.multiplier)[
        :, :, order
    ]
    assert_bits(case, got, expected.reshape(got.shape))


@given(cases())
def test_named_padding_is_explicit_padding(case):
    x, kernel, bias = case.floats()
    sizes = (case.steps, case.kernel_size, case.strides)
    left, right, out_steps = resolve_padding(case.padding, *sizes, case.dilation_rate)
    assert (left, out_steps) == padding_and_steps(*sizes, case.padding, case.dilation_rate), case
    explicit = replace(case, padding=(left, right))
    assert_bits(case, explicit.run(x, kernel, bias), case.run(x, kernel, bias), f"{left=} {right=}")


@given(cases())
def test_positive_padding_is_zeros_around_the_input(case):
    """For finite weights; a zero product leaves a sum as it is, unless that is -0."""
    x, kernel, bias = case.integers()
    sizes = (case.steps, case.kernel_size, case.strides, case.dilation_rate)
    left, right, _ = resolve_padding(case.padding, *sizes)
    cropped = x[:, max(-left, 0) : case.steps - max(-right, 0)]
    padded = np.pad(cropped, ((0, 0), (max(left, 0), max(right, 0)), (0, 0)))
    assume(
        left >= -case.steps
        and right >= -case.steps
        and padded.shape[1] == case.steps + left + right
    )
    got = replace(case, padding="valid", steps=padded.shape[1]).run(padded, kernel, bias)
    assert_same(case, case.run(x, kernel, bias), got)


@given(cases(padding="causal"))
def test_strides_take_a_subset(case):
    x, kernel, bias = case.floats()
    every = replace(case, strides=1).run(x, kernel, bias)
    assert_bits(case, case.run(x, kernel, bias), every[:, :: case.strides])


@given(cases())
def test_dilation_is_a_kernel_with_holes(case):
    x, kernel, bias = case.integers()
    span = (case.kernel_size - 1) * case.dilation_rate + 1
    stuffed = np.zeros((span, *kernel.shape[1:]), case.dtype)
    stuffed[:: case.dilation_rate] = kernel
    got = replace(case, kernel_size=span, dilation_rate=1).run(x, stuffed, bias)
    assert_same(case, case.run(x, kernel, bias), got)


@given(cases())
def test_depth_multiplier_is_several_filters(case):
    x, kernel, bias = case.floats()
    got = case.run(x, kernel, bias).reshape(case.batch, -1, case.channels, case.multiplier)
    for m in range(case.multiplier):
        one = replace(case, multiplier=1)
        part = None if bias is None else bias[m :: case.multiplier]
        assert_bits(case, got[..., m], one.run(x, kernel[:, :, m : m + 1], part), f"{m=}")


@given(cases(strides=1, padding="causal"))
def test_reversed_time(case):
    """Correlation of the reversed signal with the reversed kernel, padded on the other side."""
    x, kernel, bias = case.integers()
    left = (case.kernel_size - 1) * case.dilation_rate
    backwards = replace(case, padding=(0, left)).run(x[:, ::-1], kernel[::-1], bias)
    assert_same(case, case.run(x, kernel, bias), backwards[:, ::-1])


@given(cases(multiplier=1, dilation_rate=1, batch=1, channels=1, padding="valid", strides=1))
def test_numpy_correlate(case):
    assume(case.steps >= case.kernel_size)
    x, kernel, bias = case.integers()
    expected = np.correlate(x.ravel(), kernel.ravel(), "valid") + (0 if bias is None else bias)
    assert_same(case, case.run(x, kernel, bias).ravel(), expected.astype(case.dtype))


@given(cases(), st.integers(1, 8))
def test_blocks_of_time_equal_one_call(case, blocks):
    """Whole outputs from overlapping blocks of input, as a caller with a long recording would do
    it."""
    x, kernel, bias = case.floats()
    whole = replace(case, padding="causal").run(x, kernel, bias)
    left = (case.kernel_size - 1) * case.dilation_rate
    padded = np.concatenate([np.zeros((case.batch, left, case.channels), case.dtype), x], axis=1)
    for part in np.array_split(np.arange(whole.shape[1]), blocks):
        if part.size:
            begin, end = part[0] * case.strides, part[-1] * case.strides + left + 1
            block = replace(case, padding="valid", steps=int(end - begin))
            got = block.run(padded[:, begin:end], kernel, bias)
            assert_same(case, got, whole[:, part], f"{blocks=}")


@pytest.mark.parametrize("data_format", LAYOUTS)
def test_identity_kernel(data_format):
    x = np.random.default_rng(0).standard_normal((2, 30, 30))
    assert np.array_equal(depthwise_conv1d(x, np.ones((1, 30, 1)), data_format=data_format), x)
