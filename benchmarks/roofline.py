# SPDX-License-Identifier: BSD-3-Clause
"""The roofline: what the limits of the machine say about a case.

S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for
multicore architectures", Communications of the ACM 52(4), 2009.
"""

import math
from typing import NamedTuple

from benchmarks.cases import Case


class Bound(NamedTuple):
    """Shortest possible time of the direct form, and which limit says so ("fma" or "memory")."""

    seconds: float
    limit: str


def bound(limits: dict, case: Case) -> Bound:
    """The later of the two: all multiply-adds at peak rate, and all bytes at copy bandwidth.

    Activations are no work here, so that a fused one shows as a smaller fraction of the limit.

    Parameters
    ----------
    limits : dict
        Of one number of threads, from `benchmarks.limits.Machine.measure`.
    """
    compute = case.flops / (limits["fma"][case.dtype] * 1e9)
    memory = case.min_bytes / (copy_bandwidth(limits["copy"], case.min_bytes) * 1e9)
    return Bound(compute, "fma") if compute >= memory else Bound(memory, "memory")


def copy_bandwidth(points: list, size: int) -> float:
    """GB/s of a copy whose reads and writes together are `size` bytes.

    A larger copy cannot be the faster one: where it was measured so, the smaller one was disturbed
    and gets the same bandwidth. Between the points, logarithms are interpolated.
    """
    sizes = [n for n, _ in points]
    rates = [max(rate for _, rate in points[i:]) for i in range(len(points))]
    if size <= sizes[0]:
        return rates[0]
    for i in range(1, len(sizes)):
        if size <= sizes[i]:
            share = math.log(size / sizes[i - 1]) / math.log(sizes[i] / sizes[i - 1])
            return rates[i - 1] ** (1 - share) * rates[i] ** share
    return rates[-1]
