# SPDX-License-Identifier: BSD-3-Clause
"""Random convolutions of moderate size for comparisons with frameworks, in torch's terms."""

from dataclasses import dataclass

import numpy as np
from cases import pick, scaled
from tolerances import UNIT_ROUNDOFF


@dataclass(frozen=True)
class BridgeCase:
    """One convolution; its repr is the line that reproduces it."""

    batch: int = 2
    channels: int = 4
    multiplier: int = 1
    steps: int = 20
    kernel_size: int = 3
    stride: int = 1
    sides: tuple[int, int] = (0, 0)
    dilation: int = 1
    bias: bool = True
    channels_last: bool = False
    dtype: str = "float64"
    seed: int = 0

    @property
    def out_steps(self):
        return (
            self.steps + sum(self.sides) - (self.kernel_size - 1) * self.dilation - 1
        ) // self.stride + 1

    def arrays(self):
        """x (batch, channels, steps), weight (channels * multiplier, 1, kernel_size), bias or None,
        dy."""
        rng = np.random.default_rng(self.seed)
        outputs = self.channels * self.multiplier
        shapes = (
            (self.batch, self.channels, self.steps),
            (outputs, 1, self.kernel_size),
            (outputs,),
            (self.batch, outputs, self.out_steps),
        )
        x, weight, bias, dy = (rng.standard_normal(shape).astype(self.dtype) for shape in shapes)
        if self.channels_last:
            x = np.ascontiguousarray(x.transpose(0, 2, 1)).transpose(0, 2, 1)
        return x, weight, bias if self.bias else None, dy


def random_cases(count, seed):
    rng = np.random.default_rng(seed)
    cases = []
    while len(cases) < scaled(count):
        size, dilation = pick(rng, (1, 2, 3, 4, 5, 9, 31)), pick(rng, (1, 1, 2, 3))
        span = (size - 1) * dilation
        case = BridgeCase(
            batch=pick(rng, (1, 2, 3)),
            channels=pick(rng, (1, 2, 3, 8, 17, 33)),
            multiplier=pick(rng, (1, 1, 2, 3)),
            steps=pick(rng, (1, 7, 16, 50, 129)),
            kernel_size=size,
            stride=pick(rng, (1, 1, 2, 3)),
            sides=pick(
                rng,
                ((0, 0), (span, 0), (span // 2, span - span // 2), (1, 1), (0, 3), (span + 2, 1)),
            ),
            dilation=dilation,
            bias=bool(rng.integers(2)),
            channels_last=bool(rng.integers(2)),
            dtype=pick(rng, ("float32", "float64")),
            seed=int(rng.integers(1 << 30)),
        )
        if case.out_steps >= 1:
            cases.append(case)
    return cases


def assert_close(case, name, got, expected, terms):
    """`got` within the error of sums of `terms` products of normal numbers, `expected` being in
    float64."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert (got.shape, got.dtype) == (expected.shape, np.dtype(case.dtype)), (
        f"{case} {name}: {got.shape} {got.dtype}"
    )
    bound = (terms + 2) * UNIT_ROUNDOFF[case.dtype] * 8 * np.sqrt(terms)
    # Both sums round; the one in float64 counts if the case is in float64.
    error = np.abs(got - expected).max(initial=0)
    assert error <= bound, f"{case} {name}: {error=} {bound=}"
