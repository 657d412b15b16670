# SPDX-License-Identifier: BSD-3-Clause
"""`causal_conv1d_fn`, `causal_conv1d_update` and `causal_conv_with_state` against their definitions, written out for
single outputs; the data is integer, so that they are equal."""

import dwconv
import numpy as np
import pytest
from cases import pick, scaled
from dwconv import causal_conv1d_fn, causal_conv1d_update, causal_conv_with_state

LAYOUTS = ("contiguous", "channels_last", "strided", "big_endian")


def integers(rng, *shape, dtype="float32"):
    return rng.integers(-8, 9, shape).astype(dtype)


def laid_out(array, layout):
    """The (batch, channels, steps) array, otherwise in memory."""
    if layout == "channels_last":
        return np.ascontiguousarray(array.transpose(0, 2, 1)).transpose(0, 2, 1)
    if layout == "strided":
        room = np.full((*array.shape[:2], 2 * array.shape[2]), np.nan, array.dtype)
        room[:, :, ::2] = array
        return room[:, :, ::2]
    return array.astype(array.dtype.newbyteorder(">")) if layout == "big_endian" else array.copy()


def by_definition(x, weight, bias, seq_idx=None, before=None):
    """Every output by itself: an input counts if it is of the same sequence, the state if that is the first one."""
    batch, channels, steps = x.shape
    taps = weight.shape[1]
    seq_idx = np.zeros((batch, steps), int) if seq_idx is None else seq_idx
    before = np.zeros((batch, channels, taps - 1)) if before is None else before
    out = np.zeros(x.shape)
    for b, t in np.ndindex(batch, steps):
        if seq_idx[b, t] < 0:
            continue
        out[b, :, t] = 0 if bias is None else bias
        for k in range(taps):
            at = t - (taps - 1) + k
            if at >= 0 and seq_idx[b, at] == seq_idx[b, t]:
                out[b, :, t] += weight[:, k] * x[b, :, at]
            elif at < 0 and seq_idx[b, 0] == seq_idx[b, t]:
                out[b, :, t] += weight[:, k] * before[b, :, taps - 1 + at]
    return out


def random_seq_idx(rng, batch, steps):
    """Sequences of any length, not numbered in order, with padding between and around some."""
    numbers = np.full((batch, steps), -1)
    for row in numbers:
        edges = np.sort(rng.integers(0, steps + 1, int(rng.integers(1, 6))))
        names = rng.permutation(9)
        for name, start, stop in zip(names, edges, [*edges[1:], steps], strict=False):
            row[start:stop] = name if rng.integers(5) else -1
    return numbers


def random_call(rng):
    batch, channels, steps = (pick(rng, sizes) for sizes in ((1, 2, 3), (1, 2, 7, 33), (1, 2, 3, 5, 40)))
    taps = pick(rng, (1, 2, 3, 4, 5, 9, 31))
    dtype = pick(rng, ("float32", "float64"))
    x, weight = integers(rng, batch, channels, steps, dtype=dtype), integers(rng, channels, taps, dtype=dtype)
    bias = integers(rng, channels, dtype=dtype) if rng.integers(2) else None
    before = integers(rng, batch, channels, taps - 1, dtype=dtype) if rng.integers(2) else None
    seq_idx = random_seq_idx(rng, batch, steps) if rng.integers(2) else None
    return x, weight, bias, seq_idx, before


def describe(seed, x, weight, bias, seq_idx, before):
    numbers = None if seq_idx is None else seq_idx.tolist()
    return (f"random_call(np.random.default_rng({seed})): {x.shape=} {weight.shape=} {x.dtype=} bias={bias is not None} "
            f"initial_states={before is not None} seq_idx={numbers}")  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_random_calls(layout):
    for seed in range(scaled(120)):
        call = x, weight, bias, seq_idx, before = random_call(np.random.default_rng(seed))
        line = describe(seed, *call)
        expected = by_definition(x, weight, bias, seq_idx, before)
        if seq_idx is not None:
            x = x.copy()
            x.transpose(0, 2, 1)[seq_idx < 0] = np.nan  # padding is not read
        state = before if before is None else laid_out(before, layout)
        got = causal_conv1d_fn(laid_out(x, layout), weight, bias, seq_idx, state)
        assert got.dtype == x.dtype and got.dtype.isnative, line
        assert np.array_equal(got, expected), line


