# SPDX-License-Identifier: BSD-3-Clause
"""Arrays between two pages that nobody may touch: one byte too far ends the process."""

import ctypes
import mmap
import sys

import numpy as np
from numpy.lib.stride_tricks import as_strided

AVAILABLE = sys.platform != "win32"
_NONE, _READ = 0, 1

# In gaps between rows and in outputs before the call: a NaN no computation makes.
CANARY = {"float32": np.uint32(0x7FC5A5A5), "float64": np.uint64(0x7FF8A5A5A5A5A5A5)}

if AVAILABLE:
    _libc = ctypes.CDLL(None, use_errno=True)
    _libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def _protect(address: int, size: int, rights: int) -> None:
    if _libc.mprotect(address, size, rights):
        raise OSError(ctypes.get_errno(), "mprotect")


class Guarded:
    """A rank-3 array of canaries whose memory touches a forbidden page.

    Parameters
    ----------
    shape, dtype
        Of `array`; its last axis is contiguous.
    gaps : (int, int)
        Elements between two items of axis 0 and between two rows of axis 1.
    at_end : bool
        Whether the end of the array touches the page behind it, or its start the page before it.
    """

    def __init__(self, shape, dtype, *, gaps=(0, 0), at_end=True):
        self._dtype = np.dtype(dtype)
        item = self._dtype.itemsize
        row = shape[2] + gaps[1]
        batch = max(shape[1] - 1, 0) * row + shape[2] + gaps[0] if any(gaps) else shape[1] * row
        count = (shape[0] - 1) * batch + (shape[1] - 1) * row + shape[2] if min(shape) > 0 else 0
        page = mmap.PAGESIZE
        self._bytes = max(-(-count * item // page), 1) * page
        self._map = mmap.mmap(-1, self._bytes + 2 * page)
        self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._map)) + page
        _protect(self._start - page, page, _NONE)
        _protect(self._start + self._bytes, page, _NONE)
        whole = np.frombuffer(self._map, np.uint8)[page : page + self._bytes]
        self._whole = whole.view(CANARY[self._dtype.name].dtype)
        self._whole[:] = CANARY[self._dtype.name]
        first = self._bytes - count * item if at_end else 0
        flat = whole[first : first + count * item].view(dtype)
        strides = (batch * item, row * item, item)
        self.array = as_strided(flat, shape, strides) if count else np.empty(shape, dtype)
        self._offset, self._count = first // item, count
        used = np.zeros(count, bool)
        if count:
            as_strided(used, shape, (batch, row, 1))[...] = True
        self._unused = np.ones(self._whole.size, bool)
        self._unused[self._offset : self._offset + count][used] = False

    def fill(self, values) -> np.ndarray:
        """`array` holding `values` and from now on read-only for the whole process."""
        self.array[...] = values
        _protect(self._start, self._bytes, _READ)
        self.array.flags.writeable = False
        return self.array

    def gaps_are_untouched(self) -> bool:
        """Whether everything around the elements of `array` still holds canaries."""
        return bool(np.all(self._whole[self._unused] == CANARY[self._dtype.name]))


def guarded_copy(values, *, gaps=(0, 0), at_end=True) -> np.ndarray:
    """A read-only copy of an array of up to three dimensions between guard pages."""
    values = np.asarray(values)
    shape = (1,) * (3 - values.ndim) + values.shape
    array = Guarded(shape, values.dtype, gaps=gaps, at_end=at_end).fill(values)
    return array.reshape(values.shape) if not any(gaps) else array
