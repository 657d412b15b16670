# SPDX-License-Identifier: BSD-3-Clause
"""Every kind of array as input, weights and `out`, and what a result shares with them: nothing."""

import itertools
import tracemalloc

import dwconv
import numpy as np
import pytest
from cases import DTYPES, LAYOUTS, Case, assert_bits
from dwconv import depthwise_conv1d

both_dtypes = pytest.mark.parametrize("dtype", DTYPES)
both_layouts = pytest.mark.parametrize("data_format", LAYOUTS)


def reversed_view(a):
    return a[:, ::-1].copy()[:, ::-1]


def every_second(a):
    wide = np.full((*a.shape[:2], 2 * a.shape[2]), np.nan, a.dtype)
    wide[:, :, ::2] = a
    return wide[:, :, ::2]


def rows_with_gaps(a):
    wide = np.full((a.shape[0], a.shape[1] + 1, a.shape[2] + 3), np.nan, a.dtype)
    view = wide[:, 1:, 2 : 2 + a.shape[2]]
    view[...] = a
    return view


def every_second_row(a):
    wide = np.full((a.shape[0], 2 * a.shape[1], a.shape[2]), np.nan, a.dtype)
    wide[:, ::2] = a
    return wide[:, ::2]


def batch_last(a):
    return np.ascontiguousarray(a.transpose(1, 2, 0)).transpose(2, 0, 1)


def swapped_axes(a):
    return np.ascontiguousarray(a.transpose(1, 0, 2)).transpose(1, 0, 2)


def transposed(a):
    return np.ascontiguousarray(a.transpose(0, 2, 1)).transpose(0, 2, 1)


def swapped_bytes(a):
    return a.astype(a.dtype.newbyteorder())


