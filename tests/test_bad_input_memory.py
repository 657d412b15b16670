# SPDX-License-Identifier: BSD-3-Clause
"""Arrays that depthwise_conv1d cannot write its result into, and results and copies that no memory can hold."""

import numpy as np
import pytest
from dwconv import depthwise_conv1d
from test_bad_input_functional import BIAS, KERNEL, TWICE, X, rejects


@pytest.mark.parametrize("activation", [None, "tanh"])
class TestOut:
    @pytest.mark.parametrize(
        "out",
        [
            np.zeros((2, 8, 8), np.float32),
            np.zeros((2, 7, 9), np.float32),
            np.zeros((3, 7, 8), np.float32),
            np.zeros((7, 8), np.float32),
            np.zeros((1, 2, 7, 8), np.float32),
            np.zeros((2, 7, 9), np.float32)[:, :, 1:8],
            np.zeros((2, 9, 8), np.float32)[:, ::2],
            np.zeros((), np.float32),
        ],
        ids=lambda out: str(out.shape),
    )
    def test_shape(self, out, activation):
        words = ["`out`", "shape", "(2, 7, 8)", f"out.shape={out.shape}"]
        rejects(ValueError, words, X, KERNEL, BIAS, out=out, activation=activation)
        assert (out == 0).all()

    @pytest.mark.parametrize(
        "dtype", [np.float64, np.int32, np.dtype("f4").newbyteorder(), "V4", [("value", "f4")]]
    )
    def test_dtype(self, dtype, activation):
        out = np.zeros((2, 7, 8), dtype)
        words = ["`out`", "dtype", "float32", out.dtype]
        rejects(ValueError, words, X, KERNEL, BIAS, out=out, activation=activation)

    @pytest.mark.parametrize("out", [[0.0], "x", 3.0, b"", memoryview(bytearray(4))])
    def test_type(self, out, activation):
        rejects(
            TypeError,
            ["`out`", type(out).__name__],
            X,
            KERNEL,
            BIAS,
            out=out,
            activation=activation,
        )

    def test_read_only(self, activation):
        out = np.full((2, 7, 8), 3, np.float32)
        out.flags.writeable = False
        rejects(ValueError, ["`out`", "writ"], X, KERNEL, BIAS, out=out, activation=activation)
        assert (out == 3).all()

    def test_overlap_with_the_input(self, activation):
        memory = np.zeros(2000, np.float32)
        x = memory[:72].reshape(2, 9, 4)
        kernel = KERNEL[:, :, :1].copy()
        for start in (0, 1, 4, 40, 71):
            out = memory[start : start + 56].reshape(2, 7, 4)
            rejects(ValueError, ["`out`", "overlap"], x, kernel, out=out, activation=activation)
            rejects(
                ValueError, ["`out`", "overlap"], x[:, ::-1], kernel, out=out, activation=activation
            )
            swapped = x.view(x.dtype.newbyteorder())
            rejects(
                ValueError, ["`out`", "overlap"], swapped, kernel, out=out, activation=activation
            )
        out = memory[72:128].reshape(2, 7, 4)
        for _ in TWICE:
            assert depthwise_conv1d(x, kernel, out=out, activation=activation) is out

    def test_overlap_with_the_weights(self, activation):
        memory = np.zeros(400, np.float32)
        kernel, bias, out = (
            memory[:24].reshape(3, 4, 2),
            memory[24:32],
            memory[20:132].reshape(2, 7, 8),
        )
        rejects(ValueError, ["`out`", "overlap"], X, kernel, out=out, activation=activation)
        rejects(ValueError, ["`out`", "overlap"], X, KERNEL, bias, out=out, activation=activation)

    def test_overlap_with_itself(self, activation):
        """Two outputs in one place: one of them would be lost."""
        out = np.lib.stride_tricks.as_strided(np.zeros(20, np.float32), (2, 7, 8), (4, 4, 4))
        rejects(ValueError, ["`out`", "overlap"], X, KERNEL, BIAS, out=out, activation=activation)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
class TestMemory:
    def test_result_refused_by_the_system(self, data_format):
        """Two output channels of 2**46 steps are 2**49 bytes, more than any address space has."""
        x, kernel = np.ones((1, 1, 1), np.float32), np.ones((3, 1, 2), np.float32)
        shape = (1, 2**46, 2) if data_format == "channels_last" else (1, 2, 2**46)
        words = [shape, "float32", 2**49, "bytes"]
        rejects(MemoryError, words, x, kernel, padding=(2**46 + 1, 0), data_format=data_format)

    @pytest.mark.parametrize("steps", [2**58, 2**59, 2**60 - 9])
    def test_result_beyond_63_bits(self, steps, data_format):
        x = np.ones((1, 1, 256) if data_format == "channels_last" else (1, 256, 1), np.float32)
        shape = (1, steps, 256) if data_format == "channels_last" else (1, 256, steps)
        words = [shape, "float32", steps * 1024, "bytes"]
        kernel = np.ones((1, 256, 1), np.float32)
        rejects(MemoryError, words, x, kernel, padding=(steps - 1, 0), data_format=data_format)

    def test_result_near_63_bits(self, data_format):
        x, kernel = np.ones((1, 1, 1), np.float32), np.ones((1, 1, 1), np.float32)
        for bits in (47, 57, 58, 59):
            words = ["shape", "bytes", 2**bits * 4]
            rejects(
                MemoryError, words, x, kernel, padding=(2**bits - 1, 0), data_format=data_format
            )

    def test_input_too_large_to_copy(self, data_format):
        huge = np.broadcast_to(np.float32(1), (2**42, 4, 4))
        rejects(
            MemoryError,
            ["(4398046511104, "],
            huge,
            KERNEL,
            padding="same",
            data_format=data_format,
        )

    @pytest.mark.parametrize("shape", [(2**45, 4, 1), (2**56, 4, 2), (3, 4, 2**56)])
    def test_kernel_too_large_to_copy(self, shape, data_format):
        kernel = np.broadcast_to(np.float32(1), shape)
        x = np.ones((1, 4, 4), np.float32)
        rejects(
            MemoryError,
            [str(shape[0]), str(shape[2])],
            x,
            kernel,
            padding="same",
            data_format=data_format,
        )