def test_silu_and_swish():
    rng = np.random.default_rng(1)
    x, weight = rng.standard_normal((2, 5, 20)), rng.standard_normal((5, 4))
    plain = causal_conv1d_fn(x, weight)
    for name in ("silu", "swish"):
        got = causal_conv1d_fn(x, weight, activation=name)
        np.testing.assert_allclose(got, plain / (1 + np.exp(-plain)), rtol=1e-14, atol=1e-15)


def test_final_states_continue_the_sequence():
    """Any cut: two calls with the state between them are the bits of one call."""
    for seed in range(scaled(60)):
        rng = np.random.default_rng(seed)
        taps, steps = pick(rng, (1, 2, 4, 9)), int(rng.integers(2, 30))
        x = rng.standard_normal((2, 5, steps)).astype("float32")
        weight, bias = rng.standard_normal((5, taps)).astype("float32"), rng.standard_normal(5).astype("float32")
        before = rng.standard_normal((2, 5, taps - 1)).astype("float32")
        options = dict(initial_states=before, return_final_states=True, activation="silu")
        whole, end = causal_conv1d_fn(x, weight, bias, **options)
        cut = int(rng.integers(0, steps + 1))
        first, state = causal_conv1d_fn(x[:, :, :cut], weight, bias, **options)
        second, state = causal_conv1d_fn(x[:, :, cut:], weight, bias, **options | {"initial_states": state})
        joined = np.concatenate((first, second), axis=2)
        assert np.array_equal(joined, whole), f"default_rng({seed}) {taps=} {steps=} {cut=}"
        assert np.array_equal(state, end)
        assert np.array_equal(end, np.concatenate((before, x), axis=2)[:, :, steps:])


def test_final_states_of_sequences():
    x = np.arange(1.0, 9.0).reshape(1, 1, 8)
    weight, before = np.ones((1, 4)), np.array([[[-3.0, -2.0, -1.0]]])

    def final(numbers, initial_states=before, steps=8):
        return causal_conv1d_fn(x[:, :, :steps], weight, seq_idx=[numbers], initial_states=initial_states,
                                return_final_states=True)[1][0, 0].tolist()  # fmt: skip

    assert final([0, 0, 0, 0, 0, 0, 0, 0]) == [6, 7, 8]
    assert final([0, 0, 0, 0, 0, 0, 1, 1]) == [0, 7, 8]
    assert final([0, 0, 0, 0, 0, 1, -1, -1]) == [0, 0, 6]
    assert final([5, 5], steps=2) == [-1, 1, 2]
    assert final([5, 5], None, steps=2) == [0, 1, 2]
    assert final([-1, 5], steps=2) == [0, 0, 2]
    assert final([-1, -1], steps=2) == [-3, -2, -1]


def test_final_states_out():
    x, weight = np.ones((2, 3, 5), "f4"), np.ones((3, 4), "f4")
    state = np.full((2, 3, 3), 7.0, "f4")
    out, final = causal_conv1d_fn(x, weight, None, None, state, True, state)  # advanced in place
    assert final is state and (state == 1).all() and out[0, 0].tolist() == [22, 16, 10, 4, 4]
    other = np.zeros((3, 2, 3), "f4").transpose(1, 0, 2)
    _, final = causal_conv1d_fn(x, weight, return_final_states=True, final_states_out=other)
    assert final is other and (other == 1).all()


