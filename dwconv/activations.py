# SPDX-License-Identifier: BSD-3-Clause
"""Activation functions, by every name they have in Keras 3.

Each takes an array (float32 or float64; anything else array-like is converted to ``floatx()``) and
returns one of the same dtype and, except for `glu`, the same shape. They compute the formulas of
Keras in forms that neither overflow nor cancel where that can be avoided, and raise no
floating-point warnings. Infinite inputs give what the plain formula gives, as in Keras: NaN for
``silu(-inf)``, which is ``-inf * 0``.

`softmax`, `log_softmax`, `sparsemax` and `glu` work along one axis, by default the last; all
others are elementwise.
"""

import functools
import math
from collections.abc import Callable, Mapping

import numpy as np

from dwconv import activation_layers
from dwconv._checks import float_array
from dwconv.serialization import (
    deserialize_keras_object,
    get_keras_object,
    serialize_keras_object,
)
from dwconv.special import erfc

_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805


def _activation(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Let `function` see a checked array and no warnings, and keep the dtype of that array."""

    @functools.wraps(function)
    def apply(x, *args, **kwargs):
        x = float_array(x, "x")
        with np.errstate(all="ignore"):
            return np.asarray(function(x, *args, **kwargs), x.dtype)

    return apply


@_activation
def linear(x: np.ndarray) -> np.ndarray:
    """``x`` itself, not a copy."""
    return x


@_activation
def relu(
    x: np.ndarray,
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
) -> np.ndarray:
    """``max(x, 0)``.

    With the other arguments: `max_value` where ``x >= max_value``, ``x`` where
    ``threshold <= x < max_value``, else ``negative_slope * (x - threshold)``.
    """
    if negative_slope == 0 and threshold == 0:
        result = np.maximum(x, 0)
    else:
        below = negative_slope * (x - threshold) if negative_slope != 0 else 0
        result = np.where(x < threshold, below, x)
    return result if max_value is None else np.minimum(result, max_value)


@_activation
def relu6(x: np.ndarray) -> np.ndarray:
    """``min(max(x, 0), 6)``."""
    return np.clip(x, 0, 6)


@_activation
def leaky_relu(x: np.ndarray, negative_slope: float = 0.2) -> np.ndarray:
    """``x`` where ``x >= 0``, else ``negative_slope * x``."""
    return np.where(x >= 0, x, negative_slope * x)


@_activation
def elu(x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    """``x`` where ``x > 0``, else ``alpha * (exp(x) - 1)``. Clevert et al., 2015."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


@_activation
def selu(x: np.ndarray) -> np.ndarray:
    """``1.0507 * elu(x, 1.67326)``. Klambauer et al., 2017."""
    return _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0)))


@_activation
def celu(x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    """``max(x, 0) + alpha * (exp(min(x, 0) / alpha) - 1)``. Barron, 2017."""
    return np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0) / alpha)


@_activation
def gelu(x: np.ndarray, approximate: bool = False) -> np.ndarray:
    """``x`` times the normal distribution function of ``x``. Hendrycks and Gimpel, 2016.

    The exact ``0.5 * x * (1 + erf(x / sqrt(2)))``; with `approximate` the form
    ``0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))``.
    """
    if approximate:
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        return 0.5 * x * (1 + np.tanh(inner))
    # erfc keeps the digits of the left tail, which 1 + erf would lose.
    x = x.astype(np.float64, copy=False)
    return 0.5 * x * erfc(-math.sqrt(0.5) * x)


@_activation
def sigmoid(x: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(-x))``."""
    decay = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, decay) / (1 + decay)


@_activation
def hard_sigmoid(x: np.ndarray) -> np.ndarray:
    """``clip(x / 6 + 0.5, 0, 1)``, the formula of Keras 3."""
    return np.clip(x / 6 + 0.5, 0, 1)


@_activation
def log_sigmoid(x: np.ndarray) -> np.ndarray:
    """``-log(1 + exp(-x))``."""
    return -softplus(-x)


@_activation
def sparse_sigmoid(x: np.ndarray) -> np.ndarray:
    """``clip((x + 1) / 2, 0, 1)``."""
    return np.clip(0.5 * (x + 1), 0, 1)


@_activation
def tanh(x: np.ndarray) -> np.ndarray:
    """Hyperbolic tangent."""
    return np.tanh(x)


@_activation
def hard_tanh(x: np.ndarray) -> np.ndarray:
    """``clip(x, -1, 1)``."""
    return np.clip(x, -1, 1)


@_activation
def tanh_shrink(x: np.ndarray) -> np.ndarray:
    """``x - tanh(x)``."""
    return x - np.tanh(x)


@_activation
def softplus(x: np.ndarray) -> np.ndarray:
    """``log(1 + exp(x))``."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@_activation
def softsign(x: np.ndarray) -> np.ndarray:
    """``x / (1 + abs(x))``."""
    return x / (1 + np.abs(x))


@_activation
def silu(x: np.ndarray) -> np.ndarray:
    """``x * sigmoid(x)``, also called swish."""
    return x * sigmoid(x)


@_activation
def hard_silu(x: np.ndarray) -> np.ndarray:
    """``x * hard_sigmoid(x)``, also called hard_swish."""
    return x * hard_sigmoid(x)


@_activation
def mish(x: np.ndarray) -> np.ndarray:
    """``x * tanh(softplus(x))``. Misra, 2019."""
    return x * np.tanh(softplus(x))


@_activation
def exponential(x: np.ndarray) -> np.ndarray:
    """``exp(x)``."""
    return np.exp(x)


