# SPDX-License-Identifier: BSD-3-Clause
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: freethreading_compatible=True
"""The binding: typed memoryviews in, C calls, exceptions out.  Policy lives in the Python modules."""

cimport dwconv.c_dwconv as c
from libc.stdint cimport int64_t
from dwconv.c_dwconv cimport (
    dwconv_activation, dwconv_exec, dwconv_plan, dwconv_problem, dwconv_status
)

# One spare workspace is kept, because handing tens of kilobytes back to the system at every call costs more than
# a small convolution.  Whoever takes it owns it: two callers never share one.
cdef extern from *:
    """
    #include <stdatomic.h>
    #include <stdlib.h>
    typedef struct { size_t bytes; char data[]; } workspace;
    static _Atomic(workspace *) spare_workspace;
    enum { MOST_SPARE_BYTES = 8 << 20 };

    static workspace *workspace_take(size_t bytes)
    {
        workspace *w = atomic_exchange(&spare_workspace, NULL);
        if (w && w->bytes >= bytes)
            return w;
        free(w);
        w = malloc(sizeof *w + bytes);
        if (w)
            w->bytes = bytes;
        return w;
    }

    static void workspace_give(workspace *w)
    {
        free(w->bytes <= MOST_SPARE_BYTES ? atomic_exchange(&spare_workspace, w) : w);
    }
    """
    ctypedef struct workspace:
        size_t bytes
        char *data
    workspace *workspace_take(size_t bytes) nogil
    void workspace_give(workspace *w) nogil

ctypedef fused real:
    float
    double

# Taps (outputs counted as four more) that take about 20 microseconds: below, releasing the GIL costs more
# than another thread could gain.
cdef double RELEASE_GIL_ABOVE = 3e5


cdef dwconv_status plan_init(dwconv_plan *plan, const dwconv_problem *problem, const char *isa) noexcept nogil:
    return c.dwconv_plan_init(plan, problem, isa)


cdef size_t workspace_size(const dwconv_plan *plan, int max_threads) noexcept nogil:
    return c.dwconv_workspace_size(plan, max_threads)


cdef dwconv_status forward(const dwconv_plan *plan, const void *x, const void *w, const void *bias,
                           const dwconv_activation *activation, void *y, const dwconv_exec *exec) noexcept nogil:
    return c.dwconv_forward(plan, x, w, bias, activation, y, exec)


cdef object error_of(dwconv_status status):
    if status == c.DWCONV_ERROR_ISA:
        import os
        return ValueError(f"the instruction set must be one of {isa_names()} on this machine, "
                          f"received DWCONV_ISA={os.environ.get('DWCONV_ISA')!r}")
    return ValueError((<bytes>c.dwconv_status_string(status)).decode("ascii"))


cdef class Plan:
    """A validated convolution: sizes, layout, dtype and kernels, ready to be executed any number of times."""

    def __init__(self, *, int64_t batch, int64_t in_steps, int64_t channels, int64_t depth_multiplier,
                 int64_t kernel_size, int64_t stride, int64_t dilation, int64_t pad_left, int64_t out_steps,
                 bint channels_first, bint double_precision, tuple x_strides=(0, 0), tuple y_strides=(0, 0),
                 bytes isa=None, bint fft=False, bint only_finite=False):
        cdef dwconv_problem *p = &self.problem
        p.batch, p.in_steps, p.channels, p.depth_multiplier = batch, in_steps, channels, depth_multiplier
        p.kernel_size, p.stride, p.dilation = kernel_size, stride, dilation
        p.pad_left, p.out_steps = pad_left, out_steps
        p.x_batch_stride, p.x_row_stride = x_strides
        p.y_batch_stride, p.y_row_stride = y_strides
        p.layout = c.DWCONV_CHANNELS_FIRST if channels_first else c.DWCONV_CHANNELS_LAST
        p.dtype = c.DWCONV_F64 if double_precision else c.DWCONV_F32
        cdef const char *name = NULL
        if isa is not None:
            name = isa
        cdef dwconv_status status = c.dwconv_plan_init(&self.plan, p, name)
        if status != c.DWCONV_OK:
            raise error_of(status)
        cdef int64_t out_channels = channels * depth_multiplier
        self.x_shape[0] = self.y_shape[0] = batch
        self.x_shape[1], self.x_shape[2] = (channels, in_steps) if channels_first else (in_steps, channels)
        self.y_shape[1], self.y_shape[2] = (
            (out_channels, out_steps) if channels_first else (out_steps, out_channels)
        )
        self.w_shape[0], self.w_shape[1], self.w_shape[2] = kernel_size, channels, depth_multiplier
        self.out_shape = (self.y_shape[0], self.y_shape[1], self.y_shape[2])
        self.empty = batch == 0 or out_channels == 0 or out_steps == 0
        cdef double work = <double>batch * out_steps * out_channels * (kernel_size + 4)
        self.release_gil, self.is_long = work > RELEASE_GIL_ABOVE, work > STOPPABLE_ABOVE
        self.table = fft_table(self) if fft and not self.empty else None
        self.only_finite = only_finite

    @property
    def isa(self):
        """Name of the instruction set of the kernels."""
        return c.dwconv_plan_isa(&self.plan).decode("ascii")

    def forward(self, x, kernel, bias, y, tuple activation, int threads, bint may_overlap=True):
        """Writes activation(x * kernel + bias) into y.

        The arrays must be those the plan was made for, in dtype, shape and strides; otherwise ValueError, and
        nothing is written.  So it is if y may overlap x (by their extents), unless the caller knows better.

        With ``fft=True`` the plan convolves by FFT, and the activation must be linear.  With ``only_finite=True``, too, False
        means that some output would not have been finite; y has anything in it then.
        """
        cdef dwconv_activation fused
        fused.reserved = 0
        fused.kind, fused.alpha, fused.beta = activation
        if self.problem.dtype == c.DWCONV_F32:
            return execute_f32(self, x, kernel, bias, y, &fused, threads, may_overlap) == 0
        return execute_f64(self, x, kernel, bias, y, &fused, threads, may_overlap) == 0


