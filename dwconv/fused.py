# SPDX-License-Identifier: BSD-3-Clause
"""Activations the core applies itself, while results are still in the first-level cache.

A fused activation is (dwconv_activation_kind, alpha, beta) of dwconv.h.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf

from dwconv import activations
from dwconv.activation_layers import ActivationLayer

Fused = tuple[int, float, float]

(
    _LINEAR, _CLIP, _LEAKY_RELU, _HARD_SIGMOID, _HARD_SILU, _SIGMOID, _SILU, _TANH, _GELU, _GELU_TANH, _EXPONENTIAL,
    _ELU, _SELU, _CELU, _SOFTPLUS, _LOG_SIGMOID, _MISH, _SOFTSIGN, _SOFT_SHRINK, _HARD_SHRINK, _THRESHOLD,
    _SPARSE_SIGMOID, _SPARSE_PLUS,
) = range(23)  # fmt: skip

LINEAR = (_LINEAR, 0.0, 0.0)


def split_activation(function: Callable | None) -> tuple[Fused, Callable | None]:
    """What the core does of an activation, and the function to apply to its result (None if nothing is left).

    Known are the functions of `dwconv.activations`, alone, with keywords in a `functools.partial`, or as an
    `ActivationLayer`.
    """
    if function is None:
        return LINEAR, None
    plain, arguments = function, {}
    if isinstance(function, ActivationLayer):
        plain, arguments = function.function, function.arguments
    elif type(function) is partial and not function.args:
        plain, arguments = function.func, function.keywords
    try:
        fused = _FUSED[plain](**arguments)
    except (KeyError, TypeError):  # unknown or unhashable, or arguments the function itself may complain about
        fused = None
    if fused is None or not all(type(number) in (int, float) and number == number for number in fused):
        return LINEAR, function
    return fused, None


def _plain(kind: int, alpha: float = 0.0, beta: float = 0.0) -> Callable[[], Fused]:
    return lambda: (kind, alpha, beta)


def _relu(
    negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Fused | None:
    if threshold == 0 and negative_slope == 0:
        limit = inf if max_value is None else max_value
        return (_CLIP, 0.0, limit) if limit >= 0 else None
    if threshold == 0 and max_value is None:
        return (_LEAKY_RELU, negative_slope, 0.0)
    return None


def _leaky_relu(negative_slope: float = 0.2) -> Fused:
    return (_LEAKY_RELU, negative_slope, 0.0)


def _elu(alpha: float = 1.0) -> Fused:
    return (_ELU, alpha, 0.0)


def _celu(alpha: float = 1.0) -> Fused | None:
    return (_CELU, alpha, 0.0) if 0 < alpha < inf else None


def _gelu(approximate: bool = False) -> Fused:
    return (_GELU_TANH if approximate else _GELU, 0.0, 0.0)


def _soft_shrink(threshold: float = 0.5) -> Fused | None:
    return (_SOFT_SHRINK, threshold, 0.0) if threshold >= 0 else None


def _hard_shrink(threshold: float = 0.5) -> Fused | None:
    return (_HARD_SHRINK, threshold, 0.0) if threshold >= 0 else None


def _threshold(threshold: float, default_value: float) -> Fused:
    return (_THRESHOLD, threshold, default_value)


# The keywords of each function to what is fused, or to None.
_FUSED: dict[Callable, Callable[..., Fused | None]] = {
    activations.linear: _plain(_LINEAR),
    activations.relu: _relu,
    activations.relu6: _plain(_CLIP, 0.0, 6.0),
    activations.hard_tanh: _plain(_CLIP, -1.0, 1.0),
    activations.leaky_relu: _leaky_relu,
    activations.hard_sigmoid: _plain(_HARD_SIGMOID),
    activations.hard_silu: _plain(_HARD_SILU),
    activations.sigmoid: _plain(_SIGMOID),
    activations.silu: _plain(_SILU),
    activations.tanh: _plain(_TANH),
    activations.gelu: _gelu,
    activations.exponential: _plain(_EXPONENTIAL),
    activations.elu: _elu,
    activations.selu: _plain(_SELU),
    activations.celu: _celu,
    activations.softplus: _plain(_SOFTPLUS),
    activations.log_sigmoid: _plain(_LOG_SIGMOID),
    activations.mish: _plain(_MISH),
    activations.softsign: _plain(_SOFTSIGN),
    activations.soft_shrink: _soft_shrink,
    activations.hard_shrink: _hard_shrink,
    activations.threshold: _threshold,
    activations.sparse_sigmoid: _plain(_SPARSE_SIGMOID),
    activations.sparse_plus: _plain(_SPARSE_PLUS),
}
