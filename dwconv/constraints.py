# SPDX-License-Identifier: BSD-3-Clause
"""Constraints: projections of a weight after an update, by every name they have in Keras.

A constraint is called with a weight and returns a new array of the same shape and dtype. Norms
are Euclidean, taken in float64 over `axis`; ``eps`` is ``dwconv.config.epsilon()``. With the
default ``axis=0``, the kernel of shape ``(kernel_size, channels, depth_multiplier)`` is constrained
filter by filter, and a bias as one vector.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dwconv import config as global_config
from dwconv._checks import describe, float_array, real_number
from dwconv.serialization import (
    deserialize_keras_object,
    get_keras_object,
    serialize_keras_object,
)


class Constraint:
    """Base class, which leaves weights as they are: subclasses define ``__call__(w)``."""

    def __call__(self, w: np.ndarray) -> np.ndarray:
        """Constrained copy of `w`.

        Parameters
        ----------
        w : array_like, float32 or float64

        Returns
        -------
        numpy.ndarray

        Raises
        ------
        ValueError
            If the constraint has an axis that `w` has not.
        """
        return float_array(w, "w").copy()

    def get_config(self) -> dict[str, object]:
        """Constructor arguments, as JSON-compatible values."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "Constraint":
        """Constraint with the arguments that `get_config` returned (here or in Keras)."""
        return cls(**config)


class NonNeg(Constraint):
    """Negative weights become 0; NaN stays NaN."""

    def __call__(self, w: np.ndarray) -> np.ndarray:
        w = float_array(w, "w")
        return np.asarray(np.maximum(w, 0), w.dtype)


class _NormConstraint(Constraint):
    """Common to the constraints that rescale `w`; ``_wanted(norm)`` is the norm to aim at."""

    def __init__(self, axis: int | Sequence[int] | None = 0):
        axes = axis if isinstance(axis, (list, tuple)) else (axis,)
        if axis is not None and not all(isinstance(each, int) for each in axes):
            raise TypeError(
                "`axis` must be an integer, a list of integers or None. "
                f"Received: axis={describe(axis)}"
            )
        self.axis = axis

    def __call__(self, w: np.ndarray) -> np.ndarray:
        w = float_array(w, "w")
        axis = tuple(self.axis) if isinstance(self.axis, list) else self.axis
        with np.errstate(all="ignore"):
            norm = np.sqrt(np.sum(np.square(w, dtype=np.float64), axis=axis, keepdims=True))
            scale = self._wanted(norm) / (global_config.epsilon() + norm)
            return np.asarray(w * scale, w.dtype)

    def get_config(self) -> dict[str, object]:
        return {"axis": self.axis}


class MaxNorm(_NormConstraint):
    """Norms of at most `max_value`: ``w * min(norm, max_value) / (eps + norm)``.

    Parameters
    ----------
    max_value : float, default 2
        Not negative.
    axis : int, list of int or None, default 0
        Axes of the norm; ``None`` is all of them.
    """

    def __init__(self, max_value: float = 2, axis: int | Sequence[int] | None = 0):
        super().__init__(axis)
        self.max_value = _norm_limit(max_value, "max_value")

    def _wanted(self, norm: np.ndarray) -> np.ndarray:
        return np.minimum(norm, self.max_value)

    def get_config(self) -> dict[str, object]:
        return {"max_value": self.max_value, **super().get_config()}


class UnitNorm(_NormConstraint):
    """Norms of 1: ``w / (eps + norm)``; zeros stay zeros.

    Parameters
    ----------
    axis : int, list of int or None, default 0
        Axes of the norm; ``None`` is all of them.
    """

    def _wanted(self, norm: np.ndarray) -> np.ndarray:
        return np.ones_like(norm)


class MinMaxNorm(_NormConstraint):
    """Norms between two limits.

    ``w * (rate * clip(norm, min_value, max_value) + (1 - rate) * norm) / (eps + norm)``

    Parameters
    ----------
    min_value : float, default 0.0
    max_value : float, default 1.0
        Not less than `min_value`.
    rate : float, default 1.0
        How far each application goes towards the limits, from 0 (not at all) to 1 (there).
    axis : int, list of int or None, default 0
        Axes of the norm; ``None`` is all of them.
    """

    def __init__(
        self,
        min_value: float = 0.0,
        max_value: float = 1.0,
        rate: float = 1.0,
        axis: int | Sequence[int] | None = 0,
    ):
        super().__init__(axis)
        self.min_value = _norm_limit(min_value, "min_value")
        self.max_value = _norm_limit(max_value, "max_value")
        if self.min_value > self.max_value:
            raise ValueError(
                "`min_value` must not be greater than `max_value`. "
                f"Received: min_value={min_value}, max_value={max_value}"
            )
        self.rate = real_number(rate, "rate")
        if not 0 <= self.rate <= 1:
            raise ValueError(f"`rate` must be between 0 and 1. Received: rate={rate}")

    def _wanted(self, norm: np.ndarray) -> np.ndarray:
        clipped = np.clip(norm, self.min_value, self.max_value)
        return self.rate * clipped + (1 - self.rate) * norm

    def get_config(self) -> dict[str, object]:
        return {
            "min_value": self.min_value,
            "max_value": self.max_value,
            "rate": self.rate,
            **super().get_config(),
        }


max_norm = maxnorm = MaxNorm
min_max_norm = MinMaxNorm
non_neg = nonneg = NonNeg
unit_norm = unitnorm = UnitNorm

_KIND = "constraint"
_OBJECTS = {
    "Constraint": Constraint,
    "constraint": Constraint,
    "MaxNorm": MaxNorm,
    "max_norm": MaxNorm,
    "maxnorm": MaxNorm,
    "MinMaxNorm": MinMaxNorm,
    "min_max_norm": MinMaxNorm,
    "NonNeg": NonNeg,
    "non_neg": NonNeg,
    "nonneg": NonNeg,
    "UnitNorm": UnitNorm,
    "unit_norm": UnitNorm,
    "unitnorm": UnitNorm,
}


def get(
    identifier: object, custom_objects: Mapping[str, object] | None = None
) -> Callable[[np.ndarray], np.ndarray] | None:
    """The constraint meant by `identifier`.

    Parameters
    ----------
    identifier : None, str, dict, class or callable
        ``None`` stays ``None``. Names are case-sensitive; a class is instantiated; a callable maps
        a weight to an array of the same shape.
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


def serialize(constraint: Callable | None) -> dict[str, object] | None:
    """Configuration of `constraint` in the form of Keras 3; ``None`` stays ``None``."""
    return serialize_keras_object(constraint, "keras.constraints", _OBJECTS)


def deserialize(
    config: Mapping[str, object] | str, custom_objects: Mapping[str, object] | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """The constraint that a configuration (or a name) stands for; errors as in `get`."""
    return deserialize_keras_object(config, _KIND, _OBJECTS, custom_objects)


def _norm_limit(value: object, name: str) -> float:
    number = real_number(value, name)
    if not number >= 0:
        raise ValueError(f"`{name}` must not be negative or NaN. Received: {name}={number}")
    return number
