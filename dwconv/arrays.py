# SPDX-License-Identifier: BSD-3-Clause
"""From what callers pass to arrays the core can read."""

from __future__ import annotations

import numpy as np

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
NOT_YET = ("float16", "bfloat16")


def as_array(value: object, name: str) -> np.ndarray:
    """`value` as an ndarray, without a copy where its memory allows.

    Accepts arrays, anything with ``__array__`` or a CPU ``__dlpack__``, and nested sequences of numbers.

    Raises
    ------
    TypeError
        For None, text, mappings, and masked arrays with a masked element.
    ValueError
        For ragged sequences.
    """
    if type(value) is np.ndarray:
        return value
    if value is None or isinstance(value, (str, bytes, dict, set)):
        raise TypeError(f"`{name}` must be an array, received {name} of type {type(value).__name__}")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise TypeError(
            f"`{name}` must not have masked elements (a mask cannot be honoured), "
            f"received {np.ma.count_masked(value)} masked of {value.size}"
        )
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
        return np.from_dlpack(value)
    try:
        return np.asarray(value)
    except ValueError as error:
        if isinstance(value, (list, tuple)):
            raise ValueError(f"`{name}` must be a regular array, received ragged {name}: {error}") from None
        raise


def check_dtype(array: np.ndarray, name: str) -> None:
    """TypeError unless `array` holds float32 or float64, in either byte order."""
    dtype = array.dtype
    if dtype.kind == "f" and dtype.itemsize in (4, 8):
        return
    hint = (
        f"dtype {dtype.name} is not supported for computation yet; convert it to float32"
        if dtype.name in NOT_YET
        else "convert it, for instance with .astype(numpy.float32)"
    )
    raise TypeError(f"`{name}` must have dtype float32 or float64, received {name} of dtype {dtype}: {hint}")


def row_strides(array: np.ndarray) -> tuple[int, int] | None:
    """Strides of axes 0 and 1 in elements if the core can walk the rank-3 array in place, else None.

    It can if the last axis is contiguous and the others are wide enough and forward; (0, 0) means packed.
    """
    flags = array.flags
    if flags.c_contiguous:
        return (0, 0) if flags.aligned else None
    item = array.itemsize
    (n0, n1, n2), (s0, s1, s2) = array.shape, array.strides
    if not flags.aligned or array.size == 0 or (n2 > 1 and s2 != item):
        return None
    row = s1 if n1 > 1 else n2 * item
    batch = s0 if n0 > 1 else n1 * row
    if row % item or batch % item or row < n2 * item or batch < (n1 - 1) * row + n2 * item:
        return None
    return batch // item, row // item


def native(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`array` in native byte order as `dtype`; itself if it already is."""
    return array if array.dtype == dtype and array.dtype.isnative else array.astype(dtype)