# These return 1 if the plan wants finite outputs and some would not be.
# One function for each dtype: each clears the memory of all its views first, whichever it uses.
cdef int execute_f32(Plan plan, x, w, bias, y, const dwconv_activation *activation, int threads,
                     bint may_overlap) except -1:
    return execute[float](plan, x, w, bias, y, activation, threads, may_overlap)


cdef int execute_f64(Plan plan, x, w, bias, y, const dwconv_activation *activation, int threads,
                     bint may_overlap) except -1:
    return execute[double](plan, x, w, bias, y, activation, threads, may_overlap)


cdef int matches(const Py_ssize_t *have, const Py_ssize_t *want) noexcept:
    return have[0] == want[0] and have[1] == want[1] and have[2] == want[2]


cdef int execute(Plan plan, const real[:, :, :] x, const real[:, :, ::1] w, const real[::1] bias, real[:, :, :] y,
                 const dwconv_activation *activation, int threads, bint may_overlap) except -1:
    cdef dwconv_problem *p = &plan.problem
    if not (matches(x.shape, plan.x_shape) and matches(y.shape, plan.y_shape) and matches(w.shape, plan.w_shape)
            and (bias is None or bias.shape[0] == p.channels * p.depth_multiplier)):
        raise ValueError("arrays do not have the shapes of the plan")
    if plan.empty:
        return 0
    cdef const real *x_data = NULL
    cdef const real *bias_data = NULL
    if p.in_steps > 0:
        x_data = &x[0, 0, 0]
    if bias is not None:
        bias_data = &bias[0]
    return run(plan, x_data, x.strides, &w[0, 0, 0], bias_data, &y[0, 0, 0], y.strides, activation, threads, may_overlap)


cdef int execute_views(Plan plan, const Py_buffer *x, const Py_buffer *w, const Py_buffer *bias, const Py_buffer *y,
                       const dwconv_activation *activation, int threads) except -1:
    """`execute` for the buffers of arrays of the right dtype, which take less time to get than typed memoryviews."""
    cdef dwconv_problem *p = &plan.problem
    cdef Py_ssize_t item = sizeof(float) if p.dtype == c.DWCONV_F32 else sizeof(double)
    if not (x.ndim == w.ndim == y.ndim == 3 and matches(x.shape, plan.x_shape) and matches(y.shape, plan.y_shape)
            and matches(w.shape, plan.w_shape) and (bias is NULL or (
                bias.ndim == 1 and bias.shape[0] == p.channels * p.depth_multiplier))):
        raise ValueError("arrays do not have the shapes of the plan")
    if plan.empty:
        return 0
    if not (strides_match(w.shape, w.strides, 0, 0, item)
            and (bias is NULL or bias.shape[0] == 1 or bias.strides[0] == item)):
        raise ValueError("kernel and bias must be contiguous")
    return run(plan, x.buf if p.in_steps > 0 else NULL, x.strides, w.buf, NULL if bias is NULL else bias.buf, y.buf,
               y.strides, activation, threads, True)