def test_result_lies_like_the_input():
    x, weight = np.ones((2, 3, 50)), np.ones((3, 4))
    assert causal_conv1d_fn(x, weight).flags.c_contiguous
    assert causal_conv1d_fn(laid_out(x, "channels_last"), weight).transpose(0, 2, 1).flags.c_contiguous


def test_dtype_is_that_of_the_input():
    x, weight = np.full((1, 1, 2), 1 / 3), np.full((1, 1), 3, "f4")
    assert causal_conv1d_fn(x.astype("f4"), weight.astype("f8")).dtype == np.float32
    assert causal_conv1d_fn(x, weight).dtype == np.float64
    assert causal_conv1d_update(x.astype("f4"), np.empty((1, 1, 0), "f4"), weight.astype("f8")).dtype == np.float32


@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("chosen", [False, True])
def test_updates_are_the_whole_sequence(circular, chosen):
    """Steps and short chunks, states of any length and layout, in a pool or not, are the bits of one call."""
    for seed in range(scaled(60)):
        rng = np.random.default_rng(seed)
        batch, channels, steps = pick(rng, (1, 2, 3)), pick(rng, (1, 5, 33)), 24
        taps = pick(rng, (1, 2, 3, 4, 7))
        length = taps - 1 + pick(rng, (0, 0, 1, 2, 5, 80))
        line = f"default_rng({seed}) {batch=} {channels=} {taps=} {length=} {circular=} {chosen=}"
        x = rng.standard_normal((batch, channels, steps)).astype("f4")
        weight, bias = rng.standard_normal((channels, taps)).astype("f4"), rng.standard_normal(channels).astype("f4")
        whole = causal_conv1d_fn(x, weight, bias, activation="silu")

        pool = batch + 3 if chosen else batch
        state = laid_out(np.zeros((pool, channels, length), "f4"), pick(rng, LAYOUTS[:3]))
        indices = rng.permutation(pool)[:batch].astype("i4") if chosen else None
        idle = np.setdiff1d(np.arange(pool), indices) if chosen else []
        state[idle] = 7
        at = 0
        while at < steps:
            n = min(steps - at, int(pick(rng, (0, 1, 1, 2, 6, 11))))
            part = x[:, :, at : at + n]
            seen = np.full(batch, at, "i4") if circular else None
            one = x[:, :, at] if n == 1 and rng.integers(2) else part
            out = causal_conv1d_update(one, state, weight, bias, "silu", seen, indices)
            assert out.shape == one.shape
            assert np.array_equal(out.reshape(part.shape), whole[:, :, at : at + n]), f"{line} {at=} {n=}"
            at += n
            seen_so_far = np.concatenate((np.zeros((batch, channels, length), "f4"), x[:, :, :at]), axis=2)
            expected = seen_so_far[:, :, at:]
            if circular and length:
                expected = np.roll(expected, at % length, axis=2)
            assert np.array_equal(state[slice(None) if indices is None else indices], expected), f"{line} {at=} {n=}"
            assert (state[idle] == 7).all(), line


def test_items_of_a_circular_buffer_are_at_different_places():
    """Each item of a server is as far as it is: outputs as if it were alone."""
    rng = np.random.default_rng(5)
    taps, length, channels = 4, 6, 3
    weight = integers(rng, channels, taps)
    seen = np.array([0, 3, 13])
    past = [integers(rng, channels, n) for n in seen]
    state = np.zeros((3, channels, length), "f4")
    for item, steps in enumerate(past):
        for t in range(steps.shape[1]):
            state[item, :, t % length] = steps[:, t]
    new = integers(rng, 3, channels, 2)
    got = causal_conv1d_update(new, state, weight, cache_seqlens=seen)
    for item, steps in enumerate(past):
        whole = np.concatenate((steps, new[item]), axis=1)[np.newaxis]
        assert np.array_equal(got[item], causal_conv1d_fn(whole, weight)[0, :, -2:]), f"{item=}"
        assert all(np.array_equal(state[item, :, (seen[item] + t) % length], new[item, :, t]) for t in range(2))


