# SPDX-License-Identifier: BSD-3-Clause
"""Sequences of different lengths in one array: each has the bits it would have alone, and nothing else is read."""

import math

import dwconv
import numpy as np
import pytest
from cases import DTYPES, LAYOUTS, pick, scaled
from dwconv import depthwise_conv1d, output_lengths
from reference import padding_and_steps

PADDINGS = ("same", "causal", "valid", (3, -1), (-2, 4), (7, 7), (0, -3))
ACTIVATIONS = (None, "silu", "softmax")


class Call:
    """Random sequences and a convolution of them; str() reproduces it."""

    def __init__(self, seed, **fixed):
        rng = np.random.default_rng(seed)
        self.seed = seed
        self.options = dict(
            strides=pick(rng, (1, 1, 2, 3)),
            dilation_rate=pick(rng, (1, 1, 2, 5)),
            padding=pick(rng, PADDINGS),
            data_format=pick(rng, LAYOUTS),
            activation=pick(rng, ACTIVATIONS),
        ) | fixed
        self.dtype = pick(rng, DTYPES)
        channels, multiplier, taps = pick(rng, (1, 2, 7, 16, 33)), pick(rng, (1, 1, 2)), pick(rng, (1, 2, 3, 5, 9))
        self.kernel = rng.standard_normal((taps, channels, multiplier)).astype(self.dtype)
        self.bias = rng.standard_normal(channels * multiplier).astype(self.dtype) if rng.integers(2) else None
        some = (0, 1, 2, taps, 4 * taps, int(rng.integers(60)))
        self.lengths = [pick(rng, some) for _ in range(int(rng.integers(1, 8)))]
        self.sequences = [rng.standard_normal((1, n, channels)).astype(self.dtype) for n in self.lengths]

    def __str__(self):
        return (f"Call({self.seed}) lengths={self.lengths} kernel={self.kernel.shape} {self.dtype} "
                f"bias={self.bias is not None} {self.options}")  # fmt: skip

    @property
    def first(self):
        return self.options["data_format"] == "channels_first"

    def to_layout(self, x):
        return np.ascontiguousarray(x.transpose(0, 2, 1)) if self.first else x

    def to_last(self, y):
        return y.transpose(0, 2, 1) if self.first else y

    def run(self, x, **more):
        return self.to_last(depthwise_conv1d(self.to_layout(x), self.kernel, self.bias, **self.options, **more))

    def out_steps(self, n):
        geometry = (self.options[name] for name in ("strides", "padding", "dilation_rate"))
        return padding_and_steps(n, len(self.kernel), *geometry)[1]

    def alone(self, x, **more):
        """The sequence in a call of its own; no steps if it is too short for one."""
        if self.out_steps(x.shape[1]) < 1:
            return np.empty((1, 0, self.kernel.shape[1] * self.kernel.shape[2]), self.dtype)
        return self.run(x, **more)


def padded(sequences, steps, fill=np.nan):
    x = np.full((len(sequences), steps, sequences[0].shape[2]), fill, sequences[0].dtype)
    for row, sequence in zip(x, sequences, strict=True):
        row[: sequence.shape[1]] = sequence[0]
    return x


def boundaries(lengths):
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)


def assert_rows(call, y, expected):
    """`expected`, one array for each batch item, and zeros after it."""
    for item, (row, own) in enumerate(zip(y, expected, strict=True)):
        n = own.shape[1]
        assert np.array_equal(row[:n], own[0]), f"{call} {item=}"
        assert (row[n:] == 0).all(), f"{call} {item=}"


def test_padded_batches():
    for seed in range(scaled(250)):
        call = Call(seed)
        steps = max(call.lengths) + seed % 3
        if call.out_steps(steps) < 1:
            continue
        y = call.run(padded(call.sequences, steps), lengths=call.lengths)
        assert y.shape[1] == call.out_steps(steps), f"{call}"
        assert_rows(call, y, [call.alone(x) for x in call.sequences])


def test_packed_sequences():
    for seed in range(scaled(250)):
        call = Call(seed)
        y = call.run(np.concatenate(call.sequences, axis=1), cu_seqlens=boundaries(call.lengths))
        expected = np.concatenate([call.alone(x) for x in call.sequences], axis=1)
        assert y.dtype == call.dtype and np.array_equal(y, expected), f"{call}"


def test_numbered_steps():
    """Sequences with padding before, between and behind them."""
    for seed in range(scaled(150)):
        rng = np.random.default_rng(seed)
        call = Call(seed, strides=1, padding=pick(rng, ("same", "causal")))
        channels = call.kernel.shape[1]
        parts, numbers, expected = [], [], []
        for number, x in zip(rng.permutation(20), call.sequences, strict=False):
            gap = int(rng.integers(3))
            parts += [np.full((1, gap, channels), np.nan, call.dtype), x]
            numbers += [-1] * gap + [number] * x.shape[1]
            own = call.alone(x)
            expected += [np.zeros((1, gap, own.shape[2]), call.dtype), own]
        numbers += [-1]
        parts.append(np.full((1, 1, channels), np.nan, call.dtype))
        expected.append(np.zeros((1, 1, expected[0].shape[2]), call.dtype))
        x, expected = np.concatenate(parts, axis=1), np.concatenate(expected, axis=1)
        # A second item in which all is one sequence.
        x = np.concatenate((x, np.ones_like(x)))
        y = call.run(x, seq_idx=[numbers, [3] * len(numbers)])
        assert np.array_equal(y[:1], expected), f"{call} {numbers=}"
        assert np.array_equal(y[1:], call.run(x[1:])), f"{call}"


