# SPDX-License-Identifier: BSD-3-Clause
# Part of _core.pyx: calls like one that was made before, without what Python does to a first one.
cdef enum:
    MOST_CALLS = 512  # that are known at a time; most programs use few


cdef class KnownCall:
    """What a call needs to know that is like another one."""

    cdef Plan plan
    cdef dwconv_activation fused
    cdef object dtype
    cdef Py_ssize_t nbytes


cdef bint holds(array, dtype) except -1:
    """Whether that is an array of this dtype; nearly always it is even the same object."""
    if type(array) is not ndarray:
        return False
    cdef object own = array.dtype
    return own is dtype or own == dtype


cdef class KnownCalls:
    """Plans of calls with plain arrays, packed in C order, by their shapes and options."""

    cdef dict calls

    def __init__(self):
        self.calls = {}

    def run(self, x, kernel, bias, out, strides, padding, dilation_rate, data_format, activation, method, int threads):
        """The output; None if no such call is known, or something is unusual about this one."""
        # True and 1.0 equal 1, hence the exact types.
        if not (type(x) is ndarray and type(kernel) is ndarray and type(strides) is int and type(dilation_rate) is int
                and type(padding) is str):
            return None
        cdef KnownCall call
        try:
            call = self.calls.get((x.shape, kernel.shape, x.dtype, strides, padding, dilation_rate, data_format,
                                   activation, method))
        except TypeError:  # an option that cannot be hashed
            return None
        # A memoryview takes records of one number for numbers.  Everything else that could be wrong with a call of known
        # shapes and options is noticed where it is executed.
        if call is None or not (holds(kernel, call.dtype) and (bias is None or holds(bias, call.dtype))
                                and (out is None or holds(out, call.dtype))):
            return None
        try:
            y = place_array(call.plan.out_shape, call.dtype, call.nbytes, x) if out is None else out
            execute_arrays(call.plan, x, kernel, bias, y, &call.fused, threads, True)
        except (ValueError, BufferError, MemoryError):
            return None
        return y

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
        if len(self.calls) >= MOST_CALLS:
            self.calls.clear()
        try:
            self.calls[x.shape, kernel.shape, x.dtype, strides, padding, dilation_rate, data_format, activation,
                       method] = call
        except TypeError:
            pass
