# SPDX-License-Identifier: BSD-3-Clause
"""Activations the core applies itself, while results are still in the first-level cache.

Each entry is (dwconv_activation_kind, alpha, beta) of dwconv.h.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from dwconv import activations

LINEAR = (0, 0.0, 0.0)
_CLIP, _LEAKY_RELU, _HARD_SIGMOID, _HARD_SILU = 1, 2, 3, 4

_FUSED = {
    activations.linear: LINEAR,
    activations.relu: (_CLIP, 0.0, inf),
    activations.relu6: (_CLIP, 0.0, 6.0),
    activations.hard_tanh: (_CLIP, -1.0, 1.0),
    activations.leaky_relu: (_LEAKY_RELU, 0.2, 0.0),
    activations.hard_sigmoid: (_HARD_SIGMOID, 0.0, 0.0),
    activations.hard_silu: (_HARD_SILU, 0.0, 0.0),
}


def split_activation(function: Callable | None) -> tuple[tuple[int, float, float], Callable | None]:
    """What the core does of an activation, and the function to apply to its result (None if nothing is left)."""
    if function is None:
        return LINEAR, None
    try:
        fused = _FUSED.get(function)
    except TypeError:  # an unhashable callable
        fused = None
    return (LINEAR, function) if fused is None else (fused, None)
