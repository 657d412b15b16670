# SPDX-License-Identifier: BSD-3-Clause
# What _core_stream.pxi needs: a lock, questions about buffers, and the functions of the core for other Cython code.

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
)
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from dwconv.c_dwconv cimport dwconv_chunk, dwconv_stream, dwconv_stream_mark, dwconv_stream_problem

cdef extern from *:
    """
    /* Set while a call works on a stream, so that a second thread is told instead of let in. */
    typedef struct { _Atomic int taken; } stream_lock;
    static int stream_enter(stream_lock *lock) { return atomic_exchange(&lock->taken, 1) == 0; }
    static void stream_leave(stream_lock *lock) { atomic_store(&lock->taken, 0); }
    """
    ctypedef struct stream_lock:
        pass
    int stream_enter(stream_lock *lock) nogil
    void stream_leave(stream_lock *lock) nogil


cdef dwconv_status stream_init(dwconv_stream *stream, const dwconv_stream_problem *problem,
                               const char *isa) noexcept nogil:
    return c.dwconv_stream_init(stream, problem, isa)


cdef size_t stream_state_size(const dwconv_stream *stream) noexcept nogil:
    return c.dwconv_stream_state_size(stream)


cdef dwconv_status stream_reset(const dwconv_stream *stream, void *state, int64_t item) noexcept nogil:
    return c.dwconv_stream_reset(stream, state, item)


cdef dwconv_status stream_step(const dwconv_stream *stream, void *state, const void *x, const void *w,
                               const void *bias, const dwconv_activation *activation, void *y,
                               const dwconv_exec *exec) noexcept nogil:
    return c.dwconv_stream_step(stream, state, x, w, bias, activation, y, exec)


cdef bint is_packed(const Py_buffer *view) noexcept:
    """Whether an array of up to three axes is C-contiguous."""
    cdef Py_ssize_t expected = view.itemsize
    cdef int axis
    if view.len == 0:
        return True
    for axis in range(view.ndim - 1, -1, -1):
        if view.shape[axis] > 1 and view.strides[axis] != expected:
            return False
        expected *= view.shape[axis]
    return True


cdef Py_ssize_t buffer_extent(const Py_buffer *view) noexcept:
    """Bytes from the first to behind the last of an array with positive strides."""
    cdef Py_ssize_t extent = view.itemsize
    cdef int axis
    if view.len == 0:
        return 0
    for axis in range(view.ndim):
        extent += (view.shape[axis] - 1) * view.strides[axis]
    return extent