def unaligned(a):
    memory = np.zeros(a.nbytes + 1, np.uint8)
    view = memory[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


class Subclass(np.ndarray):
    pass


def subclass(a):
    return a.copy().view(Subclass)


def unmasked(a):
    return np.ma.masked_array(a.copy(), mask=False)


def nested_lists(a):
    return a.astype(float).tolist()


VIEWS = (
    reversed_view,
    every_second,
    rows_with_gaps,
    every_second_row,
    batch_last,
    swapped_axes,
    transposed,
    np.asfortranarray,
    swapped_bytes,
    unaligned,
    read_only,
    subclass,
    unmasked,
)


@both_dtypes
@both_layouts
@pytest.mark.parametrize("view", VIEWS, ids=lambda f: f.__name__)
def test_any_array_is_accepted(view, data_format, dtype):
    """As input, kernel and bias, with bits equal to those of plain arrays, and left as it was."""
    for seed, (channels, multiplier, strides) in enumerate(
        [(1, 1, 1), (5, 1, 2), (5, 3, 1), (33, 1, 1), (33, 2, 3)]
    ):
        case = Case(
            40, channels, 6, 3, multiplier, strides, "same", 2, data_format, dtype, seed=seed
        )
        x, kernel, bias = case.floats()
        expected = dwconv.depthwise_conv1d(case.to_layout(x), kernel, bias, **case.options)
        strange = [view(case.to_layout(x)), view(kernel), view(bias[None, None])[0, 0]]
        kept = [np.array(a) for a in strange]
        got = dwconv.depthwise_conv1d(*strange, **case.options)
        assert type(got) is np.ndarray and got.flags.c_contiguous and got.flags.writeable
        assert got.dtype == expected.dtype and got.dtype.isnative
        assert_bits(case, got, expected, view.__name__)
        for a, before in zip(strange, kept, strict=True):
            np.testing.assert_array_equal(a, before)


@both_layouts
def test_zero_strides(data_format):
    for axis in range(3):
        shape = [2, 30, 5] if data_format == "channels_last" else [2, 5, 30]
        shape[axis] = 1
        values = np.random.default_rng(axis).standard_normal(shape).astype(np.float32)
        shape[axis] = (2, 30, 5)[axis] if data_format == "channels_last" else (2, 5, 30)[axis]
        x = np.broadcast_to(values, shape)
        kernel = np.broadcast_to(np.float32(0.3), (4, 5, 2))
        got = depthwise_conv1d(x, kernel, data_format=data_format)
        np.testing.assert_array_equal(
            got, depthwise_conv1d(x.copy(), kernel.copy(), data_format=data_format)
        )


def test_overlapping_windows_as_input():
    signal = np.random.default_rng(0).standard_normal(200).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(signal, (8,))[:, :]
    frames = windows.reshape(1, 193, 8)
    kernel = np.random.default_rng(1).standard_normal((5, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(
        depthwise_conv1d(frames, kernel), depthwise_conv1d(frames.copy(), kernel)
    )


def test_memmap(tmp_path):
    case = Case(50, 7, 5, 2)
    x, kernel, bias = case.floats()
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    got = depthwise_conv1d(mapped, kernel, bias)
    assert type(got) is np.ndarray
    np.testing.assert_array_equal(got, depthwise_conv1d(x, kernel, bias))
    out = np.lib.format.open_memmap(tmp_path / "y.npy", "w+", np.float32, got.shape)
    assert depthwise_conv1d(mapped, kernel, bias, out=out) is out
    np.testing.assert_array_equal(out, got)


def test_nested_sequences_are_float64():
    x = [[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]
    y = depthwise_conv1d(x, [[[1.0], [1.0]], [[1.0], [-1.0]]], (0.5, 0.0))
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, [[[4.5, -2.0], [8.5, -2.0]]])


def test_dtype_of_the_result():
    dtypes = [np.dtype(f"{order}f{size}") for order in "<>" for size in (4, 8)]
    for a, b, c in itertools.product(dtypes, repeat=3):
        y = depthwise_conv1d(np.ones((1, 4, 2), a), np.ones((3, 2, 1), b), np.ones(2, c))
        assert y.dtype == np.result_type(a, b, c), f"{a} {b} {c}"
        assert (y == 4).all()


@both_layouts
def test_result_is_fresh(data_format):
    case = Case(20, 4, 1, padding="valid", bias=False, data_format=data_format)
    x, kernel, _ = case.floats()
    x = case.to_layout(x)
    first = depthwise_conv1d(x, kernel, data_format=data_format)
    second = depthwise_conv1d(x, kernel, data_format=data_format)
    assert type(first) is np.ndarray and first.flags.c_contiguous and first.flags.owndata
    for a, b in ((first, x), (first, kernel), (first, second)):
        assert not np.shares_memory(a, b)


@both_dtypes
@both_layouts
@pytest.mark.parametrize("behind", [0, 4, 16, 48, 1000, 2552, 4092])
@pytest.mark.parametrize(("padding", "multiplier"), [("same", 1), ("valid", 1), ("same", 2)])
def test_where_results_lie(padding, multiplier, behind, data_format, dtype):
    """1536 bytes beyond the input modulo 4096: exactly if their rows are as long, else at the next line."""
    rng = np.random.default_rng(behind)
    shape = (1, 64, 200) if data_format == "channels_first" else (1, 200, 64)
    x = rng.standard_normal(shape).astype(dtype)
    memory = np.empty(x.nbytes + 4096, np.uint8)
    start = (behind - memory.ctypes.data) % 4096
    placed = memory[start : start + x.nbytes].view(dtype).reshape(shape)
    placed[...] = x
    kernel = rng.standard_normal((3, 64, multiplier)).astype(dtype)
    for _ in range(2):  # the second one is a known call
        y = depthwise_conv1d(placed, kernel, padding=padding, data_format=data_format)
        beyond = (y.ctypes.data - behind) % 4096
        if y.shape[2] == x.shape[2] and behind % 16 == 0:
            assert beyond == 1536
        else:
            assert y.ctypes.data % 64 == 0 and 1536 <= beyond < 1600
        assert np.array_equal(y, depthwise_conv1d(x, kernel, padding=padding, data_format=data_format))


@both_dtypes
@both_layouts
def test_out(data_format, dtype):
    """Contiguous, with gaps, unaligned, transposed: the same bits, and nothing else of its memory
    written."""
    case = Case(60, 6, 5, 2, 2, 2, "same", 1, data_format, dtype)
    x, kernel, bias = case.floats()
    x = case.to_layout(x)
    expected = depthwise_conv1d(x, kernel, bias, **case.options)
    for view in (
        np.copy,
        rows_with_gaps,
        every_second,
        every_second_row,
        unaligned,
        transposed,
        reversed_view,
    ):
        out = view(np.full(expected.shape, np.nan, dtype))
        assert depthwise_conv1d(x, kernel, bias, **case.options, out=out) is out
        assert_bits(case, np.array(out), expected, view.__name__)
    wide = np.full((2, expected.shape[1] + 1, expected.shape[2] + 3), -7.0, dtype)
    depthwise_conv1d(x, kernel, bias, **case.options, out=wide[:, 1:, 2:-1])
    assert_bits(case, wide[:, 1:, 2:-1], expected)
    wide[:, 1:, 2:-1] = -7
    assert (wide == -7).all()


def test_out_with_an_activation_of_numpy():
    x, kernel, bias = Case(30, 4, 3).floats()
    expected = dwconv.activations.squareplus(depthwise_conv1d(x, kernel, bias))
    out = np.empty_like(expected)
    assert depthwise_conv1d(x, kernel, bias, activation="squareplus", out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_out_may_interleave_with_the_input():
    """Disjoint elements of one buffer are no overlap."""
    both = np.random.default_rng(2).standard_normal((2, 40, 8)).astype(np.float32)
    x, out = both[:, :, :4], both[:, :, 4:]
    kernel = np.random.default_rng(3).standard_normal((3, 4, 1)).astype(np.float32)
    kept = x.copy()
    expected = depthwise_conv1d(kept, kernel, padding="same")
    assert depthwise_conv1d(x, kernel, padding="same", out=out) is out
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(x, kept)
    both = np.random.default_rng(4).standard_normal((2, 40, 4, 2)).astype(np.float32)
    x, out = both[..., 0], both[..., 1]
    expected = depthwise_conv1d(x.copy(), kernel, padding="same")
    depthwise_conv1d(x, kernel, padding="same", out=out)
    np.testing.assert_array_equal(out, expected)


@both_layouts
def test_contiguous_input_is_not_copied(data_format):
    """NumPy reports its memory to tracemalloc; with `out`, no array of the size of the input may be
    made."""
    x = np.ones((2, 4000, 64) if data_format == "channels_last" else (2, 64, 4000), np.float32)
    kernel = np.ones((3, 64, 1), np.float32)
    for view in (x, x[:, ::2] if data_format == "channels_last" else x[:, :, :2000]):
        out = np.empty_like(depthwise_conv1d(view, kernel, padding="same", data_format=data_format))
        tracemalloc.start()
        try:
            depthwise_conv1d(view, kernel, padding="same", data_format=data_format, out=out)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 100_000, f"{peak} bytes"
