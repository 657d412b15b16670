# SPDX-License-Identifier: BSD-3-Clause
# What other Cython packages may cimport from the installed extension, with nothing to link:
#
#     from dwconv cimport _core
#     from dwconv.c_dwconv cimport dwconv_plan, dwconv_problem
#
# The functions are those of dwconv.h under shorter names.
from libc.stdint cimport int64_t
from dwconv.c_dwconv cimport (
    dwconv_activation, dwconv_exec, dwconv_plan, dwconv_problem, dwconv_status, dwconv_stream, dwconv_stream_problem
)

cdef dwconv_status plan_init(dwconv_plan *plan, const dwconv_problem *problem, const char *isa) noexcept nogil
cdef size_t workspace_size(const dwconv_plan *plan, int max_threads) noexcept nogil
cdef dwconv_status forward(const dwconv_plan *plan, const void *x, const void *w, const void *bias,
                           const dwconv_activation *activation, void *y, const dwconv_exec *exec) noexcept nogil
cdef dwconv_status stream_init(dwconv_stream *stream, const dwconv_stream_problem *problem,
                               const char *isa) noexcept nogil
cdef size_t stream_state_size(const dwconv_stream *stream) noexcept nogil
cdef dwconv_status stream_reset(const dwconv_stream *stream, void *state, int64_t item) noexcept nogil
cdef dwconv_status stream_step(const dwconv_stream *stream, void *state, const void *x, const void *w,
                               const void *bias, const dwconv_activation *activation, void *y,
                               const dwconv_exec *exec) noexcept nogil

cdef class Plan:
    cdef dwconv_plan plan
    cdef dwconv_problem problem
    cdef Py_ssize_t x_shape[3]
    cdef Py_ssize_t y_shape[3]
    cdef Py_ssize_t w_shape[3]
    cdef bint release_gil
    cdef bint is_long
    cdef bint empty
    cdef readonly tuple out_shape
    cdef object table  # of an FFT, or None
    cdef bint only_finite