@pytest.mark.parametrize("method", ["auto", "fft"])
def test_long_kernels(method):
    """Each sequence is transformed alone, so that its blocks are the same."""
    rng = np.random.default_rng(3)
    kernel = rng.standard_normal((600, 3, 1)).astype("f4")
    lengths = [700, 1500, 700, 700, 20]
    sequences = [rng.standard_normal((1, n, 3)).astype("f4") for n in lengths]
    options = dict(padding="causal", method=method, activation="relu")
    expected = [depthwise_conv1d(x, kernel, **options) for x in sequences]
    y = depthwise_conv1d(np.concatenate(sequences, axis=1), kernel, cu_seqlens=boundaries(lengths), **options)
    assert np.array_equal(y, np.concatenate(expected, axis=1))
    assert_rows("causal", depthwise_conv1d(padded(sequences, 1500), kernel, lengths=lengths, **options), expected)


@pytest.mark.parametrize("data_format", LAYOUTS)
def test_any_array(data_format):
    """Strided, reversed, byte-swapped and read-only input; an activation that sees the whole sequence."""
    rng = np.random.default_rng(4)
    shape = (3, 40, 12) if data_format == "channels_last" else (3, 12, 40)
    x, kernel = rng.standard_normal(shape).astype("f4"), rng.standard_normal((5, 12, 1)).astype("f4")
    options = dict(padding="same", data_format=data_format, lengths=[9, 40, 0], activation=lambda y: y - y.mean())
    expected = depthwise_conv1d(x, kernel, **options)
    axis = 1 if data_format == "channels_last" else 2
    alone = np.take(x, range(9), axis)[:1]
    alone = depthwise_conv1d(alone, kernel, padding="same", data_format=data_format, activation=options["activation"])
    assert np.array_equal(np.take(expected, range(9), axis)[:1], alone)
    room = np.zeros((3, 2 * shape[1], 2 * shape[2]), "f4")
    room[:, ::2, 1::2] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    for other in (room[:, ::2, 1::2], x[:, ::-1].copy()[:, ::-1], x.astype(">f4"), frozen, x.tolist()):
        if isinstance(other, list):
            other = np.array(other, "f4")
        assert np.array_equal(depthwise_conv1d(other, kernel, **options), expected)
    wide = np.full((3, shape[1], shape[2] + 3), 7, "f4")
    for out in (np.empty(shape, "f4"), wide[:, :, 1:-2], np.empty(shape[::-1], "f4").T):
        assert depthwise_conv1d(x, kernel, **options, out=out) is out
        assert np.array_equal(out, expected)
    assert (wide[:, :, 0] == 7).all() and (wide[:, :, -2:] == 7).all()


def test_threads_do_not_change_bits():
    rng = np.random.default_rng(5)
    lengths = rng.integers(0, 900, 9)
    x, kernel = padded([rng.standard_normal((1, n, 64)) for n in lengths], 900), rng.standard_normal((9, 64, 1))
    one, many = (depthwise_conv1d(x, kernel, padding="same", lengths=lengths, num_threads=n) for n in (1, 4))
    assert np.array_equal(one, many)


def test_sequences_longer_in_sum_than_any_plan():
    """Many sequences, of few lengths, in any order."""
    rng = np.random.default_rng(6)
    lengths = rng.integers(0, 6, 3000)
    x = rng.integers(-9, 9, (1, int(lengths.sum()), 3)).astype("f4")
    kernel = rng.integers(-9, 9, (3, 3, 1)).astype("f4")
    y = depthwise_conv1d(x, kernel, padding="causal", cu_seqlens=boundaries(lengths))
    expected = x * kernel[2, :, 0]
    starts = np.repeat(boundaries(lengths)[:-1], lengths)
    for back in (1, 2):
        has = np.arange(x.shape[1]) - back >= starts
        expected[0, has] += x[0, np.flatnonzero(has) - back] * kernel[2 - back, :, 0]
    assert np.array_equal(y, expected)


@pytest.mark.parametrize("padding", PADDINGS)
def test_output_lengths(padding):
    lengths = np.arange(40).reshape(2, 20)
    for taps, strides, dilation in ((1, 1, 1), (5, 1, 1), (5, 2, 3), (4, 3, 1)):
        got = output_lengths(lengths, taps, strides=strides, padding=padding, dilation_rate=dilation)
        expected = [padding_and_steps(n, taps, strides, padding, dilation)[1] for n in lengths.ravel()]
        assert got.dtype == np.int64 and got.shape == (2, 20) and got.ravel().tolist() == expected
        assert int(output_lengths(39, taps, strides=strides, padding=padding, dilation_rate=dilation)) == expected[-1]


