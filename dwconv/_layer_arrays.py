# SPDX-License-Identifier: BSD-3-Clause
"""What a layer accepts as an array: for its input, and as values of its weights."""

import numpy as np

from dwconv._checks import describe
from dwconv.arrays import as_array


def input_array(value: object, dtype: np.dtype, autocast: bool) -> np.ndarray:
    """`value` as a plain array of the type that a layer computes in.

    Parameters
    ----------
    value : numpy.ndarray or object with ``__array__`` or ``__dlpack__``
        A floating type of any width.
    dtype : numpy.dtype
    autocast : bool
        Whether to convert other floating types to `dtype`.

    Returns
    -------
    numpy.ndarray
        No copy if `value` has the right type in native byte order already.

    Raises
    ------
    ValueError
        If `value` is a Python list, tuple or number.
    TypeError
        If it is no array, does not hold floating numbers, or has masked elements; or, without
        `autocast`, has another type.
    """
    if isinstance(value, (list, tuple, bool, int, float, complex)):
        raise ValueError(
            "The input must be an array, for example numpy.asarray(inputs, 'float32'). "
            f"Received: inputs={describe(value)} (of type {type(value).__name__})"
        )
    array = as_array(value, "input")
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise TypeError(
            "The input must hold floating numbers: float32, float64 or another floating dtype. "
            f"Received: inputs of shape={array.shape} and dtype={array.dtype}"
        )
    if not autocast and array.dtype.newbyteorder("=") != dtype:
        raise TypeError(
            f"With autocast=False the input must have dtype {dtype}. "
            f"Received: inputs of shape={array.shape} and dtype={array.dtype}"
        )
    with _any_range():
        return array.astype(dtype, copy=False)


def weight_array(value: object, name: str, dtype: np.dtype) -> np.ndarray:
    """A new C-contiguous array of the given type with the values of `value`.

    Parameters
    ----------
    value : array_like
        Real numbers.
    name : str
        Of the weight, for error messages.
    dtype : numpy.dtype

    Returns
    -------
    numpy.ndarray

    Raises
    ------
    ValueError
        If `value` is a ragged list.
    TypeError
        If it does not hold real numbers, or has masked elements.
    """
    array = as_array(value, name)
    if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        raise TypeError(
            f"`{name}` must be an array of real numbers. "
            f"Received: {name}={describe(value)} of dtype={array.dtype}"
        )
    with _any_range():
        return np.array(array, dtype, order="C")


def _any_range() -> np.errstate:
    """What does not fit a type becomes infinite, whatever the caller's NumPy error state says."""
    return np.errstate(all="ignore")
