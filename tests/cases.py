# SPDX-License-Identifier: BSD-3-Clause
"""Convolution cases: sizes around every tile and lane edge, their arrays, and one line that
reproduces a failure."""

import os
from dataclasses import dataclass

import chains
import dwconv
import numpy as np
from reference import padding_and_steps

DTYPES = ("float32", "float64")
LAYOUTS = ("channels_last", "channels_first")

CHANNELS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 130)
KERNEL_SIZES = (*range(1, 10), 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 130)
STEPS = (1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, *range(96, 130))
MULTIPLIERS = (1, 2, 3, 4, 7, 8, 16)
STRIDES = (1, 2, 3, 4)
DILATIONS = (1, 2, 3, 4, 7, 33)

MOST_WORK = 1_500_000


def scaled(count: int) -> int:
    """`count` times the environment variable DWCONV_TEST_SCALE, at least 1."""
    return max(1, round(count * float(os.environ.get("DWCONV_TEST_SCALE", "1"))))


def leave_trace(case, note: str = "") -> None:
    """Writes the case to the file named by DWCONV_TEST_TRACE, where a crash leaves it."""
    path = os.environ.get("DWCONV_TEST_TRACE")
    if path:
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"{case} {note}\n")


@dataclass(frozen=True)
class Case:
    """A convolution without its numbers; its repr is the line to paste."""

    steps: int
    channels: int
    kernel_size: int
    batch: int = 1
    multiplier: int = 1
    strides: int = 1
    padding: str | tuple[int, int] = "valid"
    dilation_rate: int = 1
    data_format: str = "channels_last"
    dtype: str = "float32"
    bias: bool = True
    seed: int = 0

    @property
    def options(self) -> dict:
        """Keyword arguments of `depthwise_conv1d`."""
        names = ("strides", "padding", "dilation_rate", "data_format")
        return {name: getattr(self, name) for name in names}

    @property
    def geometry(self) -> dict:
        """Keyword arguments of the functions of `chains`."""
        left, out_steps = padding_and_steps(
            self.steps, self.kernel_size, self.strides, self.padding, self.dilation_rate
        )
        return dict(
            strides=self.strides, dilation_rate=self.dilation_rate, left=left, out_steps=out_steps
        )

    @property
    def work(self) -> int:
        taps = (
            self.batch
            * self.geometry["out_steps"]
            * self.channels
            * self.multiplier
            * self.kernel_size
        )
        return taps + self.batch * self.steps * self.channels

    def to_layout(self, array):
        """A channels_last array in the data format of the case, contiguous."""
        return np.ascontiguousarray(array.transpose(0, 2, 1)) if self.is_first else array

    def to_last(self, array):
        """The other way round."""
        return array.transpose(0, 2, 1) if self.is_first else array

    @property
    def is_first(self) -> bool:
        return self.data_format == "channels_first"

    def shapes(self):
        x = (self.batch, self.steps, self.channels)
        return (
            x,
            (self.kernel_size, self.channels, self.multiplier),
            (self.channels * self.multiplier,),
        )

    def integers(self):
        """x (channels_last), kernel and bias of integers so small that every sum is exact in any
        order."""
        rng = np.random.default_rng(self.seed)
        most = max(1, int((2**22 / self.kernel_size) ** 0.5))
        draw = lambda shape: rng.integers(-most, most + 1, shape).astype(self.dtype)  # noqa: E731
        x, kernel, bias = map(draw, self.shapes())
        return x, kernel, bias if self.bias else None

    def floats(self, exponents: int = 0):
        """x (channels_last), kernel and bias: normal numbers times powers of two up to
        +-`exponents`."""
        rng = np.random.default_rng(self.seed)

        def draw(shape):
            scale = rng.integers(-exponents, exponents + 1, shape)
            return np.ldexp(rng.standard_normal(shape), scale).astype(self.dtype)

        x, kernel, bias = map(draw, self.shapes())
        return x, kernel, bias if self.bias else None

    def run(self, x, kernel, bias, **more):
        """The functional API on channels_last arrays; the result is channels_last too.

        By products and sums, however long the kernel, unless `more` has another method.
        """
        options = {"method": "direct"} | self.options | more
        return self.to_last(dwconv.depthwise_conv1d(self.to_layout(x), kernel, bias, **options))


def random_case(rng: np.random.Generator, **fixed) -> Case:
    """A case whose sizes are drawn around the edges, with those in `fixed`; never one without
    output."""
    for attempt in range(1000):
        sizes = {
            "batch": pick(rng, (1, 1, 2, 3)),
            "channels": pick(rng, CHANNELS),
            "kernel_size": pick(rng, KERNEL_SIZES),
            "multiplier": pick(rng, (1, *MULTIPLIERS)),
            "strides": pick(rng, (1, 1, *STRIDES)),
            "dilation_rate": pick(rng, (1, 1, *DILATIONS)),
            "data_format": pick(rng, LAYOUTS),
            "dtype": pick(rng, DTYPES),
            "bias": bool(rng.integers(2)),
            "seed": int(rng.integers(1 << 30)),
        } | fixed
        if "strides" not in fixed and rng.integers(8) == 0:
            sizes["strides"] = sizes["kernel_size"] + int(rng.integers(1, 4))
        span = (sizes["kernel_size"] - 1) * sizes["dilation_rate"] + 1
        if "steps" not in fixed:
            near = (span - 1, span, span + 1, sizes["kernel_size"] - 1, sizes["kernel_size"] + 1)
            sizes["steps"] = max(1, pick(rng, near) if rng.integers(3) == 0 else pick(rng, STEPS))
        if "padding" not in fixed:
            sizes["padding"] = random_padding(rng, sizes["steps"], span)
        case = Case(**sizes)
        if case.geometry["out_steps"] >= 1 and (case.work <= MOST_WORK or attempt > 900):
            return case
    raise ValueError(f"no case with {fixed}")


def random_padding(rng, steps: int, span: int):
    kind = int(rng.integers(6))
    if kind < 4:
        return ("same", "causal", "valid", "same")[kind]
    left = int(rng.integers(-min(steps, 5), span + 3))
    right = max(span - steps - left, int(rng.integers(-min(steps, 5), span + 3)))
    return left, right


def pick(rng, values):
    return values[int(rng.integers(len(values)))]


def assert_same(case: Case, got, expected, note: str = ""):
    """Equal shape, dtype and values; the message is the case and the first difference."""
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype), (
        f"{case} {note}: got {got.shape} {got.dtype}, expected {expected.shape} {expected.dtype}"
    )
    different = ~((got == expected) | (np.isnan(got) & np.isnan(expected)))
    if different.any():
        at = tuple(int(i[0]) for i in np.nonzero(different))
        raise AssertionError(
            f"{case} {note}: {different.sum()} of {got.size} differ, first at {at}: "
            f"got {got[at]!r}, expected {expected[at]!r}"
        )


def assert_bits(case: Case, got, expected, note: str = ""):
    """Equal to the last bit, signs of zeros included."""
    assert_same(case, got, expected, note)
    integer = f"u{got.itemsize}"
    same = np.ascontiguousarray(got).view(integer) == np.ascontiguousarray(expected).view(integer)
    same |= np.isnan(expected)
    assert same.all(), f"{case} {note}: signs of zeros differ at {np.argwhere(~same)[0].tolist()}"


def expected_integers(case: Case, x, kernel, bias):
    """The exact result of integer data, in the dtype of the case."""
    return chains.plain(x, kernel, bias, **case.geometry).astype(case.dtype)
