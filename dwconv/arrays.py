# SPDX-License-Identifier: BSD-3-Clause
"""From what callers pass to arrays the core can read."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from dwconv._core import place_array

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


def check_allocation(shape: tuple[int, ...], dtype: np.dtype, what: str) -> None:
    """MemoryError, with shape and bytes, if no machine could hold such an array."""
    size = dtype.itemsize * prod(shape)
    if size >= 2**59:
        raise MemoryError(f"cannot allocate {what}: shape {shape}, dtype {dtype}, {size} bytes")


def _allocating(make: Callable[[], np.ndarray], shape: tuple[int, ...], dtype: np.dtype, what: str) -> np.ndarray:
    """``make()``, with a MemoryError that says what it was for."""
    check_allocation(shape, dtype, what)
    try:
        return make()
    except MemoryError:
        size = dtype.itemsize * prod(shape)
        raise MemoryError(f"cannot allocate {what}: shape {shape}, dtype {dtype}, {size} bytes") from None


def empty_array(
    shape: tuple[int, ...], dtype: np.dtype, what: str, beside: np.ndarray | None = None
) -> np.ndarray:
    """An array for results, well placed beside that input; MemoryError, with shape and bytes, if it cannot be allocated."""
    nbytes = prod(shape) * dtype.itemsize
    return _allocating(lambda: place_array(shape, dtype, nbytes, beside), shape, dtype, what)


def native(array: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """`array` in native byte order as `dtype`; itself if it already is."""
    if array.dtype == dtype and array.dtype.isnative:
        return array
    return _allocating(lambda: array.astype(dtype), array.shape, dtype, f"a copy of `{name}`")


def contiguous(array: np.ndarray, name: str) -> np.ndarray:
    """`array` in C order and aligned; itself if it already is."""
    if array.flags.c_contiguous and array.flags.aligned:
        return array
    return _allocating(lambda: array.copy(order="C"), array.shape, array.dtype, f"a copy of `{name}`")


def check_out(
    out: object, shape: tuple[int, ...], dtype: np.dtype, inputs: tuple[np.ndarray | None, ...], name: str = "out"
) -> None:
    """Raises unless `out` can take a result of this shape and dtype: writable, and apart from all inputs.

    Raises
    ------
    TypeError
        If it is no ndarray.
    ValueError
        Otherwise.
    """
    if not isinstance(out, np.ndarray):
        raise TypeError(f"`{name}` must be a numpy.ndarray, received {name} of type {type(out).__name__}")
    if out.dtype != dtype:
        raise ValueError(f"`{name}` must have the dtype of the result, {dtype}, received {name}.dtype={out.dtype}")
    if out.shape != shape:
        raise ValueError(f"`{name}` must have the shape of the output, {shape}, received {name}.shape={out.shape}")
    if not out.flags.writeable:
        raise ValueError(f"`{name}` must be writable, received a read-only array")
    if not out.flags.c_contiguous and _overlaps_itself(out):
        raise ValueError(f"`{name}` must not overlap itself, received {name}.strides={out.strides} with {name}.shape={shape}")
    for array in inputs:
        if array is not None and np.may_share_memory(out, array) and _shares_memory(out, array):
            raise ValueError(f"`{name}` must not overlap an input or the weights, received overlapping memory")


def _shares_memory(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays overlap; if that is hard to tell (the problem is NP-complete), they count as overlapping."""
    try:
        return np.shares_memory(a, b, max_work=10_000)
    except np.exceptions.TooHardError:
        return True


def _overlaps_itself(array: np.ndarray) -> bool:
    """Whether two elements may share memory: some stride is shorter than what the shorter strides span."""
    if array.size == 0:
        return False
    span = array.itemsize
    for stride, n in sorted((abs(stride), n) for stride, n in zip(array.strides, array.shape, strict=True) if n > 1):
        if stride < span:
            return True
        span += stride * (n - 1)
    return False
