# SPDX-License-Identifier: BSD-3-Clause
"""The weights of a layer: named arrays that are replaced, never written into.

A call that is running keeps the arrays it began with, whatever is assigned meanwhile. All arrays
of a layer sit in one tuple, so that several of them change in one step.
"""

import os
import threading
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from dwconv._layer_arrays import weight_array

_lock = threading.RLock()


def changing_weights() -> "threading.RLock":
    """The lock to hold while weights are created or replaced, one for all layers."""
    return _lock


def _renew_lock() -> None:
    """A lock that another thread held at the time of a fork would stay locked in the child."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class WeightGroup:
    """The arrays of all weights of one layer.

    Parameters
    ----------
    arrays : iterable of numpy.ndarray
        Nobody else may hold them.

    Attributes
    ----------
    arrays : tuple of numpy.ndarray
        Read-only, C-contiguous, native float32 or float64. The tuple is a snapshot: changes make
        a new one.
    """

    __slots__ = ("arrays",)

    def __init__(self, arrays: Iterable[np.ndarray] = ()):
        self.arrays = tuple(_frozen(array) for array in arrays)

    def add(self, array: np.ndarray) -> int:
        """Append `array`, which nobody else may hold, and return its index."""
        array = _frozen(array)
        with changing_weights():
            self.arrays += (array,)
            return len(self.arrays) - 1

    def replace(self, new: Mapping[int, np.ndarray]) -> None:
        """Put the arrays `new`, which nobody else may hold, at their indices, all in one step."""
        frozen = {index: _frozen(array) for index, array in new.items()}
        with changing_weights():
            self.arrays = tuple(frozen.get(i, array) for i, array in enumerate(self.arrays))

    def __getstate__(self) -> tuple[np.ndarray, ...]:
        return self.arrays

    def __setstate__(self, state: tuple[np.ndarray, ...]) -> None:
        # Copying and unpickling lose the read-only flag, and a pickle may hold anything.
        if not isinstance(state, tuple) or not all(
            isinstance(array, np.ndarray) and array.dtype.name in ("float32", "float64")
            for array in state
        ):
            raise ValueError("The saved weights of a layer must be arrays of float32 or float64")
        self.__init__(weight_array(array, "weights", array.dtype.name) for array in state)


class Variable(NDArrayOperatorsMixin):
    """One weight of a layer. Layers create them, in ``add_weight``.

    Used as an operand (``variable * 2``, ``variable[0]``, ``np.abs(variable)``) it is its value.

    Parameters
    ----------
    group : WeightGroup
    index : int
        Place of the array in the group.
    name : str
    path : str
        ``"<layer name>/<name>"``.
    trainable : bool, default True
    regularizer, constraint : callable, optional

    Attributes
    ----------
    index, name, path, trainable, regularizer, constraint
        As given. Optimizers apply the constraint after an update; `assign` does not.
    """

    def __init__(
        self,
        group: WeightGroup,
        index: int,
        *,
        name: str,
        path: str,
        trainable: bool = True,
        regularizer: Callable | None = None,
        constraint: Callable | None = None,
    ):
        self._group = group
        self.index = index
        self.name = name
        self.path = path
        self.trainable = trainable
        self.regularizer = regularizer
        self.constraint = constraint

    @classmethod
    def of(
        cls,
        value: object,
        *,
        name: str = "variable",
        trainable: bool = True,
        regularizer: Callable | None = None,
        constraint: Callable | None = None,
    ) -> "Variable":
        """A variable that belongs to no layer, for the other weights of a model.

        Parameters
        ----------
        value : array_like
            Copied. float64 stays, everything else becomes float32.
        name : str, default "variable"
        trainable : bool, default True
        regularizer, constraint : callable, optional

        Raises
        ------
        TypeError
            If `value` does not hold real numbers.
        """
        array = weight_array(value, name, np.float64 if _is_double(value) else np.float32)
        group = WeightGroup([array])
        return cls(
            group,
            0,
            name=name,
            path=name,
            trainable=trainable,
            regularizer=regularizer,
            constraint=constraint,
        )

    @property
    def value(self) -> np.ndarray:
        """The present array, read-only: a later `assign` does not change it."""
        return self._group.arrays[self.index]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """Number of dimensions of the value."""
        return self.value.ndim

    @property
    def dtype(self) -> str:
        """``"float32"`` or ``"float64"``."""
        return self.value.dtype.name

    def numpy(self) -> np.ndarray:
        """A copy of the value."""
        return self.value.copy()

    def assign(self, value: object) -> np.ndarray:
        """Replace the value.

        Parameters
        ----------
        value : array_like
            Real numbers in exactly the shape of the variable; copied, and cast to its dtype.

        Returns
        -------
        numpy.ndarray
            The new value, read-only.

        Raises
        ------
        ValueError
            If the shape differs.
        TypeError
            If `value` does not hold real numbers, or is masked.
        """
        assign_all([(self, value)])
        return self.value

    def converted(self, value: object) -> np.ndarray:
        """`value` as an array of the dtype of the variable, its shape not yet checked.

        Raises
        ------
        TypeError
            If `value` does not hold real numbers, or is masked.
        """
        return weight_array(value, self.name, self.value.dtype)

    def checked(self, value: object) -> np.ndarray:
        """`value` as an array that `assign` would accept; errors as there."""
        array = self.converted(value)
        if array.shape != self.shape:
            raise ValueError(
                "The shape of the target variable and the shape of the target value in "
                f"`variable.assign(value)` must match. Target variable: {self.path}, expected "
                f"shape={self.shape}. Received: value.shape={array.shape}"
            )
        return array

    def in_group(self, group: WeightGroup) -> "Variable":
        """The same variable with its value in another group, at the same index."""
        return Variable(
            group,
            self.index,
            name=self.name,
            path=self.path,
            trainable=self.trainable,
            regularizer=self.regularizer,
            constraint=self.constraint,
        )

    def belongs_to(self, group: WeightGroup) -> bool:
        """Whether the value is one of the arrays of `group`."""
        return self._group is group and 0 <= self.index < len(group.arrays)

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        if copy or (dtype is not None and np.dtype(dtype) != self.value.dtype):
            if copy is False:
                raise ValueError(f"A copy is needed to convert {self.path} to dtype={dtype}")
            return self.value.astype(self.dtype if dtype is None else dtype)
        return self.value

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: object, **kwargs: object):
        if any(isinstance(out, Variable) for out in kwargs.get("out", ())):
            return NotImplemented  # `variable += 1` must not write into weights; see `assign`
        values = [x.value if isinstance(x, Variable) else x for x in inputs]
        return getattr(ufunc, method)(*values, **kwargs)

    def __getitem__(self, key: object) -> np.ndarray:
        return self.value[key]

    def __len__(self) -> int:
        return len(self.value)

    # `==` compares element by element, as it does for arrays; as a key a variable is itself.
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return (
            f"<Variable path={self.path}, shape={self.shape}, dtype={self.dtype}, "
            f"value={self.value}>"
        )


def assign_all(pairs: Iterable[tuple[Variable, object]]) -> None:
    """Assign to several variables: none if one value is wrong, and those of a layer in one step.

    Parameters
    ----------
    pairs : iterable of (Variable, array_like)

    Raises
    ------
    TypeError, ValueError
        As `Variable.assign`.
    """
    new: dict[WeightGroup, dict[int, np.ndarray]] = {}
    for variable, value in pairs:
        new.setdefault(variable._group, {})[variable.index] = variable.checked(value)
    for group, arrays in new.items():
        group.replace(arrays)


def _is_double(value: object) -> bool:
    return getattr(value, "dtype", None) == np.float64


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
