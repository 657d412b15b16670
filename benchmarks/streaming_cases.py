# SPDX-License-Identifier: BSD-3-Clause
"""One decoding step: a new frame and the kernel_size - 1 before it."""

from benchmarks.cases import Case

_WIDTHS = {
    1536: "Mamba-130m: d_inner 1536, d_conv 4",
    2048: "Mamba-370m: d_inner 2048, d_conv 4",
    5120: "Mamba-2.8b: d_inner 5120, d_conv 4",
    8192: "Jamba: d_inner 8192, d_conv 4",
}

STREAMING_CASES = [
    Case(f"step_c{channels}", 1, 4, channels, 4, padding="valid", activation="silu",
         group="streaming", source=source, tags=("compile", "call"))
    for channels, source in _WIDTHS.items()
]  # fmt: skip
