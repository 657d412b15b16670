# SPDX-License-Identifier: BSD-3-Clause
"""Regularizers: penalties on weights or outputs, by every name they have in Keras.

A regularizer is called with an array and returns a scalar of the same dtype. Sums are taken in
float64. Its method ``gradient`` is what training needs besides; a plain function that is to be
trained with has it as an attribute::

    def fourth(w):
        return np.sum(w**4)

    fourth.gradient = lambda w: 4 * w**3
"""

import math
from collections.abc import Callable, Mapping
from numbers import Real

import numpy as np

from dwconv import config as global_config
from dwconv._checks import describe, float_array
from dwconv.serialization import (
    deserialize_keras_object,
    get_keras_object,
    serialize_keras_object,
)


class Regularizer:
    """Base class: subclasses define ``__call__(x)``, ``gradient(x)`` and ``get_config()``."""

    def __call__(self, x: np.ndarray) -> np.floating:
        """Penalty of `x`.

        Parameters
        ----------
        x : array_like, float32 or float64

        Returns
        -------
        numpy.float32 or numpy.float64
        """
        raise NotImplementedError("Regularizer subclasses must implement the `__call__()` method.")

    def gradient(self, x: np.ndarray) -> np.ndarray:
        """Derivative of the penalty to each element of `x`; that of ``abs`` is 0 at 0.

        Parameters
        ----------
        x : array_like, float32 or float64

        Returns
        -------
        numpy.ndarray
            Shape and dtype of `x`.
        """
        raise NotImplementedError("Regularizer subclasses must implement the `gradient()` method.")

    def get_config(self) -> dict[str, object]:
        """Constructor arguments, as JSON-compatible values."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "Regularizer":
        """Regularizer with the arguments that `get_config` returned (here or in Keras)."""
        return cls(**config)


class L1L2(Regularizer):
    """Penalty ``l1 * sum(abs(x)) + l2 * sum(x**2)``.

    Parameters
    ----------
    l1, l2 : float, default 0.0
        Finite and not negative; ``None`` means the default.
    """

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0):
        self.l1 = _coefficient(0.0 if l1 is None else l1, "l1")
        self.l2 = _coefficient(0.0 if l2 is None else l2, "l2")

    def __call__(self, x: np.ndarray) -> np.floating:
        x = float_array(x, "x")
        return _scalar(self.l1 * _absolute_sum(x) + self.l2 * _square_sum(x), x.dtype)

    def gradient(self, x: np.ndarray) -> np.ndarray:
        x = float_array(x, "x")
        with np.errstate(all="ignore"):
            return self.l1 * np.sign(x) + 2 * self.l2 * x

    def get_config(self) -> dict[str, object]:
        return {"l1": self.l1, "l2": self.l2}


class L1(Regularizer):
    """Penalty ``l1 * sum(abs(x))``.

    Parameters
    ----------
    l1 : float, default 0.01
        Finite and not negative; ``None`` means the default. Rounded to ``floatx()``, as in Keras.
    """

    def __init__(self, l1: float | None = 0.01):
        self.l1 = _rounded_coefficient(0.01 if l1 is None else l1, "l1")

    def __call__(self, x: np.ndarray) -> np.floating:
        x = float_array(x, "x")
        return _scalar(self.l1 * _absolute_sum(x), x.dtype)

    def gradient(self, x: np.ndarray) -> np.ndarray:
        return self.l1 * np.sign(float_array(x, "x"))

    def get_config(self) -> dict[str, object]:
        return {"l1": self.l1}


class L2(Regularizer):
    """Penalty ``l2 * sum(x**2)``, without a factor 1/2.

    Parameters
    ----------
    l2 : float, default 0.01
        Finite and not negative; ``None`` means the default.
    """

    def __init__(self, l2: float | None = 0.01):
        self.l2 = _coefficient(0.01 if l2 is None else l2, "l2")

    def __call__(self, x: np.ndarray) -> np.floating:
        x = float_array(x, "x")
        return _scalar(self.l2 * _square_sum(x), x.dtype)

    def gradient(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return 2 * self.l2 * float_array(x, "x")

    def get_config(self) -> dict[str, object]:
        return {"l2": self.l2}


class OrthogonalRegularizer(Regularizer):
    """Penalty on the cosines between the rows (or columns) of a matrix.

    ``factor`` times half the mean over all pairs, each counted in both orders, of the absolute
    inner product of the normalised rows. For two-dimensional arrays only, so neither for the
    kernel nor for the bias of this package's layer.

    Parameters
    ----------
    factor : float, default 0.01
        Finite and not negative. Rounded to ``floatx()``, as in Keras.
    mode : {"rows", "columns"}, default "rows"
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows"):
        self.factor = _rounded_coefficient(factor, "factor")
        if mode not in ("rows", "columns"):
            raise ValueError(
                "Invalid value for argument `mode`. Expected one of ('rows', 'columns'). "
                f"Received: mode={describe(mode)}"
            )
        self.mode = mode

    def __call__(self, x: np.ndarray) -> np.floating:
        x = float_array(x, "x")
        vectors, _ = self._unit_vectors(x)
        pairs = math.comb(len(vectors), 2)
        if pairs == 0:
            return _scalar(0.0, x.dtype)
        cosines = np.abs(vectors @ vectors.T)
        np.fill_diagonal(cosines, 0)
        return _scalar(self.factor * 0.5 * np.sum(cosines) / pairs, x.dtype)

    def gradient(self, x: np.ndarray) -> np.ndarray:
        x = float_array(x, "x")
        vectors, norms = self._unit_vectors(x)
        signs = np.sign(vectors @ vectors.T)
        np.fill_diagonal(signs, 0)
        directions = self.factor / max(math.comb(len(vectors), 2), 1) * (signs @ vectors)
        # Along a vector itself nothing changes: it is normalised.
        along = np.sum(directions * vectors, axis=1, keepdims=True)
        gradient = (directions - along * vectors) / norms
        return np.asarray(gradient if self.mode == "rows" else gradient.T, x.dtype)

    def _unit_vectors(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of length 1 (or 0) and their norms (1 instead of 0), in float64."""
        if x.ndim != 2:
            raise ValueError(
                "Inputs to OrthogonalRegularizer must have rank 2. "
                f"Received: inputs.shape={x.shape}"
            )
        vectors = (x if self.mode == "rows" else x.T).astype(np.float64)
        norms = np.sqrt(np.sum(vectors**2, axis=1, keepdims=True))
        norms = np.where(norms == 0, 1, norms)
        return vectors / norms, norms

    def get_config(self) -> dict[str, object]:
        return {"factor": self.factor, "mode": self.mode}


l1 = L1
l2 = L2
l1_l2 = L1L2
orthogonal_regularizer = OrthogonalRegularizer

_KIND = "regularizer"
# "l1_l2" is missing on purpose: it meant 0.01 and 0.01 in Keras 2 and is refused by Keras 3.
_OBJECTS = {
    "Regularizer": Regularizer,
    "regularizer": Regularizer,
    "L1": L1,
    "l1": L1,
    "L2": L2,
    "l2": L2,
    "L1L2": L1L2,
    "l1l2": L1L2,
    "OrthogonalRegularizer": OrthogonalRegularizer,
    "orthogonal_regularizer": OrthogonalRegularizer,
}


def get(
    identifier: object, custom_objects: Mapping[str, object] | None = None
) -> Callable[[np.ndarray], float] | None:
    """The regularizer meant by `identifier`.

    Parameters
    ----------
    identifier : None, str, dict, class or callable
        ``None`` stays ``None``. Names are case-sensitive; a class is instantiated; a callable maps
        an array to a scalar.
    custom_objects : mapping of str to class or function, optional
        Names that the caller adds.

    Returns
    -------
    callable or None

    Raises
    ------
    ValueError
        If `identifier` means nothing.
    """
    return get_keras_object(identifier, _KIND, _OBJECTS, custom_objects)


def serialize(regularizer: Callable | None) -> dict[str, object] | None:
    """Configuration of `regularizer` in the form of Keras 3; ``None`` stays ``None``."""
    return serialize_keras_object(regularizer, "keras.regularizers", _OBJECTS)


def deserialize(
    config: Mapping[str, object] | str, custom_objects: Mapping[str, object] | None = None
) -> Callable[[np.ndarray], float]:
    """The regularizer that a configuration (or a name) stands for; errors as in `get`."""
    return deserialize_keras_object(config, _KIND, _OBJECTS, custom_objects)


def _coefficient(value: object, name: str) -> float:
    if not isinstance(value, Real) or not math.isfinite(value) or value < 0:
        raise ValueError(
            f"Invalid value for argument {name}: expected a non-negative finite float. "
            f"Received: {name}={describe(value)}"
        )
    return float(value)


def _rounded_coefficient(value: object, name: str) -> float:
    """`value` as Keras keeps it: in a tensor of type ``floatx()``."""
    number = _coefficient(value, name)
    if global_config.floatx() == "float64":
        return number
    with np.errstate(over="ignore"):
        return _coefficient(float(np.float32(number)), name)


def _absolute_sum(x: np.ndarray) -> float:
    return float(np.sum(np.abs(x), dtype=np.float64))


def _square_sum(x: np.ndarray) -> float:
    with np.errstate(over="ignore"):
        return float(np.sum(np.square(x, dtype=np.float64)))


def _scalar(value: float, dtype: np.dtype) -> np.floating:
    with np.errstate(over="ignore"):
        return dtype.type(value)