X, KERNEL = np.ones((2, 10, 3)), np.ones((4, 3, 1))
BAD = [
    (dict(lengths=[1, -1]), ValueError, "`lengths` must lie between 0 and the 10 steps of the input, received lengths[1]=-1"),
    (dict(lengths=[11, 1]), ValueError, "received lengths[0]=11"),
    (dict(lengths=[1]), ValueError, "`lengths` must have shape (batch,) = (2,), received shape (1,)"),
    (dict(lengths=5), ValueError, "`lengths` must have shape (batch,) = (2,), received shape ()"),
    (dict(lengths=[1.0, 2.0]), TypeError, "`lengths` must hold integers, received lengths of dtype float64"),
    (dict(lengths=[True, False]), TypeError, "`lengths` must hold integers, received lengths of dtype bool"),
    (dict(lengths=[1, 2], cu_seqlens=[0, 10]), ValueError, "only one of `lengths`, `cu_seqlens` and `seq_idx` may be given"),
    (dict(lengths=[1, 2], x=X[:, :3]), ValueError, "Computed output size would be zero or negative"),
    (dict(cu_seqlens=[0, 10]), ValueError, "`cu_seqlens` needs a batch of 1, received input.shape=(2, 10, 3)"),
    (dict(cu_seqlens=[0, 6, 5, 10], x=X[:1]), ValueError, "must not decrease, received cu_seqlens[1]=6, cu_seqlens[2]=5"),
    (dict(cu_seqlens=[0, 9], x=X[:1]), ValueError, "begin with 0 and end with the 10 steps of the input, received 0 and 9"),
    (dict(cu_seqlens=[0, 11], x=X[:1]), ValueError, "received 0 and 11"),
    (dict(cu_seqlens=[1, 10], x=X[:1]), ValueError, "received 1 and 10"),
    (dict(cu_seqlens=[-1, 10], x=X[:1]), ValueError, "received -1 and 10"),
    (dict(cu_seqlens=[0], x=X[:1]), ValueError, "`cu_seqlens` must have shape (sequences + 1,), received shape (1,)"),
    (dict(cu_seqlens=[[0, 10]], x=X[:1]), ValueError, "received shape (1, 2)"),
    (dict(cu_seqlens=["a", "b"], x=X[:1]), TypeError, "`cu_seqlens` must hold integers"),
    (dict(seq_idx=np.zeros((2, 9), int), padding="same"), ValueError, "`seq_idx` must have shape (batch, steps) = (2, 10)"),
    (dict(seq_idx=np.zeros((2, 10), int), padding="valid"), ValueError, "received strides=1, padding='valid'"),
    (dict(seq_idx=np.zeros((2, 10), int), padding="same", strides=2), ValueError, "received strides=2, padding='same'"),
    (dict(seq_idx=[[0] * 10, [1, 2] * 5], padding="same"), ValueError, "received 1 again at step 2 of batch item 1"),
    (dict(lengths=[1, 2], padding="full"), ValueError, "`padding` must be one of"),
    (dict(lengths=[1, 2], strides=0), ValueError, "`strides` must be a positive integer"),
    (dict(lengths=[1, 2], out=np.full((2, 8, 3), 7.0)), ValueError, "`out` must have the shape of the output, (2, 7, 3)"),
]


@pytest.mark.parametrize(("arguments", "exception", "message"), BAD, ids=[message for _, _, message in BAD])
def test_bad_input(arguments, exception, message):
    given = dict(x=X, kernel=KERNEL, out=np.full((2, 7, 3), 7.0)) | arguments
    with pytest.raises(exception) as error:
        depthwise_conv1d(**given)
    assert message in str(error.value)
    assert (given["out"] == 7).all()


def test_bad_input_of_output_lengths():
    with pytest.raises(ValueError, match="`lengths` must not be negative, received -2"):
        output_lengths([3, -2], 3)
    with pytest.raises(TypeError, match="`lengths` must hold integers"):
        output_lengths([1.5], 3)
    with pytest.raises(ValueError, match="`kernel_size` must be a positive integer"):
        output_lengths([1], 0)


def test_no_outputs_at_all():
    y = depthwise_conv1d(X[:1], KERNEL, cu_seqlens=[0, 2, 4, 6, 8, 10])
    assert y.shape == (1, 0, 3)
    assert depthwise_conv1d(X[:1, :0], KERNEL, padding="same", cu_seqlens=[0, 0, 0]).shape == (1, 0, 3)
    assert (depthwise_conv1d(np.full((2, 10, 3), math.nan), KERNEL, padding="same", lengths=[0, 0]) == 0).all()


def test_more_output_than_any_memory():
    with pytest.raises(MemoryError, match="cannot allocate the output"):
        depthwise_conv1d(X[:1], KERNEL, padding=(2**59, 0), cu_seqlens=[0] * 40 + [10])


def test_exported():
    assert "output_lengths" in dwconv.__all__
