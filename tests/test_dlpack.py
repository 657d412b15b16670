# SPDX-License-Identifier: BSD-3-Clause
"""Arrays of other libraries, through the DLPack protocol and nothing else."""

import numpy as np
import pytest
from dwconv import depthwise_conv1d

X = np.random.default_rng(0).standard_normal((2, 20, 6)).astype(np.float32)
KERNEL = np.random.default_rng(1).standard_normal((3, 6, 2)).astype(np.float32)
BIAS = np.random.default_rng(2).standard_normal(12).astype(np.float32)


class Tensor:
    """Has no __array__, no buffer and no length: only the two methods of the protocol."""

    def __init__(self, array, device=None):
        self._array = array
        self._device = device
        self.exports = 0

    def __dlpack__(self, **options):
        self.exports += 1
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._device or self._array.__dlpack_device__()


class OldTensor(Tensor):
    """As before DLPack 1.0: __dlpack__ knows no keyword but stream."""

    def __dlpack__(self, stream=None):
        self.exports += 1
        return self._array.__dlpack__()


@pytest.mark.parametrize("wrap", [Tensor, OldTensor])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_argument(wrap, dtype):
    arrays = [a.astype(dtype) for a in (X, KERNEL, BIAS)]
    expected = depthwise_conv1d(*arrays, padding="same")
    tensors = [wrap(a) for a in arrays]
    for _ in range(2):
        y = depthwise_conv1d(*tensors, padding="same")
        assert type(y) is np.ndarray and y.dtype == dtype
        np.testing.assert_array_equal(y, expected)
    assert [tensor.exports for tensor in tensors] == [2, 2, 2]


def test_strided_tensors():
    expected = depthwise_conv1d(np.ascontiguousarray(X[:, ::2, ::-1]), KERNEL)
    np.testing.assert_array_equal(depthwise_conv1d(Tensor(X[:, ::2, ::-1]), KERNEL), expected)
    first = np.ascontiguousarray(X.transpose(0, 2, 1))
    np.testing.assert_array_equal(
        depthwise_conv1d(Tensor(first.transpose(0, 2, 1)), KERNEL), depthwise_conv1d(X, KERNEL)
    )


def test_result_does_not_share_memory_with_a_tensor():
    x = X.copy()
    y = depthwise_conv1d(Tensor(x), np.ones((1, 6, 1), np.float32))
    assert not np.shares_memory(x, y)
    np.testing.assert_array_equal(x, X)


def test_overlapping_out_is_seen_through_the_tensor():
    x = X.copy()
    with pytest.raises(ValueError, match="`out`.*overlap"):
        depthwise_conv1d(Tensor(x), np.ones((3, 6, 1), np.float32), padding="same", out=x)
    np.testing.assert_array_equal(x, X)


@pytest.mark.parametrize("dtype", ["int32", "complex64", "bool", "float16"])
def test_dtypes(dtype):
    for arguments in ((Tensor(X.astype(dtype)), KERNEL), (X, Tensor(KERNEL.astype(dtype)))):
        with pytest.raises(TypeError, match=f"dtype.*{dtype}"):
            depthwise_conv1d(*arguments)


def test_rank():
    with pytest.raises(ValueError, match="3 dimensions"):
        depthwise_conv1d(Tensor(X[0]), KERNEL)


@pytest.mark.parametrize("error", [BufferError, RuntimeError, ValueError, TypeError])
def test_errors_of_the_exporter_are_kept(error):
    class Broken(Tensor):
        def __dlpack__(self, **options):
            raise error("of the caller")

    with pytest.raises(error, match="of the caller"):
        depthwise_conv1d(Broken(X), KERNEL)


def test_a_device_that_is_no_cpu():
    """What a tensor in the memory of a GPU does when it is asked for an export to this process."""

    class OnGpu(Tensor):
        def __dlpack__(self, **options):
            raise BufferError("cannot export device memory")

    with pytest.raises(BufferError, match="device memory"):
        depthwise_conv1d(OnGpu(X, device=(2, 0)), KERNEL)


def test_array_protocol_comes_first():
    class Both(Tensor):
        def __array__(self, dtype=None, copy=None):
            return self._array

    tensor = Both(X)
    np.testing.assert_array_equal(depthwise_conv1d(tensor, KERNEL), depthwise_conv1d(X, KERNEL))
    assert tensor.exports == 0


def test_buffer_protocol():
    x = memoryview(X)
    np.testing.assert_array_equal(
        depthwise_conv1d(x, KERNEL, BIAS.data), depthwise_conv1d(X, KERNEL, BIAS)
    )