cdef int run(Plan plan, const void *x, const Py_ssize_t *x_strides, const void *w, const void *bias, void *y,
             const Py_ssize_t *y_strides, const dwconv_activation *activation, int threads,
             bint may_overlap) except -1:
    """The call itself, for arrays of the shapes of a plan that has outputs; x is NULL if it has no steps."""
    cdef dwconv_problem *p = &plan.problem
    cdef Py_ssize_t item = sizeof(float) if p.dtype == c.DWCONV_F32 else sizeof(double)
    if not (strides_match(plan.x_shape, x_strides, p.x_batch_stride, p.x_row_stride, item)
            and strides_match(plan.y_shape, y_strides, p.y_batch_stride, p.y_row_stride, item)):
        raise ValueError("arrays do not have the strides of the plan")
    if (<size_t>y | <size_t>w | <size_t>x | <size_t>bias) % <size_t>item != 0:
        raise ValueError("arrays are not aligned")
    cdef const char *y_lo = <const char *>y
    cdef const char *y_hi = y_lo + extent(plan.y_shape, y_strides) + item
    cdef Py_ssize_t outputs = p.channels * p.depth_multiplier * item
    if may_overlap and (
        (x is not NULL and meet(y_lo, y_hi, <const char *>x, extent(plan.x_shape, x_strides) + item))
        or meet(y_lo, y_hi, <const char *>w, p.kernel_size * outputs)
        or (bias is not NULL and meet(y_lo, y_hi, <const char *>bias, outputs))
    ):
        raise ValueError("the output may overlap an input")

    cdef dwconv_exec exec
    exec.max_threads, exec.workspace, exec.runner = threads, NULL, NULL
    cdef const void *table = NULL
    cdef int finite = 1
    if plan.table is None:
        exec.workspace_bytes = c.dwconv_workspace_size(&plan.plan, threads)
    else:
        table = (<FFTTable>plan.table).data
        exec.workspace_bytes = c.dwconv_fft_workspace_size(&plan.plan, threads)
    cdef workspace *scratch = NULL
    if exec.workspace_bytes > 0:
        scratch = workspace_take(exec.workspace_bytes)
        if scratch is NULL:
            raise MemoryError(f"no memory for a workspace of {exec.workspace_bytes} bytes")
        exec.workspace = scratch.data
    cdef SignalWatch watch = watch_signals(plan, &exec)
    cdef dwconv_status status
    if table is not NULL:
        with nogil:
            status = c.dwconv_fft_forward(&plan.plan, table, x, w, bias, y, &finite if plan.only_finite else NULL, &exec)
    elif plan.release_gil:
        with nogil:
            status = c.dwconv_forward(&plan.plan, x, w, bias, activation, y, &exec)
    else:
        status = c.dwconv_forward(&plan.plan, x, w, bias, activation, y, &exec)
    finish(scratch, status, watch)
    return 0 if finite else 1


cdef Py_ssize_t extent(const Py_ssize_t *shape, const Py_ssize_t *strides) noexcept:
    """Bytes from the first element to the last."""
    return (shape[0] - 1) * strides[0] + (shape[1] - 1) * strides[1] + (shape[2] - 1) * strides[2]


cdef bint meet(const char *lo, const char *hi, const char *other, Py_ssize_t nbytes) noexcept:
    return other < hi and lo < other + nbytes


cdef bint strides_match(const Py_ssize_t *shape, const Py_ssize_t *strides, int64_t batch, int64_t row,
                        Py_ssize_t item) noexcept:
    """Whether an array lies in memory as the plan says; strides along axes of one element do not matter."""
    if row == 0:
        row = shape[2]
    if batch == 0:
        batch = row * shape[1]
    return ((shape[0] <= 1 or strides[0] == batch * item) and (shape[1] <= 1 or strides[1] == row * item)
            and (shape[2] <= 1 or strides[2] == item))


include "_core_arrays.pxi"
include "_core_stop.pxi"
include "_core_fft.pxi"
include "_core_calls.pxi"
include "_core_gradients.pxi"
include "_core_stream.pxi"


def isa_names():
    """Instruction sets this machine can run, best first."""
    names, index = [], 0
    while c.dwconv_isa_name(index) is not NULL:
        names.append(c.dwconv_isa_name(index).decode("ascii"))
        index += 1
    return names


def default_isa():
    """The instruction set used unless one is named; None if DWCONV_ISA names one that cannot be used."""
    cdef const char *name = c.dwconv_default_isa()
    return None if name is NULL else name.decode("ascii")


def isa_has_fma(name):
    """Whether that set has fused multiply-add, and so takes part in the same-bits promise."""
    return bool(c.dwconv_isa_has_fma(name.encode("ascii")))


def has_openmp():
    """Whether the core was built with OpenMP; without it everything runs on the calling thread."""
    return bool(c.dwconv_has_openmp())


def forked():
    """Whether this process was forked after the core was loaded, and so runs serially."""
    return bool(c.dwconv_forked())


def core_version():
    """Version of the C core."""
    return c.dwconv_version().decode("ascii")


def compiler():
    """The compiler the core was built with."""
    return COMPILER.decode("ascii")


cdef extern from *:
    """
    #if defined(__clang__) || defined(__GNUC__)
    #define DW_COMPILER_NAME ("gcc-compatible " __VERSION__)
    #elif defined(_MSC_VER)
    #define DW_TEXT_OF(x) #x
    #define DW_TEXT(x) DW_TEXT_OF(x)
    #define DW_COMPILER_NAME ("MSVC " DW_TEXT(_MSC_VER))
    #else
    #define DW_COMPILER_NAME "unknown"
    #endif
    """
    const char *COMPILER "DW_COMPILER_NAME"
