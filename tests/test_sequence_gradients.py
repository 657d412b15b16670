# SPDX-License-Identifier: BSD-3-Clause
"""Gradients of sequences of different lengths in one array: each has what it would have alone."""

import numpy as np
import pytest
import reference
from cases import pick, scaled
from dwconv import depthwise_conv1d_backward
from test_sequences import KERNEL, Call, X, boundaries, padded

GEOMETRY = ("strides", "padding", "dilation_rate", "data_format")


def geometry(call):
    return {name: call.options[name] for name in GEOMETRY}


def gradients_alone(call, rng):
    """For each sequence: the gradient of its outputs, random, and dx; of all together: dkernel and dbias."""
    outputs = call.kernel.shape[1] * call.kernel.shape[2]
    dys = [rng.standard_normal((1, max(0, call.out_steps(n)), outputs)).astype(call.dtype) for n in call.lengths]
    dxs, dkernel, dbias = [], np.zeros(call.kernel.shape), np.zeros(outputs)
    for x, dy in zip(call.sequences, dys, strict=True):
        if dy.shape[1] == 0:
            dxs.append(np.zeros_like(x))
            continue
        options = geometry(call)
        dx, dw, db = depthwise_conv1d_backward(call.to_layout(x), call.kernel, call.to_layout(dy), **options)
        dxs.append(call.to_last(dx))
        dkernel += dw
        dbias += db
    return dys, dxs, dkernel, dbias


def assert_near(call, got, expected, terms):
    """Equal but for the order of a sum of at most that many terms of size about 1."""
    tolerance = np.finfo(call.dtype).eps * terms * 8
    assert got.dtype == call.dtype and np.abs(got - expected).max(initial=0) <= tolerance, f"{call}"


def check(call, x, dy, expected, **sequences):
    """`expected` is (dx, dkernel, dbias); x, dy and dx channels_last."""
    options = geometry(call) | sequences
    got = depthwise_conv1d_backward(call.to_layout(x), call.kernel, call.to_layout(dy), **options)
    assert np.array_equal(call.to_last(got[0]), expected[0]), f"{call}"
    terms = sum(call.lengths) + len(call.lengths) * 20
    assert_near(call, got[1], expected[1], terms)
    assert_near(call, got[2], expected[2], terms)
    for needed in range(3):
        needs = tuple(i == needed for i in range(3))
        one = depthwise_conv1d_backward(call.to_layout(x), call.kernel, call.to_layout(dy), **options, needs=needs)
        assert [part is not None for part in one] == list(needs), f"{call}"
        assert np.array_equal(one[needed], got[needed]), f"{call} {needs=}"


def test_padded_batches():
    for seed in range(scaled(100)):
        call = Call(seed)
        steps = max(call.lengths) + seed % 3
        if call.out_steps(steps) < 1:
            continue
        dys, dxs, dkernel, dbias = gradients_alone(call, np.random.default_rng(seed))
        x, dy = padded(call.sequences, steps), padded(dys, call.out_steps(steps))  # with NaN behind them
        check(call, x, dy, (padded(dxs, steps, 0), dkernel, dbias), lengths=call.lengths)


def test_packed_sequences():
    for seed in range(scaled(100)):
        call = Call(seed)
        dys, dxs, dkernel, dbias = gradients_alone(call, np.random.default_rng(seed))
        x, dy, dx = (np.concatenate(parts, axis=1) for parts in (call.sequences, dys, dxs))
        check(call, x, dy, (dx, dkernel, dbias), cu_seqlens=boundaries(call.lengths))


def test_numbered_steps():
    """The same sequences by their boundaries and by their numbers, but for steps of padding."""
    for seed in range(scaled(60)):
        rng = np.random.default_rng(seed)
        call = Call(seed, strides=1, padding=pick(rng, ("same", "causal")))
        dys, dxs, dkernel, dbias = gradients_alone(call, rng)
        numbers = np.repeat(np.arange(len(call.lengths)), call.lengths)
        x, dy, dx = (np.concatenate(parts, axis=1) for parts in (call.sequences, dys, dxs))
        gaps = rng.integers(0, 3, len(call.lengths))
        at = np.arange(len(numbers)) + np.cumsum(gaps)[numbers]
        total = len(numbers) + int(gaps.sum()) + 1
        wide = []
        for part, fill in ((x, np.nan), (dy, np.nan), (dx, 0)):
            wide.append(np.full((1, total, part.shape[2]), fill, call.dtype))
            wide[-1][:, at] = part
        seq_idx = np.full((1, total), -1)
        seq_idx[0, at] = numbers
        check(call, wide[0], wide[1], (wide[2], dkernel, dbias), seq_idx=seq_idx)


