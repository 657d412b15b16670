# SPDX-License-Identifier: BSD-3-Clause
# Part of _core.pyx: memory for results.
from cpython.buffer cimport PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from numpy import empty, ndarray, uint8

cdef enum:
    PAGE = 4096  # addresses that agree modulo this share a set of the first-level cache
    LINE = 64
    WORD = 16  # what NumPy aligns its own arrays to
    # Where results begin beyond their input, modulo PAGE.  Microseconds on one core of a Zen 4 server, float32,
    # channels_last, input at a multiple of PAGE (left) or 16 bytes behind one, results so many bytes further:
    #                                          0    64   512  1024  1536  2048  2560      0    48  1520  1536
    #   938 steps, 512 channels, K = 7        84   132    76    76    76    83    76     99   146    88    83
    #   515 steps, 5120 channels, K = 4      648   996   669   505   498   491   489    676  1052   690   502
    #   4099 steps, 1536 channels, K = 4    1856  1859  1352  1357  1327  1787  1347   2093  2407  2172  1661
    #   3200, 512, K = 3, dilation 128       257   364   244   235   230   224   228    347   457   293   278
    BEYOND = 1536
    PLACED_BYTES = 1 << 15  # below, finding the place costs more than it saves


def place_array(tuple shape not None, dtype not None, Py_ssize_t nbytes, beside=None):
    """numpy.empty, but that arrays of some size begin at a good place beside the array they are computed from.

    Where rows of results share the sets of the cache with the rows they are made from, they push each other out, and
    loads wait for stores whose addresses end alike.  Vectors of 64 bytes that straddle two lines take twice as long to
    load and store, so results begin where lines do; but if their rows are as long as those of the input, as far behind
    one as the input: then aligned loads are aligned stores.
    """
    if nbytes < PLACED_BYTES:
        return empty(shape, dtype)
    memory = empty(nbytes + PAGE, uint8)
    cdef const unsigned char[::1] view = memory
    cdef size_t first = <size_t>&view[0]
    cdef size_t wanted = 0
    cdef bint alike = False
    cdef Py_buffer other
    cdef Py_ssize_t last
    if beside is not None:
        PyObject_GetBuffer(beside, &other, PyBUF_STRIDES)
        wanted = <size_t>other.buf + BEYOND
        last = other.ndim - 1
        alike = other.ndim == len(shape) and other.shape[last] == <Py_ssize_t>shape[last]
        PyBuffer_Release(&other)
    if not alike or wanted % WORD != 0:
        wanted += (LINE - wanted % LINE) % LINE
    return ndarray(shape, dtype, memory, (wanted - first) % PAGE)
