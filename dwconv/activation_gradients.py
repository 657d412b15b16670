# SPDX-License-Identifier: BSD-3-Clause
"""Gradients of the activations: from dL/dy to dL/dz, for ``y = activation(z)``.

At kinks they are those of Keras on TensorFlow (0 for `relu` at 0, 1 for `hard_tanh` at -1 and 1,
and so on; docs/training.md lists them all), except that `celu` has the slope 1 at 0. Where z is
NaN the derivative is NaN, unless it does not depend on z (`linear`) or the function maps NaN to a
number (`soft_shrink`, `hard_shrink`, `threshold`). A `dy` that is not finite is multiplied like any
other, by 0 too.

An own activation brings its gradient along as an attribute::

    def cube(z):
        return z**3

    cube.gradient = lambda z, dy: 3 * z**2 * dy
"""

import functools
import math
from collections.abc import Callable

import numpy as np

from dwconv import activations
from dwconv._checks import describe
from dwconv._core import activation_backward
from dwconv.activation_layers import ActivationLayer
from dwconv.activations import softmax, softplus, sparsemax, squareplus
from dwconv.functional import depthwise_conv1d
from dwconv.threads import get_num_threads

Gradient = Callable[[np.ndarray, np.ndarray], np.ndarray]

# Elements that are worked on together, so that what lies between stays in the cache.
_BLOCK = 1 << 14


def get(activation: Callable | None) -> Gradient:
    """The function ``gradient(z, dy) -> dz`` of an activation.

    Parameters
    ----------
    activation : callable or None
        A function of `dwconv.activations`, also with keywords in a `functools.partial`; an object
        of `dwconv.activation_layers`; or any callable with an attribute ``gradient``.

    Returns
    -------
    callable
        Takes `z` (what the activation was applied to) and `dy` (shaped like its result), arrays
        of one dtype, and returns an array with the shape and dtype of `z`. For the linear
        function that is `dy` itself.

    Raises
    ------
    TypeError
        If the gradient is not known.
    """
    own = getattr(activation, "gradient", None)
    if callable(own):
        return functools.partial(_by_attribute, activation)
    function, arguments = activation, {}
    if isinstance(activation, ActivationLayer):
        function, arguments = activation.function, activation.arguments
    elif type(activation) is functools.partial and not activation.args:
        function, arguments = activation.func, activation.keywords
    try:
        if function is None or function is activations.linear:
            return _linear
        if function in _ROW_WISE:
            return functools.partial(_ROW_WISE[function], **arguments)
        if function in _COMPILED and not arguments:
            return functools.partial(_compiled, _COMPILED[function])
        derivative = functools.partial(_DERIVATIVES[function], **arguments)
    except (KeyError, TypeError):  # unknown, or not hashable
        raise TypeError(
            "The gradient of the activation is not known. Give it an attribute `gradient`, a "
            f"function (z, dy) -> dz. Received: activation={describe(activation)}"
        ) from None
    return functools.partial(_elementwise, derivative)


def in_place(
    gradient: Gradient, z: np.ndarray, dy: np.ndarray, num_threads: int | None = None
) -> np.ndarray:
    """``gradient(z, dy)``, `gradient` being from `get`; the result may be in the memory of `z`."""
    if compiled_kind(gradient) is not None:
        return gradient(z, dy, out=z, num_threads=num_threads)
    return gradient(z, dy)


def compiled_kind(gradient: Gradient) -> int | None:
    """What the core calls the activation whose `gradient` it computes itself; None if it does not."""
    return gradient.args[0] if getattr(gradient, "func", None) is _compiled else None


def compiled_name(gradient: Gradient) -> str | None:
    """The name of that activation; None as well."""
    kind = compiled_kind(gradient)
    return next((f.__name__ for f, own in _COMPILED.items() if own == kind), None)


def _by_attribute(activation: Callable, z: np.ndarray, dy: np.ndarray) -> np.ndarray:
    dz = np.asarray(activation.gradient(z, dy))
    if dz.shape != z.shape:
        raise ValueError(
            f"The `gradient` of an activation must return an array of shape {z.shape}, that of "
            f"`z`. Received: {describe(activation)} returned shape={dz.shape}"
        )
    return dz.astype(z.dtype, copy=False)


def _linear(z: np.ndarray, dy: np.ndarray) -> np.ndarray:
    return dy