@pytest.mark.parametrize("circular", [False, True])
def test_negative_indices_are_padding(circular):
    rng = np.random.default_rng(6)
    x, weight = integers(rng, 4, 2), integers(rng, 2, 3)
    x[[0, 2]] = np.nan
    state = integers(rng, 5, 2, 4)
    seen = np.array([9, 1, 9, 6]) if circular else None
    expected = state.copy()
    active = expected[[3, 0]]
    out = causal_conv1d_update(x[[1, 3]], active, weight, cache_seqlens=None if seen is None else seen[[1, 3]])
    expected[[3, 0]] = active
    got = causal_conv1d_update(x, state, weight, cache_seqlens=seen, conv_state_indices=[-1, 3, -1, 0])
    assert np.array_equal(got[[1, 3]], out) and (got[[0, 2]] == 0).all()
    assert np.array_equal(state, expected)


def transcription(input, weight, bias=None, past_state=None, activation="none"):
    """The text of the operator: join the state and the input, convolve without padding, keep the last k - 1."""
    batch, channels, length = input.shape
    k = weight.shape[2]
    past_state = np.zeros((batch, channels, k - 1), input.dtype) if past_state is None else past_state
    joined = np.concatenate((past_state, input), axis=2)
    output = sum(weight[:, 0, j, np.newaxis] * joined[:, :, j : j + length] for j in range(k))
    output = output if bias is None else output + bias[:, np.newaxis]
    if activation != "none":
        output = output / (1 + np.exp(-output))
    return output, joined[:, :, length:]


@pytest.mark.parametrize("activation", ["none", "silu", "swish"])
@pytest.mark.parametrize("length", [1, 2, 3, 10])
@pytest.mark.parametrize("k", [1, 2, 4, 7])
def test_onnx_operator(k, length, activation):
    rng = np.random.default_rng(k)
    for with_bias, with_state in np.ndindex(2, 2):
        x, weight = rng.standard_normal((2, 6, length)), rng.standard_normal((6, 1, k))
        bias = rng.standard_normal(6) if with_bias else None
        state = rng.standard_normal((2, 6, k - 1)) if with_state else None
        output, present = causal_conv_with_state(x, weight, bias, state, activation)
        expected, expected_present = transcription(x, weight, bias, state, activation)
        np.testing.assert_allclose(output, expected, rtol=1e-13, atol=1e-13)
        assert np.array_equal(present, expected_present)


