# SPDX-License-Identifier: BSD-3-Clause
# Part of _core.pyx: calls like one that was made before, without what Python does to a first one.
from cpython.buffer cimport PyBUF_STRIDED, PyBUF_STRIDED_RO

cdef enum:
    MOST_CALLS = 512  # that are known at a time; most programs use few
    SLOTS = 256  # a power of two


cdef class KnownCall:
    """What a call needs to know that is like another one."""

    cdef Plan plan
    cdef dwconv_activation fused
    cdef object dtype
    cdef Py_ssize_t nbytes


cdef class RecentCall:
    """A known call and the very objects that were its options; other threads may replace it, nobody changes it."""

    cdef KnownCall call
    cdef tuple options


# Memory of x, kernel, output and bias, of which the first `held` have to be given back.
cdef struct Views:
    Py_buffer view[4]
    int held


cdef inline bint holds(array, dtype) except -1:
    """Whether that is an array of this dtype; nearly always it is even the same object."""
    if type(array) is not ndarray:
        return False
    cdef object own = array.dtype
    return own is dtype or own == dtype


cdef inline int hold(Views *views, array, int flags) except -1:
    PyObject_GetBuffer(array, &views.view[views.held], flags)
    views.held += 1
    return 0


cdef inline bint fits(const Py_buffer *view, const Py_ssize_t *shape) noexcept:
    return view.ndim == 3 and matches(view.shape, shape)


cdef inline size_t mixed(size_t sum, size_t value) noexcept:
    return (sum ^ value) * <size_t>0x9E3779B97F4A7C15


cdef size_t slot_of(const Py_buffer *x, const Py_buffer *kernel, tuple options) noexcept:
    """A number below SLOTS for these shapes and objects."""
    cdef size_t sum = 0
    cdef int i
    for i in range(3):
        sum = mixed(mixed(sum, <size_t>x.shape[i]), <size_t>kernel.shape[i])
    for i in range(6):
        sum = mixed(sum, <size_t><void *>options[i])
    return (sum >> 32) % SLOTS


cdef bint same_objects(tuple a, tuple b) noexcept:
    cdef int i
    for i in range(6):
        if a[i] is not b[i]:
            return False
    return True


cdef class KnownCalls:
    """Plans of calls with plain arrays, packed in C order, by their shapes and options.

    They are found by value in `calls`, and faster by the identity of their options in `slots`.
    """

    cdef dict calls
    cdef list slots

    def __init__(self):
        self.calls = {}
        self.slots = [None] * SLOTS

    def run(self, x, kernel, bias, out, strides, padding, dilation_rate, data_format, activation, method, int threads):
        """The output; None if no such call is known, or something is unusual about this one."""
        if type(x) is not ndarray or type(kernel) is not ndarray:
            return None
        cdef tuple options = (strides, padding, dilation_rate, data_format, activation, method)
        cdef Views views
        cdef int i
        views.held = 0
        try:
            hold(&views, x, PyBUF_STRIDED_RO)
            hold(&views, kernel, PyBUF_STRIDED_RO)
            if views.view[0].ndim != 3 or views.view[1].ndim != 3:
                return None
            return self._run(x, kernel, bias, out, options, threads, &views)
        except (ValueError, BufferError, MemoryError):
            return None
        finally:
            for i in range(views.held):
                PyBuffer_Release(&views.view[i])

    cdef object _run(self, x, kernel, bias, out, tuple options, int threads, Views *views):
        cdef size_t slot = slot_of(&views.view[0], &views.view[1], options)
        cdef RecentCall recent = self.slots[slot]
        cdef KnownCall call
        if recent is not None and (same_objects(recent.options, options) and fits(&views.view[0], recent.call.plan.x_shape)
                                   and fits(&views.view[1], recent.call.plan.w_shape) and holds(x, recent.call.dtype)):
            call = recent.call
        else:
            call = self._find(x, kernel, options)
            if call is None:
                return None
            recent = RecentCall()
            recent.call, recent.options = call, options
            self.slots[slot] = recent
        # Buffers do not tell dtypes.  Everything else that could be wrong with a call of known shapes and options is
        # noticed where it is executed.
        if not (holds(kernel, call.dtype) and (bias is None or holds(bias, call.dtype))
                and (out is None or holds(out, call.dtype))):
            return None
        y = place_array(call.plan.out_shape, call.dtype, call.nbytes, x) if out is None else out
        hold(views, y, PyBUF_STRIDED)
        if bias is not None:
            hold(views, bias, PyBUF_STRIDED_RO)
        if execute_views(call.plan, &views.view[0], &views.view[1], NULL if bias is None else &views.view[3],
                         &views.view[2], &call.fused, threads) != 0:
            return None
        return y

    cdef KnownCall _find(self, x, kernel, tuple options):
        # True and 1.0 equal 1, hence the exact types.
        if not (type(options[0]) is int and type(options[1]) is str and type(options[2]) is int):
            return None
        try:
            return self.calls.get((x.shape, kernel.shape, x.dtype, options))
        except TypeError:  # an option that cannot be hashed
            return None

    def remember(self, x, kernel, strides, padding, dilation_rate, data_format, activation, method, Plan plan not None,
                 tuple fused):
        """Makes such calls known: arrays of these shapes, without strides of their own, and these options."""
        if not (type(x) is ndarray and type(strides) is int and type(dilation_rate) is int and type(padding) is str):
            return
        cdef KnownCall call = KnownCall()
        call.plan = plan
        call.fused.reserved = 0
        call.fused.kind, call.fused.alpha, call.fused.beta = fused
        call.dtype = x.dtype
        call.nbytes = plan.out_shape[0] * plan.out_shape[1] * plan.out_shape[2] * x.dtype.itemsize
        options = (strides, padding, dilation_rate, data_format, activation, method)
        if len(self.calls) >= MOST_CALLS:
            self.calls.clear()
        try:
            self.calls[x.shape, kernel.shape, x.dtype, options] = call
        except TypeError:
            pass
