# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of streams share: configurations, and the one call a stream must equal."""

import os
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from dwconv import DepthwiseConv1DStream, _core
from dwconv.fused import split_activation
from dwconv.padding import resolve_padding
from hypothesis import strategies as st

from dwconv import activations

CHANNELS = (1, 2, 3, 5, 8, 15, 16, 17, 33, 64, 65, 130)
KERNEL_SIZES = (1, 2, 3, 4, 5, 8, 9, 17, 31)


@contextmanager
def isa_named(name):
    """Streams made inside use that instruction set."""
    before = os.environ.get("DWCONV_ISA")
    os.environ["DWCONV_ISA"] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ["DWCONV_ISA"]
        else:
            os.environ["DWCONV_ISA"] = before


@dataclass(frozen=True)
class StreamCase:
    """A stream without its numbers; its repr is the line to paste."""

    channels: int
    kernel_size: int
    batch: int = 1
    multiplier: int = 1
    strides: int = 1
    padding: str | tuple[int, int] = "causal"
    dilation_rate: int = 1
    data_format: str = "channels_last"
    dtype: str = "float32"
    bias: bool = True
    activation: str | None = None
    isa: str = _core.default_isa()
    seed: int = 0

    @property
    def time_axis(self) -> int:
        return 1 if self.data_format == "channels_last" else 2

    def weights(self):
        """Kernel and bias; with an odd seed some elements are infinite, NaN or zeros of both signs."""
        rng = np.random.default_rng(self.seed)
        kernel = rng.standard_normal((self.kernel_size, self.channels, self.multiplier))
        bias = rng.standard_normal(self.channels * self.multiplier)
        if self.seed % 2:
            for array in (kernel, bias):
                where = rng.integers(0, array.size, 3)
                array.ravel()[where] = rng.choice([np.inf, -np.inf, np.nan, 0.0, -0.0, -0.0], 3)
        return kernel.astype(self.dtype), bias.astype(self.dtype) if self.bias else None

    def chunk(self, rng, steps):
        """A chunk of the batch in the data format."""
        x = rng.standard_normal((self.batch, steps, self.channels)).astype(self.dtype)
        x[rng.random(x.shape) < 0.02] = -0.0
        return np.ascontiguousarray(x if self.time_axis == 1 else x.transpose(0, 2, 1))

    def stream(self, **arguments):
        kernel, bias = self.weights()
        with isa_named(self.isa):
            return DepthwiseConv1DStream(
                kernel, bias, batch_size=self.batch, strides=self.strides, padding=self.padding,
                dilation_rate=self.dilation_rate, data_format=self.data_format, activation=self.activation, **arguments,
            )  # fmt: skip

    def one_call(self, x):
        """The convolution of a whole sequence, x of shape (1, steps, channels) or (1, channels, steps)."""
        kernel, bias = self.weights()
        left, _, out_steps = resolve_padding(
            self.padding, x.shape[self.time_axis], self.kernel_size, self.strides, self.dilation_rate
        )
        plan = _core.Plan(
            batch=1, in_steps=x.shape[self.time_axis], channels=self.channels, depth_multiplier=self.multiplier,
            kernel_size=self.kernel_size, stride=self.strides, dilation=self.dilation_rate, pad_left=left,
            out_steps=max(out_steps, 0), channels_first=self.time_axis == 2, double_precision=self.dtype == "float64",
            isa=self.isa.encode(),
        )  # fmt: skip
        y = np.empty(plan.out_shape, self.dtype)
        fused, rest = split_activation(activations.get(self.activation))
        assert rest is None
        plan.forward(x, kernel, bias, y, fused, 1)
        return y


def same_bits(a, b) -> bool:
    """Whether shapes and all bits are equal; any NaN equals any NaN."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    whole = np.uint32 if a.dtype == np.float32 else np.uint64
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    return bool(np.all((a.view(whole) == b.view(whole)) | (np.isnan(a) & np.isnan(b))))


@st.composite
def stream_cases(draw):
    kernel_size = draw(st.sampled_from(KERNEL_SIZES))
    dilation = draw(st.sampled_from((1, 1, 1, 2, 3, 8)))
    reach = (kernel_size - 1) * dilation
    pairs = st.tuples(st.integers(-4, reach + 4), st.integers(-4, reach + 4))
    padding = draw(st.sampled_from(("causal", "valid", "same")) | pairs)
    return StreamCase(
        channels=draw(st.sampled_from(CHANNELS)), kernel_size=kernel_size, batch=draw(st.sampled_from((1, 1, 2, 3))),
        multiplier=draw(st.sampled_from((1, 1, 1, 2, 3))),
        strides=1 if padding == "same" else draw(st.sampled_from((1, 1, 2, 3, 7))), padding=padding,
        dilation_rate=dilation, data_format=draw(st.sampled_from(("channels_last", "channels_first"))),
        dtype=draw(st.sampled_from(("float32", "float64"))), bias=draw(st.booleans()),
        activation=draw(st.sampled_from((None, None, "relu", "silu"))), isa=draw(st.sampled_from(_core.isa_names())),
        seed=draw(st.integers(0, 99)),
    )  # fmt: skip
