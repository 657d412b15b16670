# SPDX-License-Identifier: BSD-3-Clause
"""Series of cases that differ in one size, for the scaling plots."""

from benchmarks.cases import Case

KERNEL_SIZES = (2, 3, 5, 7, 11, 15, 23, 31, 63, 127, 255)
STEPS = (4, 16, 64, 256, 1024, 4096, 16384)
CHANNELS = (1, 2, 3, 4, 8, 12, 16, 32, 64, 128, 512, 2048)

SCALING_CASES = [
    *(Case(f"scaling_k{k}", 1, 1500, 256, k, group="K") for k in KERNEL_SIZES),
    *(Case(f"scaling_t{t}", 1, t, 256, 31, group="T") for t in STEPS),
    *(Case(f"scaling_c{c}", 1, 4096, c, 31, group="C") for c in CHANNELS),
]