F4 = np.float32
BAD_FN = [
    (dict(x=np.ones((2, 3), F4)), "`x` must have shape (batch, channels, steps), received x.shape=(2, 3)"),
    (dict(x=np.ones((2, 3, 4), int)), "`x` must have dtype float32 or float64, received x of dtype int64"),
    (dict(weight=np.ones((4, 2), F4)), "received weight.shape=(4, 2), x.shape=(2, 3, 5)"),
    (dict(weight=np.ones((3, 1, 2), F4)), "`weight` must have shape (channels, kernel_size)"),
    (dict(weight=np.ones((3, 0), F4)), "received weight.shape=(3, 0)"),
    (dict(bias=np.ones(4, F4)), "`bias` must have shape (channels,) = (3,), received bias.shape=(4,)"),
    (dict(activation="relu"), "`activation` must be None, 'silu' or 'swish', received activation='relu'"),
    (dict(initial_states=np.ones((2, 3, 2), F4)), "(2, 3, 1) and the dtype of x, float32, received shape (2, 3, 2)"),
    (dict(initial_states=np.ones((2, 3, 1))), "received shape (2, 3, 1) and dtype float64"),
    (dict(seq_idx=np.zeros((2, 4), int)), "`seq_idx` must have shape (batch, steps) = (2, 5), received shape (2, 4)"),
    (dict(seq_idx=np.zeros((2, 5))), "`seq_idx` must hold integers"),
    (dict(seq_idx=[[0, 0, 0, 0, 0], [0, 1, 1, 0, 0]]), "received 0 again at step 3 of batch item 1"),
    (dict(final_states_out=np.ones((2, 3, 2), F4)), "`final_states_out` must have the shape of the output, (2, 3, 1)"),
    (dict(final_states_out=[0]), "`final_states_out` must be a numpy.ndarray"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_FN, ids=lambda value: value if isinstance(value, str) else "")
def test_bad_input_of_fn(arguments, message):
    good = dict(x=np.ones((2, 3, 5), F4), weight=np.ones((3, 2), F4), return_final_states=True,
                final_states_out=np.full((2, 3, 1), 7, F4))  # fmt: skip
    with pytest.raises((ValueError, TypeError)) as error:
        causal_conv1d_fn(**good | arguments)
    assert message in str(error.value)
    assert (good["final_states_out"] == 7).all()


BAD_UPDATE = [
    (dict(x=np.ones(3, F4)), "received weight.shape=(3, 2), x.shape=(3,)"),
    (dict(x=np.ones((2, 3, 1, 1), F4)), "received x.shape=(2, 3, 1, 1)"),
    (dict(x=np.ones((2, 3))), "`conv_state` must have the dtype of x, float64, received conv_state.dtype=float32"),
    (
        dict(conv_state=np.full((3, 3, 1), 7, F4)),
        "(2, 3, state_len) with state_len >= kernel_size - 1 = 1, received conv_state.shape=(3, 3, 1)",
    ),
    (dict(conv_state=np.full((2, 3, 0), 7, F4)), "received conv_state.shape=(2, 3, 0)"),
    (dict(conv_state=np.full((2, 4, 1), 7, F4)), "received conv_state.shape=(2, 4, 1)"),
    (dict(conv_state=[[7, 7, 7]]), "`conv_state` must be a numpy.ndarray, received conv_state of type list"),
    (dict(conv_state=np.broadcast_to(np.full(1, 7, F4), (2, 3, 1))), "`conv_state` must be writable"),
    (dict(activation="gelu"), "received activation='gelu'"),
    (dict(cache_seqlens=[0]), "`cache_seqlens` must have shape (batch,) = (2,), received shape (1,)"),
    (dict(cache_seqlens=[0, -1]), "`cache_seqlens` must not be negative, received -1"),
    (dict(cache_seqlens=[0.0, 1.0]), "`cache_seqlens` must hold integers"),
    (dict(conv_state_indices=[0, 2]), "`conv_state_indices` must be less than the 2 items of conv_state, received 2"),
    (dict(conv_state_indices=[1, 1]), "`conv_state_indices` must name each item once, received 1 more than once"),
    (dict(conv_state_indices=[0]), "`conv_state_indices` must have shape (batch,) = (2,), received shape (1,)"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_UPDATE, ids=lambda value: value if isinstance(value, str) else "")
def test_bad_input_of_update(arguments, message):
    good = dict(x=np.ones((2, 3), F4), conv_state=np.full((2, 3, 1), 7, F4), weight=np.ones((3, 2), F4))
    given = good | arguments
    with pytest.raises((ValueError, TypeError)) as error:
        causal_conv1d_update(**given)
    assert message in str(error.value)
    assert (np.asarray(given["conv_state"]) == 7).all()


def test_bad_input_of_the_onnx_operator():
    x = np.ones((1, 3, 5))
    with pytest.raises(ValueError, match=r"`weight` must have shape \(channels, 1, k\), received weight.shape=\(3, 2\)"):
        causal_conv_with_state(x, np.ones((3, 2)))
    with pytest.raises(ValueError, match="`activation` must be 'none', 'silu' or 'swish', received activation=None"):
        causal_conv_with_state(x, np.ones((3, 1, 2)), activation=None)


def test_exported():
    names = ("causal_conv1d_fn", "causal_conv1d_update", "causal_conv_with_state")
    assert all(name in dwconv.__all__ and getattr(dwconv, name).__module__ == "dwconv.causal_conv1d" for name in names)
