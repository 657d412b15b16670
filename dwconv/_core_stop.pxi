# SPDX-License-Identifier: BSD-3-Clause
# Part of _core.pyx: Ctrl-C and other signals during long calls.
from cpython.exc cimport PyErr_CheckSignals

# Taps (outputs counted as four more) that take some 10 milliseconds at least: shorter calls end before anybody could wait.
cdef double STOPPABLE_ABOVE = 1e9


cdef class SignalWatch:
    """Lets handlers of signals run during a call, which ends early if one of them raises something."""

    cdef c.dwconv_stop stop
    cdef object exception

    def __cinit__(self):
        self.stop.context, self.stop.wanted = <void *>self, &handlers_raised


cdef int handlers_raised(void *context) noexcept nogil:
    with gil:
        try:
            PyErr_CheckSignals()  # does nothing unless this is the main thread, as Python wants it
        except BaseException as exception:
            (<SignalWatch>context).exception = exception
            return 1
    return 0


cdef SignalWatch watch_signals(Plan plan, dwconv_exec *exec):
    """Fills exec.stop; what it points to lives as long as the result."""
    exec.stop = NULL
    if not plan.is_long:
        return None
    cdef SignalWatch watch = SignalWatch()
    exec.stop = &watch.stop
    return watch
