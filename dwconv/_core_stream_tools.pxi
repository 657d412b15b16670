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


cdef bint is_real(const Py_buffer *view, Py_ssize_t item, int ndim) noexcept:
    """Whether an array holds floats of that size, in native byte order and aligned, and has that many axes."""
    return (view.ndim == ndim and view.itemsize == item and view.format is not NULL
            and view.format[0] == (c'd' if item == 8 else c'f') and view.format[1] == 0
            and <size_t>view.buf % item == 0)


cdef bint view_frame(const dwconv_stream_problem *p, object array, Py_buffer *view, Py_ssize_t channels,
                     int flags) except -1:
    """Whether `array` is a frame the core can walk; `view` holds its buffer then."""
    cdef Py_ssize_t item = 8 if p.dtype == c.DWCONV_F64 else 4
    try:
        PyObject_GetBuffer(array, view, PyBUF_STRIDES | PyBUF_FORMAT | flags)
    except (BufferError, TypeError, ValueError):
        return False
    if (is_real(view, item, 2) and view.shape[0] == p.batch and view.shape[1] == channels
            and (channels <= 1 or view.strides[1] == item)
            and (view.shape[0] <= 1 or (view.strides[0] >= channels * item and view.strides[0] % item == 0))):
        return True
    PyBuffer_Release(view)
    return False


cdef bint view_chunk(const dwconv_stream_problem *p, object array, Py_buffer *view, dwconv_chunk *chunk) except -1:
    """Whether `array` is a chunk the core can walk; `view` holds its buffer then, `chunk` its sizes."""
    cdef bint first = p.layout == c.DWCONV_CHANNELS_FIRST
    cdef Py_ssize_t item = 8 if p.dtype == c.DWCONV_F64 else 4
    cdef Py_ssize_t row, batch
    try:
        PyObject_GetBuffer(array, view, PyBUF_STRIDES | PyBUF_FORMAT)
    except (BufferError, TypeError, ValueError):
        return False
    if is_real(view, item, 3) and view.shape[0] == p.batch and view.shape[1 if first else 2] == p.channels:
        chunk.in_steps = view.shape[2 if first else 1]
        if view.len == 0:
            return True
        row = view.strides[1] if view.shape[1] > 1 else view.shape[2] * item
        batch = view.strides[0] if view.shape[0] > 1 else view.shape[1] * row
        if ((view.shape[2] <= 1 or view.strides[2] == item) and row % item == 0 and batch % item == 0
                and row >= view.shape[2] * item and batch >= (view.shape[1] - 1) * row + view.shape[2] * item):
            chunk.x_row_stride, chunk.x_batch_stride = row // item, batch // item
            return True
    PyBuffer_Release(view)
    return False