def _elementwise(
    derivative: Callable[[np.ndarray], np.ndarray], z: np.ndarray, dy: np.ndarray
) -> np.ndarray:
    dz = np.empty(z.shape, z.dtype)
    flat_z, flat_dy, flat_dz = z.reshape(-1), dy.reshape(-1), dz.reshape(-1)
    with np.errstate(all="ignore"):
        for start in range(0, z.size, _BLOCK):
            part = slice(start, start + _BLOCK)
            np.multiply(derivative(flat_z[part]), flat_dy[part], out=flat_dz[part])
    return dz


def _compiled(
    kind: int,
    z: np.ndarray,
    dy: np.ndarray,
    out: np.ndarray | None = None,
    num_threads: int | None = None,
) -> np.ndarray:
    dz = np.empty(z.shape, z.dtype) if out is None else out
    flat_z, flat_dy = (np.ascontiguousarray(a, z.dtype).reshape(-1) for a in (z, dy))
    threads = get_num_threads() if num_threads is None else num_threads
    activation_backward(kind, flat_z, flat_dy, dz.reshape(-1), threads)
    return dz


# Derivatives of the elementwise functions, with the arguments of these.


def _steps(inside: np.ndarray, z: np.ndarray) -> np.ndarray:
    """1 where `inside`, else 0, and NaN where z is."""
    steps = inside.astype(z.dtype)
    missing = np.isnan(z)
    if missing.any():
        steps[missing] = np.nan
    return steps


def _joined(above: np.ndarray, z: np.ndarray, below: np.ndarray | float) -> np.ndarray:
    """1 where `above`, else `below`, which is finite; NaN where z is."""
    steps = _steps(above, z)
    return steps + (1 - steps) * below  # exact, and quicker than a choice for each element


def _relu(
    z: np.ndarray,
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
) -> np.ndarray:
    # At `threshold` the function takes the upper value, which is a kink if it is 0, else a jump.
    passing = z > 0 if threshold == 0 else z >= threshold
    # Keras computes relu(max_value=6) as relu6, which is flat at 6; any other end is still rising.
    is_relu6 = threshold == 0 and max_value == 6
    if negative_slope == 0:
        if max_value is not None:
            passing &= z < 6 if is_relu6 else z <= max_value
        return _steps(passing, z)
    slopes = _joined(passing, z, negative_slope)
    if max_value is not None:
        y = np.where(passing, z, negative_slope * (z - threshold))
        slopes[y >= 6 if is_relu6 else y > max_value] = 0
    return slopes


def _leaky_relu(z: np.ndarray, negative_slope: float = 0.2) -> np.ndarray:
    return _relu(z, negative_slope)