@_activation
def soft_shrink(x: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """``x - threshold`` above the threshold, ``x + threshold`` below minus it, else 0 (NaN too)."""
    return np.where(x > threshold, x - threshold, np.where(x < -threshold, x + threshold, 0))


@_activation
def hard_shrink(x: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """``x`` where ``abs(x) > threshold``, else 0 (for NaN too)."""
    return np.where(np.abs(x) > threshold, x, 0)


@_activation
def sparse_plus(x: np.ndarray) -> np.ndarray:
    """0 where ``x <= -1``, ``x`` where ``x >= 1``, ``(x + 1)**2 / 4`` between."""
    return np.where(x >= 1, x, np.where(x <= -1, 0, 0.25 * (x + 1) ** 2))


@_activation
def squareplus(x: np.ndarray, b: float = 4) -> np.ndarray:
    """``(x + sqrt(x**2 + b)) / 2``; its limit 0 at minus infinity. Barron, 2021.

    Raises
    ------
    ValueError
        If `b` is negative.
    """
    if b < 0:
        raise ValueError(f"`b` must not be negative. Received: b={b}")
    root = np.hypot(x, math.sqrt(b))
    # For negative x the sum would cancel; the second form is equal to it.
    return np.where(x >= 0, 0.5 * x + 0.5 * root, 0.5 * b / (root - x))


@_activation
def threshold(x: np.ndarray, threshold: float, default_value: float) -> np.ndarray:
    """``x`` where ``x > threshold``, else `default_value`. Needs all three arguments."""
    return np.where(x > threshold, x, default_value)


@_activation
def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """``exp(x) / sum(exp(x))`` along `axis`."""
    powers = np.exp(_below_maximum(x, axis))
    return powers / np.sum(powers, axis=axis, keepdims=True)


@_activation
def log_softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """``x - log(sum(exp(x)))`` along `axis`."""
    shifted = _below_maximum(x, axis)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


@_activation
def sparsemax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """Euclidean projection onto the probability simplex along `axis`: it sums to 1.

    This is the function of Martins and Astudillo, "From softmax to sparsemax", 2016, algorithm 1.
    Keras 3 computes another one under this name, whose values do not sum to 1 in general.
    """
    shifted = np.moveaxis(_below_maximum(x, axis), axis, -1)
    if shifted.size == 0:
        return x.copy()
    descending = -np.sort(-shifted, axis=-1)
    excess = np.cumsum(descending, axis=-1) - 1
    counts = np.arange(1, shifted.shape[-1] + 1, dtype=x.dtype)
    support = np.count_nonzero(counts * descending > excess, axis=-1, keepdims=True)
    tau = np.take_along_axis(excess, support - 1, axis=-1) / support
    return np.moveaxis(np.maximum(shifted - tau, 0), -1, axis)


@_activation
def glu(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """``a * sigmoid(b)`` for the halves a, b of `axis`, which has half the size in the result.

    Raises
    ------
    ValueError
        If the size of `axis` is odd.
    """
    size = x.shape[axis]
    if size % 2:
        raise ValueError(
            f"glu needs an even number of values along `axis`. Received: axis={axis}, "
            f"shape={x.shape}"
        )
    a, b = np.split(x, 2, axis=axis)
    return a * sigmoid(b)


swish = silu
hard_swish = hard_silu


def _below_maximum(x: np.ndarray, axis: int) -> np.ndarray:
    return x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)


_KIND = "activation function"
_FUNCTIONS = (
    celu,
    elu,
    exponential,
    gelu,
    glu,
    hard_shrink,
    hard_sigmoid,
    hard_silu,
    hard_tanh,
    leaky_relu,
    linear,
    log_sigmoid,
    log_softmax,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_shrink,
    softmax,
    softplus,
    softsign,
    sparse_plus,
    sparse_sigmoid,
    sparsemax,
    squareplus,
    tanh,
    tanh_shrink,
    threshold,
)
_OBJECTS = {function.__name__: function for function in _FUNCTIONS}
_OBJECTS |= {"swish": silu, "hard_swish": hard_silu}
_OBJECTS |= activation_layers.CLASSES


def get(
    identifier: object, custom_objects: Mapping[str, object] | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """The activation meant by `identifier`.

    Parameters
    ----------
    identifier : None, str, dict, class or callable
        ``None`` is `linear`. Names are case-sensitive: the functions of this module, and the
        classes of `dwconv.activation_layers`. A callable maps an array to an array.
    custom_objects : mapping of str to class or function, optional
        Names that the caller adds.

    Returns
    -------
    callable

    Raises
    ------
    ValueError
        If `identifier` means nothing.
    """
    if identifier is None:
        return linear
    return get_keras_object(identifier, _KIND, _OBJECTS, custom_objects)


def serialize(activation: Callable | None) -> str | dict[str, object]:
    """What the configuration of a layer says about `activation`.

    Returns
    -------
    str or dict
        The name of a function of this module (``"linear"`` for ``None``), else the nested form
        of Keras 3.
    """
    if activation is None:
        return "linear"
    if activation in _FUNCTIONS:
        return activation.__name__
    return serialize_keras_object(activation, "keras.layers", _OBJECTS)


def deserialize(
    config: Mapping[str, object] | str, custom_objects: Mapping[str, object] | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """The activation that a configuration (or a name) stands for; errors as in `get`."""
    return deserialize_keras_object(config, _KIND, _OBJECTS, custom_objects)