def centred(y):
    return y - y.mean()


centred.gradient = lambda z, dy: dy - dy.mean()


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("activation", ["silu", "relu", "softplus", centred])
def test_activations(activation, data_format):
    """Each sequence has the gradients it would have alone, `centred` of all its elements, in arrays of the caller's too."""
    rng = np.random.default_rng(3)
    kernel, bias = rng.standard_normal((3, 4, 2)).astype("f4"), rng.standard_normal(8).astype("f4")
    lengths = [6, 6, 11, 4]
    axes = (0, 1, 2) if data_format == "channels_last" else (0, 2, 1)
    options = dict(padding="same", data_format=data_format, bias=bias, activation=activation)
    xs, dys = ([rng.standard_normal((1, n, c)).astype("f4").transpose(axes) for n in lengths] for c in (4, 8))
    parts = [depthwise_conv1d_backward(x, kernel, dy, **options) for x, dy in zip(xs, dys, strict=True)]
    time = axes[1]
    x, dy = np.concatenate(xs, time), np.concatenate(dys, time)
    options["cu_seqlens"] = boundaries(lengths)
    dx, dkernel, dbias = got = depthwise_conv1d_backward(x, kernel, dy, **options)
    assert np.array_equal(dx, np.concatenate([part[0] for part in parts], time))
    np.testing.assert_allclose(dkernel, sum(part[1].astype(float) for part in parts), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(dbias, sum(part[2].astype(float) for part in parts), rtol=1e-5, atol=1e-5)
    out = np.empty_like(dx, order="C"), None, np.empty_like(bias)
    again = depthwise_conv1d_backward(x, kernel, dy, out=out, **options)
    assert again[0] is out[0] and again[2] is out[2]
    assert all(np.array_equal(a, b) for a, b in zip(again, got, strict=True))


def test_against_the_specification():
    """Small integers, for which sums are exact."""
    rng = np.random.default_rng(0)
    lengths = [4, 9, 1, 9]
    kernel = rng.integers(-4, 5, (3, 5, 2)).astype("f4")
    sequences = [rng.integers(-4, 5, (1, n, 5)).astype("f4") for n in lengths]
    options = dict(padding="same", strides=2)
    dys = [rng.integers(-4, 5, (1, -(-n // 2), 10)).astype("f4") for n in lengths]
    parts = [reference.gradients(x, kernel, dy, **options) for x, dy in zip(sequences, dys, strict=True)]
    dx, dkernel, dbias = depthwise_conv1d_backward(
        np.concatenate(sequences, 1), kernel, np.concatenate(dys, 1), cu_seqlens=boundaries(lengths), **options
    )
    assert np.array_equal(dx, np.concatenate([part[0] for part in parts], axis=1))
    assert np.array_equal(dkernel, sum(part[1] for part in parts))
    assert np.array_equal(dbias, sum(part[2] for part in parts))


BAD = [
    (dict(lengths=[1, -1]), ValueError, "received lengths[1]=-1"),
    (dict(lengths=[1, 2], dy=np.ones((2, 6, 3))), ValueError, "output, (2, 7, 3), received dy.shape=(2, 6, 3)"),
    (dict(lengths=[1, 2], dy=np.ones((2, 7, 3), int)), TypeError, "`dy` must have dtype float32 or float64"),
    (dict(cu_seqlens=[0, 3], x=X[:1], dy=X[:1]), ValueError, "begin with 0 and end with the 10 steps"),
    (dict(lengths=[1, 2], out=(X, None, None)), ValueError, "`out` must not overlap an input or the weights"),
    (dict(lengths=[1, 2], activation="unknown"), ValueError, "unknown"),
    (dict(lengths=[1, 2], bias=np.ones(2)), ValueError, "`bias` must have shape"),
    (dict(lengths=[1, 2], seq_idx=[[0] * 10] * 2), ValueError, "only one of `lengths`, `cu_seqlens` and `seq_idx` may"),
]


@pytest.mark.parametrize(("arguments", "exception", "message"), BAD, ids=[message for _, _, message in BAD])
def test_bad_input(arguments, exception, message):
    with pytest.raises(exception) as error:
        depthwise_conv1d_backward(**dict(x=X, kernel=KERNEL, dy=np.ones((2, 7, 3))) | arguments)
    assert message in str(error.value)
