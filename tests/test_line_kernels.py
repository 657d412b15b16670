# SPDX-License-Identifier: BSD-3-Clause
"""channels_first: the ways that walk along time or take whole sequences as lanes, at sizes that choose
them, against the model of test_kernels.py between guard pages."""

import numpy as np
import pytest
from cases import Case, pick, scaled
from guarded import AVAILABLE
from test_kernels import both_dtypes, check_guarded, check_infinite_tap, every_isa

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="needs mprotect")


@every_isa
@both_dtypes
def test_short_lines(dtype, isa):
    """channels_first, few taps near each other, of which many leave the input at one end or the other."""
    rng = np.random.default_rng([31, *dtype.encode()])
    for _ in range(scaled(40)):
        kernel_size = int(rng.integers(2, 9))
        case = Case(
            int(pick(rng, (1, 5, 31, 64, 100, 600))),
            int(rng.integers(1, 40)),
            kernel_size,
            batch=int(rng.integers(1, 4)),
            dilation_rate=int(rng.integers(1, 16 // (kernel_size - 1) + 1)),
            padding=(int(rng.integers(0, 40)), int(rng.integers(32, 60))),
            data_format="channels_first",
            dtype=dtype,
            seed=int(rng.integers(1000)),
        )
        check_guarded(case, isa, rng, 4)
        check_infinite_tap(case, isa, rng)


def check_many_taps(rng, isa, dtype, steps, channels, kernel_size, least_right, **sizes):
    """A random case of these sizes, padded beyond the reach of the kernel or not."""
    reach = (kernel_size - 1) * sizes["dilation_rate"]
    case = Case(
        steps,
        channels,
        kernel_size,
        padding=(int(rng.integers(0, reach + 9)), int(rng.integers(least_right, reach + 9))),
        data_format="channels_first",
        dtype=dtype,
        bias=bool(rng.integers(2)),
        seed=int(rng.integers(1000)),
        **sizes,
    )
    check_guarded(case, isa, rng, 4)
    check_infinite_tap(case, isa, rng)


@every_isa
@both_dtypes
def test_long_lines(dtype, isa):
    """Many taps in sequences that are walked along time."""
    rng = np.random.default_rng([53, *dtype.encode()])
    for _ in range(scaled(16)):
        kernel_size = int(rng.integers(9, 40))
        dilation = int(pick(rng, (1, 2, 3, 8, 9, 11, 16, 24, 40)))
        reach = (kernel_size - 1) * dilation
        channels = int(pick(rng, (1, 3, 16, 17, 19)))
        steps = 3300 if channels < 4 else int(pick(rng, (200, 207, 333, 400, 830)))
        check_many_taps(
            rng,
            isa,
            dtype,
            max(steps, reach),
            channels,
            kernel_size,
            reach,
            batch=int(rng.integers(1, 3)),
            multiplier=int(pick(rng, (1, 1, 2))),
            dilation_rate=dilation,
        )


@every_isa
@both_dtypes
def test_bundles(dtype, isa):
    """A vector of sequences at a time: parts of vectors, several tiles, both ends."""
    rng = np.random.default_rng([71, *dtype.encode()])
    for _ in range(scaled(24)):
        kernel_size = int(pick(rng, (2, 7, 9, 12, 15, 24, 31, 40, 101)))
        dilation = int(pick(rng, (1, 1, 2, 3, 8)))
        reach = (kernel_size - 1) * dilation
        check_many_taps(
            rng,
            isa,
            dtype,
            int(pick(rng, (17, 33, 64, 100, 400, 1300))) + reach // 2,
            int(pick(rng, (1, 5, 8, 15, 16, 17, 24, 33))),
            kernel_size,
            reach // 2,
            batch=int(rng.integers(1, 4)),
            multiplier=int(pick(rng, (1, 1, 1, 2))),
            strides=int(pick(rng, (1, 1, 2, 3))),
            dilation_rate=dilation,
        )