def _elu(z: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    decay = np.exp(np.minimum(z, 0))
    return decay if alpha == 1 else _joined(z > 0, z, alpha * decay)


def _selu(z: np.ndarray) -> np.ndarray:
    decay = activations._SELU_ALPHA * np.exp(np.minimum(z, 0))
    return activations._SELU_SCALE * _joined(z >= 0, z, decay)


def _celu(z: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    return np.exp(np.minimum(z, 0) / alpha)


def _gelu(z: np.ndarray, approximate: bool = False) -> np.ndarray:
    if approximate:
        z = np.clip(z, -100, 100)  # flat beyond, where the cube would overflow
        scale = math.sqrt(2 / math.pi)
        inner = scale * z * (1 + 0.044715 * z * z)
        slope = scale * (1 + 3 * 0.044715 * z * z)
        return 0.5 * (1 + np.tanh(inner)) + 0.5 * z * _sech_squared(inner) * slope
    # gelu(z) is z times the distribution function, and the core is quick at it.
    product = depthwise_conv1d(z.reshape(1, -1, 1), np.ones((1, 1, 1), z.dtype), activation="gelu")
    distribution = np.where(np.abs(z) < 1e-30, 0.5, product.reshape(z.shape) / z)
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return (distribution + z * density).astype(z.dtype, copy=False)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    decay = np.exp(-np.abs(z))
    return decay / (1 + decay) ** 2


def _logistic(z: np.ndarray) -> np.ndarray:
    """`sigmoid`, quicker, and 0 instead of numbers near the smallest there are."""
    return 1 / (1 + np.exp(-z))


def _sech_squared(z: np.ndarray) -> np.ndarray:
    """``1 - tanh(z)**2`` without cancellation."""
    return 4 * _sigmoid(2 * z)


def _hard_sigmoid(z: np.ndarray) -> np.ndarray:
    return _steps(np.abs(z) < 3, z) / 6


def _log_sigmoid(z: np.ndarray) -> np.ndarray:
    return _logistic(-z)


def _sparse_sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * _steps(np.abs(z) < 1, z)


def _hard_tanh(z: np.ndarray) -> np.ndarray:
    return _steps(np.abs(z) <= 1, z)


def _tanh_shrink(z: np.ndarray) -> np.ndarray:
    return np.tanh(z) ** 2


def _softsign(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.abs(z)) ** 2


def _hard_silu(z: np.ndarray) -> np.ndarray:
    rising = _steps(z >= 3, z)
    return np.where(np.abs(z) < 3, z / 3 + 0.5, rising).astype(z.dtype, copy=False)


def _mish(z: np.ndarray) -> np.ndarray:
    inner = softplus(z)
    return np.tanh(inner) + z * _logistic(z) * _sech_squared(inner)


def _soft_shrink(z: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    return (z > threshold) | (z < -threshold)


def _hard_shrink(z: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    return np.abs(z) > threshold


def _threshold(z: np.ndarray, threshold: float, default_value: float) -> np.ndarray:
    return z > threshold


def _sparse_plus(z: np.ndarray) -> np.ndarray:
    return np.clip(0.5 * z + 0.5, 0, 1)


def _squareplus(z: np.ndarray, b: float = 4) -> np.ndarray:
    return squareplus(z, b) / np.hypot(z, math.sqrt(b))


_DERIVATIVES: dict[Callable, Callable[..., np.ndarray]] = {
    activations.relu: _relu,
    activations.relu6: functools.partial(_relu, max_value=6),
    activations.leaky_relu: _leaky_relu,
    activations.elu: _elu,
    activations.selu: _selu,
    activations.celu: _celu,
    activations.gelu: _gelu,
    activations.hard_sigmoid: _hard_sigmoid,
    activations.log_sigmoid: _log_sigmoid,
    activations.sparse_sigmoid: _sparse_sigmoid,
    activations.hard_tanh: _hard_tanh,
    activations.tanh_shrink: _tanh_shrink,
    activations.softplus: _logistic,
    activations.softsign: _softsign,
    activations.hard_silu: _hard_silu,
    activations.mish: _mish,
    activations.exponential: np.exp,
    activations.soft_shrink: _soft_shrink,
    activations.hard_shrink: _hard_shrink,
    activations.sparse_plus: _sparse_plus,
    activations.squareplus: _squareplus,
    activations.threshold: _threshold,
}

# Those of the core: the dwconv_activation_kind of dwconv.h.
_COMPILED = {activations.sigmoid: 5, activations.silu: 6, activations.tanh: 7}


# Gradients of the functions that work along an axis.


def _softmax(z: np.ndarray, dy: np.ndarray, axis: int = -1) -> np.ndarray:
    y = softmax(z, axis)
    with np.errstate(all="ignore"):
        return y * (dy - np.sum(y * dy, axis=axis, keepdims=True))


def _log_softmax(z: np.ndarray, dy: np.ndarray, axis: int = -1) -> np.ndarray:
    with np.errstate(all="ignore"):
        return dy - softmax(z, axis) * np.sum(dy, axis=axis, keepdims=True)


def _sparsemax(z: np.ndarray, dy: np.ndarray, axis: int = -1) -> np.ndarray:
    """On the support, dy minus its mean there (Martins and Astudillo, 2016, section 2.5)."""
    support = sparsemax(z, axis) > 0
    with np.errstate(all="ignore"):
        total = np.sum(dy, axis=axis, keepdims=True, where=support)
        mean = total / np.count_nonzero(support, axis=axis, keepdims=True).astype(z.dtype)
        return _steps(support, z) * (dy - mean)


def _glu(z: np.ndarray, dy: np.ndarray, axis: int = -1) -> np.ndarray:
    a, b = np.split(z, 2, axis=axis)
    with np.errstate(all="ignore"):
        return np.concatenate([dy * _logistic(b), dy * a * _sigmoid(b)], axis=axis)


_ROW_WISE: dict[Callable, Callable[..., np.ndarray]] = {
    activations.softmax: _softmax,
    activations.log_softmax: _log_softmax,
    activations.sparsemax: _sparsemax,
    activations.glu: _glu,
}
