# SPDX-License-Identifier: BSD-3-Clause
"""Where arrays lie decides how rows are cut into vectors, and changes neither a bit nor a neighbour."""

import itertools

import numpy as np
import pytest
from cases import DTYPES
from dwconv import depthwise_conv1d

_LINE = 64
_CANARY = 0xAB

# channels, multiplier: rows of whole vectors, of less than one, of one and a part, and those with a multiplier
SIZES = [(16, 1), (64, 1), (96, 1), (2, 1), (4, 1), (12, 1), (20, 1), (24, 1), (17, 1), (1, 8), (2, 3), (3, 4), (5, 4)]
KERNELS = [(1, 1), (4, 1), (7, 1), (9, 1), (31, 1), (33, 2), (64, 1)]


def placed(shape, dtype, offset):
    """An array that begins `offset` bytes after a line, and all of the memory around it, in canaries."""
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.full(count + 3 * _LINE, _CANARY, np.uint8)
    first = -memory.ctypes.data % _LINE + offset
    return memory[first : first + count].view(dtype).reshape(shape), memory, slice(first, first + count)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("channels", "multiplier"), SIZES)
def test_same_bits_wherever_arrays_lie(channels, multiplier, dtype):
    rng = np.random.default_rng([53, channels, multiplier])
    item = np.dtype(dtype).itemsize
    for (taps, dilation), (batch, steps), bias in itertools.product(KERNELS, [(1, 300), (3, 70)], [True, False]):
        offsets = [int(n) * item for n in rng.integers(0, _LINE // item, 2)]
        shape = f"B{batch} T{steps} C{channels} M{multiplier} K{taps} d{dilation} {bias=} {offsets=} {dtype}"
        padding = (int(rng.integers(0, taps)), int(rng.integers(0, taps)))
        if sum(padding) + steps <= (taps - 1) * dilation:
            continue
        x, _, _ = placed((batch, steps, channels), dtype, offsets[0])
        x[...] = rng.standard_normal(x.shape)
        kernel = rng.standard_normal((taps, channels, multiplier)).astype(dtype)
        b = rng.standard_normal(channels * multiplier).astype(dtype) if bias else None
        options = {"padding": padding, "dilation_rate": dilation, "method": "direct"}
        turned = np.ascontiguousarray(x.transpose(0, 2, 1))
        expected = depthwise_conv1d(turned, kernel, b, data_format="channels_first", **options).transpose(0, 2, 1)
        y, memory, inside = placed(expected.shape, dtype, offsets[1])
        depthwise_conv1d(x, kernel, b, out=y, num_threads=1 + steps % 3, **options)
        assert np.array_equal(y, expected), shape
        memory[inside] = _CANARY
        assert np.all(memory == _CANARY), f"memory around the result: {shape}"
