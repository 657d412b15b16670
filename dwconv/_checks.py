# SPDX-License-Identifier: BSD-3-Clause
"""Argument checks shared by activations, initializers, regularizers and constraints."""

import math
from numbers import Real

import numpy as np

from dwconv import config

_FLOATS = (np.float32, np.float64)


def describe(value: object) -> str:
    """`value` as it is shown in an error message: arrays by shape and dtype, the rest cut short."""
    if isinstance(value, np.ndarray):
        return f"array of shape {value.shape} and dtype {value.dtype}"
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 200 else text[:200] + "..."


def float_dtype(dtype: object) -> np.dtype:
    """The native float32 or float64 dtype meant by `dtype`; ``None`` means ``floatx()``.

    Raises
    ------
    TypeError
        For every other dtype.
    """
    name = config.floatx() if dtype is None else dtype
    try:
        resolved = np.dtype(name).newbyteorder("=")
    except (TypeError, ValueError):
        resolved = None  # "bfloat16" and other names unknown to NumPy
    if resolved is None or resolved.type not in _FLOATS:
        raise TypeError(
            f"dtype {describe(name)} is not supported for computation yet: "
            f"`dtype` must be float32 or float64. Received: dtype={describe(dtype)}"
        )
    return resolved


def float_array(value: object, name: str) -> np.ndarray:
    """`value` as a float32 or float64 array in native byte order, not copied if it is one.

    Integers, booleans, Python numbers and lists become ``floatx()``.

    Raises
    ------
    TypeError
        If `value` holds anything else: complex numbers, text, other float widths.
    """
    array = np.asarray(value)
    if array.dtype.kind in "biu" or (array.dtype.kind == "f" and not hasattr(value, "dtype")):
        return array.astype(float_dtype(None))
    if array.dtype.type not in _FLOATS:
        raise TypeError(
            f"`{name}` must have dtype float32 or float64, not {array.dtype}. "
            f"Received: {name}={describe(value)}"
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def real_number(value: object, name: str) -> float:
    """`value` as a Python number.

    Raises
    ------
    TypeError
        If it is not a real number (a Python or NumPy scalar).
    """
    if not isinstance(value, Real):
        raise TypeError(f"`{name}` must be a number. Received: {name}={describe(value)}")
    return value.item() if isinstance(value, np.generic) else value


def finite_number(value: object, name: str) -> float:
    """As `real_number`, and infinities and NaN raise `ValueError`."""
    number = real_number(value, name)
    if not math.isfinite(number):
        raise ValueError(f"`{name}` must be finite. Received: {name}={number}")
    return number
